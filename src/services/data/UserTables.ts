import { SqlClient, type SqlError, type Statement } from "@effect/sql"
import { Effect, type ParseResult, Schema } from "effect"
import type { UserId } from "../../domain/Id.ts"

/** A foreign key: the columns of a table that hold the values of another's columns. */
interface Reference {
  readonly to: string
  readonly columns: ReadonlyArray<readonly [own: string, other: string]>
}

/** A table with rows of users, from the database's catalogue. */
export interface UserTable {
  readonly name: string
  readonly key: ReadonlyArray<string>
  readonly references: ReadonlyArray<Reference>
}

/** The most rows that one statement deletes. */
export const maxRows = 1000

const Tables = Schema.Array(
  Schema.Struct({
    name: Schema.String,
    key: Schema.Array(Schema.String),
    references: Schema.Array(
      Schema.Struct({ to: Schema.String, columns: Schema.Array(Schema.Tuple(Schema.String, Schema.String)) })
    )
  })
)
const decodeTables = Schema.decodeUnknown(Tables)
const decodeCount = Schema.decodeUnknown(Schema.NonEmptyArray(Schema.Struct({ count: Schema.Int })))

type Failure = SqlError.SqlError | ParseResult.ParseError

/**
 * Every table with a user's id except `erasures`, from the catalogue, so that none is forgotten. Referring tables come
 * before those they refer to, and `identities`, which finds a user, last.
 */
export const all: Effect.Effect<ReadonlyArray<UserTable>, Failure, SqlClient.SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const named = (keys: string, of: string) =>
    sql.literal(`
    SELECT attribute.attname::text FROM unnest(${keys}) WITH ORDINALITY AS part (number, place)
    JOIN pg_attribute AS attribute ON attribute.attrelid = ${of} AND attribute.attnum = part.number ORDER BY part.place`)
  const tables = yield* Effect.flatMap(
    sql`
      SELECT class.relname AS name,
        ARRAY(${named("keys.conkey", "class.oid")}) AS key,
        (
          SELECT coalesce(json_agg(json_build_object('to', other.relname, 'columns', (
            SELECT json_agg(json_build_array(own_name, other_name)) FROM unnest(
              ARRAY(${named("reference.conkey", "reference.conrelid")}),
              ARRAY(${named("reference.confkey", "reference.confrelid")})
            ) AS pair (own_name, other_name)
          ))), '[]')
          FROM pg_constraint AS reference JOIN pg_class AS other ON other.oid = reference.confrelid
          WHERE reference.conrelid = class.oid AND reference.contype = 'f' AND reference.conparentid = 0
        ) AS references
      FROM pg_attribute AS attribute
      JOIN pg_class AS class ON class.oid = attribute.attrelid
      JOIN pg_constraint AS keys ON keys.conrelid = class.oid AND keys.contype = 'p'
      WHERE attribute.attname = 'user_id' AND NOT attribute.attisdropped
        AND class.relkind IN ('r', 'p') AND NOT class.relispartition
        AND class.relnamespace = current_schema()::regnamespace AND class.relname <> 'erasures'
      ORDER BY class.relname = 'identities', class.relname`,
    decodeTables
  )
  return inOrder(tables)
})

const inOrder = (tables: ReadonlyArray<UserTable>): ReadonlyArray<UserTable> => {
  const isFirst = ({ name }: UserTable) =>
    !tables.some((other) => other.name !== name && other.references.some(({ to }) => to === name))
  const first = tables.filter(isFirst)
  const rest = tables.filter((table) => !isFirst(table))
  return first.length === 0 ? rest : [...first, ...inOrder(rest)]
}

/** Deletes at most `maxRows` rows `t` of a table that match `where`; returns the number. */
export const deleteSome = (
  sql: SqlClient.SqlClient,
  { key, name }: UserTable,
  joins: Statement.Fragment,
  where: Statement.Fragment
): Effect.Effect<number, Failure> => {
  const columns = (of: string) => sql.literal(key.map((column) => `${of}.${quoted(column)}`).join(", "))
  return sql`
    WITH due AS (
      SELECT ${columns("t")} FROM ${sql(name)} t ${joins} WHERE ${where} LIMIT ${maxRows} FOR UPDATE OF t SKIP LOCKED
    ), gone AS (
      DELETE FROM ${sql(name)} t USING due WHERE (${columns("t")}) = (${columns("due")}) RETURNING 1
    )
    SELECT count(*) AS count FROM gone`.pipe(
    Effect.flatMap(decodeCount),
    Effect.map(([{ count }]) => count)
  )
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`

/** Deletes at most `maxRows` rows of a user in one table. */
export const deleteOf = (sql: SqlClient.SqlClient, table: UserTable, user: UserId) =>
  table.name === "usage_days" ? deleteUsage(sql, user) : deleteSome(sql, table, sql``, sql`t.user_id = ${user}`)

/** Keeps today's usage until midnight under an anonymous key, so that erasing does not refill a budget. */
const deleteUsage = (sql: SqlClient.SqlClient, user: UserId): Effect.Effect<number, Failure> =>
  sql`
    WITH due AS (
      SELECT user_id, day FROM usage_days WHERE user_id = ${user} LIMIT ${maxRows} FOR UPDATE
    ), gone AS (
      DELETE FROM usage_days d USING due WHERE d.user_id = due.user_id AND d.day = due.day RETURNING d.*
    ), kept AS (
      INSERT INTO erased_usage AS e (identity_hash, day, tokens)
      SELECT identity_hash(user_id), day, input_tokens + output_tokens + estimated_tokens + reserved_tokens
      FROM gone WHERE day >= (now() AT TIME ZONE 'UTC')::date
      ON CONFLICT (identity_hash, day) DO UPDATE SET tokens = e.tokens + excluded.tokens
    )
    SELECT count(*) AS count FROM gone`.pipe(
    Effect.flatMap(decodeCount),
    Effect.map(([{ count }]) => count)
  )

/** Whether any table has a row of the user. */
export const hasAny = (sql: SqlClient.SqlClient, tables: ReadonlyArray<UserTable>, user: UserId) =>
  sql.or(tables.map(({ name }) => sql`EXISTS (SELECT FROM ${sql(name)} WHERE user_id = ${user})`))

/** The tables whose rows belong to rows of `root`, each with the joins from its row `t` to `root`. */
export const belongingTo = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<UserTable>,
  root: string
): ReadonlyArray<readonly [UserTable, Statement.Fragment]> =>
  tables.flatMap((table) => {
    const joins = pathTo(tables, table, "t", root)
    return joins === undefined ? [] : [[table, sql.literal(joins)] as const]
  })

const pathTo = (
  tables: ReadonlyArray<UserTable>,
  { references }: UserTable,
  alias: string,
  root: string
): string | undefined => {
  for (const { columns, to } of references) {
    const other = to === root ? "root" : `${alias}_`
    const join = `JOIN ${quoted(to)} ${other} ON ${columns
      .map(([own, others]) => `${other}.${quoted(others)} = ${alias}.${quoted(own)}`)
      .join(" AND ")}`
    if (to === root) return join
    const next = tables.find(({ name }) => name === to)
    const rest = next && pathTo(tables, next, other, root)
    if (rest !== undefined) return `${join} ${rest}`
  }
  return undefined
}
