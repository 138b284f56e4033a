import { Data, type DateTime, type Duration, type Effect } from "effect"
import type { ApprovalClosed, AwaitedCall, Decided, Decision, Held } from "../../domain/Approval.ts"
import type { ConversationForbidden, ConversationNotFound, HistoryMessage } from "../../domain/Conversation.ts"
import type { ConversationId, MessageId, TurnId, UserId } from "../../domain/Id.ts"
import type { ProviderState } from "../../domain/ProviderState.ts"
import { Unavailable } from "../../domain/Request.ts"
import type { TaskChanged } from "../../domain/Task.ts"
import type { Place, ToolCall } from "../../domain/ToolCall.ts"
import {
  type BudgetExhausted,
  type TooManyTurns,
  type Turn,
  TurnCancelled,
  type TurnEnd,
  type TurnError,
  type TurnInProgress,
  TurnInterrupted,
  type TurnNotFound,
  type Usage
} from "../../domain/Turn.ts"

/** A client's key that makes a request safe to repeat; `scope` is the endpoint, `hash` the body's hash. */
export interface IdempotencyKey {
  readonly scope: string
  readonly key: string
  readonly hash: string
}

export interface TurnRequest {
  readonly user: UserId
  /** `null` begins a new conversation. */
  readonly conversationId: ConversationId | null
  /** As `readText` reads it. */
  readonly message: string
  readonly timeZone: string
  readonly key: IdempotencyKey | null
}

/** A user's decision on a turn's waiting calls, which begins another turn of the conversation. */
export interface DecisionRequest {
  readonly user: UserId
  /** The turn whose calls are decided on. */
  readonly decides: TurnId
  readonly decision: Decision
  readonly key: IdempotencyKey | null
}

/** Identifies a turn, the owner first. */
export interface TurnKey {
  readonly user: UserId
  readonly turnId: TurnId
}

/** A turn that has begun: its user message is durable, and this node holds its lease. */
export interface BegunTurn extends TurnKey {
  readonly conversationId: ConversationId
  readonly userMessageId: MessageId
  readonly message: string
  readonly timeZone: string
  readonly history: ReadonlyArray<HistoryMessage>
  /** The decision that it began with, if any. */
  readonly decided?: Decided | undefined
}

/** Runs a turn's held back calls, in the transaction that begins the approving turn. */
export type RunHeld = (
  turn: TurnKey & { readonly timeZone: string },
  held: Held
) => Effect.Effect<ReadonlyArray<ToolCall>, TaskChanged>

/** Estimates the tokens of a turn's first step. */
export type Estimate = (turn: BegunTurn) => number

/** The turn of an Idempotency-Key that was used before. */
export interface ExistingTurn {
  readonly turnId: TurnId
}

/** How a turn ends. */
export interface Ending {
  readonly status: TurnEnd
  readonly error: TurnError | null
  readonly retryAfter: number | null
  /** The provider refused the user's message even by itself. */
  readonly isMessageRefused?: boolean | undefined
}

/** The end of a turn, with its output. */
export interface Outcome extends Ending {
  readonly content: string
  readonly calls: ReadonlyArray<ToolCall>
  readonly places: ReadonlyArray<Place>
  /** Calls that it holds back for approval, if it completes. */
  readonly held?: Held | undefined
  /** The model that answered, if one did. */
  readonly model?: string | null | undefined
  readonly usage: Usage
  /** Of each step. */
  readonly steps?: ReadonlyArray<Usage> | undefined
  readonly states?: ReadonlyArray<ProviderState> | undefined
}

export const completed: Ending = { status: "completed", error: null, retryAfter: null }

export const failed = (code: string, detail: string): Ending => ({
  status: "failed",
  error: { code, detail },
  retryAfter: null
})

/** The database was away: in the turn, or at its end. */
export const unavailable = failed("unavailable", Unavailable.about.detail)

export const interrupted: Ending = {
  status: "interrupted",
  error: { code: "turn_interrupted", detail: TurnInterrupted.about.detail },
  retryAfter: null
}

export const cancelled: Ending = {
  status: "cancelled",
  error: { code: "turn_cancelled", detail: TurnCancelled.about.detail },
  retryAfter: null
}

/** The turn has to stop before its end. */
export class Stopped extends Data.TaggedError("Stopped")<{ readonly status: "cancelled" | "interrupted" }> {}

/** A turn from the database: the flushed part of a running one, or all of an ended one. */
export interface StoredTurn {
  readonly turn: Turn
  readonly content: string
  readonly calls: ReadonlyArray<ToolCall>
  readonly places: ReadonlyArray<Place>
  /** Calls that waited for the user's approval when it ended. */
  readonly awaiting: ReadonlyArray<AwaitedCall> | null
  readonly node: string
  readonly createdAt: DateTime.Utc | null
  readonly retryAfter: number | null
  /** Whether its message was deleted since; then its tool calls are only for undo. */
  readonly isDeleted: boolean
}

/** A turn with a renewed lease, and the requests of other nodes. */
export interface Renewed {
  readonly turnId: TurnId
  readonly isCancelled: boolean
  /** Whether another node reads it. */
  readonly isWatched: boolean
}

export interface TurnsOptions {
  /** The number of messages of the conversation that the agent gets. */
  readonly historyLimit: number
  readonly maxRunningPerUser: number
  /** How long a lease lasts without renewal. */
  readonly lease: Duration.Duration
}

/** Why a turn cannot begin. */
export type Refusal =
  | ConversationNotFound
  | ConversationForbidden
  | TurnInProgress
  | TooManyTurns
  | BudgetExhausted
  | TaskChanged

/** Why a turn cannot begin with a decision. */
export type DecisionRefusal =
  | TurnNotFound
  | ApprovalClosed
  | TurnInProgress
  | TooManyTurns
  | BudgetExhausted
  | TaskChanged
