import { DateTime, Either } from "effect"
import { dayIn, isoDate, mondayOf, shift, span } from "../../dates/Calendar.ts"
import { resolve } from "../../dates/Dates.ts"
import { readRepeat } from "../../dates/Repeats.ts"
import { dateSpans } from "../../dates/Spans.ts"
import { monthWords } from "../../dates/Vocabulary.ts"
import type { Budget } from "./Budget.ts"

/** The present, for reading dates. */
export interface Present {
  readonly now: DateTime.Utc
  readonly zone: DateTime.TimeZone
}

/** The present, and the budget for reading. */
export interface Reading extends Present {
  readonly budget: Budget
}

export const todayOf = ({ now, zone }: Present) => DateTime.formatIsoDate(DateTime.setZone(now, zone))

/** The day that the words name, or null. */
const dayOf = (words: string, { budget, now, zone }: Reading): string | null =>
  budget.spend(words.length)
    ? Either.match(resolve(words, now, zone), { onLeft: () => null, onRight: ({ dueDate }) => dueDate })
    : null

const connector = /^(?:due|by|on|for|until|till|before|from)[:\s]\s*/i
/** A date after one of these words is part of the title: "enjoy the sun", "a report of today". */
export const dangling =
  /(?:^|\s)(?:the|a|an|my|your|our|his|her|their|of|to|and|or|with|about|in|this|that|every|each)$/i
/** Words that are dates only after a preposition. */
const weak =
  /^(?:the \S+|(?:the )?(?:weekend|morning|afternoon|evening|night|noon|midnight|\w+(?:st|nd|rd|th)|first|second|third)|of .*|now|sun|sat|mon|tue|wed|thu|fri)$/i
/** A date in the middle of a title or before it must begin with one of these words, or match `timed`. */
const strong = /^(?:tomorrow|today|tonight|by|on|at|in|this|next|due|before|until)\b/i

/** A time of day, so the words can only be a date: "saturday 7pm". */
const timed = /\s\d{1,2}(?::\d\d)? ?[ap]m\b|\s(?:noon|midnight)$|\s\d{1,2}:\d\d/i

/** A text without its date, and the date in the user's words. `unclear` says why the date cannot be read. */
interface Cut {
  readonly due: string | null
  readonly rest: string
  readonly unclear: string | null
}

const unitWords = "(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?)"
const dayWords =
  "(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|april|june|july|august|september|october|november|december"
const fromTo = "\\d(?::\\d\\d)? ?(?:[ap]m)? ?[-–] ?\\d{1,2}(?::\\d\\d)? ?(?:[ap]m)?"
/**
 * Words right before or after a date that change its meaning: "after" in "after friday", "30 minutes" in "30 minutes
 * before 5pm".
 */
const besideBefore = new RegExp(`(?:^|\\s)(?:after|since|from|except|not|past|between|${dayWords})$|${fromTo}$`, "i")
const countBefore = new RegExp(
  `(?:\\d|\\b(?:an?|half|one|two|three|four|five|six|seven|ten|few|couple of)) ?${unitWords}$`,
  "i"
)
const besideAfter = new RegExp(`^(?:except|but not|ago|${unitWords}|${dayWords})\\b|^\\d?${fromTo}`, "i")

/** The answer if a text names several dates. */
export const several = (words: ReadonlyArray<string>) =>
  `That names more than one date or time: “${words.join("”, “")}”. Add it with one of them, or as several tasks.`

/** Separates the date from the rest. The day and the time may be in two places: "tomorrow call Bob at 5". */
export const cutDue = (text: string, present: Reading): Cut => {
  const whole = text.replace(/[\s.!?]+$/, "")
  const uncut = { due: null, rest: whole, unclear: null }
  if (!present.budget.spend(whole.length)) return uncut
  const all = dateSpans(whole).map(({ end, start, wordCount }) => {
    const bare = /^(?:morning|afternoon|evening|night) /i.exec(whole.slice(start, end))?.[0].length ?? 0
    return { start: start + bare, end, wordCount }
  })
  const phraseOf = ({ end, start }: { readonly start: number; readonly end: number }) => whole.slice(start, end).trim()
  const listed = all.some(({ start }, i) => /^\s*(?:and|or|&)\s*$/i.test(whole.slice(all[i - 1]?.end ?? start, start)))
  if (listed) return { ...uncut, unclear: several(all.map(phraseOf)) }
  const spans = all.filter(({ end, start, wordCount }) => {
    const phrase = whole.slice(start, end)
    const before = whole.slice(0, start).trimEnd()
    const inside = start === 0 || end < whole.length
    return (
      wordCount <= 12 &&
      !weak.test(phrase) &&
      !dangling.test(before) &&
      (!inside || strong.test(phrase) || timed.test(phrase))
    )
  })
  const words = spans.map(phraseOf)
  if (words.length === 0) return uncut
  const isPart = spans.some(({ end, start }, i) => {
    // "at 12 march 2 next year": the number in between belongs to one of the dates.
    if (/^[\s:.,]*\d[\s\d:.,]*$/.test(whole.slice(end, spans[i + 1]?.start))) return true
    const before = whole.slice(0, start).trimEnd()
    const isCounted = /^(?:before|until|till)\b/i.test(whole.slice(start)) && countBefore.test(before)
    const isRange =
      /^(?:[-–—]|to\b|until\b|till\b) ?\d/i.test(whole.slice(end).trimStart()) &&
      /\d ?(?:[ap]m)?$/i.test(whole.slice(start, end).trim())
    return isCounted || isRange || besideBefore.test(before) || besideAfter.test(whole.slice(end).trimStart())
  })
  if (isPart) {
    return {
      ...uncut,
      unclear: `I can read only a part of that date: “${words.join("”, “")}”. Say it like “tomorrow at 9”.`
    }
  }
  const due = duePhrase(words.join(" "), present)
  if (due === null) {
    return { ...uncut, unclear: words.length > 1 ? several(words) : whyNot(words[0] ?? "", present) }
  }
  let rest = ""
  let at = 0
  for (const { end, start } of spans) {
    rest += ` ${whole.slice(at, start).trim()}`
    at = end
  }
  rest = `${rest} ${whole.slice(at).trim()}`
    .replace(/^due\b/i.test(words.at(-1) ?? "") ? /\s(?:is|are)\s*$/i : withDue, " ")
    .trim()
    .replace(/^[\s,;:–—-]+|[\s,;:–—-]+$/g, "")
  return { due, rest, unclear: null }
}

/** Why a phrase cannot be a due date: "I cannot make it due “today at 9am”: that is in the past." */
const whyNot = (words: string, { budget, now, zone }: Reading): string | null => {
  const found = budget.spend(words.length) ? resolve(words, now, zone) : null
  if (found === null || Either.isRight(found)) return null
  const [why = ""] = found.left.detail.split(". Use ")
  return `I cannot make it due “${words}”: ${why.slice(0, 1).toLowerCase()}${why.slice(1).replace(/\.$/, "")}.`
}

const withDue = /\s(?:with |and )?(?:a |the )?(?:due date|deadline)(?: of| on| is|:)?(?=\s*$)/i

/** A date phrase without its leading preposition. Null if the text is not a date. */
export const duePhrase = (text: string, present: Reading): string | null => {
  const words = text.replace(/^[("'\s]+|[)"'.,;!?\s]+$/g, "")
  if (words === "" || words.length > 90 || weak.test(words) || dayOf(words, present) === null) return null
  const bare = words.replace(connector, "").replace(connector, "")
  return dayOf(bare, present) === null ? words : bare
}

/** True if the words say how often. */
export const isRepeat = (words: string, { budget, now, zone }: Reading) =>
  budget.spend(words.length) && Either.isRight(readRepeat(words, now, zone))

/** A range of days, both inclusive. Null means no limit on that side. */
export interface Days {
  readonly after: string | null
  readonly before: string | null
}

/** The range of days that a phrase names: "this week", "before friday", "the next 3 days". */
export const daysOf = (text: string, present: Reading): Days | null => {
  const words = text
    .trim()
    .toLowerCase()
    .replace(/^(?:(?:on|in|for|during|due)\s+)+/, "")
  const today = todayOf(present)
  const period = /^(this|next|the next) (week|month|quarter|year)$/.exec(words)
  if (period !== null) {
    const unit = period[2]
    const ahead = period[1] === "this" ? 0 : 1
    if (unit !== "week" && unit !== "month" && unit !== "quarter" && unit !== "year") return null
    const { from, to } = span(today, unit, ahead)
    return { after: from, before: to }
  }
  const next = /^(?:the )?(?:next|coming) (\d{1,3}|two|three|four|five|six|seven) (days|weeks)$/.exec(words)
  if (next !== null) {
    const n = Number(next[1]) || ["two", "three", "four", "five", "six", "seven"].indexOf(next[1] ?? "") + 2
    return { after: today, before: dayIn(today, n * (next[2] === "weeks" ? 7 : 1)) }
  }
  const weekend = /^(this |the |next )?weekend$/.exec(words)
  if (weekend !== null) {
    const saturday = dayIn(mondayOf(today), weekend[1] === "next " ? 12 : 5)
    return { after: saturday, before: dayIn(saturday, 1) }
  }
  const month = /^(?:the month of )?([a-z]+)( \d{4})?$/.exec(words)
  const number = month === null ? undefined : monthWords.get(month[1] ?? "")
  if (number !== undefined) {
    const year = Number(today.slice(0, 4))
    const { from, to } = span(isoDate(Number(month?.[2] ?? year), number, 1), "month")
    return month?.[2] === undefined && to < today
      ? { after: shift(from, { months: 12 }), before: span(shift(from, { months: 12 }), "month").to }
      : { after: from, before: to }
  }
  if (/^overdue$|^late$/.test(words)) return { after: null, before: dayIn(today, -1) }
  const [, bound, rest = ""] = /^(?:(by|until|till|before|after|since|from) )?(.+)$/.exec(words) ?? []
  const between = /^between (.+) and (.+)$/.exec(words)
  if (between !== null) {
    const after = dayOf(between[1] ?? "", present)
    const before = dayOf(between[2] ?? "", present)
    return after === null || before === null ? null : { after, before }
  }
  const day = dayOf(rest, present)
  if (day === null) return null
  if (bound === undefined) return { after: day, before: day }
  if (bound === "before") return { after: null, before: dayIn(day, -1) }
  if (bound === "after") return { after: dayIn(day, 1), before: null }
  return bound === "since" || bound === "from" ? { after: day, before: null } : { after: null, before: day }
}
