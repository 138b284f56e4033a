import { SqlClient, type SqlError } from "@effect/sql"
import { Data, Effect } from "effect"
import type { UserId } from "../../domain/Id.ts"
import type { Identity } from "../../domain/Identity.ts"

/** The source of users' ids: tokens carry them, or the service assigns one to each account. */
export type Mode = "token" | "mapped"

/** The database uses the other mode: all of its users would be taken for others. */
export class OtherUserIds extends Data.TaggedError("OtherUserIds")<{ readonly asked: Mode; readonly kept: Mode }> {
  override get message() {
    const { asked, kept } = this
    return `USER_IDS is "${asked}", but should be "${kept}", with which this database was first started; \`taskchat migrate --user-ids ${asked}\` changes that`
  }
}

/** The account of an existing user. */
export interface Link extends Identity {
  readonly userId: UserId
}

export class CannotChangeUserIds extends Data.TaggedError("CannotChangeUserIds")<{ readonly message: string }> {}

/** Records the mode at a database's first start, and refuses the other one from then on. */
export const keep = (asked: Mode): Effect.Effect<void, OtherUserIds | SqlError.SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ readonly mode: Mode }>`
      INSERT INTO user_ids (mode) VALUES (${asked})
      ON CONFLICT (is_only) DO UPDATE SET is_only = true
      RETURNING mode`
    if (row !== undefined && row.mode !== asked) return yield* new OtherUserIds({ asked, kept: row.mode })
  })

/** Every table with rows of users; their ids must not be assigned again. */
export const tablesOfUsers: Effect.Effect<ReadonlyArray<string>, SqlError.SqlError, SqlClient.SqlClient> = Effect.gen(
  function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql<{ readonly name: string }>`
      SELECT class.relname AS name
      FROM pg_attribute AS attribute JOIN pg_class AS class ON class.oid = attribute.attrelid
      WHERE attribute.attname = 'user_id' AND attribute.atttypid = 'bigint'::regtype AND NOT attribute.attisdropped
        AND class.relkind IN ('r', 'p') AND class.relnamespace = current_schema()::regnamespace
      ORDER BY name`
    return rows.map(({ name }) => name)
  }
)

/**
 * Changes the mode, completely or not at all, and returns the number of users with data but no account. No node may be
 * running. Changing to `mapped` again only adds links; repeating a link is harmless.
 */
export const change = (
  mode: Mode,
  links: ReadonlyArray<Link>
): Effect.Effect<number, CannotChangeUserIds | SqlError.SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    return yield* sql.withTransaction(
      Effect.gen(function* () {
        yield* sql`LOCK TABLE identities, user_ids IN SHARE ROW EXCLUSIVE MODE`
        yield* sql`
          INSERT INTO user_ids (mode) VALUES (${mode}) ON CONFLICT (is_only) DO UPDATE SET mode = excluded.mode`
        if (mode === "token") {
          const [found] = yield* sql`SELECT FROM identities LIMIT 1`
          if (found === undefined) return 0
          return yield* new CannotChangeUserIds({
            message: "Users of this database have ids that it assigned to their accounts, which tokens do not carry"
          })
        }
        yield* Effect.forEach(links, link, { discard: true })
        const tables = yield* tablesOfUsers
        const users = sql.join(
          " UNION ",
          false
        )(tables.filter((table) => table !== "identities").map((table) => sql`SELECT user_id FROM ${sql(table)}`))
        // Ids are assigned in order. This skips the ids that tokens carried, all at once. Ids in the upper half would
        // leave too few, so these are skipped one by one when they come up.
        const [counted] = yield* sql<{ readonly unlinked: number }>`
          WITH users AS MATERIALIZED (${users}), started AS (
            SELECT setval('assigned_user_ids', greatest(max(user_id), (SELECT last_value FROM assigned_user_ids)))
            FROM users WHERE user_id < ${2 ** 52}
          )
          SELECT count(*) AS unlinked, (SELECT * FROM started)
          FROM users WHERE NOT EXISTS (SELECT FROM identities WHERE identities.user_id = users.user_id)`
        return counted?.unlinked ?? 0
      })
    )
  })

const link = ({ issuer, subject, userId }: Link) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ readonly id: number }>`
      INSERT INTO identities (issuer, subject, user_id) VALUES (${issuer}, ${subject}, ${userId})
      ON CONFLICT DO NOTHING
      RETURNING user_id AS id`
    if (row !== undefined) return
    const [known] = yield* sql`
      SELECT FROM identities WHERE issuer = ${issuer} AND subject = ${subject} AND user_id = ${userId}`
    if (known !== undefined) return
    return yield* new CannotChangeUserIds({
      message: `User ${userId} cannot be linked as the file says: the user or the account is linked already, to another one`
    })
  })
