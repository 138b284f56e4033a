import { spawnSync } from "node:child_process"
import { existsSync, symlinkSync } from "node:fs"
import { createServer } from "node:net"
import * as path from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { differences, lineDifferences } from "./support/Answers.ts"
import { build } from "./support/Build.ts"
import { type Block, blocks, links } from "./support/Markdown.ts"
import { read, root } from "./support/Repository.ts"
import * as Shell from "./support/Shell.ts"
import { diagnostics } from "./support/Snippets.ts"

const readme = read("README.md")
const page = blocks(readme)

/** A reader's terminal: an empty folder that holds the built package, with none of our own settings. */
class Terminal extends Context.Tag("test/Readme/Terminal")<Terminal, Shell.Shell>() {
  static readonly layer = Layer.scoped(
    Terminal,
    Effect.gen(function* () {
      yield* build
      const folder = yield* Shell.temporaryFolder
      for (const name of ["package.json", "node_modules", "dist"]) {
        symlinkSync(path.join(root, name), path.join(folder, name))
      }
      const port = yield* freePort
      const { HOME = folder, PATH = "" } = process.env
      const shell = yield* Shell.make({ folder, environment: { HOME, PATH, PORT: String(port) } })
      return { run: (script) => shell.run(rehearsed(script, port)) }
    })
  )
}

const freePort = Effect.async<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/**
 * A script as a reader would run it, but for three things: the port is a free one, the packages are those already
 * installed, and what a reader leaves running in one terminal runs beside the shell, awaited until it is ready.
 */
const rehearsed = (script: string, port: number) =>
  script
    .replaceAll("127.0.0.1:3000", `127.0.0.1:${port}`)
    .replace(/^npm ci$/m, "npm ls --omit=dev --silent >/dev/null")
    .replace(
      /^npm start$/m,
      // Its `prestart`, the build, has been run: here it would find no sources.
      `npm start --silent --ignore-scripts >service.log 2>&1 &
       until curl -sf http://127.0.0.1:${port}/ready >/dev/null; do
         kill -0 $! || { cat service.log >&2; exit 1; }
         sleep 0.1
       done`
    )

/** What is shown as the answer to a script: the next block, if it is one of output. */
const answerTo = (index: number) => {
  const next = page[index + 1]
  return next !== undefined && ["json", "text"].includes(next.language) ? next : undefined
}

const compare = (shown: Block, printed: string) =>
  shown.language === "json"
    ? differences(JSON.parse(shown.text), JSON.parse(printed))
    : lineDifferences(shown.text, printed)

const name = ({ line, text }: Block) => `line ${line}: ${text.split("\n")[0]}`

// A bare machine has Node.js but perhaps no curl; nothing else on the page needs more than that.
const hasCurl = ["bash", "curl"].every((command) => spawnSync(command, ["--version"]).status === 0)

// A first start takes its time where processors are few and busy.
const timeout = 240_000

describe.skipIf(!hasCurl)("README.md, run from top to bottom", () => {
  layer(Terminal.layer, { timeout })((it) => {
    for (const [index, block] of page.entries()) {
      if (block.language !== "sh") continue
      it.effect(
        name(block),
        () =>
          Effect.gen(function* () {
            const terminal = yield* Terminal
            const { code, stderr, stdout } = yield* terminal.run(block.text)
            assert.strictEqual(code, 0, stderr)
            const shown = answerTo(index)
            if (shown !== undefined) assert.deepStrictEqual(compare(shown, stdout), [], stdout)
          }),
        timeout
      )
    }
  })
})

describe("README.md", () => {
  it("holds commands, their answers and TypeScript, and nothing that is not tested", () => {
    const untested = page.filter(({ language }, index) =>
      ["json", "text"].includes(language) ? page[index - 1]?.language !== "sh" : !["sh", "ts"].includes(language)
    )
    assert.deepStrictEqual(untested.map(name), [])
    assert.isNotEmpty(page.filter(({ language }) => language === "json"))
  })

  it("links to what is there", () => {
    assert.deepStrictEqual(
      links(readme).filter((target) => !existsSync(path.join(root, target))),
      []
    )
  })

  it("lists the environment variables that Config.ts reads, and no others", () => {
    const rows = readme.split("\n").filter((line) => line.startsWith("| `"))
    const listed = rows.flatMap((row) =>
      Array.from(row.split("|")[1]?.matchAll(/`([A-Z][A-Z\d_]+)`/g) ?? [], (m) => m[1])
    )
    const known = Array.from(read("src/Config.ts").matchAll(/"([A-Z][A-Z\d]*(?:_[A-Z\d]+)+|HOST|PORT)"/g), (m) => m[1])
    assert.deepStrictEqual(Array.from(new Set(listed)).sort(), Array.from(new Set(known)).sort())
  })

  const snippets = page.filter(({ language }) => language === "ts")
  it.runIf(snippets.length > 0)("holds TypeScript that compiles", { timeout: 120_000 }, () => {
    const found = diagnostics(
      snippets.map(({ text }) => text),
      { taskchat: "src/index.ts" }
    )
    assert.deepStrictEqual(
      snippets.flatMap((block, index) => (found[index] ?? []).map((problem) => `line ${block.line}: ${problem}`)),
      []
    )
  })
})
