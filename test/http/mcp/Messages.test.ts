import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Server from "../../support/Server.ts"
import { type Answer, type Fields, fieldsOf, newUser, send } from "../../support/Server.ts"

const ping = { jsonrpc: "2.0", id: 1, method: "ping" }
const pong = { jsonrpc: "2.0", id: 1, result: {} }
const both = { accept: "application/json, text/event-stream" }

const post = (
  user: Effect.Effect.Success<typeof newUser>,
  body: object,
  headers: Readonly<Record<string, string>> = both
) => send("POST", "/mcp", { user, body, headers })

/** The message in an answer of either form. */
const messageIn = ({ text }: Answer): Fields => fieldsOf(JSON.parse(/^data: (.+)$/m.exec(text)?.[1] ?? text))

layer(Server.layer({ limits: { api: { limit: 50 }, chat: { limit: 50 } } }))("MCP messages", (it) => {
  it.effect("an answer has the form of Accept, and JSON for any type", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const [accept, type] of [
        ["application/json, text/event-stream", "text/event-stream"],
        ["text/event-stream", "text/event-stream"],
        ["application/json", "application/json"],
        ["application/json, text/event-stream;q=0", "application/json"],
        ["*/*", "application/json"],
        ["application/*;q=0.5", "application/json"],
        ["", "application/json"],
        [undefined, "application/json"]
      ] as const) {
        const answer = yield* post(user, ping, accept === undefined ? {} : { accept })
        assert.deepStrictEqual([accept, answer.status, answer.headers["content-type"]], [accept, 200, type])
        assert.deepStrictEqual(messageIn(answer), pong)
      }
      for (const accept of ["text/html", "*/*;q=0", "application/json;q=0, */*"]) {
        const answer = yield* post(user, ping, { accept })
        assert.deepStrictEqual([accept, answer.status, answer.json["code"]], [accept, 406, "not_acceptable"])
      }
      const notified = yield* post(user, { jsonrpc: "2.0", method: "notifications/initialized" }, { accept: "*/*" })
      assert.deepStrictEqual([notified.status, notified.text], [202, ""])
    })
  )

  it.effect("every message of a batch counts, and only the revision with batches accepts them", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const batch = (n: number) => Array.from({ length: n }, (_, id) => ({ ...ping, id }))
      const taken = yield* post(user, batch(10), { accept: "application/json" })
      assert.deepStrictEqual([taken.status, taken.headers["x-ratelimit-remaining"]], [200, "40"])
      assert.lengthOf(JSON.parse(taken.text), 10)
      const named = yield* post(user, batch(9), { ...both, "mcp-protocol-version": "2025-03-26" })
      assert.deepStrictEqual([named.status, named.headers["x-ratelimit-remaining"]], [200, "31"])
      for (const revision of ["2025-06-18", "2025-11-25", "2026-07-28"]) {
        const refused = yield* post(user, batch(2), { ...both, "mcp-protocol-version": revision })
        assert.strictEqual(refused.status, 400)
        assert.strictEqual(fieldsOf(refused.json["error"])["code"], -32600)
      }
      const tooMany = yield* post(user, batch(40))
      assert.deepStrictEqual([tooMany.status, tooMany.json["code"]], [429, "rate_limited"])
      const { json } = yield* send("GET", `/api/${user}/tasks`, { user })
      assert.strictEqual(json["code"], "rate_limited")
    })
  )

  it.effect("the error for missing or invalid parameters names them in plain words", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const whole = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } }
      const { protocolVersion: _, ...unversioned } = whole
      const { clientInfo: __, ...anonymous } = whole
      for (const [method, params, message] of [
        ["initialize", unversioned, "initialize: params.protocolVersion is missing"],
        ["initialize", anonymous, "initialize: params.clientInfo is missing"],
        ["initialize", undefined, "initialize: params is missing"],
        [
          "initialize",
          { ...whole, protocolVersion: 1 },
          "initialize: params.protocolVersion must be of the type string"
        ],
        ["tools/call", {}, "tools/call: params.name is missing"],
        ["resources/read", { uri: 1 }, "resources/read: params.uri must be of the type string"],
        ["prompts/get", undefined, "prompts/get: params is missing"]
      ] as const) {
        const answer = yield* post(user, { jsonrpc: "2.0", id: 1, method, ...(params && { params }) })
        assert.deepStrictEqual(messageIn(answer)["error"], { code: -32602, message })
      }
      const { result } = messageIn(yield* post(user, { ...ping, method: "initialize", params: whole }))
      assert.strictEqual(fieldsOf(result)["protocolVersion"], "2025-11-25")
    })
  )

  it.effect("a page of a foreign origin gets the rate limit headers and does not count", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const remaining = []
      for (const headers of [{ origin: "https://evil.example" }, { origin: "https://evil.example" }, both]) {
        const answer = yield* post(user, ping, headers)
        remaining.push([answer.status, answer.headers["x-ratelimit-remaining"], answer.headers["ratelimit-policy"]])
      }
      assert.deepStrictEqual(remaining, [
        [403, "50", '"api";q=50;w=60'],
        [403, "50", '"api";q=50;w=60'],
        [200, "49", '"api";q=50;w=60']
      ])
    })
  )
})
