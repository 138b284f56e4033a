import { DateTime, ParseResult, Schema } from "effect"
import { TimeZone, zoneOf } from "./Request.ts"
import { Labels, LocalDate, Priority, TaskDescription, TaskTitle } from "./Task.ts"

const rfc3339 = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i

const isDate = Schema.is(LocalDate)

/** An instant that a client gives, in any offset. */
const Instant = Schema.String.pipe(
  Schema.annotations({
    jsonSchema: {
      type: "string",
      format: "date-time",
      description: "RFC 3339, with any offset",
      examples: ["2026-01-31T09:00:00+01:00"]
    }
  }),
  Schema.transformOrFail(Schema.DateTimeUtcFromSelf, {
    strict: true,
    decode: (text, _, ast) => {
      const day = rfc3339.exec(text)?.[1]
      const instant = day !== undefined && isDate(day) ? DateTime.make(text.toUpperCase()) : undefined
      return instant === undefined || instant._tag === "None" || !isDate(dayIn(instant.value, "UTC"))
        ? ParseResult.fail(new ParseResult.Type(ast, text, "must be a time such as 2026-01-31T09:00:00Z"))
        : ParseResult.succeed(DateTime.toUtc(instant.value))
    },
    encode: (instant) => ParseResult.succeed(DateTime.formatIso(instant))
  }),
  Schema.annotations({ identifier: "Instant", description: "RFC 3339, with any offset" })
)

/** The day, `YYYY-MM-DD`, on which an instant falls in a zone. */
const dayIn = (instant: DateTime.DateTime, timeZone: string): string =>
  DateTime.formatIsoDate(DateTime.setZone(instant, zoneOf(timeZone)))

/** When a task is due, as clients and tools say it: absent members stay as they are, null clears. */
export interface Due {
  readonly dueDate?: string | null | undefined
  readonly dueAt?: DateTime.Utc | null | undefined
}

const due = {
  dueDate: Schema.optional(Schema.NullOr(LocalDate))
    .annotations({ description: "A day in the user's calendar; never shifts" })
    .pipe(Schema.fromKey("due_date")),
  dueAt: Schema.optional(Schema.NullOr(Instant))
    .annotations({ description: "An instant; sets due_date to its day unless that is given too" })
    .pipe(Schema.fromKey("due_at")),
  timeZone: Schema.optional(Schema.NullOr(TimeZone))
    .annotations({ description: "The zone in which due_at has its day; UTC when absent" })
    .pipe(Schema.fromKey("time_zone"))
}

/**
 * A day and an instant given together have to agree. Without a zone they do if anywhere on earth the instant falls on that
 * day: offsets go from −12 to +14 hours.
 */
const isConsistent = ({ dueAt, dueDate, timeZone }: Due & { readonly timeZone?: string | null | undefined }) => {
  if (dueAt == null || dueDate == null) return true
  if (timeZone != null) return dayIn(dueAt, timeZone) === dueDate
  const earliest = DateTime.formatIsoDateUtc(DateTime.subtract(dueAt, { hours: 12 }))
  const latest = DateTime.formatIsoDateUtc(DateTime.add(dueAt, { hours: 14 }))
  return earliest <= dueDate && dueDate <= latest
}

const inconsistent = { path: ["due_at"], message: "must fall on due_date" }

const newTaskExample = {
  title: "Call the bank",
  description: "Ask about the card",
  priority: "high",
  labels: ["errands"],
  due_at: "2026-01-31T09:00:00+01:00",
  time_zone: "Europe/Berlin"
}

/** What is known of a task before it exists. */
export const NewTask = Schema.Struct({
  title: TaskTitle,
  description: Schema.optional(Schema.NullOr(TaskDescription)),
  priority: Schema.optional(Schema.NullOr(Priority)),
  labels: Schema.optional(Schema.NullOr(Labels)),
  ...due
}).pipe(
  Schema.annotations({
    jsonSchema: { description: "What is known of a task before it exists", examples: [newTaskExample] }
  }),
  Schema.filter((task) => isConsistent(task) || inconsistent),
  Schema.annotations({ identifier: "NewTask" })
)

/** Changes to a task: an absent member stays, null clears. */
export const TaskPatch = Schema.Struct({
  title: Schema.optional(TaskTitle),
  description: Schema.optional(Schema.NullOr(TaskDescription)),
  priority: Schema.optional(Schema.NullOr(Priority)),
  labels: Schema.optional(Schema.NullOr(Labels)),
  completed: Schema.optional(Schema.Boolean),
  ...due
}).pipe(
  Schema.annotations({
    jsonSchema: {
      description: "Changes to a task: an absent member stays, null clears",
      examples: [{ completed: true, priority: null }]
    }
  }),
  Schema.filter((task) => isConsistent(task) || inconsistent),
  Schema.annotations({ identifier: "TaskPatch" })
)

/** Completes a time that came without its day, in the zone that came along or in UTC. */
export const withDay = <A extends Due & { readonly timeZone?: string | null | undefined }>(task: A): A =>
  task.dueAt != null && task.dueDate == null ? { ...task, dueDate: dayIn(task.dueAt, task.timeZone ?? "UTC") } : task

export type NewTask = typeof NewTask.Type
export type TaskPatch = typeof TaskPatch.Type
