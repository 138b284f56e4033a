import { LanguageModel } from "@effect/ai"
import { AnthropicLanguageModel } from "@effect/ai-anthropic"
import { assert } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Anthropic from "../../src/models/Anthropic.ts"
import { collect, contract } from "../support/ModelContract.ts"
import { call, ModelServer } from "../support/ModelServer.ts"

const test = contract("Anthropic", Anthropic.layer)

test(
  "a request has the API version, a limit and the configured values",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* collect([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi" }
    ])
    const [request] = yield* server.requests
    assert.strictEqual(request?.api, "messages")
    assert.strictEqual(request?.headers["anthropic-version"], "2023-06-01")
    assert.notProperty(request?.headers, "authorization")
    assert.deepInclude(request?.body, { stream: true, temperature: 0.5, max_tokens: 100, system: "Be brief." })
  }),
  () => ({ temperature: 0.5, maxOutputTokens: 100 })
)

test(
  "configuration for one request takes precedence",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* collect("Hi").pipe(AnthropicLanguageModel.withConfigOverride({ temperature: 0, top_k: 3 }))
    const [request] = yield* server.requests
    assert.deepInclude(request?.body, { temperature: 0, top_k: 3 })
  }),
  () => ({ temperature: 0.5 })
)

test(
  "a JSON answer is requested and received as the arguments of a tool",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* server.enqueue([call("json_answer", { city: "Kyoto" })])
    const schema = Schema.Struct({ city: Schema.String })
    const { value } = yield* LanguageModel.generateObject({ prompt: "Where?", schema, objectName: "place" })
    assert.deepStrictEqual(value, { city: "Kyoto" })
    const [request] = yield* server.requests
    assert.deepStrictEqual(request?.toolChoice, { type: "tool", name: "json_answer" })
  })
)
