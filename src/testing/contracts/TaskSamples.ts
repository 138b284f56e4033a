import { Array as Arr, DateTime, Effect, FastCheck as fc, Schema, Order as Sort } from "effect"
import { Order } from "../../domain/Cursor.ts"
import { type TaskId, TurnId, UserId } from "../../domain/Id.ts"
import { NewTask, TaskPatch } from "../../domain/NewTask.ts"
import { Cause, Priority, type Task } from "../../domain/Task.ts"
import { type TaskQuery, Tasks, type Versioned } from "../../services/tasks/Tasks.ts"

/* Users, tasks, queries and changes for the facts about tasks. */

export const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))
export const newTurn = Effect.sync(() => TurnId.make(crypto.randomUUID()))
export const request = Cause.Request({ requestId: "test" })
export const newTask = Schema.decodeUnknownSync(NewTask)
export const patch = Schema.decodeUnknownSync(TaskPatch)
/** Creates a task for each title. */
export const createTitled = (owner: UserId, titles: ReadonlyArray<string>) =>
  Effect.flatMap(Tasks, (tasks) =>
    tasks.createMany(
      owner,
      titles.map((title) => newTask({ title })),
      request
    )
  )

export const ids = (tasks: ReadonlyArray<Task | Versioned>) =>
  tasks.map((one) => ("task" in one ? one.task.id : one.id))

/** All tasks that match a query, read page by page. */
export const listAll = (owner: UserId, query: TaskQuery) =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const found: Array<Task> = []
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

export const task = fc
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

export const query = fc.record({
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

/** Folds letters for search: σ and ς are equal, and so are ä, Ä and a. */
const letters = (text: string) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replaceAll("ς", "σ")

/** True if a query must find the task. */
export const isFound = (query: TaskQuery) => (task: Task) => {
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

/** The stable sort of a query, for tasks that are newest first. */
export const inOrder = ({ sort }: TaskQuery) =>
  Arr.sortWith(({ dueAt, dueDate, priority }: Task) => {
    if (sort === "due") return [dueDate ?? "~", dueAt === null ? "~" : DateTime.formatIso(dueAt)]
    return sort === "priority" ? [String(["high", "medium", "low", null].indexOf(priority))] : []
  }, Sort.array(Sort.string))

/** One random change of one of the tasks. */
export type Change = (owner: UserId, cause: Cause) => Effect.Effect<unknown, never, Tasks>
export const changeOf = (candidates: ReadonlyArray<TaskId>): fc.Arbitrary<Change> => {
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
