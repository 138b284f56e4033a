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

/** A key of the client's that makes a request safe to repeat; `scope` is the endpoint, `hash` that of the body. */
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

/** The user decides on the calls that a turn held back, which begins another turn of its conversation. */
export interface DecisionRequest {
  readonly user: UserId
  /** The turn whose calls are decided on. */
  readonly decides: TurnId
  readonly decision: Decision
  readonly key: IdempotencyKey | null
}

/** Names a turn, with its owner first. */
export interface TurnKey {
  readonly user: UserId
  readonly turnId: TurnId
}

/** A turn that has begun: its user message is durable, and its lease is this node's. */
export interface BegunTurn extends TurnKey {
  readonly conversationId: ConversationId
  readonly userMessageId: MessageId
  readonly message: string
  readonly timeZone: string
  readonly history: ReadonlyArray<HistoryMessage>
  /** If it began with a decision. */
  readonly decided?: Decided | undefined
}

/** Runs the calls that a turn held back, in the transaction in which the turn that approves them begins. */
export type RunHeld = (
  turn: TurnKey & { readonly timeZone: string },
  held: Held
) => Effect.Effect<ReadonlyArray<ToolCall>, TaskChanged>

/** How many tokens the first step of a turn may cost. */
export type Estimate = (turn: BegunTurn) => number

/** The turn that an Idempotency-Key already stands for. */
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

/** How a turn ends, and what it leaves behind. */
export interface Outcome extends Ending {
  readonly content: string
  readonly calls: ReadonlyArray<ToolCall>
  readonly places: ReadonlyArray<Place>
  /** Calls that it leaves to the user's decision, if it completes. */
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

/** What the database has of a turn: of a running one what was flushed, of an ended one all. */
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
  /** Whether the message it left was deleted since. What it said and did is then there for undo alone. */
  readonly isDeleted: boolean
}

/** A turn whose lease was renewed, and what other nodes have asked of it. */
export interface Renewed {
  readonly turnId: TurnId
  readonly isCancelled: boolean
  /** Whether somebody reads it on another node. */
  readonly isWatched: boolean
}

export interface TurnsOptions {
  /** How many messages of the conversation the agent sees. */
  readonly historyLimit: number
  readonly maxRunningPerUser: number
  /** How long a node that does not renew keeps its turns. */
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
