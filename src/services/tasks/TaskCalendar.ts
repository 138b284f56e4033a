import { DateTime, Effect } from "effect"
import type { UserId } from "../../domain/Id.ts"
import { zoneOf } from "../../domain/Request.ts"
import type { Task } from "../../domain/Task.ts"
import { countBefore } from "./Recurrence.ts"

type Ical = typeof import("ical.js")["default"]
type Component = InstanceType<Ical["Component"]>

/** Loaded by the first calendar. Lines have at most 75 bytes; those that go on begin with a space that it does not count. */
const load = Effect.promise(async () => {
  const { default: ical } = await import("ical.js")
  ical.foldLength = 74
  return ical
})

/** The time zones of a calendar name the changes of their clocks from the year before this one on, for so many years. */
const years = 11

/**
 * Writes tasks as to-dos of iCalendar (RFC 5545), to be written out in order: `begin`, each task, `end`. A time is written in its
 * zone, which comes with the first task that needs it, so that a task which repeats keeps its time on the clock. The
 * start of one that repeats is its due date, as most programs for to-dos write it: it says from where on the rule counts.
 */
export const make = Effect.gen(function* () {
  const ical = yield* load
  const now = yield* DateTime.now
  const firstYear = DateTime.getPartUtc(now, "year") - 1
  const zones = new Set<string>()

  const utc = (instant: DateTime.Utc) => ical.Time.fromJSDate(DateTime.toDate(instant), true)

  const local = (instant: DateTime.Utc, zone: string) => {
    const { day, hours, minutes, month, seconds, year } = DateTime.toParts(DateTime.setZone(instant, zoneOf(zone)))
    const time = { year, month, day, hour: hours, minute: minutes, second: seconds, isDate: false }
    return new ical.Time(time, ical.Timezone.localTimezone)
  }

  const due = ({ dueAt, dueDate, timeZone }: Task) => {
    if (dueDate === null) return undefined
    if (dueAt === null) return { value: ical.Time.fromDateString(dueDate) }
    return timeZone === null || timeZone === "UTC"
      ? { value: utc(dueAt) }
      : { value: local(dueAt, timeZone), zone: timeZone }
  }

  /** Of an open task that repeats: what is left of its rule, from the due date on. */
  const ruleOf = ({ dueAt, dueDate, repeat, timeZone }: Task) => {
    if (repeat === null || dueDate === null) return undefined
    const rule = ical.Recur.fromString(repeat.rule)
    if (rule.count) rule.count = Math.max(1, rule.count - countBefore(repeat.rule, repeat.startsOn, dueDate))
    // Where the start has a time, so has the end, in UTC: that of the last day.
    if (rule.until && dueAt !== null) {
      const zone = zoneOf(timeZone ?? "UTC")
      const { hours, millis, minutes, seconds } = DateTime.toParts(DateTime.setZone(dueAt, zone))
      const { day, month, year } = rule.until
      const last = DateTime.unsafeMakeZoned(
        { year, month, day, hours, minutes, seconds, millis },
        {
          timeZone: zone,
          adjustForTimeZone: true
        }
      )
      rule.until = utc(DateTime.toUtc(last))
    }
    return rule
  }

  const todo = (user: UserId, task: Task) => {
    const component = new ical.Component("vtodo")
    const add = (name: string, value: unknown, zone?: string) => {
      const property = component.updatePropertyWithValue(name, value)
      if (zone !== undefined) property.setParameter("tzid", zone)
    }
    add("uid", `${user}-${task.id}@taskchat`)
    add("dtstamp", utc(task.updatedAt))
    add("created", utc(task.createdAt))
    add("last-modified", utc(task.updatedAt))
    add("summary", task.title)
    if (task.description) add("description", task.description)
    const at = due(task)
    const rule = task.completed ? undefined : ruleOf(task)
    if (at !== undefined) {
      if (rule !== undefined) {
        add("dtstart", at.value, at.zone)
        add("rrule", rule)
      }
      add("due", at.value, at.zone)
    }
    add("status", task.completed ? "COMPLETED" : "NEEDS-ACTION")
    if (task.completedAt !== null) add("completed", utc(task.completedAt))
    if (task.priority !== null) add("priority", priorities[task.priority])
    if (task.labels.length > 0) {
      const categories = new ical.Property("categories")
      categories.setValues([...task.labels])
      component.addProperty(categories)
    }
    return component
  }

  const written = (component: Component) => `${component.toString()}\r\n`

  return {
    begin: "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//taskchat//taskchat//EN\r\n",
    task: (user: UserId, task: Task) => {
      const component = todo(user, task)
      const zone = component.getFirstProperty("due")?.getFirstParameter("tzid")
      if (!zone || zones.has(zone)) return written(component)
      zones.add(zone)
      return written(timeZone(ical, zone, firstYear)) + written(component)
    },
    end: "END:VCALENDAR\r\n"
  }
})

const priorities = { high: 1, medium: 5, low: 9 }

/** A zone by the changes of its clock. */
const timeZone = (ical: Ical, name: string, firstYear: number) => {
  const zone = zoneOf(name)
  const offsetAt = (millis: number) => DateTime.zonedOffset(DateTime.unsafeMakeZoned(millis, { timeZone: zone }))
  const component = new ical.Component("vtimezone")
  component.updatePropertyWithValue("tzid", name)
  const start = Date.UTC(firstYear)
  const first = offsetAt(start)
  component.addSubcomponent(observance(ical, { at: Date.UTC(1970), from: first, to: first }))
  for (const change of changesOf(offsetAt, start, Date.UTC(firstYear + years))) {
    component.addSubcomponent(observance(ical, change))
  }
  return component
}

interface Change {
  /** In milliseconds since 1970; offsets are milliseconds too. */
  readonly at: number
  readonly from: number
  readonly to: number
}

const observance = (ical: Ical, { at, from, to }: Change) => {
  const component = new ical.Component(to > from ? "daylight" : "standard")
  const dtstart = ical.Time.fromJSDate(new Date(at + from), true)
  // The clock's own time, of no zone.
  dtstart.zone = ical.Timezone.localTimezone
  component.updatePropertyWithValue("dtstart", dtstart)
  component.updatePropertyWithValue("tzoffsetfrom", ical.UtcOffset.fromSeconds(from / 1000))
  component.updatePropertyWithValue("tzoffsetto", ical.UtcOffset.fromSeconds(to / 1000))
  return component
}

const week = 7 * 86_400_000

/** When an offset changes, to the second. */
const changesOf = (offsetAt: (millis: number) => number, start: number, end: number) => {
  const changes: Array<Change> = []
  let from = offsetAt(start)
  for (let at = start; at < end; at += 2 * week) {
    const to = offsetAt(at + 2 * week)
    if (to === from) continue
    let [low, high] = [at, at + 2 * week]
    while (high - low > 1000) {
      const middle = Math.round((low + high) / 2000) * 1000
      if (offsetAt(middle) === from) low = middle
      else high = middle
    }
    changes.push({ at: high, from, to })
    from = to
  }
  return changes
}
