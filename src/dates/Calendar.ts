import { DateTime, Option } from "effect"

/** The date (YYYY-MM-DD) `n` days later. */
export const dayIn = (date: string, n: number) => shift(date, { days: n })

/** Adds days and months to a date. In a shorter month, the 31st becomes the last day. */
export const shift = (date: string, by: { readonly days?: number; readonly months?: number }) =>
  DateTime.formatIsoDateUtc(DateTime.add(DateTime.unsafeMake(date), by))

const weekdays = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

/** Days since Monday: 0 to 6. */
export const weekdayIndex = (date: string) => (DateTime.getPartUtc(DateTime.unsafeMake(date), "weekDay") + 6) % 7

/** The English name of a day's weekday. */
export const weekdayOf = (date: string) => weekdays[weekdayIndex(date)] ?? ""

/** The Monday of a date's week. */
export const mondayOf = (date: string) => dayIn(date, -weekdayIndex(date))

/** The first day after a date that is this weekday (0 is Monday). */
export const weekdayAfter = (date: string, weekday: number) => dayIn(date, ((weekday - weekdayIndex(date) + 6) % 7) + 1)

export const two = (n: number) => String(n).padStart(2, "0")

export const isoDate = (year: number, month: number, day: number) =>
  `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}`

/** True for a date from 0001-01-01 to 9999-12-31. Unlike `Date.parse`, it refuses February 30. */
export const isDay = (date: string) =>
  /^(?!0000)\d{4}-\d\d-\d\d$/.test(date) &&
  Option.match(DateTime.make(date), { onNone: () => false, onSome: (day) => DateTime.formatIsoDateUtc(day) === date })

const months = { month: 1, quarter: 3, year: 12 }
export type Period = "week" | keyof typeof months

/** The first and the last day of a period, both inclusive. */
export interface Span {
  readonly from: string
  readonly to: string
}

/** The period that contains the date, moved forward by `ahead` periods. */
export const span = (date: string, period: Period, ahead = 0): Span => {
  if (period === "week") {
    const from = dayIn(mondayOf(date), 7 * ahead)
    return { from, to: dayIn(from, 6) }
  }
  const size = months[period]
  const month = Number(date.slice(5, 7))
  const first = isoDate(Number(date.slice(0, 4)), month - ((month - 1) % size), 1)
  const from = shift(first, { months: size * ahead })
  return { from, to: dayIn(shift(from, { months: size }), -1) }
}

/** The `n`th weekday of a span, counted from its end if `n` is negative. Null if the span has no such day. */
export const nthWeekday = ({ from, to }: Span, weekday: number, n: number) => {
  const day =
    n > 0
      ? dayIn(weekdayAfter(dayIn(from, -1), weekday), 7 * (n - 1))
      : dayIn(weekdayAfter(dayIn(to, -7), weekday), 7 * (n + 1))
  return day >= from && day <= to ? day : null
}

/** A day of an ISO 8601 week. Null if the year has no such week. */
export const weekDate = (year: number, week: number, weekday: number) => {
  const monday = dayIn(mondayOf(isoDate(year, 1, 4)), 7 * (week - 1))
  const belongs = week >= 1 && Number(dayIn(monday, 3).slice(0, 4)) === year
  return belongs ? dayIn(monday, weekday) : null
}
