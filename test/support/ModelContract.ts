import { type AiError, LanguageModel, type Prompt, type Response, Tool, Toolkit } from "@effect/ai"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Deferred,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Inspectable,
  Layer,
  Redacted,
  Schema,
  Stream,
  TestClock
} from "effect"
import type { Options } from "../../src/models/Endpoint.ts"
import { fromAiError } from "../../src/services/agent/AgentErrors.ts"
import * as ToolSchemas from "../../src/services/agent/ToolSchemas.ts"
import {
  call,
  comment,
  cut,
  delay,
  deny,
  end,
  error,
  failed,
  finish,
  ModelServer,
  open,
  raw,
  refuse,
  respond,
  type Script,
  say,
  stall,
  think,
  wait
} from "./ModelServer.ts"

const key = "sk-secret-0123456789"

const AddTask = Tool.make("add_task", {
  description: "Add a task",
  parameters: {
    title: Schema.String.annotations({ description: "What to do" }),
    due: Schema.NullOr(Schema.String),
    labels: Schema.NullOr(Schema.Array(Schema.String))
  },
  success: Schema.String
})
const ListTasks = Tool.make("list_tasks", { description: "List all tasks", success: Schema.String })
/** A tool with an optional parameter, which OpenAI's strict mode does not support. */
const Search = Tool.make("search", { parameters: { query: Schema.optional(Schema.String) }, success: Schema.String })

export const toolkit = Toolkit.make(AddTask, ListTasks, Search)
const handlers = toolkit.toLayer({
  add_task: ({ title }) => Effect.succeed(title),
  list_tasks: () => Effect.succeed(""),
  search: () => Effect.succeed("")
})

export const streamText = (prompt: Prompt.RawInput) =>
  LanguageModel.streamText({ prompt, toolkit, disableToolCallResolution: true })

type Part = Stream.Stream.Success<ReturnType<typeof streamText>>

export const textOf = (parts: Iterable<Response.AnyPart>) =>
  Array.from(parts, (part) => (part.type === "text-delta" ? part.delta : "")).join("")
export const callsOf = (
  parts: Iterable<Response.AnyPart>
): Array<{ readonly name: string; readonly params: unknown }> =>
  Array.from(parts).flatMap((part) => (part.type === "tool-call" ? [{ name: part.name, params: part.params }] : []))
export const finishOf = (parts: Iterable<Response.AnyPart>) => Array.from(parts).find((part) => part.type === "finish")

export const collect = (prompt: Prompt.RawInput) =>
  Effect.map(Stream.runCollect(streamText(prompt)), Chunk.toReadonlyArray)

/** Lets all pending network events run. */
const nextTurn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Events with known member names and any values. */
const nonsense = FastCheck.letrec((tie) => ({
  value: FastCheck.oneof(
    { depthSize: "small" },
    FastCheck.constantFrom(null, "", "x", 0, -1, 1e300, true, "message", "function_call", "reasoning", "list_tasks"),
    FastCheck.array(tie("value"), { maxLength: 2 }),
    tie("object")
  ),
  object: FastCheck.dictionary(
    FastCheck.constantFrom(
      ...["choices", "delta", "content", "refusal", "tool_calls", "index", "id", "function", "name", "arguments"],
      ...["finish_reason", "usage", "error", "code", "type", "created", "model", "response", "created_at", "item"],
      ...["item_id", "output_index", "call_id", "incomplete_details", "reason", "prompt_tokens", "input_tokens"],
      ...["message", "content_block", "stop_reason", "text", "partial_json", "thinking", "input"]
    ),
    tie("value"),
    { maxKeys: 6 }
  ),
  events: FastCheck.array(
    FastCheck.tuple(
      tie("object"),
      FastCheck.constantFrom(
        ...["response.created", "response.output_item.added", "response.output_item.done", "response.failed"],
        ...["response.output_text.delta", "response.refusal.delta", "response.function_call_arguments.delta"],
        ...["response.completed", "response.incomplete", "message_start", "content_block_start", "message"],
        ...["content_block_delta", "message_delta", "message_stop"]
      )
    ).map(([event, type]) => ({ type, ...Object(event) })),
    { minLength: 1, maxLength: 5 }
  )
})).events

type Make = (options: Options) => Layer.Layer<LanguageModel.LanguageModel, never, NodeHttpClient.Dispatcher>

/** The contract of every model over HTTP, tested on a real socket. */
export const contract = (name: string, make: Make) => {
  /** Runs a test with its own server and a model that uses it. */
  const test = (
    fact: string,
    effect: Effect.Effect<
      void,
      unknown,
      | ModelServer
      | LanguageModel.LanguageModel
      | NodeHttpClient.Dispatcher
      | Tool.HandlersFor<Toolkit.Tools<typeof toolkit>>
    >,
    options: (server: typeof ModelServer.Service) => Partial<Options> = () => ({})
  ) =>
    it.effect(fact, () => {
      const model = Layer.unwrapEffect(
        Effect.map(ModelServer, (server) =>
          make({ apiKey: Redacted.make(key), apiUrl: server.url, model: "test-model", ...options(server) })
        )
      )
      return effect.pipe(
        Effect.provide(
          Layer.merge(model, handlers).pipe(
            Layer.provideMerge(Layer.merge(NodeHttpClient.dispatcherLayer, ModelServer.layer({ apiKey: key })))
          )
        )
      )
    })

  /** The failure of a request that gets `script`. */
  const failureOf = (script: Script) =>
    Effect.gen(function* () {
      const server = yield* ModelServer
      yield* server.enqueue(script)
      return yield* Effect.flip(collect("Hello"))
    })

  const rate = { code: "rate_limit_exceeded", type: "requests", message: "Slow down" }
  const quota = { code: "insufficient_quota", type: "insufficient_quota", message: "Pay" }
  const html = "<html><body>Bad gateway</body></html>"

  describe(name, () => {
    test(
      "text is complete, pieces that arrive together are one part, and usage is reported",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([say("Hel", "lo", " 👋"), finish("stop", { input: 7, output: 3 })])
        const parts = yield* collect("Hi")
        const deltas = parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : []))
        assert.strictEqual(deltas.join(""), "Hello 👋")
        assert.isAtMost(deltas.length, 3)
        assert.deepStrictEqual(
          parts.map((part) => part.type).filter((type, i, all) => type !== all[i - 1]),
          ["response-metadata", "text-start", "text-delta", "text-end", "finish"]
        )
        const end = finishOf(parts)
        assert.strictEqual(end?.reason, "stop")
        assert.strictEqual(end?.usage.inputTokens, 7)
        assert.strictEqual(end?.usage.outputTokens, 3)
      })
    )

    test(
      "an answer that arrives faster than it is read is buffered and complete",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const words = Array.from({ length: 5000 }, (_, i) => `${i} `)
        yield* server.enqueue([say(...words), finish()])
        const text = yield* streamText("Count").pipe(
          Stream.mapChunksEffect((parts) => Effect.as(Effect.repeatN(nextTurn, 100), parts)),
          Stream.runFold("", (text, part) => text + (part.type === "text-delta" ? part.delta : ""))
        )
        assert.strictEqual(text, words.join(""))
      })
    )

    test(
      "each piece is emitted before the next one is produced",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const seen = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>(), Deferred.make<void>()])
        const pieces = ["one ", "two ", "three"]
        yield* server.enqueue(
          pieces.flatMap((piece, index) => [say(piece), wait(Deferred.await(seen[index] ?? seen[0]))])
        )
        let count = 0
        yield* Stream.runForEach(streamText("Hi"), (part) =>
          part.type === "text-delta" ? Deferred.succeed(seen[count++] ?? seen[0], undefined) : Effect.void
        )
        assert.strictEqual(count, 3)
      })
    )

    test(
      "tool calls arrive with their arguments, several in one answer, after text",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([
          say("Let me see."),
          call("add_task", { title: "Milk", due: null, labels: ["shop"] }, { pieces: 5 }),
          call("add_task", { title: "Bread 🍞", due: "tomorrow", labels: null }),
          call("list_tasks", {})
        ])
        const parts = yield* collect("Add milk and bread")
        assert.deepStrictEqual(callsOf(parts), [
          { name: "add_task", params: { title: "Milk", due: null, labels: ["shop"] } },
          { name: "add_task", params: { title: "Bread 🍞", due: "tomorrow", labels: null } },
          { name: "list_tasks", params: {} }
        ])
        const ids = parts.flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
        assert.strictEqual(new Set(ids).size, 3)
        assert.strictEqual(textOf(parts), "Let me see.")
        assert.strictEqual(finishOf(parts)?.reason, "tool-calls")
      })
    )

    const invalid: ReadonlyArray<[string, string, string, unknown]> = [
      ["arguments that are not JSON", "add_task", '{"title": "Mil', '{"title": "Mil'],
      ["arguments off the schema", "add_task", '{"title": 5}', { title: 5 }],
      ["arguments that would change a prototype", "add_task", '{"__proto__": {}}', '{"__proto__": {}}'],
      ["an unknown tool", "drop table!", "{}", {}]
    ]
    for (const [what, tool, text, params] of invalid) {
      test(
        `${what}: the call arrives as it is, and the answer goes on`,
        Effect.gen(function* () {
          const server = yield* ModelServer
          yield* server.enqueue([call(tool, text), call("list_tasks", {})])
          const lenient = { tools: ToolSchemas.lenient(toolkit.tools), handle: () => Effect.die("never run") }
          const parts = yield* Stream.runCollect(
            LanguageModel.streamText({ prompt: "Hi", toolkit: lenient, disableToolCallResolution: true })
          )
          assert.deepStrictEqual(callsOf(parts), [
            { name: tool, params },
            { name: "list_tasks", params: {} }
          ])
          assert.strictEqual(finishOf(parts)?.reason, "tool-calls")
        })
      )
    }

    test(
      "arguments that do not match the schema of a tool fail the answer",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([call("add_task", { title: 5 })])
        assert.strictEqual((yield* Effect.flip(collect("Hi")))._tag, "MalformedOutput")
      })
    )

    test(
      "a refusal arrives as text with the reason content-filter",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([refuse("I can", "not.")])
        const parts = yield* collect("Hi")
        assert.strictEqual(textOf(parts), "I cannot.")
        assert.strictEqual(finishOf(parts)?.reason, "content-filter")
      })
    )

    test(
      "reasoning is not part of the answer",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([think("Hmm, ", "well."), say("Yes.")])
        const parts = yield* collect("Hi")
        assert.deepStrictEqual(
          parts.map((part) => part.type),
          ["response-metadata", "text-start", "text-delta", "text-end", "finish"]
        )
      })
    )

    test(
      "an answer that is cut off or filtered has that finish reason",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([say("And so"), finish("length")], [say("Well"), finish("content-filter")])
        assert.strictEqual(finishOf(yield* collect("Hi"))?.reason, "length")
        assert.strictEqual(finishOf(yield* collect("Hi"))?.reason, "content-filter")
      })
    )

    test(
      "an empty answer is valid",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([finish()])
        const parts = yield* collect("Hi")
        assert.strictEqual(textOf(parts), "")
        assert.strictEqual(finishOf(parts)?.reason, "stop")
      })
    )

    const faults: ReadonlyArray<[string, Script, AiError.AiError["_tag"], object]> = [
      ["429", [deny(429, rate)], "HttpResponseError", { _tag: "AgentBusy" }],
      ["429 with Retry-After", [deny(429, rate, { "retry-after": "7" })], "HttpResponseError", { retryAfter: 7 }],
      [
        "429 with milliseconds",
        [deny(429, rate, { "retry-after-ms": "1500" })],
        "HttpResponseError",
        { retryAfter: 2 }
      ],
      ["429 for the quota", [deny(429, quota)], "HttpResponseError", { _tag: "AgentMisconfigured" }],
      ["401", [deny(401)], "HttpResponseError", { _tag: "AgentMisconfigured" }],
      ["403", [deny(403)], "HttpResponseError", { _tag: "AgentMisconfigured" }],
      [
        "404 for the model",
        [deny(404, { code: "model_not_found" })],
        "HttpResponseError",
        { _tag: "AgentMisconfigured" }
      ],
      ["400", [deny(400)], "HttpResponseError", { _tag: "AgentFailed" }],
      ["408", [deny(408)], "HttpResponseError", { _tag: "AgentSlow" }],
      ["500", [deny(500)], "HttpResponseError", { _tag: "AgentFailed" }],
      ["500 without a body", [respond(500, "")], "HttpResponseError", { _tag: "AgentFailed" }],
      [
        "502 with a page",
        [respond(502, html, { "content-type": "text/html" })],
        "HttpResponseError",
        { _tag: "AgentFailed" }
      ],
      ["503", [deny(503)], "HttpResponseError", { _tag: "AgentBusy" }],
      ["504", [respond(504, html, { "content-type": "text/html" })], "HttpResponseError", { _tag: "AgentSlow" }],
      ["a reset before the headers", [cut], "HttpRequestError", { _tag: "AgentUnreachable" }],
      ["a cut after the headers", [open, cut], "HttpRequestError", { _tag: "AgentUnreachable" }],
      ["a cut within the text", [say("Hel"), cut], "HttpRequestError", { _tag: "AgentUnreachable" }],
      ["a page", [respond(200, html, { "content-type": "text/html" })], "MalformedOutput", { _tag: "AgentFailed" }],
      ["a page that calls itself events", [raw(html), end], "MalformedOutput", { _tag: "AgentFailed" }],
      ["an empty body", [respond(200, "")], "MalformedOutput", { _tag: "AgentFailed" }],
      ["204", [respond(204, "")], "MalformedOutput", { _tag: "AgentFailed" }],
      [
        "a redirect",
        [respond(307, "", { location: "/elsewhere" })],
        "HttpResponseError",
        { _tag: "AgentMisconfigured" }
      ],
      ["JSON that breaks off", [raw('data: {"type": "respo\n\n'), end], "MalformedOutput", { _tag: "AgentFailed" }],
      ["events that are no objects", [raw("data: 7\n\n"), stall], "MalformedOutput", { _tag: "AgentFailed" }],
      ["an end before the answer's", [say("Hel"), end], "MalformedOutput", { _tag: "AgentFailed" }],
      [
        "[DONE] before the answer's end",
        [say("Hel"), raw("data: [DONE]\n\n"), stall],
        "MalformedOutput",
        { _tag: "AgentFailed" }
      ],
      [
        "an endless event",
        [raw(`data: ${"x".repeat(1024 * 1024 + 1)}`), stall],
        "MalformedOutput",
        { _tag: "AgentFailed" }
      ],
      ["a failed answer: too fast", failed(rate), "HttpResponseError", { _tag: "AgentBusy" }],
      ["a failed answer: the quota", failed(quota), "HttpResponseError", { _tag: "AgentMisconfigured" }],
      [
        "a failed answer",
        failed({ code: "server_error", message: "Oh" }),
        "HttpResponseError",
        { _tag: "AgentFailed" }
      ],
      [
        "an error in the stream",
        [say("Hel"), ...error({ code: null, message: "Oh" })],
        "HttpResponseError",
        { _tag: "AgentFailed" }
      ],
      ["an error in the stream: too fast", [say("Hel"), ...error(rate)], "HttpResponseError", { _tag: "AgentBusy" }]
    ]
    for (const [what, script, tag, expected] of faults) {
      test(
        `${what}: ${tag}, ${Object.values(expected).join()}`,
        Effect.gen(function* () {
          const failure = yield* failureOf(script)
          assert.strictEqual(failure._tag, tag)
          assert.include(fromAiError(failure), expected)
        })
      )
    }

    test(
      "no server: HttpRequestError, AgentUnreachable",
      Effect.gen(function* () {
        const failure = yield* Effect.flip(collect("Hi"))
        assert.include(failure, { _tag: "HttpRequestError", reason: "Transport", description: "ECONNREFUSED" })
        assert.strictEqual(fromAiError(failure)._tag, "AgentUnreachable")
      }),
      (server) => ({ apiUrl: server.nowhere })
    )

    for (const apiUrl of ["not a url", "ftp://example.com/v1", ""]) {
      test(
        `the address "${apiUrl}": HttpRequestError, AgentMisconfigured`,
        Effect.gen(function* () {
          const failure = yield* Effect.flip(collect("Hi"))
          assert.include(failure, { _tag: "HttpRequestError", reason: "InvalidUrl" })
          assert.strictEqual(fromAiError(failure)._tag, "AgentMisconfigured")
        }),
        () => ({ apiUrl })
      )
    }

    test(
      "text before a broken connection is emitted before the failure",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const seen = yield* Deferred.make<void>()
        yield* server.enqueue([say("Hel", "lo"), wait(Deferred.await(seen)), cut])
        let text = ""
        const exit = yield* Effect.exit(
          Stream.runForEach(streamText("Hi"), (part) => {
            if (part.type === "text-delta") text += part.delta
            return text === "Hello" ? Deferred.succeed(seen, undefined) : Effect.void
          })
        )
        assert.strictEqual(text, "Hello")
        assert.isTrue(Exit.isFailure(exit))
      })
    )

    const stalls: ReadonlyArray<[string, Script]> = [
      ["before the headers", [stall]],
      ["before the first piece", [open, stall]],
      ["within the text", [say("Hel"), stall]],
      ["before the end", [say("Hello"), call("list_tasks", {}), stall]]
    ]
    for (const [where, script] of stalls) {
      test(
        `silence ${where}: AgentSlow after the idle timeout, and the connection is closed`,
        Effect.gen(function* () {
          const server = yield* ModelServer
          yield* server.enqueue(script)
          const reached = yield* Deferred.make<void>()
          const fiber = yield* Effect.fork(
            Effect.flip(
              Stream.runForEach(streamText("Hi"), (part) =>
                part.type === "text-delta" ? Deferred.succeed(reached, undefined) : Effect.void
              )
            )
          )
          yield* server.until(({ open, requests }) => open === 1 && requests === 1)
          if (script.includes(stall) && script.length > 1 && script[0] !== open) yield* Deferred.await(reached)
          // The data written so far has arrived when the answer to a later request has arrived.
          yield* collect("Meanwhile")
          yield* TestClock.adjust("14999 millis")
          assert.isTrue((yield* server.counts).abandoned === 0)
          yield* TestClock.adjust("1 millis")
          const failure = yield* Fiber.join(fiber)
          assert.include(failure, { _tag: "HttpRequestError", reason: "Transport" })
          assert.strictEqual(fromAiError(failure)._tag, "AgentSlow")
          yield* server.until(({ abandoned, open }) => abandoned === 1 && open === 0)
        })
      )
    }

    test(
      "comments reset the idle timeout",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const beat = [comment, delay("10 seconds")]
        yield* server.enqueue([...beat, ...beat, ...beat, ...beat, say("At last")])
        const fiber = yield* Effect.fork(collect("Hi"))
        yield* server.until(({ requests }) => requests === 1)
        for (let beats = 0; beats < 4; beats++) {
          // Read each comment before the clock moves.
          yield* collect("Meanwhile")
          yield* TestClock.adjust("10 seconds")
        }
        assert.strictEqual(textOf(yield* Fiber.join(fiber)), "At last")
      })
    )

    test(
      "a slow reader does not cause an idle timeout",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([say("one "), say("two "), say("three")])
        const reading = yield* Deferred.make<void>()
        let text = ""
        const fiber = yield* Effect.fork(
          Stream.runForEach(streamText("Hi"), (part) => {
            if (part.type !== "text-delta") return Effect.void
            text += part.delta
            return Effect.zipRight(Deferred.succeed(reading, undefined), Effect.sleep("1 minute"))
          })
        )
        yield* Deferred.await(reading)
        yield* TestClock.adjust("1 minute")
        yield* TestClock.adjust("1 minute")
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        assert.strictEqual(text, "one two three")
      })
    )

    test(
      "the connection is closed at once when the reader is interrupted",
      Effect.gen(function* () {
        const server = yield* ModelServer
        for (const script of [[stall], [open, stall], [say("Hel"), stall]]) {
          yield* server.enqueue(script)
          const before = yield* server.counts
          const fiber = yield* Effect.fork(collect("Hi"))
          yield* server.until(({ requests }) => requests === before.requests + 1)
          yield* Fiber.interrupt(fiber)
          yield* server.until(({ abandoned, open }) => abandoned === before.abandoned + 1 && open === 0)
        }
      })
    )

    test(
      "the connection is closed at once when the reader stops early",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([say("one "), stall])
        const parts = yield* Stream.runCollect(Stream.takeUntil(streamText("Hi"), (part) => part.type === "text-delta"))
        assert.strictEqual(textOf(parts), "one ")
        yield* server.until(({ abandoned, open }) => abandoned === 1 && open === 0)
      })
    )

    test(
      "the stream ends with the end of the answer",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([say("Hello"), finish(), stall])
        assert.strictEqual(textOf(yield* collect("Hi")), "Hello")
        // The background read of the rest also has a timeout.
        yield* Effect.raceFirst(
          server.until(({ abandoned, open }) => abandoned === 1 && open === 0),
          Effect.forever(Effect.zipRight(nextTurn, TestClock.adjust("1 second")))
        )
      })
    )

    test(
      "one connection serves several answers in sequence",
      Effect.gen(function* () {
        const server = yield* ModelServer
        for (let n = 0; n < 5; n++) {
          yield* collect("Hi")
          yield* server.until(({ open }) => open === 0)
          yield* nextTurn
        }
        assert.strictEqual((yield* server.counts).connections, 1)
      })
    )

    test(
      "no failure contains the key or a header of the request",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const failures = [
          yield* failureOf([deny(401, { message: `Incorrect API key provided: ${key}` })]),
          yield* failureOf([respond(500, `Bearer ${key}`, { "x-debug": key })]),
          yield* failureOf([cut]),
          yield* failureOf([say("Hel"), cut]),
          yield* failureOf(failed({ code: "server_error", message: `Bearer ${key}` })),
          yield* failureOf([raw(`data: {"${key}\n\n`), end])
        ]
        for (const failure of failures) {
          const shown = [
            failure.message,
            String(failure),
            JSON.stringify(failure),
            Inspectable.format(failure),
            Cause.pretty(Cause.fail(failure), { renderErrorCause: true })
          ].join("\n")
          assert.notInclude(shown, key)
          assert.notInclude(shown.toLowerCase(), "authorization")
        }
        assert.strictEqual((yield* server.counts).refused, 0)
      })
    )

    test(
      "a refused key does not appear in the error",
      Effect.gen(function* () {
        const failure = yield* Effect.flip(collect("Hi"))
        assert.strictEqual(fromAiError(failure)._tag, "AgentMisconfigured")
        assert.notInclude(failure.message + JSON.stringify(failure), "sk-other")
      }),
      () => ({ apiKey: Redacted.make("sk-other") })
    )

    test(
      "the API accepts a conversation with calls, invalid names and empty texts",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const prompt: Array<Prompt.MessageEncoded> = [
          { role: "system", content: "Be brief." },
          { role: "user", content: "Add milk" },
          {
            role: "assistant",
            content: [
              { type: "reasoning", text: "Hmm", options: { openai: { itemId: "rs_1" } } },
              { type: "text", text: "", options: { openai: { itemId: "msg_1" } } },
              { type: "tool-call", id: "call_1", name: "drop table!", params: "{oops", providerExecuted: false },
              { type: "tool-call", id: "call_2", name: "add_task", params: { title: "Milk" }, providerExecuted: false }
            ]
          },
          {
            role: "tool",
            content: [
              {
                type: "tool-result",
                id: "call_1",
                name: "drop table!",
                isFailure: true,
                result: { error: "No" },
                providerExecuted: false
              },
              {
                type: "tool-result",
                id: "call_2",
                name: "add_task",
                isFailure: false,
                result: { id: 1 },
                providerExecuted: false
              }
            ]
          },
          { role: "assistant", content: [{ type: "text", text: "" }] },
          { role: "assistant", content: [{ type: "text", text: "Done." }] },
          { role: "user", content: "Thanks" }
        ]
        yield* collect(prompt)
        const [request] = yield* server.requests
        assert.strictEqual(request?.system, "Be brief.")
        assert.strictEqual(request?.user, "Thanks")
        assert.deepStrictEqual(request?.items, [
          { kind: "user", text: "Add milk" },
          { kind: "call", id: "call_1", name: "unknown", arguments: '{"invalid_arguments":"{oops"}' },
          { kind: "call", id: "call_2", name: "add_task", arguments: '{"title":"Milk"}' },
          { kind: "result", id: "call_1", output: '{"error":"No"}' },
          { kind: "result", id: "call_2", output: '{"id":1}' },
          { kind: "assistant", text: "Done." },
          { kind: "user", text: "Thanks" }
        ])
      })
    )

    test(
      "tools are sent without the reserved tool, and strict only if possible",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* collect("Hi")
        const [request] = yield* server.requests
        assert.deepStrictEqual(
          request?.tools.map((tool) => tool.name),
          ["add_task", "list_tasks", "search"]
        )
        assert.isFalse(request?.tools[2]?.strict)
        assert.notProperty(request?.headers, "traceparent")
      })
    )

    test(
      "a request without tools has no tool members",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "Hi" }))
        assert.isAbove(parts.length, 0)
        const [request] = yield* server.requests
        assert.deepStrictEqual(request?.tools, [])
        assert.isUndefined(request?.toolChoice)
      })
    )

    test(
      "without a key, there is no authorization header",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const failure = yield* Effect.flip(collect("Hi"))
        assert.include(failure, { _tag: "HttpResponseError" })
        assert.strictEqual((yield* server.counts).refused, 1)
      }),
      () => ({ apiKey: undefined })
    )

    test(
      "tool execution by the library gives the same parts, with the results",
      Effect.gen(function* () {
        const server = yield* ModelServer
        const script = [
          think("Hmm"),
          say("Adding."),
          call("add_task", { title: "Milk", due: null, labels: null }, { id: "call_1", pieces: 1 }),
          finish("stop", { input: 5, output: 2 })
        ]
        yield* server.enqueue(script, script)
        const direct = yield* collect("Hi")
        const parts = Chunk.toReadonlyArray(
          yield* Stream.runCollect(LanguageModel.streamText({ prompt: "Hi", toolkit }))
        )
        const result = parts.find((part) => part.type === "tool-result")
        assert.include(result, { id: "call_1", name: "add_task", result: "Milk" })
        // Message ids and times are created by the server and differ each time.
        const plain = (part: Part) => {
          const { id: _, metadata: __, ...rest } = { id: "", ...part }
          return part.type === "response-metadata" ? { type: part.type } : JSON.parse(JSON.stringify(rest))
        }
        const own = (part: Part) => part.type !== "tool-result" && part.type !== "tool-params-delta"
        assert.deepStrictEqual(parts.filter(own).map(plain), direct.filter(own).map(plain))
      })
    )

    test(
      "generateText gives the same answer as streamText, with tool execution",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([
          say("Add", "ing."),
          call("add_task", { title: "Milk", due: null, labels: null }),
          finish("stop", { input: 5, output: 2 })
        ])
        const response = yield* LanguageModel.generateText({ prompt: "Hi", toolkit })
        assert.strictEqual(response.text, "Adding.")
        assert.deepStrictEqual(
          response.toolResults.map((result) => result.result),
          ["Milk"]
        )
        assert.strictEqual(response.finishReason, "tool-calls")
        assert.strictEqual(response.usage.inputTokens, 5)
      })
    )

    test(
      "generateObject sends the schema and decodes the answer",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.enqueue([say('{"city":', '"Kyoto"}')])
        const response = yield* LanguageModel.generateObject({
          prompt: "Where?",
          schema: Schema.Struct({ city: Schema.String }),
          objectName: "place"
        })
        assert.deepStrictEqual(response.value, { city: "Kyoto" })
        const [request] = yield* server.requests
        assert.include(JSON.stringify(request?.body), '"properties":{"city":{"type":"string"}}')
      })
    )

    test(
      "no event causes a defect",
      Effect.gen(function* () {
        const server = yield* ModelServer
        for (const events of FastCheck.sample(nonsense, { numRuns: 60, seed: 1 })) {
          yield* server.enqueue([raw(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")), end])
          const exit = yield* Effect.exit(collect("Hi"))
          if (Exit.isFailure(exit)) assert.deepStrictEqual(Chunk.toReadonlyArray(Cause.defects(exit.cause)), [])
        }
      })
    )

    test(
      "concurrent answers are not mixed up",
      Effect.gen(function* () {
        const server = yield* ModelServer
        yield* server.answer(({ user }) => [say(...user), call("add_task", { title: user, due: null, labels: null })])
        const users = Array.from({ length: 40 }, (_, n) => `user ${n}`)
        yield* Effect.forEach(
          users,
          (user) =>
            Effect.map(collect(user), (parts) => {
              assert.strictEqual(textOf(parts), user)
              assert.deepStrictEqual(callsOf(parts)[0]?.params, { title: user, due: null, labels: null })
            }),
          { concurrency: "unbounded", discard: true }
        )
        assert.deepInclude(yield* server.counts, { requests: 40, abandoned: 0, refused: 0 })
      })
    )
  })
  return test
}
