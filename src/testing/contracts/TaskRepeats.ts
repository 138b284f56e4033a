import assert from "node:assert/strict"
import { Array as Arr, DateTime, Effect, FastCheck as fc, Order as Sort } from "effect"
import { Cause } from "../../domain/Task.ts"
import { Tasks } from "../../services/tasks/Tasks.ts"
import { type Fact, gather } from "./Contract.ts"
import { ids, listAll, newTask, newTurn, newUser, patch, request } from "./TaskSamples.ts"

const { facts, it } = gather<Tasks>()

/** The contract of `Tasks` for repeating tasks. */
export const repeats: ReadonlyArray<Fact<Tasks>> = facts

const every = (rule: string) => ({ rule, time: null, startsOn: null })
const dayOf = (n: number) => DateTime.formatIsoDateUtc(DateTime.add(DateTime.unsafeMake("2101-01-03"), { days: n }))

it.effect.prop(
  "each completion of a repeating task moves it to the next day of its rule, until the rule ends",
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

it.effect("a new due date moves one occurrence of a repeating task, and a new rule starts the series anew", () =>
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
    // After the task is moved back, the same occurrence can be completed again.
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

it.effect("a repeating task moves on once within one turn, and undoing the turn moves it back", () =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const owner = yield* newUser
    const given = { ...newTask({ title: "t", due_date: "2101-01-03" }), repeat: every("FREQ=DAILY") }
    const made = yield* tasks.createMany(owner, [given, given, newTask({ title: "once" })], request)
    const state = Effect.map(listAll(owner, {}), (all) => all.map((task) => ({ ...task, updatedAt: null })))
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

it.effect("of concurrent completions of one occurrence, one moves the task on", () =>
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
