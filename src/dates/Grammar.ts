import type { Period } from "./Calendar.ts"
import type { Amount, Part, Range } from "./Parts.ts"
import { Cursor, type Token } from "./Tokens.ts"
import { cardinals, dayParts, monthWords, nearDays, ordinals, units, weekdayWords, zoneWords } from "./Vocabulary.ts"

/** The parts of a phrase. Each word is used once. Null if a word does not belong to any part. */
export const parse = (tokens: ReadonlyArray<Token>): ReadonlyArray<Part> | null => {
  const cursor = new Cursor(tokens)
  const parts: Array<Part> = []
  while (!cursor.done) {
    const found = partsAt(cursor, parts.at(-1))
    if (found === undefined) return null
    parts.push(...found)
  }
  return parts
}

/**
 * The parts at the cursor, after any connectors. `before` is the previous part of the phrase. It tries a fixed number of
 * readings, each a few words long.
 */
export const partsAt = (cursor: Cursor, before?: Part): ReadonlyArray<Part> | undefined =>
  cursor.attempt(() => {
    const at = connect(cursor)
    return days(cursor) ?? one(time(cursor, at, before)) ?? one(partOfDay(cursor))
  })

const one = (part: Part | undefined) => (part === undefined ? undefined : [part])

const connectors = ["on", "by", "due", "before", "until", "till", "for", "of", "the", "at", "later", "starting"]

/** The most connectors in a row. People use up to three: "by no later than the end". The limit keeps the cost linear. */
const maxConnectors = 6

/** Skips connectors. True if one of them may precede an hour. */
const connect = (cursor: Cursor): boolean => {
  let at = false
  for (let n = 0; n < maxConnectors; n++) {
    const token = cursor.peek()
    if (token?.kind === "word" && connectors.includes(token.text)) {
      at = at || token.text === "at" || token.text === "by"
      cursor.at++
    } else if (cursor.words("no", "later", "than") || cursor.words("around") || cursor.words("about")) at = true
    else return at
  }
  return at
}

/** The depth of nested shifts, such as "a week after the day after tomorrow". */
const maxShifts = 4

const days = (cursor: Cursor, shifts = 0): ReadonlyArray<Part> | undefined =>
  (shifts < maxShifts ? shifted(cursor, shifts + 1) : undefined) ?? one(day(cursor))

const day = (cursor: Cursor): Part | undefined => {
  const token = cursor.peek()
  switch (token?.kind) {
    case "date":
      cursor.at++
      return { is: "date", date: token.date }
    case "week":
      cursor.at++
      return { is: "week", year: token.year, week: token.week, day: token.day }
    case "slashed": {
      const { first, second, year } = token
      if (first !== second && first <= 12 && second <= 12) return undefined
      cursor.at++
      const [month, number] = first > 12 ? [second, first] : [first, second]
      return { is: "month day", month, day: number, year }
    }
    case "number":
      return cursor.attempt(() => monthDay(cursor)) ?? cursor.attempt(() => dayOfMonth(cursor))
    case "word":
      return (
        edge(cursor) ??
        cursor.attempt(() => nthWeekday(cursor)) ??
        near(cursor) ??
        weekday(cursor) ??
        cursor.attempt(() => monthDay(cursor)) ??
        cursor.attempt(() => dayOfMonth(cursor)) ??
        cursor.attempt(() => ranged(cursor))
      )
    default:
      return undefined
  }
}

const near = (cursor: Cursor): Part | undefined => {
  const found = cursor.entry(nearDays)
  return found === undefined ? undefined : { is: "near", days: found }
}

const weekday = (cursor: Cursor): Part | undefined =>
  cursor.attempt(() => {
    const said = cursor.oneOf("this", "next", "last", "past", "coming", "upcoming")
    if (said === "this") cursor.oneOf("coming", "upcoming")
    const found = cursor.entry(weekdayWords)
    if (found === undefined) return undefined
    if (said === undefined && cursor.words("week")) return { is: "weekday", weekday: found, which: "week after" }
    const which = said === "past" ? "last" : said === "this" || said === "next" || said === "last" ? said : null
    return { is: "weekday", weekday: found, which }
  })

/** A day of the month: "2nd", "2" or "second". */
const dayNumber = (cursor: Cursor, plain: boolean): number | undefined =>
  cursor.attempt(() => {
    const word = cursor.entry(ordinals)
    if (word !== undefined) return word
    const number = cursor.take("number")
    if (number === undefined || number.digits > 2 || number.value < 1 || number.value > 31) return undefined
    if (number.glued) return cursor.oneOf("st", "nd", "rd", "th") === undefined ? undefined : number.value
    const next = cursor.word
    return plain && next !== "am" && next !== "pm" && next !== "o'clock" ? number.value : undefined
  })

const yearNumber = (cursor: Cursor): number | null => {
  const token = cursor.peek()
  if (token?.kind !== "number" || token.digits !== 4 || token.glued) return null
  cursor.at++
  return token.value
}

const monthDay = (cursor: Cursor): Part | undefined => {
  const first = cursor.entry(monthWords)
  if (first !== undefined) {
    cursor.words("the")
    const number = dayNumber(cursor, true)
    return number === undefined ? undefined : { is: "month day", month: first, day: number, year: yearNumber(cursor) }
  }
  const number = dayNumber(cursor, true)
  cursor.words("of")
  const month = number === undefined ? undefined : cursor.entry(monthWords)
  return number === undefined || month === undefined
    ? undefined
    : { is: "month day", month, day: number, year: yearNumber(cursor) }
}

/** "the 5th", "the 5th of the month". */
const dayOfMonth = (cursor: Cursor): Part | undefined => {
  const number = dayNumber(cursor, false)
  if (number === undefined) return undefined
  cursor.words("of", "the", "month")
  return { is: "day of month", day: number }
}

const periods: ReadonlyMap<string, Period | "weekend"> = new Map([
  ["week", "week"],
  ["month", "month"],
  ["quarter", "quarter"],
  ["year", "year"],
  ["weekend", "weekend"]
])

/** "next week", "this weekend", "the week after next". */
const ranged = (cursor: Cursor): Part | undefined => {
  const said = cursor.oneOf("this", "next", "coming")
  const of = cursor.entry(periods)
  if (of === undefined) return undefined
  if (said === undefined) {
    if (cursor.words("after", "next")) return { is: "range", range: { of, ahead: 2 } }
    return of === "weekend" ? { is: "range", range: { of, ahead: 0 } } : undefined
  }
  return { is: "range", range: { of, ahead: said === "next" ? 1 : 0 } }
}

/** The period after "end of" or "first monday of". Without "next", it is the present one. */
const rangeOf = (cursor: Cursor): Range | undefined =>
  cursor.attempt(() => {
    cursor.words("the")
    const month = cursor.entry(monthWords)
    if (month !== undefined) return { of: "named month", month, year: yearNumber(cursor) }
    const said = cursor.oneOf("this", "next")
    const of = cursor.entry(periods)
    return of === undefined || of === "weekend" ? undefined : { of, ahead: said === "next" ? 1 : 0 }
  })

const shortEdges = new Map<string, Period>([
  ["eow", "week"],
  ["eom", "month"],
  ["eoy", "year"]
])

/** "end of the month", "last day of february". "start of the month" is the start of the next month. */
const edge = (cursor: Cursor): Part | undefined =>
  cursor.attempt(() => {
    const short = cursor.entry(shortEdges)
    if (short !== undefined) return { is: "edge", last: true, range: { of: short, ahead: 0 } }
    if (cursor.words("eod")) return { is: "end of day" }
    if (cursor.words("end", "of", "day") || cursor.words("end", "of", "the", "day")) return { is: "end of day" }
    const word = cursor.oneOf("end", "start", "beginning")
    const which = word ?? (cursor.words("first", "day") ? "first" : cursor.words("last", "day") ? "last" : undefined)
    if (which === undefined || cursor.oneOf("of", "in") === undefined) return undefined
    const range = rangeOf(cursor)
    if (range === undefined) return undefined
    const last = which === "end" || which === "last"
    const begins = (which === "start" || which === "beginning") && range.of !== "named month"
    return { is: "edge", last, range: begins ? { of: range.of, ahead: 1 } : range }
  })

const nthWeekday = (cursor: Cursor): Part | undefined => {
  const n = cursor.words("last") ? -1 : dayNumber(cursor, false)
  const found = n === undefined || n > 5 ? undefined : cursor.entry(weekdayWords)
  if (n === undefined || found === undefined) return undefined
  cursor.oneOf("of", "in")
  const range = rangeOf(cursor)
  return range === undefined ? undefined : { is: "nth weekday", n, weekday: found, range }
}

/** A number in digits or words, including "a" and "a few". */
const count = (cursor: Cursor): number | undefined => {
  const token = cursor.peek()
  if (token?.kind === "number") {
    cursor.at++
    return token.value
  }
  if (token?.kind === "clock" && token.fraction !== null) {
    cursor.at++
    return token.fraction
  }
  if (cursor.words("a", "couple", "of") || cursor.words("a", "couple")) return 2
  if (cursor.words("a", "few")) return 3
  if (cursor.oneOf("a", "an") !== undefined) return 1
  return cardinal(cursor)
}

/** "twenty", "twenty five", "twenty-five". */
export const cardinal = (cursor: Cursor): number | undefined => {
  const [tens = "", ones, ...more] = cursor.word?.split("-") ?? []
  const hyphened = ones === undefined || more.length > 0 ? undefined : sum(cardinals.get(tens), cardinals.get(ones))
  if (hyphened !== undefined) {
    cursor.at++
    return hyphened
  }
  const first = cursor.entry(cardinals)
  if (first === undefined) return undefined
  const next = cursor.word
  const both = sum(first, next === undefined ? undefined : cardinals.get(next))
  if (both === undefined) return first
  cursor.at++
  return both
}

const sum = (tens: number | undefined, ones: number | undefined) =>
  tens !== undefined && ones !== undefined && tens >= 20 && tens % 10 === 0 && ones < 10 ? tens + ones : undefined

const amount = (cursor: Cursor): Amount | undefined =>
  cursor.attempt(() => {
    const part =
      cursor.words("half", "a") || cursor.words("half", "an")
        ? 0.5
        : cursor.words("a", "quarter", "of", "an")
          ? 0.25
          : undefined
    const n = part ?? count(cursor)
    if (n === undefined) return undefined
    const before = part === undefined && cursor.words("and", "a", "half") ? 0.5 : 0
    const unit = cursor.entry(units)
    if (unit === undefined) return undefined
    const after = part === undefined && before === 0 && cursor.words("and", "a", "half") ? 0.5 : 0
    return { n: n + before + after, unit }
  })

const amounts = (cursor: Cursor): ReadonlyArray<Amount> | undefined => {
  const found: Array<Amount> = []
  for (let next = amount(cursor); next !== undefined && found.length < 4; ) {
    found.push(next)
    next = cursor.attempt(() => {
      cursor.words("and")
      return amount(cursor)
    })
  }
  return found.length === 0 ? undefined : found
}

/** "in two weeks", "3 days ago", "a week from friday", "the day after tomorrow". */
const shifted = (cursor: Cursor, shifts: number): ReadonlyArray<Part> | undefined =>
  cursor.attempt(() => {
    const ahead = cursor.oneOf("in", "within") !== undefined
    if (ahead) {
      cursor.words("the", "next")
      const found = amounts(cursor)
      if (found === undefined) return undefined
      if (cursor.words("time")) return one({ is: "shift", amounts: found, sign: 1, base: [] })
      const next = cursor.word
      return next === "from" || next === "after"
        ? from(cursor, found, shifts)
        : one({ is: "shift", amounts: found, sign: 1, base: [] })
    }
    const found = amounts(cursor) ?? (cursor.words("day") ? [{ n: 1, unit: "day" as const }] : undefined)
    if (found === undefined) return undefined
    if (cursor.words("ago")) return one({ is: "shift", amounts: found, sign: -1, base: [] })
    if (cursor.words("later")) return one({ is: "shift", amounts: found, sign: 1, base: [] })
    return from(cursor, found, shifts)
  })

/** The words after "two weeks": "from now", "before the 5th". */
const from = (cursor: Cursor, found: ReadonlyArray<Amount>, shifts: number): ReadonlyArray<Part> | undefined => {
  const word = cursor.oneOf("from", "after", "before")
  if (word === undefined) return undefined
  const sign = word === "before" ? -1 : 1
  if (cursor.words("now")) return one({ is: "shift", amounts: found, sign, base: [] })
  const base: Array<Part> = []
  for (;;) {
    const next = cursor.attempt(() => {
      connect(cursor)
      return days(cursor, shifts)
    })
    if (next === undefined) break
    base.push(...next)
  }
  return base.length === 0 ? undefined : one({ is: "shift", amounts: found, sign, base })
}

const clockTime = (
  hour: number,
  minute: number,
  more?: { readonly second?: number; readonly padded?: boolean }
): Extract<Part, { is: "time" }> => ({
  is: "time",
  hour,
  minute,
  second: more?.second ?? 0,
  meridiem: null,
  open: hour >= 1 && hour <= 12 && more?.padded !== true,
  offset: null
})

/** A plain number is an hour after "at", "tomorrow" or "morning". After "friday" it may be a day. */
const hourMayFollow = (before: Part | undefined) =>
  before !== undefined && (before.is === "near" || before.is === "date" || before.is === "part of day")

const time = (cursor: Cursor, at: boolean, before: Part | undefined): Part | undefined =>
  cursor.attempt(() => {
    if (cursor.oneOf("noon", "midday") !== undefined) return { ...clockTime(12, 0), open: false }
    if (cursor.words("midnight")) return { ...clockTime(24, 0), open: false }
    const relative = cursor.attempt(() => pastOrTo(cursor))
    if (relative !== undefined) return suffixed(cursor, relative)
    const clock = cursor.take("clock")
    if (clock !== undefined) {
      if (clock.hour > 23 || clock.hour < 0 || clock.minute > 59 || clock.second > 59) return undefined
      const found = suffixed(cursor, clockTime(clock.hour, clock.minute, clock))
      // "9.30" alone may be a date or a price.
      return clock.fraction !== null && !at && found?.meridiem == null ? undefined : found
    }
    const number = cursor.take("number")
    const hour = number === undefined ? cardinal(cursor) : number.digits <= 2 ? number.value : undefined
    if (hour === undefined || hour > 23) return undefined
    const said = clockTime(hour, 0, { padded: number?.padded === true })
    if (number?.glued === true && cursor.words("h")) return suffixed(cursor, { ...said, open: false })
    const marked = cursor.words("o'clock")
    const found = suffixed(cursor, said)
    return marked || found?.meridiem != null || at || (number?.glued === false && hourMayFollow(before))
      ? found
      : undefined
  })

/** "half past 8", "20 to 5", "quarter past three". */
const pastOrTo = (cursor: Cursor) => {
  const minutes = cursor.words("half")
    ? 30
    : cursor.words("quarter") || cursor.words("a", "quarter")
      ? 15
      : (cursor.take("number")?.value ?? cardinal(cursor))
  if (minutes === undefined || minutes < 1 || minutes > 30) return undefined
  cursor.oneOf("minutes", "min")
  const way = cursor.oneOf("past", "to")
  const hour = way === undefined ? undefined : (cursor.take("number")?.value ?? cardinal(cursor))
  if (hour === undefined || hour < 1 || hour > 12 || (way === "to" && minutes === 30)) return undefined
  return way === "past" ? clockTime(hour, minutes) : clockTime(hour === 1 ? 12 : hour - 1, 60 - minutes)
}

/** Reads "am" or "pm" and a zone after the time. */
const suffixed = (cursor: Cursor, time: Extract<Part, { is: "time" }>): Extract<Part, { is: "time" }> | undefined => {
  const said = cursor.oneOf("am", "pm")
  if (said !== undefined && (time.hour < 1 || time.hour > 12)) return undefined
  const meridiem = said === "am" || said === "pm" ? said : null
  const hour = meridiem === null ? time.hour : (time.hour % 12) + (meridiem === "pm" ? 12 : 0)
  const zone = cursor.entry(zoneWords)
  const more = zone === 0 ? cursor.take("offset") : undefined
  if (more !== undefined && Math.abs(more.minutes) > 14 * 60) return undefined
  return {
    ...time,
    hour,
    meridiem,
    open: time.open && meridiem === null,
    offset: zone === undefined ? null : zone + (more?.minutes ?? 0)
  }
}

const partOfDay = (cursor: Cursor): Part | undefined =>
  cursor.attempt(() => {
    if (cursor.words("tonight")) return { is: "part of day", part: "night", today: true }
    const today = cursor.words("this")
    if (!today && cursor.words("in")) cursor.words("the")
    const part = cursor.entry(dayParts)
    return part === undefined ? undefined : { is: "part of day", part, today }
  })
