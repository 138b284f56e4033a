import { repeatSpans } from "../../dates/Repeats.ts"
import { cutDue, dangling, isRepeat, type Reading } from "./When.ts"

/** A task to create. The server resolves `due`. */
interface NewTask {
  readonly title: string
  readonly description: string | null
  readonly priority: string | null
  readonly labels: ReadonlyArray<string> | null
  readonly due: string | null
  /** How it repeats, in the user's words. */
  readonly repeat?: string
}

/** A new task as the message describes it. */
export interface Draft extends NewTask {
  /** Why its date cannot be read, as a sentence. If set, the task is not created. */
  readonly unclear: string | null
}

// The lookbehind lets a run of spaces and punctuation match only from its start, so matching takes linear time.
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

/** Maps a word for a priority to `low`, `medium` or `high`. Null for other words. */
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

/** Reads "work, home and \"two words\"" as three labels. */
export const labelsOf = (words: string) =>
  Array.from(words.matchAll(/"([^"]+)"|([^",\s][^",]*?)(?=\s*(?:,|$|\s+and\s))/gi), ([, quoted, bare]) =>
    (quoted ?? bare ?? "").replace(/^and\s+|^#/gi, "").trim()
  ).filter((label) => label !== "")

const described =
  /(?<![\s,;(])[\s,;(]+(?:(?:and |with )(?:the |a )?(?:description|notes?|details?)(?: of| saying|:)?|(?:description|notes?|details?):|described as)\s+(.+?)\)?$/i

/** Words before a title that are not part of it: "that", "I have a", "I'm" before "meeting". */
const introduction =
  /^(?:(?:to|that)\s+|(?:i|we)(?: have|'ve got| have got) an?\s+|(?:i'm|i am|we're|we are)(?: going to\s+|\s+(?=(?!going\b)\w+ing\b)))/i

/** Reads one task. Text in quotes is a title and is kept unchanged. */
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
  // The brackets around a date go with it.
  rest = cut.due === null ? cut.rest : cut.rest.replace(/ ?\(\s+\)/g, "")
  takeLabels()
  const title = rest.replace(/^[\s:;,]+/, "").replace("\uE000", quoted?.[1] ?? "")
  return {
    title: quoted === null ? capitalize(unquote(title.replace(introduction, "").replace(/[\s,;.]+$/, ""))) : title,
    description,
    priority,
    labels: labels.length === 0 ? null : [...new Set(labels)],
    due: cut.due,
    unclear: cut.unclear ?? (repeated.repeat === null && frequency.test(rest) ? unclearRepeat : null),
    ...(repeated.repeat !== null && { repeat: repeated.repeat })
  }
}

/** A word that begins or forms a repeat, such as "every" or "weekly". */
const repeatWord =
  /\b(?:every|each|(?:dai|week|fortnight|month|quarter|year)ly|annually|(?:mon|tues|wednes|thurs|fri|satur|sun|week)days)\b/i
/** Says how often, also in words that cannot be read as a repeat. */
const frequency =
  /\b(?:every|each) (?:other |single )?(?:\d|(?:seco|thi|fou|two|three|few|couple|minute|hour|day|week|fortnight|month|quarter|year|morning|afternoon|evening|night|mon|tue|wed|thu|fri|sat|sun))|\b(?:once|twice|\w+ times) (?:a|an|per|every|each) (?:hour|day|week|month|year)\b/i
/** The most words that a repeat can have. */
const maxRepeatWords = 14
const unclearRepeat =
  "I cannot read how often that is to repeat. Say it like “every monday”, “every 2 weeks” or “on the 1st of every month”."

/** Separates the words that say how often from the rest: "water the plants every monday at 9". */
const cutRepeat = (text: string, present: Reading): { readonly repeat: string | null; readonly rest: string } => {
  const none = { repeat: null, rest: text }
  if (!repeatWord.test(text) || !present.budget.spend(text.length)) return none
  for (const run of repeatSpans(text, present.now, present.zone)) {
    const words = run.slice(0, maxRepeatWords)
    for (const [i, { start }] of words.entries()) {
      const before = text.slice(0, start).trim()
      for (const { end } of words.slice(i).reverse()) {
        const repeat = text.slice(start, end)
        if (!repeatWord.test(repeat)) break
        const after = text.slice(end).replace(/^[\s,.!?:]+/, "")
        // "report weekly" repeats. "weekly report" and "read the weekly" are titles.
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

/** True if the text begins with a verb for something to do: "call the bank". */
export const isAction = (text: string) => {
  const [verb = "", next] = text.replace(/^to\s+/i, "").split(/\s+/)
  return next !== undefined && verbs.has(verb.toLowerCase())
}

/** True if a text that is not a request may be a task: it has a date, repeats, or is a list. */
export const isDated = (text: string, present: Reading) =>
  /^\s*[-*•] /.test(text) ||
  (!/^(?:what|when|where|who|why|how|is|are|was|were|it's)\b/i.test(text) &&
    (cutDue(text, present).due !== null || cutRepeat(text, present).repeat !== null))

/**
 * The most tasks that a tool accepts, and that one request changes. One more is read, to detect that there are too
 * many.
 */
export const mostTasks = 25

/**
 * The tasks that a text names: one for each line, or one for each item after a heading ("three tasks: a, b and c").
 * Otherwise the text is split before each action ("buy milk and call the bank"), or at commas if no part is an action
 * ("milk, eggs and bread"). "bread and butter" is one task.
 */
export const newTasks = (body: string, present: Reading, hasHeading: boolean): ReadonlyArray<Draft> =>
  partsOf(body, hasHeading)
    .slice(0, mostTasks + 1)
    .map((part) => newTask(part, present))
    .filter(({ title }) => title !== "")

/** The start of an attribute of a task, not of another task. */
const trait =
  /^(?:#|(?:high|medium|low|urgent)\b|(?:due|by|until|priority|tag|tagged|label|labelled|labeled|tomorrow|today|tonight)\b|(?:on |next )?(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b)/i

const partsOf = (body: string, hasHeading: boolean): ReadonlyArray<string> => {
  const lines = body
    .split(/\n+/)
    .map((line) => line.replace(/^\s*(?:[-*•]|\d+[.)])\s+/, "").trim())
    .filter((line) => line !== "")
  if (lines.length > 1) return lines
  const parts = splitList(lines[0] ?? "", /\s*(?:;|,\s*and\s|,\s|\sand\s|\splus\s)\s*/i)
  if (parts.length < 2) return parts
  if (hasHeading) return parts
  const isList =
    /[,;]/.test(lines[0] ?? "") &&
    parts.length > 2 &&
    parts.every((part) => part.split(" ").length <= 3 && !trait.test(part))
  if (isList && !parts.some(isAction)) return parts
  // A part that is not an action belongs to the part before it: "buy milk, eggs and bread".
  const out: Array<string> = []
  let rest = lines[0] ?? ""
  for (const [i, part] of parts.entries()) {
    const before = rest.slice(0, rest.indexOf(part))
    rest = rest.slice(before.length + part.length)
    const last = out.at(-1)
    if (i > 0 && last !== undefined && !(isAction(part) && isAction(last))) out[out.length - 1] = last + before + part
    else out.push(part)
  }
  return out
}

/** Splits a text, except within quotes. */
const splitList = (text: string, separator: RegExp) => {
  const quotes: Array<string> = []
  const masked = text.replace(/"[^"]*"/g, (quote) => `\uE001${quotes.push(quote) - 1}\uE002`)
  return masked
    .split(separator)
    .map((part) => part.replace(/\uE001(\d+)\uE002/g, (_, i: string) => quotes[Number(i)] ?? "").trim())
    .filter((part) => part !== "")
}
