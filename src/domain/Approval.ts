import { type DateTime, Schema } from "effect"
import { TaskId } from "./Id.ts"
import { key, Time } from "./Json.ts"
import { Problem } from "./Problem.ts"
import { ProviderState } from "./ProviderState.ts"
import { type ToolCall, ToolCallStarted } from "./ToolCall.ts"

/** Which calls of the agent wait for the user's approval: those that delete, those that change anything, or none. */
export type Confirm = "deletions" | "changes" | "off"

/** How long the user can approve a call. */
export const approvalLifetime = "10 minutes"

export const Decision = Schema.Literal("approved", "declined")
export type Decision = typeof Decision.Type

/** A call that waits for the user's approval. */
export const AwaitedCall = Schema.Struct({
  ...ToolCallStarted.fields,
  expiresAt: Time.pipe(key("expires_at")).annotations({ description: "When its approval expires" })
}).annotations({ identifier: "AwaitedCall", description: "A call that waits for the user's approval" })
export type AwaitedCall = typeof AwaitedCall.Type

export const Awaiting = Schema.NullOr(Schema.Array(AwaitedCall)).annotations({
  description: "Calls that have not run and wait for the user's approval, in order; null when there are none"
})

/** A call that did not run because it, or one before it in its step, needs the user's approval. */
export const HeldCall = Schema.Struct({
  ...ToolCallStarted.fields,
  step: Schema.Int,
  /** The provider's id of the call, sent back only to that provider. */
  providerCallId: Schema.optional(Schema.String),
  needsApproval: Schema.Boolean
})
export type HeldCall = typeof HeldCall.Type

/** A task, and the version it had; null if there was none. */
export const TaskVersion = Schema.Struct({ id: TaskId, version: Schema.NullOr(Schema.Int) })
export type TaskVersion = typeof TaskVersion.Type

/**
 * What a turn leaves for the user's decision: all calls that it held back, the versions of their tasks, and the
 * provider state to send back with the turn's steps.
 */
export const Held = Schema.Struct({
  calls: Schema.Array(HeldCall),
  tasks: Schema.Array(TaskVersion),
  states: Schema.Array(ProviderState)
})
export type Held = typeof Held.Type

const approvingWords = new Set([
  "yes",
  "y",
  "yep",
  "yeah",
  "ok",
  "okay",
  "sure",
  "approve",
  "confirm",
  "ja",
  "oui",
  "sí"
])

/** Whether a message approves waiting calls. Any other message declines them. */
export const isApproval = (message: string) => approvingWords.has(message.trim().toLowerCase())

/** The user message of a turn that begins with a decision. */
export const messageOf = (decision: Decision) => (decision === "approved" ? "Approve" : "Decline")

/** The held calls that need the user's approval. */
export const awaitedOf = (held: Held | null | undefined, expiresAt: DateTime.Utc): ReadonlyArray<AwaitedCall> | null =>
  held == null
    ? null
    : held.calls
        .filter(({ needsApproval }) => needsApproval)
        .map(({ id, parameters, tool }) => ({ id, tool, parameters, expiresAt }))

/** The decision that began a turn, and the approved calls, which ran when it began. */
export interface Decided {
  readonly decision: Decision
  readonly calls: ReadonlyArray<ToolCall>
}

/** No call awaits approval: it was decided on, it expired, or a later turn closed it. */
export class ApprovalClosed extends Problem("ApprovalClosed", {
  status: 409,
  codes: ["approval_closed"],
  title: "Approval closed",
  detail: "No call of this turn waits for approval: it was decided on, it has expired, or a later message closed it."
}) {}
