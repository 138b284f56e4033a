import assert from "node:assert/strict"
import { Array as Arr, DateTime, Effect, Either, FastCheck as fc, Option, Schema, Order as Sort } from "effect"
import { Order } from "../../domain/Cursor.ts"
import { TaskId, TurnId, UserId } from "../../domain/Id.ts"
import { NewTask, TaskPatch } from "../../domain/NewTask.ts"
import { Cause, Priority } from "../../domain/Task.ts"
import { type TaskQuery, Tasks, type Versioned } from "../../services/tasks/Tasks.ts"
import { type Fact, gather } from "./Contract.ts"

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))
const newTurn = Effect.sync(() => TurnId.make(crypto.randomUUID()))
const request = Cause.Request({ requestId: "test" })
const newTask = Schema.decodeUnknownSync(NewTask)
const patch = Schema.decodeUnknownSync(TaskPatch)
const ids = (tasks: ReadonlyArray<Versioned>) => tasks.map(({ task }) => task.id)

/** All tasks that a query finds, read page by page. */
const listAll = (owner: UserId, query: TaskQuery) =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const found: Array<Versioned> = []
    let cursor: TaskQuery["cursor"]
    do {
      const page = yield* tasks.list(owner, { ...query, cursor })
      found.push(...page.tasks)
      cursor = page.nextCursor
    } while (cursor)
    return found
  })

const dates = ["2026-01-30", "2026-01-31", "2026-02-01"]
const labels = ["work", "Work", "a,b", '"{}', "日本"]
const text = fc.array(fc.constantFrom("a", "B", "b", "Ä", "a\u0308", "Σ", "ς", "%", "_", "\\", "'", "😀"), {
  minLength: 1,
  maxLength: 4
})

const task = fc
  .record(
    {
      title: text.map((parts) => parts.join("")),
      description: fc.option(text.map((parts) => parts.join(""))),
      priority: fc.option(fc.constantFrom(...Priority.literals)),
      labels: fc.uniqueArray(fc.constantFrom(...labels), { maxLength: 3 }),
      due_date: fc.option(fc.constantFrom(...dates)),
      due_at: fc.option(fc.constantFrom("T00:30:00Z", "T12:00:00+05:00", "T23:00:00-02:00"), { freq: 1 })
    },
    { requiredKeys: ["title"] }
  )
  .map(({ due_at, due_date, ...fields }) =>
    newTask({ ...fields, due_date, ...(due_date && due_at && { due_at: `${due_date}${due_at}` }) })
  )

const query = fc.record({
  status: fc.constantFrom("all" as const, "pending" as const, "completed" as const, null),
  priority: fc.option(fc.constantFrom(...Priority.literals), { freq: 1 }),
  label: fc.option(fc.constantFrom(...labels), { freq: 1 }),
  dueBefore: fc.option(fc.constantFrom(...dates), { freq: 1 }),
  dueAfter: fc.option(fc.constantFrom(...dates), { freq: 1 }),
  query: fc.option(
    text.map((parts) => parts.join("")),
    { freq: 1 }
  ),
  sort: fc.constantFrom(...Order.literals, null),
  limit: fc.integer({ min: 1, max: 7 })
})

/** Letters as people compare them: σ and ς, ä and Ä and a are the same. */
const letters = (text: string) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replaceAll("ς", "σ")

/** What a query is to find, by its definition. */
const isFound =
  (query: TaskQuery) =>
  ({ task }: Versioned) => {
    const within = (text: string | null) => text !== null && letters(text).includes(letters(query.query ?? ""))
    return (
      (query.status == null || query.status === "all" || task.completed === (query.status === "completed")) &&
      (query.priority == null || task.priority === query.priority) &&
      (query.label == null || task.labels.includes(query.label)) &&
      (query.dueBefore == null || (task.dueDate !== null && task.dueDate <= query.dueBefore)) &&
      (query.dueAfter == null || (task.dueDate !== null && task.dueDate >= query.dueAfter)) &&
      (query.query == null || within(task.title) || within(task.description))
    )
  }

/** Which of two tasks, the newest of which come first, precedes the other. */
const inOrder = ({ sort }: TaskQuery) =>
  Arr.sortWith(({ task: { dueAt, dueDate, priority } }: Versioned) => {
    if (sort === "due") return [dueDate ?? "~", dueAt === null ? "~" : DateTime.formatIso(dueAt)]
    return sort === "priority" ? [String(["high", "medium", "low", null].indexOf(priority))] : []
  }, Sort.array(Sort.string))

/** One random change of one of the tasks. */
type Change = (owner: UserId, cause: Cause) => Effect.Effect<unknown, never, Tasks>
const changeOf = (candidates: ReadonlyArray<TaskId>): fc.Arbitrary<Change> => {
  const id = fc.constantFrom(...candidates)
  const use =
    (f: (tasks: Tasks["Type"], owner: UserId, cause: Cause) => Effect.Effect<unknown, unknown>): Change =>
    (owner, cause) =>
      Effect.flatMap(Tasks, (tasks) => Effect.ignore(f(tasks, owner, cause)))
  return fc.oneof(
    task.map((task) => use((tasks, owner, cause) => tasks.create(owner, task, cause))),
    fc.tuple(id, task).map(([id, fields]) => use((tasks, owner, cause) => tasks.update(owner, id, fields, cause))),
    fc
      .tuple(fc.array(id, { maxLength: 3 }), fc.boolean())
      .map(([ids, completed]) => use((tasks, owner, cause) => tasks.setCompleted(owner, ids, completed, cause))),
    id.map((id) => use((tasks, owner, cause) => tasks.remove(owner, id, cause)))
  )
}

const { facts, it } = gather<Tasks>()

/** What every `Tasks` does. */
export const contract: ReadonlyArray<Fact<Tasks>> = facts

it.effect("a new task has version 1, what it was given, and nothing else", () =>
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
  "several tasks created at once come back in their order, as they were given",
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
      assert.deepStrictEqual(yield* listAll(owner, {}), Arr.reverse(created))
    }),
  { fastCheck: { numRuns: 20 } }
)

it.effect.prop(
  "a query finds what its definition says, in its order, whatever the size of the pages",
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
      const last = page.tasks.at(-1)?.task.id
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

it.effect("an update keeps what it does not name, and clears what it names as null", () =>
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
    // Given without a zone, on a day that is not UTC's: the time keeps its distance from the day.
    assert.deepStrictEqual(yield* update({ due_at, due_date: "2026-01-31" }), ["2026-01-31", instant])
    assert.deepStrictEqual(yield* update({ due_date: "2026-07-02" }), ["2026-07-02", "2026-07-03T04:30:00.000Z"])
    const early = yield* tasks.create(owner, newTask({ title: "t", due_at: "0001-01-01T00:00:00Z" }), request)
    assert.deepStrictEqual(dueOf(early), ["0001-01-01", "0001-01-01T00:00:00.000Z"])
    const late = yield* tasks.create(owner, newTask({ title: "t", due_at: "9999-12-31T23:59:59.999Z" }), request)
    assert.deepStrictEqual(dueOf(late), ["9999-12-31", "9999-12-31T23:59:59.999Z"])
  })
)

it.effect("another user's task is not found, and cannot be told from one that never was", () =>
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

it.effect("a removed task is gone for all but its history", () =>
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

it.effect.prop(
  "history has one record per version: each begins where the one before ended, and the last is the task",
  [fc.gen()],
  ([g]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const created = yield* tasks.createMany(
        owner,
        Arr.makeBy(3, (n) => newTask({ title: `${n}` })),
        request
      )
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

it.effect("history is read in pages, newest first, and names the cause of each change", () =>
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

it.effect("a change that changes nothing leaves no record, and the version stays", () =>
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

it.effect("of two updates that expect the same version, exactly one wins", () =>
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

it.effect("updates of different members at once are all kept, each with its version", () =>
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

it.effect("a task completed 50 times at once has changed once", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const created = yield* tasks.createMany(owner, [newTask({ title: "a" }), newTask({ title: "b" })], request)
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
  "reverting a turn brings every task back to how it was before, whatever the turn did",
  [fc.gen()],
  ([g]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const turnId = yield* newTurn
      const existing = yield* Effect.forEach(g(fc.array, task, { minLength: 1, maxLength: 4 }), (task) =>
        tasks.create(owner, task, request)
      )
      const content = Effect.map(listAll(owner, {}), (all) => all.map(({ task }) => ({ ...task, updatedAt: null })))
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

it.effect("a turn with a task that has changed since is not reverted at all, and the conflict names that task", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const turnId = yield* newTurn
    const turn = (position: number) => Cause.Turn({ turnId, step: 0, position })
    const made = yield* tasks.createMany(
      owner,
      ["a", "b", "c"].map((title) => newTask({ title })),
      request
    )
    const [a, b, c] = ids(made)
    if (a === undefined || b === undefined || c === undefined) return assert.fail("three were created")
    yield* tasks.setCompleted(owner, [a, b], true, turn(0))
    yield* tasks.remove(owner, c, turn(1))
    yield* tasks.update(owner, b, { title: "mine" }, request)
    // What came in between would be lost too, though the turn's own version is the last one.
    yield* tasks.update(owner, b, { title: "B" }, turn(2))
    const before = yield* listAll(owner, {})
    const conflict = yield* Effect.flip(tasks.revert(owner, turnId))
    assert.deepStrictEqual(conflict.tasks, [{ id: b, title: "B" }])
    assert.deepStrictEqual(yield* listAll(owner, {}), before)
  })
)

it.effect("reverting records what it does as an undo of the turn, and leaves other users' tasks alone", () =>
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

it.effect("of reverts of the same turn at once, one does it", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const turnId = yield* newTurn
    const made = yield* tasks.createMany(
      owner,
      ["a", "b"].map((title) => newTask({ title })),
      request
    )
    yield* tasks.setCompleted(owner, ids(made), true, Cause.Turn({ turnId, step: 0, position: 0 }))
    const results = yield* Effect.forEach([1, 2, 3, 4], () => Effect.either(tasks.revert(owner, turnId)), {
      concurrency: "unbounded"
    })
    assert.strictEqual(results.filter(Either.isRight).length, 1)
    for (const id of ids(made)) assert.strictEqual((yield* tasks.get(owner, id)).version, 3)
  })
)

const every = (rule: string) => ({ rule, time: null, startsOn: null })
const dayOf = (n: number) => DateTime.formatIsoDateUtc(DateTime.add(DateTime.unsafeMake("2101-01-03"), { days: n }))

it.effect.prop(
  "a task that repeats moves on by its rule, from its own day, however often it is completed; then it stays completed",
  [fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 4 }), fc.nat({ max: 800 })],
  ([interval, count, first]) =>
    Effect.gen(function* () {
      const tasks = yield* Tasks
      const owner = yield* newUser
      const rule = `FREQ=DAILY;INTERVAL=${interval};COUNT=${count}`
      const given = { ...newTask({ title: "t", due_date: dayOf(first) }), repeat: every(rule) }
      const { task } = yield* tasks.create(owner, given, request)
      assert.deepStrictEqual([task.repeat?.rule, task.repeat?.startsOn], [rule, dayOf(first)])
      for (let n = 1; n <= count; n++) {
        const occurrence = dayOf(first + (n - 1) * interval)
        const next = yield* tasks.update(owner, task.id, { completed: true }, request)
        assert.deepStrictEqual(
          [next.version, next.task.completed, next.task.completedOccurrence, next.task.dueDate],
          [n + 1, n === count, occurrence, n === count ? occurrence : dayOf(first + n * interval)]
        )
        assert.strictEqual(next.task.completedAt === null, n < count)
        const again = yield* tasks.update(owner, task.id, { completed: true, occurrence }, request)
        assert.deepStrictEqual([again.version, again.task], [next.version, next.task])
      }
      const { changes } = yield* tasks.history(owner, task.id, { limit: 100 })
      assert.deepStrictEqual(
        changes.map(({ before, kind }) => [kind, before?.dueDate]),
        Arr.reverse([["created", undefined], ...Arr.makeBy(count, (n) => ["completed", dayOf(first + n * interval)])])
      )
    }),
  { fastCheck: { numRuns: 10 } }
)

it.effect("another due date moves one occurrence of a task that repeats; another repetition begins anew", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const due = { due_at: "2101-01-03T09:00:00-05:00", time_zone: "America/New_York" }
    const given = { ...newTask({ title: "t", ...due }), repeat: every("FREQ=WEEKLY;BYDAY=MO") }
    const { task } = yield* tasks.create(owner, given, request)
    const update = (given: object) =>
      Effect.map(tasks.update(owner, task.id, { ...patch({}), ...given }, request), ({ task }) => [
        task.dueDate,
        task.dueAt && DateTime.formatIso(task.dueAt),
        task.timeZone,
        task.repeat?.startsOn
      ])
    const zone = "America/New_York"
    const moved = patch({ due_at: "2101-01-06T20:00:00Z", time_zone: "Europe/Berlin" })
    assert.deepStrictEqual(yield* update(moved), [
      "2101-01-06",
      "2101-01-06T20:00:00.000Z",
      "Europe/Berlin",
      "2101-01-03"
    ])
    const next = ["2101-01-10", "2101-01-10T14:00:00.000Z", zone, "2101-01-03"]
    assert.deepStrictEqual(yield* update({ completed: true }), next)
    assert.deepStrictEqual(yield* update({ completed: true, occurrence: "2101-01-06" }), next)
    // Who takes a completion back by moving the task back can complete the same occurrence again.
    assert.deepStrictEqual((yield* update(moved))[0], "2101-01-06")
    assert.deepStrictEqual(yield* update({ completed: true, occurrence: "2101-01-06" }), next)
    const early = yield* Effect.flip(
      tasks.update(owner, task.id, { completed: true, occurrence: "2101-01-17" }, request)
    )
    assert.strictEqual(early._tag, "TaskChanged")
    assert.deepStrictEqual(yield* update({ dueAt: null }), ["2101-01-10", null, null, "2101-01-03"])
    assert.deepStrictEqual(yield* update({ completed: true }), [
      "2101-01-17",
      "2101-01-17T14:00:00.000Z",
      zone,
      "2101-01-03"
    ])
    assert.deepStrictEqual(yield* update({ repeat: { ...every("FREQ=DAILY"), time: "07:30" } }), [
      "2101-01-17",
      "2101-01-17T12:30:00.000Z",
      zone,
      "2101-01-17"
    ])
    assert.deepStrictEqual(yield* update({ completed: true, occurrence: "2101-01-17" }), [
      "2101-01-18",
      "2101-01-18T12:30:00.000Z",
      zone,
      "2101-01-17"
    ])
    assert.deepStrictEqual(yield* update({ dueDate: null }), [null, null, null, undefined])
    const ended = yield* tasks.update(owner, task.id, { completed: true }, request)
    assert.deepStrictEqual([ended.task.completed, ended.task.completedOccurrence], [true, undefined])
  })
)

it.effect("within one turn a task that repeats moves on once, and undoing the turn takes it back", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const given = { ...newTask({ title: "t", due_date: "2101-01-03" }), repeat: every("FREQ=DAILY") }
    const made = yield* tasks.createMany(owner, [given, given, newTask({ title: "once" })], request)
    const state = Effect.map(listAll(owner, {}), (all) => all.map(({ task }) => ({ ...task, updatedAt: null })))
    const before = yield* state
    const turns = [yield* newTurn, yield* newTurn]
    for (const [n, turnId] of turns.entries()) {
      for (let position = 0; position < 3; position++) {
        const done = yield* tasks.setCompleted(owner, ids(made), true, Cause.Turn({ turnId, step: 0, position }))
        assert.deepStrictEqual(
          Arr.sortWith(done, ({ task }) => task.id, Sort.number).map(({ task }) => [
            task.completed,
            task.dueDate,
            task.completedOccurrence
          ]),
          [
            [false, dayOf(n + 1), dayOf(n)],
            [false, dayOf(n + 1), dayOf(n)],
            [true, null, undefined]
          ]
        )
      }
    }
    for (const turnId of Arr.reverse(turns)) yield* tasks.revert(owner, turnId)
    assert.deepStrictEqual(yield* state, before)
    const [first] = yield* tasks.setCompleted(owner, ids(made).slice(0, 1), true, request)
    assert.strictEqual(first?.task.completedOccurrence, "2101-01-03")
  })
)

it.effect("of completions of one occurrence at once, one moves the task on", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const given = { ...newTask({ title: "t", due_date: "2101-01-03" }), repeat: every("FREQ=DAILY") }
    const { task } = yield* tasks.create(owner, given, request)
    const answers = yield* Effect.forEach(
      Arr.range(1, 20),
      () => tasks.update(owner, task.id, { completed: true, occurrence: "2101-01-03" }, request),
      { concurrency: "unbounded" }
    )
    for (const { task } of answers) {
      assert.deepStrictEqual([task.dueDate, task.completedOccurrence], ["2101-01-04", "2101-01-03"])
    }
    assert.strictEqual((yield* tasks.get(owner, task.id)).version, 2)
  })
)
