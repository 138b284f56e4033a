import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Server from "../support/Server.ts"
import { fieldsOf, newUser, send } from "../support/Server.ts"

layer(Server.layer({ origins: ["https://app.example.com"] }))("UsersHttp", (it) => {
  it.effect("/api/me tells who the token's user is, what they may still send and what they have used", () =>
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

  it.effect("no cache keeps what is under /api for anyone else", () =>
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
