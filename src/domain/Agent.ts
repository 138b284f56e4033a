import { Data, Duration } from "effect"
import type { HeldCall } from "./Approval.ts"
import type { TaskId } from "./Id.ts"
import type { ProviderState } from "./ProviderState.ts"
import type { ToolCall, ToolCallStarted } from "./ToolCall.ts"
import type { Usage } from "./Turn.ts"

/**
 * Without `MODEL_MAX_OUTPUT_TOKENS`: the estimated cost of one answer of the model, and the limit that Anthropic
 * requires.
 */
export const defaultMaxOutputTokens = 4096

/** The events of an agent. JSON answers, SSE frames and storage all read this stream. */
export type AgentEvent = Data.TaggedEnum<{
  /** Never empty. Always well-formed: no surrogate pair is split. */
  Text: { readonly text: string }
  ToolCallStarted: { readonly call: ToolCallStarted; readonly step: number }
  ToolCallEnded: { readonly call: ToolCall; readonly step: number; readonly providerCallId?: string | undefined }
  /** The model has begun to answer, and answers the rest of the turn. `model` is `provider:model`. */
  ModelChosen: { readonly model: string }
  /**
   * Last: the turn ends here, as these calls need the user's approval. `tasks` are the calls' tasks; `states` goes back
   * to the provider if the calls are decided on.
   */
  CallsHeld: {
    readonly calls: ReadonlyArray<HeldCall>
    readonly tasks: ReadonlyArray<TaskId>
    readonly states: ReadonlyArray<ProviderState>
  }
  /** The model's answer of one step is complete. `state` goes back to its provider in later turns. */
  StepEnded: { readonly usage: Usage; readonly state?: ProviderState | undefined }
}>
export const AgentEvent = Data.taggedEnum<AgentEvent>()

interface Upstream {
  /** Seconds, from the model's service. */
  readonly retryAfter?: number
}

/** The model's service is overloaded: 429, 503, 529. */
export class AgentBusy extends Data.TaggedError("AgentBusy")<Upstream> {
  readonly code = "agent_busy"
  readonly detail = "The assistant is busy at the moment. Please try again shortly."
}
/** It refuses our configuration: 401, 403, 404 for the model, quota used up, a wrong address. */
export class AgentMisconfigured extends Data.TaggedError("AgentMisconfigured")<{}> {
  readonly code = "agent_misconfigured"
  readonly detail = "The assistant is not set up correctly. Please tell whoever runs this service."
}
/** It timed out or fell silent: 408, 504, `MODEL_IDLE_TIMEOUT` without a byte. */
export class AgentSlow extends Data.TaggedError("AgentSlow")<{}> {
  readonly code = "agent_slow"
  readonly detail = "The assistant took too long to respond. Please try again."
}
/** The connection failed or broke: refused, DNS, reset, cut. */
export class AgentUnreachable extends Data.TaggedError("AgentUnreachable")<{}> {
  readonly code = "agent_unreachable"
  readonly detail = "The assistant could not be reached. Please try again."
}
/** Anything else: 400, 500, 502, a malformed or incomplete answer. */
export class AgentFailed extends Data.TaggedError("AgentFailed")<{}> {
  readonly code = "agent_failed"
  readonly detail = "The assistant failed to answer. Please try again."
}
/** The answer reached its length limit: `MODEL_MAX_OUTPUT_TOKENS`, or the model's own. */
export class AgentCutOff extends Data.TaggedError("AgentCutOff")<{}> {
  readonly code = "agent_failed"
  readonly detail = "The answer was cut off because it reached the limit of its length (MODEL_MAX_OUTPUT_TOKENS)."
}
/** The provider or its model refuses the content of the conversation. */
export class AgentContentRefused extends Data.TaggedError("AgentContentRefused")<{}> {
  readonly code = "agent_content_refused"
  readonly detail = "The assistant refused this message because of its content. Please say it in another way."
}
/** The message is too long for the model, even by itself. */
export class AgentContextTooLong extends Data.TaggedError("AgentContextTooLong")<{}> {
  readonly code = "agent_context_too_long"
  readonly detail = "This message is too long for the assistant. Please send a shorter one."
}
/** The provider refuses the user's message even without any history: later requests leave it out. */
export class AgentMessageRefused extends Data.TaggedError("AgentMessageRefused")<{
  readonly reason: AgentFailed | AgentContentRefused | AgentContextTooLong
}> {
  get code() {
    return this.reason.code
  }
  get detail() {
    return this.reason.detail
  }
}
/** The turn took too long. */
export class AgentTimeout extends Data.TaggedError("AgentTimeout")<{ readonly limit: Duration.Duration }> {
  readonly code = "agent_timeout"
  get detail() {
    return `The assistant did not finish within ${seconds(this.limit)}.`
  }
}

export type AgentError =
  | AgentBusy
  | AgentMisconfigured
  | AgentSlow
  | AgentUnreachable
  | AgentFailed
  | AgentCutOff
  | AgentContentRefused
  | AgentContextTooLong
  | AgentMessageRefused

const seconds = (limit: Duration.Duration) => {
  const n = Duration.toSeconds(limit)
  return `${n} second${n === 1 ? "" : "s"}`
}
