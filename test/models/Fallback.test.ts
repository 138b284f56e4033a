import { createServer } from "node:http"
import { NodeHttpClient } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, HashMap, Layer, Logger, Redacted } from "effect"
import * as Anthropic from "../../src/models/Anthropic.ts"
import * as ChatCompletions from "../../src/models/ChatCompletions.ts"
import { FallbackModel, ModelName } from "../../src/services/agent/Models.ts"
import { calls, chunk, events, named, plain, type Reply, reply } from "../support/ModelCases.ts"
import * as Server from "../support/Server.ts"
import { contentOf, newUser, send, stream } from "../support/Server.ts"

/** The servers of two providers, the requests to each, and the log. */
class Providers extends Context.Tag("test/models/Fallback/Providers")<
  Providers,
  {
    readonly sent: Record<"first" | "second", Array<string>>
    readonly log: Array<Readonly<Record<string, unknown>>>
    /** True if the first provider is busy. */
    isBusy: boolean
  }
>() {}

const busy = reply(429, { error: { code: "rate_limit_exceeded" } }, { "retry-after": "9" })

/** The first provider sends reasoning and a call, then an answer. */
const firstSays = (body: string): Reply =>
  body.includes('"tool"')
    ? plain("Added.")
    : events(chunk({ reasoning_content: "secret thoughts" }), calls("call_a", "one"), chunk({}, "tool_calls"), "[DONE]")

const secondSays = named(
  { type: "message_start", message: { id: "msg_1", model: "m", usage: { input_tokens: 7, output_tokens: 1 } } },
  { type: "content_block_start", index: 0, content_block: { type: "text", text: "Helped out." } },
  { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 3 } },
  { type: "message_stop" }
)

const models = Layer.scopedContext(
  Effect.gen(function* () {
    const state: typeof Providers.Service = { sent: { first: [], second: [] }, log: [], isBusy: false }
    const server = createServer((request, response) => {
      let body = ""
      request.setEncoding("utf8").on("data", (text: string) => {
        body += text
      })
      request.on("end", () => {
        const isFirst = request.url?.startsWith("/first/") === true
        state.sent[isFirst ? "first" : "second"].push(body)
        const answer = !isFirst ? secondSays : state.isBusy ? busy : firstSays(body)
        response.writeHead(answer.status, answer.headers).end(answer.body)
      })
    })
    const port = yield* Effect.acquireRelease(
      Effect.async<number>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(Effect.succeed(typeof address === "object" ? (address?.port ?? 0) : 0))
        })
      }),
      () => Effect.sync(() => server.close().closeAllConnections())
    )
    const apiKey = Redacted.make("sk-test")
    const first = yield* Layer.build(
      ChatCompletions.layer({ apiUrl: `http://127.0.0.1:${port}/first/v1`, apiKey, model: "a", echoes: "conversation" })
    )
    const second = Anthropic.layer({ apiUrl: `http://127.0.0.1:${port}/second/v1`, apiKey, model: "b" })
    const fallback = yield* Layer.build(FallbackModel.layer("anthropic:b", second))
    return Context.merge(first, fallback).pipe(
      Context.add(ModelName, "chat-completions:a"),
      Context.add(Providers, state)
    )
  })
).pipe(Layer.provide(NodeHttpClient.dispatcherLayer))

const services = Layer.unwrapScoped(
  Effect.map(Layer.build(models), (built) => {
    const { log } = Context.get(built, Providers)
    const logger = Logger.make(({ annotations, message }) => {
      log.push({ message: String(message), ...Object.fromEntries(HashMap.toEntries(annotations)) })
    })
    const given = Layer.succeedContext(built)
    return Server.layer({ model: given }).pipe(
      Layer.provideMerge(given),
      Layer.provideMerge(Logger.replace(Logger.defaultLogger, logger))
    )
  })
)

layer(services, { excludeTestServices: true, timeout: "1 minute" })("A fallback model", (it) => {
  it.effect("answers, gets the history without the state of the first provider, and is recorded in the turn", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const providers = yield* Providers
        const owner = yield* newUser
        const ask = (message: string, conversation_id?: unknown) =>
          send("POST", `/api/${owner}/chat`, { user: owner, body: { message, conversation_id } })
        const turn = (id: unknown) =>
          Effect.map(send("GET", `/api/${owner}/turns/${id}`, { user: owner }), ({ json }) => json)

        const { json: one } = yield* ask("one")
        assert.strictEqual(one["assistant_message"], "Added.")
        assert.strictEqual((yield* turn(one["turn_id"]))["model"], "chat-completions:a")

        providers.isBusy = true
        const { json: two } = yield* ask("two", one["conversation_id"])
        assert.strictEqual(two["assistant_message"], "Helped out.")
        assert.deepStrictEqual(two["usage"], { input_tokens: 7, output_tokens: 3 })
        assert.strictEqual((yield* turn(two["turn_id"]))["model"], "anthropic:b")

        const streamed = yield* stream(owner, "three", { conversation_id: one["conversation_id"] })
        assert.strictEqual(contentOf(yield* streamed.rest), "Helped out.")

        // No retry after `Retry-After`. The second provider gets the conversation without the opaque state.
        assert.lengthOf(providers.sent.first, 4)
        assert.lengthOf(providers.sent.second, 2)
        for (const body of providers.sent.second) {
          assert.include(body, "create_task")
          assert.include(body, "Added.")
          assert.notInclude(body, "secret thoughts")
        }

        providers.isBusy = false
        yield* ask("four", one["conversation_id"])
        // The first provider gets its state back, within the turn and in the history.
        assert.include(providers.sent.first.at(-1), "secret thoughts")
        assert.include(JSON.stringify(providers.log), "The fallback model takes over")
        assert.notInclude(JSON.stringify(providers.log), "secret thoughts")

        const metrics = (yield* send("GET", "/metrics")).text
        assert.include(metrics, 'taskchat_model_tokens_total{direction="input",model="anthropic:b"} 14')
        assert.match(metrics, /taskchat_model_tokens_total\{direction="output",model="chat-completions:a"\} \d/)

        const sql = yield* SqlClient.SqlClient
        const rows =
          yield* sql`SELECT model, step_usage AS steps FROM turns WHERE user_id = ${owner} ORDER BY id LIMIT 2`
        // The first reply has no usage, so its tokens are estimated.
        assert.deepStrictEqual(JSON.parse(JSON.stringify(rows).replace(/(?<="estimated_tokens":)\d+/, "1")), [
          {
            model: "chat-completions:a",
            steps: [
              { input_tokens: 0, output_tokens: 0, estimated_tokens: 1 },
              { input_tokens: 5, output_tokens: 2 }
            ]
          },
          { model: "anthropic:b", steps: [{ input_tokens: 7, output_tokens: 3 }] }
        ])
      })
    )
  )
})
