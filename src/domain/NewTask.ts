import { DateTime, ParseResult, Schema } from "effect"
import { dayIn } from "./Due.ts"
import { text } from "./Json.ts"
import { TimeZone } from "./Request.ts"
import { Labels, LocalDate, Priority, TaskDescription, TaskTitle } from "./Task.ts"

const rfc3339 = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i

const isDate = Schema.is(LocalDate)

/** An instant from a client, with any offset. */
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

interface Due {
  readonly dueDate?: string | null | undefined
  readonly dueAt?: DateTime.Utc | null | undefined
  readonly timeZone?: string | null | undefined
}

const due = {
  dueDate: Schema.optional(Schema.NullOr(LocalDate))
    .annotations({ description: "A day in the user's calendar; never shifts" })
    .pipe(Schema.fromKey("due_date")),
  dueAt: Schema.optional(Schema.NullOr(Instant))
    .annotations({
      description: "An instant; sets due_date to its day unless that is given too. Null leaves the day without a time"
    })
    .pipe(Schema.fromKey("due_at")),
  timeZone: Schema.optional(Schema.NullOr(TimeZone))
    .annotations({ description: "The zone that determines the day of due_at; UTC when absent" })
    .pipe(Schema.fromKey("time_zone"))
}

/**
 * A day and an instant given together must agree. Without a zone they agree if the instant is on that day anywhere on
 * earth: offsets go from −12 to +14 hours.
 */
const isConsistent = ({ dueAt, dueDate, timeZone }: Due) => {
  if (dueAt == null || dueDate == null) return true
  if (timeZone != null) return dayIn(dueAt, timeZone) === dueDate
  const earliest = DateTime.formatIsoDateUtc(DateTime.subtract(dueAt, { hours: 12 }))
  const latest = DateTime.formatIsoDateUtc(DateTime.add(dueAt, { hours: 14 }))
  return earliest <= dueDate && dueDate <= latest
}

const maxRepeatLength = 300

/** How a task repeats, as people write it. */
export const RepeatText = text(1, maxRepeatLength, "RepeatText", "every monday").annotations({
  description: 'Words ("every monday", "every 2 weeks") or an RFC 5545 RRULE ("FREQ=WEEKLY;BYDAY=MO")'
})

const repeat = Schema.optional(Schema.NullOr(RepeatText))

const inconsistent = { path: ["due_at"], message: "must fall on due_date" }

const newTaskExample = {
  title: "Call the bank",
  description: "Ask about the card",
  priority: "high",
  labels: ["errands"],
  due_at: "2026-01-31T09:00:00+01:00",
  time_zone: "Europe/Berlin"
}

const newTask = {
  title: TaskTitle,
  description: Schema.optional(Schema.NullOr(TaskDescription)),
  priority: Schema.optional(Schema.NullOr(Priority)),
  labels: Schema.optional(Schema.NullOr(Labels)),
  ...due
}

const patch = {
  ...newTask,
  title: Schema.optional(TaskTitle),
  completed: Schema.optional(Schema.Boolean),
  occurrence: Schema.optional(Schema.NullOr(LocalDate)).annotations({
    description: "The due date of a repeating task to complete; if it is already completed, nothing changes"
  })
}

const consistent = (task: Due) => isConsistent(task) || inconsistent

/** A task to create. */
export const NewTask = Schema.Struct(newTask).pipe(Schema.filter(consistent))

/** Changes to a task: an absent member stays, null clears. */
export const TaskPatch = Schema.Struct(patch).pipe(Schema.filter(consistent))

/** The form that clients send, with `repeat` in words. */
export const NewTaskBody = Schema.Struct({ ...newTask, repeat }).pipe(
  Schema.annotations({
    jsonSchema: { description: "A task to create", examples: [newTaskExample] }
  }),
  Schema.filter(consistent),
  Schema.annotations({ identifier: "NewTask" })
)

/** The form that clients send, with `repeat` in words. */
export const TaskPatchBody = Schema.Struct({ ...patch, repeat }).pipe(
  Schema.annotations({
    jsonSchema: {
      description: "Changes to a task: an absent member stays, null clears",
      examples: [{ completed: true, priority: null }]
    }
  }),
  Schema.filter(consistent),
  Schema.annotations({ identifier: "TaskPatch" })
)

/** How a task repeats: a rule, with the time and the first day if the words named them. */
export interface Repeat {
  /** An RRULE, validated by `readRepeat` of `services/tasks/Recurrence.ts`. */
  readonly rule: string
  /** `HH:MM` or longer. */
  readonly time: string | null
  readonly startsOn: string | null
}

interface Repeating {
  readonly repeat?: Repeat | null | undefined
}

export type NewTask = typeof NewTask.Type & Repeating
export type TaskPatch = typeof TaskPatch.Type & Repeating
