import { SqlClient } from "@effect/sql"
import { Clock, Context, DateTime, Effect, Layer, Option, Schema } from "effect"
import type { TurnId, UserId } from "../../domain/Id.ts"
import { BudgetExhausted, type Usage } from "../../domain/Turn.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { dieOnSql } from "../../sql/SqlErrors.ts"
import type { TurnKey } from "../turns/TurnTypes.ts"

/** A user's budget and what is left of it, in tokens or the budget's own unit. */
export interface Allowance {
  readonly limit: number
  /** What is neither used nor reserved; at least 0. */
  readonly remaining: number
  /** When the budget is renewed. */
  readonly resetsAt: DateTime.Utc
}

/** A limit on spending. `reserve` decides whether a turn begins, `goOn` whether it takes another step. */
export interface Budget {
  readonly allowance: (user: UserId) => Effect.Effect<Allowance>
  /**
   * Reserves the rest of the budget, at most `estimate` tokens, for a turn, which begins if this succeeds. Runs in the
   * transaction that begins the turn, after all other checks. Must not give the same tokens to two concurrent turns.
   */
  readonly reserve: (turn: TurnKey, estimate: number) => Effect.Effect<void, BudgetExhausted>
  /** Called before each further step: the turn's cost so far replaces its reservation. */
  readonly goOn: (turn: TurnKey, used: Usage) => Effect.Effect<void, BudgetExhausted>
  /**
   * Called with the cost of a turn that has ended, or did not begin after all. May be called more than once, or never if
   * the node dies at that moment.
   */
  readonly settle: (turn: TurnKey, used: Usage) => Effect.Effect<void>
}

/** The limit on spending; none by default. */
export class Budgets extends Context.Reference<Budgets>()("taskchat/services/Budgets", {
  defaultValue: (): Option.Option<Budget> => Option.none()
}) {
  /**
   * Limits the input and output tokens of each user's turns per UTC day, over all nodes that share the database. The cost
   * of a running turn is in its row, as `Turns` records it, and after its end in the day's row.
   */
  static readonly layer = (options: {
    readonly tokensPerDay: number
  }): Layer.Layer<Budgets, never, SqlClient.SqlClient> =>
    Layer.effect(Budgets, Effect.asSome(make(options.tokensPerDay)))
}

const make = (limit: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient

    // Concurrent reservations wait for the lock on the day's row, so the second sees the first. The usage of an erased
    // user's account also counts.
    const reserve = PreparedStatement.make<{ user: UserId; turnId: TurnId; estimate: number }>(
      sql,
      (p) => sql`
        WITH day AS (
          INSERT INTO usage_days AS d (user_id, day) VALUES (${p.user}, turn_day(${p.turnId}::uuid))
          ON CONFLICT (user_id, day) DO UPDATE SET reserved_tokens = d.reserved_tokens
          RETURNING d.input_tokens + d.output_tokens + d.estimated_tokens + d.reserved_tokens + coalesce((
            SELECT e.tokens FROM erased_usage e
            WHERE e.identity_hash = identity_hash(d.user_id) AND e.day = d.day
          ), 0) AS used
        )
        UPDATE turns t SET reserved_tokens = least(${p.estimate}::integer, ${limit} - day.used)
        FROM day
        WHERE t.user_id = ${p.user} AND t.id = ${p.turnId} AND day.used < ${limit}
        RETURNING t.reserved_tokens AS reserved`
    )

    const select = PreparedStatement.make<{ user: UserId; day: string }>(
      sql,
      ({ day, user }) => sql`
        SELECT (coalesce((
          SELECT d.input_tokens + d.output_tokens + d.estimated_tokens + d.reserved_tokens FROM usage_days d
          WHERE d.user_id = ${user} AND d.day = ${day}::date
        ), 0) + coalesce((
          SELECT e.tokens FROM erased_usage e WHERE e.identity_hash = identity_hash(${user}::bigint) AND e.day = ${day}::date
        ), 0))::bigint AS used`
    )

    const leftOn = (user: UserId, time: DateTime.Utc) =>
      Effect.map(
        Effect.flatMap(select({ user, day: DateTime.formatIsoDateUtc(time) }), decodeUsed),
        ([{ used }]) => limit - used
      )

    return {
      allowance: Effect.fn("Budgets.allowance")((user) =>
        Effect.gen(function* () {
          const now = yield* DateTime.now
          return { limit, remaining: Math.max(0, yield* leftOn(user, now)), resetsAt: endOfDay(now) }
        }).pipe(dieOnSql)
      ),
      reserve: Effect.fn("Budgets.reserve")((turn, estimate) =>
        dieOnSql(reserve({ user: turn.user, turnId: turn.turnId, estimate: Math.min(estimate, maxInteger) })).pipe(
          Effect.flatMap(({ length }) => (length === 0 ? exhausted(turn.turnId) : Effect.void))
        )
      ),
      // Each cost was committed before this check, so of two turns that use up the rest at once, at least one notices.
      goOn: Effect.fn("Budgets.goOn")(({ turnId, user }) =>
        dieOnSql(leftOn(user, beganAt(turnId))).pipe(
          Effect.flatMap((left) => (left > 0 ? Effect.void : exhausted(turnId)))
        )
      ),
      settle: () => Effect.void
    } satisfies Budget
  })

const decodeUsed = Schema.decodeUnknown(Schema.Tuple(Schema.Struct({ used: Schema.Int })))

const endOfDay = (time: DateTime.Utc) => DateTime.add(DateTime.startOf(time, "day"), { days: 1 })

/** When a turn began, from its UUIDv7. */
const beganAt = (turnId: TurnId) => DateTime.unsafeMake(Number.parseInt(turnId.slice(0, 8) + turnId.slice(9, 13), 16))

const exhausted = (turnId: TurnId) => exhaustedUntil(endOfDay(beganAt(turnId)))

/** The time until the budget is renewed. */
export const exhaustedUntil = (resetsAt: DateTime.Utc): Effect.Effect<never, BudgetExhausted> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const left = DateTime.toEpochMillis(resetsAt) - now
    return new BudgetExhausted({ retryAfter: Math.max(1, Math.ceil(left / 1000)) })
  })

const maxInteger = 2_147_483_647
