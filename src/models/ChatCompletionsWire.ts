import type { Part } from "../runtime/StreamText.ts"
import * as Echo from "./Echo.ts"
import { count, isFields, timeOf } from "./Fields.ts"
import * as Thinking from "./Thinking.ts"
import * as Wire from "./Wire.ts"

interface State extends Wire.Progress {
  readonly isDescribed: boolean
  readonly hasText: boolean
  readonly thinking: Thinking.Thinking
  readonly isRefused: boolean
  readonly calls: ReadonlyArray<Call>
  readonly echo: Kept
}

interface Call {
  /** The index of the call, or its position in the chunk if the server sends no index. */
  readonly slot: number
  readonly id: string | undefined
  readonly name: string | undefined
  readonly arguments: string
  /** Google's models expect it back with the call. */
  readonly extra: object | undefined
}

/** Members of an answer that some providers expect back. */
interface Kept {
  readonly reasoning_content: string
  readonly reasoning: string
  readonly reasoning_details: ReadonlyArray<object>
  readonly extra_content: object | undefined
}

const start: State = {
  ...Wire.start,
  isDescribed: false,
  hasText: false,
  thinking: Thinking.start,
  isRefused: false,
  calls: [],
  echo: { reasoning_content: "", reasoning: "", reasoning_details: [], extra_content: undefined }
}

const textId = "0"
const maxCalls = 500

const next = (state: State, event: unknown): Wire.Step<State> => {
  if (!isFields<keyof Chunk>(event)) return [state, [], Wire.malformed("an event is not an object")]
  const { choices, created, id, model, usage } = event
  const first: unknown = Array.isArray(choices) ? choices.find(isFirst) : undefined
  const error = errorIn(event, first)
  if (error !== undefined) return [state, [], Wire.reported(error)]
  const parts: Array<Part> = []
  let after: State = state
  if (!state.isDescribed) {
    parts.push(metadata(id, model, created))
    after = { ...after, isDescribed: true }
  }
  if (isFields<"usage">(first)) after = counted(after, first.usage)
  after = counted(after, usage)
  if (!isFields<"delta" | "finish_reason" | "message">(first)) return [after, parts]
  const fault = Wire.failureOf(first.finish_reason)
  if (fault !== undefined) return [after, parts, fault]
  const reason = Wire.reasonOf(first.finish_reason)
  if (reason !== undefined) after = { ...after, reason, stage: "ending" }
  // A whole message is an answer without a stream, or repeats the answer at the end of a stream.
  const isRepeated = state.hasText || state.calls.length > 0
  const delta = first.delta ?? (isRepeated ? undefined : first.message)
  return isFields<keyof Delta>(delta) ? withDelta(after, delta, parts) : [after, parts]
}

interface Chunk {
  choices: unknown
  code: unknown
  created: unknown
  detail: unknown
  error: unknown
  error_message: unknown
  id: unknown
  message: unknown
  model: unknown
  object: unknown
  usage: unknown
}

interface Delta {
  content: unknown
  extra_content: unknown
  function_call: unknown
  reasoning: unknown
  reasoning_content: unknown
  reasoning_details: unknown
  refusal: unknown
  tool_calls: unknown
}

/** Other choices are alternative answers. */
const isFirst = (choice: unknown) => isFields<"index">(choice) && (choice.index ?? 0) === 0

/** An error in a chunk, in its choice, or instead of a chunk. */
const errorIn = (event: { readonly [K in keyof Chunk]?: unknown }, choice: unknown): unknown => {
  if (event.error !== undefined && event.error !== null) return event.error
  if (event.object === "error") return event
  if (isFields<"error">(choice) && choice.error !== undefined && choice.error !== null) return choice.error
  const isAnswer = Array.isArray(event.choices) || isFields(event.usage)
  const { code, detail, error_message, message } = event
  return !isAnswer && [code, detail, error_message, message].some((member) => member !== undefined && member !== null)
    ? event
    : undefined
}

const withDelta = (
  state: State,
  delta: { readonly [K in keyof Delta]?: unknown },
  parts: Array<Part>
): Wire.Step<State> => {
  let after = withText(state, contentOf(delta.content), parts)
  if (typeof delta.refusal === "string" && delta.refusal !== "") {
    after = { ...withText(after, delta.refusal, parts), isRefused: true }
  }
  if (delta.reasoning_content ?? delta.reasoning ?? delta.reasoning_details ?? delta.extra_content) {
    after = { ...after, echo: keep(after.echo, delta) }
  }
  const pieces = Array.isArray(delta.tool_calls)
    ? delta.tool_calls
    : isFields(delta.function_call)
      ? [{ index: 0, function: delta.function_call }]
      : undefined
  if (pieces === undefined) return [after, parts]
  for (const [place, piece] of pieces.entries()) {
    const [calls, size] = withPiece(after.calls, piece, place) ?? []
    if (calls === undefined || size === undefined) return [after, parts, Wire.malformed("a tool call is not an object")]
    after = { ...after, calls, size: after.size + size }
    if (after.size > Wire.maxArguments || calls.length > maxCalls) return [after, parts, Wire.tooLarge]
  }
  return [after, parts]
}

const withText = (state: State, delta: string, parts: Array<Part>): State => {
  if (delta === "") return state
  const [thinking, seen] = Thinking.next(state.thinking, delta)
  const after = thinking === state.thinking ? state : { ...state, thinking }
  return seen === "" ? after : addText(after, seen, parts)
}

const addText = (state: State, delta: string, parts: Array<Part>): State => {
  if (!state.hasText) parts.push({ type: "text-start", id: textId })
  parts.push({ type: "text-delta", id: textId, delta })
  return state.hasText ? state : { ...state, hasText: true }
}

const contentOf = (content: unknown): string => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content
    .map((part: unknown) => (isFields<"text">(part) && typeof part.text === "string" ? part.text : ""))
    .join("")
}

/** Adds a piece to the calls. `size` is the number of characters it adds. */
const withPiece = (
  calls: ReadonlyArray<Call>,
  piece: unknown,
  place: number
): readonly [calls: ReadonlyArray<Call>, size: number] | undefined => {
  if (!isFields<"extra_content" | "function" | "id" | "index">(piece)) return undefined
  const given = isFields<"arguments" | "name">(piece.function) ? piece.function : {}
  const id = typeof piece.id === "string" && piece.id !== "" ? piece.id : undefined
  const name = typeof given.name === "string" && given.name !== "" ? given.name : undefined
  const text = Wire.argumentsText(given.arguments)
  const extra = isFields(piece.extra_content) ? piece.extra_content : undefined
  const slot = count(piece.index)
  const at = placeOf(calls, slot, place, id, name)
  const size = text.length + (id?.length ?? 0) + (name?.length ?? 0)
  const call = calls[at]
  if (call === undefined) return [[...calls, { slot: slot ?? place, id, name, arguments: text, extra }], size]
  const more = {
    ...call,
    id: call.id ?? id,
    name: call.name ?? name,
    arguments: call.arguments + text,
    extra: extra ?? call.extra
  }
  return [calls.with(at, more), size]
}

/**
 * The position of the call that a piece continues, or the next free position if it begins a call. A piece is matched by
 * its index, then its id, then its position in the chunk. Some servers send index 0 for every call, and some send no
 * ids, so a second name begins another call.
 */
const placeOf = (
  calls: ReadonlyArray<Call>,
  slot: number | undefined,
  place: number,
  id: string | undefined,
  name: string | undefined
): number => {
  if (slot === undefined && id !== undefined) {
    const sameId = calls.findIndex((call) => call.id === id)
    if (sameId >= 0) return sameId
  }
  const at = calls.findLastIndex((call) => call.slot === (slot ?? place))
  const open = calls[at]
  if (open === undefined) return calls.length
  const isOther = id !== undefined && open.id !== undefined && id !== open.id
  if (slot === undefined && isOther) return calls.length
  if (name === undefined || open.name === undefined) return at
  const isSame = id !== undefined && id === open.id
  return !isSame && (isOther || Wire.isWhole(open.arguments)) ? calls.length : at
}

const keep = (kept: Kept, delta: { readonly [K in keyof Delta]?: unknown }): Kept => ({
  reasoning_content: Echo.append(kept.reasoning_content, delta.reasoning_content),
  reasoning: Echo.append(kept.reasoning, delta.reasoning),
  reasoning_details: Array.isArray(delta.reasoning_details)
    ? delta.reasoning_details.reduce<ReadonlyArray<object>>(withDetail, kept.reasoning_details)
    : kept.reasoning_details,
  extra_content: isFields(delta.extra_content) ? delta.extra_content : kept.extra_content
})

/** Details also arrive in pieces. Pieces with the same type and index are merged. */
const withDetail = (details: ReadonlyArray<object>, piece: unknown): ReadonlyArray<object> => {
  if (!isFields<"index" | "type">(piece)) return details
  const last = details[details.length - 1]
  const continues =
    isFields<"index" | "type">(last) &&
    piece.index !== undefined &&
    last.index === piece.index &&
    last.type === piece.type
  if (!continues) return details.length >= 1000 ? details : [...details, piece]
  const merged: Record<string, unknown> = { ...last }
  for (const [name, value] of Object.entries(piece)) {
    const before = merged[name]
    const isText = ["text", "summary", "data"].includes(name) && typeof before === "string"
    if (isText) merged[name] = Echo.append(before, value)
    else if (value !== null && value !== undefined) merged[name] = value
  }
  return details.with(-1, merged)
}

const counted = (state: State, usage: unknown): State => {
  if (
    !isFields<
      "completion_tokens" | "completion_tokens_details" | "prompt_tokens" | "prompt_tokens_details" | "total_tokens"
    >(usage)
  ) {
    return state
  }
  const { completion_tokens_details: written, prompt_tokens_details: read } = usage
  const inputTokens = count(usage.prompt_tokens)
  const outputTokens = count(usage.completion_tokens)
  const given = {
    inputTokens,
    outputTokens,
    totalTokens: count(usage.total_tokens) ?? Wire.sum(inputTokens, outputTokens),
    reasoningTokens: isFields<"reasoning_tokens">(written) ? count(written.reasoning_tokens) : undefined,
    cachedInputTokens: isFields<"cached_tokens">(read) ? count(read.cached_tokens) : undefined
  }
  return { ...state, usage: Wire.recount(state.usage, given) }
}

const metadata = (id: unknown, model: unknown, created: unknown): Part => ({
  type: "response-metadata",
  id: typeof id === "string" ? id : undefined,
  modelId: typeof model === "string" ? model : undefined,
  timestamp: timeOf(created)
})

const finish = (state: State): readonly [parts: ReadonlyArray<Part>, fault?: Wire.Fault | undefined] => {
  const { calls, isRefused, reason, usage } = state
  if (reason === undefined) return [[], Wire.noEnd]
  const parts: Array<Part> = []
  const rest = Thinking.end(state.thinking)
  const after = rest === "" ? state : addText(state, rest, parts)
  if (after.hasText) parts.push({ type: "text-end", id: textId })
  const [called, fault] = Wire.callParts(calls)
  if (fault !== undefined) return [parts, fault]
  const asks = called.length > 0 && reason === "stop"
  const why = isRefused && reason === "stop" ? "content-filter" : asks ? "tool-calls" : reason
  return [[...parts, ...called, { type: "finish", reason: why, usage }]]
}

/** Uses the names that messages have for these members. `calls` has a signature for each call, in order. */
const echo = ({ calls, echo: kept }: State): object => {
  const extras = calls.flatMap(({ extra, name }) => (name === undefined ? [] : [extra ?? null]))
  return {
    ...(kept.reasoning_content !== "" && { reasoning_content: kept.reasoning_content }),
    ...(kept.reasoning !== "" && { reasoning: kept.reasoning }),
    ...(kept.reasoning_details.length > 0 && { reasoning_details: kept.reasoning_details }),
    ...(kept.extra_content !== undefined && { extra_content: kept.extra_content }),
    ...(extras.some((extra) => extra !== null) && { calls: extras })
  }
}

/** Reads `chat.completion.chunk` events or a `chat.completion`. It accepts the deviations of all known servers. */
export const wire: Wire.Wire<State> = { start, next, finish, echo }
