import { spawn } from "node:child_process"
import { PassThrough } from "node:stream"
import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted, Schema, TestClock } from "effect"
import { UserId } from "../../src/domain/Id.ts"
import * as McpStdio from "../../src/server/McpStdio.ts"
import { RateLimits } from "../../src/services/access/RateLimits.ts"
import { Tokens } from "../../src/services/access/Tokens.ts"
import { Tasks } from "../../src/services/tasks/Tasks.ts"
import * as TaskTools from "../../src/services/tasks/TaskTools.ts"
import { build } from "../support/Build.ts"
import * as Database from "../support/Database.ts"
import { clients } from "../support/McpClients.ts"
import { root } from "../support/Repository.ts"
import { complaints } from "../support/Service.ts"
import { temporaryFolder } from "../support/Shell.ts"

const limit = 4
const services = TaskTools.layer.pipe(
  Layer.provideMerge(Tasks.layer),
  Layer.provide(Database.layer),
  Layer.provideMerge(RateLimits.layerMemory({ api: { limit }, chat: { limit } })),
  Layer.provideMerge(Tokens.layerTest)
)

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

const Message = Schema.parseJson(
  Schema.Struct({
    id: Schema.Number,
    result: Schema.optional(Schema.Unknown),
    error: Schema.optional(
      Schema.Struct({ code: Schema.Number, message: Schema.String, data: Schema.optional(Schema.Unknown) })
    )
  })
)
const decodeMessage = Schema.decodeUnknownSync(Message)

/** The server in this process, on pipes. Its services are built when `opening` completes. */
const started = (user: UserId, opening: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    const context = yield* Effect.context<Layer.Layer.Success<typeof services>>()
    const tokens = yield* Tokens
    const token = Redacted.make(yield* Effect.orDie(tokens.issue(user, "1 hour")))
    const stdin = new PassThrough()
    const stdout = new PassThrough()
    const lines = stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })
    const fiber = yield* Effect.forkScoped(
      McpStdio.serve(token, Layer.effectContext(Effect.as(opening, context)), { stdin, stdout })
    )
    let id = 0
    /** Reads the answer, which is one line, before the next request is written. */
    const request = (method: string, params: object = {}) =>
      Effect.promise(async () => {
        stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: ++id, method, params })}\n`)
        const answer = decodeMessage((await lines.next()).value)
        assert.strictEqual(answer.id, id)
        return answer
      })
    return { fiber, request, stdin }
  })

layer(services)("McpStdio", (it) => {
  it.scoped("calls change the tasks of the token's user, and MCP is recorded as the cause", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { request } = yield* started(user)
      yield* request("tools/call", { name: "create_task", arguments: { title: "a" } })
      yield* request("tools/call", { name: "create_task", arguments: { title: "b" } })
      const tasks = yield* Tasks
      const page = yield* tasks.list(user, {})
      const causes = yield* Effect.forEach(page.tasks, (task) =>
        Effect.map(tasks.history(user, task.id, {}), ({ changes }) => changes[0]?.cause)
      )
      const ids = causes.map((cause) => (cause?._tag === "Mcp" ? cause.requestId : undefined))
      assert.strictEqual(new Set(ids.filter((id) => id !== undefined)).size, 2)
    })
  )

  it.scoped("answers `initialize` before the database is open, and other requests after that", () =>
    Effect.gen(function* () {
      const opening = yield* Deferred.make<void>()
      const { request } = yield* started(yield* newUser, Deferred.await(opening))
      const greeting = yield* request("initialize", {
        protocolVersion: "2025-11-25",
        capabilities: {},
        clientInfo: { name: "test", version: "1" }
      })
      assert.isUndefined(greeting.error)
      assert.isUndefined((yield* request("ping")).error)
      const answer = yield* Effect.fork(request("tools/call", { name: "list_tasks" }))
      yield* Deferred.succeed(opening, undefined)
      assert.isUndefined((yield* Fiber.join(answer)).error)
    })
  )

  it.scoped("requests count against the rate limit, except `initialize` and `ping`", () =>
    Effect.gen(function* () {
      const { request } = yield* started(yield* newUser)
      yield* request("initialize", {
        protocolVersion: "2025-11-25",
        capabilities: {},
        clientInfo: { name: "test", version: "1" }
      })
      const methods = ["tools/list", "resources/list", "resources/templates/list", "prompts/list"]
      for (const method of methods) assert.isUndefined((yield* request(method)).error)
      const { error } = yield* request("tools/call", { name: "list_tasks" })
      assert.strictEqual(error?.code, -32600)
      const { code, retry_after } = Schema.decodeUnknownSync(
        Schema.Struct({ code: Schema.String, retry_after: Schema.Int })
      )(error?.data)
      assert.deepStrictEqual([code, retry_after > 0], ["rate_limited", true])
      assert.isUndefined((yield* request("ping")).error)
    })
  )

  it.scoped("once the token has expired, requests are refused, and nothing is changed", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { request } = yield* started(user)
      assert.isUndefined((yield* request("tools/list")).error)
      yield* TestClock.adjust("61 minutes")
      const { error } = yield* request("tools/call", { name: "create_task", arguments: { title: "t" } })
      assert.deepStrictEqual([error?.code, error?.data], [-32600, { code: "invalid_token" }])
      assert.strictEqual((yield* (yield* Tasks).list(user, {})).total, 0)
    })
  )

  it.scoped("the server ends when the client closes the input", () =>
    Effect.gen(function* () {
      const { fiber, request, stdin } = yield* started(yield* newUser)
      yield* request("ping")
      stdin.end()
      yield* Fiber.join(fiber)
    })
  )

  it.effect("the server does not start with an invalid token", () =>
    Effect.gen(function* () {
      const streams = { stdin: new PassThrough(), stdout: new PassThrough() }
      const context = yield* Effect.context<Layer.Layer.Success<typeof services>>()
      const error = yield* Effect.flip(
        McpStdio.serve(Redacted.make("nonsense"), Layer.succeedContext(context), streams)
      )
      assert.match(error.message, /^TASKCHAT_TOKEN is not accepted/)
    })
  )
})

const secret = "a secret of more than thirty-two bytes"
const command = process.execPath
const main = `${root}/dist/bin/main.js`
const built = Effect.runSync(Effect.cached(build))

const environment = (folder: string, variables: Readonly<Record<string, string>> = {}) => ({
  PATH: process.env["PATH"] ?? "",
  DATA_DIR: folder,
  JWT_SECRET: secret,
  ...variables
})

const tokenOf = (user: number) =>
  Effect.flatMap(Tokens, (tokens) => Effect.orDie(tokens.issue(UserId.make(user), "1 hour"))).pipe(
    Effect.provide(Tokens.layer({ keys: { secret: Redacted.make(secret) } }))
  )

/** Runs the program until it exits, without input. */
const run = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) =>
  Effect.async<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = spawn(command, [main, ...args], {
      env: { ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let [stdout, stderr] = ["", ""]
    child.stdout.on("data", (data) => {
      stdout += data
    })
    child.stderr.on("data", (data) => {
      stderr += data
    })
    child.on("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
    return Effect.sync(() => child.kill())
  })

describe("taskchat mcp --stdio", () => {
  it.scopedLive(
    "serves one client after another from the same database, and reads dates in the machine's time zone",
    () =>
      Effect.gen(function* () {
        yield* built
        const env = environment(yield* temporaryFolder, { TASKCHAT_TOKEN: yield* tokenOf(1), TZ: "Asia/Tokyo" })
        const address = { command, args: [main, "mcp", "--stdio"], env }
        for (const [index, [name, connect]] of clients.entries()) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const client = yield* connect(address)
              assert.include(yield* client.tools, "create_task")
              const { structured } = yield* client.call("create_task", { title: name, due: "tomorrow" })
              assert.include(structured, { time_zone: "Asia/Tokyo" })
              assert.include((yield* client.call("list_tasks")).structured, { total: index + 1 })
              assert.include(yield* client.read("tasks://list"), name)
              assert.isTrue((yield* client.call("get_task", { task_id: 99 })).isError)
              if (index > 0) return
              const second = yield* run(["mcp", "--stdio"], env)
              assert.deepStrictEqual([second.code, second.stdout], [1, ""])
              assert.match(second.stderr, /in use by process \d+.*DATABASE_URL/)
            })
          )
        }
      }),
    180_000
  )

  it.scopedLive(
    "prints an error in its arguments or environment as one line on standard error",
    () =>
      Effect.gen(function* () {
        yield* built
        const folder = yield* temporaryFolder
        const failures = yield* Effect.all([
          run(["mcp", "--stdio"], environment(folder)),
          run(["mcp", "--stdio"], environment(folder, { TASKCHAT_TOKEN: "nonsense" })),
          run(["mcp"], environment(folder))
        ])
        assert.deepStrictEqual(
          failures.map(({ code, stderr, stdout }) => [code, stdout, complaints(stderr).length]),
          [
            [1, "", 1],
            [1, "", 1],
            [1, "", 1]
          ]
        )
        const [missing = "", nonsense = "", bare = ""] = failures.flatMap(({ stderr }) => complaints(stderr))
        assert.match(missing, /^TASKCHAT_TOKEN is not set/)
        assert.match(nonsense, /^TASKCHAT_TOKEN is not accepted/)
        assert.match(bare, /--stdio/)
      }),
    180_000
  )
})
