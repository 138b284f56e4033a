import type { Tool } from "@effect/ai"
import { Array as Arr, Effect, Either, type Layer, ParseResult, Predicate, Record, Schema } from "effect"
import { weekdayOf } from "../../dates/Calendar.ts"
import { resolveDue, todayIn } from "../../dates/Dates.ts"
import { Cursor, type Order as CursorOrder, cursorTo, orderOf } from "../../domain/Cursor.ts"
import { dayIn, timeIn } from "../../domain/Due.ts"
import { TaskId } from "../../domain/Id.ts"
import { readText } from "../../domain/Json.ts"
import { RepeatText } from "../../domain/NewTask.ts"
import {
  Label,
  Labels,
  LocalDate,
  Priority,
  SearchText,
  type Task,
  type TaskChanged,
  TaskDescription,
  type TaskNotFound,
  TaskTitle
} from "../../domain/Task.ts"
import * as Span from "../../runtime/Span.ts"
import { readRepeat } from "./Recurrence.ts"
import { Tasks, type Versioned } from "./Tasks.ts"
import { ListedTask, type Succeeded, TaskTools, ToolContext, type ToolFailure } from "./TaskToolkit.ts"

export { TaskTools, ToolContext } from "./TaskToolkit.ts"

/** The most tasks that one call may name or create. */
const maxTasks = 25
const maxLimit = 100

export const layer: Layer.Layer<Tool.HandlersFor<(typeof TaskTools)["tools"]>, never, Tasks> = TaskTools.toLayer(
  Effect.map(Tasks, (tasks) =>
    TaskTools.of({
      list_tasks: Span.fn("TaskTools.list_tasks")(function* (given) {
        const { user } = yield* ToolContext
        if (given.due != null && (given.due_before ?? given.due_after) != null) {
          return yield* refuse("due none goes without due_before and due_after.")
        }
        const sort = given.sort ?? "created"
        const page = yield* tasks.list(user, {
          status: given.status,
          priority: given.priority,
          label: yield* checked("label", Label, given.label),
          dueBefore: yield* dayOf(given.due_before),
          dueAfter: yield* dayOf(given.due_after),
          query: yield* checked("query", SearchText, given.query),
          due: given.due,
          sort,
          limit: given.limit == null ? null : Math.min(Math.max(given.limit, 1), maxLimit),
          cursor: yield* cursorOf(given.cursor, sort)
        })
        const all = page.tasks.map(({ description, ...task }) =>
          given.descriptions === true ? { ...task, description } : task
        )
        const listed = fitting(all)
        const last = page.tasks.at(listed.length - 1)
        const next = listed.length < all.length && last !== undefined ? cursorTo(last, sort) : page.nextCursor
        const isWithout = given.descriptions !== true && page.tasks.some(({ description }) => description !== null)
        return {
          status,
          tasks: listed,
          total: page.total,
          next_cursor: next === null ? null : encodeCursor(next),
          left_out: listed.length < all.length ? tooLong : isWithout ? noDescriptions : null,
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
        const isTimed = given.due != null || given.repeat != null
        const kept = isTimed ? yield* Effect.mapError(tasks.get(user, id), () => notFound) : undefined
        const cleared = clear ?? []
        const both = cleared.find((name) => given[name] != null)
        if (both !== undefined) return yield* refuse(`${both} is both given and named in clear. Do one of them.`)
        const patch = {
          ...(yield* patchOf(given, kept?.task)),
          ...(cleared.includes("description") && { description: null }),
          ...(cleared.includes("priority") && { priority: null }),
          ...(cleared.includes("labels") && { labels: null }),
          ...(cleared.includes("due") && { dueDate: null, dueAt: null }),
          ...(cleared.includes("repeat") && { repeat: null })
        }
        if (Object.keys(patch).length === 0) return yield* refuse("Nothing to change: give or clear at least one part.")
        return yield* answer(tasks.update(user, id, patch, cause))
      }),

      mark_complete: Span.fn("TaskTools.mark_complete")(function* ({ completed, occurrence, task_id, task_ids }) {
        const { cause, user } = yield* ToolContext
        if ((task_id == null) === (task_ids == null)) return yield* refuse("Give either task_id or task_ids.")
        if (occurrence != null) {
          if (task_id == null) return yield* refuse("occurrence goes with task_id.")
          const change = {
            completed: completed ?? true,
            occurrence: yield* checked("occurrence", LocalDate, occurrence)
          }
          return yield* answer(Effect.flatMap(idOf(task_id), (id) => tasks.update(user, id, change, cause)))
        }
        const ids = task_ids ?? Arr.fromNullable(task_id)
        yield* checkCount(ids, "task_ids")
        const known = yield* tasks.setCompleted(user, ids.filter(isTaskId), completed ?? true, cause)
        const results = ids.map((id) => outcome(known.find(({ task }) => task.id === id)))
        if (task_ids != null) return { status, results, ...(yield* present) }
        const [found] = known
        return yield* answer(found === undefined ? Effect.fail(notFound) : Effect.succeed(found))
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

/** The time zone in which dates were read, and today's date there. */
const present = Effect.gen(function* () {
  const { timeZone } = yield* ToolContext
  const { date } = yield* todayIn(timeZone)
  return { today: date, time_zone: timeZone }
})

const answer = Effect.fnUntraced(function* <R>(
  found: Effect.Effect<Versioned, ToolFailure | TaskNotFound | TaskChanged, R>
) {
  const { task } = yield* Effect.mapError(found, (error) => ("_tag" in error ? failure(error.message) : error))
  const here = yield* present
  return { status, task, due: dueText(task, here.time_zone), ...here }
})

const dueText = ({ dueAt, dueDate }: Task, timeZone: string) => {
  if (dueDate === null) return null
  const day = dueAt === null ? dueDate : dayIn(dueAt, timeZone)
  return `${weekdayOf(day)}, ${day}${dueAt === null ? "" : `, ${timeIn(dueAt, timeZone).slice(0, 5)}`}`
}

/** Bytes of the tasks in a list: a longer list would fill the model's context. */
const maxListLength = 40_000

const encodeListed = Schema.encodeSync(ListedTask)
const utf8 = new TextEncoder()

/** The tasks that fit into a list. */
const fitting = (tasks: ReadonlyArray<typeof ListedTask.Type>) => {
  let length = 0
  const end = tasks.findIndex((task) => {
    length += utf8.encode(JSON.stringify(encodeListed(task))).length
    return length > maxListLength
  })
  return end < 0 ? tasks : tasks.slice(0, Math.max(1, end))
}

const noDescriptions = "Descriptions: call again with descriptions true, or get_task for one task."
const tooLong = "Tasks that would have made the list too long: call again with next_cursor."

const isTaskId = Schema.is(TaskId)

const idOf = (id: number) => (isTaskId(id) ? Effect.succeed(id) : Effect.fail(notFound))

const checkCount = (items: ReadonlyArray<unknown>, name: string) =>
  items.length >= 1 && items.length <= maxTasks ? Effect.void : refuse(`${name} must have 1 to ${maxTasks} members.`)

/** Characters: more than words for a day need. */
const maxDueLength = 200

/** Read on the task's own day where the words name only a time. */
const dueOf = (words: string, day?: string | null) =>
  Effect.gen(function* () {
    const { timeZone } = yield* ToolContext
    const read = yield* Effect.mapError(readText(words, 0, maxDueLength), (why) => failure(`A date ${why}.`))
    return yield* Effect.catchTag(resolveDue(read, timeZone, day ?? undefined), "UnknownDate", ({ detail }) =>
      refuse(detail)
    )
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

const cursorOf = (cursor: string | null | undefined, sort: CursorOrder) =>
  cursor == null
    ? Effect.succeed(null)
    : Effect.filterOrElse(
        Effect.orElse(decodeCursor(cursor), () => refuse("cursor must be the next_cursor of an earlier list.")),
        (read) => orderOf(read) === sort,
        () => refuse("cursor must be of a list with the same sort.")
      )

const NewFields = Schema.Struct({
  title: TaskTitle,
  description: Schema.optionalWith(TaskDescription, { exact: true }),
  priority: Schema.optionalWith(Priority, { exact: true }),
  labels: Schema.optionalWith(Labels, { exact: true })
})

interface Timed {
  readonly due?: string | null | undefined
  readonly repeat?: string | null | undefined
}

/** Checks the arguments by the rules of tasks, and reads the due date and the repetition. */
const fieldsOf = <A>(decode: (fields: unknown) => Effect.Effect<A, ParseResult.ParseError>) =>
  Effect.fnUntraced(function* ({ due, repeat, ...fields }: Timed, kept?: Task) {
    const given = Record.filter(fields, Predicate.isNotNullable)
    const plain = yield* Effect.mapError(decode(given), (error) => failure(inWords(error)))
    const { timeZone } = yield* ToolContext
    const when = due == null ? undefined : yield* dueOf(due, kept?.dueDate)
    const rule = yield* readRepeat({ repeat: yield* checked("repeat", RepeatText, repeat), timeZone }).pipe(
      Effect.mapError(({ errors }) => failure(errors.map(({ message, path }) => `${path} ${message}`).join(" ")))
    )
    return {
      ...plain,
      // A day alone leaves the time of day to the task.
      ...(when !== undefined && { dueDate: when.dueDate, ...(when.dueAt !== null && { dueAt: when.dueAt }) }),
      ...(rule.repeat !== null && { repeat: rule.repeat }),
      ...((when?.dueAt != null || (rule.repeat !== null && kept?.dueAt == null)) && { timeZone })
    }
  })

const newTaskOf = fieldsOf(Schema.decodeUnknown(NewFields, { errors: "all" }))
const patchOf = fieldsOf(Schema.decodeUnknown(Schema.partialWith(NewFields, { exact: true }), { errors: "all" }))

const reasonOf = (error: ParseResult.ParseError) => ParseResult.ArrayFormatter.formatErrorSync(error)[0]?.message ?? ""

const inWords = (error: ParseResult.ParseError) =>
  ParseResult.ArrayFormatter.formatErrorSync(error)
    .map(({ message, path }) => `${path.join(".")} ${message}.`)
    .join(" ")
