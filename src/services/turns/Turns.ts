import { randomUUID } from "node:crypto"
import { SqlClient, type Statement } from "@effect/sql"
import { Array as Arr, Context, Duration, Effect, Layer, Option } from "effect"
import { awaitedOf } from "../../domain/Approval.ts"
import type { TurnId, UserId } from "../../domain/Id.ts"
import type { Place, ToolCall } from "../../domain/ToolCall.ts"
import {
  type BudgetExhausted,
  type IdempotencyKeyReused,
  type Reverted,
  Turn,
  TurnInProgress,
  TurnLost,
  TurnNotFound,
  type TurnStatus,
  type Usage
} from "../../domain/Turn.ts"
import type { Ended } from "../../domain/TurnEvent.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import * as Span from "../../runtime/Span.ts"
import * as Sql from "../../sql/Sql.ts"
import { dieOnSql, isTurnLost, violated } from "../../sql/SqlErrors.ts"
import { Budgets } from "../access/Budgets.ts"
import type { CallPlace } from "../agent/Agent.ts"
import * as BeginTurn from "./BeginTurn.ts"
import * as FinishTurn from "./FinishTurn.ts"
import {
  decodeKept,
  decodeRenewed,
  decodeStored,
  decodeUndone,
  encodeRecord,
  encodeReverted,
  encodeSteps,
  type Failure,
  isSqlError,
  unzip,
  usageOf
} from "./TurnRows.ts"
import type {
  BegunTurn,
  DecisionRefusal,
  DecisionRequest,
  Estimate,
  ExistingTurn,
  Outcome,
  Refusal,
  Renewed,
  RunHeld,
  StoredTurn,
  TurnKey,
  TurnRequest,
  TurnsOptions
} from "./TurnTypes.ts"

/**
 * The turns' rows. Constraints allow one turn at a time in a conversation, and a limited number per user. A running turn
 * belongs to the node that holds its lease; the lease fences every write, so a node that has lost it can no longer write.
 * The output of a running turn is in `turn_output` and `tool_calls`; its end moves it into a message.
 *
 * A database that is away is a defect here, as in every service; `http/Problems.ts` recognises it.
 */
export class Turns extends Context.Tag("taskchat/services/Turns")<
  Turns,
  {
    /** Identifies this process in leases. */
    readonly node: string
    /**
     * Fails, and changes nothing, if the turn cannot begin. An Idempotency-Key that is known comes before any refusal. Where
     * calls wait for the user's approval and the message is one of the words that approve, `runHeld` runs them; without it
     * a message is no more than that. `estimate` is of the tokens that its first step may cost, for a budget; 4,096 when
     * absent.
     */
    readonly begin: (
      request: TurnRequest,
      runHeld?: RunHeld,
      estimate?: Estimate
    ) => Effect.Effect<BegunTurn | ExistingTurn, Refusal | IdempotencyKeyReused>
    /** As `begin`, for a turn that decides on another turn's waiting calls. Only one decision counts. */
    readonly decide: (
      request: DecisionRequest,
      runHeld: RunHeld,
      estimate?: Estimate
    ) => Effect.Effect<BegunTurn | ExistingTurn, DecisionRefusal | IdempotencyKeyReused>
    /** Whether the budget allows another step after this cost; absent without a budget. */
    readonly goOn?: ((turn: TurnKey, used: Usage) => Effect.Effect<void, BudgetExhausted>) | undefined
    /** Why a turn cannot begin now, because of the conversation or the user. */
    readonly refusal: (request: TurnRequest) => Effect.Effect<ExistingTurn | null, Refusal | IdempotencyKeyReused>
    readonly decisionRefusal: (
      request: DecisionRequest
    ) => Effect.Effect<ExistingTurn | null, DecisionRefusal | IdempotencyKeyReused>
    /** Ends a turn of this node's. */
    readonly end: (turn: TurnKey, outcome: Outcome) => Effect.Effect<Ended, TurnLost>
    /**
     * Runs a tool call with its record, in one transaction, `offset` being the length of the text before it. With the first
     * call of a step goes what the turn has cost so far. The first that is kept at a place is the one: another is rolled
     * back, and the answer is the one that was kept.
     */
    readonly record: (
      turn: TurnKey,
      place: CallPlace & { readonly offset: number },
      call: Effect.Effect<ToolCall>,
      cost?: Pick<Outcome, "model" | "steps" | "usage">
    ) => Effect.Effect<ToolCall, TurnLost>
    /** The recorded calls of a running turn, in order. */
    readonly recorded: (
      user: UserId,
      turnId: TurnId
    ) => Effect.Effect<{ readonly calls: ReadonlyArray<ToolCall>; readonly places: ReadonlyArray<Place> }>
    /**
     * Renews the leases of these turns, and returns the requests of other nodes. A missing turn is no longer this node's.
     */
    readonly renew: (turns: ReadonlyArray<TurnId>) => Effect.Effect<ReadonlyArray<Renewed>>
    /** Flushes the text that this node's turns have added since the last flush. */
    readonly flush: (
      parts: ReadonlyArray<{
        readonly user: UserId
        readonly turnId: TurnId
        readonly from: number
        readonly text: string
      }>
    ) => Effect.Effect<void>
    /** Ends turns of any node whose lease has lapsed, and returns them. */
    readonly sweep: Effect.Effect<ReadonlyArray<ExistingTurn>>
    readonly find: (user: UserId, turnId: TurnId) => Effect.Effect<StoredTurn, TurnNotFound>
    /** Asks the turn's node to stop it; an ended turn stays as it is. */
    readonly requestCancel: (user: UserId, turnId: TurnId) => Effect.Effect<TurnStatus, TurnNotFound>
    /** Asks the turn's node to flush its text often, for the next 10 seconds. */
    readonly watch: (user: UserId, turnId: TurnId) => Effect.Effect<void>
    /**
     * Undoes an ended turn, once: `revert` runs in the transaction that records its result, and a repeated undo returns the
     * record.
     */
    readonly undo: <E>(
      user: UserId,
      turnId: TurnId,
      revert: Effect.Effect<ReadonlyArray<Reverted>, E>
    ) => Effect.Effect<ReadonlyArray<Reverted>, E | TurnNotFound | TurnInProgress>
    /** Deletes Idempotency-Keys older than a day, and rows of turns that arrived after their end. */
    readonly prune: Effect.Effect<void>
  }
>() {
  static readonly layer = (options: TurnsOptions): Layer.Layer<Turns, never, SqlClient.SqlClient> =>
    Layer.effect(Turns, make(options))

  /** On a fresh database in memory; a user may have 5 at once. */
  static readonly layerTest: Layer.Layer<Turns> = Layer.suspend(() =>
    Layer.provide(Turns.layer({ historyLimit: 20, maxRunningPerUser: 5, lease: Duration.seconds(15) }), Sql.layerTest)
  )
}

const make = (options: TurnsOptions) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const node = randomUUID()
    const lease = sql`now() + ${`${Duration.toMillis(options.lease)} milliseconds`}::interval`
    const renewal = `${Duration.toMillis(options.lease) / 3} milliseconds`

    const budget = Option.getOrUndefined(yield* Budgets)

    const finishTurn = FinishTurn.make(sql, budget)
    const beginTurn = BeginTurn.make(sql, node, lease, options, finishTurn, budget)

    const finish = finishTurn.finish(sql`node = ${node}`)

    type Call = { user: UserId; turnId: TurnId; step: number; position: number; offset: number; call: string }
    type Cost = { input: number; output: number; estimated: number; model: string | null; steps: string }
    // Locks the turn's row against its end. If this node no longer holds the turn, the statement fails: an empty result
    // would come too late, as `COMMIT` is sent along.
    const insertedCall = (p: PreparedStatement.Given<keyof Call>, turn: Statement.Fragment) => sql`
      WITH turn AS (${turn})
      INSERT INTO tool_calls (user_id, turn_id, step, position, text_offset, call)
      SELECT ${p.user}::bigint, ${p.turnId}::uuid,
        CASE WHEN EXISTS (SELECT FROM turn) THEN ${p.step}::integer ELSE turn_lost() END, ${p.position}::integer,
        ${p.offset}::integer, ${p.call}::json`
    const heldTurn = (p: PreparedStatement.Given<"user" | "turnId">) =>
      sql`user_id = ${p.user} AND id = ${p.turnId} AND status = 'running' AND node = ${node}`
    const insertCall = PreparedStatement.make<Call>(sql, (p) =>
      insertedCall(p, sql`SELECT FROM turns WHERE ${heldTurn(p)} FOR SHARE`)
    )
    const insertFirstCall = PreparedStatement.make<Call & Cost>(sql, (p) =>
      insertedCall(
        p,
        sql`
        UPDATE turns SET input_tokens = ${p.input}, output_tokens = ${p.output}, estimated_tokens = ${p.estimated},
          reserved_tokens = CASE
            WHEN reserved_tokens IS NOT NULL THEN ${p.input}::integer + ${p.output}::integer + ${p.estimated}::integer
          END,
          model = ${p.model}, step_usage = ${p.steps}::json
        WHERE ${heldTurn(p)}
        RETURNING id`
      )
    )

    const keptCall = ({ turnId, user }: TurnKey, { position, step }: CallPlace) =>
      sql`
        SELECT call FROM tool_calls
        WHERE user_id = ${user} AND turn_id = ${turnId} AND step = ${step} AND position = ${position}`.pipe(
        Effect.flatMap(decodeKept),
        Effect.flatMap(([kept]) => (kept === undefined ? new TurnLost() : Effect.succeed(kept.call)))
      )

    const renew = PreparedStatement.make<{ ids: ReadonlyArray<TurnId> }>(
      sql,
      ({ ids }) => sql`
        WITH due AS (
          SELECT user_id, id FROM turns
          WHERE node = ${node} AND status = 'running' AND id = ANY(${ids}::uuid[])
            AND lease_until < ${lease} - ${renewal}::interval
          ORDER BY user_id, id
          FOR NO KEY UPDATE
        ), renewed AS (
          UPDATE turns t SET lease_until = ${lease} FROM due WHERE t.user_id = due.user_id AND t.id = due.id
        )
        SELECT id AS "turnId", cancel_requested_at IS NOT NULL AS "isCancelled",
          coalesce(watched_until > now(), false) AS "isWatched"
        FROM turns WHERE node = ${node} AND status = 'running' AND id = ANY(${ids}::uuid[])`
    )

    const insertParts = PreparedStatement.make<{ parts: string }>(
      sql,
      ({ parts }) => sql`
        WITH own AS (
          SELECT t.user_id, t.id, p.part, p.text
          FROM jsonb_to_recordset(${parts}::jsonb) AS p (user_id bigint, id uuid, part integer, text text)
          JOIN turns t ON t.user_id = p.user_id AND t.id = p.id AND t.status = 'running' AND t.node = ${node}
          ORDER BY t.user_id, t.id
          FOR SHARE OF t
        )
        INSERT INTO turn_output (user_id, turn_id, part, text) SELECT user_id, id, part, text FROM own
        -- The row was stored, but its confirmation was lost. Since then the part has more text.
        ON CONFLICT (user_id, turn_id, part) DO UPDATE SET text = excluded.text`
    )

    const stored = PreparedStatement.make<{ user: UserId; turnId: TurnId }>(sql, ({ turnId, user }) => {
      const { records, said } = finishTurn.left(sql`t.user_id`, sql`t.id`)
      // The output of a running turn comes from the same snapshot as its status.
      return sql`
        SELECT t.id AS "turnId", t.conversation_id AS "conversationId", t.status, t.node,
          t.user_message_id AS "userMessageId", t.message_id AS "messageId", t.error_code AS "errorCode",
          t.error_detail AS "errorDetail", t.retry_after AS "retryAfter", t.model, t.input_tokens AS "inputTokens",
          t.output_tokens AS "outputTokens", t.estimated_tokens AS "estimatedTokens", t.step_usage AS steps, t.started_at AS "startedAt", t.finished_at AS "finishedAt",
          m.content, m.tool_calls AS "toolCalls", m.tool_places AS places, m.created_at AS "createdAt",
          t.message_id IS NOT NULL AND (m.id IS NULL OR m.deleted_at IS NOT NULL) AS "isDeleted",
          m.awaiting AS held, m.approval_expires_at AS "expiresAt",
          coalesce(m.sequence_number = c.last_sequence_number AND m.approval_expires_at > now(), false) AS "isWaiting",
          CASE WHEN t.status = 'running' THEN ${said} END AS said,
          CASE WHEN t.status = 'running' THEN ${records} END AS records
        FROM turns t
        JOIN conversations c ON c.user_id = t.user_id AND c.id = t.conversation_id AND c.deleted_at IS NULL
        LEFT JOIN messages m ON m.user_id = t.user_id AND m.id = t.message_id
        WHERE t.user_id = ${user} AND t.id = ${turnId}`
    })

    const find: (user: UserId, turnId: TurnId) => Effect.Effect<StoredTurn, TurnNotFound | Failure> = Effect.fnUntraced(
      function* (user, turnId) {
        const [row] = yield* Effect.flatMap(stored({ user, turnId }), decodeStored)
        if (row === undefined) return yield* new TurnNotFound()
        const { calls, content, places } =
          row.status === "running"
            ? { content: row.said ?? "", ...unzip(row.records ?? []) }
            : { content: row.content ?? "", calls: row.toolCalls ?? [], places: row.places ?? [] }
        const awaiting = row.expiresAt === null ? null : awaitedOf(row.held, row.expiresAt)
        const turn = new Turn({
          turnId,
          conversationId: row.conversationId,
          status: row.status,
          userMessageId: row.userMessageId,
          messageId: row.isDeleted ? null : row.messageId,
          toolCalls: row.isDeleted || calls.length === 0 ? null : calls,
          awaiting: row.isWaiting && !row.isDeleted ? awaiting : null,
          model: row.model,
          usage: row.inputTokens === null ? null : usageOf(row),
          steps: row.steps ?? [],
          error: row.errorCode === null ? null : { code: row.errorCode, detail: row.errorDetail ?? "" },
          startedAt: row.startedAt,
          finishedAt: row.finishedAt
        })
        const { createdAt, isDeleted, node, retryAfter } = row
        return { turn, content, calls, places, awaiting, node, createdAt, retryAfter, isDeleted }
      }
    )

    return Turns.of({
      node,
      begin: (request, runHeld, estimate) =>
        Span.withSpan("Turns.begin")(dieOnSql(beginTurn.begin(request, runHeld, estimate))),
      decide: Effect.fn("Turns.decide")((request, runHeld, estimate) =>
        dieOnSql(beginTurn.decide(request, runHeld, estimate))
      ),
      decisionRefusal: Effect.fn("Turns.decisionRefusal")((request) => dieOnSql(beginTurn.decisionRefusal(request))),
      goOn: budget?.goOn,
      refusal: Effect.fn("Turns.refusal")((request) => dieOnSql(beginTurn.refusal(request))),
      end: (turn, outcome) =>
        dieOnSql(finish(turn.user, turn.turnId, outcome)).pipe(
          Effect.flatMap((ended) => {
            if (ended === undefined) return new TurnLost()
            return budget === undefined ? Effect.succeed(ended) : Effect.as(budget.settle(turn, ended.usage), ended)
          }),
          Span.withSpan("Turns.end", { attributes: { "turn.id": turn.turnId, "turn.status": outcome.status } })
        ),
      record: (turn, { offset, position, providerCallId, step }, call, cost) =>
        call.pipe(
          Effect.tap((done) => {
            const { turnId, user } = turn
            const row = { user, turnId, step, position, offset, call: encodeRecord({ ...done, providerCallId }) }
            const inserted =
              position === 0 && cost !== undefined
                ? insertFirstCall.last({
                    ...row,
                    input: cost.usage.inputTokens,
                    output: cost.usage.outputTokens,
                    estimated: cost.usage.estimatedTokens ?? 0,
                    model: cost.model ?? null,
                    steps: encodeSteps(cost.steps ?? [])
                  })
                : insertCall.last(row)
            return Effect.catchIf(inserted, isTurnLost, () => new TurnLost())
          }),
          sql.withTransaction,
          // An earlier attempt was kept, though its connection was lost before that was known: its outcome is the call's.
          Effect.catchIf(
            (error) => isSqlError(error) && violated(error) === "tool_calls_pkey",
            () => keptCall(turn, { step, position })
          ),
          dieOnSql,
          Span.withSpan("Turns.record", { attributes: { "turn.id": turn.turnId, step, position } })
        ),
      recorded: (user, turnId) =>
        Effect.map(dieOnSql(finishTurn.leftovers(user, turnId)), ({ calls, places }) => ({ calls, places })),
      renew: (ids) => dieOnSql(Effect.flatMap(renew({ ids }), decodeRenewed)),
      flush: (parts) => {
        if (parts.length === 0) return Effect.void
        const rows = parts.map(({ from, text, turnId, user }) => ({ user_id: user, id: turnId, part: from, text }))
        return Effect.asVoid(dieOnSql(insertParts({ parts: JSON.stringify(rows) })))
      },
      sweep: dieOnSql(
        Effect.iterate(
          { ended: Arr.empty<ExistingTurn>(), more: true },
          {
            while: ({ more }) => more,
            body: ({ ended }) =>
              Effect.map(finishTurn.lapse(sql``), (lapsed) => ({
                ended: [...ended, ...lapsed],
                more: lapsed.length === FinishTurn.batch
              }))
          }
        ).pipe(Effect.map(({ ended }) => ended))
      ),
      find: (user, turnId) => Span.withSpan("Turns.find")(dieOnSql(find(user, turnId))),
      requestCancel: Effect.fn("Turns.requestCancel")((user, turnId) =>
        sql`
          UPDATE turns t SET cancel_requested_at = coalesce(t.cancel_requested_at, now())
          FROM conversations c
          WHERE t.user_id = ${user} AND t.id = ${turnId} AND t.status = 'running'
            AND c.user_id = t.user_id AND c.id = t.conversation_id AND c.deleted_at IS NULL
          RETURNING t.id`.pipe(
          Effect.flatMap((rows) =>
            rows.length > 0
              ? Effect.succeed<TurnStatus>("running")
              : Effect.map(find(user, turnId), ({ turn }) => turn.status)
          ),
          dieOnSql
        )
      ),
      watch: (user, turnId) =>
        sql`
          UPDATE turns SET watched_until = now() + interval '10 seconds'
          WHERE user_id = ${user} AND id = ${turnId} AND status = 'running'`.pipe(dieOnSql, Effect.asVoid),
      undo: Effect.fn("Turns.undo")((user, turnId, revert) =>
        Effect.gen(function* () {
          const [row] = yield* sql`
            SELECT t.status, t.reverted FROM turns t
            JOIN conversations c ON c.user_id = t.user_id AND c.id = t.conversation_id AND c.deleted_at IS NULL
            WHERE t.user_id = ${user} AND t.id = ${turnId} FOR UPDATE OF t`.pipe(Effect.flatMap(decodeUndone))
          if (row === undefined) return yield* new TurnNotFound()
          if (row.status === "running") return yield* new TurnInProgress({ turnId, retryAfter: 1 })
          if (row.reverted !== null) return row.reverted
          const reverted = yield* revert
          yield* sql`
            UPDATE turns SET reverted = ${encodeReverted(reverted)}::jsonb WHERE user_id = ${user} AND id = ${turnId}`
          return reverted
        }).pipe(sql.withTransaction, dieOnSql)
      ),
      prune: dieOnSql(Effect.zipRight(beginTurn.prune, finishTurn.forget))
    })
  })
