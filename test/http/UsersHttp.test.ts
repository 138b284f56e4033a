import { assert, layer } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { call, unreported, used, wait } from "../../src/testing/ScriptedModel.ts"
import * as Server from "../support/Server.ts"
import { type Answer, fieldsOf, newUser, open, say, send, stream } from "../support/Server.ts"

const options = { origins: ["https://app.example.com"], tokensPerDay: 8000, maxRunning: 3, maxRunningPerUser: 2 }

const codeOf = ({ json, status }: Answer) => [status, json["code"]]

layer(Server.layer(options))("UsersHttp", (it) => {
  it.effect("/api/me has the token's user, the remaining requests and the usage", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      yield* send("POST", "/api/me/chat", { user, body: { message: "Hi" } })
      const { json, status } = yield* send("GET", "/api/me", { user })
      assert.deepStrictEqual([status, json["user_id"], Object.keys(json)], [200, user, ["user_id", "limits", "usage"]])
      const { api, chat } = fieldsOf(json["limits"])
      for (const allowance of [fieldsOf(api), fieldsOf(chat)]) {
        assert.deepStrictEqual(Object.keys(allowance), ["limit", "remaining", "resets_at"])
        assert.strictEqual(allowance["remaining"], 999_999)
      }
      assert.isAbove(Number(fieldsOf(json["usage"])["output_tokens"]), 0)
      assert.strictEqual((yield* send("GET", "/api/me")).status, 401)
      assert.strictEqual((yield* send("GET", `/api/${user}/me`, { user })).status, 404)
    })
  )

  it.effect("…/usage has the cost of ended turns per day, and the rest of today's budget", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { plays } = yield* Server.Server
      yield* plays("Which?", [call("list_tasks"), used(412, 38)], ["None.", used(500, 2)])
      yield* plays("Silent", ["Well.", unreported])
      yield* say(user, "Which?")
      const [turn, untold] = [yield* say(user, "Which?"), yield* say(user, "Silent")]
      const { json: one } = yield* send("GET", `/api/me/turns/${turn.json["turn_id"]}`, { user })
      assert.deepStrictEqual(
        [one["model"], one["usage"], one["steps"]],
        [
          "custom",
          { input_tokens: 912, output_tokens: 40 },
          [
            { input_tokens: 412, output_tokens: 38 },
            { input_tokens: 500, output_tokens: 2 }
          ]
        ]
      )
      const estimated = Number(fieldsOf(untold.json["usage"])["estimated_tokens"])
      assert.isAbove(estimated, 4096)
      const { json, status } = yield* send("GET", `/api/${user}/usage`, { user })
      const days = json["days"]
      if (!Array.isArray(days)) return assert.fail(JSON.stringify(json))
      assert.deepStrictEqual([status, Object.keys(json), days.length], [200, ["days", "limit", "remaining"], 30])
      const none = { completed: 0, failed: 0, timed_out: 0, cancelled: 0, interrupted: 0 }
      const nothing = { input_tokens: 0, output_tokens: 0, estimated_tokens: 0, turns: none, models: [] }
      assert.deepStrictEqual(days.slice(-2), [
        { ...nothing, date: "1969-12-31" },
        {
          date: "1970-01-01",
          ...{ input_tokens: 1824, output_tokens: 80, estimated_tokens: estimated },
          turns: { ...none, completed: 3 },
          models: [{ model: "custom", input_tokens: 1824, output_tokens: 80 }]
        }
      ])
      assert.deepStrictEqual([json["limit"], json["remaining"]], [8000, 8000 - 1904 - estimated])
      const me = yield* send("GET", "/api/me", { user })
      assert.deepStrictEqual(me.json["usage"], {
        input_tokens: 1824,
        output_tokens: 80,
        estimated_tokens: estimated
      })

      const asked = (query: string) => send("GET", `/api/me/usage?${query}`, { user })
      const dates = ({ json: { days } }: Answer) =>
        (Array.isArray(days) ? days : []).map((day) => fieldsOf(day)["date"])
      assert.deepStrictEqual(dates(yield* asked("from=1969-12-31&to=1970-01-02")), [
        ...["1969-12-31", "1970-01-01", "1970-01-02"]
      ])
      assert.lengthOf(dates(yield* asked("from=1969-10-02")), 92)
      assert.deepStrictEqual(dates(yield* asked("to=0001-01-02")), ["0001-01-01", "0001-01-02"])
      assert.lengthOf(dates(yield* asked("to=9999-12-31")), 30)
      for (const query of ["from=1969-10-01", "from=1970-01-02", "from=soon", "to=1970-02-30", "to="]) {
        assert.deepStrictEqual(codeOf(yield* asked(query)), [400, "invalid_request"], query)
      }
      assert.deepStrictEqual((yield* asked("from=1969-10-01")).json["errors"], [
        { path: "from", message: "must be at most 91 days before `to`, or today where that is absent" }
      ])
      const other = yield* newUser
      assert.deepStrictEqual(codeOf(yield* send("GET", `/api/${user}/usage`, { user: other })), [403, "user_mismatch"])
    })
  )

  it.scoped("the order of refusals is the conversation, its turn, the user's turns, the budget, the node", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      const gates = { one: yield* Deferred.make<void>(), two: yield* Deferred.make<void>() }
      yield* plays("One", ["So", wait(Deferred.await(gates.one)), "far.", used(10, 10)])
      yield* plays("Two", ["So", wait(Deferred.await(gates.two)), "far.", used(8000, 10)])
      const [user, other] = [yield* newUser, yield* newUser]
      const theirs = (yield* say(other, "Hi")).json["conversation_id"]
      const first = yield* stream(user, "One", {}, { "idempotency-key": "one" })
      const one = (yield* first.event).data
      const second = yield* stream(user, "Two")
      const two = (yield* second.event).data
      // The reservations of the two turns use up the budget.
      const left = (yield* send("GET", "/api/me/usage", { user })).json
      assert.deepStrictEqual([left["limit"], left["remaining"]], [8000, 0])

      const refused = (fields: object = {}, headers: Readonly<Record<string, string>> = {}) =>
        Effect.map(send("POST", "/api/me/chat", { user, body: { message: "More", ...fields }, headers }), codeOf)
      const early = Effect.gen(function* () {
        assert.deepStrictEqual(yield* refused({ conversation_id: 4_000_000 }), [404, "conversation_not_found"])
        assert.deepStrictEqual(yield* refused({ conversation_id: theirs }), [403, "conversation_forbidden"])
        assert.deepStrictEqual(yield* refused({ conversation_id: one["conversation_id"] }), [409, "turn_in_progress"])
      })
      yield* early
      assert.deepStrictEqual(yield* refused(), [429, "too_many_turns"])
      yield* Deferred.succeed(gates.two, undefined)
      assert.strictEqual((yield* second.rest).at(-1)?.data["done"], true)
      // The last step may exceed the budget.
      assert.strictEqual(two["conversation_id"] === one["conversation_id"], false)
      const keyed = { "idempotency-key": "later" }
      const late = Effect.gen(function* () {
        yield* early
        const path = { conversation_id: two["conversation_id"] }
        const answer = yield* send("POST", "/api/me/chat/stream", {
          user,
          body: { message: "More", ...path },
          headers: keyed
        })
        assert.deepStrictEqual(codeOf(answer), [429, "budget_exhausted"])
        assert.deepStrictEqual([answer.headers["retry-after"], answer.json["turn_id"]], ["86400", undefined])
        const again = yield* open("POST", "/api/me/chat/stream", {
          user,
          body: { message: "One" },
          headers: { "idempotency-key": "one" }
        })
        assert.deepStrictEqual([again.status, again.headers["idempotent-replayed"]], [200, "true"])
      })
      yield* late
      // The same on a full node, where other users get 503.
      const rest = yield* stream(other, "One")
      yield* stream(other, "One")
      yield* rest.event
      yield* late
      assert.deepStrictEqual(codeOf(yield* say(other, "Hi")), [429, "too_many_turns"])
      assert.deepStrictEqual(codeOf(yield* say(yield* newUser, "Hi")), [503, "unavailable"])
      yield* Deferred.succeed(gates.one, undefined)
      yield* rest.rest
      yield* first.rest
      // The refusals have not used up the key: otherwise another body would be 422.
      const other2 = yield* send("POST", "/api/me/chat/stream", { user, body: { message: "Other" }, headers: keyed })
      assert.deepStrictEqual(codeOf(other2), [429, "budget_exhausted"])
    })
  )

  it.scoped("a turn that used up the budget in a step with calls is 429, or in a stream its last event", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      yield* plays("Spend", ["Adding.", call("create_task", { title: "Milk" }), used(9000, 1)])
      const json = yield* say(yield* newUser, "Spend")
      assert.deepStrictEqual(codeOf(json), [429, "budget_exhausted"])
      assert.strictEqual(json.headers["retry-after"], "86400")
      const events = yield* Effect.flatMap(stream(yield* newUser, "Spend"), ({ rest }) => rest)
      const last = events.at(-1)?.data ?? {}
      for (const told of [json.json, last]) {
        const [done] = Array.isArray(told["tool_calls"]) ? told["tool_calls"] : []
        assert.deepStrictEqual([told["code"], fieldsOf(done)["tool"]], ["budget_exhausted", "create_task"])
        assert.isString(told["turn_id"])
      }
      assert.strictEqual(last["done"], true)
    })
  )

  it.effect("me stands for the token's user in every path", () =>
    Effect.gen(function* () {
      const [user, other] = [yield* newUser, yield* newUser]
      const request = { user, body: { title: "Buy milk" }, headers: { "idempotency-key": "once" } }
      const first = yield* send("POST", "/api/me/tasks", request)
      assert.deepStrictEqual([first.status, first.headers["location"]], [201, `/api/${user}/tasks/${first.json["id"]}`])
      const again = yield* send("POST", `/api/${user}/tasks`, request)
      assert.deepStrictEqual([again.headers["idempotent-replayed"], again.json], ["true", first.json])
      assert.strictEqual((yield* send("GET", `/api/me/tasks/${first.json["id"]}`, { user })).status, 200)
      assert.strictEqual((yield* send("GET", `/api/me/tasks/${first.json["id"]}`, { user: other })).status, 404)
      assert.strictEqual((yield* send("GET", "/api/me/nothing", { user })).status, 404)
      assert.strictEqual((yield* send("GET", "/api/you/tasks", { user })).status, 400)
      assert.notInclude((yield* send("GET", "/metrics")).text, 'route="/api/me/')
    })
  )

  it.effect("answers under /api are private", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const cachingOf = ({ headers }: { readonly headers: Readonly<Record<string, string | undefined>> }) => [
        headers["cache-control"],
        headers["vary"]?.split(", ").sort()
      ]
      const theirs = ["private, no-cache", ["Authorization", "Origin"]]
      assert.deepStrictEqual(cachingOf(yield* send("GET", "/api/me/tasks", { user })), theirs)
      assert.deepStrictEqual(cachingOf(yield* send("GET", "/api/1/tasks", { user })), theirs)
      assert.deepStrictEqual(cachingOf(yield* send("GET", "/api/me/nothing", { user })), theirs)
      assert.deepStrictEqual(cachingOf(yield* send("GET", "/api/me")), theirs)
      const stream = yield* send("POST", "/api/me/chat/stream", { user, body: { message: "Hi" } })
      assert.deepStrictEqual(cachingOf(stream), ["no-cache, no-transform", ["Authorization", "Origin"]])
    })
  )
})
