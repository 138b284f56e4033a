import { execFile } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { build } from "../support/Build.ts"
import { files, root } from "../support/Repository.ts"
import { secret, serve } from "../support/Service.ts"
import { temporaryFolder } from "../support/Shell.ts"

const Manifest = Schema.parseJson(
  Schema.Struct({
    dependencies: Schema.Record({ key: Schema.String, value: Schema.String }),
    peerDependencies: Schema.Record({ key: Schema.String, value: Schema.String }),
    peerDependenciesMeta: Schema.Record({
      key: Schema.String,
      value: Schema.Struct({ optional: Schema.Literal(true) })
    })
  })
)
const { dependencies, peerDependencies, peerDependenciesMeta } = Schema.decodeSync(Manifest)(
  readFileSync(path.join(root, "package.json"), "utf8")
)

const About = Schema.parseJson(
  Schema.Struct({
    description: Schema.NonEmptyString,
    keywords: Schema.Array(Schema.NonEmptyString),
    homepage: Schema.String,
    bugs: Schema.String,
    repository: Schema.Struct({ type: Schema.Literal("git"), url: Schema.String }),
    license: Schema.Literal("MIT"),
    author: Schema.NonEmptyString
  })
)

const Packed = Schema.parseJson(
  Schema.Tuple(Schema.Struct({ filename: Schema.String, files: Schema.Array(Schema.Struct({ path: Schema.String })) }))
)

const run = (folder: string, command: string, ...args: ReadonlyArray<string>) =>
  Effect.promise(() =>
    promisify(execFile)(command, args, { cwd: folder, maxBuffer: 1e8 }).catch((error: unknown) => error)
  ).pipe(
    Effect.map((outcome) => {
      const { code = 0, stderr = "", stdout = "" } = Schema.decodeUnknownSync(Outcome)(outcome)
      return { code, output: `${stdout}${stderr}`, stdout }
    })
  )

const Outcome = Schema.Struct({
  code: Schema.optional(Schema.Int),
  stdout: Schema.optional(Schema.String),
  stderr: Schema.optional(Schema.String)
})

/** Removes the packages until the scope closes. */
const without = (folder: string, names: ReadonlyArray<string>) =>
  Effect.forEach(names, (name) => {
    const link = path.join(folder, "node_modules", name)
    return Effect.acquireRelease(
      Effect.sync(() => rmSync(link)),
      () => Effect.sync(() => symlinkSync(path.join(root, "node_modules", name), link))
    )
  })

const bin = (name: string) => path.join(root, "node_modules", ".bin", name)

/** The stages of the Dockerfile, each with its instructions in order. */
const stages = () =>
  readFileSync(path.join(root, "deploy", "Dockerfile"), "utf8")
    .split(/^(?=FROM )/m)
    .slice(1)
    .map((stage) => Array.from(stage.matchAll(/^([A-Z]+) (.*)$/gm), ([, name = "", value = ""]) => ({ name, value })))

/** A program of an embedder that imports each entry of the package. */
const program = `
import { Effect } from "effect"
import { Routes, Services, Sql, Tasks, UserId } from "taskchat"
import { Client, type Received } from "taskchat/client"
import { ScriptedModel, TestServer } from "taskchat/testing"

export const routes = Routes.layer({ messageMaxLength: 4000 })
export const services = Services.layer()
export const layers = [Tasks.layerTest, Sql.layerTest, Client.layer] as const
export const isText = (event: Received): boolean => event._tag === "Text"

const user = UserId.make(1)
const answer = Effect.gen(function* () {
  const client = yield* (yield* TestServer).client(user)
  return yield* client.chat.send({ path: { user_id: user }, headers: {}, payload: { message: "Hello" } })
}).pipe(Effect.provide(TestServer.layer({ script: ["It works."] })))

console.log((await Effect.runPromise(answer)).assistantMessage)
`

/** A new project with the package installed from its tarball, with only its dependencies. */
class Project extends Context.Tag("test/Package/Project")<
  Project,
  { readonly folder: string; readonly tarball: string; readonly contents: ReadonlyArray<string> }
>() {
  static readonly layer = Layer.scoped(
    Project,
    Effect.gen(function* () {
      yield* build
      const folder = yield* temporaryFolder
      const packed = yield* run(root, "npm", "pack", "--json", "--ignore-scripts", "--pack-destination", folder)
      assert.strictEqual(packed.code, 0, packed.output)
      const [{ filename, files: contents }] = Schema.decodeSync(Packed)(packed.stdout)
      const tarball = path.join(folder, filename)
      const modules = path.join(folder, "node_modules")
      mkdirSync(path.join(modules, "taskchat"), { recursive: true })
      yield* run(folder, "tar", "-xzf", tarball, "-C", path.join(modules, "taskchat"), "--strip-components", "1")
      const needed = [...Object.keys(dependencies), ...Object.keys(peerDependencies)]
      for (const name of [...needed, "@types/node"]) {
        mkdirSync(path.dirname(path.join(modules, name)), { recursive: true })
        symlinkSync(path.join(root, "node_modules", name), path.join(modules, name))
      }
      writeFileSync(path.join(folder, "package.json"), `{ "type": "module", "private": true }`)
      writeFileSync(path.join(folder, "program.ts"), program)
      for (const file of files("examples").filter((file) => /^examples\/\w+\.ts$/.test(file))) {
        cpSync(path.join(root, file), path.join(folder, path.basename(file)))
      }
      return { folder, tarball, contents: contents.map(({ path }) => path) }
    })
  )
}

const Command = Schema.parseJson(Schema.Array(Schema.String))

const settings = (module: string, moduleResolution: string) => ({
  compilerOptions: {
    target: "ES2023",
    lib: ["ES2024", "ESNext.Disposable"],
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    rewriteRelativeImportExtensions: true,
    outDir: "out",
    module,
    moduleResolution
  },
  include: ["*.ts"]
})

layer(Project.layer, { timeout: "5 minutes" })("the package", (it) => {
  it.effect("contains only the program, its types and its sources", () =>
    Effect.map(Project, ({ contents }) => {
      const kinds =
        /^(dist\/.*\.(js|d\.ts)(\.map)?|dist\/bin\/licenses\.txt|dist\/database\.tar\.br|src\/.*\.ts|(dist|src)\/http\/page\/assets\/.*|docs\/.*|examples\/.*|deploy\/.*|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/
      assert.deepStrictEqual(
        contents.filter((file) => !kinds.test(file)),
        []
      )
      assert.includeMembers(Array.from(contents), [
        "dist/index.js",
        "dist/client.d.ts",
        "dist/testing.js.map",
        "dist/bin/main.js",
        "dist/bin/licenses.txt",
        "dist/database.tar.br",
        "dist/http/page/assets/index.html",
        "examples/mounted.ts",
        "deploy/.env.example"
      ])
      assert.deepStrictEqual(
        contents.filter((file) => /(?:^|\/)(?:node_modules|\.env)(?:\/|$)/.test(file)),
        []
      )
      // The program is bundled. Its own modules would need packages that are not installed with it.
      assert.deepStrictEqual(
        contents.filter((file) => /^dist\/(server\/|main\.)|^dist\/bin\/.*\.map$/.test(file)),
        []
      )
    })
  )

  it.effect("has the licence notices of the bundled packages", () =>
    Effect.gen(function* () {
      const { folder } = yield* Project
      const bin = path.join(folder, "node_modules", "taskchat", "dist", "bin")
      const notices = readFileSync(path.join(bin, "licenses.txt"), "utf8")
      for (const name of ["effect", "@effect/cli", "@modelcontextprotocol/server", "pg", "ioredis", "undici", "zod"]) {
        assert.match(notices, new RegExp(`^${name} \\d[^ ]*: \\S+$`, "m"))
      }
      assert.include(notices, "Brian Carlson")
      // It does not depend on them.
      const imported = readdirSync(bin).flatMap((file) =>
        Array.from(readFileSync(path.join(bin, file), "utf8").matchAll(/\bimport ?\(?"([^"]+)"|\bfrom ?"([^"]+)"/g))
      )
      const packages = imported.map(([, called = "", named = called]) => named).filter((name) => /^[@a-z]/.test(name))
      assert.deepStrictEqual(
        Array.from(new Set(packages)).filter((name) => !isBuiltin(name)),
        ["@electric-sql/pglite"]
      )
    })
  )

  it("has a description and a repository", () => {
    const about = Schema.decodeSync(About)(readFileSync(path.join(root, "package.json"), "utf8"))
    for (const address of [about.homepage, about.bugs, about.repository.url]) assert.isTrue(URL.canParse(address))
    assert.isAtLeast(about.keywords.length, 5)
  })

  it.effect("publint finds nothing", () =>
    Effect.gen(function* () {
      const { folder, tarball } = yield* Project
      const { code, output } = yield* run(folder, bin("publint"), tarball, "--strict")
      assert.strictEqual(code, 0, output)
      assert.include(output, "All good!")
    })
  )

  it.effect("the types are correct for all resolutions of ES modules", () =>
    Effect.gen(function* () {
      const { folder, tarball } = yield* Project
      const { code, output } = yield* run(
        folder,
        bin("attw"),
        tarball,
        "--profile",
        "esm-only",
        "--no-definitely-typed"
      )
      assert.strictEqual(code, 0, output)
    })
  )

  it.scoped(
    "programs and the examples compile against it as Node resolves it, and run",
    () =>
      Effect.gen(function* () {
        const { folder } = yield* Project
        writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(settings("NodeNext", "NodeNext")))
        const compiled = yield* run(folder, bin("tsc"), "-p", folder)
        assert.deepStrictEqual([compiled.code, compiled.output], [0, ""])
        // Without optional packages.
        yield* without(folder, Object.keys(peerDependenciesMeta))
        const { code, output, stdout } = yield* run(folder, process.execPath, path.join("out", "program.js"))
        assert.strictEqual(code, 0, output)
        assert.include(stdout, "It works.\n")
      }),
    { timeout: 300_000 }
  )

  it.effect(
    "programs and the examples compile against it as bundlers resolve it",
    () =>
      Effect.gen(function* () {
        const { folder } = yield* Project
        writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(settings("ESNext", "bundler")))
        const { code, output } = yield* run(folder, bin("tsc"), "-p", folder, "--noEmit")
        assert.deepStrictEqual([code, output], [0, ""])
      }),
    { timeout: 300_000 }
  )

  it.scoped(
    "serves its page without the sources",
    () =>
      Effect.gen(function* () {
        const home = path.join((yield* Project).folder, "node_modules", "taskchat")
        rmSync(path.join(home, "src"), { recursive: true })
        const { call } = yield* serve({}, path.join(home, "dist", "bin", "main.js"))
        const [page, script] = yield* Effect.all([call("GET", "/"), call("GET", "/page/main.js")])
        assert.deepStrictEqual([page.status, script.status], [200, 200])
        assert.include(page.text, "page/main.js")
      }),
    { timeout: 300_000 }
  )

  it.scoped(
    "runs with the commands of the image, from only the program and the embedded database",
    () =>
      Effect.gen(function* () {
        const [built = [], served = []] = stages()
        const valuesOf = (stage: typeof served, name: string) =>
          stage.filter((instruction) => instruction.name === name).map(({ value }) => value)
        assert.deepStrictEqual([...valuesOf(served, "USER"), ...valuesOf(served, "WORKDIR")], ["node", "/data"])

        const home = yield* temporaryFolder
        const at = (text: string) =>
          text.replaceAll(/(?<![\w-])\/(source|app|data)\b/g, (folder) => path.join(home, folder))
        const source = at("/source")
        for (const file of files().filter((file) => /^(src|deploy)\/|^(package|tsconfig)\.json$/.test(file))) {
          cpSync(path.join(root, file), path.join(source, file))
        }
        const [install, ...commands] = valuesOf(built, "RUN")
        assert.strictEqual(install, "npm ci --ignore-scripts")
        symlinkSync(path.join(root, "node_modules"), path.join(source, "node_modules"))
        for (const command of commands) {
          const { code, output } = yield* run(source, "sh", "-ec", command)
          assert.strictEqual(code, 0, `${command}\n${output}`)
        }
        for (const copy of valuesOf(served, "COPY")) {
          const [from = "", to = ""] = at(copy)
            .split(" ")
            .filter((word) => !word.startsWith("--"))
          cpSync(from, to.endsWith("/") ? path.join(to, path.basename(from)) : to, {
            recursive: true,
            dereference: true
          })
        }

        const environment = Object.fromEntries(
          at(valuesOf(served, "ENV").join(" "))
            .split(" ")
            .map((pair) => pair.split("=") as [string, string]) // each has a value
        )
        const [entrypoint, arguments_] = ["ENTRYPOINT", "CMD"].map((name) =>
          Schema.decodeSync(Command)(at(valuesOf(served, name)[0] ?? ""))
        )
        assert.deepStrictEqual(arguments_, ["serve"])
        const [program, main = ""] = entrypoint ?? []
        assert.strictEqual(program, "node")
        assert.strictEqual(environment["HOST"], "0.0.0.0")
        const service = yield* serve({ ...environment, HOST: "127.0.0.1", JWT_SECRET: secret }, main)
        assert.strictEqual((yield* service.call("GET", "/ready")).status, 200)

        const [, check = ""] = /CMD (\[.*\])$/.exec(valuesOf(served, "HEALTHCHECK")[0] ?? "") ?? []
        const [, ...rest] = Schema.decodeSync(Command)(check)
        const port = new URL(service.url).port
        const isHealthy = Effect.map(
          run(home, "env", `PORT=${port}`, process.execPath, ...rest),
          ({ code }) => code === 0
        )
        assert.isTrue(yield* isHealthy)
        yield* service.kill("SIGTERM")
        assert.strictEqual((yield* service.finished).code, 0)
        assert.isFalse(yield* isHealthy)
      }),
    { timeout: 300_000 }
  )
})
