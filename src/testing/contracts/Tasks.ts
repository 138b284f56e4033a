import assert from "node:assert/strict"
import { Array as Arr, DateTime, Effect, FastCheck as fc, Order as Sort } from "effect"
import { TaskId } from "../../domain/Id.ts"
import { type TaskQuery, Tasks, type Versioned } from "../../services/tasks/Tasks.ts"
import { type Fact, gather } from "./Contract.ts"
import { changes } from "./TaskChanges.ts"
import { repeats } from "./TaskRepeats.ts"
import { ids, inOrder, isFound, listAll, newTask, newUser, patch, query, request, task } from "./TaskSamples.ts"

const { facts, it } = gather<Tasks>()

it.effect("a new task has version 1, the given members and defaults", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const { task, version } = yield* tasks.create(owner, newTask({ title: " Buy\u0000 milk " }), request)
    assert.strictEqual(version, 1)
    assert.strictEqual(task.title, "Buy milk")
    assert.deepStrictEqual(
      [task.description, task.completed, task.priority, task.labels, task.dueDate, task.dueAt, task.completedAt],
      [null, false, null, [], null, null, null]
    )
    assert.deepStrictEqual(task.updatedAt, task.createdAt)
    assert.deepStrictEqual(yield* tasks.get(owner, task.id), { task, version })
  })
)

it.effect.prop(
  "several tasks created in one call are returned in order with the given members",
  [fc.array(task, { maxLength: 25 })],
  ([given]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const created = yield* tasks.createMany(owner, given, request)
      assert.deepStrictEqual(
        created.map(({ task }) => [task.title, task.description, task.priority, task.labels, task.dueDate]),
        given.map((g) => [g.title, g.description ?? null, g.priority ?? null, g.labels ?? [], g.dueDate ?? null])
      )
      assert.deepStrictEqual(ids(created), Arr.sort(ids(created), Sort.number))
      assert.deepStrictEqual(yield* listAll(owner, {}), Arr.reverse(created.map(({ task }) => task)))
    }),
  { fastCheck: { numRuns: 20 } }
)

it.effect.prop(
  "a query finds all matching tasks in its order, for any page size",
  [
    fc.array(task, { minLength: 5, maxLength: 20 }),
    fc.infiniteStream(fc.boolean()),
    fc.array(query, { minLength: 10, maxLength: 10 })
  ],
  ([given, coin, queries]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const created = yield* Effect.forEach(given, (task) => tasks.create(owner, task, request))
      yield* tasks.setCompleted(
        owner,
        ids(created).filter(() => coin.next().value),
        true,
        request
      )
      const all = yield* listAll(owner, {})
      assert.deepStrictEqual(ids(all), Arr.reverse(ids(created)))
      for (const query of queries) {
        const expected = inOrder(query)(all.filter(isFound(query)))
        assert.deepStrictEqual(yield* listAll(owner, query), expected)
        const { nextCursor, tasks: first, total } = yield* tasks.list(owner, query)
        assert.strictEqual(total, expected.length)
        assert.strictEqual(first.length, Math.min(query.limit, total))
        assert.strictEqual(nextCursor !== null, total > query.limit)
      }
    }),
  { fastCheck: { numRuns: 8 } }
)

it.effect("pages show each task once while tasks are added, changed and removed", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const created = yield* tasks.createMany(
      owner,
      Arr.makeBy(30, (n) => newTask({ title: `task ${n}` })),
      request
    )
    const seen: Array<TaskId> = []
    let cursor: TaskQuery["cursor"]
    do {
      const page = yield* tasks.list(owner, { limit: 4, cursor })
      seen.push(...ids(page.tasks))
      cursor = page.nextCursor
      const last = page.tasks.at(-1)?.id
      yield* Effect.all(
        [
          tasks.create(owner, newTask({ title: "later" }), request),
          last === undefined ? Effect.void : tasks.remove(owner, last, request), // the row that the cursor names
          tasks.setCompleted(owner, ids(created), true, request)
        ],
        { concurrency: "unbounded" }
      )
    } while (cursor)
    assert.deepStrictEqual(seen, Arr.reverse(ids(created)))
  })
)

it.effect("an update keeps absent members and clears members that are null", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const all = { title: "a", description: "b", priority: "high", labels: ["c", "c"], due_date: "2026-01-31" }
    const { task } = yield* tasks.create(owner, newTask(all), request)
    assert.deepStrictEqual(task.labels, ["c"])
    const renamed = yield* tasks.update(owner, task.id, patch({ title: "A", unknown: 1 }), request)
    assert.strictEqual(renamed.version, 2)
    assert.deepStrictEqual({ ...renamed.task }, { ...task, title: "A", updatedAt: renamed.task.updatedAt })
    const nothing = { description: null, priority: null, labels: null, due_date: null }
    const cleared = yield* tasks.update(owner, task.id, patch(nothing), request)
    assert.deepStrictEqual(
      { ...cleared.task },
      {
        ...renamed.task,
        description: null,
        priority: null,
        labels: [],
        dueDate: null,
        updatedAt: cleared.task.updatedAt
      }
    )
  })
)

it.effect("a time sets its day in its zone; another day keeps the time of day; a cleared time leaves the day", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const due_at = "2026-01-31T23:30:00-05:00"
    const dueOf = ({ task }: Versioned) => [task.dueDate, task.dueAt && DateTime.formatIso(task.dueAt)]
    const update = (given: unknown) => Effect.map(tasks.update(owner, id, patch(given), request), dueOf)
    const made = yield* tasks.create(owner, newTask({ title: "t", due_at }), request)
    const id = made.task.id
    const instant = "2026-02-01T04:30:00.000Z"
    assert.deepStrictEqual(dueOf(made), ["2026-02-01", instant])
    assert.deepStrictEqual(yield* update({ due_at, time_zone: "America/New_York" }), ["2026-01-31", instant])
    assert.deepStrictEqual(yield* update({ due_date: "2026-01-31" }), ["2026-01-31", instant])
    assert.deepStrictEqual(yield* update({ due_date: "2026-07-02" }), ["2026-07-02", "2026-07-03T03:30:00.000Z"])
    assert.deepStrictEqual(yield* update({ due_date: "2026-03-08" }), ["2026-03-08", "2026-03-09T03:30:00.000Z"])
    assert.deepStrictEqual(yield* update({ time_zone: "Europe/Berlin" }), ["2026-03-09", "2026-03-09T03:30:00.000Z"])
    assert.deepStrictEqual(yield* update({ due_date: "2026-03-30" }), ["2026-03-30", "2026-03-30T02:30:00.000Z"])
    assert.deepStrictEqual(yield* update({ due_at, due_date: "2026-01-31" }), ["2026-01-31", instant])
    assert.deepStrictEqual(yield* update({ due_at: null }), ["2026-01-31", null])
    assert.deepStrictEqual(yield* update({ due_at }), ["2026-02-01", instant])
    assert.deepStrictEqual(yield* update({ due_date: null }), [null, null])
    // Without a zone, and on another day than in UTC: the time keeps its distance from the day.
    assert.deepStrictEqual(yield* update({ due_at, due_date: "2026-01-31" }), ["2026-01-31", instant])
    assert.deepStrictEqual(yield* update({ due_date: "2026-07-02" }), ["2026-07-02", "2026-07-03T04:30:00.000Z"])
    const early = yield* tasks.create(owner, newTask({ title: "t", due_at: "0001-01-01T00:00:00Z" }), request)
    assert.deepStrictEqual(dueOf(early), ["0001-01-01", "0001-01-01T00:00:00.000Z"])
    const late = yield* tasks.create(owner, newTask({ title: "t", due_at: "9999-12-31T23:59:59.999Z" }), request)
    assert.deepStrictEqual(dueOf(late), ["9999-12-31", "9999-12-31T23:59:59.999Z"])
  })
)

it.effect("another user's task is not found, like one that never existed", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const other = yield* newUser
    const made = yield* tasks.create(owner, newTask({ title: "mine" }), request)
    for (const id of [made.task.id, TaskId.make(Number.MAX_SAFE_INTEGER)]) {
      const refusals = yield* Effect.all([
        Effect.flip(tasks.get(other, id)),
        Effect.flip(tasks.update(other, id, { title: "x" }, request)),
        Effect.flip(tasks.remove(other, id, request)),
        Effect.flip(tasks.history(other, id, {}))
      ])
      assert.deepStrictEqual(
        refusals.map(({ _tag }) => _tag),
        ["TaskNotFound", "TaskNotFound", "TaskNotFound", "TaskNotFound"]
      )
      assert.deepStrictEqual(yield* tasks.setCompleted(other, [id], true, request), [])
    }
    assert.deepStrictEqual(yield* listAll(other, {}), [])
    assert.deepStrictEqual(yield* tasks.get(owner, made.task.id), made)
  })
)

it.effect("a removed task is not found, except by its history", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const { task } = yield* tasks.create(owner, newTask({ title: "t" }), request)
    const removed = yield* tasks.remove(owner, task.id, request)
    assert.strictEqual(removed.task.title, "t")
    assert.strictEqual((yield* Effect.flip(tasks.get(owner, task.id)))._tag, "TaskNotFound")
    assert.strictEqual((yield* Effect.flip(tasks.remove(owner, task.id, request)))._tag, "TaskNotFound")
    assert.deepStrictEqual(yield* tasks.setCompleted(owner, [task.id], true, request), [])
    const { changes } = yield* tasks.history(owner, task.id, {})
    assert.deepStrictEqual(
      changes.map(({ kind }) => kind),
      ["deleted", "created"]
    )
  })
)

/** The contract of `Tasks`. */
export const contract: ReadonlyArray<Fact<Tasks>> = [...facts, ...changes, ...repeats]
