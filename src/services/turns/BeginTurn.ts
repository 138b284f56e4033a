import type { SqlClient, Statement } from "@effect/sql"
import { Cause, Clock, Effect, Either } from "effect"
import { v7 } from "uuid"
import { defaultMaxOutputTokens } from "../../domain/Agent.ts"
import { messageOf } from "../../domain/Approval.ts"
import { TurnId } from "../../domain/Id.ts"
import {
  BudgetExhausted,
  type IdempotencyKeyReused,
  keyLifetime,
  noUsage,
  TooManyTurns,
  TurnInProgress,
  TurnNotFound
} from "../../domain/Turn.ts"
import { violated } from "../../sql/SqlErrors.ts"
import type { Budget } from "../access/Budgets.ts"
import type { TurnArchive } from "./FinishTurn.ts"
import * as InsertTurn from "./InsertTurn.ts"
import * as TurnRefusals from "./TurnRefusals.ts"
import { nothing } from "./TurnRefusals.ts"
import { type Failure, isSqlError } from "./TurnRows.ts"
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

/** Begins turns or refuses them, and finds the turn of a repeated request by its Idempotency-Key. */
export const make = (
  sql: SqlClient.SqlClient,
  node: string,
  lease: Statement.Fragment,
  options: TurnsOptions,
  { lapse }: Pick<TurnArchive, "lapse">,
  budget: Budget | undefined
) => {
  const insertTurn = InsertTurn.make(sql, node, lease, options)
  const refusals = TurnRefusals.make(sql, options, budget)
  const { approvedBy, askedFor, budgetRefusal, decidedBy, existing, refusalOf, running } = refusals

  /**
   * With a decision the approved calls run in the same transaction, which the caller begins: both commit, or neither does.
   */
  const insertDeciding = (request: TurnRequest, turnId: TurnId, decides: InsertTurn.Decides, runHeld: RunHeld) =>
    Effect.gen(function* () {
      const turn = yield* insertTurn({ ...request, timeZone: decides.timeZone }, turnId, decides)
      if (turn === undefined) return undefined
      // The budget is checked before the calls run and reserved after them: as in any turn, tasks are locked before the
      // usage.
      yield* budgetRefusal(request.user)
      const { decision, held } = decides
      const calls = decision === "approved" ? yield* runHeld(turn, held) : []
      return { ...turn, decided: { decision, calls } }
    })

  /** Inserts the turn and its budget's reservation: both, or neither. */
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

  const insertWhole = (
    request: TurnRequest,
    turnId: TurnId,
    decides: InsertTurn.Decides | null,
    options: BeginOptions
  ) => {
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
    decides: Effect.Effect<InsertTurn.Decides | null, E>,
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
          // Another decision or turn may just have closed the approval.
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
      // Another request has just taken or freed the slot, the conversation or the key.
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

  const forgetKeys = (filter: Statement.Fragment) =>
    sql`DELETE FROM idempotency_keys WHERE created_at <= now() - ${keyLifetime}::interval ${filter}`

  const { decisionRefusal, refusal } = refusals
  return { begin, decide, refusal, decisionRefusal, prune: forgetKeys(sql``) }
}

interface BeginOptions {
  readonly runHeld?: RunHeld | undefined
  readonly estimate?: Estimate | undefined
}

const defaultEstimate: Estimate = () => defaultMaxOutputTokens

const noneHeld: RunHeld = () => Effect.succeed([])

const notFound = () => new TurnNotFound()

/** A turn that loses this many races in a row is refused. */
const maxTries = 50
