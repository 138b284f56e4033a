import assert from "node:assert/strict"
import { Array as Arr, Effect, Either, FastCheck as fc, Option, Order as Sort } from "effect"
import { Cause } from "../../domain/Task.ts"
import { Tasks } from "../../services/tasks/Tasks.ts"
import { type Fact, gather } from "./Contract.ts"
import { changeOf, createTitled, ids, listAll, newTask, newTurn, newUser, patch, request, task } from "./TaskSamples.ts"

const { facts, it } = gather<Tasks>()

/** The contract of `Tasks` for the history and for undo. */
export const changes: ReadonlyArray<Fact<Tasks>> = facts

it.effect.prop(
  "the history has one record per version, each begins where the previous ended, and the last matches the task",
  [fc.gen()],
  ([g]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const created = yield* createTitled(owner, ["0", "1", "2"])
      for (const change of g(fc.array, changeOf(ids(created)), { maxLength: 12 })) yield* change(owner, request)
      for (const id of ids(created)) {
        const { changes, total } = yield* tasks.history(owner, id, { limit: 100 })
        assert.strictEqual(changes.length, total)
        assert.deepStrictEqual(
          changes.map(({ version }) => version),
          Arr.makeBy(total, (n) => total - n)
        )
        for (const [later, earlier] of Arr.zip(changes, changes.slice(1))) {
          assert.deepStrictEqual(later.before, earlier.after)
          assert.notDeepStrictEqual({ ...later.before, updatedAt: null }, { ...later.after, updatedAt: null })
        }
        const now = yield* Effect.option(tasks.get(owner, id))
        assert.deepStrictEqual(changes[0]?.after ?? undefined, Option.getOrUndefined(now)?.task)
      }
    }),
  { fastCheck: { numRuns: 25 } }
)

it.effect.prop(
  "the totals of lists are right after concurrent changes",
  [fc.gen()],
  ([g]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const created = yield* createTitled(owner, ["0", "1", "2", "3"])
      const turn = Cause.Turn({ turnId: yield* newTurn, step: 0, position: 0 })
      const changes = g(fc.array, changeOf(ids(created)), { minLength: 4, maxLength: 12 })
      yield* Effect.forEach(changes, (change) => change(owner, turn), { concurrency: 4 })
      yield* Effect.ignore(tasks.revert(owner, turn.turnId))
      for (const status of ["all", "pending", "completed"] as const) {
        const { total } = yield* tasks.list(owner, { status, limit: 1 })
        assert.strictEqual(total, (yield* listAll(owner, { status })).length)
      }
    }),
  { fastCheck: { numRuns: 20 } }
)

it.effect("the history has pages, newest first, with the cause of each change", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const turnId = yield* newTurn
    const causes = [
      Cause.Mcp({ requestId: "m" }),
      Cause.Turn({ turnId, step: 2, position: 1 }),
      Cause.Request({ requestId: "r" })
    ]
    const { task } = yield* tasks.create(owner, newTask({ title: "t" }), request)
    for (const [n, cause] of causes.entries()) yield* tasks.update(owner, task.id, { title: `t${n}` }, cause)
    const first = yield* tasks.history(owner, task.id, { limit: 3 })
    assert.deepStrictEqual(
      first.changes.map(({ cause }) => ({ ...cause })),
      Arr.reverse(causes).map((cause) => ({ ...cause }))
    )
    const second = yield* tasks.history(owner, task.id, { limit: 3, cursor: first.nextCursor ?? undefined })
    assert.deepStrictEqual([second.changes.length, second.total, second.nextCursor], [1, 4, null])
  })
)

it.effect("an update without effect leaves no record and keeps the version", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const fields = { title: "t", description: "d", labels: ["x"], due_at: "2026-01-31T09:00:00.123Z" }
    const made = yield* tasks.create(owner, newTask(fields), request)
    const id = made.task.id
    assert.deepStrictEqual(yield* tasks.update(owner, id, patch(fields), request), made)
    assert.deepStrictEqual(yield* tasks.update(owner, id, {}, request), made)
    assert.deepStrictEqual(yield* tasks.setCompleted(owner, [id], false, request), [made])
    const done = Arr.unsafeGet(yield* tasks.setCompleted(owner, [id, id], true, request), 0)
    assert.strictEqual(done.version, 2)
    assert.deepStrictEqual(yield* tasks.setCompleted(owner, [id], true, request), [done])
    assert.deepStrictEqual(yield* tasks.update(owner, id, { completed: true }, request), done)
    assert.strictEqual((yield* tasks.history(owner, id, {})).total, 2)
  })
)

it.effect("of two updates with the same expected version, exactly one succeeds", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const { task } = yield* tasks.create(owner, newTask({ title: "t" }), request)
    for (let version = 1; version <= 10; version++) {
      const results = yield* Effect.all(
        ["a", "b"].map((title) =>
          Effect.either(tasks.update(owner, task.id, { title: `${title}${version}` }, request, [version]))
        ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(results.filter(Either.isRight).length, 1)
      assert.deepStrictEqual(
        results.filter(Either.isLeft).map(({ left }) => left._tag),
        ["TaskChanged"]
      )
    }
    const stale = yield* Effect.flip(tasks.remove(owner, task.id, request, [1, 2]))
    assert.strictEqual(stale._tag, "TaskChanged")
    assert.strictEqual((yield* tasks.remove(owner, task.id, request, [1, 11])).version, 12)
    assert.strictEqual((yield* tasks.history(owner, task.id, {})).total, 12)
  })
)

it.effect("concurrent updates of different members are all kept, each with its version", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const { task } = yield* tasks.create(owner, newTask({ title: "t" }), request)
    const patches = [{ title: "T" }, { description: "d" }, { priority: "low" }, { labels: ["l"] }, { completed: true }]
    yield* Effect.forEach(patches, (given) => tasks.update(owner, task.id, patch(given), request), {
      concurrency: "unbounded"
    })
    const after = yield* tasks.get(owner, task.id)
    assert.strictEqual(after.version, 6)
    assert.deepStrictEqual(
      [after.task.title, after.task.description, after.task.priority, after.task.labels, after.task.completed],
      ["T", "d", "low", ["l"], true]
    )
  })
)

it.effect("50 concurrent completions change a task once", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const created = yield* createTitled(owner, ["a", "b"])
    const answers = yield* Effect.forEach(
      Arr.makeBy(50, (n) => (n % 2 === 0 ? ids(created) : Arr.reverse(ids(created)))),
      (both) => tasks.setCompleted(owner, both, true, request),
      { concurrency: "unbounded" }
    )
    for (const { task } of created) {
      const { changes } = yield* tasks.history(owner, task.id, {})
      assert.deepStrictEqual(
        changes.map(({ kind }) => kind),
        ["completed", "created"]
      )
      const now = yield* tasks.get(owner, task.id)
      for (const answer of answers)
        assert.deepStrictEqual(
          answer.find((a) => a.task.id === task.id),
          now
        )
    }
  })
)

it.effect.prop(
  "reverting a turn restores every task to its state before the turn",
  [fc.gen()],
  ([g]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const turnId = yield* newTurn
      const existing = yield* Effect.forEach(g(fc.array, task, { minLength: 1, maxLength: 4 }), (task) =>
        tasks.create(owner, task, request)
      )
      const content = Effect.map(listAll(owner, {}), (all) => all.map((task) => ({ ...task, updatedAt: null })))
      const before = yield* content
      const changes = g(fc.array, changeOf(ids(existing)), { maxLength: 8 })
      for (const [position, change] of changes.entries()) {
        yield* change(owner, Cause.Turn({ turnId, step: Math.floor(position / 3), position: position % 3 }))
      }
      const reverted = yield* tasks.revert(owner, turnId)
      assert.deepStrictEqual(yield* content, before)
      assert.deepStrictEqual(
        reverted,
        Arr.sortWith(reverted, ({ position, step }) => step * 3 + position, Sort.number)
      )
      for (const id of ids(existing)) {
        const records = (yield* tasks.history(owner, id, { limit: 100 })).changes
        const ofTurn = records.filter(({ cause }) => cause._tag === "Turn")
        assert.strictEqual(reverted.filter(({ task }) => task === id).length, ofTurn.length)
      }
    }),
  { fastCheck: { numRuns: 30 } }
)

it.effect("a turn is not reverted if one of its tasks has changed since, and the conflict names the task", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const turnId = yield* newTurn
    const turn = (position: number) => Cause.Turn({ turnId, step: 0, position })
    const made = yield* createTitled(owner, ["a", "b", "c"])
    const [a, b, c] = ids(made)
    if (a === undefined || b === undefined || c === undefined) return assert.fail("three were created")
    yield* tasks.setCompleted(owner, [a, b], true, turn(0))
    yield* tasks.remove(owner, c, turn(1))
    yield* tasks.update(owner, b, { title: "mine" }, request)
    // A revert would also lose the change between two changes of the turn.
    yield* tasks.update(owner, b, { title: "B" }, turn(2))
    const before = yield* listAll(owner, {})
    const conflict = yield* Effect.flip(tasks.revert(owner, turnId))
    assert.deepStrictEqual(conflict.tasks, [{ id: b, title: "B" }])
    assert.deepStrictEqual(yield* listAll(owner, {}), before)
  })
)

it.effect("a revert is recorded as an undo of the turn and does not change other users' tasks", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const other = yield* newUser
    const turnId = yield* newTurn
    const cause = Cause.Turn({ turnId, step: 0, position: 0 })
    const { task } = yield* tasks.create(owner, newTask({ title: "t" }), request)
    yield* tasks.remove(owner, task.id, cause)
    assert.deepStrictEqual(yield* tasks.revert(other, turnId), [])
    assert.deepStrictEqual(yield* tasks.revert(owner, turnId), [{ task: task.id, step: 0, position: 0 }])
    const { changes } = yield* tasks.history(owner, task.id, { limit: 1 })
    assert.deepStrictEqual(
      changes.map(({ before, cause, kind, version }) => ({ version, kind, before, cause: { ...cause } })),
      [{ version: 3, kind: "restored", before: null, cause: { _tag: "Undo", turnId } }]
    )
    assert.strictEqual((yield* Effect.flip(tasks.revert(owner, turnId)))._tag, "UndoConflict")
  })
)

it.effect("of concurrent reverts of the same turn, one takes effect", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const turnId = yield* newTurn
    const made = yield* createTitled(owner, ["a", "b"])
    yield* tasks.setCompleted(owner, ids(made), true, Cause.Turn({ turnId, step: 0, position: 0 }))
    const results = yield* Effect.forEach([1, 2, 3, 4], () => Effect.either(tasks.revert(owner, turnId)), {
      concurrency: "unbounded"
    })
    assert.strictEqual(results.filter(Either.isRight).length, 1)
    for (const id of ids(made)) assert.strictEqual((yield* tasks.get(owner, id)).version, 3)
  })
)
