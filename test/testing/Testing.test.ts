import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, Stream, TestClock } from "effect"
import { TurnId, UserId } from "../../src/domain/Id.ts"
import { Cause } from "../../src/domain/Task.ts"
import { RateLimits } from "../../src/services/access/RateLimits.ts"
import { Tokens } from "../../src/services/access/Tokens.ts"
import { Agent } from "../../src/services/agent/Agent.ts"
import { Conversations } from "../../src/services/Conversations.ts"
import { Tasks } from "../../src/services/tasks/Tasks.ts"
import { Turns } from "../../src/services/turns/Turns.ts"
import * as Sql from "../../src/sql/Sql.ts"
import { ScriptedModel, TestServer, tokenOf } from "../../src/testing.ts"
import * as Database from "../support/Database.ts"

const user = UserId.make(1)
const path = { user_id: user }

describe("TestServer", () => {
  it.effect("answers as its script says, with a client for any user", () =>
    Effect.gen(function* () {
      const server = yield* TestServer
      const client = yield* server.client(user)
      const answer = yield* client.chat.send({ path, headers: {}, payload: { message: "Add milk" } })
      assert.strictEqual(answer.assistantMessage, "Done.")
      const { tasks } = yield* client.tasks.list({ path, urlParams: {} })
      assert.deepStrictEqual(
        tasks.map(({ title }) => title),
        ["Milk"]
      )
      const other = yield* server.client(UserId.make(2))
      assert.strictEqual((yield* other.tasks.list({ path: { user_id: UserId.make(2) }, urlParams: {} })).total, 0)
      assert.strictEqual((yield* Effect.flip(other.tasks.list({ path, urlParams: {} })))._tag, "UserMismatch")
    }).pipe(
      Effect.provide(
        TestServer.layer({
          database: Database.layer,
          script: [ScriptedModel.call("create_task", { title: "Milk" }), "Done."]
        })
      )
    )
  )

  it.effect("a turn's time is up when the clock says so", () =>
    Effect.gen(function* () {
      const client = yield* (yield* TestServer).client(user)
      const model = yield* ScriptedModel.ScriptedModel
      const events = yield* Effect.fork(Stream.runCollect(client.stream({ user, message: "Hello" })))
      yield* model.untilAsked(1)
      yield* TestClock.adjust("30 seconds")
      const [, text, last] = Chunk.toReadonlyArray(yield* Fiber.join(events))
      assert.deepInclude(text, { _tag: "Text", content: "Well" })
      assert.deepInclude(last, { _tag: "Failed", code: "agent_timeout", done: true })
    }).pipe(Effect.provide(TestServer.layer({ database: Database.layer, script: [["Well", ScriptedModel.silence]] })))
  )
})

describe("the hermetic layers of the services", () => {
  it.effect(
    "share one fresh database where they are built together, and nothing else",
    () =>
      Effect.gen(function* () {
        const turns = yield* Turns
        const begun = yield* turns.begin({ user, conversationId: null, message: "Hello", timeZone: "UTC", key: null })
        const { conversations } = yield* (yield* Conversations).list(user, {})
        assert.deepStrictEqual(
          conversations.map(({ id }) => id),
          "conversationId" in begun ? [begun.conversationId] : []
        )
        const { task } = yield* (yield* Tasks).create(user, { title: "Milk" }, Cause.Request({ requestId: "test" }))
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(yield* sql`SELECT id::int FROM tasks`, [{ id: task.id }])
        assert.strictEqual((yield* (yield* Tokens).verify(yield* tokenOf(user))).id, user)
      }).pipe(
        Effect.provide(
          Layer.mergeAll(Conversations.layerTest, Tasks.layerTest, Turns.layerTest, Tokens.layerTest, Sql.layerTest)
        )
      ),
    { timeout: 60_000 } // here the process creates its first database
  )

  it.effect("limits go by the test's clock", () =>
    Effect.gen(function* () {
      const limits = yield* RateLimits
      const take = limits.take("chat", user)
      yield* Effect.replicateEffect(take, 59)
      assert.deepInclude(yield* take, { allowed: true, limit: 60, remaining: 0, windowSeconds: 60 })
      yield* TestClock.adjust("20 seconds")
      assert.deepInclude(yield* take, { allowed: false, remaining: 0, resetSeconds: 40, resetAt: 60, retryAfter: 40 })
      assert.isTrue((yield* limits.take("chat", UserId.make(2))).allowed)
      assert.isTrue((yield* limits.take("api", user)).allowed)
      yield* TestClock.adjust("40 seconds")
      assert.deepInclude(yield* take, { allowed: true, remaining: 59 })
    }).pipe(Effect.provide(RateLimits.layerTest))
  )

  it.effect("the agent says what it is told", () =>
    Effect.gen(function* () {
      const agent = yield* Agent
      const events = yield* Stream.runCollect(
        agent.run({
          id: TurnId.make("0197b3c2-7d5e-7cc3-98c4-dc0c0c07398f"),
          user,
          timeZone: "UTC",
          message: "Hello",
          history: [],
          record: (_, call) => call
        })
      )
      assert.deepStrictEqual(
        Chunk.toReadonlyArray(events).map(({ _tag }) => _tag),
        ["Text", "StepEnded"]
      )
    }).pipe(Effect.provide(Agent.layerTest))
  )
})
