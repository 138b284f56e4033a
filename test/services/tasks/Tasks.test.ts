import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { UserId } from "../../../src/domain/Id.ts"
import { NewTask } from "../../../src/domain/NewTask.ts"
import { Cause } from "../../../src/domain/Task.ts"
import { foldAll } from "../../../src/services/tasks/TaskFolding.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import { contracts } from "../../../src/testing.ts"
import * as Database from "../../support/Database.ts"

const database = Layer.provideMerge(Tasks.layer, Database.layer)

const request = Cause.Request({ requestId: "test" })
const newTask = Schema.decodeUnknownSync(NewTask)

layer(database)("Tasks", (it) => {
  for (const { check, name } of contracts.tasks) it.effect(name, () => check)

  it.effect("what the version before wrote is found, without accents once this one has started", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const owner = UserId.make(2)
      yield* sql`INSERT INTO tasks (user_id, title, description) VALUES (${owner}, 'CAFÉ', 'b'), (${owner}, 'tea', 'Brûlée')`
      const found = (query: string) =>
        Effect.map(
          Effect.flatMap(Tasks, (tasks) => tasks.list(owner, { query })),
          ({ total }) => total
        )
      assert.deepStrictEqual([yield* found("afé"), yield* found("BRÛ"), yield* found("CAF")], [0, 0, 1])
      yield* foldAll(sql)
      assert.deepStrictEqual([yield* found("cafe"), yield* found("brulee"), yield* found("é")], [1, 1, 2])
    })
  )

  it.effect("a change and its record are undone together with the transaction around them", () =>
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
      assert.deepStrictEqual((yield* tasks.list(owner, {})).tasks, [made])
      assert.strictEqual((yield* tasks.history(owner, made.task.id, {})).total, 1)
    })
  )
})
