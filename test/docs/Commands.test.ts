import { spawnSync } from "node:child_process"
import { symlinkSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Array as Arr, Context, Effect, Layer } from "effect"
import { differences, lineDifferences } from "../support/Answers.ts"
import { build } from "../support/Build.ts"
import { answerTo, documentOf, documents, notRun } from "../support/Documents.ts"
import type { Block } from "../support/Markdown.ts"
import { freePort } from "../support/Ports.ts"
import { root } from "../support/Repository.ts"
import * as Shell from "../support/Shell.ts"

/** In the order of reading: each goes on where the one before has left the terminal and the service. */
const pages = [
  documentOf("README.md"),
  documentOf("docs/operating.md"),
  ...documents.filter(({ file }) => !["README.md", "docs/operating.md"].includes(file))
]

/** A reader's terminal: an empty folder that holds the built package, with none of our own settings. */
class Terminal extends Context.Tag("test/Commands/Terminal")<Terminal, Shell.Shell>() {
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
      let turnId = ""
      return {
        run: (script) =>
          Effect.tap(shell.run(rehearsed(script, port).replaceAll("<turn_id>", turnId)), ({ stdout }) => {
            turnId = /"turn_id":"([\da-f-]{36})"/.exec(stdout)?.[1] ?? turnId
          })
      }
    })
  )
}

/**
 * A script as a reader would run it, but for these: the ports are a free one, and so the nodes of a cluster one service;
 * the packages are those already installed; what a reader leaves running in one terminal runs beside the shell, awaited
 * until it is ready; and a `<turn_id>` is the one that was last seen.
 */
const rehearsed = (script: string, port: number) =>
  script
    .split("\n")
    .filter((line) => !notRun.has(line))
    .join("\n")
    .replaceAll(/127\.0\.0\.1:300\d/g, `127.0.0.1:${port}`)
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

const compare = (shown: Block, printed: string) =>
  shown.language === "json"
    ? differences(JSON.parse(shown.text), JSON.parse(printed))
    : lineDifferences(shown.text, printed)

const name = ({ line, text }: Block) => `line ${line}: ${text.split("\n")[0]}`

// A bare machine has Node.js but perhaps no curl; nothing else on the page needs more than that.
const hasCurl = ["bash", "curl"].every((command) => spawnSync(command, ["--version"]).status === 0)

// A first start takes its time where processors are few and busy.
const timeout = 240_000

/** Whether there is anything in it to run. */
const isRun = ({ language, text }: Block) =>
  language === "sh" && text.split("\n").some((line) => !notRun.has(line) && !/^\s*(#.*)?$/.test(line))

const commands = pages.flatMap((page) => page.blocks.filter(isRun).map((block) => ({ page, block })))

// Before the service is started, as that holds the embedded database.
const [onDatabase, others] = Arr.partition(commands, ({ block }) => !/^npx taskchat (migrate|usage)/.test(block.text))

describe.skipIf(!hasCurl)("the documents' commands, run from top to bottom", () => {
  layer(Terminal.layer, { timeout })((it) => {
    for (const { block, page } of [...onDatabase, ...others]) {
      it.effect(
        `${page.file} ${name(block)}`,
        () =>
          Effect.gen(function* () {
            const terminal = yield* Terminal
            const { code, stderr, stdout } = yield* terminal.run(block.text)
            assert.strictEqual(code, 0, stderr)
            const shown = answerTo(page, block)
            if (shown === undefined) assert.notInclude(stdout, '"/problems/')
            else assert.deepStrictEqual(compare(shown, stdout), [], stdout)
          }),
        timeout
      )
    }
  })
})
