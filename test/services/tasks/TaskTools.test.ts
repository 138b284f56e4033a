import { Tool } from "@effect/ai"
import { assert, layer } from "@effect/vitest"
import {
  Array as Arr,
  Context,
  DateTime,
  Effect,
  FastCheck as fc,
  Layer,
  Predicate,
  Record,
  Schema,
  TestClock
} from "effect"
import { TaskId, UserId } from "../../../src/domain/Id.ts"
import { Cause } from "../../../src/domain/Task.ts"
import * as Strict from "../../../src/models/Strict.ts"
import { inputSchema } from "../../../src/services/agent/ToolParameters.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import { layer as handlers, TaskTools, ToolContext } from "../../../src/services/tasks/TaskTools.ts"
import * as Database from "../../support/Database.ts"

const services = Layer.provideMerge(handlers, Layer.provideMerge(Tasks.layer, Database.layer))

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

/** The results of tools as the model sees them, for a new user in a zone. */
const toolsOf = Effect.fn(function* (timeZone = "Europe/Berlin") {
  const user = yield* newUser
  const toolkit = yield* TaskTools
  const call = <Name extends keyof (typeof TaskTools)["tools"]>(
    name: Name,
    given: Tool.Parameters<(typeof TaskTools)["tools"][Name]>
  ) =>
    toolkit.handle(name, given).pipe(
      Effect.provideService(ToolContext, { user, timeZone, cause: Cause.Mcp({ requestId: "test" }) }),
      Effect.map(({ encodedResult, isFailure }) => {
        const result = decodeResult(encodedResult)
        assert.strictEqual(isFailure, result.status === "error")
        return result
      })
    )
  return { user, call }
})

const Task = Schema.Struct({
  id: Schema.Number,
  title: Schema.String,
  description: Schema.optional(Schema.NullOr(Schema.String)),
  completed: Schema.Boolean,
  priority: Schema.NullOr(Schema.String),
  labels: Schema.Array(Schema.String),
  due_date: Schema.NullOr(Schema.String),
  due_at: Schema.NullOr(Schema.String),
  repeat: Schema.NullOr(Schema.Struct({ rule: Schema.String, text: Schema.String })),
  completed_occurrence: Schema.optional(Schema.String)
})
const Result = Schema.Struct({
  status: Schema.Literal("success", "error"),
  error: Schema.optional(Schema.String),
  task: Schema.optional(Task),
  tasks: Schema.optional(Schema.Array(Task)),
  results: Schema.optional(
    Schema.Array(
      Schema.Struct({ status: Schema.String, task: Schema.optional(Task), error: Schema.optional(Schema.String) })
    )
  ),
  total: Schema.optional(Schema.Number),
  next_cursor: Schema.optional(Schema.NullOr(Schema.String)),
  left_out: Schema.optional(Schema.NullOr(Schema.String)),
  due: Schema.optional(Schema.NullOr(Schema.String)),
  today: Schema.optional(Schema.String),
  time_zone: Schema.optional(Schema.String)
})
const decodeResult = Schema.decodeUnknownSync(Result)

const taskOf = ({ task }: { readonly task?: typeof Task.Type | undefined }) => task ?? assert.fail("there is a task")

const setTime = (iso: string) => TestClock.setTime(DateTime.unsafeMake(iso).epochMillis)

/** All schemas within a JSON Schema. */
const partsOf = (schema: unknown): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  if (!Predicate.isRecord(schema)) return []
  const { anyOf, items, properties } = schema
  const inner = [
    ...(Array.isArray(anyOf) ? anyOf : []),
    items,
    ...(Predicate.isRecord(properties) ? Object.values(properties) : [])
  ]
  return [schema, ...inner.flatMap(partsOf)]
}

layer(services)("TaskTools", (it) => {
  it("the schemas of parameters are accepted by all strict modes", () => {
    for (const tool of Object.values(TaskTools.tools)) {
      const { parameters, strict } = Strict.offer(inputSchema(tool))
      assert.isTrue(strict)
      const parts = partsOf(parameters)
      assert.strictEqual(parts[0]?.["type"], "object")
      for (const { additionalProperties, anyOf, properties, required, type, ...others } of parts) {
        assert.deepStrictEqual(
          Object.keys(others).filter((name) => !["items", "enum", "description", "title"].includes(name)),
          []
        )
        if (type === "object" && Predicate.isRecord(properties)) {
          assert.strictEqual(additionalProperties, false)
          assert.deepStrictEqual(required, Object.keys(properties))
        } else if (Array.isArray(anyOf)) {
          assert.deepStrictEqual([anyOf.length, anyOf[1]], [2, { type: "null" }])
        } else {
          assert.include(["string", "integer", "boolean", "array", "null"], type)
        }
      }
    }
  })

  it("other callers may omit parameters with a default", () => {
    const required = Record.map(TaskTools.tools, (tool) => {
      const schema = inputSchema(tool)
      return "required" in schema ? schema.required : []
    })
    assert.deepStrictEqual(required, {
      list_tasks: [],
      create_task: ["title"],
      create_tasks: ["tasks"],
      get_task: ["task_id"],
      update_task: ["task_id"],
      mark_complete: [],
      delete_task: ["task_id"]
    })
    const items = partsOf(inputSchema(TaskTools.tools.create_tasks)).filter(({ type }) => type === "object")
    assert.deepStrictEqual(items[1]?.["required"], ["title"])
  })

  it("each tool has read-only, destructive and idempotent hints", () => {
    const hints = Object.values(TaskTools.tools).map(({ annotations, name }) => [
      name,
      Context.get(annotations, Tool.Readonly),
      Context.get(annotations, Tool.Destructive),
      Context.get(annotations, Tool.Idempotent)
    ])
    assert.deepStrictEqual(hints, [
      ["list_tasks", true, false, true],
      ["create_task", false, false, false],
      ["create_tasks", false, false, false],
      ["get_task", true, false, true],
      ["update_task", false, true, true],
      ["mark_complete", false, false, true],
      ["delete_task", false, true, true]
    ])
  })

  it.effect("absent parameters mean null", () =>
    Effect.gen(function* () {
      const { call } = yield* toolsOf()
      const { id, ...absent } = taskOf(yield* call("create_task", { title: "Buy milk" }))
      const all = { description: null, priority: null, labels: null, due: null }
      const { id: other, ...given } = taskOf(yield* call("create_task", { title: "Buy milk", ...all }))
      assert.deepStrictEqual(absent, given)
      assert.deepStrictEqual(taskOf(yield* call("mark_complete", { task_id: id })), { ...absent, id, completed: true })
      assert.deepStrictEqual(
        taskOf(yield* call("mark_complete", { task_id: other, task_ids: null, completed: null })),
        { ...given, id: other, completed: true }
      )
      assert.strictEqual((yield* call("list_tasks", {})).total, 2)
    })
  )

  it.effect("tools create, read, change, complete, list and delete only tasks of the call's user", () =>
    Effect.gen(function* () {
      const mine = yield* toolsOf()
      const theirs = yield* toolsOf()
      const made = taskOf(
        yield* mine.call("create_task", {
          title: "Call",
          description: "the bank",
          priority: "high",
          labels: ["work"],
          due: "2026-01-31"
        })
      )
      assert.deepStrictEqual(made, {
        id: made.id,
        title: "Call",
        description: "the bank",
        completed: false,
        priority: "high",
        labels: ["work"],
        due_date: "2026-01-31",
        due_at: null,
        repeat: null
      })
      const task_id = made.id
      const missing = { status: "error" as const, error: "Task not found" }
      assert.deepStrictEqual(yield* theirs.call("get_task", { task_id }), missing)
      assert.deepStrictEqual(yield* theirs.call("update_task", { task_id, title: "x" }), missing)
      assert.deepStrictEqual(yield* theirs.call("mark_complete", { task_id }), missing)
      assert.deepStrictEqual(yield* theirs.call("delete_task", { task_id }), missing)
      assert.strictEqual((yield* theirs.call("list_tasks", {})).total, 0)

      assert.deepStrictEqual(taskOf(yield* mine.call("get_task", { task_id })), made)
      const cleared = yield* mine.call("update_task", {
        task_id,
        title: "Ring",
        description: null,
        clear: ["due", "labels"]
      })
      assert.deepStrictEqual(taskOf(cleared), { ...made, title: "Ring", due_date: null, labels: [] })
      assert.strictEqual(taskOf(yield* mine.call("mark_complete", { task_id })).completed, true)
      assert.strictEqual(taskOf(yield* mine.call("mark_complete", { task_id, completed: false })).completed, false)
      assert.strictEqual(taskOf(yield* mine.call("delete_task", { task_id })).title, "Ring")
      assert.deepStrictEqual(yield* mine.call("delete_task", { task_id }), missing)
      assert.deepStrictEqual(yield* mine.call("get_task", { task_id: -1 }), missing)

      const tasks = yield* Tasks
      const { changes } = yield* tasks.history(mine.user, TaskId.make(task_id), {})
      assert.deepStrictEqual(
        changes.map(({ cause }) => ({ ...cause })),
        Arr.replicate({ _tag: "Mcp" as const, requestId: "test" }, 5)
      )
    })
  )

  it.effect("dates are read in the user's zone, and the result has the zone and today's date", () =>
    Effect.gen(function* () {
      yield* setTime("2026-01-31T22:30:00Z")
      for (const [timeZone, today, due_date, due_at] of [
        ["America/New_York", "2026-01-31", "2026-02-01", "2026-02-01T14:00:00.000Z"],
        ["Europe/Berlin", "2026-01-31", "2026-02-01", "2026-02-01T08:00:00.000Z"],
        ["Pacific/Auckland", "2026-02-01", "2026-02-02", "2026-02-01T20:00:00.000Z"]
      ] as const) {
        const { call } = yield* toolsOf(timeZone)
        const timed = yield* call("create_task", { title: "timed", due: "tomorrow 9am" })
        assert.deepStrictEqual([timed.today, timed.time_zone], [today, timeZone])
        assert.deepStrictEqual([taskOf(timed).due_date, taskOf(timed).due_at], [due_date, due_at])
        const moved = taskOf(yield* call("update_task", { task_id: taskOf(timed).id, due: "today" }))
        assert.strictEqual(moved.due_date, today)
        assert.deepStrictEqual(
          moved.due_at,
          DateTime.formatIso(DateTime.subtract(DateTime.unsafeMake(due_at), { days: 1 }))
        )
        const titles = Effect.fn(function* (due_after: string, due_before: string) {
          const { tasks, ...list } = yield* call("list_tasks", { due_after, due_before })
          assert.deepStrictEqual([list.today, list.time_zone], [today, timeZone])
          return tasks?.map(({ title }) => title)
        })
        assert.deepStrictEqual(yield* titles("today", today), ["timed"])
        assert.deepStrictEqual(yield* titles("tomorrow", "in two weeks"), [])
      }
    })
  )

  it.effect("a time alone keeps the day, a day alone keeps the time, and the result says when it is due now", () =>
    Effect.gen(function* () {
      yield* setTime("2026-11-29T12:00:00Z")
      const { call } = yield* toolsOf()
      const made = yield* call("create_task", { title: "t", due: "wednesday at 9" })
      const task_id = taskOf(made).id
      const due = (words: string) => Effect.map(call("update_task", { task_id, due: words }), ({ due }) => due)
      assert.strictEqual(made.due, "Wednesday, 2026-12-02, 09:00")
      assert.strictEqual(yield* due("at 17:00"), "Wednesday, 2026-12-02, 17:00")
      assert.strictEqual(yield* due("friday"), "Friday, 2026-12-04, 17:00")
      assert.strictEqual(yield* due("tomorrow at 8"), "Monday, 2026-11-30, 08:00")
      const cleared = yield* call("update_task", { task_id, clear: ["due"] })
      assert.strictEqual(cleared.due, null)
    })
  )

  it.effect("`repeat` accepts words or a rule, and each occurrence can be completed once", () =>
    Effect.gen(function* () {
      yield* setTime("2026-11-29T12:00:00Z")
      const { call } = yield* toolsOf()
      const made = yield* call("create_task", { title: "t", repeat: "every weekday at 9" })
      const task_id = taskOf(made).id
      assert.deepStrictEqual(
        [made.due, taskOf(made).repeat?.rule],
        ["Monday, 2026-11-30, 09:00", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"]
      )
      const complete = (given: object = {}) =>
        Effect.map(call("mark_complete", { task_id, ...given }), ({ error, task }) =>
          error === undefined ? [task?.completed, task?.due_date, task?.completed_occurrence] : error
        )
      assert.deepStrictEqual(yield* complete(), [false, "2026-12-01", "2026-11-30"])
      // The same call again changes nothing. To complete a later occurrence, the call must name it, or wait for its
      // day.
      assert.deepStrictEqual(yield* complete(), [false, "2026-12-01", "2026-11-30"])
      const several = yield* call("mark_complete", { task_ids: [task_id] })
      assert.strictEqual(several.results?.[0]?.task?.due_date, "2026-12-01")
      assert.strictEqual((yield* call("mark_complete", { task_id })).due, "Tuesday, 2026-12-01, 09:00")
      assert.deepStrictEqual(yield* complete({ occurrence: "2026-11-30" }), [false, "2026-12-01", "2026-11-30"])
      assert.match(String(yield* complete({ occurrence: "2026-12-09" })), /changed/)
      // A completed occurrence that is moved back can be completed again.
      yield* call("update_task", { task_id, due: "2026-11-30" })
      assert.deepStrictEqual(yield* complete(), [false, "2026-12-01", "2026-11-30"])
      assert.deepStrictEqual(yield* complete({ occurrence: "2026-12-01" }), [false, "2026-12-02", "2026-12-01"])
      yield* setTime("2026-11-30T12:00:00Z")
      assert.deepStrictEqual(yield* complete(), [false, "2026-12-03", "2026-12-02"])
      yield* call("update_task", { task_id, due: "2026-12-01" })
      const weekly = taskOf(yield* call("update_task", { task_id, repeat: "FREQ=WEEKLY" }))
      assert.deepStrictEqual([weekly.due_date, weekly.repeat?.text], ["2026-12-01", "every week on Tuesday"])
      // The text of a rule is read as the same rule.
      const again = taskOf(yield* call("update_task", { task_id, repeat: weekly.repeat?.text ?? null }))
      assert.strictEqual(again.repeat?.rule, "FREQ=WEEKLY;BYDAY=TU")
      for (const repeat of ["now and then", "FREQ=MINUTELY", ""]) {
        const refused = yield* call("update_task", { task_id, repeat })
        assert.match(refused.error ?? "", /^repeat /)
      }
      assert.strictEqual(taskOf(yield* call("update_task", { task_id, clear: ["repeat"] })).repeat, null)
    })
  )

  it.effect("lists have descriptions only on request, can be sorted, and have a limited size", () =>
    Effect.gen(function* () {
      const { call } = yield* toolsOf()
      const notes = "🙂".repeat(2000)
      for (const n of [0, 1]) {
        yield* call("create_tasks", {
          tasks: Arr.makeBy(25, (i) => ({
            title: `${n}-${i}`,
            description: notes,
            ...(i === 7 && { due: "2026-01-31" })
          }))
        })
      }
      const list = yield* call("list_tasks", {})
      assert.deepStrictEqual([list.tasks?.length, list.tasks?.some((task) => "description" in task)], [50, false])
      assert.match(list.left_out ?? "", /descriptions/)
      assert.isBelow(JSON.stringify(list).length, 40_000)
      const titles: Array<string> = []
      let cursor: string | null | undefined
      do {
        const page = yield* call("list_tasks", { descriptions: true, sort: "due", cursor })
        assert.isBelow(JSON.stringify(page).length, 45_000)
        assert.strictEqual(page.tasks?.[0]?.description, notes)
        assert.strictEqual(page.left_out === null, page.next_cursor === null)
        titles.push(...(page.tasks ?? []).map(({ title }) => title))
        cursor = page.next_cursor
      } while (cursor)
      assert.deepStrictEqual(titles.slice(0, 3), ["1-7", "0-7", "1-24"])
      assert.strictEqual(new Set(titles).size, 50)
      assert.strictEqual((yield* call("list_tasks", { due: "none" })).total, 48)
      assert.match((yield* call("list_tasks", { due: "none", due_after: "today" })).error ?? "", /due none/)
    })
  )

  it.effect("invalid values get an error in plain words and change nothing", () =>
    Effect.gen(function* () {
      const { call } = yield* toolsOf()
      const task_id = taskOf(yield* call("create_task", { title: "t" })).id
      const results = [
        yield* call("create_task", { title: " " }),
        yield* call("create_task", { title: "t".repeat(201), labels: Arr.replicate("l", 11) }),
        yield* call("create_task", { title: "t", labels: ["l", ""] }),
        yield* call("update_task", { task_id, description: "d".repeat(2001) }),
        yield* call("update_task", { task_id, labels: ["x"], clear: ["labels"] }),
        yield* call("update_task", { task_id }),
        yield* call("mark_complete", {}),
        yield* call("mark_complete", { task_id, task_ids: [task_id] }),
        yield* call("mark_complete", { task_ids: [] }),
        yield* call("mark_complete", { task_ids: Arr.replicate(task_id, 26) }),
        yield* call("create_tasks", { tasks: Arr.replicate({ title: "t" }, 26) }),
        yield* call("list_tasks", { cursor: "abc" })
      ]
      assert.deepStrictEqual(
        results.map(({ error }) => error),
        [
          "title must have 1 to 200 characters.",
          "title must have 1 to 200 characters. labels must have at most 10 labels.",
          "labels.1 must have 1 to 50 characters.",
          "description must have at most 2000 characters.",
          "labels is both given and named in clear. Do one of them.",
          "Nothing to change: give or clear at least one part.",
          "Give either task_id or task_ids.",
          "Give either task_id or task_ids.",
          "task_ids must have 1 to 25 members.",
          "task_ids must have 1 to 25 members.",
          "tasks must have 1 to 25 members.",
          "cursor must be the next_cursor of an earlier list."
        ]
      )
      for (const due of ["someday", "2026-02-30", ""]) {
        const { error } = yield* call("create_task", { title: "t", due })
        assert.include(error, "tomorrow at 9am")
        assert.strictEqual((yield* call("list_tasks", { due_before: due })).error, error)
      }
      assert.strictEqual((yield* call("list_tasks", {})).total, 1)
    })
  )

  it.effect("several tasks in one call succeed or fail independently, in order", () =>
    Effect.gen(function* () {
      const { call } = yield* toolsOf()
      const created = yield* call("create_tasks", {
        tasks: [{ title: "a" }, { title: "" }, { title: "b", due: "whenever" }, { title: "c", due: "2026-01-31" }]
      })
      assert.deepStrictEqual(
        created.results?.map(({ status, task }) => [status, task?.title]),
        [
          ["success", "a"],
          ["error", undefined],
          ["error", undefined],
          ["success", "c"]
        ]
      )
      const [a, , , c] = created.results ?? []
      const ids = [a, c].flatMap((result) => (result?.task === undefined ? [] : [result.task.id]))
      const completed = yield* call("mark_complete", {
        task_ids: [...ids.toReversed(), -1, ...ids, 9_007_199_254_740_991]
      })
      assert.deepStrictEqual(
        completed.results?.map(({ error, task }) => (task?.completed ? task.title : error)),
        ["c", "a", "Task not found", "a", "c", "Task not found"]
      )
      assert.strictEqual((yield* call("list_tasks", { status: "completed" })).total, 2)
    })
  )

  it.effect("a long list has pages of 1 to 100 with cursors", () =>
    Effect.gen(function* () {
      const { call } = yield* toolsOf()
      for (const chunk of Arr.chunksOf(Arr.range(1, 110), 22)) {
        yield* call("create_tasks", { tasks: chunk.map((n) => ({ title: `task ${n}` })) })
      }
      const sizes = yield* Effect.forEach([null, 0, 7, 1000], (limit) =>
        Effect.map(call("list_tasks", { limit }), ({ tasks }) => tasks?.length)
      )
      assert.deepStrictEqual(sizes, [50, 1, 7, 100])
      const first = yield* call("list_tasks", { limit: 100, query: "TASK" })
      const second = yield* call("list_tasks", { limit: 100, query: "TASK", cursor: first.next_cursor })
      assert.deepStrictEqual(
        [...(first.tasks ?? []), ...(second.tasks ?? [])].map(({ title }) => title),
        Arr.reverse(Arr.range(1, 110)).map((n) => `task ${n}`)
      )
      assert.deepStrictEqual([first.total, second.total, second.next_cursor], [110, 110, null])
    })
  )

  it.effect.prop(
    "for any text, a tool returns a result, and a list finds the created task",
    [fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), fc.string({ unit: "binary" })],
    ([title, description, due]) =>
      Effect.gen(function* () {
        const { call } = yield* toolsOf()
        const made = yield* call("create_task", { title, description, labels: [title.slice(0, 20)] })
        assert.strictEqual((yield* call("list_tasks", {})).total, made.status === "success" ? 1 : 0)
        if (made.task !== undefined) {
          const found = yield* call("list_tasks", { query: title, label: title.slice(0, 20) })
          assert.strictEqual(found.total, 1)
        }
        yield* call("create_task", { title: "t", due })
        yield* call("list_tasks", { query: due, label: due, cursor: due, due_after: due })
      }),
    { fastCheck: { numRuns: 30 } }
  )
})
