import type { SqlClient, Statement } from "@effect/sql"
import { Effect } from "effect"
import type { Decision, Held } from "../../domain/Approval.ts"
import { titleFrom } from "../../domain/Conversation.ts"
import type { ConversationId, TurnId, UserId } from "../../domain/Id.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { type Asked, decodeBegun, decodeHistory, type Failure } from "./TurnRows.ts"
import type { BegunTurn, TurnRequest, TurnsOptions } from "./TurnTypes.ts"

/** A turn that waits for a decision, and the decision. */
export interface Decides extends Asked {
  readonly held: Held
  readonly decision: Decision
}

/** Whether the turn's calls wait: while its message is the conversation's last one and has not expired. */
export const waits = (sql: SqlClient.SqlClient, turnId: Statement.Fragment) => sql`
  m.user_id = c.user_id AND m.conversation_id = c.id AND m.sequence_number = c.last_sequence_number
    AND m.turn_id = ${turnId} AND m.awaiting IS NOT NULL AND m.deleted_at IS NULL AND m.approval_expires_at > now()`

/** The statements that begin a turn, if nothing prevents it. */
export const make = (sql: SqlClient.SqlClient, node: string, lease: Statement.Fragment, options: TurnsOptions) => {
  /**
   * The conversation's last messages as one JSON value, so that any statement can return them too. They include the held
   * back calls that are decided on, with all that is needed to go on.
   */
  const history = (
    user: Statement.Fragment,
    conversation: Statement.Fragment,
    before: Statement.Fragment = sql`${maxInteger}`,
    decides = false
  ) => sql`
    SELECT coalesce(json_agg(to_json(h) ORDER BY h."sequenceNumber"), '[]') FROM (
      SELECT m.sequence_number AS "sequenceNumber", m.role, m.content, m.tool_calls AS "toolCalls",
        m.tool_places AS places, m.provider_states AS states, m.awaiting -> 'calls' AS held,
        ${decides ? sql`m.awaiting -> 'states' AS "heldStates",` : sql``} m.decision,
        CASE m.role WHEN 'assistant' THEN m.status
          ELSE (
            SELECT CASE WHEN t.is_message_refused THEN 'refused' ELSE t.status END
            FROM turns t WHERE t.user_id = m.user_id AND t.id = m.turn_id
          ) END AS "turnStatus"
      FROM messages m
      WHERE m.user_id = ${user} AND m.conversation_id = ${conversation} AND m.sequence_number < ${before}
        AND m.deleted_at IS NULL
      ORDER BY m.sequence_number DESC
      LIMIT ${decides ? Math.max(options.historyLimit, 2) : options.historyLimit}
    ) h`

  // One statement takes a slot of the user, the conversation's next number and the key, inserts the turn and its
  // message, and reads the history. Without a free slot, the conversation or the waiting calls it changes nothing and
  // returns no row.
  const insert = (isNew: boolean, hasKey: boolean, decides = false) =>
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
          ${decides ? sql`AND EXISTS (SELECT FROM messages m WHERE ${waits(sql, sql`${p.decides}::uuid`)})` : sql``}
        RETURNING c.id, c.last_sequence_number`
      const insertKey = hasKey
        ? sql`, idempotency_key AS (
        INSERT INTO idempotency_keys (user_id, scope, key, request_hash, turn_id)
        SELECT ${p.user}::bigint, ${p.scope}, ${p.key}, ${p.hash}, ${p.turnId}::uuid FROM turn
      )`
        : sql``
      // Unchanged if there is no decision.
      const [turnColumn, turnValue, messageColumn, messageValue] = decides
        ? [sql`, decides`, sql`, ${p.decides}::uuid`, sql`, decision`, sql`, ${p.decision}`]
        : [sql``, sql``, sql``, sql``]
      return sql`
      WITH place AS (
        SELECT s.slot FROM generate_series(1, ${options.maxRunningPerUser}::int) AS s (slot)
        WHERE NOT EXISTS (
          SELECT FROM turns t WHERE t.user_id = ${p.user} AND t.slot = s.slot AND t.status = 'running'
        )
        ORDER BY random() LIMIT 1
      ), conversation AS (${conversation}), turn AS (
        INSERT INTO turns
          (user_id, id, conversation_id, status, slot, node, lease_until, time_zone, user_message_id${turnColumn})
        SELECT ${p.user}::bigint, ${p.turnId}::uuid, conversation.id, 'running', place.slot, ${node}::uuid, ${lease},
          ${p.timeZone}, nextval('messages_id_seq')${turnValue}
        FROM conversation, place
        RETURNING user_message_id
      ), message AS (
        INSERT INTO messages (user_id, conversation_id, sequence_number, id, turn_id, role, content,
          status${messageColumn})
        SELECT ${p.user}::bigint, conversation.id, conversation.last_sequence_number, turn.user_message_id,
          ${p.turnId}::uuid, 'user', ${p.message}, 'completed'${messageValue}
        FROM conversation, turn
      )${insertKey}
      SELECT conversation.id AS "conversationId", conversation.last_sequence_number AS "sequenceNumber",
        turn.user_message_id AS "userMessageId",
        ${isNew ? sql`'[]'::json` : sql`(${history(p.user, p.conversationId, undefined, decides)})`} AS history
      FROM conversation, turn`
    })

  const inNew = { plain: insert(true, false), keyed: insert(true, true) }
  const inExisting = { plain: insert(false, false), keyed: insert(false, true) }
  const deciding = { plain: insert(false, false, true), keyed: insert(false, true, true) }

  const inserted = (
    { conversationId, key, message, timeZone, user }: TurnRequest,
    turnId: TurnId,
    decision: Decides | null = null
  ) => {
    const { keyed, plain } = decision !== null ? deciding : conversationId === null ? inNew : inExisting
    return (key === null ? plain : keyed)({
      user,
      turnId,
      conversationId,
      message,
      title: conversationId === null ? titleFrom(message) : null,
      timeZone,
      scope: key?.scope ?? null,
      key: key?.key ?? null,
      hash: key?.hash ?? null,
      decides: decision?.turnId ?? null,
      decision: decision?.decision ?? null
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

  /** Begins the turn, if nothing prevents it. */
  const insertTurn = (request: TurnRequest, turnId: TurnId, decides: Decides | null = null) =>
    Effect.flatMap(
      Effect.flatMap(inserted(request, turnId, decides), decodeBegun),
      ([row]): Effect.Effect<BegunTurn | undefined, Failure> => {
        if (row === undefined) return Effect.succeed(undefined)
        const { conversationId, history, sequenceNumber, userMessageId } = row
        const { message, timeZone, user } = request
        const begun = { user, turnId, conversationId, userMessageId, message, timeZone }
        // After waiting for another turn's end, the statement's snapshot is older than that end: read again.
        return sequenceNumber > 1 && history.at(-1)?.sequenceNumber !== sequenceNumber - 1
          ? Effect.map(historyBefore(user, conversationId, sequenceNumber), (history) => ({ ...begun, history }))
          : Effect.succeed({ ...begun, history })
      }
    )

  return insertTurn
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
  readonly decides: TurnId | null
  readonly decision: Decision | null
}

const maxInteger = 2147483647
