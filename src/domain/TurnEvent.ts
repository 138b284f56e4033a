import { Data, type DateTime, Either } from "effect"
import type { AwaitedCall } from "./Approval.ts"
import type { ConversationId, MessageId, TurnId } from "./Id.ts"
import { InvalidRequest, Unavailable } from "./Request.ts"
import type { ToolCall, ToolCallStarted } from "./ToolCall.ts"
import {
  BudgetExhausted,
  TurnCancelled,
  type TurnEnd,
  type TurnError,
  TurnFailed,
  TurnInterrupted,
  TurnRefused,
  TurnTimedOut,
  type Usage
} from "./Turn.ts"

/** The end of a turn, with everything that callers get. */
export interface Ended {
  readonly turnId: TurnId
  readonly conversationId: ConversationId
  readonly status: TurnEnd
  readonly content: string
  readonly toolCalls: ReadonlyArray<ToolCall> | null
  /** Calls that wait for the user's approval. */
  readonly awaiting: ReadonlyArray<AwaitedCall> | null
  /** The model that answered, if one did. */
  readonly model: string | null
  readonly usage: Usage
  /** The id of the assistant message, if there is one. */
  readonly message: { readonly id: MessageId; readonly createdAt: DateTime.Utc } | null
  readonly error: TurnError | null
  /** Seconds, if the model's service sent them. */
  readonly retryAfter: number | null
}

/** An event for the readers of a turn. Exactly one is `Ended`, and it is the last. */
export type TurnEvent = Data.TaggedEnum<{
  Text: { readonly text: string }
  /** `step` is the agent's step that asked for the call. */
  ToolCallStarted: { readonly call: ToolCallStarted; readonly step: number }
  ToolCallEnded: { readonly call: ToolCall }
  Ended: { readonly end: Ended }
}>
export const TurnEvent = Data.taggedEnum<TurnEvent>()

/**
 * A position between two events of a turn: the number of ended tool calls, whether the next has begun, and the length
 * of the text (UTF-16 units). The turn's text and calls are enough to continue from it, without a log of events.
 */
export interface Cursor {
  readonly calls: number
  readonly begun: boolean
  readonly text: number
}

export const start: Cursor = { calls: 0, begun: false, text: 0 }

/** True if `place` is after `cursor`, so that a reader at `cursor` has not seen it. */
export const isBehind = (place: Cursor, cursor: Cursor) =>
  place.calls > cursor.calls ||
  place.text > cursor.text ||
  (place.calls === cursor.calls && place.begun && !cursor.begun && place.text >= cursor.text)

/** The id of the last event. */
export const endId = "end"

export const cursorId = (cursor: Cursor) => `${cursor.calls}${cursor.begun ? "s" : ""}.${cursor.text}`

/** Reads an event's id; `undefined` stands for the end of the turn. */
export const parseCursor = (id: string): Either.Either<Cursor | undefined, InvalidRequest> => {
  if (id === endId) return Either.right(undefined)
  const match = /^(\d{1,9})(s?)\.(\d{1,9})$/.exec(id)
  return match === null
    ? Either.left(invalidCursor)
    : Either.right({
        calls: Number(match[1]),
        begun: match[2] === "s",
        text: Number(match[3])
      })
}

export const invalidCursor = new InvalidRequest({
  errors: [{ path: "Last-Event-ID", message: "is not the id of an event of this turn" }]
})

/** The problem for requests that wait for an unfinished turn, or repeat its request. */
export const problemOf = (end: Ended, isReplay = false) => {
  const about = {
    turnId: end.turnId,
    toolCalls: end.toolCalls,
    ...(end.error === null ? {} : { detail: end.error.detail }),
    ...(end.retryAfter === null ? {} : { retryAfter: end.retryAfter }),
    ...(isReplay ? { headers: { "idempotent-replayed": "true" } } : {})
  }
  switch (end.status) {
    case "cancelled":
      return new TurnCancelled(about)
    case "interrupted":
      return new TurnInterrupted({ retryAfter: 1, ...about })
    case "timed_out":
      return new TurnTimedOut(about)
    default:
      if (end.error !== null && TurnRefused.about.codes.includes(end.error.code)) {
        return new TurnRefused({ ...about, code: end.error.code })
      }
      if (end.error?.code === "budget_exhausted") return new BudgetExhausted(about)
      return end.error?.code === "unavailable"
        ? new Unavailable({ retryAfter: 1, ...about })
        : new TurnFailed({ ...about, code: end.error?.code ?? "internal_error" })
  }
}
