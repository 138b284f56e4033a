import { Data, Duration } from "effect"
import type { ToolCall, ToolCallStarted } from "./ToolCall.ts"
import type { Usage } from "./Turn.ts"

/** What an agent does, as it happens. JSON answers, SSE frames and storage are readers of this one stream. */
export type AgentEvent = Data.TaggedEnum<{
  /** Never empty, always well-formed: a surrogate pair is not split. */
  Text: { readonly text: string }
  ToolCallStarted: { readonly call: ToolCallStarted; readonly step: number }
  ToolCallEnded: { readonly call: ToolCall; readonly step: number }
  /** One call of the model has been answered in full. */
  StepEnded: { readonly usage: Usage }
}>
export const AgentEvent = Data.taggedEnum<AgentEvent>()

interface Upstream {
  /** Seconds, from the model's service. */
  readonly retryAfter?: number
}

/** The model's service is loaded: 429, 503, 529. */
export class AgentBusy extends Data.TaggedError("AgentBusy")<Upstream> {
  readonly code = "agent_busy"
  readonly detail = "The assistant is busy at the moment. Please try again shortly."
}
/** It refuses our set-up: 401, 403, 404 for the model, quota used up, a wrong address. */
export class AgentMisconfigured extends Data.TaggedError("AgentMisconfigured")<{}> {
  readonly code = "agent_misconfigured"
  readonly detail = "The assistant is not set up correctly. Please tell whoever runs this service."
}
/** It timed out by itself or fell silent: 408, 504, `MODEL_IDLE_TIMEOUT` without a byte. */
export class AgentSlow extends Data.TaggedError("AgentSlow")<{}> {
  readonly code = "agent_slow"
  readonly detail = "The assistant took too long to respond. Please try again."
}
/** It could not be reached or broke off: refused, DNS, reset, cut. */
export class AgentUnreachable extends Data.TaggedError("AgentUnreachable")<{}> {
  readonly code = "agent_unreachable"
  readonly detail = "The assistant could not be reached. Please try again."
}
/** Anything else: 400, 500, 502, an answer that makes no sense or ends without an end. */
export class AgentFailed extends Data.TaggedError("AgentFailed")<{}> {
  readonly code = "agent_failed"
  readonly detail = "The assistant failed to answer. Please try again."
}
/** The turn's own time is up. */
export class AgentTimeout extends Data.TaggedError("AgentTimeout")<{ readonly limit: Duration.Duration }> {
  readonly code = "agent_timeout"
  get detail() {
    return `The assistant did not finish within ${seconds(this.limit)}.`
  }
}

export type AgentError = AgentBusy | AgentMisconfigured | AgentSlow | AgentUnreachable | AgentFailed

const seconds = (limit: Duration.Duration) => {
  const n = Duration.toSeconds(limit)
  return `${n} second${n === 1 ? "" : "s"}`
}
