import type { Response } from "@effect/ai"
import type { Part } from "../runtime/StreamText.ts"
import { isFields } from "./Fields.ts"
import * as ToolCalls from "./ToolCalls.ts"

/**
 * How the answers of one API are read: a value, and what each event makes of it. Nothing here knows a network or a clock.
 * Whether an answer is complete is judged at its end, by `finish`.
 */
export interface Wire<State extends Standing> {
  readonly start: State
  /** `event` is one event's JSON, or a whole answer that came in place of a stream; unchecked. */
  readonly next: (state: State, event: unknown) => Step<State>
  /** No more events come. Without a `Fault` the parts end in `finish`, and the answer is complete. */
  readonly finish: (state: State) => readonly [parts: ReadonlyArray<Part>, fault?: Fault | undefined]
  /** What the provider wants back with this answer (see `Echo`). */
  readonly echo: (state: State) => object | undefined
}

/**
 * - `open`: nothing has said yet why the answer ends
 * - `ending`: that was said, but counts, calls or text may still follow
 * - `complete`: whatever may follow does not matter
 */
export interface Standing {
  readonly stage: "open" | "ending" | "complete"
}

/** After a `Fault` nothing more is read. */
export type Step<State> = readonly [state: State, parts: ReadonlyArray<Part>, fault?: Fault | undefined]

/** Why an answer is none. */
export type Fault =
  /** It makes no sense, or lacks its end. `words` are ours, never the provider's. */
  | { readonly _tag: "Malformed"; readonly words: string }
  /** The provider reports an error, whatever form `error` has. */
  | { readonly _tag: "Reported"; readonly error: unknown }

export const malformed = (words: string): Fault => ({ _tag: "Malformed", words })
export const reported = (error: unknown): Fault => ({ _tag: "Reported", error })

export const noEnd = malformed("the answer has no end")

/** Characters that the arguments of the calls in one answer may have. */
export const maxArguments = 1024 * 1024
export const tooLarge = malformed("the arguments of the calls are too large")

export type Usage = typeof Response.Usage.Encoded

/** Nothing was counted. */
const uncounted: Usage = { inputTokens: undefined, outputTokens: undefined, totalTokens: undefined }

/** What is known of an answer in every API, besides its content. */
export interface Progress extends Standing {
  /** Characters of the calls. */
  readonly size: number
  readonly usage: Usage
  /** Why it ends, once that was said. */
  readonly reason: Response.FinishReason | undefined
}

export const start: Progress = { stage: "open", size: 0, usage: uncounted, reason: undefined }

/** What was counted later replaces what was counted before, number by number. */
export const recount = (before: Usage, given: Partial<Usage>): Usage => {
  const usage = { ...before }
  for (const name of ["inputTokens", "outputTokens", "totalTokens", "reasoningTokens", "cachedInputTokens"] as const) {
    const value = given[name]
    if (value !== undefined) usage[name] = value
  }
  return usage
}

/** The words by which APIs say why an answer ends, in lower case. What is not here ends nothing. */
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

/** The words that are no end but a failure, in lower case. */
const failures: ReadonlySet<unknown> = new Set([
  "error",
  "failed",
  "network_error",
  "insufficient_system_resource",
  "malformed_function_call",
  "function_call_filter: malformed_function_call"
])

/** A failure in the place of an end. */
export const failureOf = (u: unknown): Fault | undefined =>
  typeof u === "string" && failures.has(u.toLowerCase())
    ? reported({ code: u.toLowerCase().replace("function_call_filter: ", "") })
    : undefined

/** A call as far as it was told of. */
export interface Call {
  readonly id: string | undefined
  readonly name: string | undefined
  readonly arguments: string
}

/** The calls of an answer that is over, each with an id that no other one has. */
export const callParts = (
  calls: ReadonlyArray<Call>
): readonly [parts: ReadonlyArray<Part>, fault?: Fault | undefined] => {
  const taken = new Set<string>()
  const parts: Array<Part> = []
  for (const { arguments: text, id, name } of calls) {
    if (name === undefined) {
      // Some servers open calls that they never fill.
      if (text.trim() === "") continue
      return [[], malformed("a tool call has no name")]
    }
    const own = id === undefined || id === "" || taken.has(id) ? newId() : id
    taken.add(own)
    parts.push({ type: "tool-call", id: own, name, params: ToolCalls.argumentsOf(text) })
  }
  return [parts]
}

/** Nine letters and digits, which is what every provider takes. */
const newId = () => crypto.randomUUID().replaceAll("-", "").slice(0, 9)

/** Whether a call's arguments have been given to their end. */
export const isWhole = (text: string): boolean => {
  try {
    return text !== "" && isFields(JSON.parse(text))
  } catch {
    return false
  }
}

/** Arguments in the form in which they are written: some servers give the object itself. */
export const argumentsText = (u: unknown): string => (typeof u === "string" ? u : isFields(u) ? JSON.stringify(u) : "")

/** The sum, unless one of them is unknown. */
export const sum = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? undefined : a + b
