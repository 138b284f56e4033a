import type { Response } from "@effect/ai"
import type { Part } from "../runtime/StreamText.ts"
import { isFields } from "./Fields.ts"
import * as ToolCalls from "./ToolCalls.ts"

/**
 * Reads the answers of one API: a state and a transition for each event. It uses no network and no clock. `finish`
 * decides whether the answer is complete.
 */
export interface Wire<State extends WireState> {
  readonly start: State
  /** `event` is the unchecked JSON of one event, or of a whole answer instead of a stream. */
  readonly next: (state: State, event: unknown) => Step<State>
  /** Called after the last event. Without a `Fault`, the last part is `finish`, and the answer is complete. */
  readonly finish: (state: State) => readonly [parts: ReadonlyArray<Part>, fault?: Fault | undefined]
  /** The data that the provider expects back with this answer (see `Echo`). */
  readonly echo: (state: State) => object | undefined
}

/**
 * - `open`: the answer has no finish reason yet
 * - `ending`: it has one, but usage, calls or text may still follow
 * - `complete`: later events are ignored
 */
export interface WireState {
  readonly stage: "open" | "ending" | "complete"
}

/** Reading stops after a `Fault`. */
export type Step<State> = readonly [state: State, parts: ReadonlyArray<Part>, fault?: Fault | undefined]

/** Why an answer is invalid. */
export type Fault =
  /** It is malformed or has no end. `description` never contains the provider's text. */
  | { readonly _tag: "Malformed"; readonly description: string }
  /** The provider reports an error. `error` may have any form. */
  | { readonly _tag: "Reported"; readonly error: unknown }

export const malformed = (description: string): Fault => ({ _tag: "Malformed", description })
export const reported = (error: unknown): Fault => ({ _tag: "Reported", error })

export const noEnd = malformed("the answer has no end")

/** The most characters in the arguments of all calls in one answer. */
export const maxArguments = 1024 * 1024
export const tooLarge = malformed("the arguments of the calls are too large")

export type Usage = typeof Response.Usage.Encoded

const uncounted: Usage = { inputTokens: undefined, outputTokens: undefined, totalTokens: undefined }

/** The state that all APIs share, besides the content of the answer. */
export interface Progress extends WireState {
  /** Characters in the arguments of the calls. */
  readonly size: number
  readonly usage: Usage
  /** The finish reason, once it has arrived. */
  readonly reason: Response.FinishReason | undefined
}

export const start: Progress = { stage: "open", size: 0, usage: uncounted, reason: undefined }

/** Replaces each number that `given` has. */
export const recount = (before: Usage, given: Partial<Usage>): Usage => {
  const usage = { ...before }
  for (const name of ["inputTokens", "outputTokens", "totalTokens", "reasoningTokens", "cachedInputTokens"] as const) {
    const value = given[name]
    if (value !== undefined) usage[name] = value
  }
  return usage
}

/** Finish reasons of the APIs, in lower case. Unknown values do not end an answer. */
const reasons: ReadonlyMap<string, Response.FinishReason> = new Map<string, Response.FinishReason>([
  ["stop", "stop"],
  ["end", "stop"],
  ["end_turn", "stop"],
  ["eos", "stop"],
  ["eos_token", "stop"],
  ["stop_sequence", "stop"],
  ["complete", "stop"],
  ["completed", "stop"],
  ["tool_calls", "tool-calls"],
  ["tool_call", "tool-calls"],
  ["tool_use", "tool-calls"],
  ["function_call", "tool-calls"],
  ["length", "length"],
  ["max_tokens", "length"],
  ["max_output_tokens", "length"],
  ["max_completion_tokens", "length"],
  ["model_length", "length"],
  ["model_context_window_exceeded", "length"],
  ["content_filter", "content-filter"],
  ["content_filtered", "content-filter"],
  ["refusal", "content-filter"],
  ["safety", "content-filter"],
  ["sensitive", "content-filter"],
  ["recitation", "content-filter"],
  ["blocklist", "content-filter"],
  ["prohibited_content", "content-filter"],
  ["spii", "content-filter"],
  ["error_toxic", "content-filter"]
])

export const reasonOf = (u: unknown): Response.FinishReason | undefined =>
  typeof u === "string" ? reasons.get(u.toLowerCase()) : undefined

/** Values of the finish reason that mean a failure, in lower case. */
const failures: ReadonlySet<unknown> = new Set([
  "error",
  "failed",
  "network_error",
  "insufficient_system_resource",
  "malformed_function_call",
  "function_call_filter: malformed_function_call"
])

/** The fault for a finish reason that means a failure. */
export const failureOf = (u: unknown): Fault | undefined =>
  typeof u === "string" && failures.has(u.toLowerCase())
    ? reported({ code: u.toLowerCase().replace("function_call_filter: ", "") })
    : undefined

/** A call as received so far. */
export interface Call {
  readonly id: string | undefined
  readonly name: string | undefined
  readonly arguments: string
}

/** The calls of a complete answer. Each gets an id that is unique in the answer. */
export const callParts = (
  calls: ReadonlyArray<Call>
): readonly [parts: ReadonlyArray<Part>, fault?: Fault | undefined] => {
  const taken = new Set<string>()
  const parts: Array<Part> = []
  for (const { arguments: text, id, name } of calls) {
    if (name === undefined) {
      // Some servers send empty calls.
      if (text.trim() === "") continue
      return [[], malformed("a tool call has no name")]
    }
    const own = id === undefined || id === "" || taken.has(id) ? newId() : id
    taken.add(own)
    parts.push({ type: "tool-call", id: own, name, params: ToolCalls.argumentsOf(text) })
  }
  return [parts]
}

/** Nine letters and digits, a form that every provider accepts. */
const newId = () => crypto.randomUUID().replaceAll("-", "").slice(0, 9)

/** True if the text is a complete JSON object. */
export const isWhole = (text: string): boolean => {
  try {
    return text !== "" && isFields(JSON.parse(text))
  } catch {
    return false
  }
}

/** Arguments as JSON text. Some servers send them as an object. */
export const argumentsText = (u: unknown): string => (typeof u === "string" ? u : isFields(u) ? JSON.stringify(u) : "")

/** The sum, or undefined if one number is unknown. */
export const sum = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? undefined : a + b
