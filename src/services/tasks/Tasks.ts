import { SqlClient, type SqlError, type Statement } from "@effect/sql"
import { Array as Arr, Context, DateTime, Effect, Layer, Option, Order, Schema } from "effect"
import type { Cursor } from "../../domain/Cursor.ts"
import type { TaskId, TurnId, UserId } from "../../domain/Id.ts"
import { type NewTask, type TaskPatch, withDay } from "../../domain/NewTask.ts"
import { Cause, type Priority, Task, TaskChanged, TaskNotFound } from "../../domain/Task.ts"
import { TaskChange } from "../../domain/TaskChange.ts"
import { UndoConflict } from "../../domain/Turn.ts"
import * as Codec from "../../runtime/Codec.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import * as Span from "../../runtime/Span.ts"
import * as Sql from "../../sql/Sql.ts"

/** A task and its version: 1 when created, one more with each change. */
export interface Versioned {
  readonly task: Task
  readonly version: number
}

/** Which tasks to list; an absent or null member lets all through. Dates are `YYYY-MM-DD` and inclusive. */
export interface TaskQuery {
  readonly status?: "all" | "pending" | "completed" | null | undefined
  readonly priority?: Priority | null | undefined
  /** One of the task's labels, exactly. */
  readonly label?: string | null | undefined
  readonly dueBefore?: string | null | undefined
  readonly dueAfter?: string | null | undefined
  /** Found in title or description, without regard to case. */
  /** A `SearchText`. */
  readonly query?: string | null | undefined
  /** 1 to 100; 50 when absent. */
  readonly limit?: number | null | undefined
  readonly cursor?: Cursor | null | undefined
}

export interface TaskPage {
  readonly tasks: ReadonlyArray<Versioned>
  /** Of all that the query finds, whatever the page. */
  readonly total: number
  readonly nextCursor: Cursor | null
}

export interface HistoryPage {
  readonly changes: ReadonlyArray<TaskChange>
  readonly total: number
  readonly nextCursor: Cursor | null
}

/** One task change of a turn that was taken back, by the place of the tool call that had made it. */
export interface Reverted {
  readonly task: TaskId
  readonly step: number
  readonly position: number
}

/**
 * The owner comes first in every method, so that no query can forget whose tasks it may touch. Every change takes its
 * cause and leaves one record per task it changed, in the same statement; a change that changes nothing leaves none, and
 * the version stays. All methods may be called within a transaction.
 */
export class Tasks extends Context.Tag("taskchat/services/Tasks")<
  Tasks,
  {
    readonly create: (owner: UserId, task: NewTask, cause: Cause) => Effect.Effect<Versioned>
    /** All or none; the answer is in the order of `tasks`. */
    readonly createMany: (
      owner: UserId,
      tasks: ReadonlyArray<NewTask>,
      cause: Cause
    ) => Effect.Effect<ReadonlyArray<Versioned>>
    readonly get: (owner: UserId, id: TaskId) => Effect.Effect<Versioned, TaskNotFound>
    /** Newest first. */
    readonly list: (owner: UserId, query: TaskQuery) => Effect.Effect<TaskPage>
    /** With `expected`, only if the task's version is one of them: else `TaskChanged`. */
    readonly update: (
      owner: UserId,
      id: TaskId,
      patch: TaskPatch,
      cause: Cause,
      expected?: ReadonlyArray<number>
    ) => Effect.Effect<Versioned, TaskNotFound | TaskChanged>
    /** Completes or reopens. Safe to repeat. Those that do not exist are absent from the answer. */
    readonly setCompleted: (
      owner: UserId,
      ids: ReadonlyArray<TaskId>,
      completed: boolean,
      cause: Cause
    ) => Effect.Effect<ReadonlyArray<Versioned>>
    /** The answer is the task that is no more. `expected` is as for `update`. */
    readonly remove: (
      owner: UserId,
      id: TaskId,
      cause: Cause,
      expected?: ReadonlyArray<number>
    ) => Effect.Effect<Versioned, TaskNotFound | TaskChanged>
    /** Newest first, of deleted tasks too. `limit` is 1 to 100; 50 when absent. */
    readonly history: (
      owner: UserId,
      id: TaskId,
      page: { readonly limit?: number | undefined; readonly cursor?: Cursor | undefined }
    ) => Effect.Effect<HistoryPage, TaskNotFound>
    /**
     * Takes back all task changes of a turn, or none: created tasks are deleted, deleted ones restored, changed ones set
     * back to how they were before the turn. Conflicts are tasks that something else has changed since the turn first
     * did. The answer names the turn's changes in order. A second time conflicts with the first.
     */
    readonly revert: (owner: UserId, turnId: TurnId) => Effect.Effect<ReadonlyArray<Reverted>, UndoConflict>
  }
>() {
  static readonly layer: Layer.Layer<Tasks, never, SqlClient.SqlClient> = Layer.effect(
    Tasks,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { apply, insert } = statementsOf(sql)
      const versioned = (statement: Effect.Effect<unknown, SqlError.SqlError>) =>
        Effect.orDie(Effect.flatMap(statement, decodeVersioned))
      const changed = (statement: Effect.Effect<unknown, SqlError.SqlError>) =>
        Effect.flatMap(Effect.orDie(Effect.flatMap(statement, decodeChanged)), only)

      const locked = ({ ids, owner }: PreparedStatement.Given<"owner" | "ids">) => sql`
        SELECT * FROM tasks
        WHERE user_id = ${owner} AND id = ANY(${ids}::bigint[]) AND deleted_at IS NULL
        ORDER BY id
        FOR UPDATE`

      const isExpected = ({ expected }: PreparedStatement.Given<"expected">) =>
        sql`(${expected}::bigint[] IS NULL OR version = ANY(${expected}::bigint[]))`

      const update = apply<Change & { patch: string }>(
        locked,
        (given) => sql`
            SELECT
              id,
              CASE WHEN patch ? 'title' THEN patch->>'title' ELSE title END AS title,
              CASE WHEN patch ? 'description' THEN patch->>'description' ELSE description END AS description,
              CASE WHEN patch ? 'priority' THEN patch->>'priority' ELSE priority END AS priority,
              CASE WHEN patch ? 'labels' THEN ARRAY(SELECT jsonb_array_elements_text(patch->'labels')) ELSE labels END
                AS labels,
              CASE WHEN patch ? 'due_date' THEN (patch->>'due_date')::date ELSE due_date END AS due_date,
              -- The time belongs to its day: another day without a time has none.
              CASE
                WHEN patch ? 'due_at' THEN (patch->>'due_at')::timestamptz
                WHEN patch ? 'due_date' AND (patch->>'due_date')::date IS DISTINCT FROM due_date THEN NULL
                ELSE due_at
              END AS due_at,
              CASE
                WHEN patch->>'completed' = 'true' THEN coalesce(completed_at, now())
                WHEN patch ? 'completed' THEN NULL
                ELSE completed_at
              END AS completed_at,
              deleted_at
            FROM before, (SELECT ${given.patch}::jsonb AS patch) AS given
            WHERE ${isExpected(given)}`
      )

      const setCompleted = apply<Omit<Change, "expected"> & { completed: boolean }>(
        locked,
        ({ completed }) => sql`
            SELECT
              id, title, description, priority, labels, due_date, due_at,
              CASE WHEN ${completed}::boolean THEN coalesce(completed_at, now()) END AS completed_at,
              deleted_at
            FROM before`
      )

      const remove = apply<Change>(
        locked,
        (given) => sql`
            SELECT
              id, title, description, priority, labels, due_date, due_at, completed_at,
              now() AS deleted_at
            FROM before
            WHERE ${isExpected(given)}`
      )

      const restore = apply<{ owner: UserId; ids: ReadonlyArray<TaskId>; reverted: TurnId }>(
        ({ ids, owner }) => sql`
            SELECT * FROM tasks
            WHERE user_id = ${owner} AND id = ANY(${ids}::bigint[])
            ORDER BY id
            FOR UPDATE`,
        ({ reverted }) => asBefore(sql, reverted)
      )

      const createMany = (owner: UserId, tasks: ReadonlyArray<NewTask>, cause: Cause) =>
        Span.withSpan("Tasks.create")(versioned(insert({ owner, tasks: JSON.stringify(tasks.map(columnsOf)) }, cause)))

      const selectPage = PreparedStatement.make<Page>(
        sql,
        (p) => sql`
          WITH matching AS NOT MATERIALIZED (
            SELECT * FROM tasks
            WHERE user_id = ${p.owner} AND deleted_at IS NULL
              AND (${p.status}::text = 'all' OR (${p.status}::text = 'completed') = (completed_at IS NOT NULL))
              AND (${p.priority}::text IS NULL OR priority = ${p.priority}::text)
              AND (${p.label}::text IS NULL OR ${p.label}::text = ANY(labels))
              AND (${p.dueBefore}::date IS NULL OR due_date <= ${p.dueBefore}::date)
              AND (${p.dueAfter}::date IS NULL OR due_date >= ${p.dueAfter}::date)
              AND (
                ${p.words}::text IS NULL
                OR strpos(lower(title), lower(${p.words}::text)) > 0
                OR strpos(lower(description), lower(${p.words}::text)) > 0
              )
          ), page AS (
            SELECT * FROM matching
            WHERE (created_at, id) < (${p.time}::timestamptz, ${p.id}::bigint)
            ORDER BY created_at DESC, id DESC
            LIMIT ${p.limit}
          )
          SELECT total, CASE WHEN id IS NOT NULL THEN ${taskJson(sql, "page")} END AS task, version
          FROM (SELECT count(*)::integer AS total FROM matching) AS counted LEFT JOIN page ON true
          ORDER BY created_at DESC, id DESC`
      )

      const select = PreparedStatement.make<{ owner: UserId; id: TaskId }>(
        sql,
        ({ id, owner }) => sql`
          SELECT ${taskJson(sql, "tasks")} AS task, version FROM tasks
          WHERE user_id = ${owner} AND id = ${id} AND deleted_at IS NULL`
      )

      return Tasks.of({
        createMany,
        create: (owner, task, cause) => Effect.map(createMany(owner, [task], cause), Arr.unsafeGet(0)),

        get: (owner, id) =>
          versioned(select({ owner, id })).pipe(
            Effect.flatMap(([found]) => (found === undefined ? new TaskNotFound() : Effect.succeed(found))),
            Span.withSpan("Tasks.get", { attributes: { "task.id": id } })
          ),

        list: (owner, { cursor, dueAfter, dueBefore, label, limit, priority, query, status }) => {
          const length = limit ?? defaultLimit
          return selectPage({
            owner,
            status: status ?? "all",
            priority: priority ?? null,
            label: label ?? null,
            dueBefore: dueBefore ?? null,
            dueAfter: dueAfter ?? null,
            words: query || null,
            time: timeOf(cursor),
            id: idOf(cursor),
            limit: length + 1
          }).pipe(
            Effect.flatMap(decodeListed),
            Effect.orDie,
            Effect.map((rows) => {
              const found = Arr.filterMap(rows, ({ task, version }) =>
                task === null || version === null ? Option.none() : Option.some({ task, version })
              )
              const tasks = found.slice(0, length)
              const last = found.length > length ? tasks.at(-1)?.task : undefined
              return {
                tasks,
                total: rows[0]?.total ?? 0,
                nextCursor: last === undefined ? null : { time: last.createdAt, id: last.id }
              }
            }),
            Span.withSpan("Tasks.list")
          )
        },

        update: (owner, id, patch, cause, expected) =>
          changed(
            update({ owner, ids: [id], expected: expected ?? null, patch: JSON.stringify(columnsOf(patch)) }, cause)
          ).pipe(Span.withSpan("Tasks.update", { attributes: { "task.id": id } })),

        setCompleted: (owner, ids, completed, cause) =>
          Span.withSpan("Tasks.setCompleted")(versioned(setCompleted({ owner, ids, completed }, cause))),

        remove: (owner, id, cause, expected) =>
          changed(remove({ owner, ids: [id], expected: expected ?? null }, cause)).pipe(
            Span.withSpan("Tasks.remove", { attributes: { "task.id": id } })
          ),

        history: Effect.fn("Tasks.history")(function* (owner, id, { cursor, limit = defaultLimit }) {
          yield* Effect.annotateCurrentSpan({ "task.id": id })
          const rows = yield* sql`
            SELECT total, CASE WHEN version IS NOT NULL THEN ${changeJson(sql, "page")} END AS change
            FROM (
              SELECT count(*)::integer AS total FROM task_changes WHERE user_id = ${owner} AND task_id = ${id}
            ) AS counted
            LEFT JOIN (
              SELECT * FROM task_changes
              WHERE user_id = ${owner} AND task_id = ${id} AND version < ${idOf(cursor)}::bigint
              ORDER BY version DESC
              LIMIT ${limit + 1}
            ) AS page ON true
            ORDER BY version DESC`.pipe(Effect.flatMap(decodeHistory), Effect.orDie)
          const total = rows[0]?.total ?? 0
          if (total === 0) return yield* new TaskNotFound()
          const found = Arr.filterMap(rows, ({ change }) => Option.fromNullable(change))
          const changes = found.slice(0, limit)
          const last = found.length > limit ? changes.at(-1) : undefined
          return { changes, total, nextCursor: last === undefined ? null : { time: last.at, id: last.version } }
        }),

        revert: Effect.fn("Tasks.revert")(function* (owner, turnId) {
          yield* Effect.annotateCurrentSpan({ "turn.id": turnId })
          const changes = yield* sql`
            SELECT
              ${taskJson(sql, "t")} AS task, c.step, c.position,
              t.version <> whole.last OR whole.last - whole.first + 1 > whole.count AS conflict
            FROM task_changes c
            JOIN (
              SELECT task_id, min(version) AS first, max(version) AS last, count(*) AS count
              FROM task_changes
              WHERE user_id = ${owner} AND turn_id = ${turnId}::uuid AND cause = 'turn'
              GROUP BY task_id
            ) AS whole ON whole.task_id = c.task_id
            JOIN tasks t ON t.user_id = c.user_id AND t.id = c.task_id
            WHERE c.user_id = ${owner} AND c.turn_id = ${turnId}::uuid AND c.cause = 'turn'
            ORDER BY t.id, c.version
            FOR UPDATE OF t`.pipe(Effect.flatMap(decodeRevertible), Effect.orDie)
          const tasks = Arr.dedupeWith(changes, (a, b) => a.task.id === b.task.id)
          const conflicts = tasks.filter(({ conflict }) => conflict).map(({ task: { id, title } }) => ({ id, title }))
          if (conflicts.length > 0) return yield* new UndoConflict({ tasks: conflicts })
          const ids = tasks.map(({ task }) => task.id)
          yield* versioned(restore({ owner, ids, reverted: turnId }, Cause.Undo({ turnId })))
          return Arr.map(
            Arr.sortWith(changes, ({ position, step }) => [step, position], Order.array(Order.number)),
            (c) => ({
              task: c.task.id,
              step: c.step,
              position: c.position
            })
          )
        }, within(sql))
      })
    })
  )

  /** On a fresh database in memory. */
  static readonly layerTest: Layer.Layer<Tasks> = Layer.provide(Tasks.layer, Sql.layerTest)
}

const defaultLimit = 50

/** All that precedes it when there is no cursor. */
const timeOf = (cursor: Cursor | null | undefined) => (cursor ? DateTime.formatIso(cursor.time) : "infinity")
const idOf = (cursor: Cursor | null | undefined) => cursor?.id ?? Number.MAX_SAFE_INTEGER

const fields = { task: Task, version: Schema.Int }
const decodeVersioned = Codec.decodeUnknown(Schema.Array(Schema.Struct(fields)))

const Changed = Schema.Struct({ ...fields, expected: Schema.Boolean })
const decodeChanged = Codec.decodeUnknown(Schema.Array(Changed))

const Listed = Schema.Struct({ total: Schema.Int, task: Schema.NullOr(Task), version: Schema.NullOr(Schema.Int) })
const decodeListed = Codec.decodeUnknown(Schema.Array(Listed))

const Recorded = Schema.Struct({ total: Schema.Int, change: Schema.NullOr(TaskChange) })
const decodeHistory = Codec.decodeUnknown(Schema.Array(Recorded))

const Revertible = Schema.Struct({
  task: Task,
  step: Schema.Int,
  position: Schema.Int,
  conflict: Schema.Boolean
})
const decodeRevertible = Codec.decodeUnknown(Schema.Array(Revertible))

/** Of the one row that was to be changed: what it is now, or why that was not to be. */
const only = ([row]: ReadonlyArray<typeof Changed.Type>): Effect.Effect<Versioned, TaskNotFound | TaskChanged> => {
  if (row === undefined) return new TaskNotFound()
  return row.expected ? Effect.succeed({ task: row.task, version: row.version }) : new TaskChanged()
}

/** What was given, by the names of the columns. */
const columnsOf = (given: NewTask | TaskPatch) => {
  const { dueAt, dueDate, labels, timeZone: _, ...others } = withDay(given)
  return {
    ...others,
    ...(labels !== undefined && { labels: Arr.dedupe(labels ?? []) }),
    ...(dueDate !== undefined && { due_date: dueDate }),
    ...(dueAt !== undefined && { due_at: dueAt })
  }
}

/** Rolls back only its own part if there is a transaction around it. */
const within =
  (sql: SqlClient.SqlClient) =>
  <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.catchTag(sql.withTransaction(effect), "SqlError", Effect.die)

const time = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** A row of `tasks` as clients see it: the one form for answers and records. */
const taskJson = (sql: SqlClient.SqlClient, t: string) =>
  sql.literal(`jsonb_build_object(
    'id', ${t}.id, 'title', ${t}.title, 'description', ${t}.description, 'completed', ${t}.completed_at IS NOT NULL,
    'priority', ${t}.priority, 'labels', ${t}.labels, 'due_date', ${t}.due_date, 'due_at', ${time(`${t}.due_at`)},
    'created_at', ${time(`${t}.created_at`)}, 'updated_at', ${time(`${t}.updated_at`)},
    'completed_at', ${time(`${t}.completed_at`)})`)

const changeJson = (sql: SqlClient.SqlClient, c: string) =>
  sql.literal(`jsonb_build_object(
    'version', ${c}.version, 'kind', ${c}.kind, 'before', ${c}.before, 'after', ${c}.after, 'at', ${time(`${c}.at`)},
    'cause', jsonb_strip_nulls(jsonb_build_object('type', ${c}.cause, 'turn_id', ${c}.turn_id, 'step', ${c}.step,
      'position', ${c}.position, 'request_id', ${c}.request_id)))`)

/** How the tasks in `before` were when the turn had not changed them yet. */
const asBefore = (sql: SqlClient.SqlClient, turnId: Statement.Fragment) => sql`
  SELECT
    b.id,
    was->>'title' AS title,
    was->>'description' AS description,
    was->>'priority' AS priority,
    ARRAY(SELECT jsonb_array_elements_text(was->'labels')) AS labels,
    (was->>'due_date')::date AS due_date,
    (was->>'due_at')::timestamptz AS due_at,
    (was->>'completed_at')::timestamptz AS completed_at,
    CASE WHEN f.before IS NULL THEN coalesce(b.deleted_at, now()) END AS deleted_at
  FROM before b
  CROSS JOIN LATERAL (
    SELECT c.before FROM task_changes c
    WHERE c.user_id = b.user_id AND c.task_id = b.id AND c.turn_id = ${turnId}::uuid AND c.cause = 'turn'
    ORDER BY c.version
    LIMIT 1
  ) AS f
  CROSS JOIN LATERAL coalesce(f.before, ${taskJson(sql, "b")}) AS was`

type Change = { owner: UserId; ids: ReadonlyArray<TaskId>; expected: ReadonlyArray<number> | null }

type Page = {
  owner: UserId
  status: string
  priority: string | null
  label: string | null
  dueBefore: string | null
  dueAfter: string | null
  words: string | null
  time: string
  id: number
  limit: number
}

/** What a cause may say of itself. */
type Origin = { turnId: TurnId | null; step: number | null; position: number | null; requestId: string | null }

const unknownOrigin: Origin = { turnId: null, step: null, position: null, requestId: null }

/** The two statements that write tasks. Both write the records, and answer with the tasks as they then are. */
const statementsOf = (sql: SqlClient.SqlClient) => {
  const columns = sql.literal(
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

  const content = (t: string) =>
    sql.literal(`(${t}.title, ${t}.description, ${t}.priority, ${t}.labels, ${t}.due_date, ${t}.due_at)`)

  return {
    insert: byCause<{ owner: UserId; tasks: string }>(
      ({ owner, tasks }, origin) => sql`
      WITH a AS (
        INSERT INTO tasks (user_id, title, description, priority, labels, due_date, due_at)
        SELECT ${owner}::bigint, title, description, priority, coalesce(labels, '{}'), due_date, due_at
        FROM ROWS FROM (
          jsonb_to_recordset(${tasks}::jsonb)
          AS (title text, description text, priority text, labels text[], due_date date, due_at timestamptz)
        ) WITH ORDINALITY
        ORDER BY ordinality
        RETURNING *
      ), recorded AS (
        INSERT INTO task_changes (${columns})
        SELECT user_id, id, version, 'created', NULL, ${taskJson(sql, "a")}, ${origin} FROM a
      )
      SELECT ${taskJson(sql, "a")} AS task, version FROM a ORDER BY id`
    ),

    /**
     * `before` selects and locks the rows, so that all after it sees them as they are and not as they were when the
     * statement began; `wanted` selects from `before` how they shall be. Rows that are so already are left alone.
     */
    apply: <P extends object>(
      before: (p: PreparedStatement.Given<keyof P>) => Statement.Fragment,
      wanted: (p: PreparedStatement.Given<keyof P>) => Statement.Fragment
    ) =>
      byCause<P>(
        (p, origin) => sql`
      WITH before AS (${before(p)}),
      wanted AS (${wanted(p)}),
      after AS (
        UPDATE tasks t SET
          title = w.title, description = w.description, priority = w.priority, labels = w.labels,
          due_date = w.due_date, due_at = w.due_at, completed_at = w.completed_at, deleted_at = w.deleted_at,
          version = b.version + 1,
          updated_at = greatest(now(), b.updated_at)
        FROM before b JOIN wanted w ON w.id = b.id
        WHERE t.user_id = b.user_id AND t.id = b.id AND (
          ${content("b")} IS DISTINCT FROM ${content("w")}
          OR (b.completed_at, b.deleted_at) IS DISTINCT FROM (w.completed_at, w.deleted_at)
        )
        RETURNING t.*
      ), recorded AS (
        INSERT INTO task_changes (${columns})
        SELECT
          a.user_id, a.id, a.version,
          CASE
            WHEN a.deleted_at IS NOT NULL THEN 'deleted'
            WHEN b.deleted_at IS NOT NULL THEN 'restored'
            WHEN ${content("a")} IS DISTINCT FROM ${content("b")} THEN 'updated'
            WHEN a.completed_at IS NULL THEN 'reopened'
            WHEN b.completed_at IS NULL THEN 'completed'
            ELSE 'updated'
          END,
          CASE WHEN b.deleted_at IS NULL THEN ${taskJson(sql, "b")} END,
          CASE WHEN a.deleted_at IS NULL THEN ${taskJson(sql, "a")} END,
          ${origin}
        FROM after a JOIN before b ON b.id = a.id
      )
      SELECT ${taskJson(sql, "a")} AS task, a.version, true AS expected FROM after a
      UNION ALL
      SELECT ${taskJson(sql, "b")}, b.version, EXISTS (SELECT FROM wanted w WHERE w.id = b.id) FROM before b
      WHERE NOT EXISTS (SELECT FROM after a WHERE a.id = b.id)`
      )
  }
}
