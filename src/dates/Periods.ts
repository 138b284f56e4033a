import { DateTime } from "effect"

/** The day `n` days on from a date (YYYY-MM-DD). */
export const dayIn = (date: string, n: number) => shift(date, { days: n })

const shift = (date: string, by: Partial<DateTime.DateTime.PartsForMath>) =>
  DateTime.formatIsoDateUtc(DateTime.add(DateTime.unsafeMake(date), by))

/** Days since Monday: 0 to 6. */
const sinceMonday = (date: string) => (DateTime.getPartUtc(DateTime.unsafeMake(date), "weekDay") + 6) % 7

/** The Monday of a date's week. */
export const mondayOf = (date: string) => dayIn(date, -sinceMonday(date))

const months = { month: 1, quarter: 3, year: 12 }
type Period = "week" | keyof typeof months

const startOf = (date: string, period: Period) => {
  if (period === "week") return mondayOf(date)
  const month = Number(date.slice(5, 7))
  const first = month - ((month - 1) % months[period])
  return `${date.slice(0, 4)}-${String(first).padStart(2, "0")}-01`
}
const startOfNext = (date: string, period: Period) =>
  period === "week" ? dayIn(mondayOf(date), 7) : shift(startOf(date, period), { months: months[period] })

/** The first and last day of a period: this one (0), or that many on. */
export const span = (date: string, period: Period, ahead = 0): { readonly from: string; readonly to: string } => {
  const from = ahead <= 0 ? startOf(date, period) : startOfNext(date, period)
  return ahead > 1 ? span(from, period, ahead - 1) : { from, to: dayIn(startOfNext(from, period), -1) }
}

const numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
const count = String.raw`\d{1,6}(?:\.\d{1,3})?|an?|a couple of|a few|${numbers.join("|")}`
const toNumber = (word: string) => {
  const named = numbers.indexOf(word) + 1
  if (named > 0) return named
  return word.startsWith("a") ? (word.endsWith("couple of") ? 2 : word.endsWith("few") ? 3 : 1) : Number(word)
}

const clockUnit = "hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?"
const amount = String.raw`(?:(half an?|a quarter of an|${count})\s?(days?|${clockUnit})(?![a-z])(\sand a half)?)`
const exact = new RegExp(`^(in |within )?(${amount}(?:(?:,? and |, | )?${amount}){0,3})( from now| later| ago)?$`)
const millisOf: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000 }

/**
 * A duration that goes by the stopwatch: it names hours or minutes ("in 3 hours", "90 minutes from now"). Its whole
 * days go by the calendar. Null for anything else.
 */
export const exactDuration = (words: string) => {
  const match = exact.exec(words)
  if (match === null || (match[1] === undefined) === (match.at(-1) === undefined)) return null
  const sign = match.at(-1) === " ago" ? -1 : 1
  let days = 0
  let millis = 0
  for (const [, n = "", unit = "", half] of (match[2] ?? "").matchAll(new RegExp(amount, "g"))) {
    const base = n.startsWith("half") ? 0.5 : n.startsWith("a quarter") ? 0.25 : toNumber(n)
    const value = base + (half === undefined ? 0 : 0.5)
    if (unit.startsWith("d")) days += value
    else millis += value * (millisOf[unit.slice(0, 1)] ?? 0)
  }
  return millis === 0 || !Number.isInteger(days) ? null : { days: sign * days, millis: Math.round(sign * millis) }
}

const weekday = "mon(?:day)?|tue(?:s|sday)?|wed(?:nesday|s)?|thu(?:r|rs|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
const monthName = /\b(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)(?:[a-z]{0,6})\b|\d[./-]\d/
const indexOf = (name: string) => ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].indexOf(name.slice(0, 3))

const weekdayAfter = (today: string, name: string) => dayIn(today, ((indexOf(name) - sinceMonday(today) + 6) % 7) + 1)

const unit = "days?|weeks?|fortnights?|months?|quarters?|years?"
const inUnits = (from: string, n: number, name: string) => {
  if (name.startsWith("d")) return dayIn(from, n)
  if (name.startsWith("w")) return dayIn(from, 7 * n)
  if (name.startsWith("f")) return dayIn(from, 14 * n)
  return shift(from, { months: n * (name.startsWith("m") ? 1 : name.startsWith("q") ? 3 : 12) })
}
const whole = (n: number) => Number.isInteger(n) && n <= 100_000

const baseDay = (today: string, words: string) =>
  words === "tomorrow" ? dayIn(today, 1) : words === "today" || words === "now" ? today : weekdayAfter(today, words)

/** The next day, today included, that is the `n`th of its month; null when no month has it. */
const nthOfMonth = (today: string, n: number) => {
  for (let month = startOf(today, "month"), i = 0; n >= 1 && i < 12; i++, month = startOfNext(month, "month")) {
    const day = dayIn(month, n - 1)
    if (day >= today && day.startsWith(month.slice(0, 7))) return day
  }
  return null
}

/** A rule gives the date, or null to leave the words as they are. */
type Rule = readonly [RegExp, (today: string, ...groups: ReadonlyArray<string>) => string | null]

const isPeriod = (word: string): word is Period => word === "week" || word in months
const period = "(week|month|quarter|year)"

const weekdayRules: ReadonlyArray<Rule> = [
  [
    new RegExp(String.raw`\b(${weekday}),? (?:of )?(this|next) week\b`),
    (today, day = "", which) => dayIn(mondayOf(today), indexOf(day) + (which === "next" ? 7 : 0))
  ],
  [
    new RegExp(String.raw`\b(this|next) week,? (?:on )?(${weekday})\b`),
    (today, which, day = "") => dayIn(mondayOf(today), indexOf(day) + (which === "next" ? 7 : 0))
  ],
  [new RegExp(String.raw`\b(${weekday}) week\b`), (today, day = "") => dayIn(weekdayAfter(today, day), 7)],
  [new RegExp(String.raw`\bnext (${weekday})\b`), (today, day = "") => dayIn(mondayOf(today), 7 + indexOf(day))],
  [
    new RegExp(String.raw`\b(?:last|past) (${weekday})\b`),
    (today, day = "") => dayIn(today, -(((sinceMonday(today) - indexOf(day) + 6) % 7) + 1))
  ],
  [
    new RegExp(String.raw`\bthis (${weekday})\b`),
    (today, day = "") => (indexOf(day) === sinceMonday(today) ? today : weekdayAfter(today, day))
  ],
  [
    new RegExp(String.raw`\b(?:(?:this )?(?:coming|upcoming) |on )?(${weekday})\b`),
    (today, day = "") => weekdayAfter(today, day)
  ]
]

const rules: ReadonlyArray<Rule> = [
  [/\b(?:the )?day after tomorrow\b/, (today) => dayIn(today, 2)],
  [
    new RegExp(String.raw`\b(?:in |within )?(${count})\s?(${unit}) (?:from|after) (today|now|tomorrow|${weekday})\b`),
    (today, n = "", name = "", base = "") =>
      whole(toNumber(n)) ? inUnits(baseDay(today, base), toNumber(n), name) : null
  ],
  [
    new RegExp(String.raw`\b(?:in|within) (?:the next )?(${count})\s?(${unit})(?:'?s? time)?\b(?! ago)`),
    (today, n = "", name = "") => (whole(toNumber(n)) ? inUnits(today, toNumber(n), name) : null)
  ],
  [
    new RegExp(String.raw`\b(${count})\s?(${unit}) (later|ago)\b`),
    (today, n = "", name = "", way) =>
      whole(toNumber(n)) ? inUnits(today, way === "ago" ? -toNumber(n) : toNumber(n), name) : null
  ],
  [
    new RegExp(String.raw`\b(?:at )?(?:the )?end of (the |this |next )?${period}\b`),
    (today, which, name = "") => (isPeriod(name) ? span(today, name, which === "next " ? 1 : 0).to : null)
  ],
  [
    new RegExp(String.raw`\b(?:at )?(?:the )?(?:start|beginning) of (?:the |next )?${period}\b`),
    (today, name = "") => (isPeriod(name) ? startOfNext(today, name) : null)
  ],
  [
    new RegExp(String.raw`\b(?:later )?this ${period}\b`),
    (today, name = "") => (isPeriod(name) ? span(today, name).to : null)
  ],
  [new RegExp(String.raw`\bnext ${period}\b`), (today, name = "") => (isPeriod(name) ? startOfNext(today, name) : null)]
]
const weekendRules: ReadonlyArray<Rule> = [
  [/\bnext weekend\b/, (today) => dayIn(mondayOf(today), 12)],
  [
    /\b(?:(?:at|on|over) )?(?:the |this )?weekend\b/,
    (today) => (sinceMonday(today) > 5 ? today : dayIn(mondayOf(today), 5))
  ]
]
const dayOfMonth: Rule = [
  /\b(?:on )?(?:the )?(\d{1,2})(?:st|nd|rd|th)\b(?: of (?:the|this) month)?/,
  (today, n) => nthOfMonth(today, Number(n))
]

const apply = (words: string, today: string, [pattern, to]: Rule) =>
  words.replace(pattern, (...match: ReadonlyArray<unknown>) => {
    const groups = match.slice(1).map((group) => (typeof group === "string" ? group : ""))
    return to(today, ...groups) ?? String(match[0])
  })

/** Turns what is relative to today into dates and what chrono does not know into what it does; the rest stays. */
export const rewrite = (words: string, today: string): string => {
  let out = words
    .replace(/^(?:(?:due|by|before|until|till?|for|starting|no later than) (?:on )?)+/, "")
    .replace(/\beow\b/, "end of the week")
    .replace(/\beom\b/, "end of the month")
    .replace(/\beoy\b/, "end of the year")
    .replace(/\s*\b(?:by |at )?(?:eod|(?:the )?end of (?:the )?day)\b\s*/, " ")
    .replace(/^later (?=today)/, "")
    .replace(/(?<!\d|[ap]m|o'clock) ?\bin the (morning|afternoon|evening)\b/, " $1")
    .replace(/(?<!\d|[ap]m|o'clock) at night\b/, " night")
    .replace(/\bhalf past (\d{1,2})\b/, "at $1:30")
    .replace(/\bquarter past (\d{1,2})\b/, "at $1:15")
    .replace(/\bquarter to (\d{1,2})\b/, (_, hour: string) => `at ${((Number(hour) + 10) % 12) + 1}:45`)
    .replace(/\s*@\s*(?=\d)/, " at ")
    .replace(/\b(\d{1,2})h\b/, "$1:00")
    .replace(
      /\b(\d{1,2})\.(\d{1,2})\.(\d{4})\b/,
      (_, d: string, m: string, y: string) => `${y}-${m.padStart(2, "0")}-${d.padStart(2, "0")}`
    )
    .trim()
  if (out === "") return today // "end of the day"
  for (const rule of rules) out = apply(out, today, rule)
  for (const rule of weekendRules) out = apply(out, today, rule)
  // With a month or a numeric date beside it, a weekday only confirms the day; chrono reads both.
  if (!monthName.test(out))
    for (const rule of [...weekdayRules, dayOfMonth]) {
      const before = out
      out = apply(out, today, rule)
      if (out !== before) break
    }
  return out
    .replace(/^(?:on|the) (?=\d)/, "")
    .replace(/^((?:tomorrow|today|tmrw?|\d{4}-\d\d-\d\d),?) (\d{1,2})$/, "$1 at $2")
}
