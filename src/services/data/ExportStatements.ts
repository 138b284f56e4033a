import type { SqlClient, SqlError, Statement } from "@effect/sql"
import { Effect, type ParseResult, Schema } from "effect"
import type { UserId } from "../../domain/Id.ts"
import * as Json from "../../sql/Json.ts"
import { changeJson, taskJson } from "../tasks/TaskStatements.ts"

/** The export of one table, `t`. */
interface Section {
  readonly table: string
  /** The rest of the table's key, in order, with its types. */
  readonly key: ReadonlyArray<readonly [column: string, type: string]>
  /** The column of a row's creation time, if any. */
  readonly since?: string
  /** JSON of a row. */
  readonly line: Statement.Fragment
}

const time = (column: string) => Json.time(`t.${column}`)

const columns = (...names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [name, `t.${name}`]))

const times = (...names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [name, time(name)]))

/** In this order: rows come before those that refer to them. */
const sectionsOf = (sql: SqlClient.SqlClient): ReadonlyArray<Section> => {
  const object = (type: string, members: Readonly<Record<string, string>>) =>
    sql.literal(
      `json_build_object('type', '${type}', ${Object.entries(members)
        .map(([name, value]) => `'${name}', ${value}`)
        .join(", ")})`
    )
  /** Adds members to the row's JSON. */
  const extended = (type: string, json: Statement.Fragment, members: Readonly<Record<string, string>>) =>
    sql`(${object(type, members)}::jsonb || ${json})`

  return [
    {
      table: "identities",
      key: [
        ["issuer", "text"],
        ["subject", "text"]
      ],
      since: "created_at",
      line: object("identity", { ...columns("issuer", "subject"), ...times("created_at") })
    },
    {
      table: "conversations",
      key: [["id", "bigint"]],
      since: "created_at",
      line: object("conversation", { ...columns("id", "title"), ...times("created_at", "updated_at", "deleted_at") })
    },
    {
      table: "turns",
      key: [["id", "uuid"]],
      since: "started_at",
      line: object("turn", {
        turn_id: "t.id",
        ...columns("conversation_id", "status", "user_message_id", "message_id", "model"),
        usage: `CASE WHEN t.input_tokens IS NOT NULL
        THEN json_build_object('input_tokens', t.input_tokens, 'output_tokens', t.output_tokens) END`,
        steps: "t.step_usage",
        error: `CASE WHEN t.error_code IS NOT NULL
        THEN json_build_object('code', t.error_code, 'detail', coalesce(t.error_detail, '')) END`,
        ...columns("time_zone", "reverted", "decides"),
        ...times("started_at", "finished_at")
      })
    },
    {
      table: "messages",
      key: [
        ["conversation_id", "bigint"],
        ["sequence_number", "integer"]
      ],
      since: "created_at",
      line: object("message", {
        ...columns("conversation_id", "id", "sequence_number", "role", "content", "tool_calls", "status", "turn_id"),
        // Without the provider's state.
        awaiting: `(
        SELECT json_agg(json_build_object('id', call -> 'id', 'tool', call -> 'tool', 'parameters', call -> 'parameters')
          ORDER BY place)
        FROM json_array_elements(t.awaiting -> 'calls') WITH ORDINALITY AS held (call, place))`,
        ...columns("decision"),
        ...times("approval_expires_at", "created_at", "deleted_at")
      })
    },
    {
      table: "turn_output",
      key: [
        ["turn_id", "uuid"],
        ["part", "integer"]
      ],
      line: object("turn_output", columns("turn_id", "part", "text"))
    },
    {
      table: "tool_calls",
      key: [
        ["turn_id", "uuid"],
        ["step", "smallint"],
        ["position", "smallint"]
      ],
      since: "created_at",
      line: extended("tool_call", sql`(t.call::jsonb - 'provider_call_id')`, {
        ...columns("turn_id", "step", "position"),
        ...times("created_at")
      })
    },
    {
      table: "tasks",
      key: [["id", "bigint"]],
      since: "created_at",
      line: extended("task", taskJson(sql, "t"), { ...columns("version"), ...times("deleted_at") })
    },
    {
      table: "task_changes",
      key: [
        ["task_id", "bigint"],
        ["version", "integer"]
      ],
      since: "at",
      line: extended("task_change", changeJson(sql, "t"), columns("task_id"))
    },
    {
      table: "usage_days",
      key: [["day", "date"]],
      line: object("usage", {
        date: "t.day",
        ...columns("input_tokens", "output_tokens", "estimated_tokens"),
        turns: `json_build_object(${["completed", "failed", "timed_out", "cancelled", "interrupted"]
          .map((end) => `'${end}', t.${end}`)
          .join(", ")})`,
        models: `(
        SELECT coalesce(json_agg(json_build_object('model', m.model, 'input_tokens', m.input_tokens, 'output_tokens',
          m.output_tokens) ORDER BY m.model), '[]')
        FROM usage_models m WHERE m.user_id = t.user_id AND m.day = t.day)`
      })
    },
    {
      table: "idempotency_keys",
      key: [
        ["scope", "text"],
        ["key", "text"]
      ],
      since: "created_at",
      line: object("idempotency_key", { ...columns("scope", "key", "turn_id", "response"), ...times("created_at") })
    }
  ]
}

/** Rows of a page: few enough not to delay others on a database with one session. */
const pageSize = 500

const Page = Schema.Array(Schema.Struct({ line: Schema.String, key: Schema.Array(Schema.String) }))
type Page = typeof Page.Type
const decodePage = Schema.decodeUnknown(Page)

/**
 * Reads all data of a user in pages, in the order of the keys, each row as one line of JSON. With `until`, later rows are
 * left out.
 */
export const make = (sql: SqlClient.SqlClient) => {
  const sections = sectionsOf(sql)

  const page = (user: UserId, { key, line, since, table }: Section, after: ReadonlyArray<string>, until?: Date) => {
    const names = sql.literal(key.map(([name]) => `t.${name}`).join(", "))
    const texts = sql.literal(key.map(([name]) => `t.${name}::text`).join(", "))
    const values = sql.join(", ", false)(key.map(([, type], i) => sql`${after[i]}::text::${sql.literal(type)}`))
    return sql`
      SELECT replace((${line})::text, chr(10), ' ') AS line, ARRAY[${texts}] AS key
      FROM ${sql(table)} t
      WHERE t.user_id = ${user}
        ${after.length === 0 ? sql`` : sql`AND (${names}) > (${values})`}
        ${until === undefined || since === undefined ? sql`` : sql`AND t.${sql(since)} <= ${until}`}
      ORDER BY ${names}
      LIMIT ${pageSize}`.pipe(Effect.flatMap(decodePage))
  }

  /** Calls `write` for each page, and returns the number of lines. */
  const readAll = <E>(
    user: UserId,
    write: (lines: string) => Effect.Effect<void, E>,
    until?: Date
  ): Effect.Effect<number, E | SqlError.SqlError | ParseResult.ParseError> =>
    Effect.gen(function* () {
      let count = 0
      for (const section of sections) {
        let after: ReadonlyArray<string> | undefined = []
        while (after !== undefined) {
          const rows: Page = yield* page(user, section, after, until)
          if (rows.length > 0) yield* write(rows.map(({ line }) => `${line}\n`).join(""))
          count += rows.length
          after = rows.length < pageSize ? undefined : rows.at(-1)?.key
        }
      }
      return count
    })

  return { readAll }
}
