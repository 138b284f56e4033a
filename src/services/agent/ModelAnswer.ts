import type { AiError, Response, Tool } from "@effect/ai"
import { AgentEvent } from "../../domain/Agent.ts"
import { storable } from "../../domain/Json.ts"
import { maxCallsPerStep } from "../../domain/ToolCall.ts"
import type { Usage } from "../../domain/Turn.ts"
import * as ToolSchemas from "./ToolSchemas.ts"

export type Part = Response.StreamPart<Record<string, Tool.Any>>

/** The answer to one call of the model so far. */
export interface Answer {
  /** Whether earlier steps of the turn have text: the texts of two steps are paragraphs of one message. */
  readonly followsText: boolean
  readonly text: string
  /** The first half of a surrogate pair, until the second half comes. */
  readonly highSurrogate: string
  readonly calls: ReadonlyArray<ModelCall>
  /** Calls beyond `maxCallsPerStep`. */
  readonly droppedCalls: number
  /** Calls whose arguments are still coming, by id. */
  readonly partialCalls: ReadonlyMap<string, ModelCall<string>>
  /** Set once the answer is complete. */
  readonly usage: Usage | undefined
  /** Whether the model reported its cost. */
  readonly isReported: boolean
  /** The finish reason. */
  readonly reason: Response.FinishReason | undefined
  /** The metadata with its provider state. */
  readonly metadata: Response.ProviderMetadata
}

/** A tool call as the model sent it. */
interface ModelCall<Params = unknown> {
  readonly id: string
  readonly name: string
  readonly params: Params
}

export const emptyAnswer = (followsText: boolean): Answer => ({
  followsText,
  text: "",
  highSurrogate: "",
  calls: [],
  droppedCalls: 0,
  partialCalls: new Map(),
  usage: undefined,
  isReported: false,
  reason: undefined,
  metadata: {}
})

/** Adds a part to an answer, and returns the events. */
export const addPart = (answer: Answer, part: Part): readonly [Answer, ReadonlyArray<AgentEvent>] => {
  switch (part.type) {
    case "text-delta":
      return addText(answer, part.delta)
    case "tool-params-start":
      return [startPartial(answer, part), none]
    case "tool-params-delta": {
      const call = answer.partialCalls.get(part.id)
      return [call === undefined ? answer : setPartial(answer, { ...call, params: call.params + part.delta }), none]
    }
    case "tool-call": {
      const { id, name, params } = part
      const partialCalls = new Map(answer.partialCalls)
      partialCalls.delete(id)
      return [addCall({ ...answer, partialCalls }, { id, name, params }), none]
    }
    case "finish": {
      // The second half of a pair can no longer come.
      const [rest, events] = flushText(answer)
      const { inputTokens, outputTokens } = part.usage
      const usage = { inputTokens: count(inputTokens), outputTokens: count(outputTokens) }
      const isReported = inputTokens !== undefined || outputTokens !== undefined
      return [{ ...rest, usage, isReported, reason: part.reason, metadata: part.metadata }, events]
    }
    default:
      return [answer, none]
  }
}

/** As `addPart`, for several parts. */
export const addParts = (
  answer: Answer,
  parts: Iterable<Part>
): readonly [answer: Answer, events: Array<AgentEvent>] => {
  const events: Array<AgentEvent> = []
  let next = answer
  for (const part of parts) {
    const [after, added] = addPart(next, part)
    next = after
    events.push(...added)
  }
  return [next, events]
}

const none: ReadonlyArray<AgentEvent> = []

const addCall = (answer: Answer, call: ModelCall): Answer =>
  answer.calls.length < maxCallsPerStep
    ? { ...answer, calls: [...answer.calls, call] }
    : { ...answer, droppedCalls: answer.droppedCalls + 1 }

const startPartial = (answer: Answer, { id, name }: Omit<ModelCall, "params">): Answer =>
  answer.partialCalls.size < maxCallsPerStep ? setPartial(answer, { id, name, params: "" }) : answer

const setPartial = (answer: Answer, call: ModelCall<string>): Answer => ({
  ...answer,
  partialCalls: new Map(answer.partialCalls).set(call.id, call)
})

const addText = (answer: Answer, delta: string): readonly [Answer, ReadonlyArray<AgentEvent>] => {
  const text = answer.highSurrogate + delta
  const isSplit = /[\uD800-\uDBFF]$/.test(text)
  const whole = storable(isSplit ? text.slice(0, -1) : text)
  const highSurrogate = isSplit ? text.slice(-1) : ""
  const piece = answer.text === "" ? whole.trimStart() : whole
  if (piece === "") return [highSurrogate === answer.highSurrogate ? answer : { ...answer, highSurrogate }, none]
  const paragraph = answer.text === "" && answer.followsText ? `\n\n${piece}` : piece
  return [{ ...answer, highSurrogate, text: answer.text + paragraph }, [AgentEvent.Text({ text: paragraph })]]
}

const flushText = (answer: Answer): readonly [Answer, ReadonlyArray<AgentEvent>] => {
  if (answer.highSurrogate === "") return [answer, none]
  const text = storable(answer.highSurrogate)
  return [{ ...answer, highSurrogate: "", text: answer.text + text }, [AgentEvent.Text({ text })]]
}

/** A count of tokens that the database can store, whatever a provider reports. */
const count = (n: number | undefined) => (n !== undefined && n > 0 ? Math.min(Math.trunc(n), 10_000_000) : 0)

/** The incomplete answer, if the model's layer failed because of a call that cannot run. */
export const salvage = (
  offered: ToolSchemas.Tools,
  answer: Answer,
  error: AiError.AiError
): readonly [Answer, Array<AgentEvent>] | undefined => {
  const parts = ToolSchemas.givenUp(offered, error)
  if (parts === undefined || (ToolSchemas.isNotJson(error) && answer.partialCalls.size === 0)) return undefined
  const [{ partialCalls, ...rest }, events] = addParts(answer, parts)
  const all = [...partialCalls.values()].reduce<Answer>(addCall, { ...rest, partialCalls: new Map() })
  // The end, where the tokens are counted, is lost.
  return [{ ...all, usage: all.usage ?? { inputTokens: 0, outputTokens: 0 }, reason: "tool-calls" }, events]
}
