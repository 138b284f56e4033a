import { en } from "chrono-node"
import { Clock, Data, DateTime, Effect, Either, Option } from "effect"
import { zoneOf } from "../domain/Request.ts"
import { dayIn, exactDuration, rewrite } from "./Periods.ts"

/** `dueDate` is the day in the user's calendar; `dueAt` is set when a time was given, and falls on that day there. */
export interface Due {
  readonly dueDate: string
  readonly dueAt: DateTime.Utc | null
}

/** Words that name no day. `detail` says why and what does work; it does not repeat the words. */
export class UnknownDate extends Data.TaggedError("UnknownDate")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

/** What people can be told to write. */
const examples =
  'a date such as 2026-01-31, a time such as 2026-01-31T09:00:00+01:00, or words such as "tomorrow at 9am", "next friday", "in two weeks" or "end of the month"'

/**
 * Reads a task's `due` in a time zone; now comes from `Clock`. See `resolve` for the rules.
 * The zone is one that `TimeZone` of `domain/Request` lets through; any other is a defect.
 */
export const resolveDue = (text: string, timeZone: string): Effect.Effect<Due, UnknownDate> =>
  Effect.flatMap(DateTime.now, (now) => resolve(text, now, zoneOf(timeZone)))

/**
 * The rules of `due`, as a pure function. It takes
 * - an instant (RFC 3339 with an offset), kept as it is; its `dueDate` is its day in the zone;
 * - a date, which stays that date everywhere; a date and time without an offset, read in the zone;
 * - durations in hours and minutes ("in 90 minutes"), counted exactly, whatever the clocks do meanwhile;
 * - words. A weekday is its next occurrence after today, "this friday" may be today, "next friday" is the one of next
 *   week; weeks begin on Monday. "next week" is its Monday, "next month" its first day, "this month" its last.
 *   A month's day without a year is the next one, today included. A time alone is the next time a clock shows it.
 *   Without am or pm, "at 1" to "at 6" on a day mean the afternoon. Parts of a day stand for an hour (morning 9:00,
 *   noon 12:00, afternoon 15:00, evening 18:00, tonight 20:00), and a day's midnight is the one that ends it.
 *
 * A time that the clocks skip moves forward by as much as they do; of two with the same name it is the earlier.
 */
export const resolve = (text: string, now: DateTime.Utc, zone: DateTime.TimeZone): Either.Either<Due, UnknownDate> => {
  const words = text.normalize("NFKC").replace(/[‘’]/g, "'").replace(/\s+/g, " ").trim().toLowerCase()
  if (words === "") return unknown("There is no date in it.")
  if (words.length > 100) return unknown("That is too long for a date.")
  if (/^\d+-\d\d-\d\d$/.test(words)) return isDay(words) ? onDay(words) : unknown("There is no such day.")
  const written = /^(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(z|[+-]\d\d:\d\d)?$/.exec(words)
  if (written !== null) return fromParts(written, zone)
  const exact = exactDuration(words)
  if (exact !== null) {
    const days = DateTime.add(DateTime.setZone(now, zone), { days: exact.days })
    return at(DateTime.add(DateTime.toUtc(days), { millis: exact.millis }), zone)
  }
  if (/^(?:right )?now$/.test(words)) return at(now, zone)
  return fromWords(words, DateTime.setZone(now, zone))
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
    const today = { date: iso.slice(0, 10), weekday: weekdayOf(iso.slice(0, 10)), time: iso.slice(11, 16) }
    present.set(zone.id, { minute, today })
    return { ...today, timeZone }
  })

/** By zone, of which there are some hundred. Every turn asks, and a zone's clock takes 40 µs to read. */
const present = new Map<string, { readonly minute: number; readonly today: Omit<Today, "timeZone"> }>()

/** `Today is Friday, 2026-01-30, 14:05 in Europe/Berlin.`: the line that the instructions carry. */
export const sentence = (today: Today) =>
  `Today is ${today.weekday}, ${today.date}, ${today.time} in ${today.timeZone}.`

/** The English name of a day's weekday. */
export const weekdayOf = (date: string) => weekdays[DateTime.getPartUtc(DateTime.unsafeMake(date), "weekDay")] ?? ""

const weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

const unknown = (why: string) => Either.left(new UnknownDate({ detail: `${why} Use ${examples}.` }))

/** `Date.parse` rolls February 30 over into March. */
const isDay = (date: string) =>
  /^(?!0000)\d{4}-\d\d-\d\d$/.test(date) &&
  Option.match(DateTime.make(date), { onNone: () => false, onSome: (day) => DateTime.formatIsoDateUtc(day) === date })

const onDay = (dueDate: string) => Either.right({ dueDate, dueAt: null })

/** What the database, RFC 3339 and `YYYY-MM-DD` can all carry. */
const first = DateTime.toEpochMillis(DateTime.unsafeMake("0001-01-01T00:00:00Z"))
const last = DateTime.toEpochMillis(DateTime.unsafeMake("9999-12-31T23:59:59.999Z"))

const at = (instant: DateTime.Utc, zone: DateTime.TimeZone): Either.Either<Due, UnknownDate> => {
  const millis = instant.epochMillis
  if (!(millis >= first && millis <= last)) return unknown("That is too far away.")
  const dueDate = DateTime.formatIsoDate(DateTime.setZone(instant, zone))
  return isDay(dueDate) ? Either.right({ dueDate, dueAt: instant }) : unknown("That is too far away.")
}

/** The instant at which a clock in the zone shows that day and time. */
const onClock = (date: string, time: string, zone: DateTime.TimeZone) =>
  Option.match(DateTime.makeZoned(`${date}T${time}Z`, { timeZone: zone, adjustForTimeZone: true }), {
    onNone: () => unknown("There is no such time."),
    onSome: (instant) => at(DateTime.toUtc(instant), zone)
  })

const fromParts = ([, date = "", time = "", offset]: RegExpExecArray, zone: DateTime.TimeZone) => {
  if (!isDay(date)) return unknown("There is no such day.")
  if (offset === undefined) return onClock(date, time, zone)
  return Option.match(DateTime.make(`${date}T${time}${offset.toUpperCase()}`), {
    onNone: () => unknown("There is no such time."),
    onSome: (instant) => at(instant, zone)
  })
}

const partsOfDay = [
  ["casualReference/morning", 9],
  ["casualReference/afternoon", 15],
  ["casualReference/evening", 18],
  ["casualReference/tonight", 20]
] as const

/**
 * What is relative is turned into dates here, exactly; chrono reads what is left: names of months, numbers, times.
 * It is given noon of today on its own clock, an hour that no zone skips, so the zone of the process cannot matter.
 */
const fromWords = (words: string, now: DateTime.Zoned): Either.Either<Due, UnknownDate> => {
  if (twoWays(words)) {
    return unknown("Days and months can be read both ways round in that.")
  }
  const today = DateTime.formatIsoDate(now)
  const plain = rewrite(words, today)
  if (isDay(plain)) return onDay(plain)
  if (/[+-]\d{6}-/.test(plain)) return unknown("That is too far away.")
  const [year = 0, month = 1, day = 1] = today.split("-").map(Number)
  const [found, ...others] = en.casual.parse(plain, new Date(year, month - 1, day, 12))
  const rest = found === undefined ? plain : plain.slice(0, found.index) + plain.slice(found.index + found.text.length)
  if (found === undefined || found.tags().has("result/relativeDate")) return unknown("That names no day.")
  if (others.length > 0 || (found.end ?? null) !== null) return unknown("That names more than one day or time.")
  if (rest.replace(/\b(?:at|on|by|the|due|of)\b|[\s,.]/g, "") !== "") return unknown("Only a part of that is a date.")
  const { start } = found
  const tags = found.tags()
  const part = /(?<!mid)night/.test(plain) ? partsOfDay[3] : partsOfDay.find(([tag]) => tags.has(tag))
  const hasTime = start.isCertain("hour")
  const named = start.isCertain("day")
  if (!named && (start.isCertain("month") || start.isCertain("year") || start.isCertain("weekday"))) {
    return unknown("That names no day.")
  }
  if (!named && !hasTime && part === undefined) return unknown("That names no day.")

  const get = (component: "year" | "month" | "day" | "hour" | "minute" | "second") => start.get(component) ?? 0
  let date = named ? isoDate(get("year"), get("month"), get("day")) : today
  for (let y = get("year") + 1; named && !start.isCertain("year") && date < today; y++) {
    date = isoDate(y, get("month"), get("day"))
  }
  if (!isDay(date)) return unknown("There is no such day.")
  const weekday = start.isCertain("weekday") ? start.get("weekday") : null
  if (weekday !== null && weekdays[weekday] !== weekdayOf(date)) return unknown(`${date} is a ${weekdayOf(date)}.`)

  const offset = start.isCertain("timezoneOffset") ? start.get("timezoneOffset") : null
  const clock = (day: string, hour: number) => {
    const time = `${two(hour)}:${two(get("minute"))}:${two(get("second"))}`
    return offset === null ? onClock(day, time, now.zone) : fromOffset(day, time, offset, now.zone)
  }
  const ahead = (due: Either.Either<Due, UnknownDate>) =>
    Either.isRight(due) && due.right.dueAt !== null && DateTime.greaterThan(due.right.dueAt, now)
  const tomorrow = dayIn(today, 1)

  if (tags.has("casualReference/midnight")) return onClock(dayIn(date, 1), "00:00:00", now.zone)
  if (!hasTime) {
    if (part === undefined) return onDay(date)
    const due = clock(date, part[1])
    if (ahead(due) || date !== today) return due
    // A part of today that is over: of a day that was named the day stands, else it is tomorrow's.
    return named || words.includes("this ") ? onDay(date) : clock(tomorrow, part[1])
  }
  const hour = get("hour")
  const written = plain.replace(date, "")
  const open = hour >= 1 && hour <= 11 && !start.isCertain("meridiem") && part === undefined && !/\b0\d/.test(written)
  if (!named || date === today) {
    const candidates = [
      clock(date, hour),
      ...(open ? [clock(date, hour + 12)] : []),
      ...(named ? [] : [clock(tomorrow, hour)])
    ]
    return candidates.find(ahead) ?? clock(date, hour)
  }
  return clock(date, open && hour <= 6 && !/\d[:.]\d\d/.test(written) ? hour + 12 : hour)
}

/** "3/4" and "3/4/2026" are March and April to different people; "31/1" and "1/31/2026" are clear. */
const twoWays = (words: string) => {
  const [, a, b] = /(?<![\d/-])(\d{1,2})\/(\d{1,2})(?![\d-])/.exec(words) ?? []
  return a !== b && Number(a) <= 12 && Number(b) <= 12
}

const fromOffset = (date: string, time: string, minutes: number, zone: DateTime.TimeZone) =>
  Either.flatMap(onClock(date, time, DateTime.zoneMakeOffset(minutes * 60_000)), ({ dueAt, dueDate }) =>
    dueAt === null ? onDay(dueDate) : at(dueAt, zone)
  )

const two = (n: number) => String(n).padStart(2, "0")
const isoDate = (year: number, month: number, day: number) =>
  `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}`
