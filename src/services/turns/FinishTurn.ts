import type { SqlClient, Statement } from "@effect/sql"
import { Array as Arr, DateTime, Effect, Metric, Order } from "effect"
import { approvalLifetime, awaitedOf } from "../../domain/Approval.ts"
import type { TurnId, UserId } from "../../domain/Id.ts"
import { noUsage, type TurnEnd, type Usage } from "../../domain/Turn.ts"
import type { Ended } from "../../domain/TurnEvent.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import type { Budget } from "../access/Budgets.ts"
import {
  decodeFinished,
  decodeLapsed,
  decodeLeftovers,
  encodeCalls,
  encodeHeld,
  encodeSteps,
  unzip,
  usageOf
} from "./TurnRows.ts"
import { cancelled, interrupted, type Outcome } from "./TurnTypes.ts"

const turnsLapsed = Metric.counter("taskchat_turns_lapsed_total", {
  description: "Turns that their own node left, and this one ended",
  incremental: true
})

/** Ends turns: their rows of text and tool calls become a message. */
export const make = (sql: SqlClient.SqlClient, budget: Budget | undefined) => {
  /** A turn's rows in the tables of running turns: its flushed text and its tool calls. */
  const left = (user: Statement.Fragment, turnId: Statement.Fragment) => ({
    said: sql`(
      SELECT coalesce(string_agg(o.text, '' ORDER BY o.part), '') FROM turn_output o
      WHERE o.user_id = ${user} AND o.turn_id = ${turnId})`,
    records: sql`(
      SELECT coalesce(json_agg(
        json_build_object('call', r.call, 'place', json_build_object(
          'step', r.step, 'offset', r.text_offset, 'providerCallId', r.call -> 'provider_call_id'))
        ORDER BY r.step, r.position), '[]')
      FROM tool_calls r WHERE r.user_id = ${user} AND r.turn_id = ${turnId})`
  })

  const selectLeftovers = PreparedStatement.make<{ user: UserId; turnId: TurnId }>(sql, ({ turnId, user }) => {
    const { records, said } = left(user, turnId)
    return sql`SELECT ${said} AS said, ${records} AS records`
  })

  const leftovers = (user: UserId, turnId: TurnId) =>
    selectLeftovers({ user, turnId }).pipe(
      Effect.flatMap(decodeLeftovers),
      Effect.map(([{ records, said }]) => ({ content: said, ...unzip(records) }))
    )

  /**
   * Ends a running turn in one statement, if `fence` still holds: turn, conversation, message and the rows of the running
   * turn. A cancellation that came before always wins. If the usage is unknown, the turn's last report counts, or else its
   * reservation.
   */
  const finish = (fence: Statement.Fragment) => {
    const update = (holds: boolean) =>
      PreparedStatement.make<Finish>(sql, (p) => {
        const [columns, values] = holds
          ? [
              sql`, awaiting, approval_expires_at`,
              sql`, CASE turn.status WHEN 'completed' THEN ${p.held}::json END,
          CASE turn.status WHEN 'completed' THEN turn.finished_at + ${approvalLifetime}::interval END`
            ]
          : [sql``, sql``]
        const unlessCancelled = (cancelled: Statement.Fragment, otherwise: Statement.Fragment) =>
          sql`CASE WHEN t.cancel_requested_at IS NULL THEN ${otherwise} ELSE ${cancelled} END`
        return sql`
      WITH locked AS (
        -- Before the turn, as at a beginning: two that had one each and wanted the other's would wait forever.
        SELECT c.id FROM turns t JOIN conversations c ON c.user_id = t.user_id AND c.id = t.conversation_id
        WHERE t.user_id = ${p.user} AND t.id = ${p.turnId}
        FOR NO KEY UPDATE OF c
      ), turn AS (
        UPDATE turns t
        SET status = ${unlessCancelled(sql`${"cancelled"}`, p.status)}, finished_at = now(), lease_until = NULL, slot = NULL,
          error_code = ${unlessCancelled(sql`${cancelled.error?.code}`, p.errorCode)},
          error_detail = ${unlessCancelled(sql`${cancelled.error?.detail}`, p.errorDetail)},
          retry_after = CASE WHEN t.cancel_requested_at IS NULL THEN ${p.retryAfter}::int END,
          input_tokens = coalesce(${p.inputTokens}::integer, t.input_tokens, 0),
          output_tokens = coalesce(${p.outputTokens}::integer, t.output_tokens, 0),
          estimated_tokens = coalesce(
            ${p.estimatedTokens}::integer,
            CASE WHEN t.input_tokens IS NULL THEN coalesce(t.reserved_tokens, 0) ELSE t.estimated_tokens END),
          reserved_tokens = NULL, model = coalesce(${p.model}, t.model), step_usage = coalesce(${p.steps}::json, t.step_usage),
          is_message_refused = t.cancel_requested_at IS NULL AND ${p.isMessageRefused}::boolean,
          message_id = CASE
            WHEN ${p.hasContent} OR ${p.isCompleted} AND t.cancel_requested_at IS NULL
            THEN nextval('messages_id_seq')
          END
        FROM locked
        WHERE t.user_id = ${p.user} AND t.id = ${p.turnId} AND t.status = 'running' AND ${fence}
        RETURNING t.conversation_id, t.message_id, t.finished_at, t.status, t.input_tokens, t.output_tokens,
          t.estimated_tokens
      ), conversation AS (
        UPDATE conversations c
        SET last_sequence_number = c.last_sequence_number + 1, message_count = c.message_count + 1,
          updated_at = turn.finished_at
        FROM turn
        WHERE c.user_id = ${p.user} AND c.id = turn.conversation_id AND turn.message_id IS NOT NULL
        RETURNING c.last_sequence_number
      ), message AS (
        INSERT INTO messages (user_id, conversation_id, sequence_number, id, turn_id, role, content, tool_calls,
          tool_places, provider_states, status, created_at${columns})
        SELECT ${p.user}::bigint, turn.conversation_id, conversation.last_sequence_number, turn.message_id,
          ${p.turnId}::uuid, 'assistant', ${p.content}, ${p.calls}::json, ${p.places}::json, ${p.states}::json,
          turn.status, turn.finished_at${values}
        FROM turn, conversation
      ), said AS (
        DELETE FROM turn_output WHERE user_id = ${p.user} AND turn_id = ${p.turnId} AND EXISTS (SELECT FROM turn)
      ), done AS (
        DELETE FROM tool_calls WHERE user_id = ${p.user} AND turn_id = ${p.turnId} AND EXISTS (SELECT FROM turn)
      )
      SELECT conversation_id AS "conversationId", message_id AS "messageId", finished_at AS "finishedAt", status,
        input_tokens AS "inputTokens", output_tokens AS "outputTokens", estimated_tokens AS "estimatedTokens"
      FROM turn`
      })
    const [plain, holding] = [update(false), update(true)]
    return (user: UserId, turnId: TurnId, outcome: Omit<Outcome, "usage"> & { readonly usage: Usage | null }) => {
      const { calls, content, error, held, places, retryAfter, status, usage } = outcome
      const { isMessageRefused = false, model = null, states = [], steps = [] } = outcome
      return (held === undefined ? plain : holding)({
        user,
        turnId,
        status,
        isCompleted: status === "completed",
        content,
        hasContent: content !== "" || calls.length > 0,
        calls: calls.length === 0 ? null : encodeCalls(calls),
        places: calls.length === 0 ? null : JSON.stringify(places),
        errorCode: error?.code ?? null,
        errorDetail: error?.detail ?? null,
        retryAfter,
        isMessageRefused,
        model,
        steps: steps.length === 0 ? null : encodeSteps(steps),
        states: states.length === 0 ? null : JSON.stringify(states),
        held: held === undefined ? null : encodeHeld(held),
        inputTokens: usage === null ? null : usage.inputTokens,
        outputTokens: usage === null ? null : usage.outputTokens,
        estimatedTokens: usage === null ? null : (usage.estimatedTokens ?? 0)
      }).pipe(
        Effect.flatMap(decodeFinished),
        Effect.map(
          ([row]): Ended | undefined =>
            row && {
              turnId,
              conversationId: row.conversationId,
              status: row.status,
              content,
              toolCalls: calls.length === 0 ? null : calls,
              awaiting: row.status === "completed" ? awaitedOf(held, expiryAfter(row.finishedAt)) : null,
              model,
              usage: usageOf(row),
              message: row.messageId === null ? null : { id: row.messageId, createdAt: row.finishedAt },
              ...(row.status === status ? { error, retryAfter } : { error: cancelled.error, retryAfter: null })
            }
        )
      )
    }
  }

  const finishAny = finish(sql`true`)

  /**
   * Ends turns whose lease has lapsed, at most `batch`. It skips locked rows: their holder is ending the turn or working on
   * it. It locks rows in the order of `finish`, and all of them before any end; the ends are ordered too, as each also
   * locks the usage of its user's day.
   */
  const lapse = (filter: Statement.Fragment) =>
    sql`
      SELECT t.user_id AS "user", t.id AS "turnId"
      FROM conversations c JOIN turns t ON t.user_id = c.user_id AND t.conversation_id = c.id
      WHERE t.status = 'running' AND t.lease_until < now() ${filter}
      LIMIT ${batch}
      FOR NO KEY UPDATE OF c, t SKIP LOCKED`.pipe(
      Effect.flatMap(decodeLapsed),
      Effect.map(Arr.sortWith(({ turnId, user }) => `${user} ${turnId}`, Order.string)),
      Effect.flatMap(
        Effect.forEach(({ turnId, user }) =>
          leftovers(user, turnId).pipe(
            // Read after the row was locked, to include a tool call that was just committing.
            Effect.flatMap(({ calls, content, places }) => {
              // If the node died, its last text may be missing, but not the tool calls after it.
              const kept = places.map((place) => ({ ...place, offset: Math.min(place.offset, content.length) }))
              return finishAny(user, turnId, { calls, content, places: kept, usage: null, ...interrupted })
            }),
            Effect.map((ended) => ({ user, turnId, usage: ended?.usage ?? noUsage }))
          )
        )
      ),
      sql.withTransaction,
      Effect.tap((lapsed) =>
        budget === undefined ? Effect.void : Effect.forEach(lapsed, (turn) => budget.settle(turn, turn.usage))
      ),
      Effect.tap(({ length }) =>
        length === 0
          ? Effect.void
          : Effect.zipRight(
              Metric.incrementBy(turnsLapsed, length),
              Effect.logWarning("Lapsed turns of another node were ended").pipe(Effect.annotateLogs({ turns: length }))
            )
      )
    )

  /** The flush of a node that lost its connection may still run, and arrive while the turn is being ended. */
  const forget = Effect.asVoid(sql`
    DELETE FROM turn_output o USING turns t
    WHERE t.user_id = o.user_id AND t.id = o.turn_id AND t.status <> 'running'`)

  return { left, leftovers, finish, lapse, forget }
}

type Finish = {
  readonly user: UserId
  readonly turnId: TurnId
  readonly status: TurnEnd
  readonly isCompleted: boolean
  readonly content: string
  readonly hasContent: boolean
  readonly calls: string | null
  readonly places: string | null
  readonly errorCode: string | null
  readonly errorDetail: string | null
  readonly retryAfter: number | null
  readonly isMessageRefused: boolean
  readonly model: string | null
  readonly steps: string | null
  readonly states: string | null
  readonly held: string | null
  /** Null if the cost since the last report is unknown. */
  readonly inputTokens: number | null
  readonly outputTokens: number | null
  readonly estimatedTokens: number | null
}

const expiryAfter = (finishedAt: DateTime.Utc) => DateTime.addDuration(finishedAt, approvalLifetime)

export type TurnArchive = ReturnType<typeof make>

/** The most turns that end in one transaction, which locks their rows. */
export const batch = 50
