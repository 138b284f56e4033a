import { LanguageModel } from "@effect/ai"
import { OpenAiLanguageModel } from "@effect/ai-openai"
import { assert } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as OpenAi from "../../src/models/OpenAi.ts"
import { collect, contract, streamText, toolkit } from "../support/ModelContract.ts"
import { call, finish, ModelServer, raw, say } from "../support/ModelServer.ts"

const test = contract("OpenAi", OpenAi.layer)

test(
  "a request has `store: false` and the configured values",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* collect("Hi")
    const [request] = yield* server.requests
    assert.strictEqual(request?.api, "responses")
    assert.deepInclude(request?.body, { store: false, stream: true, temperature: 0.5, max_output_tokens: 100 })
  }),
  () => ({ temperature: 0.5, maxOutputTokens: 100 })
)

test(
  "tools are strict unless a parameter is optional, for all methods of the model",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* collect("Hi")
    yield* LanguageModel.generateText({ prompt: "Hi", toolkit })
    yield* Stream.runDrain(LanguageModel.streamText({ prompt: "Hi", toolkit }))
    const requests = yield* server.requests
    assert.strictEqual(requests.length, 3)
    for (const { tools } of requests) {
      assert.deepStrictEqual(
        tools.map(({ name, strict }) => [name, strict]),
        [
          ["add_task", true],
          ["list_tasks", true],
          ["search", false]
        ]
      )
    }
    assert.deepStrictEqual(requests[1]?.tools, requests[0]?.tools)
    assert.deepStrictEqual(requests[2]?.tools, requests[0]?.tools)
  })
)

test(
  "configuration for one request takes precedence",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* collect("Hi").pipe(OpenAiLanguageModel.withConfigOverride({ temperature: 0, reasoning: { effort: "low" } }))
    const [request] = yield* server.requests
    assert.deepInclude(request?.body, { store: false, temperature: 0, reasoning: { effort: "low" } })
  }),
  () => ({ temperature: 0.5 })
)

test(
  "a call without an id gets one, and a call without a name fails",
  Effect.gen(function* () {
    const server = yield* ModelServer
    const done = (item: object) =>
      raw(
        `data: ${JSON.stringify({ type: "response.output_item.done", item: { type: "function_call", ...item } })}\n\n`
      )
    yield* server.enqueue(
      [done({ name: "list_tasks", arguments: "{}" }), finish()],
      [done({ arguments: "{}" }), finish()]
    )
    const ids = (yield* collect("Hi")).flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
    assert.match(ids.join(), /^[a-z0-9]{9}$/)
    assert.strictEqual((yield* Effect.flip(collect("Hi")))._tag, "MalformedOutput")
  })
)

test(
  "two calls with the same id get different ids",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* server.enqueue([say("Well."), call("list_tasks", {}, { id: "a" }), call("list_tasks", {}, { id: "a" })])
    const parts = yield* Stream.runCollect(streamText("Hi"))
    const ids = Array.from(parts).flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
    assert.strictEqual(ids.length, 2)
    assert.strictEqual(new Set(ids).size, 2)
  })
)
