import { gzipSync } from "node:zlib"
import { LanguageModel, type Response } from "@effect/ai"
import { NodeHttpClient } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import { assert, describe, it, layer } from "@effect/vitest"
import { type Context, Effect, Either, Layer, Predicate, Stream } from "effect"
import * as Anthropic from "../../src/models/Anthropic.ts"
import * as ChatCompletions from "../../src/models/ChatCompletions.ts"
import { lifetimeAt } from "../../src/models/Echo.ts"
import { EventReader, type ServerSentEvent } from "../../src/models/EventReader.ts"
import * as OpenAi from "../../src/models/OpenAi.ts"
import { type Case, type Provider, type Reply, repliesOf, reply, type Sent } from "../support/ModelCases.ts"
import { providers, written } from "../support/ModelMatrix.ts"
import { ProviderServer, services } from "../support/ProviderServer.ts"
import { read } from "../support/Repository.ts"
import { contentOf, type Frame, fieldsOf, newUser, send, stream } from "../support/Server.ts"

const modelOf = { "chat-completions": ChatCompletions, responses: OpenAi, messages: Anthropic }

type Cut = (bytes: Uint8Array) => ReadonlyArray<Uint8Array>

const bytesOf = ({ body }: Reply) => (typeof body === "string" ? new TextEncoder().encode(body) : body)

/** Decodes replies in these pieces, without a network. */
const decoder = (provider: Provider) => {
  let [pieces, next]: [ReadonlyArray<Uint8Array>, Reply | undefined] = [[], undefined]
  const controller = { paused: false, pause: () => {}, resume: () => {}, abort: () => {} }
  const dispatcher = {
    dispatch: (_: unknown, handler: Readonly<Record<string, (...given: ReadonlyArray<unknown>) => void>>) => {
      handler["onRequestStart"]?.(controller)
      handler["onResponseStart"]?.(controller, next?.status, next?.headers)
      for (const piece of pieces) handler["onResponseData"]?.(controller, piece)
      if (next?.isReset) handler["onResponseError"]?.(controller, { code: "ECONNRESET" })
      else handler["onResponseEnd"]?.(controller, {})
      return true
    }
  }
  // Safe: of a dispatcher, only `dispatch` is called.
  const fake = Layer.succeed(
    NodeHttpClient.Dispatcher,
    dispatcher as unknown as Context.Tag.Service<typeof NodeHttpClient.Dispatcher>
  )
  const model = modelOf[provider.wire].layer({ apiUrl: "http://provider/v1", model: "m", idleTimeout: "1 minute" })
  const offered = { tools: {}, handle: () => Effect.die("never run") }
  return Effect.map(Layer.build(Layer.provide(model, fake)), (built) => (reply: Reply, cut: Cut = uncut) => {
    const answer = Effect.suspend(() => {
      ;[pieces, next] = [cut(bytesOf(reply)), reply]
      return Stream.runFold(
        LanguageModel.streamText({ prompt: "Hi", toolkit: offered, disableToolCallResolution: true }),
        nothing,
        fold
      )
    })
    return answer.pipe(
      Effect.mapError(({ _tag, message }) => ({ _tag, message })),
      Effect.either,
      Effect.provide(built)
    )
  })
}

interface Outcome {
  readonly text: string
  readonly calls: ReadonlyArray<readonly [string, unknown]>
  readonly reason: string
  readonly usage: object
}

const nothing: Outcome = { text: "", calls: [], reason: "none", usage: {} }

const fold = (outcome: Outcome, part: Response.AnyPart): Outcome => {
  switch (part.type) {
    case "text-delta":
      return { ...outcome, text: outcome.text + part.delta }
    case "tool-call":
      return { ...outcome, calls: [...outcome.calls, [part.name, part.params]] }
    case "finish":
      return { ...outcome, reason: part.reason, usage: { ...part.usage } }
    default:
      return outcome
  }
}

const uncut: Cut = (bytes) => [bytes]
const bytewise: Cut = (bytes) => Array.from(bytes, (byte) => new Uint8Array([byte]))
const cutAt =
  (at: number): Cut =>
  (bytes) => [bytes.subarray(0, at), bytes.subarray(at)]

const isStream = ({ body, headers }: Reply) =>
  typeof body === "string" && headers["content-type"] === "text/event-stream" && !("content-encoding" in headers)

/** The events of a stream in these pieces. */
const eventsIn = (pieces: ReadonlyArray<Uint8Array>): string => {
  const reader = new EventReader(1e6)
  const out: Array<ServerSentEvent> = []
  for (const piece of pieces) reader.read(piece, out)
  reader.end(out)
  return JSON.stringify(out)
}

/** Positions at which a stream may break: after each event and within it. */
const breaksIn = (body: string) =>
  Array.from(body.matchAll(/\n\n/g), ({ index }) => index + 2).flatMap((end, i, ends) => [
    Math.floor(((ends[i - 1] ?? 0) + end) / 2),
    end
  ])

/** An event with a finish reason. */
const anyEnd = /"(?:finish_reason|stop_reason)":"(?!null")[^"]+"|"type":"response\.(?:completed|incomplete)"/

describe("Providers, in memory", () => {
  for (const provider of providers) {
    const replies = provider.cases.flatMap(({ turns }) => turns.flatMap(repliesOf))
    const different = new Map(replies.map((reply) => [`${reply.status} ${reply.isReset} ${reply.body}`, reply]))

    it.scopedLive(`${provider.name}: a cut at any byte does not change the result`, () =>
      Effect.gen(function* () {
        const decode = yield* decoder(provider)
        for (const reply of different.values()) {
          const bytes = bytesOf(reply)
          const whole = yield* decode(reply)
          assert.deepStrictEqual(yield* decode(reply, bytewise), whole)
          // Decoding depends only on the events, so it is enough to compare the events.
          const events = isStream(reply) ? eventsIn([bytes]) : undefined
          for (let at = 1; at < bytes.length; at++) {
            const cut = cutAt(at)
            if (events === undefined) assert.deepStrictEqual(yield* decode(reply, cut), whole, `cut at ${at}`)
            else if (eventsIn(cut(bytes)) !== events) assert.fail(`cut at ${at} of ${reply.body}`)
          }
        }
      })
    )

    it.scopedLive(`${provider.name}: an incomplete answer is never accepted as complete`, () =>
      Effect.gen(function* () {
        const decode = yield* decoder(provider)
        for (const reply of different.values()) {
          const { body } = reply
          if (!isStream(reply) || typeof body !== "string") continue
          const whole = yield* decode(reply)
          for (const at of breaksIn(body)) {
            if (at >= body.length) continue
            const text = body.slice(0, at)
            for (const isReset of [false, true]) {
              const half = yield* decode({ ...reply, body: text, isReset })
              if (Either.isLeft(half)) continue
              // A break after the finish reason loses nothing.
              assert.match(text, anyEnd)
              assert.notStrictEqual(half.right.reason, "none")
              if (Either.isRight(whole)) assert.isTrue(whole.right.text.startsWith(half.right.text), text)
            }
          }
        }
      })
    )
  }
})

it.scopedLive("the size limit applies to the decompressed answer", () =>
  Effect.gen(function* () {
    const [provider] = providers
    if (provider === undefined) return assert.fail("no provider")
    const decode = yield* decoder(provider)
    const bomb = gzipSync(Buffer.alloc(17 * 1024 * 1024, ": comment\n\n"))
    const result = yield* decode(reply(200, bomb, { "content-type": "text/event-stream", "content-encoding": "gzip" }))
    assert.include(Either.isLeft(result) ? result.left.message : "", "the answer is too large")
  })
)

it.scopedLive("a compressed answer that is nested too deeply fails, and the process goes on", () =>
  Effect.gen(function* () {
    const [provider] = providers.filter(({ wire }) => wire === "chat-completions")
    if (provider === undefined) return assert.fail("no provider")
    const decode = yield* decoder(provider)
    const deep = `${"[".repeat(20_000)}1${"]".repeat(20_000)}`
    const delta = `{"content":"Hi","reasoning_details":[{"type":"a","text":${deep}}]}`
    const body = gzipSync(`data: {"choices":[{"delta":${delta},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`)
    const result = yield* decode(reply(200, body, { "content-type": "text/event-stream", "content-encoding": "gzip" }))
    assert.include(Either.isLeft(result) ? result.left.message : "", "the answer cannot be read")
  })
)

it.each(written)("%s has the table that `npm run providers` writes", (file, write) => {
  const document = read(file)
  assert.strictEqual(document, write(document))
})

it.each(providers)("the reasoning of $name is kept for the time in its row, by its host", ({ echoes, settings }) => {
  const [address] = /https?:\/\/[^`]+/.exec(settings) ?? []
  const lifetime = address === undefined ? "turn" : lifetimeAt(new URL(address))
  assert.strictEqual(lifetime, echoes ?? "turn")
})

const user = newUser

const play = (provider: Provider, one: Case, how: "json" | "stream") =>
  Effect.gen(function* () {
    const server = yield* ProviderServer
    const sql = yield* SqlClient.SqlClient
    const key = yield* server.play(provider, one)
    const owner = yield* user
    for (const task of one.tasks ?? []) yield* send("POST", `/api/${owner}/tasks`, { user: owner, body: task })
    let conversation: unknown
    for (const [index, { expected }] of one.turns.entries()) {
      const before = (yield* server.requests(key)).length
      const label = `${provider.name}, ${one.name}, turn ${index + 1}, ${how}`
      const message = `${key} ${index}`
      const fields = conversation === undefined ? {} : { conversation_id: conversation }
      const seen = yield* how === "json" ? asked(owner, message, fields) : streamed(owner, message, fields)
      conversation ??= yield* conversationOf(owner, message)
      const sent = (yield* server.requests(key)).slice(before)

      assert.deepStrictEqual(seen.error, expected.error, `${label}: the error`)
      assert.deepStrictEqual(seen.calls, expected.calls ?? [], `${label}: the calls`)
      if (seen.ids.length > 0 && sent.length > 1) {
        const { asked, told } = callsSent(sent.at(-1))
        // Each call and its result appear once, with the ids of the service.
        assert.deepStrictEqual(
          [asked.slice(-seen.ids.length), told.slice(-seen.ids.length)],
          [seen.ids, seen.ids],
          label
        )
        assert.lengthOf(new Set(asked), asked.length, label)
      }
      if (seen.text !== undefined && expected.text !== undefined) assert.strictEqual(seen.text, expected.text, label)
      if (expected.usage !== undefined) assert.deepStrictEqual(seen.usage, expected.usage, `${label}: the tokens`)
      if (expected.requests !== undefined) assert.strictEqual(sent.length, expected.requests, `${label}: the requests`)
      for (const { headers } of sent) assert.notProperty(headers, "accept-encoding", label)
      for (const [n, holds] of (expected.sent ?? []).entries()) {
        assert.isTrue(
          sent[n] !== undefined && holds(sent[n]),
          `${label}: request ${n + 1} was ${sent[n]?.text.slice(0, 2000)}`
        )
      }
      const stored = yield* storedOf(owner, conversation, message)
      const kept = expected.text ?? ""
      const isKept = expected.error === undefined || kept !== "" || (expected.calls ?? []).length > 0
      assert.deepStrictEqual(
        stored,
        isKept ? [kept, expected.error === undefined ? "completed" : "failed"] : undefined,
        `${label}: what is stored`
      )
      const [turn] = yield* sql`
        SELECT id, json_array_length(coalesce(step_usage, '[]')) AS steps FROM turns
        WHERE user_id = ${owner} ORDER BY id DESC LIMIT 1`
      const log = yield* server.log(turn?.["id"])
      yield* checkLog(log, sent.length, Number(turn?.["steps"]), expected.error, label)
      if (expected.log !== undefined) {
        const { log: facts } = expected
        if (facts["model_error"] === `${endedEarly}length`) assert.include(seen.detail, "MODEL_MAX_OUTPUT_TOKENS")
        const found = log.some(
          ({ annotations, level }) =>
            level === "WARN" && Object.entries(facts).every(([name, fact]) => annotations[name] === fact)
        )
        assert.isTrue(found, `${label}: the log was ${JSON.stringify(log)}`)
      }
      const get = (path: string) => send("GET", `/api/${owner}/${path}`, { user: owner })
      const pages = [`turns/${turn?.["id"]}`, `turns/${turn?.["id"]}/events`, `conversations/${conversation}/messages`]
      const shown = [seen, log, yield* server.spans, yield* Effect.forEach(pages, get)]
      for (const secret of one.secrets ?? []) assert.notInclude(JSON.stringify(shown), secret, label)
    }
  })

const failed = "The model's service failed"
const refused = "The model's service refused a member of the request"
const endedEarly = "the answer ended early: "

/** The annotations that a log line of a failed call may have, and their forms. */
const facts: Readonly<Record<string, RegExp>> = {
  model: /^custom$/,
  model_try: /^[1-4]$/,
  model_error: /^[a-z'A-Z_: -]{1,60}$/,
  model_status: /^[345]\d\d$/,
  model_code: /^[A-Za-z0-9_.-]{1,64}$/,
  model_request_id: /^[A-Za-z0-9_.:-]{1,128}$/,
  model_members: /^[a-z_,]+$/
}

/** Each request completes a step or has a log line with the reason. The line has only facts, and so has the span. */
const checkLog = (
  log: Effect.Effect.Success<ReturnType<(typeof ProviderServer.Service)["log"]>>,
  requests: number,
  steps: number,
  error: string | undefined,
  label: string
) =>
  Effect.gen(function* () {
    const failures = log.filter(({ message }) => message === failed || message === refused)
    const early = failures.filter(({ annotations }) => String(annotations["model_error"]).startsWith(endedEarly))
    // A request that was cut during its answer counts as both: a step with estimated tokens, and a line.
    const cut = failures.filter((line) => !early.includes(line) && line.annotations["model_status"] === undefined)
    const ended = steps + failures.length - early.length
    assert.isAtLeast(ended, requests, `${label}: ${JSON.stringify(log)}`)
    assert.isAtMost(ended - cut.length, requests, `${label}: ${JSON.stringify(log)}`)
    const spans = yield* (yield* ProviderServer).spans
    for (const { annotations, level, message } of failures) {
      assert.strictEqual(level, "WARN")
      const stated = Object.entries(annotations).filter(([name]) => name.startsWith("model"))
      for (const [name, fact] of stated) assert.match(String(fact), facts[name] ?? /^never$/, `${label}: ${name}`)
      assert.includeMembers(Object.keys(annotations), ["model_error", "model_try"], label)
      const isTraced = spans.some(
        ({ attributes, name }) =>
          name === message &&
          attributes["turn_id"] === annotations["turn_id"] &&
          stated.every(([name, fact]) => attributes[name] === fact)
      )
      assert.isTrue(isTraced, `${label}: no span has ${JSON.stringify(annotations)}`)
    }
    const ends = log.filter(({ message }) => message === "The agent failed")
    const codes = ends.map(({ annotations }) => annotations["code"])
    assert.deepStrictEqual(codes, error === undefined ? [] : [error], label)
    assert.isTrue(error === undefined || failures.length > 0, `${label}: nothing says why`)
  })

/** The ids of the calls and of the results in a request, in order. */
const callsSent = (sent: Sent | undefined) => {
  const asked: Array<unknown> = []
  const told: Array<unknown> = []
  const visit = (value: unknown): void => {
    if (!Predicate.isObject(value)) return
    for (const member of Object.values(value)) visit(member)
    if (!Predicate.isRecord(value)) return
    if (value["role"] === "tool") told.push(value["tool_call_id"])
    else if (value["type"] === "tool_result") told.push(value["tool_use_id"])
    else if (value["type"] === "function_call_output") told.push(value["call_id"])
    else if (value["type"] === "function_call") asked.push(value["call_id"])
    else if (value["type"] === "tool_use" || value["type"] === "function") asked.push(value["id"])
  }
  visit([sent?.body["messages"], sent?.body["input"]])
  return { asked, told }
}

interface Seen {
  readonly text: string | undefined
  readonly calls: ReadonlyArray<readonly [unknown, unknown, unknown]>
  readonly ids: ReadonlyArray<unknown>
  readonly error: unknown
  readonly detail: unknown
  readonly usage: readonly [unknown, unknown] | undefined
}

const callsIn = (calls: unknown): Seen["calls"] =>
  Array.isArray(calls)
    ? calls.map((call) => {
        assert.match(String(call.id), /^[A-Za-z0-9]{9}$/)
        return [call.tool, call.parameters, call.result.status]
      })
    : []

const idsIn = (calls: unknown): ReadonlyArray<unknown> => (Array.isArray(calls) ? calls.map(({ id }) => id) : [])

const usageIn = (usage: unknown): Seen["usage"] =>
  Predicate.isRecord(usage) ? [usage["input_tokens"], usage["output_tokens"]] : undefined

const asked = (owner: Effect.Effect.Success<typeof user>, message: string, fields: object) =>
  Effect.map(
    send("POST", `/api/${owner}/chat`, { user: owner, body: { message, ...fields } }),
    ({ json, status }): Seen => {
      if (status === 200) {
        return {
          text: String(json["assistant_message"]),
          calls: callsIn(json["tool_calls"]),
          ids: idsIn(json["tool_calls"]),
          error: undefined,
          detail: undefined,
          usage: usageIn(json["usage"])
        }
      }
      const isRefusal = json["code"] === "agent_content_refused" || json["code"] === "agent_context_too_long"
      assert.strictEqual(status, isRefusal ? 422 : 500)
      const { code: error, detail, tool_calls: calls } = json
      return { text: undefined, calls: callsIn(calls), ids: idsIn(calls), error, detail, usage: undefined }
    }
  )

const streamed = (owner: Effect.Effect.Success<typeof user>, message: string, fields: object) =>
  Effect.scoped(
    Effect.gen(function* () {
      const events = yield* stream(owner, message, { ...fields })
      const frames: ReadonlyArray<Frame> = yield* events.rest
      const last = frames.at(-1)?.data ?? {}
      assert.isTrue(last["done"])
      return {
        text: contentOf(frames),
        calls: callsIn(last["tool_calls"]),
        ids: idsIn(last["tool_calls"]),
        error: last["code"],
        detail: last["error"],
        usage: usageIn(last["usage"])
      } satisfies Seen
    })
  )

const conversationOf = (owner: Effect.Effect.Success<typeof user>, title: string) =>
  Effect.map(send("GET", `/api/${owner}/conversations`, { user: owner }), ({ json }) => {
    const { conversations } = json
    assert.isTrue(Array.isArray(conversations) && conversations.length === 1, title)
    return Array.isArray(conversations) ? fieldsOf(conversations[0])["id"] : undefined
  })

/** The assistant message after this one, if any. */
const storedOf = (owner: Effect.Effect.Success<typeof user>, conversation: unknown, message: string) =>
  Effect.map(send("GET", `/api/${owner}/conversations/${conversation}/messages`, { user: owner }), ({ json }) => {
    const messages = Array.isArray(json["messages"]) ? json["messages"].map(fieldsOf) : []
    const next = messages[messages.findIndex(({ content }) => content === message) + 1]
    return next?.["role"] === "assistant" ? [next["content"], next["status"]] : undefined
  })

layer(services, { excludeTestServices: true, timeout: "2 minutes" })("Providers, through the service", (it) => {
  for (const provider of providers) {
    for (const one of provider.cases) {
      it.effect(`${provider.name}: ${one.name}`, () =>
        Effect.zipRight(play(provider, one, "json"), play(provider, one, "stream"))
      )
    }
  }
})
