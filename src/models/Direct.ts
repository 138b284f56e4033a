import { AiError, type LanguageModel, Prompt, Response, Telemetry, type Tool } from "@effect/ai"
import { Chunk, type Clock, DateTime, Effect, Option, Schema, Stream, type Tracer } from "effect"
import * as Source from "./Source.ts"

/** The parts our models make. */
export type Part = Extract<
  Response.StreamPartEncoded,
  {
    readonly type:
      | "response-metadata"
      | "text-start"
      | "text-delta"
      | "text-end"
      | "tool-params-start"
      | "tool-params-delta"
      | "tool-params-end"
      | "tool-call"
      | "finish"
  }
>

/**
 * `model`, except that those who run the tools themselves get the parts of `streamText` without detour.
 * `LanguageModel.make` makes a schema of all parts and all tools for each request, which takes milliseconds, and decodes
 * each chunk with it, which takes longer than all else that is done per token. In parts that were made here there is
 * nothing to find for it but arguments that do not fit. A call of a tool that there is not comes as it is.
 */
export const make = (
  model: LanguageModel.Service,
  name: { readonly provider: string; readonly model: string },
  open: (options: LanguageModel.ProviderOptions) => Effect.Effect<Source.Source<Part, AiError.AiError>, AiError.AiError>
): LanguageModel.Service => {
  const answer = (options: LanguageModel.GenerateTextOptions<Record<string, Tool.Any>>) =>
    Stream.suspend(() => {
      let span: Tracer.Span | undefined
      let clock: Clock.Clock | undefined
      return Source.toStream(
        Effect.gen(function* () {
          const toolChoice = options.toolChoice ?? "auto"
          clock = yield* Effect.clock
          span = yield* Effect.makeSpan("LanguageModel.streamText", {
            captureStackTrace: false,
            attributes: { toolChoice }
          })
          annotate(span, { system: name.provider, operation: { name: "chat" }, request: { model: name.model } })
          const { toolkit } = options
          const { tools = {} } = (Effect.isEffect(toolkit) ? yield* toolkit : toolkit) ?? {}
          const all = Object.values(tools)
          const source = yield* open({
            prompt: Prompt.make(options.prompt),
            tools:
              typeof toolChoice === "object" && "oneOf" in toolChoice
                ? all.filter(({ name }) => toolChoice.oneOf.includes(name))
                : all,
            toolChoice,
            responseFormat: { type: "text" },
            span
          })
          return { ...source, pull: Effect.flatMap(source.pull, (parts) => decode(tools, span, parts)) }
        }),
        (exit) => {
          if (clock !== undefined) span?.end(clock.unsafeCurrentTimeNanos(), exit)
        }
      )
    })

  const direct: LanguageModel.Service["streamText"] = (options) =>
    options.disableToolCallResolution === true
      ? // Safe: the types asked for follow from `options` by conditional types alone, and `answer` passes on what comes
        // of the toolkit in `options` and adds no failure but `AiError`.
        (answer(options) as ReturnType<typeof model.streamText<typeof options>>)
      : model.streamText(options)
  return { ...model, streamText: direct }
}

const decode = (
  tools: Readonly<Record<string, Tool.Any>>,
  span: Tracer.Span | undefined,
  parts: Chunk.Chunk<Part>
): Effect.Effect<Chunk.Chunk<ReturnType<typeof decodePart>>, Option.Option<AiError.AiError>> => {
  try {
    return Effect.succeed(
      Chunk.map(joined(parts), (part) => {
        if (part.type === "finish" && span !== undefined) {
          const { inputTokens, outputTokens } = part.usage
          annotate(span, { usage: { inputTokens, outputTokens }, response: { finishReasons: [part.reason] } })
        }
        return decodePart(tools, part)
      })
    )
  } catch (cause) {
    return Effect.fail(Option.some(malformed(cause)))
  }
}

/** Pieces of one text that came together are one: each costs whoever passes it on as much as a whole text. */
const joined = (parts: Chunk.Chunk<Part>): Chunk.Chunk<Part> => {
  const out: Array<Part> = []
  for (const part of parts) {
    const last = out.at(-1)
    if (part.type === "text-delta" && last?.type === "text-delta" && part.id === last.id) {
      out[out.length - 1] = { ...last, delta: last.delta + part.delta }
    } else out.push(part)
  }
  return Chunk.unsafeFromArray(out)
}

const malformed = (cause: unknown) =>
  new AiError.MalformedOutput({ module: "LanguageModel", method: "streamText", cause })

const annotate = (span: Tracer.Span, about: Telemetry.GenAITelemetryAttributeOptions) => {
  if (span.sampled) Telemetry.addGenAIAnnotations(span, about)
}

const decodePart = (tools: Readonly<Record<string, Tool.Any>>, part: Part) => {
  switch (part.type) {
    case "text-delta":
      return Response.makePart("text-delta", { id: part.id, delta: part.delta })
    case "text-start":
      return Response.makePart("text-start", { id: part.id })
    case "text-end":
      return Response.makePart("text-end", { id: part.id })
    case "tool-params-start":
      return Response.makePart("tool-params-start", { id: part.id, name: part.name, providerExecuted: false })
    case "tool-params-delta":
      return Response.makePart("tool-params-delta", { id: part.id, delta: part.delta })
    case "tool-params-end":
      return Response.makePart("tool-params-end", { id: part.id })
    case "tool-call": {
      const schema = Object.hasOwn(tools, part.name) ? tools[part.name]?.parametersSchema : undefined
      const params =
        schema === undefined ? part.params : Schema.decodeUnknownSync(Schema.make<unknown>(schema.ast))(part.params)
      return Response.makePart("tool-call", { id: part.id, name: part.name, params, providerExecuted: false })
    }
    case "response-metadata":
      return Response.makePart("response-metadata", {
        id: Option.fromNullable(part.id),
        modelId: Option.fromNullable(part.modelId),
        timestamp: Option.map(Option.flatMap(Option.fromNullable(part.timestamp), DateTime.make), DateTime.toUtc)
      })
    case "finish":
      return Response.makePart("finish", { reason: part.reason, usage: new Response.Usage(part.usage) })
  }
}
