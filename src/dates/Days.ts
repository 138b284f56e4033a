import { Either } from "effect"
import * as Calendar from "./Calendar.ts"
import type { Amount, Part, Range } from "./Parts.ts"

type Day = Either.Either<string, string>

const no = (why: string): Either.Either<never, string> => Either.left(why)
const beyond = "That is too far away."
const over = "That is in the past."

/**
 * The day that the parts name, null if they name none. `today` is the date in the user's time zone. Left is the reason why
 * they do not name a single day: all parts must agree, and "this" never names a day in the past.
 */
export const dayOf = (parts: ReadonlyArray<Part>, today: string): Either.Either<string | null, string> =>
  Either.gen(function* () {
    const ranges = parts.flatMap((part) => (part.is === "range" ? [part.range] : []))
    const [range, ...others] = ranges
    if (others.length > 0) return yield* no("That names more than one day.")
    const span = range === undefined ? null : yield* spanOf(range, today)
    let found: string | null = null
    const rest = parts.filter((part) => part.is !== "range")
    // A weekday next to a date must match it.
    const checks = rest.length > 1 ? rest.filter((part) => part.is === "weekday" && part.which === null) : []
    for (const part of rest) {
      if (checks.includes(part)) continue
      const day = yield* anchored(part, today, span, range)
      if (day === null) continue
      if (found !== null && found !== day) return yield* no("That names more than one day.")
      found = day
    }
    for (const part of checks) {
      if (part.is !== "weekday") continue
      if (found === null) found = yield* anchored(part, today, span, range)
      else if (Calendar.weekdayIndex(found) !== part.weekday) {
        return yield* no(`${found} is a ${Calendar.weekdayOf(found)}.`)
      }
    }
    if (span === null || range === undefined) return found
    if (found === null) return range.of === "weekend" ? later(span.from, today) : isPresent(range) ? span.to : span.from
    if (found < span.from || found > span.to) return yield* no("That names more than one day.")
    return found >= today ? found : yield* no(over)
  })

const later = (a: string, b: string) => (a > b ? a : b)

/** The date, if it exists and fits `YYYY-MM-DD`. */
const real = (date: string): Day =>
  Calendar.isDay(date) ? Either.right(date) : no(/^\d{4}-/.test(date) ? "There is no such day." : beyond)

/** The day of one part, null if it names none. `span` is the week, month or year named in the same phrase. */
const anchored = (
  part: Part,
  today: string,
  span: Calendar.Span | null,
  range: Range | undefined
): Either.Either<string | null, string> => {
  switch (part.is) {
    case "date":
      return real(part.date)
    case "near":
      return Either.right(Calendar.dayIn(today, part.days))
    case "weekday":
      return Either.right(weekdayIn(part, today, span))
    case "week": {
      const date = part.year === 0 ? null : Calendar.weekDate(part.year, part.week, (part.day ?? 1) - 1)
      return date === null ? no("There is no such week.") : real(date)
    }
    case "month day": {
      const year = part.year ?? (range?.of === "year" && span !== null ? Number(span.from.slice(0, 4)) : null)
      return monthDay(part.month, part.day, year, today)
    }
    case "day of month": {
      if (span !== null && range?.of === "month") return real(`${span.from.slice(0, 8)}${Calendar.two(part.day)}`)
      return nextOfMonth(today, part.day)
    }
    case "nth weekday":
      return Either.flatMap(spanOf(part.range, today), (within) => {
        const date = Calendar.nthWeekday(within, part.weekday, part.n)
        return date === null
          ? no("There is no such day.")
          : date < today && isPresent(part.range)
            ? no(over)
            : Either.right(date)
      })
    case "edge":
      return Either.flatMap(spanOf(part.range, today), ({ from, to }) => {
        const date = part.last ? to : from
        return date < today && isPresent(part.range) ? no(over) : Either.right(date)
      })
    case "shift":
      return Either.flatMap(dayOf(part.base, today), (base) => shifted(base ?? today, part.amounts, part.sign))
    case "range":
    case "time":
    case "part of day":
    case "end of day":
      return Either.right(null)
  }
}

const isPresent = (range: Range) => range.of !== "named month" && range.ahead === 0

const weekdayIn = ({ weekday, which }: Extract<Part, { is: "weekday" }>, today: string, span: Calendar.Span | null) => {
  const next = Calendar.weekdayAfter(today, weekday)
  switch (which) {
    case "this":
      return Calendar.weekdayIndex(today) === weekday ? today : next
    case "next":
      return Calendar.dayIn(Calendar.mondayOf(today), 7 + weekday)
    case "last":
      return Calendar.dayIn(Calendar.weekdayAfter(Calendar.dayIn(today, -8), weekday), 0)
    case "week after":
      return Calendar.dayIn(next, 7)
    case null:
      return span === null ? next : Calendar.weekdayAfter(Calendar.dayIn(span.from, -1), weekday)
  }
}

const spanOf = (range: Range, today: string): Either.Either<Calendar.Span, string> => {
  if (range.of === "weekend") {
    const saturday = Calendar.dayIn(Calendar.mondayOf(today), 5 + 7 * range.ahead)
    return Either.right({ from: saturday, to: Calendar.dayIn(saturday, 1) })
  }
  if (range.of !== "named month") return Either.right(Calendar.span(today, range.of, range.ahead))
  const year = Number(today.slice(0, 4))
  const month = Calendar.span(Calendar.isoDate(range.year ?? year, range.month, 1), "month")
  const passed = range.year === null && month.to < today
  return Either.map(real(month.from), () =>
    passed ? Calendar.span(Calendar.isoDate(year + 1, range.month, 1), "month") : month
  )
}

/** Without a year, the next such day, which may be today. The next 29 February may be eight years ahead. */
const monthDay = (month: number, day: number, year: number | null, today: string): Day => {
  if (year !== null) return real(Calendar.isoDate(year, month, day))
  for (let y = Number(today.slice(0, 4)), i = 0; i <= 8; i++) {
    const date = Calendar.isoDate(y + i, month, day)
    if (Calendar.isDay(date) && date >= today) return Either.right(date)
  }
  return no("There is no such day.")
}

const nextOfMonth = (today: string, day: number): Day => {
  for (let i = 0; i <= 2; i++) {
    const date = `${Calendar.span(today, "month", i).from.slice(0, 8)}${Calendar.two(day)}`
    if (Calendar.isDay(date) && date >= today) return Either.right(date)
  }
  return no("There is no such day.")
}

const inDays = { day: 1, week: 7, fortnight: 14 }
const inMonths = { month: 1, quarter: 3, year: 12 }

/** Adds amounts to a day, or subtracts them. Hours and minutes are refused. */
const shifted = (base: string, amounts: ReadonlyArray<Amount>, sign: 1 | -1): Day => {
  let days = 0
  let months = 0
  for (const { n, unit } of amounts) {
    if (unit === "day" || unit === "week" || unit === "fortnight") days += n * inDays[unit]
    else if (unit === "month" || unit === "quarter" || unit === "year") months += n * inMonths[unit]
    else return no("Hours and minutes can only be counted from now.")
  }
  if (!Number.isInteger(days) || !Number.isInteger(months)) return no("Only whole days can be counted.")
  if (days > 4_000_000 || months > 120_000) return no(beyond)
  return real(Calendar.shift(Calendar.shift(base, { months: sign * months }), { days: sign * days }))
}
