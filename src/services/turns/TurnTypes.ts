import { Data, type DateTime, type Duration } from "effect"
import type { ConversationForbidden, ConversationNotFound, HistoryMessage } from "../../domain/Conversation.ts"
import type { ConversationId, MessageId, TurnId, UserId } from "../../domain/Id.ts"
import { Unavailable } from "../../domain/Request.ts"
import type { Place, ToolCall } from "../../domain/ToolCall.ts"
import {
  type ProviderState,
  type TooManyTurns,
  type Turn,
  TurnCancelled,
  type TurnEnd,
  type TurnError,
  type TurnInProgress,
  TurnInterrupted,
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

/** Names a turn, with its owner first. */
export interface TurnKey {
  readonly user: UserId
  readonly turnId: TurnId
}

/** A turn that has begun: its user message is durable, and its lease is this node's. */
export interface BegunTurn extends TurnKey {
  readonly conversationId: ConversationId
  readonly userMessageId: MessageId
  readonly history: ReadonlyArray<HistoryMessage>
}

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

export type Refusal = ConversationNotFound | ConversationForbidden | TurnInProgress | TooManyTurns
