import { DateTime, Either } from "effect"
import { dayIn, isoDate, mondayOf, shift, span } from "../../dates/Calendar.ts"
import { resolve } from "../../dates/Dates.ts"
import { readRepeat, repeatSpans } from "../../dates/Repeats.ts"
import { dateSpans } from "../../dates/Spans.ts"
import { monthWords } from "../../dates/Words.ts"
import type { Budget } from "./Budget.ts"

/** The present, in which words for dates are read. */
export interface Present {
  readonly now: DateTime.Utc
  readonly zone: DateTime.TimeZone
}

/** The present, and what reading may still cost. */
export interface Reading extends Present {
  readonly budget: Budget
}

export const todayOf = ({ now, zone }: Present) => DateTime.formatIsoDate(DateTime.setZone(now, zone))

/** The day that words name, or null. */
const dayOf = (words: string, { budget, now, zone }: Reading): string | null =>
  budget.spend(words.length)
    ? Either.match(resolve(words, now, zone), { onLeft: () => null, onRight: ({ dueDate }) => dueDate })
    : null

/** A task as it is to be created; the server resolves `due`. */
interface NewTask {
  readonly title: string
  readonly description: string | null
  readonly priority: string | null
  readonly labels: ReadonlyArray<string> | null
  readonly due: string | null
  /** How it repeats, in the user's own words. */
  readonly repeat?: string
}

/** A new task as its words have it, with what keeps it from being created. */
export interface Draft extends NewTask {
  /** Why its words for dates cannot be read, in a sentence. */
  readonly unclear: string | null
}

const connector = /^(?:due|by|on|for|until|till|before|from)[:\s]\s*/i
/** What follows one of these is part of the title, whatever it looks like: "enjoy the sun", "a report of today". */
const dangling = /(?:^|\s)(?:the|a|an|my|your|our|his|her|their|of|to|and|or|with|about|in|this|that|every|each)$/i
/** Words that are dates only with a preposition before them. */
const weak =
  /^(?:the \S+|(?:the )?(?:weekend|morning|afternoon|evening|night|noon|midnight|\w+(?:st|nd|rd|th)|first|second|third)|of .*|now|sun|sat|mon|tue|wed|thu|fri)$/i
/** Only these may begin a date in the middle of a title or before it. */
const strong = /^(?:tomorrow|today|tonight|by|on|at|in|this|next|due|before|until)\b/i

/** Nor can these be anything but dates: "saturday 7pm". */
const timed = /\s\d{1,2}(?::\d\d)? ?[ap]m\b|\s(?:noon|midnight)$|\s\d{1,2}:\d\d/i

/** A text without its date, and the date in the user's own words; `unclear` says why they cannot be read. */
interface Cut {
  readonly due: string | null
  readonly rest: string
  readonly unclear: string | null
}

const unitWords = "(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?)"
const dayWords =
  "(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|april|june|july|august|september|october|november|december"
/** What, right before or after a date, makes another one of it: "30 minutes" before "before 5pm", "after" before "friday". */
const fromTo = "\\d(?::\\d\\d)? ?(?:[ap]m)? ?[-–] ?\\d{1,2}(?::\\d\\d)? ?(?:[ap]m)?"
const besideBefore = new RegExp(`(?:^|\\s)(?:after|since|from|except|not|past|between|${dayWords})$|${fromTo}$`, "i")
const countBefore = new RegExp(
  `(?:\\d|\\b(?:an?|half|one|two|three|four|five|six|seven|ten|few|couple of)) ?${unitWords}$`,
  "i"
)
const besideAfter = new RegExp(`^(?:except|but not|ago|${unitWords}|${dayWords})\\b|^\\d?${fromTo}`, "i")

/** That words name several dates. */
export const several = (words: ReadonlyArray<string>) =>
  `That names more than one date or time: “${words.join("”, “")}”. Add it with one of them, or as several tasks.`

/** A day and a time may stand in two places: "tomorrow call Bob at 5". */
const cutDue = (text: string, present: Reading): Cut => {
  const whole = text.replace(/[\s.!?]+$/, "")
  const uncut = { due: null, rest: whole, unclear: null }
  if (!present.budget.spend(whole.length)) return uncut
  const all = dateSpans(whole).map(({ end, start, words }) => {
    const bare = /^(?:morning|afternoon|evening|night) /i.exec(whole.slice(start, end))?.[0].length ?? 0
    return { start: start + bare, end, words }
  })
  const phraseOf = ({ end, start }: { readonly start: number; readonly end: number }) => whole.slice(start, end).trim()
  const listed = all.some(({ start }, i) => /^\s*(?:and|or|&)\s*$/i.test(whole.slice(all[i - 1]?.end ?? start, start)))
  if (listed) return { ...uncut, unclear: several(all.map(phraseOf)) }
  const spans = all.filter(({ end, start, words }) => {
    const phrase = whole.slice(start, end)
    const before = whole.slice(0, start).trimEnd()
    const inside = start === 0 || end < whole.length
    return (
      words <= 12 &&
      !weak.test(phrase) &&
      !dangling.test(before) &&
      (!inside || strong.test(phrase) || timed.test(phrase))
    )
  })
  const words = spans.map(phraseOf)
  if (words.length === 0) return uncut
  const isPart = spans.some(({ end, start }, i) => {
    // "at 12 march 2 next year": the number between is of one of them.
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

/** Why words for a date do not name one: "“today at 9am” is no date for a task: that is over already." */
const whyNot = (words: string, { budget, now, zone }: Reading): string | null => {
  const found = budget.spend(words.length) ? resolve(words, now, zone) : null
  if (found === null || Either.isRight(found)) return null
  const [why = ""] = found.left.detail.split(". Use ")
  return `I cannot make it due “${words}”: ${why.slice(0, 1).toLowerCase()}${why.slice(1).replace(/\.$/, "")}.`
}

const withDue = /\s(?:with |and )?(?:a |the )?(?:due date|deadline)(?: of| on| is|:)?(?=\s*$)/i

/** A date phrase without what only ties it to its sentence, or null when it is none. */
export const duePhrase = (text: string, present: Reading): string | null => {
  const words = text.replace(/^[("'\s]+|[)"'.,;!?\s]+$/g, "")
  if (words === "" || words.length > 90 || weak.test(words) || dayOf(words, present) === null) return null
  const bare = words.replace(connector, "").replace(connector, "")
  return dayOf(bare, present) === null ? words : bare
}

// A run of spaces and punctuation is entered where it begins, and not again at each of its characters.
const priorities: ReadonlyArray<readonly [RegExp, (word: string) => string]> = [
  [
    /(?<![\s,(])[\s,(]*\b(?:with |at |as )?(?:a )?(high|highest|top|urgent|medium|normal|low|lowest)[- ]priority\b\)?/i,
    (w) => w
  ],
  [/(?<![\s,(])[\s,(]*\b(?:with )?priority(?: is| of|:)? (high|urgent|medium|normal|low)\b\)?/i, (w) => w],
  [/\s*\((high|urgent|important|medium|low)!?\)/i, (w) => w],
  [/(?:^|\s)!(high|medium|low)\b/i, (w) => w],
  [/^(urgent|important)[:,!]\s*/i, (w) => w],
  [/[\s,]+(?:asap|as soon as possible)$/i, () => "high"],
  [/[\s,;.]+(?:and )?(?:it(?:'s| is)|that(?:'s| is)|this is) (?:very |really |quite )?(urgent|important)$/i, (w) => w],
  [/\s*!!+$/, () => "high"]
]

/** `low`, `medium` or `high` for what people call a priority, or null. */
export const priorityOf = (word: string): string | null => {
  if (/^(?:high|highest|top|urgent|very important|important|critical)(?:est)?$/i.test(word)) return "high"
  if (/^(?:medium|normal|moderate|middle)$/i.test(word)) return "medium"
  return /^(?:low|lowest|minor|unimportant|not (?:urgent|important))$/i.test(word) ? "low" : null
}

const name = String.raw`(?:"[^"]+"|[\p{L}\p{N}_-]+)`
const labelled = new RegExp(
  String.raw`(?<![\s,(])[\s,(]*\b(?:with (?:the |a )?)?(?:labels?|tags?|labell?ed|tagged)(?: as| with)?:?\s+(${name}(?:(?:,? and |, )${name})*)\)?(?=$|,|\s(?:due|by|on|with|for)\b)`,
  "iu"
)
const hashtag = /(?:^|\s)#(?=[\p{L}_])([\p{L}\p{N}_-]+)/gu

/** "work, home and \"two words\"" as three labels. */
export const labelsOf = (words: string) =>
  Array.from(words.matchAll(/"([^"]+)"|([^",\s][^",]*?)(?=\s*(?:,|$|\s+and\s))/gi), ([, quoted, bare]) =>
    (quoted ?? bare ?? "").replace(/^and\s+|^#/gi, "").trim()
  ).filter((label) => label !== "")

const described =
  /(?<![\s,;(])[\s,;(]+(?:(?:and |with )(?:the |a )?(?:description|notes?|details?)(?: of| saying|:)?|(?:description|notes?|details?):|described as)\s+(.+?)\)?$/i

/** What only leads to a title: "that", "I have a", "I'm" before "meeting". */
const saying =
  /^(?:(?:to|that)\s+|(?:i|we)(?: have|'ve got| have got) an?\s+|(?:i'm|i am|we're|we are)(?: going to\s+|\s+(?=(?!going\b)\w+ing\b)))/i

/** What a single task's words say of it. Text in quotes is a title as it stands. */
const newTask = (text: string, present: Reading): Draft => {
  let rest = text.trim()
  let description: string | null = null
  let priority: string | null = null
  const labels: Array<string> = []
  const quoted = /^"([^"]+)"(.*)$/su.exec(rest)
  if (quoted !== null) rest = `\uE000${quoted[2] ?? ""}`
  rest = rest.replace(described, (_, words: string) => {
    description = unquote(words)
    return ""
  })
  for (const [pattern, toWord] of priorities) {
    rest = rest.replace(pattern, (_, word: string) => {
      priority ??= priorityOf(toWord(word))
      return ""
    })
  }
  const takeLabels = () => {
    rest = rest.replace(labelled, (_, words: string) => {
      labels.push(...labelsOf(words))
      return ""
    })
  }
  takeLabels()
  rest = rest.replace(hashtag, (_, label: string) => {
    labels.push(label)
    return ""
  })
  const repeated = cutRepeat(rest, present)
  const cut = cutDue(repeated.rest, present)
  rest = cut.rest
  takeLabels()
  const title = rest.replace(/^[\s:;,]+/, "").replace("\uE000", quoted?.[1] ?? "")
  return {
    title: quoted === null ? capitalize(unquote(title.replace(saying, "").replace(/[\s,;.]+$/, ""))) : title,
    description,
    priority,
    labels: labels.length === 0 ? null : [...new Set(labels)],
    due: cut.due,
    unclear: cut.unclear ?? (repeated.repeat === null && isOften.test(rest) ? howOften : null),
    ...(repeated.repeat !== null && { repeat: repeated.repeat })
  }
}

/** Words that say how often, and with which more of them may belong. */
const again =
  /\b(?:every|each|(?:dai|week|fortnight|month|quarter|year)ly|annually|(?:mon|tues|wednes|thurs|fri|satur|sun|week)days)\b/i
/** Says how often, read or not. */
const isOften =
  /\b(?:every|each) (?:other |single )?(?:\d|(?:seco|thi|fou|two|three|few|couple|minute|hour|day|week|fortnight|month|quarter|year|morning|afternoon|evening|night|mon|tue|wed|thu|fri|sat|sun))|\b(?:once|twice|\w+ times) (?:a|an|per|every|each) (?:hour|day|week|month|year)\b/i
const mostOften = 14
const howOften =
  "I cannot read how often that is to repeat. Say it like “every monday”, “every 2 weeks” or “on the 1st of every month”."

/** A text without the words that say how often, and those words: "water the plants every monday at 9". */
const cutRepeat = (text: string, present: Reading): { readonly repeat: string | null; readonly rest: string } => {
  const none = { repeat: null, rest: text }
  if (!again.test(text) || !present.budget.spend(text.length)) return none
  for (const run of repeatSpans(text, present.now, present.zone)) {
    const words = run.slice(0, mostOften)
    for (const [i, { start }] of words.entries()) {
      const before = text.slice(0, start).trim()
      for (const { end } of words.slice(i).reverse()) {
        const repeat = text.slice(start, end)
        if (!again.test(repeat)) break
        const after = text.slice(end).replace(/^[\s,.!?:]+/, "")
        // "weekly report" is a title, "report weekly" is not; nor is "read the weekly".
        const isWhole = after === "" || /^(?:to|with|high|medium|low|label|tag|starting|at)\b/i.test(after)
        const fits =
          (isWhole || /\b(?:every|each)\b/i.test(repeat)) && !/^(?:of|and|the) (?!\d|\S+ (?:of|day)\b)/i.test(repeat)
        if (fits && !dangling.test(before) && isRepeat(repeat, present)) {
          return { repeat, rest: `${before} ${after}`.trim() }
        }
      }
    }
  }
  return none
}

/** Whether words say how often. */
export const isRepeat = (words: string, { budget, now, zone }: Reading) =>
  budget.spend(words.length) && Either.isRight(readRepeat(words, now, zone))

export const unquote = (text: string) =>
  text
    .trim()
    .replace(/^"([^"]*)"$/, "$1")
    .trim()

const capitalize = (text: string) => text.replace(/^\p{Ll}/u, (letter) => letter.toUpperCase())

const verbs = new Set(
  `answer apply arrange ask attend back bake bathe book borrow bring brush build buy call cancel change charge check choose clean clear
  close collect compare complete confirm contact cook copy create cut decide deliver design discuss do donate download draft draw drive drop dry eat
  edit email empty exercise feed fetch file fill find finish fix fold follow freeze get give go hang help hire install invite iron join learn
  leave listen load lock look mail make measure meet message mop move mow notify oil open order organise organize pack paint pay phone pick plan
  plant play post practice practise prepare print pull put read rebook record refill register remind renew rent repair replace reply
  report rescan research reserve return review ring run schedule schedule sell send set share shop sign sleep sort start stop store study submit
  sweep swap take talk teach test thank throw tidy train transfer translate try turn unload unlock unpack update upgrade upload vacuum visit wait
  walk wash watch water withdraw wipe work wrap write`.split(/\s+/)
)

/** Whether a text begins as something to do: "call the bank". */
export const isDeed = (text: string) => {
  const [verb = "", next] = text.replace(/^to\s+/i, "").split(/\s+/)
  return next !== undefined && verbs.has(verb.toLowerCase())
}

/** Whether a text that asks for nothing may be a task: it has a date in it, repeats, or is a list. */
export const isDated = (text: string, present: Reading) =>
  /^\s*[-*•] /.test(text) ||
  (!/^(?:what|when|where|who|why|how|is|are|was|were|it's)\b/i.test(text) &&
    (cutDue(text, present).due !== null || cutRepeat(text, present).repeat !== null))

/** How many tasks a tool takes, and so one request changes; of more, one more is read, so that it can be said. */
export const mostTasks = 25

/**
 * The tasks that a text names: one for each line, or for each part of an announced list ("three tasks: a, b and c").
 * Otherwise it is divided where another deed begins ("buy milk and call the bank"), or at commas when no part is one
 * ("milk, eggs and bread"); "bread and butter" stays one.
 */
export const newTasks = (body: string, present: Reading, announced: boolean): ReadonlyArray<Draft> =>
  partsOf(body, announced)
    .slice(0, mostTasks + 1)
    .map((part) => newTask(part, present))
    .filter(({ title }) => title !== "")

/** Says something of a task rather than naming one. */
const trait =
  /^(?:#|(?:high|medium|low|urgent)\b|(?:due|by|until|priority|tag|tagged|label|labelled|labeled|tomorrow|today|tonight)\b|(?:on |next )?(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b)/i

const partsOf = (body: string, announced: boolean): ReadonlyArray<string> => {
  const lines = body
    .split(/\n+/)
    .map((line) => line.replace(/^\s*(?:[-*•]|\d+[.)])\s+/, "").trim())
    .filter((line) => line !== "")
  if (lines.length > 1) return lines
  const parts = splitList(lines[0] ?? "", /\s*(?:;|,\s*and\s|,\s|\sand\s|\splus\s)\s*/i)
  if (parts.length < 2) return parts
  if (announced) return parts
  const isList =
    /[,;]/.test(lines[0] ?? "") &&
    parts.length > 2 &&
    parts.every((part) => part.split(" ").length <= 3 && !trait.test(part))
  if (isList && !parts.some(isDeed)) return parts
  // A part that is no deed of its own goes on with the one before it: "buy milk, eggs and bread".
  const out: Array<string> = []
  let rest = lines[0] ?? ""
  for (const [i, part] of parts.entries()) {
    const before = rest.slice(0, rest.indexOf(part))
    rest = rest.slice(before.length + part.length)
    const last = out.at(-1)
    if (i > 0 && last !== undefined && !(isDeed(part) && isDeed(last))) out[out.length - 1] = last + before + part
    else out.push(part)
  }
  return out
}

/** Divides outside of quotes only. */
const splitList = (text: string, separator: RegExp) => {
  const quotes: Array<string> = []
  const masked = text.replace(/"[^"]*"/g, (quote) => `\uE001${quotes.push(quote) - 1}\uE002`)
  return masked
    .split(separator)
    .map((part) => part.replace(/\uE001(\d+)\uE002/g, (_, i: string) => quotes[Number(i)] ?? "").trim())
    .filter((part) => part !== "")
}

/** Days, both inclusive; null leaves that side open. */
export interface Days {
  readonly after: string | null
  readonly before: string | null
}

/** The days that words for a time span name: "this week", "before friday", "the next 3 days". */
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
