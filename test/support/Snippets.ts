import { execFile } from "node:child_process"
import { symlinkSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { Effect } from "effect"
import { build } from "./Build.ts"
import { root } from "./Repository.ts"
import { temporaryFolder } from "./Shell.ts"

/** The package by its names, as built: as its users see it, and so that our own sources are not compiled once more. */
const names = Object.fromEntries(
  ["index", "client", "testing"].map((entry) => [
    entry === "index" ? "taskchat" : `taskchat/${entry}`,
    [path.join(root, "dist", `${entry}.d.ts`)]
  ])
)

/**
 * What the compiler says against each text, under the repository's own settings. All are compiled at once, as most of the
 * time goes into what they import, and by a process of its own, as this one could do nothing else meanwhile.
 */
export const diagnostics = (snippets: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<ReadonlyArray<string>>> =>
  Effect.gen(function* () {
    yield* build
    const folder = yield* temporaryFolder
    for (const name of ["package.json", "node_modules"]) symlinkSync(path.join(root, name), path.join(folder, name))
    const settings = { extends: path.join(root, "tsconfig.json"), include: ["*.ts"], compilerOptions: { paths: names } }
    writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(settings))
    for (const [index, text] of snippets.entries()) writeFileSync(path.join(folder, `${index}.ts`), text)
    const lines = (yield* compile(folder)).split("\n")
    return snippets.map((_, index) =>
      lines.flatMap((line) => (line.startsWith(`${index}.ts(`) ? [line.slice(line.indexOf("(")).trimEnd()] : []))
    )
  }).pipe(Effect.scoped)

/** What it prints; it fails if there is anything to print. */
const compile = (folder: string) =>
  Effect.async<string>((resume) => {
    const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc")
    const running = execFile(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { cwd: folder }, (_, stdout) =>
      resume(Effect.succeed(stdout))
    )
    return Effect.sync(() => running.kill())
  })
