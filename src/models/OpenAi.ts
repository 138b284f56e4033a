import { type AiError, LanguageModel, type Prompt, type Response } from "@effect/ai"
import { type Generated, OpenAiClient, OpenAiLanguageModel } from "@effect/ai-openai"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { type Chunk, Effect, Layer, Stream } from "effect"
import * as Pull from "../runtime/Pull.ts"
import type { Part } from "../runtime/StreamText.ts"
import * as StreamText from "../runtime/StreamText.ts"
import { count, isFields, timeOf } from "./Fields.ts"
import * as Messages from "./Messages.ts"
import * as ToolCalls from "./ToolCalls.ts"
import * as Upstream from "./Upstream.ts"

/**
 * OpenAI's models through the Responses API, nothing of which OpenAI keeps. It is `OpenAiLanguageModel` over a client
 * whose answers are read here: those that end without an end, failures within the stream, refusals and calls that
 * cannot be run are what that client loses or dies of, and its errors hold the key. Reasoning is passed over.
 * `OpenAiLanguageModel.withConfigOverride` works as it does there.
 */
export const layer = (
  options: Upstream.Options
): Layer.Layer<LanguageModel.LanguageModel, never, NodeHttpClient.Dispatcher> =>
  Layer.scoped(
    LanguageModel.LanguageModel,
    Effect.gen(function* () {
      const upstream = yield* Upstream.make("OpenAi", "/responses", options)
      const answer = (body: string) => upstream.answer(body, new Answer(upstream))
      const config = {
        store: false,
        ...(options.temperature !== undefined && { temperature: options.temperature }),
        ...(options.maxOutputTokens !== undefined && { max_output_tokens: options.maxOutputTokens })
      }

      const client = yield* OpenAiClient.make({ apiKey: options.apiKey, apiUrl: options.apiUrl })
      const mended = (request: Request) => Pull.toStream(() => answer(JSON.stringify(mend(request))))
      const model = yield* OpenAiLanguageModel.make({ model: options.model, config }).pipe(
        Effect.provideService(OpenAiClient.OpenAiClient, {
          ...client,
          // Safe: the results have every member that `OpenAiLanguageModel` reads, which are few of some hundred.
          createResponseStream: (request) =>
            Stream.map(mended(request), eventOf) as Stream.Stream<never, AiError.AiError>,
          createResponse: (request) =>
            Effect.map(Stream.runCollect(mended(request)), whole) as Effect.Effect<never, AiError.AiError>
        })
      )
      return StreamText.make(model, { provider: "openai", model: options.model }, (request) =>
        Effect.gen(function* () {
          const {
            fileIdPrefixes: _,
            strict: __,
            ...overrides
          } = (yield* OpenAiLanguageModel.Config.getOrUndefined) ?? {}
          const input = yield* Messages.write("OpenAi", request.prompt, inputOf)
          const { tools } = request
          const asked = {
            model: options.model,
            ...config,
            ...overrides,
            stream: true,
            input,
            ...(tools.length > 0 && { tool_choice: choiceOf(request.toolChoice) })
          }
          return answer(ToolCalls.withTools(asked, tools.length > 0 ? functionsOf(tools) : undefined))
        })
      )
    })
  ).pipe(Layer.provide(NodeHttpClient.layerUndiciWithoutDispatcher))

/** The items of a message. */
const inputOf = (message: Prompt.Message): ReadonlyArray<unknown> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: Messages.userText(message) }]
    case "assistant":
      return message.content.flatMap((part): ReadonlyArray<unknown> => {
        if (part.type === "text" && part.text !== "") {
          return [{ role: "assistant", content: [{ type: "output_text", text: part.text }] }]
        }
        if (part.type !== "tool-call" || part.providerExecuted) return []
        return [callOf({ id: part.id, name: Messages.callName(part.name) }, Messages.callArguments(part.params))]
      })
    case "tool":
      return message.content.map((part) => ({
        type: "function_call_output",
        call_id: part.id,
        output: Messages.resultText(part)
      }))
  }
}

const functionsOf = ToolCalls.describe((tool) => ({ type: "function", ...tool, strict: isStrict(tool.parameters) }))

const choiceOf = (choice: LanguageModel.ProviderOptions["toolChoice"]) => {
  if (typeof choice === "string") return choice
  return "tool" in choice ? { type: "function", name: choice.tool } : (choice.mode ?? "auto")
}

type Request = Omit<typeof Generated.CreateResponse.Encoded, "stream">

/** A request of `OpenAiLanguageModel`, without what OpenAI refuses. */
const mend = ({ input, tool_choice, tools, ...request }: Request): unknown => {
  const items: ReadonlyArray<unknown> = Array.isArray(input) ? input : []
  // The strict mode, in which arguments always fit, has no optional members.
  const offered = (tools ?? []).map((tool) =>
    tool.type === "function" ? { ...tool, strict: isStrict(tool.parameters) } : tool
  )
  return {
    ...request,
    stream: true,
    input: items.flatMap(inputItem),
    ...(offered.length > 0 && { tools: offered, tool_choice })
  }
}

/**
 * Ids of earlier output stay out: OpenAI has kept nothing that they could name, and would want the reasoning that
 * belongs to them, which is not replayed either.
 */
const inputItem = (item: unknown): ReadonlyArray<unknown> => {
  if (!isFields<"arguments" | "call_id" | "content" | "name" | "role" | "type">(item)) return [item]
  if (item.type === "reasoning") return []
  if (item.type === "function_call" && typeof item.name === "string" && typeof item.arguments === "string") {
    const { arguments: text, call_id, name, type } = item
    return [
      {
        type,
        call_id,
        name: Messages.callName(name),
        arguments: text.startsWith("{") ? text : Messages.callArguments(JSON.parse(text))
      }
    ]
  }
  if (item.role !== "assistant" || !Array.isArray(item.content)) return [item]
  const content = item.content.filter((part: unknown) => !isFields<"text">(part) || part.text !== "")
  return content.length === 0 ? [] : [{ role: item.role, content }]
}

const primitives: ReadonlySet<unknown> = new Set(["string", "number", "integer", "boolean", "null"])

/** Whether OpenAI takes a JSON Schema in its strict mode: every object closed, and each of its members required. */
const isStrict = (schema: unknown): boolean => {
  if (
    !isFields<
      "$defs" | "$ref" | "additionalProperties" | "anyOf" | "enum" | "items" | "properties" | "required" | "type"
    >(schema)
  ) {
    return false
  }
  if (schema.$defs !== undefined && !(isFields(schema.$defs) && Object.values(schema.$defs).every(isStrict))) {
    return false
  }
  if (typeof schema.$ref === "string" || Array.isArray(schema.enum)) return true
  if (Array.isArray(schema.anyOf)) return schema.anyOf.every(isStrict)
  if (schema.type === "array") return isStrict(schema.items)
  if (schema.type !== "object") return primitives.has(schema.type)
  const { properties, required } = schema
  return (
    schema.additionalProperties === false &&
    isFields(properties) &&
    Array.isArray(required) &&
    Object.entries(properties).every(([name, property]) => required.includes(name) && isStrict(property))
  )
}

/** One answer, from the events of the Responses API. */
class Answer implements Upstream.AnswerReader<Part> {
  readonly #upstream: Upstream.Upstream
  readonly #speaking = new Set<string>()
  /** The calls by the place of their items in the output, and the ids of all there have been. */
  readonly #calls = new Map<number, string>()
  readonly #callIds = new Set<string>()
  #size = 0

  constructor(upstream: Upstream.Upstream) {
    this.#upstream = upstream
  }

  onEvent(event: unknown, out: Array<Part>): AiError.AiError | "complete" | undefined {
    if (!isFields<"delta" | "error" | "item" | "item_id" | "output_index" | "response" | "type">(event)) {
      return this.#upstream.malformed("an event is not an object")
    }
    switch (event.type) {
      case "response.output_text.delta":
      case "response.refusal.delta":
        if (typeof event.delta !== "string") return this.#upstream.malformed("a piece of text is not text")
        this.#speak(typeof event.item_id === "string" ? event.item_id : "", event.delta, out)
        return undefined
      case "response.function_call_arguments.delta": {
        const id = this.#calls.get(count(event.output_index) ?? 0)
        if (id !== undefined && typeof event.delta === "string") {
          out.push({ type: "tool-params-delta", id, delta: event.delta })
        }
        return undefined
      }
      case "response.output_item.added":
        if (isFields<"call_id" | "name" | "type">(event.item) && event.item.type === "function_call") {
          this.#begin(count(event.output_index) ?? 0, event.item.call_id, event.item.name, out)
        }
        return undefined
      case "response.output_item.done":
        return this.#onItem(event.item, count(event.output_index) ?? 0, out)
      case "response.created":
        if (isFields(event.response)) out.push(metadata(event.response))
        return undefined
      case "response.completed":
      case "response.incomplete":
        out.push(finishOf(event.response, this.#callIds.size > 0))
        return "complete"
      case "response.failed":
        return this.#upstream.reported(isFields<"error">(event.response) ? event.response.error : undefined)
      case "error":
        return this.#upstream.reported(isFields(event.error) ? event.error : event)
      default:
        return isFields(event.error) ? this.#upstream.reported(event.error) : undefined
    }
  }

  onEnd(failure: AiError.AiError): AiError.AiError {
    return failure
  }

  #speak(id: string, delta: string, out: Array<Part>): void {
    if (delta === "") return
    if (!this.#speaking.has(id)) {
      this.#speaking.add(id)
      out.push({ type: "text-start", id })
    }
    out.push({ type: "text-delta", id, delta })
  }

  /** The id that a call goes by. Results are matched to calls by id, so each needs one of its own. */
  #begin(index: number, id: unknown, name: unknown, out: Array<Part>): string | undefined {
    if (typeof id !== "string" || id === "" || typeof name !== "string") return undefined
    const own = this.#callIds.has(id) ? `call_${crypto.randomUUID()}` : id
    this.#callIds.add(own)
    this.#calls.set(index, own)
    out.push({ type: "tool-params-start", id: own, name })
    return own
  }

  #onItem(item: unknown, index: number, out: Array<Part>): AiError.AiError | undefined {
    if (!isFields<"arguments" | "call_id" | "id" | "name" | "type">(item)) {
      return this.#upstream.malformed("an item is not an object")
    }
    if (item.type === "message" && typeof item.id === "string" && this.#speaking.delete(item.id)) {
      out.push({ type: "text-end", id: item.id })
    }
    if (item.type !== "function_call") return undefined
    const { arguments: text, call_id, name } = item
    const id = this.#calls.get(index) ?? this.#begin(index, call_id, name, out)
    this.#calls.delete(index)
    if (id === undefined || typeof name !== "string" || typeof text !== "string") {
      return this.#upstream.malformed("a tool call lacks its id, name or arguments")
    }
    this.#size += text.length
    if (this.#size > Upstream.maxLength) return this.#upstream.malformed("the arguments of the calls are too large")
    out.push({ type: "tool-params-end", id }, { type: "tool-call", id, name, params: ToolCalls.argumentsOf(text) })
    return undefined
  }
}

const metadata = ({
  created_at: created,
  id,
  model
}: {
  readonly created_at?: unknown
  readonly id?: unknown
  readonly model?: unknown
}): Part => ({
  type: "response-metadata",
  id: typeof id === "string" ? id : undefined,
  modelId: typeof model === "string" ? model : undefined,
  timestamp: timeOf(created)
})

const finishReasons: ReadonlyMap<unknown, Response.FinishReason> = new Map([
  ["max_output_tokens", "length"],
  ["content_filter", "content-filter"]
])

const finishOf = (response: unknown, called: boolean): Part => {
  const { incomplete_details: details, usage } = isFields<"incomplete_details" | "usage">(response) ? response : {}
  const counts = isFields<"input_tokens" | "input_tokens_details" | "output_tokens" | "output_tokens_details">(usage)
    ? usage
    : {}
  const { input_tokens_details: read, output_tokens_details: written } = counts
  const inputTokens = count(counts.input_tokens)
  const outputTokens = count(counts.output_tokens)
  const cut = isFields<"reason">(details) ? (finishReasons.get(details.reason) ?? "other") : undefined
  return {
    type: "finish",
    reason: cut ?? (called ? "tool-calls" : "stop"),
    usage: {
      inputTokens,
      outputTokens,
      totalTokens: inputTokens === undefined || outputTokens === undefined ? undefined : inputTokens + outputTokens,
      reasoningTokens: isFields<"reasoning_tokens">(written) ? count(written.reasoning_tokens) : undefined,
      cachedInputTokens: isFields<"cached_tokens">(read) ? count(read.cached_tokens) : undefined
    }
  }
}

/** The event that `OpenAiLanguageModel` makes a part of; it passes over others than its own. */
const eventOf = (part: Part) => {
  switch (part.type) {
    case "response-metadata":
      return { type: "response.created", response: headOf(part) }
    case "text-start":
      return { type: "response.output_item.added", item: { type: "message", id: part.id } }
    case "text-delta":
      return { type: "response.output_text.delta", item_id: part.id, delta: part.delta }
    case "text-end":
      return { type: "response.output_item.done", item: { type: "message", id: part.id } }
    case "tool-params-start":
      return { type: "response.output_item.added", item: callOf(part, "") }
    case "tool-call":
      return { type: "response.output_item.done", item: callOf(part, JSON.stringify(part.params)) }
    case "finish":
      return { type: "response.completed", response: tailOf(part) }
    default:
      return { type: "other" }
  }
}

type Of<Type extends Part["type"]> = Extract<Part, { readonly type: Type }>

const callOf = ({ id, name }: { readonly id: string; readonly name: string }, text: string) => ({
  type: "function_call",
  call_id: id,
  name,
  arguments: text
})

const headOf = ({ id, modelId, timestamp }: Of<"response-metadata">) => ({
  id: id ?? "",
  model: modelId ?? "",
  created_at: timestamp === undefined ? 0 : Date.parse(timestamp) / 1000
})

const tailOf = ({ reason, usage }: Of<"finish">) => {
  const cut = Array.from(finishReasons).find(([, known]) => known === reason)
  return {
    incomplete_details: cut === undefined ? null : { reason: cut[0] },
    usage: {
      input_tokens: usage.inputTokens,
      output_tokens: usage.outputTokens,
      output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
      input_tokens_details: { cached_tokens: usage.cachedInputTokens }
    }
  }
}

/** An answer as one response. */
const whole = (parts: Chunk.Chunk<Part>) => {
  let head = headOf({ type: "response-metadata" })
  let tail = {}
  const texts = new Map<
    string,
    { readonly type: "output_text"; text: string; readonly annotations: ReadonlyArray<never> }
  >()
  const output: Array<unknown> = []
  for (const part of parts) {
    switch (part.type) {
      case "response-metadata":
        head = headOf(part)
        break
      case "text-start": {
        const content = { type: "output_text", text: "", annotations: [] } as const
        texts.set(part.id, { ...content })
        output.push({ type: "message", id: part.id, content: [texts.get(part.id)] })
        break
      }
      case "text-delta": {
        const content = texts.get(part.id)
        if (content !== undefined) content.text += part.delta
        break
      }
      case "tool-call":
        output.push(callOf(part, JSON.stringify(part.params)))
        break
      case "finish":
        tail = tailOf(part)
    }
  }
  return { ...head, ...tail, output }
}
