import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Option, Schema, TestClock } from "effect"
import { UserId } from "../../../src/domain/Id.ts"
import * as UsageTable from "../../../src/server/UsageTable.ts"
import { Turns } from "../../../src/services/turns/Turns.ts"
import type { Outcome, TurnRequest } from "../../../src/services/turns/TurnTypes.ts"
import usage from "../../../src/sql/migrations/0009_usage.ts"
import * as Database from "../../support/Database.ts"

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

const requestOf = (user: UserId): TurnRequest => ({
  user,
  conversationId: null,
  message: "Hello",
  timeZone: "UTC",
  key: null
})

const outcome = (fields: Partial<Outcome> = {}): Outcome => ({
  status: "completed",
  content: "Done.",
  calls: [],
  places: [],
  model: "test:one",
  usage: { inputTokens: 10, outputTokens: 3 },
  error: null,
  retryAfter: null,
  ...fields
})

const newTurns = Effect.map(
  Layer.build(Turns.layer({ historyLimit: 20, maxRunningPerUser: 50, lease: Duration.seconds(15) })),
  Context.get(Turns)
)

const begin = (turns: typeof Turns.Service, user: UserId) =>
  Effect.flatMap(turns.begin(requestOf(user)), (begun) =>
    "history" in begun ? Effect.succeed(begun) : Effect.dieMessage("Not a new turn")
  )

const rows = <A, I>(row: Schema.Schema<A, I>, statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
  Effect.orDie(Effect.flatMap(statement, Schema.decodeUnknown(Schema.Array(row))))

const kept = (user: UserId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const days = yield* rows(
      Schema.Struct({ day: Schema.String, spent: Schema.String, turns: Schema.String }),
      sql`SELECT day::text, concat_ws(' ', input_tokens, output_tokens, estimated_tokens, reserved_tokens) AS spent,
        concat_ws(' ', completed, failed, timed_out, cancelled, interrupted) AS turns
        FROM usage_days WHERE user_id = ${user} ORDER BY day`
    )
    const models = yield* rows(
      Schema.Struct({ day: Schema.String, model: Schema.String, spent: Schema.String }),
      sql`SELECT day::text, model, concat_ws(' ', input_tokens, output_tokens) AS spent
        FROM usage_models WHERE user_id = ${user} ORDER BY day, model`
    )
    return { days, models }
  })

layer(Database.layer)("TokenUsage", (it) => {
  it.scoped("usage counts for the day on which the turn began, by its end and model, and outlives the turn", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const turns = yield* newTurns
      const user = yield* newUser
      yield* TestClock.setTime(Date.UTC(2026, 0, 31, 23, 59))
      const [first, second, third] = [yield* begin(turns, user), yield* begin(turns, user), yield* begin(turns, user)]
      yield* turns.end(first, outcome())
      yield* TestClock.adjust("2 minutes")
      yield* turns.end(second, outcome({ status: "failed", model: null, usage: { inputTokens: 0, outputTokens: 0 } }))
      yield* turns.end(third, outcome({ status: "cancelled", usage: { inputTokens: 5, outputTokens: 0 } }))
      yield* turns.end(yield* begin(turns, user), outcome({ model: "test:two" }))
      yield* turns.end(yield* begin(turns, user), outcome({ model: null }))
      yield* sql`DELETE FROM messages WHERE user_id = ${user}`
      yield* sql`DELETE FROM turns WHERE user_id = ${user}`
      assert.deepStrictEqual(yield* kept(user), {
        days: [
          { day: "2026-01-31", spent: "15 3 0 0", turns: "1 1 0 1 0" },
          { day: "2026-02-01", spent: "20 6 0 0", turns: "2 0 0 0 0" }
        ],
        models: [
          { day: "2026-01-31", model: "test:one", spent: "15 3" },
          { day: "2026-02-01", model: "test:two", spent: "10 3" },
          { day: "2026-02-01", model: "unnamed", spent: "10 3" }
        ]
      })
    })
  )

  it.scoped("`taskchat usage` shows the cost per user, and per day for one user", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2030, 0, 31))
      const turns = yield* newTurns
      const [small, large] = [UserId.make(7), UserId.make(1234)]
      yield* turns.end(yield* begin(turns, small), outcome())
      yield* TestClock.setTime(Date.UTC(2030, 1, 1))
      const usage = { inputTokens: 1000, outputTokens: 200, estimatedTokens: 4500 }
      yield* turns.end(yield* begin(turns, large), outcome({ usage, status: "failed" }))
      yield* turns.end(yield* begin(turns, large), outcome({ model: "test:two" }))
      assert.deepStrictEqual(yield* UsageTable.of({ user: Option.none() }), [
        "user  turns  input  output  estimated",
        "1234      2   1010     203       4500",
        "   7      1     10       3          0"
      ])
      assert.deepStrictEqual(yield* UsageTable.of({ user: Option.some(large) }), [
        "day         turns  input  output  estimated  models",
        "2030-02-01      2   1010     203       4500  test:one, test:two"
      ])
    })
  )

  it.scoped("the migration counts existing turns", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const turns = yield* newTurns
      const user = yield* newUser
      yield* TestClock.setTime(0)
      yield* turns.end(yield* begin(turns, user), outcome())
      yield* turns.end(yield* begin(turns, user), outcome({ model: null, status: "timed_out" }))
      yield* begin(turns, user)
      const before = yield* kept(user)
      assert.deepStrictEqual(before.days, [{ day: "1970-01-01", spent: "20 6 0 0", turns: "1 0 1 0 0" }])
      yield* sql`DROP TRIGGER turns_usage ON turns`
      yield* sql`DROP FUNCTION turns_usage()`
      yield* sql`DROP FUNCTION turn_day(uuid)`
      yield* sql`DROP FUNCTION identity_hash(bigint)`
      yield* sql`DROP TABLE usage_models, usage_days, erased_usage, erased_usage_key`
      yield* sql`ALTER TABLE turns DROP COLUMN estimated_tokens, DROP COLUMN reserved_tokens`
      yield* sql.withTransaction(usage)
      assert.deepStrictEqual(yield* kept(user), before)
    })
  )
})
