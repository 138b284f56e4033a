import type { SqlClient, Statement } from "@effect/sql"
import { Option, Record, Schema } from "effect"
import { TaskId, type TurnId, type UserId } from "../../domain/Id.ts"
import { type Cause, Task } from "../../domain/Task.ts"
import { TaskChange } from "../../domain/TaskChange.ts"
import * as Text from "../../domain/Text.ts"
import * as Codec from "../../runtime/Codec.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import * as Json from "../../sql/Json.ts"
import { Series } from "./Recurrence.ts"

const time = (column: string) => (t: string) => Json.word(Json.time(`${t}.${column}`))

const plain = (column: string) => (t: string) => Json.plain(`${t}.${column}`)

const any = (column: string) => (t: string) => Json.any(`${t}.${column}`)

/**
 * Every column that a change may write, with its JSON for clients and records, or null if they do not have it. Inserts,
 * updates, comparisons, records and answers derive from this list.
 */
const content = {
  title: any("title"),
  title_search: null,
  description: any("description"),
  description_search: null,
  priority: any("priority"),
  labels: any("labels"),
  due_date: any("due_date"),
  due_at: time("due_at"),
  time_zone: any("time_zone"),
  repeat: plain("repeat")
}

/** What else is in a task's JSON. */
const json = {
  id: plain("id"),
  ...content,
  completed: (t: string) => Json.plain(`${t}.completed_at IS NOT NULL`),
  created_at: time("created_at"),
  updated_at: time("updated_at"),
  completed_at: time("completed_at")
}

const names = Object.keys(content)

/** Values for some of the columns, and what else a change may say: by these names the database reads it. */
export type Columns = { readonly [Name in keyof typeof content]?: unknown } & {
  /** Keeps the time of an earlier completion. */
  readonly completed?: boolean
  /** As it was in a record. */
  readonly completed_at?: unknown
  readonly deleted?: boolean
  /** What kind of change it is, if the columns do not tell. */
  readonly kind?: "completed"
}

/** A record has no folded texts. */
const Before = Schema.Struct(
  { title: Schema.String, description: Schema.NullOr(Schema.String) },
  Schema.Record({ key: Schema.String, value: Schema.Unknown })
)
type Before = typeof Before.Type

/** What `before` of a record has of the columns, and of how things stood. */
export const columnsOfRecord = (record: Before): Columns => ({
  ...Object.fromEntries(names.filter((name) => name in record).map((name) => [name, record[name]])),
  title_search: Text.fold(record.title),
  description_search: record.description && Text.fold(record.description),
  completed_at: record["completed_at"],
  deleted: false
})

/** A change of one task: only if its version is `expected`, and only if the task is in `scope` (see `scopeOf`). */
export interface Change {
  readonly id: TaskId
  readonly expected: ReadonlyArray<number> | null
  readonly scope: "any" | "single" | "none"
  readonly columns: Columns
}

export const decodeVersioned = Codec.decodeUnknown(Schema.Array(Schema.Struct({ task: Task, version: Schema.Int })))

export const decodeVersions = Codec.decodeUnknown(Schema.Array(Schema.Struct({ id: TaskId, version: Schema.Int })))

const Written = Schema.Struct({
  task: Task,
  version: Schema.Int,
  series: Schema.NullOr(Series),
  /** `unexpected` and `unsettled` are those that `expected` and `scope` kept as they were. */
  state: Schema.Literal("written", "same", "unexpected", "unsettled")
})
export type Written = typeof Written.Type
export const decodeWritten = Codec.decodeUnknown(Schema.Array(Written))

/** `task` is JSON; null where the page is empty. */
const Listed = Schema.Struct({
  total: Schema.Int,
  /** Some of the user's texts are to be folded before they are searched. */
  unfolded: Schema.Boolean,
  task: Schema.NullOr(Schema.String)
})
export const decodeListed = Codec.decodeUnknown(Schema.Array(Listed))

export const decodeRecords = Codec.decodeUnknown(
  Schema.Array(Schema.Struct({ total: Schema.Int, change: Schema.NullOr(TaskChange) }))
)

export const decodeRevertible = Codec.decodeUnknown(
  Schema.Array(
    Schema.Struct({
      task: Task,
      before: Schema.NullOr(Before),
      step: Schema.Int,
      position: Schema.Int,
      conflict: Schema.Boolean
    })
  )
)

type Writers = Readonly<Record<string, ((t: string) => string) | null>>

const object = (writers: Writers, t: string) =>
  Json.object(Record.filterMap(writers, (write) => Option.map(Option.fromNullable(write), (write) => write(t))))

/** A row of `tasks` as JSON, with the members that repetition needs. */
export const taskJson = (sql: SqlClient.SqlClient, t: string) => sql.literal(`(${object(json, t)})::jsonb`)

const repeat = (t: string) => {
  const members = { rule: "rule", text: "text", starts_on: "starts_on" }
  return `CASE WHEN ${t}.repeat IS NOT NULL
  THEN ${Json.object(Record.map(members, (name) => Json.plain(`${t}.repeat->'${name}'`)))} END`
}

/** The JSON of a row of `tasks` as clients see it, as text. */
export const taskText = (sql: SqlClient.SqlClient, t: string) => sql.literal(object({ ...json, repeat }, t))

export const changeJson = (sql: SqlClient.SqlClient, c: string) =>
  sql.literal(`jsonb_build_object(
    'version', ${c}.version, 'kind', ${c}.kind, 'before', ${c}.before, 'after', ${c}.after, 'at', ${Json.time(`${c}.at`)},
    'cause', jsonb_strip_nulls(jsonb_build_object('type', ${c}.cause, 'turn_id', ${c}.turn_id, 'step', ${c}.step,
      'position', ${c}.position, 'request_id', ${c}.request_id)))`)

/** The columns of a cause. */
type Origin = { turnId: TurnId | null; step: number | null; position: number | null; requestId: string | null }

const unknownOrigin: Origin = { turnId: null, step: null, position: null, requestId: null }

/** The two statements that write tasks. Both write the records, and return the tasks' new state. */
export const make = (sql: SqlClient.SqlClient) => {
  const list = (t?: string) => sql.literal(names.map((name) => (t === undefined ? name : `${t}.${name}`)).join(", "))
  const assignments = sql.literal(names.map((name) => `${name} = w.${name}`).join(", "))
  const record = sql.literal(
    "user_id, task_id, version, kind, before, after, cause, turn_id, step, position, request_id"
  )

  const originOf = (p: PreparedStatement.Given<keyof Origin>) => ({
    Turn: sql`'turn', ${p.turnId}::uuid, ${p.step}::smallint, ${p.position}::smallint, NULL`,
    Undo: sql`'undo', ${p.turnId}::uuid, NULL, NULL, NULL`,
    Request: sql`'request', NULL, NULL, NULL, ${p.requestId}::text`,
    Mcp: sql`'mcp', NULL, NULL, NULL, ${p.requestId}::text`
  })

  /** One statement for each kind of cause. */
  const byCause = <P extends object>(
    template: (p: PreparedStatement.Given<keyof P>, origin: Statement.Fragment) => Statement.Statement<unknown>
  ) => {
    const of = (tag: Cause["_tag"]) => PreparedStatement.make<P & Origin>(sql, (p) => template(p, originOf(p)[tag]))
    const statements = { Turn: of("Turn"), Undo: of("Undo"), Request: of("Request"), Mcp: of("Mcp") }
    return (given: P, cause: Cause) => statements[cause._tag]({ ...given, ...unknownOrigin, ...cause })
  }

  return {
    /** `tasks` is JSON of a list of `Columns`; the answer is in its order. */
    insert: byCause<{ owner: UserId; tasks: string }>(
      ({ owner, tasks }, origin) => sql`
      WITH a AS (
        INSERT INTO tasks (user_id, ${list()})
        SELECT ${owner}::bigint, ${list("new")}
        FROM jsonb_array_elements(${tasks}::jsonb) WITH ORDINALITY AS given (task, place)
        CROSS JOIN LATERAL jsonb_populate_record(NULL::tasks, task) AS new
        ORDER BY place
        RETURNING *
      ), recorded AS (
        INSERT INTO task_changes (${record})
        SELECT user_id, id, version, 'created', NULL, ${taskJson(sql, "a")}, ${origin} FROM a
      )
      SELECT ${taskJson(sql, "a")} AS task, version FROM a ORDER BY id`
    ),

    /**
     * `changes` is JSON of a list of `Change`, one for each of the ids. `before` locks the rows, so that all after it sees
     * them as they are and not as they were when the statement began. Rows that are already as they shall be are left alone.
     */
    update: byCause<{ owner: UserId; ids: ReadonlyArray<TaskId>; changes: string; withDeleted: boolean }>(
      ({ changes, ids, owner, withDeleted }, origin) => sql`
      WITH before AS (
        SELECT tasks AS task, tasks.* FROM tasks
        WHERE user_id = ${owner} AND id = ANY(${ids}::bigint[]) AND (deleted_at IS NULL OR ${withDeleted}::boolean)
        ORDER BY id
        FOR UPDATE
      ), given AS (
        SELECT
          b.id,
          change->'columns' AS columns,
          CASE
            WHEN NOT coalesce(nullif(change->'expected', 'null') @> to_jsonb(b.version), true) THEN 'unexpected'
            WHEN change->>'scope' = 'none' THEN 'unsettled'
            WHEN change->>'scope' = 'single' AND b.repeat IS NOT NULL THEN 'unsettled'
            ELSE 'same'
          END AS state
        FROM before b JOIN jsonb_array_elements(${changes}::jsonb) AS change ON (change->>'id')::bigint = b.id
      ), wanted AS (
        SELECT
          b.id,
          ${list("w")},
          CASE columns->>'completed'
            WHEN 'true' THEN coalesce(b.completed_at, now())
            WHEN 'false' THEN NULL
            ELSE w.completed_at
          END AS completed_at,
          CASE columns->>'deleted'
            WHEN 'true' THEN coalesce(b.deleted_at, now())
            WHEN 'false' THEN NULL
            ELSE b.deleted_at
          END AS deleted_at,
          columns->>'kind' AS kind
        FROM before b
        JOIN given g ON g.id = b.id AND g.state = 'same'
        CROSS JOIN LATERAL jsonb_populate_record(b.task, g.columns) AS w
      ), after AS (
        UPDATE tasks t SET
          ${assignments}, completed_at = w.completed_at, deleted_at = w.deleted_at,
          version = b.version + 1,
          updated_at = greatest(now(), b.updated_at)
        FROM before b JOIN wanted w ON w.id = b.id
        WHERE t.user_id = b.user_id AND t.id = b.id
          AND (${list("b")}, b.completed_at, b.deleted_at) IS DISTINCT FROM (${list("w")}, w.completed_at, w.deleted_at)
        RETURNING t.*
      ), recorded AS (
        INSERT INTO task_changes (${record})
        SELECT
          a.user_id, a.id, a.version,
          CASE
            WHEN w.kind IS NOT NULL THEN w.kind
            WHEN a.deleted_at IS NOT NULL THEN 'deleted'
            WHEN b.deleted_at IS NOT NULL THEN 'restored'
            WHEN (${list("a")}) IS DISTINCT FROM (${list("b")}) THEN 'updated'
            WHEN a.completed_at IS NULL THEN 'reopened'
            WHEN b.completed_at IS NULL THEN 'completed'
            ELSE 'updated'
          END,
          CASE WHEN b.deleted_at IS NULL THEN ${taskJson(sql, "b")} END,
          CASE WHEN a.deleted_at IS NULL THEN ${taskJson(sql, "a")} END,
          ${origin}
        FROM after a JOIN before b ON b.id = a.id JOIN wanted w ON w.id = a.id
      )
      SELECT ${taskJson(sql, "a")} AS task, a.version, a.repeat AS series, 'written' AS state FROM after a
      UNION ALL
      SELECT ${taskJson(sql, "b")}, b.version, b.repeat, g.state FROM before b JOIN given g ON g.id = b.id
      WHERE NOT EXISTS (SELECT FROM after a WHERE a.id = b.id)`
    )
  }
}
