import { Tool, Toolkit } from "@effect/ai"
import { Context, Predicate, Schema } from "effect"
import { Order } from "../../domain/Cursor.ts"
import type { UserId } from "../../domain/Id.ts"
import { type Cause, Priority, Task } from "../../domain/Task.ts"
import { About, Changes, Deletes, integer, optional } from "../agent/ToolParameters.ts"

/** The user, the time zone and the cause of a tool call. The model cannot set any of them. */
export class ToolContext extends Context.Tag("taskchat/services/ToolContext")<
  ToolContext,
  {
    readonly user: UserId
    /** An IANA name. */
    readonly timeZone: string
    readonly cause: Cause
  }
>() {}

const text = Schema.String
const priority = Schema.Literal(...Priority.literals)
const taskId = integer.annotations({ description: "The task's id" })

export const ToolFailure = Schema.Struct({ status: Schema.Literal("error"), error: Schema.String })
export type ToolFailure = typeof ToolFailure.Type

const here = {
  today: Schema.String.annotations({ description: "Today's date in time_zone" }),
  time_zone: Schema.String.annotations({ description: "The zone in which dates and times were read" })
}

export const Succeeded = Schema.Struct({ status: Schema.Literal("success"), task: Task })
const Outcomes = Schema.Array(Schema.Union(Succeeded, ToolFailure))
const dueNow = Schema.NullOr(Schema.String).annotations({
  description: "When it is due now, on the clocks of time_zone"
})
const OneTask = Schema.Struct({ ...Succeeded.fields, due: dueNow, ...here })

const { description, ...others } = Task.fields

/** A task in a list, without its description unless requested, to save tokens. */
export const ListedTask = Schema.Struct({ ...others, description: Schema.optional(Schema.NullOr(Schema.String)) })

const common = { failure: ToolFailure, failureMode: "return" as const, dependencies: [ToolContext] }

const due =
  'When it is due: the user\'s own words ("tomorrow 9am", "next friday", "in two weeks"), a date (2026-01-31) or an RFC 3339 time'
const titleText = "What is to be done, 1 to 200 characters"
const descriptionText = "Details, up to 2000 characters"
const repeatText =
  'How it repeats, in words ("every monday", "every 2 weeks") or as an RFC 5545 RRULE (FREQ=WEEKLY;BYDAY=MO)'
const labelsText = "Up to 10 labels of 1 to 50 characters"

const newTask = {
  title: text.annotations({ description: titleText }),
  description: optional(text, descriptionText),
  priority: optional(priority, "How important it is"),
  labels: optional(Schema.Array(text), labelsText),
  due: optional(text, due),
  repeat: optional(text, repeatText)
}

const one = () => 1
const each = (name: string) => (given: unknown) =>
  Predicate.hasProperty(given, name) && Array.isArray(given[name]) ? given[name].length : 1

const about = (given: unknown) => {
  const named = Predicate.isRecord(given) ? [given["task_id"], given["task_ids"]] : []
  return named.flat().filter(Predicate.isNumber)
}

const ListTasks = Tool.make("list_tasks", {
  ...common,
  description:
    "List the user's tasks. Parameters narrow the list; null ones do not. Dates are inclusive. When next_cursor is not null there are more: call again with it as cursor and the same other parameters. left_out says what the list does without.",
  success: Schema.Struct({
    status: Schema.Literal("success"),
    tasks: Schema.Array(ListedTask),
    total: Schema.Number.annotations({ description: "How many there are on all pages" }),
    next_cursor: Schema.NullOr(Schema.String),
    left_out: Schema.NullOr(Schema.String),
    ...here
  })
})
  .setParameters(
    Schema.Struct({
      status: optional(Schema.Literal("all", "pending", "completed"), "all when null"),
      priority: optional(priority, "Only tasks of this priority"),
      label: optional(text, "Only tasks with exactly this label"),
      due_before: optional(text, 'Only tasks due on or before this day: 2026-01-31, or words such as "friday"'),
      due_after: optional(text, 'Only tasks due on or after this day: 2026-01-31, or words such as "today"'),
      due: optional(Schema.Literal("none"), "none: only tasks without a due date; not with due_before or due_after"),
      query: optional(text, "Only tasks with this text in title or description, whatever the case and accents"),
      sort: optional(
        Schema.Literal(...Order.literals),
        "created (also when null): newest first; due: earliest first; priority: high first"
      ),
      descriptions: optional(Schema.Boolean, "true: with the tasks' descriptions"),
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
  .setParameters(Schema.Struct(newTask))
  .annotate(Tool.Title, "Create a task")
  .annotate(Changes, one)
  .annotate(Tool.Destructive, false)
  .annotate(Tool.OpenWorld, false)

const CreateTasks = Tool.make("create_tasks", {
  ...common,
  description:
    "Create 1 to 25 tasks at once. The results are in the order of the tasks; each succeeds or fails by itself.",
  success: Schema.Struct({ status: Schema.Literal("success"), results: Outcomes, ...here })
})
  .setParameters(
    Schema.Struct({ tasks: Schema.Array(Schema.Struct(newTask)).annotations({ description: "1 to 25 tasks" }) })
  )
  .annotate(Tool.Title, "Create several tasks")
  .annotate(Changes, each("tasks"))
  .annotate(Tool.Destructive, false)
  .annotate(Tool.OpenWorld, false)

const GetTask = Tool.make("get_task", { ...common, description: "Read one task by its id.", success: OneTask })
  .setParameters(Schema.Struct({ task_id: taskId }))
  .annotate(Tool.Title, "Read a task")
  .annotate(Tool.Readonly, true)
  .annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const UpdateTask = Tool.make("update_task", {
  ...common,
  description:
    "Change a task. A null parameter leaves that part as it is; to remove a description, priority, labels, due date or repetition, name it in clear. A day alone keeps the time of day. Labels replace the ones before. Of a task that repeats, another due date moves this occurrence only. Use mark_complete to complete or reopen.",
  success: OneTask
})
  .setParameters(
    Schema.Struct({
      task_id: taskId,
      title: optional(text, titleText),
      description: optional(text, descriptionText),
      priority: optional(priority, "How important it is"),
      labels: optional(Schema.Array(text), `${labelsText}; they replace the present ones`),
      due: optional(text, due),
      repeat: optional(text, `${repeatText}; it begins anew`),
      clear: optional(
        Schema.Array(Schema.Literal("description", "priority", "labels", "due", "repeat")),
        "What to remove"
      )
    })
  )
  .annotate(Tool.Title, "Change a task")
  .annotate(Changes, one)
  .annotate(About, about)
  .annotate(Deletes, false)
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const MarkComplete = Tool.make("mark_complete", {
  ...common,
  description:
    "Complete tasks, or reopen them with completed false. Not a toggle: safe to repeat. Give task_id for one task or task_ids for up to 25, not both; with task_ids the results are in their order. A task that repeats moves on to its next due date instead, once however often the call is repeated; completed_occurrence is the one that is done. To do a further one ahead, name it in occurrence.",
  success: Schema.Struct({
    status: Schema.Literal("success"),
    task: Schema.optional(Task),
    due: Schema.optional(dueNow),
    results: Schema.optional(Outcomes),
    ...here
  })
})
  .setParameters(
    Schema.Struct({
      task_id: optional(integer, "The id of the task"),
      task_ids: optional(Schema.Array(integer), "The ids of 1 to 25 tasks"),
      completed: optional(Schema.Boolean, "true (also when null) completes, false reopens"),
      occurrence: optional(text, "With task_id: the due date, such as 2026-01-31, that is meant of a task that repeats")
    })
  )
  .annotate(Tool.Title, "Complete or reopen tasks")
  .annotate(Changes, each("task_ids"))
  .annotate(About, about)
  .annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const DeleteTask = Tool.make("delete_task", {
  ...common,
  description: "Delete one task. The answer is the task as it was.",
  success: OneTask
})
  .setParameters(Schema.Struct({ task_id: taskId }))
  .annotate(Tool.Title, "Delete a task")
  .annotate(Changes, one)
  .annotate(About, about)
  .annotate(Deletes, true)
  .annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

/** The tools for agents and MCP clients. Handlers require `ToolContext` for each call, not when they are built. */
export class TaskTools extends Toolkit.make(
  ListTasks,
  CreateTask,
  CreateTasks,
  GetTask,
  UpdateTask,
  MarkComplete,
  DeleteTask
) {}
