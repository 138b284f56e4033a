import { execFile } from "node:child_process"
import { cpSync, mkdirSync, symlinkSync } from "node:fs"
import * as path from "node:path"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { build } from "../support/Build.ts"
import { documentOf } from "../support/Documents.ts"
import { freePort } from "../support/Ports.ts"
import { files, read, root } from "../support/Repository.ts"
import * as Shell from "../support/Shell.ts"

const Versions = Schema.Record({ key: Schema.String, value: Schema.String })
const Manifest = Schema.parseJson(
  Schema.Struct({
    version: Schema.String,
    dependencies: Versions,
    devDependencies: Versions,
    peerDependencies: Schema.optionalWith(Versions, { default: () => ({}) })
  })
)
const manifest = Schema.decodeSync(Manifest)(read("package.json"))
const template = Schema.decodeSync(Manifest)(read("examples/embedded/package.json"))

/** What a package of ours needs at least, or is tested with. */
const versionOf = (name: string) =>
  name === "taskchat"
    ? `file:taskchat-${manifest.version}.tgz`
    : (manifest.peerDependencies[name] ?? manifest.devDependencies[name])?.replace(/^\^/, "")

/** A copy of the template, with the packages that its package.json asks for and no others. */
class Copy extends Context.Tag("test/Embedded/Copy")<Copy, { readonly folder: string }>() {
  static readonly layer = Layer.scoped(
    Copy,
    Effect.gen(function* () {
      yield* build
      const folder = yield* Shell.temporaryFolder
      const modules = path.join(folder, "node_modules")
      for (const file of files("examples/embedded")) {
        const to = path.join(folder, path.relative("examples/embedded", file))
        mkdirSync(path.dirname(to), { recursive: true })
        cpSync(path.join(root, file), to)
      }
      for (const name of Object.keys({ ...template.dependencies, ...template.devDependencies })) {
        mkdirSync(path.dirname(path.join(modules, name)), { recursive: true })
        symlinkSync(name === "taskchat" ? root : path.join(root, "node_modules", name), path.join(modules, name))
      }
      return { folder }
    })
  )
}

/** Beside this process, which has to go on talking to whoever runs the tests. */
const run = (folder: string, program: string, ...args: ReadonlyArray<string>) =>
  Effect.async<{ readonly status: number; readonly output: string }>((resume) => {
    const { HOME = folder, PATH = "" } = process.env
    const running = execFile(
      process.execPath,
      [path.join(root, "node_modules", program), ...args],
      { cwd: folder, env: { HOME, PATH, NO_COLOR: "1" } },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ status: error === null ? 0 : 1, output: `${stdout}${stderr}` }))
    )
    return Effect.sync(() => running.kill())
  })

const timeout = { timeout: 300_000 }

layer(Copy.layer, timeout)("examples/embedded", (it) => {
  it("requires exactly the versions that this package is made for", () => {
    const asked = { ...template.dependencies, ...template.devDependencies }
    assert.deepStrictEqual(asked, Object.fromEntries(Object.keys(asked).map((name) => [name, versionOf(name) ?? ""])))
  })

  it("the page installs the same packages, each with its version", () => {
    const { blocks } = documentOf("docs/embedding.md")
    const lines = blocks.flatMap(({ text }) => text.split("\n")).filter((line) => line.startsWith("npm install"))
    assert.lengthOf(lines, 2)
    const named = lines.flatMap((line) =>
      Array.from(line.matchAll(/ (@?[\w/-]+)@([\d.]+)(?= |$)/g), ([, name = "", version]) => [name, version] as const)
    )
    for (const [name, version] of named) assert.strictEqual(version, versionOf(name), name)
    const asked = Object.keys({ ...template.dependencies, ...template.devDependencies })
    assert.sameMembers([...named.map(([name]) => name), "taskchat"], asked)
    assert.include(lines[0], `./taskchat-${manifest.version}.tgz`)
  })

  it.effect(
    "compiles, and its tests pass",
    () =>
      Effect.gen(function* () {
        const { folder } = yield* Copy
        assert.deepStrictEqual(yield* run(folder, "typescript/bin/tsc", "--noEmit"), { status: 0, output: "" })
        const tested = yield* run(folder, "vitest/vitest.mjs", "run")
        assert.strictEqual(tested.status, 0, tested.output)
        assert.match(tested.output, /Tests +2 passed/)
      }),
    timeout
  )

  it.scoped(
    "starts, and answers as its README says",
    () =>
      Effect.gen(function* () {
        const { folder } = yield* Copy
        const built = yield* run(folder, "typescript/bin/tsc", "-p", "tsconfig.build.json")
        assert.deepStrictEqual(built, { status: 0, output: "" })
        const port = String(yield* freePort)
        const { HOME = folder, PATH = "" } = process.env
        const shell = yield* Shell.make({ folder, environment: { HOME, PATH, PORT: port } })
        yield* shell.run(
          "node dist/main.js >app.log 2>&1 & until grep -q Listening app.log; do kill -0 $!; sleep 0.1; done"
        )
        const [, again] = documentOf("examples/embedded/README.md").blocks
        const { code, stdout } = yield* shell.run((again?.text ?? "").replace("127.0.0.1:3000", `127.0.0.1:${port}`))
        assert.strictEqual(code, 0)
        assert.include(stdout, "Added “Milk” (#1).")
        // Ours, and no other server's.
        const log = yield* shell.run("grep -ciE 'request$|request |http' app.log")
        assert.strictEqual(log.stdout.trim(), "1")
      }),
    timeout
  )
})
