import { spawn } from "node:child_process"
import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { build } from "../support/Build.ts"
import { root } from "../support/Repository.ts"
import { temporaryFolder } from "../support/Shell.ts"

/** A server that accepts connections and never answers. */
const silent = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly close: () => void }>((resume) => {
    const sockets = new Set<{ destroy: () => void }>()
    const server = createServer((socket) => void sockets.add(socket)).listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const close = () => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }
      resume(Effect.succeed({ port, close }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

/** The output of the program until it writes `text` to standard error. */
const written = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>, text: string) =>
  Effect.promise(
    () =>
      new Promise<{ readonly stdout: string; readonly stderr: string }>((resolve, reject) => {
        const child = spawn(process.execPath, [`${root}/dist/bin/main.js`, ...args], {
          env: { PATH: process.env["PATH"] ?? "", JWT_SECRET: "a secret of more than thirty-two bytes", ...env }
        })
        let [stdout, stderr] = ["", ""]
        child.stdout.on("data", (data) => {
          stdout += data
        })
        child.stderr.on("data", (data) => {
          stderr += data
          if (stderr.includes(text)) child.kill("SIGKILL")
        })
        child.on("error", reject)
        child.on("close", () => resolve({ stdout, stderr }))
      })
  )

describe("a slow start", () => {
  it.scopedLive(
    "reports the current step on standard error",
    () =>
      Effect.gen(function* () {
        yield* build
        const { port } = yield* silent
        const DATA_DIR = yield* temporaryFolder
        const DATABASE_URL = `postgres://nobody@127.0.0.1:${port}/none`
        const connecting = "Connecting to PostgreSQL and bringing the database up to date …\n"
        const waiting = "Waiting for the service …\n"
        const runs = yield* Effect.all(
          [
            written(["serve"], { DATA_DIR, DATABASE_URL, PORT: "0" }, connecting),
            written(["mcp", "--stdio"], { DATA_DIR, DATABASE_URL, TASKCHAT_TOKEN: "any" }, connecting),
            written(["chat", "--url", `http://127.0.0.1:${port}`], { TASKCHAT_TOKEN: "any" }, waiting)
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(runs, [
          { stdout: "", stderr: connecting },
          { stdout: "", stderr: connecting },
          { stdout: "", stderr: waiting }
        ])
      }),
    120_000
  )
})
