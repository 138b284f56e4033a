import { DateTime, Either } from "effect"
import { resolve } from "../../src/dates/Dates.ts"

/** A day as the milliseconds of its midnight in UTC, computed without the code under test. */
const day = 86_400_000
const at = (year: number, month: number, date: number) => Date.UTC(year, month - 1, date)
const partsOf = (millis: number) => {
  const iso = new Date(millis).toISOString()
  return { year: Number(iso.slice(0, 4)), month: Number(iso.slice(5, 7)), date: Number(iso.slice(8, 10)) }
}
const isoOf = (millis: number) => new Date(millis).toISOString().slice(0, 10)
/** 0 is Monday. */
const weekdayOf = (millis: number) => (new Date(millis).getUTCDay() + 6) % 7
const lengthOf = (year: number, month: number) => partsOf(at(year, month + 1, 0)).date
const monthsOn = (today: number, n: number) => {
  const { date, month, year } = partsOf(today)
  const first = at(year, month + n, 1)
  const there = partsOf(first)
  return at(there.year, there.month, Math.min(date, lengthOf(there.year, there.month)))
}
const monday = (today: number) => today - weekdayOf(today) * day
const firstOf = (today: number, months: number) => at(partsOf(today).year, partsOf(today).month + months, 1)
const from = (first: number, wanted: (millis: number) => boolean) => {
  let found = first
  while (!wanted(found)) found += day
  return found
}

const names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

type DayWords = readonly [words: string, (today: number) => number]

/** Phrases for days, and the day of each. */
export const dayPhrases: ReadonlyArray<DayWords> = [
  ["tomorrow", (today) => today + day],
  ["the day after tomorrow", (today) => today + 2 * day],
  ["in 3 days", (today) => today + 3 * day],
  ["in three days", (today) => today + 3 * day],
  ["3 days from tomorrow", (today) => today + 4 * day],
  ["in two weeks", (today) => today + 14 * day],
  ["in a month", (today) => monthsOn(today, 1)],
  ["in 13 months", (today) => monthsOn(today, 13)],
  ["next week", (today) => monday(today) + 7 * day],
  ["the week after next", (today) => monday(today) + 14 * day],
  ["next month", (today) => firstOf(today, 1)],
  ["next year", (today) => at(partsOf(today).year + 1, 1, 1)],
  ["next weekend", (today) => monday(today) + 12 * day],
  ["end of next month", (today) => firstOf(today, 2) - day],
  ["last day of next year", (today) => at(partsOf(today).year + 1, 12, 31)],
  [
    "last day of february",
    (today) => from(today, (millis) => partsOf(millis).month === 2 && partsOf(millis + day).month === 3)
  ],
  ["feb 29", (today) => from(today, (millis) => partsOf(millis).month === 2 && partsOf(millis).date === 29)],
  ["march 2", (today) => from(today, (millis) => partsOf(millis).month === 3 && partsOf(millis).date === 2)],
  ["the 2nd of march", (today) => from(today, (millis) => partsOf(millis).month === 3 && partsOf(millis).date === 2)],
  ["march 2 next year", (today) => at(partsOf(today).year + 1, 3, 2)],
  ["march 2, 2031", () => at(2031, 3, 2)],
  ["2031-03-02", () => at(2031, 3, 2)],
  ["the 31st", (today) => from(today, (millis) => partsOf(millis).date === 31)],
  ["the 1st of next month", (today) => firstOf(today, 1)],
  ["first monday of next month", (today) => from(firstOf(today, 1), (millis) => weekdayOf(millis) === 0)],
  ["last friday of next month", (today) => from(firstOf(today, 2) - 7 * day, (millis) => weekdayOf(millis) === 4)],
  ...names.flatMap((name, i): ReadonlyArray<DayWords> => {
    const next = (today: number) => from(today + day, (millis) => weekdayOf(millis) === i)
    return [
      [name, next],
      [`next ${name}`, (today) => monday(today) + (7 + i) * day],
      [`${name} next week`, (today) => monday(today) + (7 + i) * day],
      [`next week on ${name}`, (today) => monday(today) + (7 + i) * day],
      [`a week from ${name}`, (today) => next(today) + 7 * day],
      [`${name} week`, (today) => next(today) + 7 * day]
    ]
  })
]

/** Phrases for times, and the minute of the day of each. 1,440 and more are minutes of the next day. */
export const timePhrases: ReadonlyArray<readonly [words: string, minutes: number]> = [
  ["at 9", 540],
  ["at 5", 1020],
  ["at 5:30", 1050],
  ["at 05:30", 330],
  ["at 12", 720],
  ["9am", 540],
  ["12am", 0],
  ["12:30 pm", 750],
  ["17:45", 1065],
  ["at 14h30", 870],
  ["5 o'clock", 1020],
  ["at half past 8", 510],
  ["at quarter to 4", 945],
  ["at noon", 720],
  ["at midnight", 1440],
  ["in the morning", 540],
  ["in the afternoon", 900],
  ["in the evening", 1080],
  ["at 7 in the evening", 1140],
  ["in the morning at 7", 420],
  ["at 11 at night", 1380],
  ["at night at 1am", 1500],
  ["at 2:30 in the night", 1590],
  ["at 2:30am", 150]
]

/** A day and a time in both orders. "at 5 march 2" is left out: "5 march" is a day itself. */
const ordersOf = (dayWords: string, timeWords: string) => {
  const meets = /\d$/.test(timeWords) && /^(?:march|feb)/.test(dayWords)
  return [`${dayWords} ${timeWords}`, `${timeWords} on ${dayWords}`, ...(meets ? [] : [`${timeWords} ${dayWords}`])]
}

const wall = (millis: number, zone: DateTime.TimeZone) =>
  DateTime.formatIsoOffset(DateTime.unsafeMakeZoned(millis, { timeZone: zone })).slice(0, 16)

/** True if the local time exists. It tries the offsets of the day before and the day after. */
const exists = (local: number, zone: DateTime.TimeZone) =>
  [-1, 1].some((way) => {
    const offset = DateTime.zonedOffset(DateTime.unsafeMakeZoned(local + way * day, { timeZone: zone }))
    return wall(local - offset, zone) === new Date(local).toISOString().slice(0, 16)
  })

/** The wrong readings of phrases, when the present is noon, local time, of a day. */
export const wrongReadings = (
  today: number,
  zone: DateTime.TimeZone,
  days: ReadonlyArray<DayWords>,
  times: typeof timePhrases
): ReadonlyArray<string> => {
  const now = DateTime.toUtc(DateTime.unsafeMakeZoned(today + day / 2, { timeZone: zone, adjustForTimeZone: true }))
  const read = (words: string) =>
    Either.match(resolve(words, now, zone), {
      onLeft: ({ detail }) => detail,
      onRight: ({ dueAt, dueDate }) => (dueAt === null ? dueDate : wall(dueAt.epochMillis, zone))
    })
  const wrong: Array<string> = []
  for (const [dayWords, toDay] of days) {
    const date = toDay(today)
    const is = (words: string, expected: string, isWrong: (found: string) => boolean) => {
      const found = read(words)
      if (isWrong(found)) wrong.push(`${isoOf(today)}: "${words}" is ${expected}, not ${found}`)
    }
    is(dayWords, isoOf(date), (found) => found !== isoOf(date))
    // A time of today depends on the present.
    if (date === today) continue
    for (const [timeWords, minutes] of times) {
      const local = date + minutes * 60_000
      const expected = new Date(local).toISOString().slice(0, 16)
      const skipped = !exists(local, zone)
      const atMost = new Date(local + 2 * 3_600_000).toISOString().slice(0, 16)
      for (const words of ordersOf(dayWords, timeWords)) {
        is(words, expected, (found) => (skipped ? found <= expected || found > atMost : found !== expected))
      }
    }
  }
  return wrong
}

/** The first days of 14 years: 1 January on each weekday, in a leap year and in a common year. */
export const kindsOfYear: ReadonlyArray<number> = (() => {
  const kinds = new Map<string, number>()
  for (let year = 2026; kinds.size < 14; year++) {
    const kind = `${weekdayOf(at(year, 1, 1))} ${lengthOf(year, 2)}`
    if (!kinds.has(kind)) kinds.set(kind, at(year, 1, 1))
  }
  return Array.from(kinds.values())
})()

/** The days of a year on which a zone's offset changes. */
export const changesIn = (firstDay: number, zone: DateTime.TimeZone): ReadonlyArray<number> => {
  const offsetAt = (millis: number) => DateTime.zonedOffset(DateTime.unsafeMakeZoned(millis, { timeZone: zone }))
  const offsets = Array.from({ length: 367 }, (_, n) => offsetAt(firstDay + n * day))
  return offsets.flatMap((offset, n) => {
    // The offset differs between two midnights in UTC: the change is on that day or, in western zones, the day before.
    return n > 0 && offset !== offsets[n - 1] ? [firstDay + (n - 1) * day, firstDay + (n - 2) * day] : []
  })
}

/** The phrase for the next day. */
export const tomorrow = dayPhrases.slice(0, 1)

/** The first, middle and last days of months. */
export const edgesOf = (firstDay: number): ReadonlyArray<number> =>
  Array.from({ length: 12 }, (_, i) => at(partsOf(firstDay).year, i + 1, 1)).flatMap((first) => [
    first - day,
    first,
    first + 14 * day
  ])
export { day as dayMillis }
