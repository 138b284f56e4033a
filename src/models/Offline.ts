import { LanguageModel, type Response } from "@effect/ai"
import { Chunk, DateTime, Effect, Layer, Option, Random, Stream } from "effect"
import type * as Pull from "../runtime/Pull.ts"
import * as StreamText from "../runtime/StreamText.ts"
import { measured } from "./Measured.ts"
import { type Next, next } from "./offline/Dialogue.ts"
import { read } from "./offline/Transcript.ts"

/**
 * Fixed rules behind the interface of a language model, to try and test the service without a key or a network. It is
 * stateless: the prompt alone decides what it does. It never calls a tool that the request does not offer.
 * `Transcript` reads the prompt, `Messages` and `Requests` turn a message into commands, and `Dialogue` turns a command
 * into tool calls and, with their results, into an answer.
 */
export const layer: Layer.Layer<LanguageModel.LanguageModel> = Layer.effect(
  LanguageModel.LanguageModel,
  Effect.gen(function* () {
    // Calls and results are matched by id in conversations that outlive this process, so ids must be unique.
    const prefix = (yield* Random.nextIntBetween(0, 2 ** 31)).toString(36)
    let answers = 0
    const answer = (options: StreamText.Request) =>
      Effect.map(DateTime.now, (now) => {
        const { toolChoice } = options
        const only = typeof toolChoice === "object" && "tool" in toolChoice ? toolChoice.tool : null
        const tools = toolChoice === "none" ? [] : options.tools.filter(({ name }) => only === null || name === only)
        const step = next(read(options.prompt, now), new Set(tools.map(({ name }) => name)))
        return partsOf(step, `${prefix}-${++answers}`, countWords(JSON.stringify(options.prompt.content)), now)
      })
    const model = yield* LanguageModel.make({
      streamText: (options) => Stream.unwrap(Effect.map(answer(options), Stream.fromIterable)),
      generateText: (options) => Effect.map(answer(options), whole)
    })
    return StreamText.make(model, { provider: "offline", model: "offline" }, (options) =>
      Effect.flatMap(answer(options), (parts) => measured("offline", sourceOf(parts)))
    )
  })
)

/** A source that emits the whole answer at once. */
const sourceOf = (parts: ReadonlyArray<StreamText.Part>): Pull.Source<StreamText.Part, never> => {
  let rest = Chunk.unsafeFromArray(parts)
  return {
    pull: Effect.suspend(() => {
      const chunk = rest
      rest = Chunk.empty()
      return Chunk.isEmpty(chunk) ? Effect.fail(Option.none()) : Effect.succeed(chunk)
    }),
    close: () => Effect.void
  }
}

/** The parts of an answer, one per word, or of its tool calls. */
const partsOf = (step: Next, id: string, inputTokens: number, now: DateTime.Utc) => {
  const words = step.text?.match(/\s*\S+/g) ?? []
  const calls = step.calls ?? []
  const outputTokens = words.length + countWords(JSON.stringify(calls.map(({ params }) => params)))
  const parts: Array<StreamText.Part> = [
    { type: "response-metadata", id, modelId: "offline", timestamp: DateTime.formatIso(now) }
  ]
  if (words.length > 0) {
    parts.push({ type: "text-start", id })
    for (const delta of words) parts.push({ type: "text-delta", id, delta })
    parts.push({ type: "text-end", id })
  }
  for (const [i, { name, params }] of calls.entries())
    parts.push({ type: "tool-call", id: `call_${id}-${i}`, name, params })
  parts.push({
    type: "finish",
    reason: calls.length > 0 ? "tool-calls" : "stop",
    usage: { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens }
  })
  return parts
}

/** Counts words, because there are no tokens. */
const countWords = (text: string) => text.match(/[\p{L}\p{N}]+/gu)?.length ?? 0

const whole = (parts: ReadonlyArray<StreamText.Part>): Array<Response.PartEncoded> => {
  const text = parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")
  const others = parts.flatMap((part) =>
    part.type === "tool-call" || part.type === "finish" || part.type === "response-metadata" ? [part] : []
  )
  return text === "" ? others : [{ type: "text", text }, ...others]
}
