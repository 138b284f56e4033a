import * as path from "node:path"
import { transformSync } from "esbuild"
import ts from "typescript"

/**
 * The allowed imports of one part of `src`: other parts, single files of them (`sql/SqlErrors.ts`), and packages
 * (`node:` means all modules of Node.js).
 */
export interface Rule {
  readonly ours: ReadonlyArray<string>
  readonly packages: ReadonlyArray<string>
}

/** The part of `src` that contains a file: its folder, or its own name at the top level. */
const partOf = (file: string) => {
  const [first = "", ...rest] = path.posix.relative("src", file).split("/")
  return rest.length > 0 ? first : first.replace(/\.ts$/, "")
}

const packageOf = (specifier: string) =>
  specifier.startsWith("node:")
    ? "node:"
    : specifier
        .split("/")
        .slice(0, specifier.startsWith("@") ? 2 : 1)
        .join("/")

/** Every module that a source names: imports, re-exports, `import()`, also of types only. */
const specifiers = (source: string) => ts.preProcessFile(source, true, true).importedFiles.map((file) => file.fileName)

/**
 * The imports that violate `rules`, one sentence each. `files` are paths from the repository's root, with `/`,
 * and their text.
 */
export const violations = (
  rules: Readonly<Record<string, Rule>>,
  files: Iterable<readonly [file: string, source: string]>
): ReadonlyArray<string> =>
  Array.from(files).flatMap(([file, source]) => {
    const part = partOf(file)
    const rule = rules[part]
    if (rule === undefined) return [`${file} is in no part of src that has a rule`]
    return specifiers(source).flatMap((specifier) => {
      if (!specifier.startsWith(".")) {
        const allowed = rule.packages.includes(packageOf(specifier)) || rule.packages.includes(specifier)
        return allowed ? [] : [`${file} imports ${specifier}`]
      }
      const target = path.posix.join(path.posix.dirname(file), specifier)
      if (!specifier.endsWith(".ts")) return [`${file} imports ${specifier}, which should end in .ts`]
      const to = target.startsWith("src/") ? partOf(target) : target
      const allowed = to === part || rule.ours.includes(to) || rule.ours.includes(path.posix.relative("src", target))
      return allowed ? [] : [`${file} imports ${target}`]
    })
  })

/** The run-time imports of a source, without types. */
const imported = (source: string) =>
  specifiers(
    transformSync(source, { loader: "ts", tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } } }).code
  )

/** The packages that `entry` loads, directly or through other files. */
export const packages = (entry: string, read: (file: string) => string): ReadonlyArray<string> => {
  const found = new Set<string>()
  const seen = new Set<string>()
  const visit = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    for (const specifier of imported(read(file))) {
      if (specifier.startsWith(".")) visit(path.posix.join(path.posix.dirname(file), specifier))
      else found.add(specifier.startsWith("node:") ? specifier : packageOf(specifier))
    }
  }
  visit(entry)
  return Array.from(found).sort()
}

/** Import cycles, each as one path of files, without imports of types. */
export const cycles = (files: Iterable<readonly [file: string, source: string]>): ReadonlyArray<string> => {
  const graph = new Map(
    Array.from(files, ([file, source]) => {
      const targets = imported(source)
        .filter((specifier) => specifier.startsWith("."))
        .map((specifier) => path.posix.join(path.posix.dirname(file), specifier))
      return [file, targets] as const
    })
  )
  const found: Array<string> = []
  const done = new Set<string>()
  const visit = (file: string, trail: ReadonlyArray<string>) => {
    const at = trail.indexOf(file)
    if (at >= 0) found.push([...trail.slice(at), file].join(" -> "))
    if (at >= 0 || done.has(file)) return
    for (const target of graph.get(file) ?? []) visit(target, [...trail, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return found
}
