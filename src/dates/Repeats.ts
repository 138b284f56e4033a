import { DateTime, Either } from "effect"
import { two } from "./Calendar.ts"
import { UnknownDate } from "./Dates.ts"
import { dayOf } from "./Days.ts"
import { cardinal, partsAt } from "./Grammar.ts"
import { isDayPart, type Part } from "./Parts.ts"
import { hoursOf, timeOf, usualHour } from "./Times.ts"
import { Cursor, tokensOf } from "./Tokens.ts"
import { monthWords, ordinals, units, weekdayWords } from "./Vocabulary.ts"

/** How a task repeats. `rule` is an RRULE of RFC 5545, `time` is HH:MM, `startsOn` is the day after "starting". */
export interface Repeat {
  readonly rule: string
  readonly time: string | null
  readonly startsOn: string | null
}

const examples =
  'words such as "every monday", "every 2 weeks", "every weekday at 9", "on the 1st of every month", "every last friday" or "every year on march 2"'
const unknown = (why: string) => Either.left(new UnknownDate({ detail: `${why} Use ${examples}.` }))

/** UTF-16 units. */
const maxText = 200

type Frequency = "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY"
interface Every {
  readonly frequency: Frequency
  readonly interval: number
}

/** The parts read so far. */
interface Found {
  readonly every: Array<Every>
  /** 0 is Monday. `n` is the position in the month, null for every such weekday. */
  readonly weekdays: Array<{ readonly weekday: number; readonly n: number | null }>
  readonly monthDays: Array<number>
  readonly months: Array<number>
  readonly ends: Array<string>
  readonly starts: Array<string>
  readonly times: Array<Part>
  /** True if a word means repetition: "every", "weekly", "mondays". */
  repeats: boolean
}

/** Reads "every monday at 9", with its parts in any order. As in `resolve`, the text is refused if a word is left over. */
export const readRepeat = (
  text: string,
  now: DateTime.Utc,
  zone: DateTime.TimeZone
): Either.Either<Repeat, UnknownDate> => {
  if (text.length > maxText) return unknown("That is too long.")
  const words = text
    .normalize("NFKC")
    .replace(/\p{Cf}/gu, "")
    .replace(/[‘’]/g, "'")
    .trim()
    .replace(/[.!?]$/, "")
  const cursor = new Cursor(tokensOf(words))
  const today = DateTime.formatIsoDate(DateTime.setZone(now, zone))
  const found = nothing()
  while (!cursor.done) {
    if (piece(cursor, found, today) === undefined) return unknown("Not all of that says how often.")
  }
  return found.repeats ? assembled(found) : unknown("That does not say how often.")
}

const nothing = (): Found => ({
  every: [],
  weekdays: [],
  monthDays: [],
  months: [],
  ends: [],
  starts: [],
  times: [],
  repeats: false
})

const connectors = ["on", "in", "of", "the", "and", "repeat", "repeats", "repeating"]
/** The most connectors in a row. The limit keeps the cost linear. */
const maxConnectors = 4

/** Reads one part at the cursor. Undefined if the words do not say how often. */
const piece = (cursor: Cursor, found: Found, today: string): true | undefined =>
  cursor.attempt(() => {
    for (let n = 0; n < maxConnectors && cursor.oneOf(...connectors) !== undefined; n++);
    return repetition(cursor, found) ?? bounds(cursor, found, today) ?? place(cursor, found)
  }) ??
  cursor.attempt(() => {
    const parts = partsAt(cursor)
    if (parts === undefined || !parts.every(({ is }) => is === "time" || is === "part of day")) return undefined
    found.times.push(...parts)
    return true
  })

/** The runs of words in a text that say how often, found in one pass: "on the 15th of every month". */
export const repeatSpans = (
  text: string,
  now: DateTime.Utc,
  zone: DateTime.TimeZone
): ReadonlyArray<ReadonlyArray<{ readonly start: number; readonly end: number }>> => {
  const tokens = tokensOf(text)
  const cursor = new Cursor(tokens)
  const today = DateTime.formatIsoDate(DateTime.setZone(now, zone))
  const runs: Array<ReadonlyArray<{ readonly start: number; readonly end: number }>> = []
  while (!cursor.done) {
    const first = cursor.at
    const found = nothing()
    while (!cursor.done && piece(cursor, found, today) !== undefined);
    if (found.repeats) runs.push(tokens.slice(first, cursor.at))
    if (cursor.at === first) cursor.at++
  }
  return runs
}

const adverbs: ReadonlyMap<string, Every> = new Map([
  ["daily", { frequency: "DAILY", interval: 1 }],
  ["weekly", { frequency: "WEEKLY", interval: 1 }],
  ["fortnightly", { frequency: "WEEKLY", interval: 2 }],
  ["monthly", { frequency: "MONTHLY", interval: 1 }],
  ["quarterly", { frequency: "MONTHLY", interval: 3 }],
  ["yearly", { frequency: "YEARLY", interval: 1 }],
  ["annually", { frequency: "YEARLY", interval: 1 }]
])
const frequencies: ReadonlyMap<string, Every> = new Map([
  ["day", { frequency: "DAILY", interval: 1 }],
  ["week", { frequency: "WEEKLY", interval: 1 }],
  ["fortnight", { frequency: "WEEKLY", interval: 2 }],
  ["month", { frequency: "MONTHLY", interval: 1 }],
  ["quarter", { frequency: "MONTHLY", interval: 3 }],
  ["year", { frequency: "YEARLY", interval: 1 }]
])

/** "every 2 weeks", "every other tuesday", "weekly". */
const repetition = (cursor: Cursor, found: Found): true | undefined => {
  const adverb = cursor.entry(adverbs)
  const every = adverb ?? (cursor.oneOf("every", "each") === undefined ? undefined : everyAt(cursor))
  if (every === undefined) return undefined
  found.repeats = true
  if (every !== "named") found.every.push(every)
  return true
}

/** The words after "every". "named" means a weekday or a day of a month, which `place` reads next. */
const everyAt = (cursor: Cursor): Every | "named" | undefined => {
  const counted = cursor.attempt(() => {
    const n = cursor.words("other") ? 2 : (cursor.entry(ordinals) ?? numberAt(cursor) ?? 1)
    const unit = cursor.entry(units)
    const every = unit === undefined ? undefined : frequencies.get(unit)
    return every === undefined ? undefined : { ...every, interval: n * every.interval }
  })
  if (counted !== undefined) return counted
  if (isAmbiguous(cursor)) return undefined
  if (!cursor.words("other")) return "named"
  return cursor.word !== undefined && weekdayOf(cursor.word) !== undefined
    ? { frequency: "WEEKLY", interval: 2 }
    : undefined
}

/** "every second tuesday" may mean every other Tuesday or the second Tuesday of each month. */
const isAmbiguous = (cursor: Cursor) => {
  const start = cursor.at
  const n = ordinalAt(cursor) ?? 0
  const weekday = cursor.word === undefined ? undefined : weekdayOf(cursor.word)
  const next = cursor.peek(1)
  cursor.at = start
  return n >= 2 && weekday !== undefined && !(next?.kind === "word" && next.text === "of")
}

const numberAt = (cursor: Cursor) => {
  const number = cursor.take("number")
  if (number === undefined) return cardinal(cursor)
  return number.value >= 1 &&
    number.value <= 999 &&
    (!number.glued || cursor.oneOf("st", "nd", "rd", "th") !== undefined)
    ? number.value
    : undefined
}

/** "monday", "mondays". */
const weekdayOf = (word: string) => weekdayWords.get(word) ?? weekdayWords.get(word.replace(/s$/, ""))

/** "2nd", "second", "last": a position in a month, counted from its end if negative. */
const ordinalAt = (cursor: Cursor) =>
  cursor.attempt(() => {
    if (cursor.words("last")) return -1
    const word = cursor.entry(ordinals)
    if (word !== undefined) return word
    const number = cursor.take("number")
    if (number?.glued !== true || number.value < 1 || number.value > 31) return undefined
    return cursor.oneOf("st", "nd", "rd", "th") === undefined ? undefined : number.value
  })

/** The days on which it happens: "monday", "weekends", "the last friday", "the 1st", "march 2". */
const place = (cursor: Cursor, found: Found): true | undefined => {
  const group = cursor.entry(groups)
  if (group !== undefined) {
    found.repeats = true
    found.weekdays.push(...group.map((weekday) => ({ weekday, n: null })))
    return true
  }
  const month = cursor.entry(monthWords)
  if (month !== undefined) {
    found.months.push(month)
    const day = cursor.attempt(() => {
      cursor.words("the")
      return ordinalAt(cursor) ?? dayNumber(cursor)
    })
    if (day !== undefined) found.monthDays.push(day)
    return true
  }
  const n = ordinalAt(cursor)
  const weekday = cursor.word === undefined ? undefined : weekdayOf(cursor.word)
  if (weekday !== undefined && (n === undefined || n <= 5)) {
    if (cursor.word?.endsWith("s") === true && !weekdayWords.has(cursor.word)) found.repeats = true
    cursor.at++
    found.weekdays.push({ weekday, n: n ?? null })
    cursor.words("of", "the", "month")
    return true
  }
  const day =
    n ??
    cursor.attempt(() => {
      const number = dayNumber(cursor)
      cursor.words("of")
      return cursor.word !== undefined && monthWords.has(cursor.word) ? number : undefined
    })
  if (day === undefined) return undefined
  const named = cursor.words("day")
  if (day < 0 && !named) return undefined
  cursor.words("of", "the", "month")
  found.monthDays.push(day)
  return true
}

const dayNumber = (cursor: Cursor) => {
  const number = cursor.take("number")
  return number === undefined || number.glued || number.value < 1 || number.value > 31 ? undefined : number.value
}

const workdays = [0, 1, 2, 3, 4]
const groups: ReadonlyMap<string, ReadonlyArray<number>> = new Map([
  ["weekday", workdays],
  ["weekdays", workdays],
  ["workday", workdays],
  ["workdays", workdays],
  ["weekend", [5, 6]],
  ["weekends", [5, 6]]
])

/** "until december 1", "5 times", "starting next monday". */
const bounds = (cursor: Cursor, found: Found, today: string): true | undefined => {
  const times = cursor.attempt(() => {
    cursor.words("for")
    const n = numberAt(cursor)
    return cursor.words("times") ? n : undefined
  })
  if (times !== undefined) {
    found.ends.push(`COUNT=${times}`)
    return true
  }
  const word = cursor.oneOf("until", "till", "starting", "beginning", "from")
  if (word === undefined) return undefined
  const parts: Array<Part> = []
  for (;;) {
    const next = cursor.attempt(() => {
      const some = partsAt(cursor, parts.at(-1))
      return some?.every(isDayPart) === true ? some : undefined
    })
    if (next === undefined) break
    parts.push(...next)
  }
  const day = Either.getOrElse(dayOf(parts, today), () => null)
  if (day === null) return undefined
  if (word === "until" || word === "till") found.ends.push(`UNTIL=${day.replaceAll("-", "")}`)
  else found.starts.push(day)
  return true
}

const codes = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]

const assembled = (found: Found): Either.Either<Repeat, UnknownDate> =>
  Either.gen(function* () {
    const { ends, every, months, starts, times, weekdays } = found
    const [said, ...others] = every
    if (others.length > 0 || ends.length > 1 || starts.length > 1)
      return yield* unknown("That says two things at once.")
    const monthDays = unique(found.monthDays)
    const placed = weekdays.some(({ n }) => n !== null)
    if (placed && (weekdays.some(({ n }) => n === null) || monthDays.length > 0)) return yield* unclear
    if (!placed && weekdays.length > 0 && (monthDays.length > 0 || months.length > 0)) return yield* unclear
    if (months.length > 0 && !placed && monthDays.length === 0)
      return yield* unknown("That does not name a day of the month.")
    const frequency: Frequency | undefined =
      months.length > 0
        ? "YEARLY"
        : placed || monthDays.length > 0
          ? "MONTHLY"
          : weekdays.length > 0
            ? "WEEKLY"
            : (said?.frequency ?? (times.some(({ is }) => is === "part of day") ? "DAILY" : undefined))
    if (frequency === undefined) return yield* unknown("That does not say how often.")
    if (said !== undefined && said.frequency !== frequency) return yield* unclear
    const time = yield* clockOf(times)
    const by = unique(weekdays.map(({ n, weekday }) => `${n ?? ""}${codes[weekday]}`))
    const rule = [
      `FREQ=${frequency}`,
      ...(said === undefined || said.interval === 1 ? [] : [`INTERVAL=${said.interval}`]),
      ...(months.length === 0 ? [] : [`BYMONTH=${unique(months).join(",")}`]),
      ...(by.length === 0 ? [] : [`BYDAY=${by.join(",")}`]),
      ...(monthDays.length === 0 ? [] : [`BYMONTHDAY=${monthDays.join(",")}`]),
      ...ends
    ].join(";")
    return { rule, time, startsOn: starts[0] ?? null }
  })

const unclear = unknown("Its parts contradict each other.")

const unique = <A>(values: ReadonlyArray<A>) => Array.from(new Set(values))

const clockOf = (parts: ReadonlyArray<Part>): Either.Either<string | null, UnknownDate> => {
  if (parts.length === 0) return Either.right(null)
  const named = timeOf(parts)
  const hour = named === null ? undefined : usualHour(hoursOf(named.time, named.part))
  if (named === null || hour === undefined || (named.time?.offset ?? null) !== null)
    return unknown("That is not a time of day.")
  if (parts.some((part) => part.is === "part of day" && part.today)) return unknown("That names one day only.")
  if (hour >= 24) return unknown("Midnight belongs to two days: say 23:59 or 0:01.")
  return Either.right(`${two(hour)}:${two(named.time?.minute ?? 0)}`)
}
