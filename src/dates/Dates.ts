import { Clock, Data, DateTime, Effect, Either, Option } from "effect"
import { zoneOf } from "../domain/Request.ts"
import * as Calendar from "./Calendar.ts"
import { dayOf } from "./Days.ts"
import { parse } from "./Grammar.ts"
import { isDayPart, type Part } from "./Parts.ts"
import { ends, hoursOf, type Time, timeOf, usualHour } from "./Times.ts"
import { tokensOf } from "./Tokens.ts"

/** `dueDate` is the day in the user's calendar; `dueAt` is set when a time was given, and falls on that day there. */
export interface Due {
  readonly dueDate: string
  readonly dueAt: DateTime.Utc | null
  /** What the words named; the other one was filled in. */
  readonly given: "day" | "time" | "both"
}

/** Words that name no day. `detail` says why and what does work; it does not repeat the words. */
export class UnknownDate extends Data.TaggedError("UnknownDate")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

/** What people can be told to write. */
const examples =
  'a date such as 2026-01-31, a time such as 2026-01-31T09:00:00+01:00, or English words such as "tomorrow at 9am", "next friday", "in two weeks" or "end of the month"'

const refusal = (why: string) => new UnknownDate({ detail: `${why} Use ${examples}.` })
const unknown = (why: string) => Either.left(refusal(why))

/** UTF-16 units: before compatible characters are made alike, and after. */
const maxText = 400
const maxPhrase = 100

type Found = Either.Either<Due, UnknownDate>

/**
 * Reads a task's `due` in a time zone; now comes from `Clock`. See `resolve` for the rules.
 * The zone is one that `TimeZone` of `domain/Request` lets through; any other is a defect.
 */
export const resolveDue = (text: string, timeZone: string, day?: string): Effect.Effect<Due, UnknownDate> =>
  Effect.flatMap(DateTime.now, (now) => resolve(text, now, zoneOf(timeZone), day))

/**
 * The rules of `due`, as a pure function. It takes
 * - an instant (RFC 3339 or 9557), kept as it is; its `dueDate` is its day in the zone;
 * - a date, which stays that date everywhere; a date and time without an offset, read in the zone;
 * - durations in hours and minutes ("in 90 minutes"), counted exactly, whatever the clocks do meanwhile;
 * - days, times and parts of the day in words and in any order, each word used once. Two days or two times that differ are
 *   refused, and so is a word that the grammar does not know. A weekday is its next occurrence after today, "this friday"
 *   may be today, "next friday" is the one of next week; weeks begin on Monday. "next week" is its Monday, "next month" its
 *   first day, "this month" its last. A month's day without a year is the next one, today included.
 *   "today", "tonight" and "this …" are refused for what is over.
 *   A time alone is the next time a clock shows it, or on `day` if that is given. Without am or pm, 1 to 6 on a day mean
 *   the afternoon. Parts of a day decide between the two, or stand for an hour (morning 9:00, afternoon 15:00, evening
 *   18:00, night 20:00). A night ends at 5:00 of the next day, and a day's midnight is the one that ends it.
 *
 * A time that the clocks skip moves forward by as much as they do; of two with the same name it is the earlier.
 */
export const resolve = (text: string, now: DateTime.Utc, zone: DateTime.TimeZone, day?: string): Found => {
  if (text.length > maxText) return unknown("That is too long for a date.")
  const words = text
    .normalize("NFKC")
    .replace(/\p{Cf}/gu, "")
    .replace(/[‘’]/g, "'")
    .trim()
    .replace(/[.!?]$/, "")
  if (words === "") return unknown("There is no date in it.")
  if (words.length > maxPhrase) return unknown("That is too long for a date.")
  const written = stamp.exec(words)
  if (written !== null) return fromStamp(written, zone)
  if (/^(?:right )?now$/i.test(words)) return at(now, zone)
  const parts = parse(tokensOf(words))
  return parts === null ? unknown("Not all of that is a date in English.") : fromParts(parts, now, zone, day)
}

/** Now on the user's wall: `date` is YYYY-MM-DD, `weekday` an English name, `time` HH:MM. */
export interface Today {
  readonly date: string
  readonly weekday: string
  readonly time: string
  readonly timeZone: string
}

/** What the agent's instructions and a tool's result say of the present. */
export const todayIn = (timeZone: string): Effect.Effect<Today> =>
  Effect.map(Clock.currentTimeMillis, (millis) => {
    const minute = Math.floor(millis / 60_000)
    const zone = zoneOf(timeZone)
    const known = present.get(zone.id)
    if (known?.minute === minute) return { ...known.today, timeZone }
    const iso = DateTime.formatIsoOffset(DateTime.unsafeMakeZoned(millis, { timeZone: zone }))
    const today = { date: iso.slice(0, 10), weekday: Calendar.weekdayOf(iso.slice(0, 10)), time: iso.slice(11, 16) }
    present.set(zone.id, { minute, today })
    return { ...today, timeZone }
  })

/** By zone, of which there are some hundred. Every turn asks, and a zone's clock takes 40 µs to read. */
const present = new Map<string, { readonly minute: number; readonly today: Omit<Today, "timeZone"> }>()

/** `Today is Friday, 2026-01-30, 14:05 in Europe/Berlin.`: the line that the instructions carry. */
export const sentence = (today: Today) =>
  `Today is ${today.weekday}, ${today.date}, ${today.time} in ${today.timeZone}.`

/** RFC 3339, with the zone of RFC 9557; the offset may be left out, and a space may stand for the T. */
const stamp =
  /^(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(z|[+-]\d\d:?\d\d)?(?:\[([a-z][\w+/-]{0,63})\])?$/i

const fromStamp = ([, date = "", time = "", offset, name]: RegExpExecArray, zone: DateTime.TimeZone): Found => {
  if (!Calendar.isDay(date)) return unknown("There is no such day.")
  const named = name === undefined ? Option.some(zone) : DateTime.zoneMakeNamed(name)
  if (Option.isNone(named)) return unknown("There is no such time zone.")
  if (offset === undefined) return Either.flatMap(onClock(date, time, named.value), (instant) => at(instant, zone))
  const instant = DateTime.make(`${date}T${time}${offset.toUpperCase().replace(/(\d\d)(\d\d)$/, "$1:$2")}`)
  if (Option.isNone(instant)) return unknown("There is no such time.")
  const shown = DateTime.formatIsoOffset(DateTime.setZone(instant.value, named.value))
  if (name !== undefined && !/^z$/i.test(offset) && !shown.startsWith(`${date}T${time.slice(0, 5)}`)) {
    return unknown("The offset is not that of the time zone.")
  }
  return at(DateTime.toUtc(instant.value), zone)
}

/** What the database, RFC 3339 and `YYYY-MM-DD` can all carry. */
const first = DateTime.toEpochMillis(DateTime.unsafeMake("0001-01-01T00:00:00Z"))
const last = DateTime.toEpochMillis(DateTime.unsafeMake("9999-12-31T23:59:59.999Z"))

const at = (instant: DateTime.Utc, zone: DateTime.TimeZone, given: Due["given"] = "both"): Found => {
  const millis = instant.epochMillis
  if (!(millis >= first && millis <= last)) return unknown("That is too far away.")
  const dueDate = DateTime.formatIsoDate(DateTime.setZone(instant, zone))
  return Calendar.isDay(dueDate) ? Either.right({ dueDate, dueAt: instant, given }) : unknown("That is too far away.")
}

/** The instant at which a clock in the zone shows that day and time. */
const onClock = (date: string, time: string, zone: DateTime.TimeZone): Either.Either<DateTime.Utc, UnknownDate> =>
  Option.match(DateTime.makeZoned(`${date}T${time}Z`, { timeZone: zone, adjustForTimeZone: true }), {
    onNone: () => unknown("There is no such time."),
    onSome: (instant) => Either.right(DateTime.toUtc(instant))
  })

const fromParts = (parts: ReadonlyArray<Part>, now: DateTime.Utc, zone: DateTime.TimeZone, ownDay?: string): Found =>
  exactly(parts, now, zone) ??
  Either.gen(function* () {
    const today = DateTime.formatIsoDate(DateTime.setZone(now, zone))
    const times = timeOf(parts)
    if (times === null) return yield* unknown("That names more than one time.")
    const named = yield* Either.mapLeft(dayOf(parts.filter(isDayPart), today), refusal)
    const isToday = parts.some(saysToday)
    if (named !== null && isToday && named !== today) return yield* unknown("That names more than one day.")
    const date = named ?? (isToday || parts.some(({ is }) => is === "end of day") ? today : null)
    if (times.time === undefined && times.part === undefined) {
      return date === null ? yield* unknown("That names no day.") : { dueDate: date, dueAt: null, given: "day" }
    }
    const hours = hoursOf(times.time, times.part)
    const usual = usualHour(hours)
    if (usual === undefined) return yield* unknown("That part of the day has no such hour.")
    const given = date === null ? "time" : "both"
    const clock = (day: string, hour: number) => timed(day, hour, times.time, zone, given)
    const isAhead = (due: Found) => Either.isRight(due) && isAfter(due.right, now)

    if (date === null) {
      if (ownDay !== undefined) return yield* clock(ownDay, usual)
      const days = [today, Calendar.dayIn(today, 1)]
      const next = days.flatMap((day) => hours.map((hour) => clock(day, hour))).find(isAhead)
      return yield* next ?? clock(Calendar.dayIn(today, 1), usual)
    }
    const ahead = date === today ? [usual, ...hours].map((hour) => clock(date, hour)).find(isAhead) : undefined
    if (ahead !== undefined) return yield* ahead
    if (date !== today || !(isToday || parts.some(saysThis))) return yield* clock(date, usual)
    // The hour that stands for a part of the day may be over when the part is not.
    const { part, time } = times
    const lasts = time === undefined && part !== undefined && isAhead(clock(date, ends[part]))
    return lasts ? { dueDate: date, dueAt: null, given: "day" } : yield* unknown("That is over already.")
  })

const saysToday = (part: Part) => (part.is === "near" && part.days === 0) || (part.is === "part of day" && part.today)
const saysThis = (part: Part) => part.is === "weekday" && part.which === "this"

const isAfter = ({ dueAt }: Due, now: DateTime.Utc) => dueAt !== null && DateTime.greaterThan(dueAt, now)

/** An hour of a day; 24 and more are those of the next day. */
const timed = (
  day: string,
  hour: number,
  time: Time | undefined,
  zone: DateTime.TimeZone,
  given: Due["given"]
): Found => {
  const offset = time?.offset ?? null
  const where = offset === null ? zone : DateTime.zoneMakeOffset(offset * 60_000)
  const shown = [hour % 24, time?.minute ?? 0, time?.second ?? 0].map(Calendar.two).join(":")
  const instant = onClock(hour < 24 ? day : Calendar.dayIn(day, 1), shown, where)
  return Either.flatMap(instant, (utc) => at(utc, zone, given))
}

const millisOf = { hour: 3_600_000, minute: 60_000, second: 1000 }

/** "in 90 minutes" goes by the stopwatch, its whole days by the calendar. Null for anything without hours or minutes. */
const exactly = (parts: ReadonlyArray<Part>, now: DateTime.Utc, zone: DateTime.TimeZone): Found | null => {
  const [shift, ...others] = parts
  if (shift?.is !== "shift" || shift.base.length > 0) return null
  let days = 0
  let millis = 0
  for (const { n, unit } of shift.amounts) {
    if (unit === "hour" || unit === "minute" || unit === "second") millis += n * millisOf[unit]
    else if (unit === "day" || unit === "week") days += n * (unit === "day" ? 1 : 7)
    else return null
  }
  if (millis === 0 && shift.amounts.every(({ unit }) => unit === "day" || unit === "week")) return null
  if (others.length > 0 || !Number.isInteger(days)) return unknown("That names more than one time.")
  const from = DateTime.add(DateTime.setZone(now, zone), { days: shift.sign * days })
  return at(DateTime.add(DateTime.toUtc(from), { millis: Math.round(shift.sign * millis) }), zone)
}
