import { HttpLayerRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, Context, Deferred, Effect, Fiber, Layer, Logger, LogLevel, Predicate, Schema } from "effect"
import { UserId } from "../../../src/domain/Id.ts"
import * as Mcp from "../../../src/http/mcp/Mcp.ts"
import { RateLimits } from "../../../src/services/access/RateLimits.ts"
import { Tokens } from "../../../src/services/access/Tokens.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import * as TaskTools from "../../../src/services/tasks/TaskTools.ts"
import * as Database from "../../support/Database.ts"
import { clients, type McpClient } from "../../support/McpClients.ts"

/** A task whose reading never ends, and whether it was interrupted. */
class Endless extends Context.Tag("test/McpClients/Endless")<
  Endless,
  Array<{ readonly begun: Deferred.Deferred<void>; readonly ended: Deferred.Deferred<void> }>
>() {}

const endless = 999_999_999

const tasks = Layer.effect(
  Tasks,
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const readers = yield* Endless
    return Tasks.of({
      ...tasks,
      get: (owner, id) => {
        const reader = id === endless ? readers.at(-1) : undefined
        if (reader === undefined) return tasks.get(owner, id)
        return Effect.onInterrupt(Effect.zipRight(Deferred.succeed(reader.begun, undefined), Effect.never), () =>
          Deferred.succeed(reader.ended, undefined)
        )
      }
    })
  })
).pipe(Layer.provide(Tasks.layer))

const limit = 40
const server = HttpLayerRouter.serve(Mcp.layer({ origins: [] }), { disableListenLog: true, disableLogger: true }).pipe(
  Layer.provide(TaskTools.layer),
  Layer.provide(tasks),
  Layer.provideMerge(Layer.succeed(Endless, [])),
  Layer.provide(Database.layer),
  Layer.provide(RateLimits.layerMemory({ api: { limit }, chat: { limit } })),
  Layer.provideMerge(Tokens.layerTest),
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provide(Logger.minimumLogLevel(LogLevel.None))
)

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

const url = HttpServer.addressWith((address) =>
  Effect.succeed(`http://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}/mcp`)
)

const addressOf = (user: UserId, more: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function* () {
    const tokens = yield* Tokens
    const authorization = `Bearer ${yield* Effect.orDie(tokens.issue(user, "1 hour"))}`
    return { url: yield* url, headers: { authorization, ...more } }
  })

const Result = Schema.Struct({
  status: Schema.String,
  error: Schema.optional(Schema.String),
  task: Schema.optional(Schema.Struct({ id: Schema.Number, title: Schema.String })),
  tasks: Schema.optional(Schema.Array(Schema.Struct({ title: Schema.String })))
})
const decodeResult = Schema.decodeUnknownSync(Result)

const callOf = (client: McpClient) => (name: string, args?: Record<string, unknown>) =>
  Effect.map(client.call(name, args), ({ isError, structured }) => ({ isError, ...decodeResult(structured) }))

/** The message of a client's failure with all its causes. */
const wordsOf = (error: unknown): string =>
  Predicate.isError(error)
    ? `${"code" in error ? String(error.code) : ""} ${error.message} ${wordsOf(error.cause)}`
    : String(error)

layer(server, { excludeTestServices: true })("over HTTP", (it) => {
  it.scoped.each(clients)("%s lists, calls and reads what there is", ([, connect, revision]) =>
    Effect.gen(function* () {
      const client = yield* connect(yield* addressOf(yield* newUser))
      const call = callOf(client)
      assert.strictEqual(client.revision, revision)
      assert.deepStrictEqual(yield* client.tools, Object.keys(TaskTools.TaskTools.tools))
      const made = yield* call("create_task", { title: "Buy milk", priority: "high", labels: ["errands"] })
      assert.deepStrictEqual([made.isError, made.task?.title], [false, "Buy milk"])
      assert.strictEqual((yield* call("list_tasks")).tasks?.length, 1)
      assert.deepStrictEqual(yield* client.resources, ["tasks"])
      assert.include(yield* client.read("tasks://list"), "Buy milk")
      assert.include(yield* client.read(`tasks://${made.task?.id}`), "Buy milk")
      assert.deepStrictEqual(yield* client.prompts, ["plan_day", "weekly_review"])
      assert.strictEqual(yield* client.prompt("plan_day"), 1)
    })
  )

  it.scoped.each(clients)("%s gets as a result what its model can mend, and fails for the rest", ([, connect]) =>
    Effect.gen(function* () {
      const client = yield* connect(yield* addressOf(yield* newUser))
      const call = callOf(client)
      assert.deepStrictEqual(yield* call("get_task", { task_id: 1 }), {
        isError: true,
        status: "error",
        error: "Task not found"
      })
      const { error, isError } = yield* call("create_task", { title: "t", due: "someday" })
      assert.strictEqual(isError, true)
      assert.include(error, "tomorrow")
      assert.include(wordsOf(yield* Effect.flip(client.call("drop_tables"))), "Unknown tool")
      assert.include(wordsOf(yield* Effect.flip(client.read("tasks://0"))), "not found")
    })
  )

  it.scoped("concurrent clients of all kinds see only the tasks of their users", () =>
    Effect.gen(function* () {
      const users = yield* Effect.all([newUser, newUser])
      const seen = yield* Effect.forEach(
        Arr.cartesian(users, clients),
        ([user, [, connect]]) =>
          Effect.gen(function* () {
            const call = callOf(yield* connect(yield* addressOf(user)))
            yield* Effect.forEach(Arr.range(1, 3), () => call("create_task", { title: `of ${user}` }), {
              concurrency: "unbounded"
            })
            const { tasks = [] } = yield* call("list_tasks")
            return tasks.map(({ title }) => [user, title])
          }),
        { concurrency: "unbounded" }
      )
      assert.isAtLeast(seen.flat().length, 18)
      for (const [user, title] of seen.flat()) assert.strictEqual(title, `of ${user}`)
    })
  )

  it.scoped.each(clients)("%s is told who may not ask, from where, and how often", ([, connect]) =>
    Effect.gen(function* () {
      const user = yield* newUser
      const address = yield* addressOf(user)
      const wrong = { ...address, headers: { authorization: "Bearer nonsense" } }
      assert.match(wordsOf(yield* Effect.flip(connect(wrong))), /401|Unauthorized|invalid_token/i)
      const foreign = yield* addressOf(user, { origin: "https://evil.example.com" })
      assert.match(wordsOf(yield* Effect.flip(connect(foreign))), /403|Forbidden|origin_forbidden/i)
      const client = yield* connect(address)
      const calls = yield* Effect.forEach(Arr.range(1, limit), () => Effect.either(client.tools))
      assert.strictEqual(calls[0]?._tag, "Right")
      const last = yield* Effect.flip(client.tools)
      assert.match(wordsOf(last), /429|Too many/i)
    })
  )

  it.scoped.each(clients)("a call that %s gives up is given up here, too", ([, connect]) =>
    Effect.gen(function* () {
      const reader = { begun: yield* Deferred.make<void>(), ended: yield* Deferred.make<void>() }
      const readers = yield* Endless
      readers.push(reader)
      const address = yield* addressOf(yield* newUser)
      const abandoned = yield* Effect.scoped(
        Effect.flatMap(connect(address), (client) => client.call("get_task", { task_id: endless }))
      ).pipe(Effect.fork)
      yield* Deferred.await(reader.begun)
      // The scope closes the connection of the client.
      yield* Fiber.interrupt(abandoned)
      yield* Deferred.await(reader.ended)
    })
  )
})
