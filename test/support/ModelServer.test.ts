import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ModelServer, say } from "./ModelServer.ts"

/** The status and text of the response to `body`. */
const post = (path: string, body: unknown) =>
  Effect.flatMap(ModelServer, ({ url }) =>
    Effect.promise(async () => {
      const response = await fetch(url + path, { method: "POST", body: JSON.stringify(body) })
      return { status: response.status, text: await response.text() }
    })
  )

const call = { type: "function_call", call_id: "c1", name: "f", arguments: "{}" }
const output = { type: "function_call_output", call_id: "c1", output: "1" }
const user = { role: "user", content: "Hi" }
const responses = (input: unknown, rest: object = {}) =>
  ["/responses", { model: "m", stream: true, input, ...rest }] as const
const asked = {
  role: "assistant",
  content: null,
  tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: "{}" } }]
}
const told = { role: "tool", tool_call_id: "c1", content: "1" }
const chat = (messages: unknown, rest: object = {}) =>
  ["/chat/completions", { model: "m", stream: true, messages, ...rest }] as const
const used = { role: "assistant", content: [{ type: "tool_use", id: "c1", name: "f", input: {} }] }
const given = { role: "user", content: [{ type: "tool_result", tool_use_id: "c1", content: "1" }] }
const messages = (messages: unknown, rest: object = {}) =>
  ["/messages", { model: "m", max_tokens: 9, stream: true, messages, ...rest }] as const
const strict = (parameters: unknown) => [{ type: "function", name: "f", strict: true, parameters }]

const refused: ReadonlyArray<[string, readonly [string, unknown], string]> = [
  ["a call without its output", responses([user, call]), "No tool output found for function call c1"],
  ["an output without its call", responses([user, output]), "No tool call found"],
  ["an item of reasoning", responses([{ type: "reasoning", id: "rs_1", summary: [] }, user]), "not found"],
  ["an id of another kind", responses([{ ...call, id: "msg_1" }, output, user]), "begins with 'fc'"],
  ["a name with spaces", responses([{ ...call, name: "a b" }, output, user]), "pattern"],
  ["a call without its output, in chat", chat([user, asked, user]), "must be followed by tool messages"],
  ["an output without its call, in chat", chat([user, told]), "preceeding message"],
  ["an output too late, in chat", chat([user, asked, user, told]), "must be followed by tool messages"],
  ["an assistant that says nothing", chat([user, { role: "assistant", content: null }]), "expected a string"],
  ["a choice without tools", chat([user], { tool_choice: "none" }), "only allowed when 'tools'"],
  ["a call without its output, in messages", messages([user, used, user]), "must be followed by tool messages"],
  ["blank text, in messages", messages([{ role: "user", content: " " }]), "non-whitespace"],
  ["no limit, in messages", messages([user], { max_tokens: undefined }), "max_tokens"],
  ["no model", ["/responses", { stream: true, input: "Hi" }], "model parameter"],
  [
    "an optional member in strict mode",
    responses("Hi", {
      tools: strict({
        type: "object",
        properties: { a: { type: "string" } },
        required: [],
        additionalProperties: false
      })
    }),
    "Missing 'a'"
  ],
  [
    "an open object in strict mode",
    responses("Hi", { tools: strict({ type: "object", properties: {}, required: [] }) }),
    "'additionalProperties' is required"
  ]
]

describe("ModelServer", () => {
  for (const [what, [path, body], words] of refused) {
    it.effect(`refuses ${what}, like the real API`, () =>
      Effect.gen(function* () {
        const { status, text } = yield* post(path, body)
        assert.isAtLeast(status, 400)
        assert.isBelow(status, 500)
        assert.include(text, words)
        assert.strictEqual((yield* (yield* ModelServer).counts).refused, 1)
      }).pipe(Effect.provide(ModelServer.layer()))
    )
  }

  it.effect("accepts calls with their results in all APIs, and passes the results to a rule", () =>
    Effect.gen(function* () {
      const server = yield* ModelServer
      yield* server.answer(({ api, results, user }) => [
        say(JSON.stringify({ api, results, user }).replaceAll('"', "'"))
      ])
      const result = "{'id':'c1','name':'f','arguments':'{}','output':1}"
      const all = [responses([user, call, output]), chat([user, asked, told]), messages([user, used, given])]
      for (const [path, body] of all) {
        const { status, text } = yield* post(path, body)
        assert.strictEqual(status, 200)
        assert.include(text, `'results':[${result}],'user':'Hi'`)
      }
    }).pipe(Effect.provide(ModelServer.layer()))
  )

  it.effect("answers from the queue first, in order, then by the rule", () =>
    Effect.gen(function* () {
      const server = yield* ModelServer
      yield* server.enqueue([say("first")], [say("second")])
      for (const expected of ["first", "second", "rule"]) {
        assert.include((yield* post(...chat([user]))).text, `"content":"${expected}"`)
      }
      assert.strictEqual((yield* server.requests).length, 3)
    }).pipe(Effect.provide(ModelServer.layer({ rule: () => [say("rule")] })))
  )
})
