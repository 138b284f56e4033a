import type { Part } from "../runtime/StreamText.ts"
import { count, isFields, timeOf } from "./Fields.ts"
import * as Items from "./ResponsesItems.ts"
import * as Wire from "./Wire.ts"

interface State extends Wire.Progress {
  readonly isDescribed: boolean
  readonly items: ReadonlyArray<Items.Item>
  readonly isRefused: boolean
}

const start: State = {
  ...Wire.start,
  isDescribed: false,
  items: [],
  isRefused: false
}

interface Event {
  arguments: unknown
  content_index: unknown
  delta: unknown
  error: unknown
  item: unknown
  item_id: unknown
  name: unknown
  object: unknown
  output: unknown
  output_index: unknown
  part: unknown
  refusal: unknown
  response: unknown
  text: unknown
  type: unknown
}

type Given<A> = { readonly [K in keyof A]?: unknown }

const next = (state: State, event: unknown): Wire.Step<State> => {
  if (!isFields<keyof Event>(event)) return [state, [], Wire.malformed("an event is not an object")]
  switch (event.type) {
    case "response.output_text.delta":
    case "response.refusal.delta":
      return typeof event.delta === "string"
        ? withText(state, event, (sent) => sent + event.delta)
        : [state, [], Wire.malformed("a piece of text is not text")]
    case "response.output_text.done":
      return typeof event.text === "string" ? withText(state, event, Items.completed(event.text)) : [state, []]
    case "response.refusal.done":
      return typeof event.refusal === "string" ? withText(state, event, Items.completed(event.refusal)) : [state, []]
    case "response.content_part.done": {
      const text = Items.contentText(event.part)
      return text === undefined ? [state, []] : withText(state, { ...event, part: event.part }, Items.completed(text))
    }
    case "response.function_call_arguments.delta":
      return typeof event.delta === "string" ? withArguments(state, event, event.delta, false) : [state, []]
    case "response.function_call_arguments.done":
      return withArguments(state, event, event.arguments, true)
    case "response.output_item.added":
      return withItem(state, event, Items.added)
    case "response.output_item.done":
      return withItem(state, event, Items.updated)
    case "response.created":
    case "response.in_progress":
      return described(state, event.response)
    case "response.completed":
    case "response.incomplete":
    case "response.done":
      return ended(state, event.response, event.type === "response.incomplete")
    case "response.failed":
      return [state, [], Wire.reported(isFields<"error">(event.response) ? event.response.error : undefined)]
    case "error":
    case "response.error":
      return [state, [], Wire.reported(isFields(event.error) ? event.error : event)]
    default:
      return event.object === "response" || Array.isArray(event.output)
        ? ended(state, event, false)
        : event.type === undefined || (event.error !== undefined && event.error !== null)
          ? [state, [], errorOr(event)]
          : [state, []]
  }
}

const errorOr = (event: Given<Event>): Wire.Fault | undefined =>
  "error" in event || "message" in event || "detail" in event ? Wire.reported(event.error ?? event) : undefined

const described = (state: State, response: unknown): Wire.Step<State> => {
  if (state.isDescribed || !isFields<"created_at" | "id" | "model">(response)) return [state, []]
  const { created_at: created, id, model } = response
  const part: Part = {
    type: "response-metadata",
    id: typeof id === "string" ? id : undefined,
    modelId: typeof model === "string" ? model : undefined,
    timestamp: timeOf(created)
  }
  return [{ ...state, isDescribed: true }, [part]]
}

/** Changes a text of a message with `f`. The parts contain the added text. */
const withText = (state: State, event: Given<Event>, f: (sent: string) => string): Wire.Step<State> => {
  const [items, at] = Items.locate(state.items, "message", Items.placeIn(event))
  const [changed, parts] = Items.setText(items, at, count(event.content_index) ?? 0, f)
  const isRefusal =
    event.type === "response.refusal.delta" ||
    event.type === "response.refusal.done" ||
    (isFields<"type">(event.part) && event.part.type === "refusal")
  return [{ ...state, items: changed, isRefused: state.isRefused || isRefusal }, parts]
}

const withArguments = (state: State, event: Given<Event>, given: unknown, isAll: boolean): Wire.Step<State> => {
  const [items, at] = Items.locate(state.items, "call", Items.placeIn(event))
  const [changed, size] = Items.setArguments(items, at, given, isAll)
  const name = typeof event.name === "string" ? event.name : undefined
  return sized({ ...state, items: Items.setName(changed, at, name), size: state.size + size })
}

const sized = (state: State, parts: ReadonlyArray<Part> = []): Wire.Step<State> =>
  state.size > Wire.maxArguments || state.items.length > Items.maxItems ? [state, parts, Wire.tooLarge] : [state, parts]

const withItem = (state: State, event: Given<Event>, merge: typeof Items.updated): Wire.Step<State> => {
  const merged = merge(state.items, event.item, event)
  if (merged === undefined) return [state, [], Wire.malformed("an item is not an object")]
  const isRefused = state.isRefused || merged.isRefused
  return sized({ ...state, items: merged.items, isRefused, size: state.size + merged.size }, merged.parts)
}

/** The end of the answer, with a snapshot of all its items. */
const ended = (state: State, response: unknown, isIncomplete: boolean): Wire.Step<State> => {
  if (!isFields<"error" | "incomplete_details" | "output" | "status" | "usage">(response)) {
    return isIncomplete ? [state, [], Wire.noEnd] : [{ ...state, stage: "complete", reason: "stop" }, []]
  }
  if (response.status === "failed" || isFields(response.error)) return [state, [], Wire.reported(response.error)]
  const [first, head] = described(state, response)
  const parts = [...head]
  let after = first
  const positions = new Set<number>()
  for (const [position, item] of (Array.isArray(response.output) ? response.output : []).entries()) {
    const merged = Items.fromSnapshot(after.items, item, position, positions)
    if (merged === undefined) return [after, parts, Wire.malformed("an item is not an object")]
    parts.push(...merged.parts)
    const isRefused = after.isRefused || merged.isRefused
    after = { ...after, items: merged.items, isRefused, size: after.size + merged.size }
  }
  const details = response.incomplete_details
  const cut = isIncomplete || response.status === "incomplete"
  const reason = cut ? (isFields<"reason">(details) ? Wire.reasonOf(details.reason) : undefined) : "stop"
  if (reason === undefined || (!cut && response.status !== undefined && response.status !== "completed")) {
    return [after, parts, Wire.noEnd]
  }
  return sized(
    { ...after, stage: "complete", reason, usage: Wire.recount(after.usage, usageOf(response.usage)) },
    parts
  )
}

const usageOf = (usage: unknown): Partial<Wire.Usage> => {
  if (!isFields<"input_tokens" | "input_tokens_details" | "output_tokens" | "output_tokens_details">(usage)) return {}
  const { input_tokens_details: read, output_tokens_details: written } = usage
  const inputTokens = count(usage.input_tokens)
  const outputTokens = count(usage.output_tokens)
  return {
    inputTokens,
    outputTokens,
    totalTokens: Wire.sum(inputTokens, outputTokens),
    reasoningTokens: isFields<"reasoning_tokens">(written) ? count(written.reasoning_tokens) : undefined,
    cachedInputTokens: isFields<"cached_tokens">(read) ? count(read.cached_tokens) : undefined
  }
}

const finish = ({
  isRefused,
  items,
  reason,
  usage
}: State): readonly [parts: ReadonlyArray<Part>, fault?: Wire.Fault | undefined] => {
  if (reason === undefined) return [[], Wire.noEnd]
  const parts = Items.textEnds(items)
  const [calls, fault] = Wire.callParts(Items.callsOf(items))
  if (fault !== undefined) return [parts, fault]
  const why = reason !== "stop" ? reason : isRefused ? "content-filter" : calls.length > 0 ? "tool-calls" : "stop"
  return [[...parts, ...calls, { type: "finish", reason: why, usage }]]
}

/** The reasoning before the calls of an answer, with its content, because OpenAI has not stored it. */
const echo = ({ items }: State): object | undefined => {
  const reasoning = items.flatMap(({ kind, whole }) => (kind === "reasoning" && whole !== undefined ? [whole] : []))
  return reasoning.length > 0 && items.some(({ kind }) => kind === "call") ? { reasoning } : undefined
}

/**
 * Reads the events of the Responses API, or a whole response. Pieces, items and the last snapshot describe the same
 * output.
 */
export const wire: Wire.Wire<State> = { start, next, finish, echo }
