import { LanguageModel, type Response } from "@effect/ai"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { type Context, Effect, Either, Layer, Predicate, Stream } from "effect"
import * as Anthropic from "../../src/models/Anthropic.ts"
import * as ChatCompletions from "../../src/models/ChatCompletions.ts"
import * as OpenAi from "../../src/models/OpenAi.ts"
import type { Case, CaseTurn, Provider, Reply } from "../support/ModelCases.ts"
import { providers, withTables } from "../support/ModelMatrix.ts"
import { ProviderServer, services } from "../support/ProviderServer.ts"
import { read } from "../support/Repository.ts"
import { contentOf, type Frame, fieldsOf, newUser, send, stream } from "../support/Server.ts"

const modelOf = { "chat-completions": ChatCompletions, responses: OpenAi, messages: Anthropic }

// --- decoded in memory

const noSent = { body: {}, text: "" }
const repliesOf = ({ replies }: CaseTurn): ReadonlyArray<Reply> =>
  typeof replies === "function" ? [replies(noSent, 0), replies(noSent, 1)] : replies

/** What comes of bytes in these pieces, without a network. */
const decode = (
  provider: Provider,
  { body, headers, isReset, status }: Reply,
  cut: (bytes: Uint8Array) => ReadonlyArray<Uint8Array>
) => {
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body
  const controller = { paused: false, pause: () => {}, resume: () => {}, abort: () => {} }
  const dispatcher = {
    dispatch: (_: unknown, handler: Readonly<Record<string, (...given: ReadonlyArray<unknown>) => void>>) => {
      handler["onRequestStart"]?.(controller)
      handler["onResponseStart"]?.(controller, status, headers)
      for (const piece of cut(bytes)) handler["onResponseData"]?.(controller, piece)
      if (isReset) handler["onResponseError"]?.(controller, { code: "ECONNRESET" })
      else handler["onResponseEnd"]?.(controller, {})
      return true
    }
  }
  // Safe: of a dispatcher, only `dispatch` is called.
  const fake = Layer.succeed(
    NodeHttpClient.Dispatcher,
    dispatcher as unknown as Context.Tag.Service<typeof NodeHttpClient.Dispatcher>
  )
  const { layer } = modelOf[provider.wire]
  const model = layer({ apiUrl: "http://provider/v1", model: "m", idleTimeout: "1 minute" })
  const offered = { tools: {}, handle: () => Effect.die("never run") }
  return LanguageModel.streamText({ prompt: "Hi", toolkit: offered, disableToolCallResolution: true }).pipe(
    Stream.runFold({ text: "", calls: [], reason: "none", usage: {} }, fold),
    Effect.mapError(({ _tag, message }) => ({ _tag, message })),
    Effect.either,
    Effect.provide(Layer.provide(model, fake))
  )
}

interface Outcome {
  readonly text: string
  readonly calls: ReadonlyArray<readonly [string, unknown]>
  readonly reason: string
  readonly usage: object
}

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

const uncut = (bytes: Uint8Array) => [bytes]
const bytewise = (bytes: Uint8Array) => Array.from(bytes, (byte) => new Uint8Array([byte]))
const cutAt = (at: number) => (bytes: Uint8Array) => [bytes.subarray(0, at), bytes.subarray(at)]

describe("Providers, in memory", () => {
  for (const provider of providers) {
    it.live(`${provider.name}: however the bytes are cut, the same comes of them`, () =>
      Effect.gen(function* () {
        const replies = provider.cases.flatMap(({ turns }) => turns.flatMap(repliesOf))
        const different = new Map(replies.map((reply) => [`${reply.status} ${reply.isReset} ${reply.body}`, reply]))
        for (const reply of different.values()) {
          const whole = yield* decode(provider, reply, uncut)
          assert.deepStrictEqual(yield* decode(provider, reply, bytewise), whole)
          for (let cut = 1; cut < 6; cut++) {
            const at = Math.floor((reply.body.length * cut) / 6)
            assert.deepStrictEqual(yield* decode(provider, reply, cutAt(at)), whole, `cut at ${at}`)
          }
          // The end of half an answer is never that of a whole one.
          if (typeof reply.body !== "string" || reply.status !== 200 || Either.isLeft(whole)) continue
          const half = { ...reply, body: reply.body.slice(0, reply.body.length / 2) }
          const cut = yield* decode(provider, half, uncut)
          assert.isTrue(Either.isLeft(cut) || cut.right.reason !== "none")
        }
      })
    )
  }
})

it("docs/models.md has their tables as `npm run providers` writes them", () => {
  const document = read("docs/models.md")
  assert.strictEqual(document, withTables(document))
})

// --- played through the service

const user = newUser

const play = (provider: Provider, one: Case, how: "json" | "stream") =>
  Effect.gen(function* () {
    const server = yield* ProviderServer
    const key = yield* server.play(provider, one)
    const owner = yield* user
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
      if (seen.text !== undefined && expected.text !== undefined) assert.strictEqual(seen.text, expected.text, label)
      if (expected.usage !== undefined) assert.deepStrictEqual(seen.usage, expected.usage, `${label}: the tokens`)
      if (expected.requests !== undefined) assert.strictEqual(sent.length, expected.requests, `${label}: the requests`)
      for (const [n, holds] of (expected.sent ?? []).entries()) {
        assert.isTrue(sent[n] !== undefined && holds(sent[n]), `${label}: request ${n + 1} was ${sent[n]?.text}`)
      }
      const stored = yield* storedOf(owner, conversation, message)
      const kept = expected.text ?? ""
      const isKept = expected.error === undefined || kept !== "" || (expected.calls ?? []).length > 0
      assert.deepStrictEqual(
        stored,
        isKept ? [kept, expected.error === undefined ? "completed" : "failed"] : undefined,
        `${label}: what is stored`
      )
      const log = yield* server.log(key)
      if (expected.log !== undefined) {
        const { log: facts } = expected
        const found = log.some(
          ({ annotations, level }) =>
            level === "WARN" && Object.entries(facts).every(([name, fact]) => annotations[name] === fact)
        )
        assert.isTrue(found, `${label}: the log was ${JSON.stringify(log)}`)
      }
      for (const secret of one.secrets ?? []) {
        assert.notInclude(JSON.stringify([seen, stored, log]), secret, label)
      }
    }
  })

interface Seen {
  readonly text: string | undefined
  readonly calls: ReadonlyArray<readonly [unknown, unknown, unknown]>
  readonly error: unknown
  readonly usage: readonly [unknown, unknown] | undefined
}

const callsIn = (calls: unknown): Seen["calls"] =>
  Array.isArray(calls)
    ? calls.map((call) => {
        assert.match(String(call.id), /^[A-Za-z0-9]{9}$/)
        return [call.tool, call.parameters, call.result.status]
      })
    : []

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
          error: undefined,
          usage: usageIn(json["usage"])
        }
      }
      const isRefusal = json["code"] === "agent_content_refused" || json["code"] === "agent_context_too_long"
      assert.strictEqual(status, isRefusal ? 422 : 500)
      return { text: undefined, calls: callsIn(json["tool_calls"]), error: json["code"], usage: undefined }
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
        error: last["code"],
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

/** The assistant's message after this one, if there is one. */
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
