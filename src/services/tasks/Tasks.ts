import { SqlClient } from "@effect/sql"
import { Array as Arr, Context, DateTime, Effect, Layer, Option, Order } from "effect"
import type { TaskVersion } from "../../domain/Approval.ts"
import { type Cursor, cursorTo, pageOf, startOf } from "../../domain/Cursor.ts"
import type { TaskId, TurnId, UserId } from "../../domain/Id.ts"
import type { NewTask, TaskPatch } from "../../domain/NewTask.ts"
import { Cause, Task, TaskChanged, TaskNotFound } from "../../domain/Task.ts"
import type { TaskChange } from "../../domain/TaskChange.ts"
import { UndoConflict } from "../../domain/Turn.ts"
import * as JsonList from "../../runtime/JsonList.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import * as Span from "../../runtime/Span.ts"
import * as Sql from "../../sql/Sql.ts"
import { dieOnSql } from "../../sql/SqlErrors.ts"
import { fold } from "./TaskFolding.ts"
import * as TaskLists from "./TaskLists.ts"
import { columnsOf, scopeOf, settle } from "./TaskPatches.ts"
import * as TaskStatements from "./TaskStatements.ts"

export type { TaskQuery } from "./TaskLists.ts"

/** A task and its version: 1 when created, plus 1 with each change. */
export interface Versioned {
  readonly task: Task
  readonly version: number
}

export interface TaskPage {
  readonly tasks: ReadonlyArray<Task>
  /** The number of all tasks that the query finds. */
  readonly total: number
  readonly nextCursor: Cursor | null
}

export interface HistoryPage {
  readonly changes: ReadonlyArray<TaskChange>
  readonly total: number
  readonly nextCursor: Cursor | null
}

/** One reverted change, with the position of its tool call. */
export interface Reverted {
  readonly task: TaskId
  readonly step: number
  readonly position: number
}

/**
 * The owner is the first parameter of every method, so that no query can forget it. Every change takes its cause and writes
 * one record per changed task, in the same statement; a change without an effect writes none, and the version stays. All
 * methods may be called within a transaction.
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
    /** The versions of these tasks, in their order; within a transaction the tasks stay as they are until its end. */
    readonly versions: (owner: UserId, ids: ReadonlyArray<TaskId>) => Effect.Effect<ReadonlyArray<TaskVersion>>
    readonly list: (owner: UserId, query: TaskLists.TaskQuery) => Effect.Effect<TaskPage>
    /**
     * With `expected`, only if the task's version is one of them: else `TaskChanged`. So it is, too, if the patch completes an
     * occurrence of a repeating task that is neither the present one nor completed before.
     */
    readonly update: (
      owner: UserId,
      id: TaskId,
      patch: TaskPatch,
      cause: Cause,
      expected?: ReadonlyArray<number>
    ) => Effect.Effect<Versioned, TaskNotFound | TaskChanged>
    /**
     * Completes or reopens tasks. A repeating task moves on to its next occurrence, at most once per turn, and over MCP at
     * most once a day. Missing tasks are absent from the answer.
     */
    readonly setCompleted: (
      owner: UserId,
      ids: ReadonlyArray<TaskId>,
      completed: boolean,
      cause: Cause
    ) => Effect.Effect<ReadonlyArray<Versioned>>
    /** Returns the deleted task. `expected` is as for `update`. */
    readonly remove: (
      owner: UserId,
      id: TaskId,
      cause: Cause,
      expected?: ReadonlyArray<number>
    ) => Effect.Effect<Versioned, TaskNotFound | TaskChanged>
    /** Newest first, also of deleted tasks. `limit` is 1 to 100; 50 when absent. */
    readonly history: (
      owner: UserId,
      id: TaskId,
      page: { readonly limit?: number | undefined; readonly cursor?: Cursor | undefined }
    ) => Effect.Effect<HistoryPage, TaskNotFound>
    /**
     * Takes back all task changes of a turn, or none: created tasks are deleted, deleted ones restored, changed ones set
     * back to how they were before the turn. Conflicts are tasks that something else has changed since the turn first did
     * and that was not taken back itself. The answer names the turn's changes in order. A second time conflicts with the
     * first.
     */
    readonly revert: (owner: UserId, turnId: TurnId) => Effect.Effect<ReadonlyArray<Reverted>, UndoConflict>
  }
>() {
  static readonly layer: Layer.Layer<Tasks, never, SqlClient.SqlClient> = Layer.scoped(
    Tasks,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { insert, update } = TaskStatements.make(sql)
      const selectPage = TaskLists.make(sql)
      yield* Effect.forkScoped(fold(sql))

      const select = PreparedStatement.make<{ owner: UserId; id: TaskId }>(
        sql,
        ({ id, owner }) => sql`
          SELECT ${TaskStatements.taskJson(sql, "tasks")} AS task, version FROM tasks
          WHERE user_id = ${owner} AND id = ${id} AND deleted_at IS NULL`
      )

      const createMany = (owner: UserId, tasks: ReadonlyArray<NewTask>, cause: Cause) =>
        Effect.flatMap(momentOf(cause), (moment) => {
          const rows = tasks.map((task) => ({ labels: [], ...columnsOf(task, moment) }))
          return insert({ owner, tasks: JSON.stringify(rows) }, cause)
        }).pipe(Effect.flatMap(TaskStatements.decodeVersioned), dieOnSql, Span.withSpan("Tasks.create"))

      const write = (owner: UserId, changes: ReadonlyArray<TaskStatements.Change>, cause: Cause, withDeleted = false) =>
        update({ owner, ids: changes.map(({ id }) => id), changes: JSON.stringify(changes), withDeleted }, cause).pipe(
          Effect.flatMap(TaskStatements.decodeWritten),
          dieOnSql
        )

      /**
       * One statement writes what the changes say by themselves, which is nearly always all. Tasks that have to be known first
       * are left alone by it and written by a second one, if they are still as the first one found them.
       */
      const change = (
        owner: UserId,
        wanted: ReadonlyArray<Wanted>,
        cause: Cause
      ): Effect.Effect<ReadonlyArray<Written>> =>
        Effect.gen(function* () {
          const moment = yield* momentOf(cause)
          const rows = yield* write(
            owner,
            wanted.map(({ changes, expected, id }) => {
              return { id, expected, scope: scopeOf(changes), columns: columnsOf(changes, moment) }
            }),
            cause
          )
          const unsettled = Arr.filterMap(rows, (row) => {
            const asked = wanted.find(({ id }) => id === row.task.id)
            if (row.state !== "unsettled" || asked === undefined) return Option.none()
            const settled = settle({ ...row.task, series: row.series }, asked.changes, moment)
            return Option.some({ asked, row, settled })
          })
          if (unsettled.length === 0) return rows
          const possible = Arr.filterMap(unsettled, ({ asked, row, settled }) =>
            settled === null ? Option.none() : Option.some({ asked, row, settled })
          )
          const written = yield* write(
            owner,
            possible.map(({ row: { task, version }, settled: { columns } }) => {
              return { id: task.id, expected: [version], scope: "any", columns }
            }),
            cause
          )
          // These tasks have changed meanwhile. Completing one means its earlier occurrence.
          const late = possible.filter(({ row }) =>
            written.some(({ state, task }) => state === "unexpected" && task.id === row.task.id)
          )
          const again =
            late.length === 0
              ? []
              : yield* change(
                  owner,
                  late.map(({ asked, row }) => ({
                    ...asked,
                    changes: {
                      ...asked.changes,
                      occurrence: asked.changes.occurrence ?? (row.series && row.task.dueDate)
                    }
                  })),
                  cause
                )
          return rows.map((row): Written => {
            const found = [...again, ...written].find(({ task }) => task.id === row.task.id)
            const occurrence = possible.find(({ asked }) => asked.id === row.task.id)?.settled.occurrence
            if (row.state !== "unsettled") return row
            if (found === undefined) return { ...row, state: "unexpected" }
            return occurrence == null || found.task.completedOccurrence !== undefined
              ? found
              : { ...found, task: new Task({ ...found.task, completedOccurrence: occurrence }) }
          })
        })

      return Tasks.of({
        createMany,
        create: (owner, task, cause) => Effect.map(createMany(owner, [task], cause), Arr.unsafeGet(0)),

        get: (owner, id) =>
          select({ owner, id }).pipe(
            Effect.flatMap(TaskStatements.decodeVersioned),
            dieOnSql,
            Effect.flatMap(([found]) => (found === undefined ? new TaskNotFound() : Effect.succeed(found))),
            Span.withSpan("Tasks.get", { attributes: { "task.id": id } })
          ),

        versions: Effect.fn("Tasks.versions")(function* (owner, ids) {
          const found = yield* sql`
            SELECT id, version FROM tasks
            WHERE user_id = ${owner} AND id = ANY(${ids}::bigint[]) AND deleted_at IS NULL
            ORDER BY id
            FOR UPDATE`.pipe(Effect.flatMap(TaskStatements.decodeVersions), dieOnSql)
          return ids.map((id) => ({ id, version: found.find((task) => task.id === id)?.version ?? null }))
        }),

        list: (owner, query) => {
          const limit = query.limit ?? defaultLimit
          const page = selectPage(owner, query, limit + 1).pipe(Effect.flatMap(TaskStatements.decodeListed), dieOnSql)
          return page.pipe(
            Effect.flatMap((rows) =>
              rows[0]?.unfolded ? Effect.zipRight(fold(sql, owner), page) : Effect.succeed(rows)
            ),
            Effect.map((rows) => {
              const found = rows.flatMap(({ task }) => task ?? [])
              const { nextCursor, page } = pageOf(found, limit, (last) =>
                cursorTo(Arr.unsafeGet(tasksOf([last]), 0), query.sort ?? "created")
              )
              return { tasks: tasksOf(page), total: rows[0]?.total ?? 0, nextCursor }
            }),
            Span.withSpan("Tasks.list")
          )
        },

        update: (owner, id, patch, cause, expected) =>
          change(owner, [{ id, expected: expected ?? null, changes: patch }], cause).pipe(
            Effect.flatMap(only),
            Span.withSpan("Tasks.update", { attributes: { "task.id": id } })
          ),

        setCompleted: (owner, ids, completed, cause) =>
          change(
            owner,
            Arr.dedupe(ids).map((id) => ({ id, expected: null, changes: { completed } })),
            cause
          ).pipe(Effect.map(Arr.map(versioned)), Span.withSpan("Tasks.setCompleted")),

        remove: (owner, id, cause, expected) =>
          write(owner, [{ id, expected: expected ?? null, scope: "any", columns: { deleted: true } }], cause).pipe(
            Effect.flatMap(only),
            Span.withSpan("Tasks.remove", { attributes: { "task.id": id } })
          ),

        history: Effect.fn("Tasks.history")(function* (owner, id, { cursor, limit = defaultLimit }) {
          yield* Effect.annotateCurrentSpan({ "task.id": id })
          const rows = yield* sql`
            SELECT total, CASE WHEN version IS NOT NULL THEN ${TaskStatements.changeJson(sql, "page")} END AS change
            FROM (
              SELECT count(*)::integer AS total FROM task_changes WHERE user_id = ${owner} AND task_id = ${id}
            ) AS counted
            LEFT JOIN (
              SELECT * FROM task_changes
              WHERE user_id = ${owner} AND task_id = ${id} AND version < ${startOf(cursor).id}::bigint
              ORDER BY version DESC
              LIMIT ${limit + 1}
            ) AS page ON true
            ORDER BY version DESC`.pipe(Effect.flatMap(TaskStatements.decodeRecords), dieOnSql)
          const total = rows[0]?.total ?? 0
          if (total === 0) return yield* new TaskNotFound()
          const found = Arr.filterMap(rows, ({ change }) => Option.fromNullable(change))
          const { nextCursor, page } = pageOf(found, limit, ({ at, version }) => ({ time: at, id: version }))
          return { changes: page, total, nextCursor }
        }),

        revert: Effect.fn("Tasks.revert")(function* (owner, turnId) {
          yield* Effect.annotateCurrentSpan({ "turn.id": turnId })
          // Two statements: the second one sees what was written while the first one waited.
          yield* dieOnSql(sql`
            SELECT FROM tasks
            WHERE user_id = ${owner} AND id IN (
              SELECT task_id FROM task_changes
              WHERE user_id = ${owner} AND turn_id = ${turnId}::uuid AND cause = 'turn')
            ORDER BY id
            FOR UPDATE`)
          const changes = yield* sql`
            SELECT
              ${TaskStatements.taskJson(sql, "t")} AS task, c.before, c.step, c.position,
              EXISTS (
                SELECT FROM task_changes other
                WHERE other.user_id = c.user_id AND other.task_id = c.task_id AND other.version > first.version
                  AND CASE other.cause
                    WHEN 'undo' THEN other.turn_id = ${turnId}::uuid
                    WHEN 'turn' THEN other.turn_id <> ${turnId}::uuid AND NOT EXISTS (
                      SELECT FROM task_changes undo
                      WHERE undo.user_id = other.user_id AND undo.task_id = other.task_id
                        AND undo.cause = 'undo' AND undo.turn_id = other.turn_id)
                    ELSE true
                  END
              ) AS conflict
            FROM task_changes c
            JOIN (
              SELECT task_id, min(version) AS version FROM task_changes
              WHERE user_id = ${owner} AND turn_id = ${turnId}::uuid AND cause = 'turn'
              GROUP BY task_id
            ) AS first ON first.task_id = c.task_id
            JOIN tasks t ON t.user_id = c.user_id AND t.id = c.task_id
            WHERE c.user_id = ${owner} AND c.turn_id = ${turnId}::uuid AND c.cause = 'turn'
            ORDER BY t.id, c.version`.pipe(Effect.flatMap(TaskStatements.decodeRevertible), dieOnSql)
          const tasks = Arr.dedupeWith(changes, (a, b) => a.task.id === b.task.id)
          const conflicts = tasks.filter(({ conflict }) => conflict).map(({ task: { id, title } }) => ({ id, title }))
          if (conflicts.length > 0) return yield* new UndoConflict({ tasks: conflicts })
          yield* write(
            owner,
            tasks.map(({ before, task: { id } }) => ({
              id,
              expected: null,
              scope: "any",
              columns: before === null ? { deleted: true } : TaskStatements.columnsOfRecord(before)
            })),
            Cause.Undo({ turnId }),
            true
          )
          return Arr.map(
            Arr.sortWith(changes, ({ position, step }) => [step, position], Order.array(Order.number)),
            (c) => ({ task: c.task.id, step: c.step, position: c.position })
          )
        }, within(sql))
      })
    })
  )

  /** On a fresh database in memory. */
  static readonly layerTest: Layer.Layer<Tasks> = Layer.provide(Tasks.layer, Sql.layerTest)
}

const defaultLimit = 50

const tasksOf = JsonList.make(Task)

/** A change of one task. */
interface Wanted {
  readonly id: TaskId
  readonly expected: ReadonlyArray<number> | null
  readonly changes: TaskPatch
}

type Written = TaskStatements.Written

const versioned = ({ task, version }: Written): Versioned => ({ task, version })

/** Of the one task that was to be changed: what it is now, or why that was not to be. */
const only = ([found]: ReadonlyArray<Written>): Effect.Effect<Versioned, TaskNotFound | TaskChanged> => {
  if (found === undefined) return new TaskNotFound()
  return found.state === "unexpected" ? new TaskChanged() : Effect.succeed(versioned(found))
}

const momentOf = (cause: Cause) =>
  Effect.map(DateTime.now, (now) => ({
    now,
    turnId: cause._tag === "Turn" ? cause.turnId : null,
    onceADay: cause._tag === "Mcp"
  }))

/** Within a transaction it rolls back only its own part. */
const within =
  (sql: SqlClient.SqlClient) =>
  <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
    dieOnSql(sql.withTransaction(effect))
