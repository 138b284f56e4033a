import { SqlClient } from "@effect/sql"
import { Context, DateTime, Effect, Layer, Option, Schema } from "effect"
import { UserId } from "../../domain/Id.ts"
import { noUsage, type Usage } from "../../domain/Turn.ts"
import { everyDay, UsageDay, type UsageRange } from "../../domain/UsageDay.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { dieOnSql } from "../../sql/SqlErrors.ts"
import { usageOf } from "../turns/TurnRows.ts"
import { Budgets } from "./Budgets.ts"

export interface UsageReport {
  /** All of them, earliest first. */
  readonly days: ReadonlyArray<UsageDay>
  /** The day's budget, and what is neither used nor reserved of it; null without a budget. */
  readonly limit: number | null
  readonly remaining: number | null
}

/** A user's cost in a period. */
export interface UsageTotal {
  readonly user: UserId
  readonly turns: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly estimatedTokens: number
}

/** The cost of users: the tokens of their ended turns, by the UTC day on which these began. */
export class TokenUsage extends Context.Tag("taskchat/services/TokenUsage")<
  TokenUsage,
  {
    readonly today: (user: UserId) => Effect.Effect<Usage>
    readonly report: (user: UserId, range: UsageRange) => Effect.Effect<UsageReport>
    /** Every user with a turn, the highest cost first. */
    readonly totals: (range: UsageRange) => Effect.Effect<ReadonlyArray<UsageTotal>>
  }
>() {
  static readonly layer: Layer.Layer<TokenUsage, never, SqlClient.SqlClient> = Layer.effect(
    TokenUsage,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const budget = Option.getOrUndefined(yield* Budgets)

      const today = PreparedStatement.make<{ user: UserId; day: string }>(
        sql,
        ({ day, user }) => sql`
          SELECT input_tokens AS "inputTokens", output_tokens AS "outputTokens", estimated_tokens AS "estimatedTokens"
          FROM usage_days WHERE user_id = ${user} AND day = ${day}::date`
      )
      const days = PreparedStatement.make<{ user: UserId; from: string; to: string }>(
        sql,
        ({ from, to, user }) => sql`
          SELECT d.day::text AS date, d.input_tokens, d.output_tokens, d.estimated_tokens,
            json_build_object('completed', d.completed, 'failed', d.failed, 'timed_out', d.timed_out,
              'cancelled', d.cancelled, 'interrupted', d.interrupted) AS turns,
            (
              SELECT coalesce(json_agg(json_build_object('model', m.model, 'input_tokens', m.input_tokens,
                'output_tokens', m.output_tokens) ORDER BY m.model), '[]')
              FROM usage_models m WHERE m.user_id = d.user_id AND m.day = d.day
            ) AS models
          FROM usage_days d
          WHERE d.user_id = ${user} AND d.day BETWEEN ${from}::date AND ${to}::date`
      )

      return TokenUsage.of({
        today: Effect.fn("TokenUsage.today")(function* (user) {
          const day = DateTime.formatIsoDateUtc(yield* DateTime.now)
          const [row] = yield* decodeToday(yield* today({ user, day }))
          return row === undefined ? noUsage : usageOf(row)
        }, dieOnSql),
        report: Effect.fn("TokenUsage.report")(function* (user, range) {
          const known = yield* decodeDays(yield* days({ user, ...datesOf(range) }))
          const allowance = budget === undefined ? undefined : yield* budget.allowance(user)
          return {
            days: everyDay(range, known),
            limit: allowance?.limit ?? null,
            remaining: allowance?.remaining ?? null
          }
        }, dieOnSql),
        totals: Effect.fn("TokenUsage.totals")(function* (range) {
          const { from, to } = datesOf(range)
          return yield* decodeTotals(
            yield* sql`
              SELECT user_id AS "user", sum(completed + failed + timed_out + cancelled + interrupted)::bigint AS turns,
                sum(input_tokens)::bigint AS "inputTokens", sum(output_tokens)::bigint AS "outputTokens",
                sum(estimated_tokens)::bigint AS "estimatedTokens"
              FROM usage_days WHERE day BETWEEN ${from}::date AND ${to}::date
              GROUP BY user_id
              ORDER BY sum(input_tokens + output_tokens + estimated_tokens) DESC, user_id`
          )
        }, dieOnSql)
      })
    })
  )
}

const datesOf = ({ from, to }: UsageRange) => ({
  from: DateTime.formatIsoDateUtc(from),
  to: DateTime.formatIsoDateUtc(to)
})

const tokens = { inputTokens: Schema.Int, outputTokens: Schema.Int, estimatedTokens: Schema.Int }

const decodeToday = Schema.decodeUnknown(Schema.Array(Schema.Struct(tokens)))
const decodeDays = Schema.decodeUnknown(Schema.Array(UsageDay))
const decodeTotals = Schema.decodeUnknown(Schema.Array(Schema.Struct({ user: UserId, turns: Schema.Int, ...tokens })))
