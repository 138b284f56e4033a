import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { TurnId, UserId } from "../../../src/domain/Id.ts"
import { NewTask } from "../../../src/domain/NewTask.ts"
import { Cause } from "../../../src/domain/Task.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import totals from "../../../src/sql/migrations/0012_totals.ts"
import { contracts } from "../../../src/testing.ts"
import * as Database from "../../support/Database.ts"

const database = Layer.provideMerge(Tasks.layer, Database.layer)

const request = Cause.Request({ requestId: "test" })
const newTask = Schema.decodeUnknownSync(NewTask)

layer(database)("Tasks", (it) => {
  for (const { check, name } of contracts.tasks) it.effect(name, () => check)

  it.effect("tasks of a node of the first version are found without accents", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const owner = UserId.make(2)
      yield* sql`INSERT INTO tasks (user_id, title, description) VALUES (${owner}, 'CAFÉ', 'b'), (${owner}, 'tea', 'Brûlée')`
      const found = (query: string) =>
        Effect.map(
          Effect.flatMap(Tasks, (tasks) => tasks.list(owner, { query })),
          ({ total }) => total
        )
      assert.deepStrictEqual([yield* found("cafe"), yield* found("brulee"), yield* found("é")], [1, 1, 2])
    })
  )

  it.effect(
    "tasks changed by a node of the first version are found by their new title, and tasks changed by this version also without accents",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const tasks = yield* Tasks
        const owner = UserId.make(3)
        const { task } = yield* tasks.create(owner, newTask({ title: "Café", description: "Brûlée" }), request)
        const found = (...queries: ReadonlyArray<string>) =>
          Effect.forEach(queries, (query) => Effect.map(tasks.list(owner, { query }), ({ total }) => total))
        const old = (change: string) =>
          sql`UPDATE tasks SET ${sql.literal(change)}, version = version + 1 WHERE user_id = ${owner} AND id = ${task.id}`
        yield* old("title = 'THE HOUSE'")
        assert.deepStrictEqual(yield* found("cafe", "house", "bistro"), [0, 1, 0])
        assert.deepStrictEqual(yield* found("brulee"), [1])
        // A change to a text that folds to the same value is also a change.
        yield* tasks.update(owner, task.id, { title: "Thé House" }, request)
        assert.deepStrictEqual(yield* found("the house", "brulee"), [1, 1])
        yield* old("priority = 'low'")
        assert.deepStrictEqual(yield* found("the house", "brulee"), [1, 1])
        yield* old("description = 'Crème'")
        assert.deepStrictEqual(yield* found("brulee", "creme", "the house"), [0, 1, 1])
      })
  )

  it.effect("the migration counts existing rows for totals", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const owner = UserId.make(4)
      yield* sql`DROP TABLE user_totals`
      yield* sql`DROP FUNCTION count_task, count_conversation, add_to_totals CASCADE`
      yield* sql`
        INSERT INTO tasks (user_id, title, completed_at, deleted_at)
        VALUES (${owner}, 'to do', NULL, NULL), (${owner}, 'done', now(), NULL), (${owner}, 'deleted', now(), now())`
      yield* sql`INSERT INTO conversations (user_id, deleted_at) VALUES (${owner}, NULL), (${owner}, now())`
      yield* sql.withTransaction(totals)
      const read = sql`SELECT conversations, tasks, completed_tasks FROM user_totals WHERE user_id = ${owner}`
      assert.deepStrictEqual(yield* read, [{ conversations: 1, tasks: 2, completed_tasks: 1 }])
      yield* sql`DELETE FROM tasks WHERE user_id = ${owner}`
      yield* sql`DELETE FROM conversations WHERE user_id = ${owner}`
      assert.deepStrictEqual(yield* read, [{ conversations: 0, tasks: 0, completed_tasks: 0 }])
    })
  )

  it.effect("after the undo of a rename, the task is found by its old title", () =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = UserId.make(4)
      const { task } = yield* tasks.create(owner, newTask({ title: "Café", description: "Brûlée" }), request)
      const turnId = TurnId.make("01970000-0000-7000-8000-000000000001")
      const turn = Cause.Turn({ turnId, step: 0, position: 0 })
      yield* tasks.update(owner, task.id, { title: "tea", description: null }, turn)
      yield* tasks.revert(owner, turnId)
      const found = (query: string) => Effect.map(tasks.list(owner, { query }), ({ total }) => total)
      assert.deepStrictEqual([yield* found("cafe"), yield* found("brulee"), yield* found("tea")], [1, 1, 0])
    })
  )

  it.effect("a change and its record roll back with their transaction", () =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const sql = yield* SqlClient.SqlClient
      const owner = UserId.make(1)
      const made = yield* tasks.create(owner, newTask({ title: "t" }), request)
      const all = Effect.gen(function* () {
        yield* tasks.create(owner, newTask({ title: "u" }), request)
        yield* tasks.update(owner, made.task.id, { title: "T" }, request)
        yield* tasks.remove(owner, made.task.id, request)
        return yield* Effect.fail("no" as const)
      })
      assert.strictEqual(yield* Effect.flip(sql.withTransaction(all)), "no")
      assert.deepStrictEqual((yield* tasks.list(owner, {})).tasks, [made.task])
      assert.strictEqual((yield* tasks.history(owner, made.task.id, {})).total, 1)
    })
  )
})
