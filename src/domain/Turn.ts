import { Data, Schema } from "effect"
import { Awaiting } from "./Approval.ts"
import { ConversationId, MessageId, TaskId, TurnId } from "./Id.ts"
import { key, Time } from "./Json.ts"
import { Problem } from "./Problem.ts"
import { ToolCalls } from "./ToolCall.ts"

/** The ways a turn can end; every turn ends in exactly one of them. */
export const TurnEnd = Schema.Literal("completed", "failed", "timed_out", "cancelled", "interrupted").annotations({
  identifier: "TurnEnd",
  description: "How a turn ended"
})
export type TurnEnd = typeof TurnEnd.Type

export const TurnStatus = Schema.Literal("running", ...TurnEnd.literals).annotations({
  identifier: "TurnStatus",
  description: "`running`, or how it ended"
})
export type TurnStatus = typeof TurnStatus.Type

/** Tokens of the model, summed over the steps of a turn. */
export const Usage = Schema.Struct({
  inputTokens: Schema.Int.annotations({ examples: [412] }).pipe(key("input_tokens")),
  outputTokens: Schema.Int.annotations({ examples: [38] }).pipe(key("output_tokens")),
  estimatedTokens: Schema.optionalWith(
    Schema.Int.annotations({
      description: "In addition, an estimate for calls of the model without a reported cost; absent if there are none",
      examples: [4508]
    }),
    { exact: true }
  ).pipe(Schema.fromKey("estimated_tokens"))
}).annotations({ identifier: "Usage", description: "Tokens of the model, summed over the steps of a turn" })
export type Usage = typeof Usage.Type

export const noUsage: Usage = { inputTokens: 0, outputTokens: 0 }

export const addUsage = (a: Usage, b: Usage): Usage => {
  const estimatedTokens = (a.estimatedTokens ?? 0) + (b.estimatedTokens ?? 0)
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    ...(estimatedTokens > 0 && { estimatedTokens })
  }
}

/** Why a turn did not complete: a code for programs, a sentence for people. */
export const TurnError = Schema.Struct({
  code: Schema.String.annotations({ description: "For programs; stable", examples: ["agent_unreachable"] }),
  detail: Schema.String.annotations({
    description: "A sentence for people",
    examples: ["The assistant could not be reached. Please try again."]
  })
}).annotations({ identifier: "TurnError", description: "Why a turn did not complete" })
export type TurnError = typeof TurnError.Type

/** A turn, running or ended. */
export class Turn extends Schema.Class<Turn>("Turn")(
  {
    turnId: TurnId.pipe(key("turn_id")),
    conversationId: ConversationId.pipe(key("conversation_id")),
    status: TurnStatus,
    userMessageId: MessageId.pipe(key("user_message_id")),
    messageId: Schema.NullOr(MessageId)
      .annotations({ description: "The id of the assistant message, if there is one" })
      .pipe(key("message_id")),
    toolCalls: ToolCalls.pipe(key("tool_calls")),
    awaiting: Awaiting,
    model: Schema.NullOr(Schema.String).annotations({
      description: "The model that answered, as `provider:model`; null if none did",
      examples: ["openai:gpt-4.1-mini"]
    }),
    usage: Schema.NullOr(Usage),
    steps: Schema.Array(Usage).annotations({ description: "The cost of each step, in order" }),
    error: Schema.NullOr(TurnError).annotations({
      description: "Null while it runs and when it completed",
      jsonSchema: { examples: [null] }
    }),
    startedAt: Time.pipe(key("started_at")),
    finishedAt: Schema.NullOr(Time).pipe(key("finished_at"))
  },
  [undefined, { identifier: "Turn", description: "A turn, running or ended" }]
) {}

const turnId = { turnId: TurnId.pipe(key("turn_id")) }

/** The members of a problem for an unfinished turn, so that the caller knows the changes so far. */
const unfinished = Schema.Struct({
  ...turnId,
  toolCalls: ToolCalls.pipe(key("tool_calls"))
})

/** This process no longer holds the turn's lease; another node may have ended the turn. */
export class TurnLost extends Data.TaggedError("TurnLost")<{}> {}

export class TurnNotFound extends Problem("TurnNotFound", {
  status: 404,
  codes: ["turn_not_found"],
  title: "Turn not found",
  detail: "Turn not found"
}) {}

/** This conversation's last turn is still running. */
export class TurnInProgress extends Problem(
  "TurnInProgress",
  {
    status: 409,
    codes: ["turn_in_progress"],
    title: "A turn is in progress",
    detail: "This conversation is still answering an earlier message. Wait for it, or cancel its turn."
  },
  Schema.Struct(turnId)
) {}

/** The user has reached the limit of running turns. */
export class TooManyTurns extends Problem("TooManyTurns", {
  status: 429,
  codes: ["too_many_turns"],
  title: "Too many running turns",
  detail: "You have reached the limit of running turns. Wait for one to end."
}) {}

/** The user's tokens are used up: a turn cannot begin, or it ended after the step that used up the rest. */
export class BudgetExhausted extends Problem(
  "BudgetExhausted",
  {
    status: 429,
    codes: ["budget_exhausted"],
    title: "Budget exhausted",
    detail: "Your tokens for today are used up. The budget is renewed at midnight UTC."
  },
  // Where a turn had begun.
  Schema.Struct({
    turnId: Schema.optional(TurnId).pipe(Schema.fromKey("turn_id")),
    toolCalls: Schema.optional(ToolCalls).pipe(Schema.fromKey("tool_calls"))
  })
) {}

/** The turn that this request waited for was cancelled. */
export class TurnCancelled extends Problem(
  "TurnCancelled",
  { status: 409, codes: ["turn_cancelled"], title: "Turn cancelled", detail: "The turn was cancelled." },
  unfinished
) {}

/** The turn that this request waited for was interrupted, because its node stopped or died. */
export class TurnInterrupted extends Problem(
  "TurnInterrupted",
  {
    status: 503,
    codes: ["turn_interrupted"],
    title: "Turn interrupted",
    detail:
      "The service stopped before the answer was complete. The text and changes so far are kept. Please ask again."
  },
  unfinished
) {}

/** The turn's time was up. */
export class TurnTimedOut extends Problem(
  "TurnTimedOut",
  { status: 504, codes: ["agent_timeout"], title: "Turn timed out", detail: "The turn's time was up." },
  unfinished
) {}

/** The agent, or this service, failed during the turn. */
export class TurnFailed extends Problem(
  "TurnFailed",
  {
    status: 500,
    codes: ["agent_failed", "agent_busy", "agent_misconfigured", "agent_slow", "agent_unreachable", "internal_error"],
    title: "Turn failed",
    detail: "The assistant failed to answer."
  },
  unfinished
) {}

/** The provider refuses the user's message, or the input is too long. */
export class TurnRefused extends Problem(
  "TurnRefused",
  {
    status: 422,
    codes: ["agent_content_refused", "agent_context_too_long"],
    title: "Message refused",
    detail: "The assistant refused this message."
  },
  unfinished
) {}

export class IdempotencyInProgress extends Problem(
  "IdempotencyInProgress",
  {
    status: 409,
    codes: ["idempotency_in_progress"],
    title: "Request in progress",
    detail: "The first request with this Idempotency-Key is still running."
  },
  Schema.Struct(turnId)
) {}

/** How long an `Idempotency-Key` is remembered. */
export const keyLifetime = "24 hours"

export class IdempotencyKeyReused extends Problem("IdempotencyKeyReused", {
  status: 422,
  codes: ["idempotency_key_reused"],
  title: "Idempotency-Key reused",
  detail: "This Idempotency-Key was used with another body."
}) {}

/** One reverted task change. */
export const Reverted = Schema.Struct({
  toolCallId: Schema.String.annotations({ examples: ["k3Xb9QzT7"] }).pipe(key("tool_call_id")),
  tool: Schema.String.annotations({ examples: ["create_task"] }),
  taskId: TaskId.pipe(key("task_id"))
}).annotations({ identifier: "Reverted", description: "One reverted task change" })
export type Reverted = typeof Reverted.Type

/** Some of the turn's tasks have changed since; nothing was reverted. */
export class UndoConflict extends Problem(
  "UndoConflict",
  {
    status: 409,
    codes: ["undo_conflict"],
    title: "Undo conflict",
    detail: "Some of the tasks have changed since that turn. Nothing was reverted."
  },
  Schema.Struct({
    tasks: Schema.Array(
      Schema.Struct({ id: TaskId, title: Schema.String.annotations({ examples: ["Buy milk"] }) })
    ).annotations({ description: "The tasks that have changed since" })
  })
) {}
