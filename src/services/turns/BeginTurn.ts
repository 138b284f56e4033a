import type { SqlClient, Statement } from "@effect/sql"
import { Cause, Clock, DateTime, Effect, Either } from "effect"
import { v7 } from "uuid"
import { ApprovalClosed, type Decision, type Held, isApproval, messageOf } from "../../domain/Approval.ts"
import { ConversationForbidden, ConversationNotFound, titleFrom } from "../../domain/Conversation.ts"
import { type ConversationId, TurnId, type UserId } from "../../domain/Id.ts"
import {
  BudgetExhausted,
  IdempotencyKeyReused,
  keyLifetime,
  noUsage,
  TooManyTurns,
  TurnInProgress,
  TurnNotFound
} from "../../domain/Turn.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { violated } from "../../sql/SqlErrors.ts"
import type { Budget } from "../access/Budgets.ts"
import type { TurnArchive } from "./FinishTurn.ts"
import {
  type Asked,
  decodeAsked,
  decodeBegun,
  decodeHasPlace,
  decodeHistory,
  decodeIds,
  decodeKey,
  decodeOwn,
  type Failure,
  isSqlError
} from "./TurnRows.ts"
import type {
  BegunTurn,
  DecisionRefusal,
  DecisionRequest,
  Estimate,
  ExistingTurn,
  Refusal,
  RunHeld,
  TurnRequest,
  TurnsOptions
} from "./TurnTypes.ts"

/** Begins turns, or says why not, and finds the turn of a request that comes again with its Idempotency-Key. */
export const make = (
  sql: SqlClient.SqlClient,
  node: string,
  lease: Statement.Fragment,
  options: TurnsOptions,
  { lapse }: Pick<TurnArchive, "lapse">,
  budget: Budget | undefined
) => {
  /**
   * The conversation's last messages as one JSON value, so that they come along with whatever asks for them. What is decided
   * on has to be among them, with all that is needed to go on.
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

  /** Whether calls of the turn wait: as long as its message is the conversation's last and has not expired. */
  const waits = (turnId: Statement.Fragment) => sql`
    m.user_id = c.user_id AND m.conversation_id = c.id AND m.sequence_number = c.last_sequence_number
      AND m.turn_id = ${turnId} AND m.awaiting IS NOT NULL AND m.deleted_at IS NULL AND m.approval_expires_at > now()`

  // One statement: a place among the user's running turns, the conversation's next number, the turn, its message and
  // key, and what was said before. If there is no place or no such conversation, or what is to be decided does not wait
  // any more, nothing happens and no row comes.
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
          ${decides ? sql`AND EXISTS (SELECT FROM messages m WHERE ${waits(sql`${p.decides}::uuid`)})` : sql``}
        RETURNING c.id, c.last_sequence_number`
      const insertKey = hasKey
        ? sql`, idempotency_key AS (
        INSERT INTO idempotency_keys (user_id, scope, key, request_hash, turn_id)
        SELECT ${p.user}::bigint, ${p.scope}, ${p.key}, ${p.hash}, ${p.turnId}::uuid FROM turn
      )`
        : sql``
      // As they are where nothing is decided.
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

  /** The turn that the request's key stands for, if it was used in the last day. */
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

  /** A turn that held calls back, by its id or as the last one of its conversation. */
  const asked = (by: Statement.Fragment) =>
    sql`
      SELECT t.id AS "turnId", t.conversation_id AS "conversationId", t.time_zone AS "timeZone", t.status,
        (SELECT m.awaiting FROM messages m WHERE ${waits(sql`t.id`)}) AS held
      FROM turns t JOIN conversations c ON c.user_id = t.user_id AND c.id = t.conversation_id AND c.deleted_at IS NULL
      WHERE ${by}`.pipe(
      Effect.flatMap(decodeAsked),
      Effect.map(([row]) => row)
    )

  /** The turn that a message approves, if it can be read so. */
  const approvedBy = ({ conversationId, message, user }: TurnRequest): Effect.Effect<Decides | null, Failure> =>
    conversationId === null || !isApproval(message)
      ? nothing
      : Effect.map(
          asked(sql`
            t.user_id = ${user} AND t.id = (
              SELECT m.turn_id FROM conversations c JOIN messages m ON ${waits(sql`m.turn_id`)}
              WHERE c.user_id = ${user} AND c.id = ${conversationId})`),
          (turn) => (turn?.held == null ? null : { ...turn, held: turn.held, decision: "approved" })
        )

  /** The turn that is decided on, if it still waits for that. */
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

  /** Begins the turn, if nothing stands in the way. */
  const insertTurn = (request: TurnRequest, turnId: TurnId, decides: Decides | null = null) =>
    Effect.flatMap(
      Effect.flatMap(inserted(request, turnId, decides), decodeBegun),
      ([row]): Effect.Effect<BegunTurn | undefined, Failure> => {
        if (row === undefined) return Effect.succeed(undefined)
        const { conversationId, history, sequenceNumber, userMessageId } = row
        const { message, timeZone, user } = request
        const begun = { user, turnId, conversationId, userMessageId, message, timeZone }
        // Having waited for another turn's end, the statement's view is from before it: look again.
        return sequenceNumber > 1 && history.at(-1)?.sequenceNumber !== sequenceNumber - 1
          ? Effect.map(historyBefore(user, conversationId, sequenceNumber), (history) => ({ ...begun, history }))
          : Effect.succeed({ ...begun, history })
      }
    )

  /** With a decision the approved calls run in the same transaction, which the caller begins: both are kept, or neither. */
  const insertDeciding = (request: TurnRequest, turnId: TurnId, decides: Decides, runHeld: RunHeld) =>
    Effect.gen(function* () {
      const turn = yield* insertTurn({ ...request, timeZone: decides.timeZone }, turnId, decides)
      if (turn === undefined) return undefined
      // What is left is looked at before they run, and reserved after: as in any turn, tasks are locked before the usage.
      yield* budgetRefusal(request.user)
      const { decision, held } = decides
      const calls = decision === "approved" ? yield* runHeld(turn, held) : []
      return { ...turn, decided: { decision, calls } }
    })

  /** The turn with what its budget has set aside for it: both, or neither. */
  const withinBudget = <E>(
    { reserve, settle }: Budget,
    inserting: Effect.Effect<BegunTurn | undefined, E>,
    estimate: Estimate
  ) =>
    Effect.suspend(() => {
      let reserved: BegunTurn | undefined
      return inserting.pipe(
        Effect.tap((turn) => {
          if (turn === undefined) return Effect.void
          reserved = turn
          return reserve(turn, estimate(turn))
        }),
        sql.withTransaction,
        Effect.tapErrorCause((cause) =>
          reserved === undefined || (Cause.isFailType(cause) && cause.error instanceof BudgetExhausted)
            ? Effect.void
            : settle(reserved, noUsage)
        )
      )
    })

  const insertWhole = (request: TurnRequest, turnId: TurnId, decides: Decides | null, options: BeginOptions) => {
    const { estimate = defaultEstimate, runHeld = noneHeld } = options
    if (budget === undefined) {
      return decides === null
        ? insertTurn(request, turnId)
        : sql.withTransaction(insertDeciding(request, turnId, decides, runHeld))
    }
    const inserting = decides === null ? insertTurn(request, turnId) : insertDeciding(request, turnId, decides, runHeld)
    return withinBudget<Effect.Effect.Error<typeof inserting>>(budget, inserting, estimate)
  }

  const attempt = <E>(
    request: TurnRequest,
    decides: Effect.Effect<Decides | null, E>,
    options: BeginOptions,
    tries = 0
  ): Effect.Effect<BegunTurn | ExistingTurn, Refusal | IdempotencyKeyReused | Failure | E> =>
    Effect.gen(function* () {
      const turnId = TurnId.make(v7({ msecs: yield* Clock.currentTimeMillis }))
      const decided = decides === nothing ? null : yield* decides
      const begun = yield* Effect.either(insertWhole(request, turnId, decided, options))
      if (Either.isRight(begun) && begun.right !== undefined) return begun.right
      const constraint = Either.isLeft(begun) && isSqlError(begun.left) ? violated(begun.left) : undefined
      if (Either.isLeft(begun) && constraint === undefined) return yield* begun.left
      const first = yield* existing(request)
      if (first !== null) return first
      switch (constraint) {
        case undefined: {
          const refusal = yield* refusalOf(request)
          if (refusal._tag !== "TooManyTurns") return yield* refusal
          const lapsed = yield* lapse(sql`AND t.user_id = ${request.user}`)
          if (lapsed.length > 0) break
          // What was to be decided may have been decided, or overtaken, in that very moment.
          if (decided !== null && (yield* decides) === null) break
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
        case "turns_one_decision":
          break
        default:
          return yield* Effect.dieMessage(`A new turn violated ${constraint}`)
      }
      // The place, the conversation or the key was taken or freed in that very moment.
      if (tries >= maxTries) return yield* new TooManyTurns({ retryAfter: 1 })
      return yield* attempt(request, decides, options, tries + 1)
    })

  const begin = (request: TurnRequest, runHeld?: RunHeld, estimate?: Estimate) =>
    attempt(request, runHeld === undefined ? nothing : approvedBy(request), { runHeld, estimate })

  const decide = (
    request: DecisionRequest,
    runHeld: RunHeld,
    estimate?: Estimate
  ): Effect.Effect<BegunTurn | ExistingTurn, DecisionRefusal | IdempotencyKeyReused | Failure> =>
    Effect.gen(function* () {
      const { key, user } = request
      const [turn, first] = [yield* askedFor(request), yield* existing(request)]
      if (first !== null) return first
      const { conversationId, timeZone } = turn
      const message = messageOf(request.decision)
      return yield* attempt({ user, conversationId, message, timeZone, key }, decidedBy(request), { runHeld, estimate })
    }).pipe(Effect.catchTags({ ConversationNotFound: notFound, ConversationForbidden: notFound }))

  const budgetRefusal = (user: UserId): Effect.Effect<void, BudgetExhausted> =>
    budget === undefined
      ? Effect.void
      : Effect.gen(function* () {
          const { remaining, resetsAt } = yield* budget.allowance(user)
          if (remaining > 0) return
          const left = DateTime.distance(yield* DateTime.now, resetsAt)
          return yield* new BudgetExhausted({ retryAfter: Math.max(1, Math.ceil(left / 1000)) })
        })

  /** Why the user could not begin a turn now, wherever. */
  const userRefusal = (user: UserId): Effect.Effect<void, TooManyTurns | BudgetExhausted | Failure> =>
    Effect.gen(function* () {
      const [{ hasPlace }] = yield* decodeHasPlace(
        yield* sql`
          SELECT count(*) < ${options.maxRunningPerUser} AS "hasPlace" FROM turns
          WHERE user_id = ${user} AND status = 'running'`
      )
      return yield* hasPlace ? budgetRefusal(user) : new TooManyTurns({ retryAfter: 1 })
    })

  /** Why a turn could not begin now, on whichever node. */
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

  const forgetKeys = (filter: Statement.Fragment) =>
    sql`DELETE FROM idempotency_keys WHERE created_at <= now() - ${keyLifetime}::interval ${filter}`

  /** Why a turn could not begin with this decision now, on whichever node. */
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

  return { begin, decide, refusal, decisionRefusal, prune: forgetKeys(sql``) }
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

/** A turn that waits for a decision, and the decision. */
interface Decides extends Asked {
  readonly held: Held
  readonly decision: Decision
}

interface BeginOptions {
  readonly runHeld?: RunHeld | undefined
  readonly estimate?: Estimate | undefined
}

const nothing = Effect.succeed(null)

const defaultEstimate: Estimate = () => 4096

const noneHeld: RunHeld = () => Effect.succeed([])

const notFound = () => new TurnNotFound()

/** A turn that loses so many races in a row is refused. */
const maxTries = 50

const maxInteger = 2147483647
