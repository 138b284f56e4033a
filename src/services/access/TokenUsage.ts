import { SqlClient } from "@effect/sql"
import { Context, DateTime, Effect, Layer, Schema } from "effect"
import type { UserId } from "../../domain/Id.ts"
import type { Usage } from "../../domain/Turn.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"

/** What users have cost: the tokens of their turns. */
export class TokenUsage extends Context.Tag("taskchat/services/TokenUsage")<
  TokenUsage,
  {
    /** Of the ended turns that the user has begun since midnight in UTC. */
    readonly today: (user: UserId) => Effect.Effect<Usage>
  }
>() {
  static readonly layer: Layer.Layer<TokenUsage, never, SqlClient.SqlClient> = Layer.effect(
    TokenUsage,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const sum = PreparedStatement.make<{ user: UserId; first: string }>(
        sql,
        ({ first, user }) => sql`
          SELECT coalesce(sum(input_tokens), 0)::bigint AS "inputTokens",
            coalesce(sum(output_tokens), 0)::bigint AS "outputTokens"
          FROM turns
          WHERE user_id = ${user} AND id >= ${first}::uuid`
      )
      return TokenUsage.of({
        today: Effect.fn("TokenUsage.today")(function* (user) {
          const midnight = DateTime.startOf(yield* DateTime.now, "day")
          const [row] = yield* decodeRows(yield* sum({ user, first: firstIdAt(midnight) }))
          return row
        }, Effect.orDie)
      })
    })
  )
}

const decodeRows = Schema.decodeUnknown(
  Schema.NonEmptyArray(Schema.Struct({ inputTokens: Schema.Int, outputTokens: Schema.Int }))
)

/** Ids of turns are UUIDv7, which begin with the time. */
const firstIdAt = (time: DateTime.DateTime) => {
  const millis = DateTime.toEpochMillis(time).toString(16).padStart(12, "0")
  return `${millis.slice(0, 8)}-${millis.slice(8)}-0000-0000-000000000000`
}
