import { execFile } from "node:child_process"
import { symlinkSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { Effect } from "effect"
import { build } from "./Build.ts"
import { root } from "./Repository.ts"
import { temporaryFolder } from "./Shell.ts"

/** Maps the package names to the built package, as users see it. This also avoids compiling the sources again. */
const names = Object.fromEntries(
  ["index", "client", "testing"].map((entry) => [
    entry === "index" ? "taskchat" : `taskchat/${entry}`,
    [path.join(root, "dist", `${entry}.d.ts`)]
  ])
)

/**
 * The compiler errors of each text, with the settings of the repository. All texts are compiled together, because most
 * of the time goes into their imports. A separate process compiles them, so that this one is not blocked.
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

/** The output of the compiler. It fails if there are errors. */
const compile = (folder: string) =>
  Effect.async<string>((resume) => {
    const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc")
    const running = execFile(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { cwd: folder }, (_, stdout) =>
      resume(Effect.succeed(stdout))
    )
    return Effect.sync(() => running.kill())
  })
