import { Data, Schema } from "effect"
import { TaskId, type TurnId } from "./Id.ts"
import { key, list, Time, text } from "./Json.ts"
import { Problem } from "./Problem.ts"

export const TaskTitle = text(1, 200, "TaskTitle", "Buy milk")
export const TaskDescription = text(0, 2000, "TaskDescription", "Two bottles")
export const Label = text(1, 50, "Label", "errands")

export const Labels = list(Label, 10, "labels").annotations({ identifier: "Labels", description: "Up to 10 labels" })

/** A search text; titles and descriptions are no longer than its limit. */
export const SearchText = text(0, 2000, "SearchText", "milk")

export const Priority = Schema.Literal("low", "medium", "high").annotations({
  identifier: "Priority",
  description: "How important it is"
})
export type Priority = typeof Priority.Type

/** A day in the user's calendar, with no zone: it never shifts. */
export const LocalDate = Schema.String.pipe(
  Schema.filter((s) => (/^\d{4}-\d{2}-\d{2}$/.test(s) && isDay(s)) || "must be a date such as 2026-01-31", {
    identifier: "LocalDate",
    description: "A calendar day, YYYY-MM-DD",
    jsonSchema: {
      type: "string",
      format: "date",
      description: "A calendar day, YYYY-MM-DD",
      examples: ["2026-01-31"]
    }
  })
)

const isDay = (s: string) => {
  const time = Date.parse(`${s}T00:00:00Z`)
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(s) && !s.startsWith("0000")
}

/** How a task repeats. */
const Repeat = Schema.Struct({
  rule: Schema.String.annotations({
    description: "An RFC 5545 RRULE",
    examples: ["FREQ=WEEKLY;BYDAY=MO"]
  }),
  text: Schema.String.annotations({ description: "The same in words", examples: ["every week on Monday"] }),
  startsOn: Schema.String.annotations({
    jsonSchema: { type: "string", format: "date", description: "The first due date", examples: ["2026-02-02"] },
    description: "The first due date"
  }).pipe(key("starts_on"))
}).annotations({ identifier: "Repeat", description: "How it repeats" })

const example = {
  id: 7,
  title: "Call the bank",
  description: "Ask about the card",
  completed: false,
  priority: "high",
  labels: ["errands"],
  due_date: "2026-02-01",
  due_at: "2026-02-01T09:00:00.000Z",
  time_zone: "Europe/London",
  repeat: null,
  created_at: "2026-01-31T12:00:00.000Z",
  updated_at: "2026-01-31T12:00:00.000Z",
  completed_at: null
}

/** One thing to do, owned by one user. */
export class Task extends Schema.Class<Task>("Task")(
  {
    id: TaskId,
    title: Schema.String.annotations({ description: "1 to 200 characters" }),
    description: Schema.NullOr(Schema.String),
    completed: Schema.Boolean,
    priority: Schema.NullOr(Priority),
    labels: Schema.Array(Schema.String),
    dueDate: Schema.NullOr(Schema.String.annotations({ jsonSchema: { type: "string", format: "date" } }))
      .annotations({ description: "A day in the user's calendar; never shifts" })
      .pipe(key("due_date")),
    dueAt: Schema.NullOr(Time).annotations({ description: "Set if the task has a time" }).pipe(key("due_at")),
    timeZone: Schema.NullOr(Schema.String)
      .annotations({ description: "The zone in which due_at was given; null without a time" })
      .pipe(key("time_zone")),
    repeat: Schema.NullOr(Repeat),
    createdAt: Time.pipe(key("created_at")),
    updatedAt: Time.pipe(key("updated_at")),
    completedAt: Schema.NullOr(Time).pipe(key("completed_at")),
    completedOccurrence: Schema.optional(
      Schema.String.annotations({
        jsonSchema: {
          type: "string",
          format: "date",
          description: "In the answer to completing a repeating task: the completed due date",
          examples: ["2026-02-02"]
        }
      })
    ).pipe(Schema.fromKey("completed_occurrence"))
  },
  [undefined, { identifier: "Task", description: "One thing to do", jsonSchema: { examples: [example] } }]
) {}

/** The task does not exist or belongs to another user. Callers cannot distinguish the two. */
export class TaskNotFound extends Problem("TaskNotFound", {
  status: 404,
  codes: ["task_not_found"],
  title: "Task not found",
  detail: "Task not found"
}) {}

/** The task's version is no longer the one in `If-Match`. */
export class TaskChanged extends Problem("TaskChanged", {
  status: 412,
  codes: ["task_changed"],
  title: "Task changed",
  detail: "The task has changed since you read it. Read it again before you change it."
}) {}

/**
 * What changed a task: a request, a turn, an MCP call or an undo. Every change takes one and records it in the same
 * transaction.
 */
export type Cause = Data.TaggedEnum<{
  Turn: { readonly turnId: TurnId; readonly step: number; readonly position: number }
  /** `turnId` is the turn whose changes were undone. */
  Undo: { readonly turnId: TurnId }
  Request: { readonly requestId: string }
  Mcp: { readonly requestId: string }
}>
export const Cause = Data.taggedEnum<Cause>()
