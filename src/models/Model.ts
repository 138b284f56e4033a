import { type AiError, LanguageModel, type Response } from "@effect/ai"
import type * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Chunk, Effect, Layer, Stream } from "effect"
import * as Pull from "../runtime/Pull.ts"
import * as StreamText from "../runtime/StreamText.ts"
import * as Endpoint from "./Endpoint.ts"
import { measured } from "./Measured.ts"
import type { WireState } from "./Wire.ts"

/** Writes a request as JSON, without the members in `without`. */
export type Write = (without: ReadonlySet<string>) => string

/**
 * The model behind one endpoint. `write` creates the request for a prompt. `origin` identifies the provider for `Echo`.
 */
export const layer = <State extends WireState>(
  api: Endpoint.Api<State> & { readonly provider: string },
  options: Endpoint.Options,
  write: (request: StreamText.Request, origin: string) => Effect.Effect<Write, AiError.AiError>
): Layer.Layer<LanguageModel.LanguageModel, never, NodeHttpClient.Dispatcher> =>
  Layer.scoped(
    LanguageModel.LanguageModel,
    Effect.flatMap(Endpoint.make(api, options), (endpoint) => {
      const open = (request: StreamText.Request) =>
        write(request, endpoint.origin).pipe(
          Effect.flatMap(endpoint.ask),
          Effect.flatMap((source) => measured(api.provider, source))
        )
      const streamText = (request: LanguageModel.ProviderOptions) => Pull.toStream(() => Pull.suspend(open(request)))
      return Effect.map(
        LanguageModel.make({
          streamText,
          generateText: (request) => Effect.map(Stream.runCollect(streamText(request)), whole)
        }),
        (model) => StreamText.make(model, { provider: api.provider, model: options.model }, open)
      )
    })
  )

/** An answer with its text as one part. */
const whole = (parts: Chunk.Chunk<StreamText.Part>): Array<Response.PartEncoded> => {
  const text = Chunk.toReadonlyArray(parts)
    .map((part) => (part.type === "text-delta" ? part.delta : ""))
    .join("")
  const out: Array<Response.PartEncoded> = text === "" ? [] : [{ type: "text", text }]
  for (const part of parts) {
    if (part.type === "response-metadata" || part.type === "tool-call" || part.type === "finish") out.push(part)
  }
  return out
}
