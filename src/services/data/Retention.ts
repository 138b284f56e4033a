import { SqlClient } from "@effect/sql"
import { Duration, Effect, Layer, Option, Schedule, Schema } from "effect"
import * as UserTables from "./UserTables.ts"

export interface Options {
  /** How long a conversation without new messages is kept; for ever when absent. */
  readonly conversations?: Duration.Duration | undefined
  /** How long deleted data stays in the database. */
  readonly deleted: Duration.Duration
}

/** Tables whose rows are first marked as deleted. */
const roots = ["conversations", "messages", "tasks"] as const

/** Any number that nothing else locks. */
const lock = 7_303_011_021

const Page = Schema.Array(Schema.Struct({ user: Schema.Int, id: Schema.Int }))
const decodePage = Schema.decodeUnknown(Page)

const ago = (duration: Duration.Duration) => `${Duration.toMillis(duration)} milliseconds`

/**
 * Once an hour, removes conversations that are too old, and data that was deleted long enough ago, with all rows that
 * belong to it. In steps of at most 1,000 rows, each in its own transaction, and never on two nodes at a time. After
 * midnight UTC, removes the erased users' usage of the past day.
 */
export const layer = (options: Options): Layer.Layer<never, never, SqlClient.SqlClient> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`DELETE FROM erased_usage WHERE day < (now() AT TIME ZONE 'UTC')::date`.pipe(
        Effect.catchAll(() => Effect.logDebug("What erased users spent yesterday is removed later")),
        Effect.repeat(Schedule.spaced("1 minute")),
        Effect.forkScoped
      )
      yield* pass(sql, options).pipe(
        Effect.tap((removed) =>
          removed > 0 ? Effect.annotateLogs(Effect.logInfo("Expired data was deleted"), { rows: removed }) : Effect.void
        ),
        Effect.catchAllCause((cause) => Effect.logWarning("Expired data could not be deleted", cause)),
        Effect.repeat(Schedule.spaced("1 hour")),
        Effect.provideService(SqlClient.SqlClient, sql),
        Effect.forkScoped
      )
    })
  )

/** Removes all that is due, and returns the number of rows. */
const pass = (sql: SqlClient.SqlClient, options: Options) =>
  Effect.gen(function* () {
    const tables = yield* UserTables.all
    let removed = 0

    /** Deletes in steps; returns whether nothing is left, and not whether another node is doing it. */
    const deleteAll = <E, R>(step: Effect.Effect<number, E, R>) =>
      alone(sql, step).pipe(
        Effect.tap((count) => {
          removed += Option.getOrElse(count, () => 0)
        }),
        Effect.repeat({ while: (count) => Option.isSome(count) && count.value === UserTables.maxRows })
      )

    if (options.conversations !== undefined) yield* expire(sql, options.conversations)
    for (const root of roots) {
      const table = tables.find(({ name }) => name === root)
      if (table === undefined) continue
      const isDue = (alias: string) => dueOf(sql, table, alias, options.deleted)
      const belonging = UserTables.belongingTo(sql, tables, root)
      const removeSome = Effect.gen(function* () {
        for (const [one, joins] of belonging) {
          yield* deleteAll(UserTables.deleteSome(sql, one, joins, isDue("root")))
        }
        return yield* alone(sql, UserTables.deleteSome(sql, table, sql``, isDue("t")))
      })
      yield* removeSome.pipe(
        Effect.tap((count) => {
          removed += Option.getOrElse(count, () => 0)
        }),
        Effect.repeat({ while: (count) => Option.isSome(count) && count.value > 0 })
      )
    }
    return removed
  })

/** Runs a step in its own transaction; none if another node is doing it. */
const alone = <A, E, R>(sql: SqlClient.SqlClient, step: Effect.Effect<A, E, R>) =>
  sql.withTransaction(
    Effect.flatMap(sql`SELECT WHERE pg_try_advisory_xact_lock(${lock})`, ({ length }) =>
      length === 0 ? Effect.succeedNone : Effect.asSome(step)
    )
  )

/** Whether a row is one of the first that are due. A conversation waits for its turn to end. */
const dueOf = (
  sql: SqlClient.SqlClient,
  { key, name }: UserTables.UserTable,
  alias: string,
  after: Duration.Duration
) => {
  const columns = (of: string) => sql.literal(key.map((column) => `${of}.${column}`).join(", "))
  const isAtRest =
    name === "conversations"
      ? sql`AND NOT EXISTS (
          SELECT FROM turns r WHERE r.user_id = d.user_id AND r.conversation_id = d.id AND r.status = 'running'
        )`
      : sql``
  return sql`(${columns(alias)}) IN (
    SELECT ${columns("d")} FROM ${sql(name)} d
    WHERE d.deleted_at < now() - ${ago(after)}::interval ${isAtRest}
    ORDER BY d.deleted_at
    LIMIT ${UserTables.maxRows}
  )`
}

/**
 * Marks old conversations as deleted long ago, so that they are no longer shown. Scans them in the order of their key: an
 * index by time would cost every message more than this.
 */
const expire = (sql: SqlClient.SqlClient, after: Duration.Duration) =>
  Effect.gen(function* () {
    let from: (typeof Page.Type)[number] | undefined = { user: 0, id: 0 }
    while (from !== undefined) {
      const page: Option.Option<typeof Page.Type> = yield* alone(
        sql,
        Effect.flatMap(
          sql`
            WITH page AS (
              SELECT user_id, id FROM conversations
              WHERE (user_id, id) > (${from.user}::bigint, ${from.id}::bigint)
              ORDER BY user_id, id
              LIMIT ${UserTables.maxRows}
            ), expired AS (
              UPDATE conversations c SET deleted_at = 'epoch'
              FROM page
              WHERE c.user_id = page.user_id AND c.id = page.id AND c.updated_at < now() - ${ago(after)}::interval
                AND c.deleted_at IS DISTINCT FROM 'epoch'
                AND NOT EXISTS (
                  SELECT FROM turns t WHERE t.user_id = c.user_id AND t.conversation_id = c.id AND t.status = 'running'
                )
            )
            SELECT user_id AS "user", id FROM page ORDER BY user_id DESC, id DESC LIMIT 1`,
          decodePage
        )
      )
      from = Option.getOrUndefined(page)?.[0]
    }
  })
