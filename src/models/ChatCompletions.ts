import { type AiError, LanguageModel, type Prompt, type Response, Tool } from "@effect/ai"
import type * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Chunk, Effect, Layer, Stream } from "effect"
import * as Pull from "../runtime/Pull.ts"
import type { Part } from "../runtime/StreamText.ts"
import * as StreamText from "../runtime/StreamText.ts"
import { count, isFields, timeOf } from "./Fields.ts"
import * as Messages from "./Messages.ts"
import * as ToolCalls from "./ToolCalls.ts"
import * as Upstream from "./Upstream.ts"

/**
 * The model behind any endpoint that speaks OpenAI's `/chat/completions`: Cohere, Groq, Ollama, OpenRouter, vLLM ….
 * It always streams; text and tools in, text and tool calls out. Reasoning is passed over.
 */
export const layer = (
  options: Upstream.Options
): Layer.Layer<LanguageModel.LanguageModel, never, NodeHttpClient.Dispatcher> =>
  Layer.scoped(
    LanguageModel.LanguageModel,
    Effect.flatMap(Upstream.make("ChatCompletions", "/chat/completions", options), (upstream) => {
      const open = (request: StreamText.Request) =>
        Effect.map(requestBody(options, request), (body) => upstream.answer(body, new Answer(upstream)))
      const streamText = (request: LanguageModel.ProviderOptions) => Pull.toStream(() => Pull.suspend(open(request)))
      return Effect.map(
        LanguageModel.make({
          streamText,
          generateText: (request) => Effect.map(Stream.runCollect(streamText(request)), whole)
        }),
        (model) => StreamText.make(model, { provider: "openai", model: options.model }, open)
      )
    })
  )

const requestBody = (
  { maxOutputTokens, model, temperature }: Upstream.Options,
  request: StreamText.Request
): Effect.Effect<string, AiError.MalformedInput> =>
  Effect.map(Messages.write("ChatCompletions", request.prompt, messagesOf), (messages) => {
    const { tools } = request
    const asked = {
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
      temperature,
      // OpenAI's reasoning models refuse the old name, most others know no other.
      [/^(o\d|gpt-5)/.test(model) ? "max_completion_tokens" : "max_tokens"]: maxOutputTokens,
      ...(tools.length > 0 && { tool_choice: choiceOf(request.toolChoice) }),
      ...(request.responseFormat.type === "json" && {
        response_format: {
          type: "json_schema",
          json_schema: {
            name: request.responseFormat.objectName,
            schema: Tool.getJsonSchemaFromSchemaAst(request.responseFormat.schema.ast),
            strict: true
          }
        }
      })
    }
    return ToolCalls.withTools(asked, tools.length > 0 ? functionsOf(tools) : undefined)
  })

const messagesOf = (message: Prompt.Message): ReadonlyArray<unknown> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: Messages.userText(message) }]
    case "assistant": {
      const text = message.content.map((part) => (part.type === "text" ? part.text : "")).join("")
      const calls = message.content.flatMap((part) => (part.type === "tool-call" ? [callOf(part)] : []))
      // Providers refuse a message with nothing in it.
      if (text === "" && calls.length === 0) return []
      return [{ role: "assistant", content: text === "" ? null : text, ...(calls.length > 0 && { tool_calls: calls }) }]
    }
    case "tool":
      return message.content.map((part) => ({
        role: "tool",
        tool_call_id: part.id,
        content: Messages.resultText(part)
      }))
  }
}

const callOf = ({ id, name, params }: Prompt.ToolCallPart) => ({
  id,
  type: "function",
  function: { name: Messages.callName(name), arguments: Messages.callArguments(params) }
})

const functionsOf = ToolCalls.describe((tool) => ({ type: "function", function: tool }))

const choiceOf = (choice: LanguageModel.ProviderOptions["toolChoice"]) => {
  // What is so anyway is left out: not every server knows the member.
  if (typeof choice === "string") return choice === "auto" ? undefined : choice
  if ("tool" in choice) return { type: "function", function: { name: choice.tool } }
  return choice.mode === "required" ? choice.mode : undefined
}

const textId = "0"

const finishReasons: ReadonlyMap<unknown, Response.FinishReason> = new Map([
  ["stop", "stop"],
  ["length", "length"],
  ["content_filter", "content-filter"],
  ["tool_calls", "tool-calls"],
  ["function_call", "tool-calls"]
])

interface Call {
  readonly id: string
  readonly name: string
  arguments: string
}

/** One answer, from `chat.completion.chunk` events. Their form is only as strict as the loosest server's. */
class Answer implements Upstream.AnswerReader<Part> {
  readonly #upstream: Upstream.Upstream
  readonly #calls: Array<Call> = []
  /** The call that pieces with an index belong to at present. */
  readonly #open = new Map<unknown, Call>()
  #described = false
  #speaking = false
  #size = 0
  #usage: typeof Response.Usage.Encoded = { inputTokens: undefined, outputTokens: undefined, totalTokens: undefined }
  #finish: Response.FinishReason | undefined

  constructor(upstream: Upstream.Upstream) {
    this.#upstream = upstream
  }

  onEvent(event: unknown, out: Array<Part>): AiError.AiError | "complete" | undefined {
    if (!isFields<"choices" | "created" | "error" | "id" | "model" | "object" | "usage">(event)) {
      return this.#upstream.malformed("an event is not an object")
    }
    if (event.error !== undefined && event.error !== null) return this.#upstream.reported(event.error)
    if (event.object === "error") return this.#upstream.reported(event)
    if (!this.#described) {
      this.#described = true
      out.push(metadata(event))
    }
    const choice: unknown = Array.isArray(event.choices) ? event.choices[0] : undefined
    if (isFields<"delta" | "finish_reason">(choice)) {
      const failure = this.#onDelta(choice.delta, out)
      if (failure !== undefined) return failure
      if (typeof choice.finish_reason === "string") {
        if (choice.finish_reason === "error") return this.#upstream.reported(undefined)
        this.#finish = finishReasons.get(choice.finish_reason) ?? "other"
      }
    }
    const counted = usageOf(event.usage)
    if (counted !== undefined) this.#usage = counted
    // The counts come last, with the end or after it. A server that gives none says `[DONE]`, or closes.
    if (this.#finish === undefined || counted === undefined) return undefined
    this.#end(this.#finish, out)
    return "complete"
  }

  onEnd(failure: AiError.AiError, out: Array<Part>): AiError.AiError | undefined {
    if (this.#finish === undefined) return failure
    this.#end(this.#finish, out)
    return undefined
  }

  #onDelta(delta: unknown, out: Array<Part>): AiError.AiError | undefined {
    if (!isFields<"content" | "refusal" | "tool_calls">(delta)) return undefined
    this.#onText(contentOf(delta.content), out)
    if (typeof delta.refusal === "string") this.#onText(delta.refusal, out)
    if (!Array.isArray(delta.tool_calls)) return undefined
    for (const piece of delta.tool_calls) {
      if (!isFields<"function" | "id" | "index">(piece) || !isFields<"arguments" | "name">(piece.function)) {
        return this.#upstream.malformed("a tool call is not an object")
      }
      const { arguments: given, name } = piece.function
      const text = typeof given === "string" ? given : isFields(given) ? JSON.stringify(given) : ""
      const call = this.#callOf(piece.index ?? 0, piece.id, typeof name === "string" ? name : "", out)
      if (call === undefined) return this.#upstream.malformed("a tool call has no name")
      call.arguments += text
      this.#size += text.length
      if (this.#size > Upstream.maxLength) return this.#upstream.malformed("the arguments of the calls are too large")
      if (text !== "") out.push({ type: "tool-params-delta", id: call.id, delta: text })
    }
    return undefined
  }

  #onText(delta: string, out: Array<Part>): void {
    if (delta === "") return
    if (!this.#speaking) {
      this.#speaking = true
      out.push({ type: "text-start", id: textId })
    }
    out.push({ type: "text-delta", id: textId, delta })
  }

  /** The call that a piece continues or begins. Some servers number every call 0, and some leave out the ids. */
  #callOf(index: unknown, id: unknown, name: string, out: Array<Part>): Call | undefined {
    const given = typeof id === "string" && id !== "" ? id : undefined
    const open = this.#open.get(index)
    const begins = open === undefined || (name !== "" && (given === undefined ? isWhole(open) : given !== open.id))
    if (!begins) return open
    if (name === "") return undefined
    // Results are matched to calls by id, so each needs one of its own.
    const taken = given === undefined || this.#calls.some((call) => call.id === given)
    const call = { id: taken ? `call_${crypto.randomUUID()}` : given, name, arguments: "" }
    this.#size += call.id.length + name.length
    this.#open.set(index, call)
    this.#calls.push(call)
    out.push({ type: "tool-params-start", id: call.id, name })
    return call
  }

  #end(reason: Response.FinishReason, out: Array<Part>): void {
    if (this.#speaking) out.push({ type: "text-end", id: textId })
    for (const { arguments: text, id, name } of this.#calls) {
      out.push({ type: "tool-params-end", id })
      out.push({ type: "tool-call", id, name, params: ToolCalls.argumentsOf(text) })
    }
    const asked = this.#calls.length > 0 && reason === "stop"
    out.push({ type: "finish", reason: asked ? "tool-calls" : reason, usage: this.#usage })
  }
}

/** Whether a call's arguments have been given to their end. */
const isWhole = (call: Call) => {
  try {
    return call.arguments !== "" && isFields(JSON.parse(call.arguments))
  } catch {
    return false
  }
}

const contentOf = (content: unknown): string => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content
    .map((part: unknown) => (isFields<"text">(part) && typeof part.text === "string" ? part.text : ""))
    .join("")
}

const metadata = ({
  created,
  id,
  model
}: {
  readonly created?: unknown
  readonly id?: unknown
  readonly model?: unknown
}): Part => ({
  type: "response-metadata",
  id: typeof id === "string" ? id : undefined,
  modelId: typeof model === "string" ? model : undefined,
  timestamp: timeOf(created)
})

const usageOf = (usage: unknown): typeof Response.Usage.Encoded | undefined => {
  if (
    !isFields<
      "completion_tokens" | "completion_tokens_details" | "prompt_tokens" | "prompt_tokens_details" | "total_tokens"
    >(usage)
  ) {
    return undefined
  }
  const { completion_tokens_details: written, prompt_tokens_details: read } = usage
  return {
    inputTokens: count(usage.prompt_tokens),
    outputTokens: count(usage.completion_tokens),
    totalTokens: count(usage.total_tokens),
    reasoningTokens: isFields<"reasoning_tokens">(written) ? count(written.reasoning_tokens) : undefined,
    cachedInputTokens: isFields<"cached_tokens">(read) ? count(read.cached_tokens) : undefined
  }
}

/** An answer in whole parts instead of pieces. */
const whole = (parts: Chunk.Chunk<Part>): Array<Response.PartEncoded> => {
  const text = Chunk.toReadonlyArray(parts)
    .map((part) => (part.type === "text-delta" ? part.delta : ""))
    .join("")
  const out: Array<Response.PartEncoded> = text === "" ? [] : [{ type: "text", text }]
  for (const part of parts) {
    if (part.type === "response-metadata" || part.type === "tool-call" || part.type === "finish") out.push(part)
  }
  return out
}
