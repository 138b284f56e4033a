import { assert } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Stream, TestClock } from "effect"
import * as ChatCompletions from "../../src/models/ChatCompletions.ts"
import { fromAiError } from "../../src/services/agent/AgentErrors.ts"
import { callsOf, collect, contract, finishOf, streamText, textOf } from "../support/ModelContract.ts"
import { cut, end, ModelServer, raw, type Step, stall } from "../support/ModelServer.ts"

const test = contract("ChatCompletions", ChatCompletions.layer)

test(
  "a request has the configured values and asks for usage",
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* collect("Hi")
    const [request] = yield* server.requests
    assert.strictEqual(request?.api, "chat-completions")
    assert.deepInclude(request?.body, {
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.5,
      max_tokens: 100
    })
  }),
  () => ({ temperature: 0.5, maxOutputTokens: 100 })
)

/** A chunk with one delta, with the deviations of some servers. */
const chunk = (delta: unknown, rest: object = {}) =>
  raw(`data: ${JSON.stringify({ choices: [{ delta, ...rest }] })}\n\n`)
const piece = (index: number | undefined, id: string | undefined, name: string | undefined, text: unknown) => ({
  tool_calls: [{ index, id, function: { name, arguments: text } }]
})
const ends = (finish_reason: string) => chunk({}, { finish_reason })

/** The parts of an answer that consists of `steps`. */
const answerOf = (...steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const server = yield* ModelServer
    yield* server.enqueue([...steps, end])
    return yield* collect("Hi")
  })
const titled = (title: string) => ({ name: "add_task", params: { title, due: null, labels: null } })
const titles = (title: string) => JSON.stringify(titled(title).params)

const quirks: ReadonlyArray<[string, ReadonlyArray<Step>]> = [
  [
    "whole calls that all have the index 0",
    [
      chunk(piece(0, "a", "add_task", titles("one"))),
      chunk(piece(0, "b", "add_task", titles("two"))),
      ends("tool_calls")
    ]
  ],
  [
    "calls without ids or indices",
    [
      chunk(piece(undefined, undefined, "add_task", titles("one"))),
      chunk(piece(undefined, "", "add_task", titles("two"))),
      ends("stop")
    ]
  ],
  [
    "calls with interleaved pieces",
    [
      chunk(piece(0, "a", "add_task", "")),
      chunk(piece(1, "b", "add_task", "")),
      chunk(piece(0, undefined, undefined, titles("one").slice(0, 9))),
      chunk(piece(1, undefined, undefined, titles("two"))),
      chunk(piece(0, undefined, undefined, titles("one").slice(9))),
      ends("tool_calls")
    ]
  ],
  [
    "id and name in every piece",
    [
      chunk(piece(0, "a", "add_task", titles("one").slice(0, 9))),
      chunk(piece(0, "a", "add_task", titles("one").slice(9))),
      chunk(piece(1, "b", "add_task", titles("two"))),
      ends("tool_calls")
    ]
  ],
  [
    "two calls with the same id",
    [
      chunk(piece(0, "a", "add_task", titles("one"))),
      chunk(piece(1, "a", "add_task", titles("two"))),
      ends("tool_calls")
    ]
  ],
  [
    "arguments as an object, and in the last chunk",
    [
      chunk(piece(0, "a", "add_task", titled("one").params)),
      chunk(piece(1, "b", "add_task", titled("two").params), { finish_reason: "tool_calls" })
    ]
  ]
]
for (const [what, steps] of quirks) {
  test(
    `${what}: both calls arrive, each with a unique id`,
    Effect.gen(function* () {
      const parts = yield* answerOf(...steps)
      assert.deepStrictEqual(callsOf(parts), [titled("one"), titled("two")])
      assert.strictEqual(finishOf(parts)?.reason, "tool-calls")
      const ids = parts.flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
      assert.strictEqual(new Set(ids).size, 2)
      assert.isTrue(ids.every((id) => id !== ""))
    })
  )
}

test(
  "a call without arguments has empty arguments",
  Effect.gen(function* () {
    const parts = yield* answerOf(chunk(piece(0, "a", "list_tasks", "")), ends("tool_calls"))
    assert.deepStrictEqual(callsOf(parts), [{ name: "list_tasks", params: {} }])
  })
)

test(
  "an answer without usage ends with [DONE] or the end of its stream, even if the connection breaks",
  Effect.gen(function* () {
    const server = yield* ModelServer
    const spoken = [chunk({ content: "Hel" }), chunk({ content: [{ type: "text", text: "lo" }] }), ends("stop")]
    for (const last of [[end], [cut], [raw("data: [DONE]\n\n"), stall]]) {
      yield* server.enqueue([...spoken, ...last])
      const parts = yield* collect("Hi")
      assert.strictEqual(textOf(parts), "Hello")
      assert.strictEqual(finishOf(parts)?.reason, "stop")
      assert.isUndefined(finishOf(parts)?.usage.inputTokens)
    }
  })
)

test(
  "an answer may take one more second after its finish reason",
  Effect.gen(function* () {
    const server = yield* ModelServer
    const seen = yield* Deferred.make<void>()
    yield* server.enqueue([chunk({ content: "Hello" }), ends("stop"), stall])
    const reading = Stream.runForEach(streamText("Hi"), ({ type }) =>
      type === "text-delta" ? Deferred.succeed(seen, undefined) : Effect.void
    )
    const fiber = yield* Effect.fork(reading)
    yield* Deferred.await(seen)
    // The end has arrived when the answer to a later request has arrived.
    yield* collect("Meanwhile")
    yield* TestClock.adjust("999 millis")
    assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
    yield* Effect.raceFirst(Fiber.join(fiber), Effect.forever(TestClock.adjust("1 second")))
  })
)

test(
  "a usage count before the end does not end the answer",
  Effect.gen(function* () {
    const counted = (n: number) =>
      raw(
        `data: ${JSON.stringify({ choices: [{ delta: { content: "x" } }], usage: { prompt_tokens: 5, completion_tokens: n } })}\n\n`
      )
    const parts = yield* answerOf(counted(1), counted(2), ends("stop"))
    assert.strictEqual(textOf(parts), "xx")
    assert.strictEqual(finishOf(parts)?.usage.outputTokens, 2)
  })
)

const reported: ReadonlyArray<[string, string, string]> = [
  ["a status as its code", '{"error":{"code":502,"message":"x"}}', "AgentFailed"],
  ["a status as text", '{"error":{"code":"503","message":"x"}}', "AgentBusy"],
  ["overload", '{"error":{"type":"overloaded_error","message":"x"}}', "AgentBusy"],
  ["only a text", '{"error":"something is wrong"}', "AgentFailed"],
  ["an error object by itself", '{"object":"error","code":401,"message":"x"}', "AgentMisconfigured"],
  ["a finish reason", '{"choices":[{"delta":{},"finish_reason":"error"}]}', "AgentFailed"]
]
for (const [what, data, tag] of reported) {
  test(
    `an error in the stream that is ${what}: ${tag}`,
    Effect.gen(function* () {
      const failure = yield* Effect.flip(answerOf(chunk({ content: "Hel" }), raw(`data: ${data}\n\n`), stall))
      assert.strictEqual(failure._tag, "HttpResponseError")
      assert.strictEqual(fromAiError(failure)._tag, tag)
    })
  )
}

test(
  "endless arguments fail",
  Effect.gen(function* () {
    const kib = "x".repeat(256 * 1024)
    const pieces = Array.from({ length: 5 }, () => chunk(piece(0, "a", "add_task", kib)))
    const failure = yield* Effect.flip(answerOf(...pieces, stall))
    assert.strictEqual(failure._tag, "MalformedOutput")
  })
)

const deep = `${"[".repeat(20_000)}1${"]".repeat(20_000)}`
const deepDelta = (delta: string) => raw(`data: {"choices":[{"delta":${delta}}]}\n\n`)
for (const [what, delta] of [
  ["arguments", `{"tool_calls":[{"index":0,"id":"a","function":{"name":"add_task","arguments":{"title":${deep}}}}]}`],
  ["reasoning", `{"content":"Hi","reasoning_details":[{"type":"a","text":${deep}}]}`]
] as const) {
  test(
    `${what} nested too deeply fail at once`,
    Effect.gen(function* () {
      const failure = yield* Effect.flip(answerOf(deepDelta(delta), ends("stop"), raw("data: [DONE]\n\n"), stall))
      assert.strictEqual(failure._tag, "MalformedOutput")
    })
  )
}

test(
  "without a key, a request has no authorization header",
  Effect.gen(function* () {
    const open = yield* ModelServer.pipe(
      Effect.flatMap((server) =>
        Effect.gen(function* () {
          yield* collect("Hi").pipe(Effect.provide(ChatCompletions.layer({ apiUrl: server.url, model: "llama" })))
          return yield* server.requests
        })
      ),
      Effect.provide(ModelServer.layer())
    )
    assert.isUndefined(open[0]?.headers["authorization"])
    assert.strictEqual(open[0]?.model, "llama")
  })
)

test(
  "files are refused, not left out",
  Effect.gen(function* () {
    const failure = yield* Effect.flip(
      collect([{ role: "user", content: [{ type: "file", mediaType: "image/png", data: new Uint8Array(4) }] }])
    )
    assert.strictEqual(failure._tag, "MalformedInput")
  })
)

for (const [model, member] of [
  ["o3-mini", "max_completion_tokens"],
  ["gpt-5.1", "max_completion_tokens"],
  ["llama3", "max_tokens"]
] as const) {
  test(
    `the limit of ${model} is sent as ${member}`,
    Effect.gen(function* () {
      const server = yield* ModelServer
      yield* collect("Hi")
      const [request] = yield* server.requests
      assert.deepInclude(request?.body, { [member]: 9 })
    }),
    () => ({ model, maxOutputTokens: 9 })
  )
}
