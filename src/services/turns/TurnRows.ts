import { SqlError } from "@effect/sql"
import { type ParseResult, Schema } from "effect"
import { Decision, Held, HeldCall } from "../../domain/Approval.ts"
import { Role } from "../../domain/Conversation.ts"
import { ConversationId, MessageId, TurnId, UserId } from "../../domain/Id.ts"
import { ProviderState } from "../../domain/ProviderState.ts"
import { ToolCall } from "../../domain/ToolCall.ts"
import { Reverted, TurnEnd, TurnStatus, Usage } from "../../domain/Turn.ts"
import * as Codec from "../../runtime/Codec.ts"

const rows = <A, I>(row: Schema.Schema<A, I>) => Codec.decodeUnknown(Schema.Array(row))
const oneRow = <A, I>(row: Schema.Schema<A, I>) => Schema.decodeUnknown(Schema.Tuple(row))

const ToolCalls = Schema.Array(ToolCall)
const PlaceRow = Schema.Struct({
  step: Schema.Int,
  offset: Schema.Int,
  providerCallId: Schema.optionalWith(Schema.String, { nullable: true, exact: true })
})

const HistoryRow = Schema.Struct({
  sequenceNumber: Schema.Int,
  role: Role,
  content: Schema.String,
  toolCalls: Schema.NullOr(ToolCalls),
  places: Schema.NullOr(Schema.Array(PlaceRow)),
  states: Schema.NullOr(Schema.Array(ProviderState)),
  held: Schema.NullOr(Schema.Array(HeldCall)),
  heldStates: Schema.optional(Schema.NullOr(Schema.Array(ProviderState))),
  decision: Schema.NullOr(Decision),
  turnStatus: Schema.Literal("refused", ...TurnStatus.literals)
})

export const decodeBegun = rows(
  Schema.Struct({
    conversationId: ConversationId,
    sequenceNumber: Schema.Int,
    userMessageId: MessageId,
    history: Schema.Array(HistoryRow)
  })
)
const AskedRow = Schema.Struct({
  turnId: TurnId,
  conversationId: ConversationId,
  timeZone: Schema.String,
  status: TurnStatus,
  held: Schema.NullOr(Held)
})
/** A turn, and its held back calls while they wait. */
export type Asked = typeof AskedRow.Type
export const decodeAsked = rows(AskedRow)
export const decodeHistory = oneRow(Schema.Struct({ history: Schema.Array(HistoryRow) }))
export const decodeKey = rows(Schema.Struct({ hash: Schema.String, turnId: TurnId }))
export const decodeIds = rows(Schema.Struct({ id: TurnId }))
export const decodeOwn = rows(Schema.Struct({ own: Schema.Boolean }))
export const decodeHasPlace = oneRow(Schema.Struct({ hasPlace: Schema.Boolean }))
export const decodeLapsed = rows(Schema.Struct({ user: UserId, turnId: TurnId }))
export const decodeRenewed = rows(
  Schema.Struct({ turnId: TurnId, isCancelled: Schema.Boolean, isWatched: Schema.Boolean })
)
export const decodeUndone = rows(Schema.Struct({ status: TurnStatus, reverted: Schema.NullOr(Schema.Array(Reverted)) }))
const Recorded = Schema.Struct({ call: ToolCall, place: PlaceRow })
export const decodeKept = rows(Schema.Struct({ call: ToolCall }))
export const decodeLeftovers = oneRow(Schema.Struct({ said: Schema.String, records: Schema.Array(Recorded) }))
export const decodeFinished = rows(
  Schema.Struct({
    conversationId: ConversationId,
    status: TurnEnd,
    messageId: Schema.NullOr(MessageId),
    finishedAt: Schema.DateTimeUtcFromDate,
    inputTokens: Schema.Int,
    outputTokens: Schema.Int,
    estimatedTokens: Schema.Int
  })
)
export const decodeStored = rows(
  Schema.Struct({
    conversationId: ConversationId,
    status: TurnStatus,
    node: Schema.String,
    userMessageId: MessageId,
    messageId: Schema.NullOr(MessageId),
    errorCode: Schema.NullOr(Schema.String),
    errorDetail: Schema.NullOr(Schema.String),
    retryAfter: Schema.NullOr(Schema.Int),
    model: Schema.NullOr(Schema.String),
    inputTokens: Schema.NullOr(Schema.Int),
    outputTokens: Schema.NullOr(Schema.Int),
    estimatedTokens: Schema.Int,
    steps: Schema.NullOr(Schema.Array(Usage)),
    startedAt: Schema.DateTimeUtcFromDate,
    finishedAt: Schema.NullOr(Schema.DateTimeUtcFromDate),
    content: Schema.NullOr(Schema.String),
    toolCalls: Schema.NullOr(ToolCalls),
    places: Schema.NullOr(Schema.Array(PlaceRow)),
    held: Schema.NullOr(Held),
    expiresAt: Schema.NullOr(Schema.DateTimeUtcFromDate),
    isWaiting: Schema.Boolean,
    createdAt: Schema.NullOr(Schema.DateTimeUtcFromDate),
    isDeleted: Schema.Boolean,
    said: Schema.NullOr(Schema.String),
    records: Schema.NullOr(Schema.Array(Recorded))
  })
)

const json = <A, I>(schema: Schema.Schema<A, I>) => {
  const encode = Codec.encode(schema)
  return (value: A) => JSON.stringify(encode(value))
}

export const encodeCalls = json(ToolCalls)
/** A tool call's record: the call, and the provider's id, which is only sent back to that provider. */
export const encodeRecord = json(
  Schema.Struct({
    ...ToolCall.fields,
    providerCallId: Schema.optional(Schema.String).pipe(Schema.fromKey("provider_call_id"))
  })
)
export const encodeHeld = json(Held)
export const encodeSteps = json(Schema.Array(Usage))
export const encodeReverted = json(Schema.Array(Reverted))

export const isSqlError = (u: unknown): u is SqlError.SqlError => u instanceof SqlError.SqlError

export type Failure = SqlError.SqlError | ParseResult.ParseError

/** A turn's cost in its row. */
export const usageOf = (row: {
  readonly inputTokens: number | null
  readonly outputTokens: number | null
  readonly estimatedTokens: number
}): Usage => ({
  inputTokens: row.inputTokens ?? 0,
  outputTokens: row.outputTokens ?? 0,
  ...(row.estimatedTokens > 0 && { estimatedTokens: row.estimatedTokens })
})

/** Calls and their positions, in the form of everything but the records. */
export const unzip = (records: ReadonlyArray<typeof Recorded.Type>) => ({
  calls: records.map(({ call }) => call),
  places: records.map(({ place }) => place)
})
