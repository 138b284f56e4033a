import { Array as Arr, DateTime, Order } from "effect"
import * as Calendar from "../../dates/Calendar.ts"
import { dayIn, instantOf, timeIn } from "../../domain/Due.ts"
import type { Repeat, TaskPatch } from "../../domain/NewTask.ts"
import { fold } from "../../domain/Text.ts"
import { firstFrom, nextAfter, type Series, textOf } from "./Recurrence.ts"
import type { Columns } from "./TaskStatements.ts"

/** The columns of a task that a change may depend on. */
export interface Kept {
  readonly dueDate: string | null
  readonly dueAt: DateTime.Utc | null
  readonly timeZone: string | null
  readonly completed: boolean
  readonly series: Series | null
}

const nothing: Kept = { dueDate: null, dueAt: null, timeZone: null, completed: false, series: null }

/** The time of a change, and its turn, if any. */
export interface Moment {
  readonly now: DateTime.Utc
  readonly turnId: string | null
  /**
   * A task that is as its completion of the same day left it moves on only if `occurrence` says so: clients that have no turn
   * may send a call again.
   */
  readonly onceADay?: boolean
}

export interface Settled {
  /** What to write. */
  readonly columns: Columns
  /** The occurrence of a repeating task that this, or an earlier change like it, completed. */
  readonly occurrence: string | null
}

/**
 * The tasks for which `columnsOf` alone gives the new values: all, those that do not repeat, or none. For the others
 * `settle` computes them from the task.
 */
export const scopeOf = (changes: TaskPatch): "any" | "single" | "none" => {
  const { completed, dueAt, dueDate, repeat, timeZone } = changes
  const namesDue = dueDate !== undefined || dueAt !== undefined || timeZone != null
  if (repeat != null || (namesDue && completed === true)) return "none"
  if (dueAt === undefined && (dueDate != null || (dueDate === undefined && timeZone != null))) return "none"
  return completed === true ? "single" : "any"
}

/** The new values that do not depend on the task. */
export const columnsOf = (changes: TaskPatch, moment: Moment): Columns =>
  settle(nothing, changes, moment)?.columns ?? {}

/**
 * What a change makes of a task. Null if it completes an occurrence that is not the task's present one, and that was not
 * completed before either.
 */
export const settle = (kept: Kept, changes: TaskPatch, moment: Moment): Settled | null => {
  const due = dueOf(kept, changes)
  const after = { ...kept, ...due }
  const columns = { ...contentOf(changes), ...columnsOfDue(due), ...(changes.dueDate === null && { repeat: null }) }
  if (changes.repeat === null)
    return completion({ ...after, series: null }, changes, moment, { ...columns, repeat: null })
  if (changes.repeat === undefined) {
    return completion(changes.dueDate === null ? { ...after, series: null } : after, changes, moment, columns)
  }
  const started = start(after, changes.repeat, changes, moment)
  return completion({ ...after, ...started }, changes, moment, {
    ...columns,
    ...columnsOfDue(started),
    repeat: started.series
  })
}

/** The part that is the same for every task. */
const contentOf = ({ description, labels, priority, title }: TaskPatch): Columns => ({
  ...(title !== undefined && { title, title_search: fold(title) }),
  ...(description !== undefined && { description, description_search: description && fold(description) }),
  ...(priority !== undefined && { priority }),
  ...(labels !== undefined && { labels: Arr.dedupe(labels ?? []) })
})

type Due = Pick<Kept, "dueDate" | "dueAt" | "timeZone">

const noDue: Due = { dueDate: null, dueAt: null, timeZone: null }

const columnsOfDue = ({ dueAt, dueDate, timeZone }: Partial<Due>): Columns => ({
  ...(dueDate !== undefined && { due_date: dueDate }),
  ...(dueAt !== undefined && { due_at: dueAt && DateTime.formatIso(dueAt) }),
  ...(timeZone !== undefined && { time_zone: timeZone })
})

/** The changed parts of the due date: a day alone keeps the time of day. */
const dueOf = (kept: Kept, { dueAt, dueDate, timeZone }: TaskPatch): Partial<Due> => {
  if (dueAt != null) {
    const day = dueDate ?? dayIn(dueAt, timeZone ?? "UTC")
    return { dueDate: day, dueAt, timeZone: timeZone ?? (dayIn(dueAt, "UTC") === day ? "UTC" : null) }
  }
  if (dueDate === null) return noDue
  const day = dueDate === undefined ? {} : { dueDate }
  if (dueAt === null) return { ...day, dueAt, timeZone: null }
  if (kept.dueAt === null) return day
  if (dueDate !== undefined) return { dueDate, ...timeOn(dueDate, kept, kept.dueAt, timeZone ?? kept.timeZone) }
  return timeZone == null ? {} : { dueDate: dayIn(kept.dueAt, timeZone), timeZone }
}

/** The time of day that a task has, on another day. */
const timeOn = (day: string, { dueDate, timeZone: was }: Kept, dueAt: DateTime.Utc, timeZone: string | null) => {
  if (was === null || timeZone === null) {
    // Its zone is unknown; it keeps its distance from the day's beginning.
    const moved = DateTime.distance(DateTime.unsafeMake(dueDate ?? day), DateTime.unsafeMake(day))
    return { dueAt: DateTime.add(dueAt, { millis: moved }), timeZone: was }
  }
  return timed(day, timeIn(dueAt, was), timeZone)
}

/** A day's time; none where that would be beyond what dates can say. */
const timed = (day: string, time: string, zone: string) => {
  const dueAt = instantOf(day, time, zone)
  return { dueAt, timeZone: dueAt && zone }
}

/** A series begins on the task's day; if it has none, on the first that matches and is not over. */
const start = (
  after: Kept,
  { rule, startsOn, time: said }: Repeat,
  { dueAt: given, timeZone }: TaskPatch,
  { now }: Moment
) => {
  const zone = timeZone ?? after.timeZone ?? "UTC"
  const own = after.dueAt && timeIn(after.dueAt, after.timeZone ?? "UTC")
  const time = given == null ? (said ?? own) : own
  const day = after.dueDate ?? startsOn ?? firstAhead(rule, time, zone, now)
  const due = { dueDate: day, ...(time === null ? { dueAt: null, timeZone: null } : timed(day, time, zone)) }
  const series: Series = {
    rule,
    text: textOf(rule, day),
    starts_on: day,
    time: due.dueAt && timeIn(due.dueAt, zone),
    time_zone: due.timeZone,
    completed: null,
    completed_on: null,
    turn_id: null
  }
  return { ...due, series }
}

const firstAhead = (rule: string, time: string | null, zone: string, now: DateTime.Utc): string => {
  const today = dayIn(now, zone)
  const first = firstFrom(rule, today) ?? today
  const instant = time === null ? null : instantOf(first, time, zone)
  if (instant === null || DateTime.greaterThan(instant, now)) return first
  return firstFrom(rule, Calendar.dayIn(first, 1)) ?? first
}

/** Completes a task, or the present occurrence of one that repeats, which then moves on to the next. */
const completion = (
  task: Kept,
  { completed, occurrence }: TaskPatch,
  { now, onceADay, turnId }: Moment,
  columns: Columns
): Settled | null => {
  const { series } = task
  if (completed !== true || series === null) {
    return { columns: { ...columns, ...(completed !== undefined && { completed }) }, occurrence: null }
  }
  const today = dayIn(now, task.timeZone ?? series.time_zone ?? "UTC")
  const present = task.dueDate ?? today
  if (occurrence != null && occurrence !== present) {
    return series.completed !== null && occurrence <= series.completed ? { columns, occurrence } : null
  }
  const { completed: last, completed_on: on } = series
  const isAgain = onceADay === true && occurrence == null && last !== null && on === today
  if (
    task.completed ||
    (turnId !== null && series.turn_id === turnId) ||
    (isAgain && present === nextAfter(series, later(last, today)))
  ) {
    return { columns, occurrence: last }
  }
  const next = nextAfter(series, later(present, today))
  const repeat = { ...series, completed: present, completed_on: today, turn_id: turnId }
  const moved = next === null ? { completed: true } : columnsOfDue({ dueDate: next, ...timeOf(series, next) })
  return { columns: { ...columns, ...moved, repeat, kind: "completed" }, occurrence: present }
}

const later = Order.max(Order.string)

const timeOf = ({ time, time_zone: zone }: Series, day: string) =>
  time === null || zone === null ? { dueAt: null, timeZone: null } : timed(day, time, zone)
