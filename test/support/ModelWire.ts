import type { Api } from "./ModelRequests.ts"

export type FinishReason = "stop" | "length" | "content-filter"

/** An error as the APIs report it. */
export interface ApiError {
  readonly message: string
  readonly code?: string | number | null
  readonly type?: string
  readonly param?: string | null
}

export interface Tokens {
  readonly input: number
  readonly output: number
}

/** Writes one answer as server-sent events. Each method returns the text to send, in order. */
export interface Wire {
  readonly begin: () => string
  readonly text: (delta: string) => string
  readonly refusal: (delta: string) => string
  readonly reasoning: (delta: string) => string
  readonly callBegin: (id: string, name: string) => string
  readonly callDelta: (delta: string) => string
  readonly callEnd: () => string
  readonly finish: (reason: FinishReason, tokens: Tokens) => string
  /** The answer failed. */
  readonly failed: (error: ApiError) => string
  /** The stream failed. */
  readonly error: (error: ApiError) => string
}

/** `id` is unique; `created` is in Unix seconds. */
export const make = (api: Api, id: string, model: string, created: number): Wire =>
  api === "responses"
    ? new Responses(id, model, created)
    : api === "messages"
      ? new Messages(id, model)
      : new ChatCompletions(id, model, created)

type Json = Readonly<Record<string, unknown>>

interface Open {
  readonly kind: "text" | "refusal" | "reasoning" | "call"
  readonly id: string
  readonly index: number
  /** The members of an item except its content. */
  readonly item: Json
  content: string
}

/** `POST /v1/responses`. */
class Responses implements Wire {
  readonly #id: string
  readonly #model: string
  readonly #created: number
  readonly #output: Array<Json> = []
  #sequence = 0
  #open: Open | undefined

  constructor(id: string, model: string, created: number) {
    this.#id = id
    this.#model = model
    this.#created = created
  }

  begin() {
    const response = this.#response("in_progress")
    return this.#event("response.created", { response }) + this.#event("response.in_progress", { response })
  }

  text(delta: string) {
    return this.#content("text", "response.output_text.delta", delta)
  }

  refusal(delta: string) {
    return this.#content("refusal", "response.refusal.delta", delta)
  }

  reasoning(delta: string) {
    const begin = this.#openItem("reasoning", { type: "reasoning", summary: [] })
    if (this.#open !== undefined) this.#open.content += delta
    return begin + this.#delta("response.reasoning_summary_text.delta", { summary_index: 0, delta })
  }

  callBegin(id: string, name: string) {
    const close = this.#close()
    return close + this.#openItem("call", { type: "function_call", call_id: id, name })
  }

  callDelta(delta: string) {
    if (this.#open !== undefined) this.#open.content += delta
    return this.#delta("response.function_call_arguments.delta", { delta })
  }

  callEnd() {
    return this.#close()
  }

  finish(reason: FinishReason, tokens: Tokens) {
    const close = this.#close()
    const usage = {
      input_tokens: tokens.input,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: tokens.output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: tokens.input + tokens.output
    }
    if (reason === "stop") {
      return close + this.#event("response.completed", { response: this.#response("completed", { usage }) })
    }
    const incomplete_details = { reason: reason === "length" ? "max_output_tokens" : "content_filter" }
    const response = this.#response("incomplete", { usage, incomplete_details })
    return close + this.#event("response.incomplete", { response })
  }

  failed({ code, message }: ApiError) {
    return this.#event("response.failed", { response: this.#response("failed", { error: { code, message } }) })
  }

  error({ code, message, param }: ApiError) {
    return this.#event("error", { code: code ?? null, message, param: param ?? null })
  }

  #content(kind: "text" | "refusal", type: string, delta: string) {
    const begin = this.#openItem(kind, { type: "message", role: "assistant" })
    if (this.#open !== undefined) this.#open.content += delta
    return begin + this.#delta(type, { content_index: 0, delta, ...(kind === "text" && { logprobs: [] }) })
  }

  #openItem(kind: Open["kind"], item: Json): string {
    if (this.#open?.kind === kind) return ""
    const close = this.#close()
    const index = this.#output.length
    const prefix = kind === "call" ? "fc" : kind === "reasoning" ? "rs" : "msg"
    const open: Open = { kind, id: `${prefix}_${this.#id}_${index}`, index, item, content: "" }
    this.#open = open
    const added = this.#event("response.output_item.added", { output_index: index, item: itemOf(open, "in_progress") })
    if (kind === "call") return close + added
    const part = kind === "reasoning" ? { type: "summary_text", text: "" } : partOf(open)
    return close + added + this.#event(...partEvent(open, "added", part))
  }

  #close(): string {
    const open = this.#open
    if (open === undefined) return ""
    this.#open = undefined
    const where = { item_id: open.id, output_index: open.index }
    const item = itemOf(open, "completed")
    this.#output.push(item)
    const done = this.#event("response.output_item.done", { output_index: open.index, item })
    switch (open.kind) {
      case "call":
        return this.#event("response.function_call_arguments.done", { ...where, arguments: open.content }) + done
      case "reasoning":
        return (
          this.#event("response.reasoning_summary_text.done", { ...where, summary_index: 0, text: open.content }) + done
        )
      case "refusal":
        return (
          this.#event("response.refusal.done", { ...where, content_index: 0, refusal: open.content }) +
          this.#event(...partEvent(open, "done", partOf(open))) +
          done
        )
      case "text":
        return (
          this.#event("response.output_text.done", { ...where, content_index: 0, text: open.content, logprobs: [] }) +
          this.#event(...partEvent(open, "done", partOf(open))) +
          done
        )
    }
  }

  #delta(type: string, data: Json) {
    return this.#event(type, { item_id: this.#open?.id, output_index: this.#open?.index, ...data })
  }

  #response(status: string, rest: Json = {}): Json {
    return {
      id: `resp_${this.#id}`,
      object: "response",
      created_at: this.#created,
      status,
      error: null,
      incomplete_details: null,
      instructions: null,
      metadata: {},
      model: this.#model,
      output: this.#output,
      parallel_tool_calls: true,
      store: false,
      temperature: 1,
      tool_choice: "auto",
      tools: [],
      top_p: 1,
      usage: null,
      ...rest
    }
  }

  #event(type: string, data: Json) {
    const event = JSON.stringify({ type, sequence_number: this.#sequence++, ...data })
    return `event: ${type}\ndata: ${event}\n\n`
  }
}

const partOf = ({ content, kind }: Open): Json =>
  kind === "refusal" ? { type: "refusal", refusal: content } : { type: "output_text", text: content, annotations: [] }

const partEvent = (open: Open, what: "added" | "done", part: Json): [string, Json] =>
  open.kind === "reasoning"
    ? [
        `response.reasoning_summary_part.${what}`,
        { item_id: open.id, output_index: open.index, summary_index: 0, part }
      ]
    : [`response.content_part.${what}`, { item_id: open.id, output_index: open.index, content_index: 0, part }]

const itemOf = (open: Open, status: "in_progress" | "completed"): Json => {
  const done = status === "completed"
  switch (open.kind) {
    case "call":
      return { id: open.id, status, arguments: open.content, ...open.item }
    case "reasoning":
      return { id: open.id, ...open.item, summary: done ? [{ type: "summary_text", text: open.content }] : [] }
    default:
      return { id: open.id, status, ...open.item, content: done ? [partOf(open)] : [] }
  }
}

/** `POST /v1/chat/completions`. */
class ChatCompletions implements Wire {
  readonly #head: Json
  #calls = 0

  constructor(id: string, model: string, created: number) {
    this.#head = { id: `chatcmpl-${id}`, object: "chat.completion.chunk", created, model }
  }

  begin() {
    return this.#delta({ role: "assistant", content: "", refusal: null })
  }

  text(delta: string) {
    return this.#delta({ content: delta })
  }

  refusal(delta: string) {
    return this.#delta({ refusal: delta })
  }

  reasoning(delta: string) {
    return this.#delta({ reasoning_content: delta })
  }

  callBegin(id: string, name: string) {
    return this.#delta({
      tool_calls: [{ index: this.#calls++, id, type: "function", function: { name, arguments: "" } }]
    })
  }

  callDelta(delta: string) {
    return this.#delta({ tool_calls: [{ index: this.#calls - 1, function: { arguments: delta } }] })
  }

  callEnd() {
    return ""
  }

  finish(reason: FinishReason, { input, output }: Tokens) {
    const end =
      reason === "content-filter" ? "content_filter" : reason === "stop" && this.#calls > 0 ? "tool_calls" : reason
    const usage = {
      prompt_tokens: input,
      completion_tokens: output,
      total_tokens: input + output,
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0 }
    }
    return `${this.#delta({}, end)}${frame({ ...this.#head, choices: [], usage })}data: [DONE]\n\n`
  }

  failed(error: ApiError) {
    return frame({ error: { type: "server_error", param: null, ...error } })
  }

  error(error: ApiError) {
    return this.failed(error)
  }

  #delta(delta: Json, finish_reason: string | null = null) {
    return frame({ ...this.#head, choices: [{ index: 0, delta, logprobs: null, finish_reason }], usage: null })
  }
}

/** `POST /v1/messages`. */
class Messages implements Wire {
  readonly #id: string
  readonly #model: string
  #blocks = 0
  #open: "text" | "thinking" | "tool_use" | undefined
  #isRefusal = false
  #calls = 0

  constructor(id: string, model: string) {
    this.#id = id
    this.#model = model
  }

  begin() {
    const message = {
      id: `msg_${this.#id}`,
      type: "message",
      role: "assistant",
      model: this.#model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 0, output_tokens: 1 }
    }
    return this.#event("message_start", { message }) + this.#event("ping", {})
  }

  text(delta: string) {
    return this.#block("text", { type: "text", text: "" }) + this.#delta({ type: "text_delta", text: delta })
  }

  refusal(delta: string) {
    this.#isRefusal = true
    return this.text(delta)
  }

  reasoning(delta: string) {
    const begin = this.#block("thinking", { type: "thinking", thinking: "", signature: "" })
    return begin + this.#delta({ type: "thinking_delta", thinking: delta })
  }

  callBegin(id: string, name: string) {
    this.#calls++
    return this.#close() + this.#block("tool_use", { type: "tool_use", id, name, input: {} })
  }

  callDelta(delta: string) {
    return this.#delta({ type: "input_json_delta", partial_json: delta })
  }

  callEnd() {
    return this.#close()
  }

  finish(reason: FinishReason, { input, output }: Tokens) {
    const stop_reason =
      reason === "length"
        ? "max_tokens"
        : reason === "content-filter" || this.#isRefusal
          ? "refusal"
          : this.#calls > 0
            ? "tool_use"
            : "end_turn"
    const usage = { input_tokens: input, output_tokens: output }
    const delta = this.#event("message_delta", { delta: { stop_reason, stop_sequence: null }, usage })
    return this.#close() + delta + this.#event("message_stop", {})
  }

  failed(error: ApiError) {
    return this.error(error)
  }

  error({ code, message }: ApiError) {
    return this.#event("error", { error: { type: code ?? "api_error", message } })
  }

  #block(kind: "text" | "thinking" | "tool_use", content_block: Json) {
    if (this.#open === kind) return ""
    const close = this.#close()
    this.#open = kind
    return close + this.#event("content_block_start", { index: this.#blocks, content_block })
  }

  #delta(delta: Json) {
    return this.#event("content_block_delta", { index: this.#blocks, delta })
  }

  #close() {
    if (this.#open === undefined) return ""
    const signature = this.#open === "thinking" ? this.#delta({ type: "signature_delta", signature: "signed" }) : ""
    this.#open = undefined
    return signature + this.#event("content_block_stop", { index: this.#blocks++ })
  }

  #event(type: string, data: Json) {
    return `event: ${type}\n${frame({ type, ...data })}`
  }
}

const frame = (data: Json) => `data: ${JSON.stringify(data)}\n\n`
