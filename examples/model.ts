/** A model of one's own: here one that has a single answer. */
import { LanguageModel, type Response } from "@effect/ai"
import { Effect, Layer, Stream } from "effect"
import { Services } from "taskchat"

const answer: ReadonlyArray<Response.StreamPartEncoded> = [
  { type: "text-start", id: "1" },
  { type: "text-delta", id: "1", delta: "Ask me " },
  { type: "text-delta", id: "1", delta: "again later." },
  { type: "text-end", id: "1" },
  { type: "finish", reason: "stop", usage: { inputTokens: 1, outputTokens: 5, totalTokens: 6 } }
]

const model = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    streamText: () => Stream.fromIterable(answer),
    generateText: () => Effect.succeed([{ type: "text", text: "Ask me again later." }])
  })
)

/** Needs a database. */
export const services = Services.layer().pipe(Layer.provide(model))
