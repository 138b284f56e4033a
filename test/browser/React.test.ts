import { execFile } from "node:child_process"
import { createReadStream, existsSync, statSync } from "node:fs"
import { createServer } from "node:http"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Logger, LogLevel } from "effect"
import * as ScriptedModel from "../../src/testing/ScriptedModel.ts"
import { Browser, hasBrowser, open } from "../support/Browser.ts"
import { cuttable } from "../support/Cuttable.ts"
import { root } from "../support/Repository.ts"
import * as Server from "../support/Server.ts"
import { newUser, tokenOf } from "../support/Server.ts"
import { temporaryFolder } from "../support/Shell.ts"

const { call, pause } = ScriptedModel

const example = path.join(root, "examples", "react")

/** Its packages as its lock file has them, if they are not there yet. */
const install = async () => {
  const [lock, installed] = ["package-lock.json", "node_modules/.package-lock.json"].map((name) =>
    path.join(example, name)
  )
  const isFresh = existsSync(installed ?? "") && statSync(installed ?? "").mtimeMs >= statSync(lock ?? "").mtimeMs
  if (!isFresh) await promisify(execFile)("npm", ["ci", "--silent"], { cwd: example })
}

const types: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" }

/** The files of a folder, from an origin of their own. */
const served = (folder: string) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer(({ url = "/" }, response) => {
        const file = path.join(folder, url === "/" ? "index.html" : url)
        const type = types[path.extname(file)]
        if (type === undefined || !existsSync(file)) return response.writeHead(404).end()
        response.writeHead(200, { "content-type": type })
        return createReadStream(file).pipe(response)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: `http://localhost:${port}`, close: () => server.close() }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const service = Layer.merge(Browser.layer, Server.layer({ origins: "loopback", confirm: "deletions" })).pipe(
  Layer.provide(Logger.minimumLogLevel(LogLevel.Error))
)

describe.runIf(hasBrowser)("examples/react", () => {
  layer(service, { excludeTestServices: true, timeout: "5 minutes" })((it) => {
    it.scoped(
      "builds, and shows an answer as it arrives, also after a cut and a reload, in a page of another origin",
      () =>
        Effect.gen(function* () {
          const { plays, port } = yield* Server.Server
          const { resume } = yield* ScriptedModel.ScriptedModel
          const way = yield* cuttable(port)
          const folder = yield* temporaryFolder
          yield* Effect.promise(async () => {
            await install()
            await promisify(execFile)("npm", ["run", "build", "--", "--outDir", folder, "--emptyOutDir"], {
              cwd: example,
              env: { ...process.env, VITE_TASKCHAT_URL: `http://127.0.0.1:${way.port}` }
            })
          })
          const { url } = yield* served(folder)
          yield* plays(
            "Plan",
            ["Two things. ", call("create_task", { title: "Milk" }), call("get_task", { task_id: 1e9 })],
            [pause, "First, ", pause, "second, ", pause, "done."]
          )
          yield* plays("Talk", ["Well, ", pause, "never said"])
          const user = yield* newUser
          const token = yield* tokenOf(user)
          const created = yield* Server.send("POST", `/api/${user}/tasks`, { user, body: { title: "Bread" } })
          yield* plays("Throw it away", [call("delete_task", { task_id: created.json["id"] })], "It is gone.")
          const page = yield* open()
          const goOn = () => Effect.runPromise(resume)
          const answer = page.getByRole("article", { name: "assistant" }).last()
          const sees = (text: string) => answer.getByText(text, { exact: true }).waitFor()
          const say = async (text: string) => {
            await page.getByLabel("Message").fill(text)
            await page.keyboard.press("Enter")
          }
          yield* Effect.promise(async () => {
            await page.goto(url)
            await page.getByLabel("Token").fill(token)
            await page.keyboard.press("Enter")
            await say("Plan")
            await sees("Two things.")
            await sees("create task")
            await sees("get task: Task not found")
            await goOn()
            await sees("First,")
            // What follows a tool begins where it stands: no empty lines before it.
            const paragraphs = await answer.locator("p").allTextContents()
            assert.deepStrictEqual(paragraphs, ["Two things. ", "create task", "get task: Task not found", "First, "])
            way.cut()
            await goOn()
            await sees("First, second,")
            await page.reload()
            await sees("First, second,")
            await goOn()
            await page.getByRole("button", { name: "Send" }).waitFor()
            const read = await answer.locator("p").allTextContents()
            assert.deepStrictEqual(read, [...paragraphs.slice(0, -1), "First, second, done."])
            await page.reload()
            await sees("First, second, done.")
            assert.deepStrictEqual(await answer.locator("p").allTextContents(), read)
            await say("Talk")
            await sees("Well,")
            await page.getByRole("button", { name: "Stop" }).click()
            await page.getByRole("button", { name: "Send" }).waitFor()
            assert.strictEqual(await page.getByRole("article").count(), 4)
            await say("Throw it away")
            await page.getByRole("button", { name: "Decline" }).waitFor()
            await page.reload()
            await page.getByRole("button", { name: "Approve" }).click()
            await sees("It is gone.")
            assert.strictEqual(await page.getByRole("button", { name: "Approve" }).count(), 0)
            assert.deepStrictEqual(await answer.locator("p").allTextContents(), ["delete task", "It is gone."])
          })
        })
    )
  })
})
