import type { Part } from "../runtime/StreamText.ts"
import * as Echo from "./Echo.ts"
import { count, isFields } from "./Fields.ts"
import * as Wire from "./Wire.ts"

/** The tool whose arguments are the answer if the request asks for JSON. */
export const answerTool = "json_answer"

interface State extends Wire.Progress {
  readonly blocks: ReadonlyArray<Block>
}

interface Block {
  readonly index: number
  readonly type: "text" | "tool_use" | "thinking" | "redacted_thinking" | "other"
  readonly id: string | undefined
  readonly name: string | undefined
  /** Text, thinking or arguments. */
  readonly text: string
  readonly signature: string
}

const start: State = { ...Wire.start, blocks: [] }

const maxBlocks = 500

interface Event {
  content: unknown
  content_block: unknown
  delta: unknown
  error: unknown
  id: unknown
  index: unknown
  message: unknown
  model: unknown
  stop_reason: unknown
  type: unknown
  usage: unknown
}

const next = (state: State, event: unknown): Wire.Step<State> => {
  if (!isFields<keyof Event>(event)) return [state, [], Wire.malformed("an event is not an object")]
  switch (event.type) {
    case "message_start":
      return isFields<"id" | "model" | "usage">(event.message)
        ? [counted(state, event.message.usage), metadata(event.message)]
        : [state, []]
    case "content_block_start":
      return begun(state, count(event.index), event.content_block)
    case "content_block_delta":
      return grown(state, count(event.index), event.delta)
    case "message_delta": {
      const after = counted(state, event.usage)
      const reason = isFields<"stop_reason">(event.delta) ? Wire.reasonOf(event.delta.stop_reason) : undefined
      return [reason === undefined ? after : { ...after, reason, stage: "ending" }, []]
    }
    case "message_stop":
      return state.reason === undefined ? [state, []] : [{ ...state, stage: "complete" }, []]
    case "message":
      return whole(state, event)
    case "error":
      return [state, [], Wire.reported(event.error ?? event)]
    default:
      return event.error !== undefined || event.type === undefined
        ? [state, [], Wire.reported(event.error ?? event)]
        : [state, []]
  }
}

/** A message instead of a stream. */
const whole = (state: State, message: { readonly [K in keyof Event]?: unknown }): Wire.Step<State> => {
  const parts = [...metadata(message)]
  let after = counted(state, message.usage)
  for (const [index, block] of (Array.isArray(message.content) ? message.content : []).entries()) {
    const [begin, more, fault] = begun(after, index, block)
    if (fault !== undefined) return [begin, parts, fault]
    after = begin
    parts.push(...more)
  }
  const reason = Wire.reasonOf(message.stop_reason)
  return [reason === undefined ? after : { ...after, reason, stage: "complete" }, parts]
}

const types: ReadonlySet<unknown> = new Set(["text", "tool_use", "thinking", "redacted_thinking"])
const isType = (type: unknown): type is Block["type"] => types.has(type)

interface Given {
  data: unknown
  id: unknown
  input: unknown
  name: unknown
  signature: unknown
  text: unknown
  thinking: unknown
  type: unknown
}

const begun = (state: State, index: number | undefined, given: unknown): Wire.Step<State> => {
  if (!isFields<keyof Given>(given)) return [state, [], Wire.malformed("a block is not an object")]
  const type = isType(given.type) ? given.type : "other"
  const input = Wire.argumentsText(given.input)
  const text =
    type === "tool_use" ? (input === "{}" ? "" : input) : [given.text, given.thinking, given.data].find(isText)
  const block: Block = {
    index: index ?? state.blocks.length,
    type,
    id: isText(given.id) ? given.id : undefined,
    name: isText(given.name) ? given.name : undefined,
    text: text ?? "",
    signature: isText(given.signature) ? given.signature : ""
  }
  const after = {
    ...state,
    blocks: [...state.blocks, block],
    size: state.size + (type === "tool_use" ? block.text.length : 0)
  }
  if (after.blocks.length > maxBlocks || after.size > Wire.maxArguments) return [after, [], Wire.tooLarge]
  if (type !== "text") return [after, []]
  const id = String(block.index)
  return [
    after,
    [{ type: "text-start", id }, ...(block.text === "" ? [] : [{ type: "text-delta", id, delta: block.text } as const])]
  ]
}

const isText = (u: unknown): u is string => typeof u === "string"

const grown = (state: State, index: number | undefined, delta: unknown): Wire.Step<State> => {
  if (!isFields<"partial_json" | "signature" | "text" | "thinking">(delta)) {
    return [state, [], Wire.malformed("a piece of a block is not an object")]
  }
  const at =
    index === undefined ? state.blocks.length - 1 : state.blocks.findLastIndex((block) => block.index === index)
  const block = state.blocks[at]
  if (block === undefined) return [state, [], Wire.malformed("a piece of a block that was not begun")]
  const change = (changes: Partial<Block>): State => ({
    ...state,
    blocks: state.blocks.with(at, { ...block, ...changes })
  })
  switch (block.type) {
    case "text":
      // Text is not kept in the state, because the parts contain it.
      return isText(delta.text) && delta.text !== ""
        ? [state, [{ type: "text-delta", id: String(block.index), delta: delta.text }]]
        : [state, []]
    case "tool_use": {
      const piece = isText(delta.partial_json) ? delta.partial_json : ""
      const after = { ...change({ text: block.text + piece }), size: state.size + piece.length }
      return after.size > Wire.maxArguments ? [after, [], Wire.tooLarge] : [after, []]
    }
    case "thinking":
      return [
        change({
          text: Echo.append(block.text, delta.thinking),
          signature: Echo.append(block.signature, delta.signature)
        }),
        []
      ]
    default:
      return [state, []]
  }
}

const metadata = (message: { readonly id?: unknown; readonly model?: unknown }): ReadonlyArray<Part> => [
  {
    type: "response-metadata",
    id: isText(message.id) ? message.id : undefined,
    modelId: isText(message.model) ? message.model : undefined,
    timestamp: undefined
  }
]

const counted = (state: State, usage: unknown): State => {
  if (!isFields<"cache_creation_input_tokens" | "cache_read_input_tokens" | "input_tokens" | "output_tokens">(usage)) {
    return state
  }
  const fresh = count(usage.input_tokens)
  const read = count(usage.cache_read_input_tokens)
  // `input_tokens` does not include tokens read from the cache or written to it.
  const inputTokens =
    fresh === undefined ? undefined : fresh + (read ?? 0) + (count(usage.cache_creation_input_tokens) ?? 0)
  const outputTokens = count(usage.output_tokens)
  const counts = Wire.recount(state.usage, { inputTokens, outputTokens, cachedInputTokens: read })
  return { ...state, usage: { ...counts, totalTokens: Wire.sum(counts.inputTokens, counts.outputTokens) } }
}

const finish = ({
  blocks,
  reason,
  usage
}: State): readonly [parts: ReadonlyArray<Part>, fault?: Wire.Fault | undefined] => {
  if (reason === undefined) return [[], Wire.noEnd]
  const parts: Array<Part> = blocks.flatMap(
    ({ index, type }): ReadonlyArray<Part> => (type === "text" ? [{ type: "text-end", id: String(index) }] : [])
  )
  const used = blocks.filter(({ type }) => type === "tool_use")
  const answers = used.filter(({ name }) => name === answerTool)
  for (const { index, text } of answers) {
    const id = String(index)
    parts.push({ type: "text-start", id }, { type: "text-delta", id, delta: text }, { type: "text-end", id })
  }
  const calls = used.filter(({ name }) => name !== answerTool)
  const [called, fault] = Wire.callParts(calls.map(({ id, name, text }) => ({ id, name, arguments: text })))
  if (fault !== undefined) return [parts, fault]
  const why = called.length > 0 && reason === "stop" ? "tool-calls" : reason
  return [
    [...parts, ...called, { type: "finish", reason: answers.length > 0 && called.length === 0 ? "stop" : why, usage }]
  ]
}

/** The thinking blocks before the calls, with their signatures. */
const echo = ({ blocks }: State): object | undefined => {
  const thinking = blocks.flatMap(({ signature, text, type }): ReadonlyArray<object> => {
    if (type === "thinking" && signature !== "") return [{ type, thinking: text, signature }]
    return type === "redacted_thinking" ? [{ type, data: text }] : []
  })
  return thinking.length > 0 && blocks.some(({ type }) => type === "tool_use") ? { thinking } : undefined
}

/** Reads the events of the Messages API, or a whole message. */
export const wire: Wire.Wire<State> = { start, next, finish, echo }
