import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as Sql from "../../src/sql/Sql.ts"
import * as PgBouncer from "../support/PgBouncer.ts"
import { freePort } from "../support/Ports.ts"
import * as PostgresServer from "../support/PostgresServer.ts"

/** What a statement answers by way of `url`, or why there is no database. */
const answerOf = (url: URL) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ readonly n: number }>`SELECT ${7}::int AS n`).pipe(
    Effect.map(([row]) => row?.n),
    Effect.provide(Layer.fresh(Sql.layer({ url: Redacted.make(url.href) }))),
    Effect.catchTag("SqlError", ({ cause }) => Effect.succeed(cause instanceof Error ? cause.message : String(cause)))
  )

// Without PgBouncer there is nothing to try it on; `.ci/run` installs it.
describe.runIf(PostgresServer.isInstalled && PgBouncer.isInstalled)("a pooler in between", () => {
  it.scopedLive("is refused at the start in transaction mode, and works in session mode", () =>
    Effect.gen(function* () {
      const url = new URL((yield* PostgresServer.make(yield* freePort)).url)
      assert.strictEqual(yield* answerOf(url), 7)
      assert.strictEqual(yield* answerOf(yield* PgBouncer.make(yield* freePort, url, "session")), 7)
      const shared = yield* PgBouncer.make(yield* freePort, url, "transaction")
      for (let i = 0; i < 5; i++) assert.match(String(yield* answerOf(shared)), /pool in transaction mode/)
    })
  )
})
