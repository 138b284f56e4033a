import { Migrator, SqlClient, type SqlError } from "@effect/sql"
import { Effect, Option } from "effect"
import conversations from "./migrations/0001_conversations.ts"
import tasks from "./migrations/0002_tasks.ts"
import taskSeries from "./migrations/0003_task_series.ts"
import identities from "./migrations/0004_identities.ts"
import taskSearch from "./migrations/0005_task_search.ts"
import models from "./migrations/0006_models.ts"
import taskTexts from "./migrations/0007_task_texts.ts"
import turnLost from "./migrations/0008_turn_lost.ts"
import usage from "./migrations/0009_usage.ts"
import erasures from "./migrations/0010_erasures.ts"
import approvals from "./migrations/0011_approvals.ts"
import totals from "./migrations/0012_totals.ts"

/** One file each, never edited once released. */
const loader = Migrator.fromRecord({
  "0001_conversations": conversations,
  "0002_tasks": tasks,
  "0003_task_series": taskSeries,
  "0004_identities": identities,
  "0005_task_search": taskSearch,
  "0006_models": models,
  "0007_task_texts": taskTexts,
  "0008_turn_lost": turnLost,
  "0009_usage": usage,
  "0010_erasures": erasures,
  "0011_approvals": approvals,
  "0012_totals": totals
})

/** Not the library's default name, so that an embedding application can have its own migrations. */
const table = "taskchat_migrations"

/** An arbitrary lock number that nothing else uses. */
const lock = 7_303_011_020

/** Runs all missing migrations or none. Nodes that start at once wait for the first one. */
export const run: Effect.Effect<
  ReadonlyArray<readonly [id: number, name: string]>,
  Migrator.MigrationError | SqlError.SqlError,
  SqlClient.SqlClient
> = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [server] = yield* sql<{ readonly version: string; readonly old: boolean }>`
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer < 140000 AS old`
  if (server?.old) {
    return yield* new Migrator.MigrationError({
      reason: "bad-state",
      message: `PostgreSQL 14 or later is needed; this is ${server.version}`
    })
  }
  return yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`SET LOCAL statement_timeout = 0`
      yield* sql`SELECT pg_advisory_xact_lock(${lock})`
      // The migrator would create the table after an error, which aborts a transaction.
      yield* sql`
        CREATE TABLE IF NOT EXISTS ${sql(table)} (
          migration_id integer PRIMARY KEY,
          created_at timestamptz NOT NULL DEFAULT now(),
          name text NOT NULL
        )`
      return yield* Migrator.make({})({ loader, table })
    })
  )
}).pipe(
  // The migrator reports a failing migration as a defect.
  Effect.catchSomeDefect((defect) =>
    defect instanceof Migrator.MigrationError ? Option.some(Effect.fail(defect)) : Option.none()
  ),
  Effect.withSpan("Migrations.run")
)
