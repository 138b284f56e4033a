import type { SqlClient, Statement } from "@effect/sql"
import { Clock, Effect, Either } from "effect"
import { v7 } from "uuid"
import { ConversationForbidden, ConversationNotFound, titleFrom } from "../../domain/Conversation.ts"
import { type ConversationId, TurnId, type UserId } from "../../domain/Id.ts"
import { IdempotencyKeyReused, keyLifetime, TooManyTurns, TurnInProgress } from "../../domain/Turn.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { violated } from "../../sql/SqlErrors.ts"
import type { TurnArchive } from "./FinishTurn.ts"
import { decodeBegun, decodeHistory, decodeIds, decodeKey, decodeOwn, type Failure, isSqlError } from "./TurnRows.ts"
import type { BegunTurn, ExistingTurn, Refusal, TurnRequest, TurnsOptions } from "./TurnTypes.ts"

/** Begins turns, or says why not, and finds the turn of a request that comes again with its Idempotency-Key. */
export const make = (
  sql: SqlClient.SqlClient,
  node: string,
  lease: Statement.Fragment,
  options: TurnsOptions,
  { lapse }: Pick<TurnArchive, "lapse">
) => {
  /** The conversation's last messages as one JSON value, so that they come along with whatever asks for them. */
  const history = (
    user: Statement.Fragment,
    conversation: Statement.Fragment,
    before: Statement.Fragment = sql`${maxInteger}`
  ) => sql`
    SELECT coalesce(json_agg(to_json(h) ORDER BY h."sequenceNumber"), '[]') FROM (
      SELECT m.sequence_number AS "sequenceNumber", m.role, m.content, m.tool_calls AS "toolCalls",
        m.tool_places AS places, m.provider_states AS states,
        CASE m.role WHEN 'assistant' THEN m.status
          ELSE (
            SELECT CASE WHEN t.is_message_refused THEN 'refused' ELSE t.status END
            FROM turns t WHERE t.user_id = m.user_id AND t.id = m.turn_id
          ) END AS "turnStatus"
      FROM messages m
      WHERE m.user_id = ${user} AND m.conversation_id = ${conversation} AND m.sequence_number < ${before}
        AND m.deleted_at IS NULL
      ORDER BY m.sequence_number DESC
      LIMIT ${options.historyLimit}
    ) h`

  // One statement: a place among the user's running turns, the conversation's next number, the turn, its message and
  // key, and what was said before. If there is no place or no such conversation, nothing happens and no row comes.
  const insert = (isNew: boolean, hasKey: boolean) =>
    PreparedStatement.make<NewTurnRow>(sql, (p) => {
      const conversation = isNew
        ? sql`
        INSERT INTO conversations (user_id, title, last_sequence_number, message_count)
        SELECT ${p.user}::bigint, ${p.title}, 1, 1 FROM place
        RETURNING id, last_sequence_number`
        : sql`
        UPDATE conversations c
        SET last_sequence_number = c.last_sequence_number + 1, message_count = c.message_count + 1, updated_at = now()
        FROM place
        WHERE c.user_id = ${p.user} AND c.id = ${p.conversationId} AND c.deleted_at IS NULL
        RETURNING c.id, c.last_sequence_number`
      const insertKey = hasKey
        ? sql`, idempotency_key AS (
        INSERT INTO idempotency_keys (user_id, scope, key, request_hash, turn_id)
        SELECT ${p.user}::bigint, ${p.scope}, ${p.key}, ${p.hash}, ${p.turnId}::uuid FROM turn
      )`
        : sql``
      return sql`
      WITH place AS (
        SELECT s.slot FROM generate_series(1, ${options.maxRunningPerUser}::int) AS s (slot)
        WHERE NOT EXISTS (
          SELECT FROM turns t WHERE t.user_id = ${p.user} AND t.slot = s.slot AND t.status = 'running'
        )
        ORDER BY random() LIMIT 1
      ), conversation AS (${conversation}), turn AS (
        INSERT INTO turns
          (user_id, id, conversation_id, status, slot, node, lease_until, time_zone, user_message_id)
        SELECT ${p.user}::bigint, ${p.turnId}::uuid, conversation.id, 'running', place.slot, ${node}::uuid, ${lease},
          ${p.timeZone}, nextval('messages_id_seq')
        FROM conversation, place
        RETURNING user_message_id
      ), message AS (
        INSERT INTO messages (user_id, conversation_id, sequence_number, id, turn_id, role, content, status)
        SELECT ${p.user}::bigint, conversation.id, conversation.last_sequence_number, turn.user_message_id,
          ${p.turnId}::uuid, 'user', ${p.message}, 'completed'
        FROM conversation, turn
      )${insertKey}
      SELECT conversation.id AS "conversationId", conversation.last_sequence_number AS "sequenceNumber",
        turn.user_message_id AS "userMessageId",
        ${isNew ? sql`'[]'::json` : sql`(${history(p.user, p.conversationId)})`} AS history
      FROM conversation, turn`
    })

  const inNew = { plain: insert(true, false), keyed: insert(true, true) }
  const inExisting = { plain: insert(false, false), keyed: insert(false, true) }

  const inserted = ({ conversationId, key, message, timeZone, user }: TurnRequest, turnId: TurnId) => {
    const { keyed, plain } = conversationId === null ? inNew : inExisting
    return (key === null ? plain : keyed)({
      user,
      turnId,
      conversationId,
      message,
      title: conversationId === null ? titleFrom(message) : null,
      timeZone,
      scope: key?.scope ?? null,
      key: key?.key ?? null,
      hash: key?.hash ?? null
    })
  }

  const selectHistory = PreparedStatement.make<{ user: UserId; conversationId: ConversationId; before: number }>(
    sql,
    (p) => sql`SELECT (${history(p.user, p.conversationId, p.before)}) AS history`
  )

  const historyBefore = (user: UserId, conversationId: ConversationId, before: number) =>
    selectHistory({ user, conversationId, before }).pipe(
      Effect.flatMap(decodeHistory),
      Effect.map(([row]) => row.history)
    )

  /** The turn that the request's key stands for, if it was used in the last day. */
  const existing = ({ key, user }: TurnRequest): Effect.Effect<ExistingTurn | null, IdempotencyKeyReused | Failure> =>
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

  /** Why no row came: the conversation is not there, is another's, or the user's places are taken. */
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

  const begin: (
    request: TurnRequest,
    tries?: number
  ) => Effect.Effect<BegunTurn | ExistingTurn, Refusal | IdempotencyKeyReused | Failure> = Effect.fnUntraced(function* (
    request,
    tries = 0
  ) {
    const turnId = TurnId.make(v7({ msecs: yield* Clock.currentTimeMillis }))
    const attempt = yield* Effect.either(Effect.flatMap(inserted(request, turnId), decodeBegun))
    if (Either.isRight(attempt) && attempt.right[0] !== undefined) {
      const { conversationId, history: before, sequenceNumber, userMessageId } = attempt.right[0]
      const { user } = request
      // Having waited for another turn's end, the statement's view is from before it: look again.
      const isStale = sequenceNumber > 1 && before.at(-1)?.sequenceNumber !== sequenceNumber - 1
      const complete = isStale ? yield* historyBefore(user, conversationId, sequenceNumber) : before
      return { user, turnId, conversationId, userMessageId, history: complete }
    }
    const constraint = Either.isLeft(attempt) && isSqlError(attempt.left) ? violated(attempt.left) : undefined
    if (Either.isLeft(attempt) && constraint === undefined) return yield* attempt.left
    const first = yield* existing(request)
    if (first !== null) return first
    switch (constraint) {
      case undefined: {
        const refusal = yield* refusalOf(request)
        if (refusal._tag !== "TooManyTurns") return yield* refusal
        const lapsed = yield* lapse(sql`AND t.user_id = ${request.user}`)
        if (lapsed.length > 0) break
        const turn = request.conversationId === null ? undefined : yield* running(request)
        return yield* turn === undefined ? refusal : new TurnInProgress({ turnId: turn, retryAfter: 1 })
      }
      case "turns_one_per_conversation": {
        const lapsed = yield* lapse(
          sql`AND t.user_id = ${request.user} AND t.conversation_id = ${request.conversationId}`
        )
        const turn = lapsed.length > 0 ? undefined : yield* running(request)
        if (turn !== undefined) return yield* new TurnInProgress({ turnId: turn, retryAfter: 1 })
        break
      }
      case "idempotency_keys_pkey":
        yield* forgetKeys(sql`AND user_id = ${request.user}`)
        break
      case "turns_slots":
        break
      default:
        return yield* Effect.dieMessage(`A new turn violated ${constraint}`)
    }
    // The place, the conversation or the key was taken or freed in that very moment.
    if (tries >= maxTries) return yield* new TooManyTurns({ retryAfter: 1 })
    return yield* begin(request, tries + 1)
  })

  /** Why a turn could not begin now, if not for want of a place. */
  const refusal: (
    request: TurnRequest
  ) => Effect.Effect<ExistingTurn | null, Refusal | IdempotencyKeyReused | Failure> = Effect.fnUntraced(
    function* (request) {
      const first = yield* existing(request)
      if (first !== null) return first
      if (request.conversationId === null) return null
      const turn = yield* running(request)
      if (turn !== undefined) return yield* new TurnInProgress({ turnId: turn, retryAfter: 1 })
      const refusal = yield* refusalOf(request)
      return refusal._tag === "TooManyTurns" ? null : yield* refusal
    }
  )

  const forgetKeys = (filter: Statement.Fragment) =>
    sql`DELETE FROM idempotency_keys WHERE created_at <= now() - ${keyLifetime}::interval ${filter}`

  return { begin, refusal, prune: forgetKeys(sql``) }
}

type NewTurnRow = {
  readonly user: UserId
  readonly turnId: TurnId
  readonly conversationId: ConversationId | null
  readonly message: string
  readonly title: string | null
  readonly timeZone: string
  readonly scope: string | null
  readonly key: string | null
  readonly hash: string | null
}

/** A turn that loses so many races in a row is refused. */
const maxTries = 50

const maxInteger = 2147483647
