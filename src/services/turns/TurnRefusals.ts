import type { SqlClient, Statement } from "@effect/sql"
import { Effect } from "effect"
import { ApprovalClosed, isApproval } from "../../domain/Approval.ts"
import { ConversationForbidden, ConversationNotFound } from "../../domain/Conversation.ts"
import type { UserId } from "../../domain/Id.ts"
import {
  type BudgetExhausted,
  IdempotencyKeyReused,
  keyLifetime,
  TooManyTurns,
  TurnInProgress,
  TurnNotFound
} from "../../domain/Turn.ts"
import { type Budget, exhaustedUntil } from "../access/Budgets.ts"
import { type Decides, waits } from "./InsertTurn.ts"
import { decodeAsked, decodeHasPlace, decodeIds, decodeKey, decodeOwn, type Failure } from "./TurnRows.ts"
import type { DecisionRefusal, DecisionRequest, ExistingTurn, Refusal, TurnRequest, TurnsOptions } from "./TurnTypes.ts"

/** Why a turn cannot begin, and the calls that it would decide on. */
export const make = (sql: SqlClient.SqlClient, options: TurnsOptions, budget: Budget | undefined) => {
  /** The turn of the request's Idempotency-Key, if the key was used in the last 24 hours. */
  const existing = ({
    key,
    user
  }: Pick<TurnRequest, "key" | "user">): Effect.Effect<ExistingTurn | null, IdempotencyKeyReused | Failure> =>
    key === null
      ? Effect.succeed(null)
      : sql`
        SELECT request_hash AS hash, turn_id AS "turnId" FROM idempotency_keys
        WHERE user_id = ${user} AND scope = ${key.scope} AND key = ${key.key} AND created_at > now() - ${keyLifetime}::interval`.pipe(
          Effect.flatMap(decodeKey),
          Effect.flatMap(([row]) => {
            if (row === undefined) return Effect.succeed(null)
            return row.hash === key.hash ? Effect.succeed({ turnId: row.turnId }) : new IdempotencyKeyReused()
          })
        )

  const running = (request: TurnRequest) =>
    sql`
      SELECT id FROM turns
      WHERE user_id = ${request.user} AND conversation_id = ${request.conversationId} AND status = 'running'`.pipe(
      Effect.flatMap(decodeIds),
      Effect.map(([row]) => row?.id)
    )

  /** Why no row was inserted: the conversation is missing or another user's, or no slot is free. */
  const refusalOf = (
    request: TurnRequest
  ): Effect.Effect<ConversationNotFound | ConversationForbidden | TooManyTurns, Failure> =>
    request.conversationId === null
      ? Effect.succeed(new TooManyTurns({ retryAfter: 1 }))
      : sql`
        SELECT user_id = ${request.user} AS own FROM conversations
        WHERE id = ${request.conversationId} AND deleted_at IS NULL
        ORDER BY own DESC LIMIT 1`.pipe(
          Effect.flatMap(decodeOwn),
          Effect.map(([row]) => {
            if (row === undefined) return new ConversationNotFound()
            return row.own ? new TooManyTurns({ retryAfter: 1 }) : new ConversationForbidden()
          })
        )

  /** A turn that held calls back, by its id or as the last one of its conversation. */
  const asked = (by: Statement.Fragment) =>
    sql`
      SELECT t.id AS "turnId", t.conversation_id AS "conversationId", t.time_zone AS "timeZone", t.status,
        (SELECT m.awaiting FROM messages m WHERE ${waits(sql, sql`t.id`)}) AS held
      FROM turns t JOIN conversations c ON c.user_id = t.user_id AND c.id = t.conversation_id AND c.deleted_at IS NULL
      WHERE ${by}`.pipe(
      Effect.flatMap(decodeAsked),
      Effect.map(([row]) => row)
    )

  /** The turn whose calls a message approves, if it is an approval. */
  const approvedBy = ({ conversationId, message, user }: TurnRequest): Effect.Effect<Decides | null, Failure> =>
    conversationId === null || !isApproval(message)
      ? nothing
      : Effect.map(
          asked(sql`
            t.user_id = ${user} AND t.id = (
              SELECT m.turn_id FROM conversations c JOIN messages m ON ${waits(sql, sql`m.turn_id`)}
              WHERE c.user_id = ${user} AND c.id = ${conversationId})`),
          (turn) => (turn?.held == null ? null : { ...turn, held: turn.held, decision: "approved" })
        )

  /** The turn to decide on, if its calls still wait. */
  const decidedBy = (request: DecisionRequest) =>
    Effect.flatMap(askedFor(request), (turn): Effect.Effect<Decides, TurnInProgress | ApprovalClosed> => {
      if (turn.status === "running") return new TurnInProgress({ turnId: turn.turnId, retryAfter: 1 })
      const { decision } = request
      return turn.held === null ? new ApprovalClosed() : Effect.succeed({ ...turn, held: turn.held, decision })
    })

  const askedFor = ({ decides, user }: DecisionRequest) =>
    Effect.flatMap(asked(sql`t.user_id = ${user} AND t.id = ${decides}`), (turn) =>
      turn === undefined ? new TurnNotFound() : Effect.succeed(turn)
    )

  const budgetRefusal = (user: UserId): Effect.Effect<void, BudgetExhausted> =>
    budget === undefined
      ? Effect.void
      : Effect.flatMap(budget.allowance(user), ({ remaining, resetsAt }) =>
          remaining > 0 ? Effect.void : exhaustedUntil(resetsAt)
        )

  /** Why the user cannot begin a turn in any conversation now. */
  const userRefusal = (user: UserId): Effect.Effect<void, TooManyTurns | BudgetExhausted | Failure> =>
    Effect.gen(function* () {
      const [{ hasPlace }] = yield* decodeHasPlace(
        yield* sql`
          SELECT count(*) < ${options.maxRunningPerUser} AS "hasPlace" FROM turns
          WHERE user_id = ${user} AND status = 'running'`
      )
      return yield* hasPlace ? budgetRefusal(user) : new TooManyTurns({ retryAfter: 1 })
    })

  /** Why a turn cannot begin now, on any node. */
  const refusal: (
    request: TurnRequest
  ) => Effect.Effect<ExistingTurn | null, Refusal | IdempotencyKeyReused | Failure> = Effect.fnUntraced(
    function* (request) {
      const first = yield* existing(request)
      if (first !== null) return first
      if (request.conversationId !== null) {
        const turn = yield* running(request)
        if (turn !== undefined) return yield* new TurnInProgress({ turnId: turn, retryAfter: 1 })
        const refusal = yield* refusalOf(request)
        if (refusal._tag !== "TooManyTurns") return yield* refusal
      }
      yield* userRefusal(request.user)
      return null
    }
  )

  /** Why a turn cannot begin with this decision now, on any node. */
  const decisionRefusal = (
    request: DecisionRequest
  ): Effect.Effect<ExistingTurn | null, DecisionRefusal | IdempotencyKeyReused | Failure> =>
    Effect.gen(function* () {
      yield* askedFor(request)
      const first = yield* existing(request)
      if (first !== null) return first
      yield* decidedBy(request)
      yield* userRefusal(request.user)
      return null
    })

  return { existing, running, refusalOf, approvedBy, decidedBy, askedFor, budgetRefusal, refusal, decisionRefusal }
}

/** No decision. */
export const nothing = Effect.succeed(null)
