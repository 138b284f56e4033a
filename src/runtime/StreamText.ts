import { AiError, type LanguageModel, Prompt, Response, Telemetry, type Tool, type Toolkit } from "@effect/ai"
import { Chunk, DateTime, Effect, Either, Exit, identity, Option, Schema, type Tracer } from "effect"
import * as Codec from "./Codec.ts"
import * as Memo from "./Memo.ts"
import * as Pull from "./Pull.ts"
import * as Span from "./Span.ts"

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

/** What is asked of a provider; the span is nobody's here. */
export type Request = Omit<LanguageModel.ProviderOptions, "span">

/**
 * `model`, except that those who run the tools themselves get the parts of `streamText` without detour. Stands for
 * `LanguageModel.make`, which makes a schema of all parts and all tools for each request, and decodes each chunk with it.
 * In parts that were made here there is nothing to find for it but arguments that do not fit. A call of a tool that there is
 * not comes as it is.
 * Saves: `npm run bench -- --only json,tokens --servers taskchat,stock-StreamText`.
 * Delete when: that row shows less than 5 %.
 */
export const make = (
  model: LanguageModel.Service,
  name: { readonly provider: string; readonly model: string },
  open: (request: Request) => Effect.Effect<Pull.Source<Part, AiError.AiError>, AiError.AiError>
): LanguageModel.Service => {
  const ask = (
    { prompt, toolChoice = "auto" }: LanguageModel.GenerateTextOptions<Record<string, Tool.Any>>,
    given: Given,
    span: Tracer.Span | undefined
  ) => {
    const tools = given?.tools ?? {}
    const all = listOf(tools)
    const request: Request = {
      prompt: Prompt.make(prompt),
      tools:
        typeof toolChoice === "object" && "oneOf" in toolChoice
          ? all.filter(({ name }) => toolChoice.oneOf.includes(name))
          : all,
      toolChoice,
      responseFormat: { type: "text" }
    }
    return Effect.map(open(request), ({ close, pull }) => ({
      pull: Effect.flatMap(pull, (parts) => decode(tools, span, parts)),
      close: (exit: Exit.Exit<unknown, unknown>) => Effect.zipRight(close(exit), Span.end(span, exit))
    }))
  }

  const answer = (options: LanguageModel.GenerateTextOptions<Record<string, Tool.Any>>) =>
    Pull.toStream(() =>
      Pull.suspend(
        Effect.flatMap(
          Span.make("LanguageModel.streamText", { attributes: { toolChoice: options.toolChoice ?? "auto" } }),
          (span) => {
            annotate(span, { system: name.provider, operation: { name: "chat" }, request: { model: name.model } })
            // It is opened without interruption.
            return Effect.tapErrorCause(
              Effect.flatMap(toolkitOf(options), (toolkit) => ask(options, toolkit, span)),
              (cause) => Span.end(span, Exit.failCause(cause))
            )
          }
        )
      )
    )

  const direct: LanguageModel.Service["streamText"] = (options) =>
    options.disableToolCallResolution === true
      ? // Safe: the types asked for follow from `options` by conditional types alone, and `answer` passes on what comes
        // of the toolkit in `options` and adds no failure but `AiError`.
        (answer(options) as unknown as ReturnType<typeof model.streamText<typeof options>>)
      : model.streamText(options)
  return { ...model, streamText: direct }
}

/** The same list for the same tools, by which models know what they have described before. */
const listOf = Memo.byObject((tools: Readonly<Record<string, Tool.Any>>): Array<Tool.Any> => Object.values(tools))

/** A tool's arguments, as `LanguageModel` takes them. */
const paramsOf = Memo.byObject(({ parametersSchema: { ast } }: Tool.Any) =>
  Codec.decodeUnknown(Schema.make<unknown>(ast))
)

type Decoded = ReturnType<typeof decodePart>

type Given = Toolkit.WithHandler<Record<string, Tool.Any>> | undefined

const toolkitOf = ({ toolkit }: LanguageModel.GenerateTextOptions<Record<string, Tool.Any>>): Effect.Effect<Given> =>
  // Safe: what it may fail with and need is in the types of the stream that `direct` gives back.
  Effect.isEffect(toolkit) ? (toolkit as Effect.Effect<Given>) : Effect.succeed(toolkit)

const decode = (
  tools: Readonly<Record<string, Tool.Any>>,
  span: Tracer.Span | undefined,
  parts: Chunk.Chunk<Part>
): Effect.Effect<Chunk.Chunk<Decoded>, Option.Option<AiError.AiError>> => {
  try {
    return Effect.succeed(
      Chunk.map(joined(parts), (part) => {
        if (part.type === "finish") {
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
  let text: { readonly type: "text-delta"; readonly id: string; delta: string } | undefined
  for (const part of parts) {
    if (part.type !== "text-delta") {
      text = undefined
      out.push(part)
    } else if (text?.id === part.id) text.delta += part.delta
    else {
      text = { type: "text-delta", id: part.id, delta: part.delta }
      out.push(text)
    }
  }
  return Chunk.unsafeFromArray(out)
}

const malformed = (cause: unknown) =>
  new AiError.MalformedOutput({ module: "LanguageModel", method: "streamText", cause })

const annotate = (span: Tracer.Span | undefined, about: Telemetry.GenAITelemetryAttributeOptions) => {
  if (span?.sampled === true) Telemetry.addGenAIAnnotations(span, about)
}

// Written out: `Response.makePart` takes 3 µs for each.
const decodePart = (tools: Readonly<Record<string, Tool.Any>>, part: Part) => {
  switch (part.type) {
    case "text-delta": {
      const { delta, id } = part
      return { [Response.PartTypeId]: Response.PartTypeId, type: "text-delta", id, delta, metadata: none } as const
    }
    case "text-start":
      return { [Response.PartTypeId]: Response.PartTypeId, type: "text-start", id: part.id, metadata: none } as const
    case "text-end":
      return { [Response.PartTypeId]: Response.PartTypeId, type: "text-end", id: part.id, metadata: none } as const
    case "tool-params-start": {
      const { id, name } = part
      return {
        [Response.PartTypeId]: Response.PartTypeId,
        type: "tool-params-start",
        id,
        name,
        providerExecuted: false,
        metadata: none
      } as const
    }
    case "tool-params-delta": {
      const { delta, id } = part
      return {
        [Response.PartTypeId]: Response.PartTypeId,
        type: "tool-params-delta",
        id,
        delta,
        metadata: none
      } as const
    }
    case "tool-params-end":
      return {
        [Response.PartTypeId]: Response.PartTypeId,
        type: "tool-params-end",
        id: part.id,
        metadata: none
      } as const
    case "tool-call": {
      const { id, name } = part
      const tool = Object.hasOwn(tools, name) ? tools[name] : undefined
      return {
        [Response.PartTypeId]: Response.PartTypeId,
        type: "tool-call",
        id,
        name,
        params: tool === undefined ? part.params : Either.getOrThrowWith(paramsOf(tool)(part.params), identity),
        providerExecuted: false,
        metadata: none
      } as const
    }
    case "response-metadata":
      return {
        [Response.PartTypeId]: Response.PartTypeId,
        type: "response-metadata",
        id: Option.fromNullable(part.id),
        modelId: Option.fromNullable(part.modelId),
        timestamp: Option.map(Option.flatMap(Option.fromNullable(part.timestamp), DateTime.make), DateTime.toUtc),
        metadata: none
      } as const
    case "finish": {
      const { reason, usage } = part
      return {
        [Response.PartTypeId]: Response.PartTypeId,
        type: "finish",
        reason,
        usage: new Response.Usage(usage, true),
        metadata: part.metadata ?? none
      } as const
    }
  }
}

const none = {}
