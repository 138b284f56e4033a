import { Tool, Toolkit } from "@effect/ai"
import { Array as Arr, Context, Effect, Either, type Layer, ParseResult, Predicate, Record, Schema } from "effect"
import { resolveDue, todayIn } from "../../dates/Dates.ts"
import { Cursor } from "../../domain/Cursor.ts"
import { TaskId, type UserId } from "../../domain/Id.ts"
import { readText } from "../../domain/Json.ts"
import {
  type Cause,
  Label,
  Labels,
  Priority,
  SearchText,
  Task,
  type TaskChanged,
  TaskDescription,
  type TaskNotFound,
  TaskTitle
} from "../../domain/Task.ts"
import * as Span from "../../runtime/Span.ts"
import { integer, optional, parameters } from "../agent/ToolParameters.ts"
import { Tasks, type Versioned } from "./Tasks.ts"

/** Whose tasks a tool call works on, where its dates are read, and why. A model never names any of them. */
export class ToolContext extends Context.Tag("taskchat/services/ToolContext")<
  ToolContext,
  {
    readonly user: UserId
    /** An IANA name. */
    readonly timeZone: string
    readonly cause: Cause
  }
>() {}

/** How many tasks one call may name or create. */
const maxTasks = 25
const maxLimit = 100

const text = Schema.String
const priority = Schema.Literal(...Priority.literals)
const taskId = integer.annotations({ description: "The task's id" })

const ToolFailure = Schema.Struct({ status: Schema.Literal("error"), error: Schema.String })
type ToolFailure = typeof ToolFailure.Type

const here = {
  today: Schema.String.annotations({ description: "Today's date in time_zone" }),
  time_zone: Schema.String.annotations({ description: "The zone in which dates and times were read" })
}

const Succeeded = Schema.Struct({ status: Schema.Literal("success"), task: Task })
const Outcomes = Schema.Array(Schema.Union(Succeeded, ToolFailure))
const OneTask = Schema.Struct({ ...Succeeded.fields, ...here })

const common = { failure: ToolFailure, failureMode: "return" as const, dependencies: [ToolContext] }

const due =
  'When it is due: the user\'s own words ("tomorrow 9am", "next friday", "in two weeks"), a date (2026-01-31) or an RFC 3339 time'
const titleText = "What is to be done, 1 to 200 characters"
const descriptionText = "Details, up to 2000 characters"
const labelsText = "Up to 10 labels of 1 to 50 characters"

const newTask = {
  title: text.annotations({ description: titleText }),
  description: optional(text, descriptionText),
  priority: optional(priority, "How important it is"),
  labels: optional(Schema.Array(text), labelsText),
  due: optional(text, due)
}

const ListTasks = Tool.make("list_tasks", {
  ...common,
  description:
    "List the user's tasks, newest first. Parameters narrow the list; null ones do not. Dates are inclusive. When next_cursor is not null there are more: call again with it as cursor and the same other parameters.",
  success: Schema.Struct({
    status: Schema.Literal("success"),
    tasks: Schema.Array(Task),
    total: Schema.Number.annotations({ description: "How many there are on all pages" }),
    next_cursor: Schema.NullOr(Schema.String),
    ...here
  })
})
  .setParameters(
    parameters({
      status: optional(Schema.Literal("all", "pending", "completed"), "all when null"),
      priority: optional(priority, "Only tasks of this priority"),
      label: optional(text, "Only tasks with exactly this label"),
      due_before: optional(text, 'Only tasks due on or before this day: 2026-01-31, or words such as "friday"'),
      due_after: optional(text, 'Only tasks due on or after this day: 2026-01-31, or words such as "today"'),
      query: optional(text, "Only tasks with this text in title or description, whatever the case"),
      limit: optional(integer, "How many to return, 1 to 100; 50 when null"),
      cursor: optional(text, "The next_cursor of the page before")
    })
  )
  .annotate(Tool.Title, "List tasks")
  .annotate(Tool.Readonly, true)
  .annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const CreateTask = Tool.make("create_task", {
  ...common,
  description: "Create one task. Use create_tasks for several.",
  success: OneTask
})
  .setParameters(parameters(newTask))
  .annotate(Tool.Title, "Create a task")
  .annotate(Tool.Destructive, false)
  .annotate(Tool.OpenWorld, false)

const CreateTasks = Tool.make("create_tasks", {
  ...common,
  description:
    "Create 1 to 25 tasks at once. The results are in the order of the tasks; each succeeds or fails by itself.",
  success: Schema.Struct({ status: Schema.Literal("success"), results: Outcomes, ...here })
})
  .setParameters(
    parameters({ tasks: Schema.Array(Schema.Struct(newTask)).annotations({ description: "1 to 25 tasks" }) })
  )
  .annotate(Tool.Title, "Create several tasks")
  .annotate(Tool.Destructive, false)
  .annotate(Tool.OpenWorld, false)

const GetTask = Tool.make("get_task", { ...common, description: "Read one task by its id.", success: OneTask })
  .setParameters(parameters({ task_id: taskId }))
  .annotate(Tool.Title, "Read a task")
  .annotate(Tool.Readonly, true)
  .annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const UpdateTask = Tool.make("update_task", {
  ...common,
  description:
    "Change a task. A null parameter leaves that part as it is; to remove a description, priority, labels or due date, name it in clear. Labels replace the ones before. Use mark_complete to complete or reopen.",
  success: OneTask
})
  .setParameters(
    parameters({
      task_id: taskId,
      title: optional(text, titleText),
      description: optional(text, descriptionText),
      priority: optional(priority, "How important it is"),
      labels: optional(Schema.Array(text), `${labelsText}; they replace the present ones`),
      due: optional(text, due),
      clear: optional(Schema.Array(Schema.Literal("description", "priority", "labels", "due")), "What to remove")
    })
  )
  .annotate(Tool.Title, "Change a task")
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const MarkComplete = Tool.make("mark_complete", {
  ...common,
  description:
    "Complete tasks, or reopen them with completed false. Not a toggle: safe to repeat. Give task_id for one task or task_ids for up to 25, not both; with task_ids the results are in their order.",
  success: Schema.Struct({
    status: Schema.Literal("success"),
    task: Schema.optional(Task),
    results: Schema.optional(Outcomes),
    ...here
  })
})
  .setParameters(
    parameters({
      task_id: optional(integer, "The id of the task"),
      task_ids: optional(Schema.Array(integer), "The ids of 1 to 25 tasks"),
      completed: optional(Schema.Boolean, "true (also when null) completes, false reopens")
    })
  )
  .annotate(Tool.Title, "Complete or reopen tasks")
  .annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const DeleteTask = Tool.make("delete_task", {
  ...common,
  description: "Delete one task. The answer is the task as it was.",
  success: OneTask
})
  .setParameters(parameters({ task_id: taskId }))
  .annotate(Tool.Title, "Delete a task")
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

/** What an agent and MCP clients can do with tasks. Handlers need `ToolContext` with each call, not when they are made. */
export class TaskTools extends Toolkit.make(
  ListTasks,
  CreateTask,
  CreateTasks,
  GetTask,
  UpdateTask,
  MarkComplete,
  DeleteTask
) {}

export const layer: Layer.Layer<Tool.HandlersFor<(typeof TaskTools)["tools"]>, never, Tasks> = TaskTools.toLayer(
  Effect.map(Tasks, (tasks) =>
    TaskTools.of({
      list_tasks: Span.fn("TaskTools.list_tasks")(function* (given) {
        const { user } = yield* ToolContext
        const page = yield* tasks.list(user, {
          status: given.status,
          priority: given.priority,
          label: yield* checked("label", Label, given.label),
          dueBefore: yield* dayOf(given.due_before),
          dueAfter: yield* dayOf(given.due_after),
          query: yield* checked("query", SearchText, given.query),
          limit: given.limit == null ? null : Math.min(Math.max(given.limit, 1), maxLimit),
          cursor: yield* cursorOf(given.cursor)
        })
        return {
          status,
          tasks: page.tasks.map(({ task }) => task),
          total: page.total,
          next_cursor: page.nextCursor === null ? null : encodeCursor(page.nextCursor),
          ...(yield* present)
        }
      }),

      create_task: Span.fn("TaskTools.create_task")(function* (given) {
        const { cause, user } = yield* ToolContext
        return yield* answer(tasks.create(user, yield* newTaskOf(given), cause))
      }),

      create_tasks: Span.fn("TaskTools.create_tasks")(function* ({ tasks: given }) {
        const { cause, user } = yield* ToolContext
        yield* checkCount(given, "tasks")
        const read = yield* Effect.forEach(given, (task) => Effect.either(newTaskOf(task)))
        const created = yield* tasks.createMany(user, Arr.getRights(read), cause)
        const [, results] = Arr.mapAccum(read, created, (rest, one) =>
          Either.isRight(one) ? [rest.slice(1), outcome(rest[0])] : [rest, one.left]
        )
        return { status, results, ...(yield* present) }
      }),

      get_task: Span.fn("TaskTools.get_task")(function* ({ task_id }) {
        const { user } = yield* ToolContext
        return yield* answer(Effect.flatMap(idOf(task_id), (id) => tasks.get(user, id)))
      }),

      update_task: Span.fn("TaskTools.update_task")(function* ({ clear, task_id, ...given }) {
        const { cause, user } = yield* ToolContext
        const id = yield* idOf(task_id)
        const cleared = clear ?? []
        const both = cleared.find((name) => given[name] != null)
        if (both !== undefined) return yield* refuse(`${both} is both given and named in clear. Do one of them.`)
        const patch = {
          ...(yield* patchOf(given)),
          ...(cleared.includes("description") && { description: null }),
          ...(cleared.includes("priority") && { priority: null }),
          ...(cleared.includes("labels") && { labels: null }),
          ...(cleared.includes("due") && { dueDate: null, dueAt: null })
        }
        if (Object.keys(patch).length === 0) return yield* refuse("Nothing to change: give or clear at least one part.")
        return yield* answer(tasks.update(user, id, patch, cause))
      }),

      mark_complete: Span.fn("TaskTools.mark_complete")(function* ({ completed, task_id, task_ids }) {
        const { cause, user } = yield* ToolContext
        if ((task_id == null) === (task_ids == null)) return yield* refuse("Give either task_id or task_ids.")
        const ids = task_ids ?? Arr.fromNullable(task_id)
        yield* checkCount(ids, "task_ids")
        const known = yield* tasks.setCompleted(user, ids.filter(isTaskId), completed ?? true, cause)
        const results = ids.map((id) => outcome(known.find(({ task }) => task.id === id)))
        if (task_ids != null) return { status, results, ...(yield* present) }
        const [result = notFound] = results
        return result.status === "success" ? { ...result, ...(yield* present) } : yield* Effect.fail(result)
      }),

      delete_task: Span.fn("TaskTools.delete_task")(function* ({ task_id }) {
        const { cause, user } = yield* ToolContext
        return yield* answer(Effect.flatMap(idOf(task_id), (id) => tasks.remove(user, id, cause)))
      })
    })
  )
)

const status = "success" as const

const failure = (error: string): ToolFailure => ({ status: "error", error })
const refuse = (error: string) => Effect.fail(failure(error))
const notFound = failure("Task not found")

const outcome = (found: Versioned | undefined): typeof Succeeded.Type | ToolFailure =>
  found === undefined ? notFound : { status, task: found.task }

/** In which zone dates were read, and which day it is there. */
const present = Effect.gen(function* () {
  const { timeZone } = yield* ToolContext
  const { date } = yield* todayIn(timeZone)
  return { today: date, time_zone: timeZone }
})

const answer = Effect.fnUntraced(function* <R>(
  found: Effect.Effect<Versioned, ToolFailure | TaskNotFound | TaskChanged, R>
) {
  const { task } = yield* Effect.mapError(found, (error) => ("_tag" in error ? failure(error.message) : error))
  return { status, task, ...(yield* present) }
})

const isTaskId = Schema.is(TaskId)

const idOf = (id: number) => (isTaskId(id) ? Effect.succeed(id) : Effect.fail(notFound))

const checkCount = (items: ReadonlyArray<unknown>, name: string) =>
  items.length >= 1 && items.length <= maxTasks ? Effect.void : refuse(`${name} must have 1 to ${maxTasks} members.`)

/** Characters: more than anyone says about a day. */
const maxDueLength = 200

const dueOf = (words: string) =>
  Effect.gen(function* () {
    const { timeZone } = yield* ToolContext
    const read = yield* Effect.mapError(readText(words, 0, maxDueLength), (why) => failure(`A date ${why}.`))
    return yield* Effect.catchTag(resolveDue(read, timeZone), "UnknownDate", ({ detail }) => refuse(detail))
  })

const dayOf = (words: string | null | undefined) =>
  words == null ? Effect.succeed(null) : Effect.map(dueOf(words), ({ dueDate }) => dueDate)

/** A parameter that may be null, by the rules of what it stands for. */
const checked = <A>(name: string, schema: Schema.Schema<A, string>, given: string | null | undefined) =>
  given == null
    ? Effect.succeed(null)
    : Effect.mapError(Schema.decode(schema)(given), (error) => failure(`${name} ${reasonOf(error)}.`))

const decodeCursor = Schema.decode(Cursor)
const encodeCursor = Schema.encodeSync(Cursor)

const cursorOf = (cursor: string | null | undefined) =>
  cursor == null
    ? Effect.succeed(null)
    : Effect.orElse(decodeCursor(cursor), () => refuse("cursor must be the next_cursor of an earlier list."))

const NewFields = Schema.Struct({
  title: TaskTitle,
  description: Schema.optionalWith(TaskDescription, { exact: true }),
  priority: Schema.optionalWith(Priority, { exact: true }),
  labels: Schema.optionalWith(Labels, { exact: true })
})

/** Checks what is given against the rules of tasks, and finds out when it is due. */
const fieldsOf = <A>(decode: (fields: unknown) => Effect.Effect<A, ParseResult.ParseError>) =>
  Effect.fnUntraced(function* ({ due, ...fields }: { readonly due?: string | null | undefined }) {
    const given = Record.filter(fields, Predicate.isNotNullable)
    const checked = yield* Effect.mapError(decode(given), (error) => failure(inWords(error)))
    return due == null ? checked : { ...checked, ...(yield* dueOf(due)) }
  })

const newTaskOf = fieldsOf(Schema.decodeUnknown(NewFields, { errors: "all" }))
const patchOf = fieldsOf(Schema.decodeUnknown(Schema.partialWith(NewFields, { exact: true }), { errors: "all" }))

const reasonOf = (error: ParseResult.ParseError) => ParseResult.ArrayFormatter.formatErrorSync(error)[0]?.message ?? ""

const inWords = (error: ParseResult.ParseError) =>
  ParseResult.ArrayFormatter.formatErrorSync(error)
    .map(({ message, path }) => `${path.join(".")} ${message}.`)
    .join(" ")
