import { Clock, Data, DateTime, Effect, Either, Option } from "effect"
import { zoneOf } from "../domain/Request.ts"
import * as Calendar from "./Calendar.ts"
import { dayOf } from "./Days.ts"
import { parse } from "./Grammar.ts"
import { isDayPart, type Part } from "./Parts.ts"
import { ends, hoursOf, type Time, timeOf, usualHour, usualHours } from "./Times.ts"
import { tokensOf } from "./Tokens.ts"

/** `dueDate` is the day in the user's time zone. `dueAt` is an instant of that day, set if the text names a time. */
export interface Due {
  readonly dueDate: string
  readonly dueAt: DateTime.Utc | null
  /** What the text names. The rest is filled in. */
  readonly given: "day" | "time" | "both"
}

/** The text is not a date. `detail` gives the reason and valid examples. It does not repeat the text. */
export class UnknownDate extends Data.TaggedError("UnknownDate")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

const examples =
  'a date such as 2026-01-31, a time such as 2026-01-31T09:00:00+01:00, or English words such as "tomorrow at 9am", "next friday", "in two weeks" or "end of the month"'

const refusal = (why: string) => new UnknownDate({ detail: `${why} Use ${examples}.` })
const unknown = (why: string) => Either.left(refusal(why))

/** Length limits in UTF-16 units: before NFKC normalization and after it. */
const maxText = 400
const maxPhrase = 100

type Found = Either.Either<Due, UnknownDate>

/**
 * Reads a task's `due` in a time zone. The present comes from `Clock`. See `resolve` for the rules.
 * The zone must be valid for `TimeZone` of `domain/Request`. Any other zone is a defect.
 */
export const resolveDue = (text: string, timeZone: string, day?: string): Effect.Effect<Due, UnknownDate> =>
  Effect.flatMap(DateTime.now, (now) => resolve(text, now, zoneOf(timeZone), day))

/**
 * The rules of `due`, as a pure function. It accepts:
 * - An instant (RFC 3339 or 9557). It is kept unchanged, and `dueDate` is its day in the zone.
 * - A date, which is the same date in every zone. A date and time without an offset is read in the zone.
 * - A duration in hours and minutes ("in 90 minutes"). It is exact, even across a daylight-saving change.
 * - Days, times and parts of the day in words, in any order. Each word is used once. Two different days or times are
 *   refused, and so is an unknown word. A weekday is its next occurrence after today. "this friday" may be today, and
 *   "next friday" is the Friday of next week. Weeks begin on Monday. "next week" is its Monday, "next month" its first
 *   day, "this month" its last. A day of a month without a year is the next such day, which may be today.
 *   "today", "tonight" and "this …" are refused if the time is in the past.
 *   A time alone is its next occurrence, or that time on `day` if `day` is given. Without am or pm, the hours 1 to 6 of
 *   a day are in the afternoon. A part of the day chooses between am and pm, or stands for an hour (morning 9:00,
 *   afternoon 15:00, evening 18:00, night 20:00). A night ends at 5:00 of the next day. A day's midnight is at its end.
 *
 * If a daylight-saving change skips the time, the time moves forward by the same amount. If the time occurs twice, the
 * earlier one is used.
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

/** The present in the user's time zone: `date` is YYYY-MM-DD, `weekday` an English name, `time` HH:MM. */
export interface Today {
  readonly date: string
  readonly weekday: string
  readonly time: string
  readonly timeZone: string
}

/** The present, for the agent's instructions and for tool results. */
export const todayIn = (timeZone: string): Effect.Effect<Today> =>
  Effect.map(Clock.currentTimeMillis, (millis) => {
    const minute = Math.floor(millis / 60_000)
    const zone = zoneOf(timeZone)
    const cached = present.get(zone.id)
    if (cached?.minute === minute) return { ...cached.today, timeZone }
    const iso = DateTime.formatIsoOffset(DateTime.unsafeMakeZoned(millis, { timeZone: zone }))
    const today = { date: iso.slice(0, 10), weekday: Calendar.weekdayOf(iso.slice(0, 10)), time: iso.slice(11, 16) }
    present.set(zone.id, { minute, today })
    return { ...today, timeZone }
  })

/** A cache by zone, of a few hundred zones. Every turn reads it, and formatting a time in a zone takes 40 µs. */
const present = new Map<string, { readonly minute: number; readonly today: Omit<Today, "timeZone"> }>()

/** A line of the agent's instructions: `Today is Friday, 2026-01-30, 14:05 in Europe/Berlin.` */
export const sentence = (today: Today) =>
  `Today is ${today.weekday}, ${today.date}, ${today.time} in ${today.timeZone}.`

/** RFC 3339 with an optional zone (RFC 9557). The offset is optional, and a space may replace the T. */
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

/** The range that the database, RFC 3339 and `YYYY-MM-DD` can all represent. */
const first = DateTime.toEpochMillis(DateTime.unsafeMake("0001-01-01T00:00:00Z"))
const last = DateTime.toEpochMillis(DateTime.unsafeMake("9999-12-31T23:59:59.999Z"))

const at = (instant: DateTime.Utc, zone: DateTime.TimeZone, given: Due["given"] = "both"): Found => {
  const millis = instant.epochMillis
  if (!(millis >= first && millis <= last)) return unknown("That is too far away.")
  const dueDate = DateTime.formatIsoDate(DateTime.setZone(instant, zone))
  return Calendar.isDay(dueDate) ? Either.right({ dueDate, dueAt: instant, given }) : unknown("That is too far away.")
}

/** The instant of a local date and time in the zone. */
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
      return date === null ? yield* unknown("That does not name a day.") : { dueDate: date, dueAt: null, given: "day" }
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
      const next = days.flatMap((day) => usualHours(hours).map((hour) => clock(day, hour))).find(isAhead)
      return yield* next ?? clock(Calendar.dayIn(today, 1), usual)
    }
    const ahead = date === today ? [usual, ...hours].map((hour) => clock(date, hour)).find(isAhead) : undefined
    if (ahead !== undefined) return yield* ahead
    if (date !== today || !(isToday || parts.some(saysThis))) return yield* clock(date, usual)
    // The hour for a part of the day may be in the past while the part itself is not over.
    const { part, time } = times
    const lasts = time === undefined && part !== undefined && isAhead(clock(date, ends[part]))
    return lasts ? { dueDate: date, dueAt: null, given: "day" } : yield* unknown("That is in the past.")
  })

const saysToday = (part: Part) => (part.is === "near" && part.days === 0) || (part.is === "part of day" && part.today)
const saysThis = (part: Part) => part.is === "weekday" && part.which === "this"

const isAfter = ({ dueAt }: Due, now: DateTime.Utc) => dueAt !== null && DateTime.greaterThan(dueAt, now)

/** An hour of a day. 24 and more are hours of the next day. */
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

/** "in 90 minutes": hours and minutes are exact durations, days are calendar days. Null without hours or minutes. */
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
