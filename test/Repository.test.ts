import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import ts from "typescript"
import { files, read } from "./support/Repository.ts"

const text = files().filter((file) => !/\.(?:png|ico|woff2?)$/.test(file))

/** The lines that match, as `file:line`. */
const occurrences = (among: ReadonlyArray<string>, pattern: RegExp) =>
  among.flatMap((file) =>
    read(file)
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}`] : []))
  )

const Lock = Schema.Struct({
  packages: Schema.Record({
    key: Schema.String,
    value: Schema.Struct({
      resolved: Schema.optional(Schema.Unknown),
      optionalDependencies: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }))
    })
  })
})

describe.each(files().filter((file) => file.endsWith("package-lock.json")))("%s", (file) => {
  const { packages } = Schema.decodeUnknownSync(Schema.parseJson(Lock))(read(file))

  it("holds no download addresses", () => {
    assert.deepStrictEqual(
      Object.keys(packages).filter((path) => packages[path]?.resolved !== undefined),
      []
    )
  })

  /** Where Node would look for `name` from the package at `path`: its own folder first, then every one above. */
  const places = (path: string, name: string): ReadonlyArray<string> => {
    const here = `${path === "" ? "" : `${path}/`}node_modules/${name}`
    return path === ""
      ? [here]
      : [here, ...places(path.slice(0, Math.max(0, path.lastIndexOf("/node_modules/"))), name)]
  }

  // npm leaves out what its registry did not serve, and `npm ci` then refuses the file, on other platforms or on all.
  it("names the packages of every platform", () => {
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter((name) => places(path, name).every((place) => !(place in packages)))
    )
    assert.deepStrictEqual(missing, [])
  })
})

describe("the repository", () => {
  it("has at its top level only what belongs there", () => {
    const top = new Set(text.map((file) => file.split("/")[0]))
    assert.deepStrictEqual(Array.from(top).sort(), [
      ".ci",
      ".gitignore",
      ".npmrc",
      "CHANGELOG.md",
      "CONTRIBUTING.md",
      "LICENSE",
      "README.md",
      "bench",
      "biome.json",
      "deploy",
      "docs",
      "examples",
      "flake.lock",
      "flake.nix",
      "package-lock.json",
      "package.json",
      "src",
      "test",
      "tsconfig.json"
    ])
  })

  it("names no path of anyone's machine and no package registry", () => {
    assert.deepStrictEqual(
      occurrences(text, /(?<![\w.:])\/(?:root|home|Users|work)\/\w|registry\.[\w-]+\.[a-z]{2,}/),
      []
    )
  })

  it("leaves nothing for later in its sources", () => {
    const sources = text.filter((file) => /^(?:src|test|examples|bench)\/.*\.ts$/.test(file) && file !== self)
    assert.deepStrictEqual(occurrences(sources, /\b(?:TODO|FIXME|XXX|HACK)\b/), [])
    assert.deepStrictEqual(occurrences(sources, /\b(?:describe|it|test|effect|scoped|live)\.(?:only|todo)\b/), [])
  })
})

const self = "test/Repository.test.ts"

describe("src", () => {
  const sources = text.filter((file) => file.startsWith("src/") && file.endsWith(".ts"))

  it("takes the time from Clock and DateTime only", () => {
    assert.deepStrictEqual(occurrences(sources, /\bnew Date\(\)|\bDate\.now\(/), [])
  })

  it("reaches into Effect, pg and Node in runtime only", () => {
    const inside =
      /withFiberRuntime|unsafeMap|currentContext|Reflect\.get|setPrototypeOf|processID|parsedStatements|\bas (?:unknown as )?typeof\b/
    const outside = sources.filter((file) => !file.startsWith("src/runtime/"))
    assert.deepStrictEqual(occurrences(outside, inside), [])
  })

  it("gives a reason for every cast", () => {
    const casts = sources.flatMap((file) => {
      const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.ESNext, true)
      const lines = source.text.split("\n")
      const found: Array<string> = []
      const visit = (node: ts.Node): void => {
        // A cast of something to what it is anyway (`as const`, `[] as []`) needs none.
        if (ts.isAsExpression(node) && !["const", "[]"].includes(node.type.getText())) {
          const { line } = source.getLineAndCharacterOfPosition(node.type.getStart())
          const near = lines.slice(Math.max(0, line - 6), line + 1).join("\n")
          if (!/\/\/|\*\//.test(near)) found.push(`${file}:${line + 1}`)
        }
        ts.forEachChild(node, visit)
      }
      visit(source)
      return found
    })
    assert.deepStrictEqual(casts, [])
  })
})
