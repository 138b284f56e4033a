import { Data } from "effect"
import { priorityOf, unquote } from "./Phrases.ts"
import { daysOf, type Reading } from "./When.ts"

/** Which tasks to list. `what` describes it in words that follow "tasks": " due this week". */
export interface Filter {
  readonly status: "all" | "pending" | "completed"
  readonly priority: string | null
  readonly label: string | null
  readonly after: string | null
  readonly before: string | null
  /** Only tasks without a due date. */
  readonly undated?: boolean
  readonly query: string | null
  readonly what: string
}

export const everything: Filter = {
  status: "pending",
  priority: null,
  label: null,
  after: null,
  before: null,
  query: null,
  what: ""
}

/** The tasks that a request is about. */
export type Target = Data.TaggedEnum<{
  Id: { readonly id: number }
  /** A position on the last list, or an id. */
  Number: { readonly n: number }
  /** A position on the last list, from 1, counted from the start or the end. */
  Place: { readonly n: number; readonly fromEnd: boolean }
  It: {}
  Them: { readonly count: number | null }
  All: { readonly filter: Filter }
  Title: { readonly words: string }
  /** `words` is the whole phrase, which may be a single title: "fish and chips". */
  Several: { readonly targets: ReadonlyArray<Target>; readonly words: string }
}>
export const Target = Data.taggedEnum<Target>()

const ordinals = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
const counts = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]

/** A number in words or digits. 0 if the word is not a number. */
export const toCount = (word: string) => counts.indexOf(word.toLowerCase()) + 1 || Number(word) || 0

/** 0 if the number is too large for an id. */
const toId = (digits: string) => (digits.length <= 15 ? Number(digits) : 0)

/** A list with its own name is a label here. */
const namedList = /^(?:everything on )?(?:my|the|our) (?!to-?do|task|whole|entire)([\p{L}-]+) list$/u
const labelled = (label: string): Filter => ({ ...everything, label, what: ` labelled ${label}` })

export const targetOf = (text: string, present: Reading): Target => {
  const quoted = /^(?:the )?(?:task |item )?(?:called |named |titled )?("[^"]+")(?: task| item)?$/i.exec(text.trim())
  if (quoted !== null) return Target.Title({ words: unquote(quoted[1] ?? "") })
  const words = text
    .trim()
    .replace(/\s+(?:(?:from|off|on|in|of) (?:my|the) (?:to-?do )?(?:list|tasks|task list|todos)|please)$/i, "")
    .replace(/^(?:the )?(?:task|item|to-?do) (?:called|named|titled|about) /i, "")
    .replace(/[.!?,:]+$/, "")
    .trim()
  const lower = words.toLowerCase()
  const id = /^(?:the )?(?:(?:task|item|to-?do) (?:with )?(?:number |no\.? ?|id |nr\.? ?)?#?|#|id )(\d+)$/.exec(lower)
  if (id !== null) return Target.Id({ id: toId(id[1] ?? "") })
  const number = /^(?:the )?(?:number |no\.? ?|nr\.? ?)?(\d+)\.?$/.exec(lower)
  if (number !== null) return Target.Number({ n: toId(number[1] ?? "") })
  if (/^(?:its?|that|this|(?:that|this|the same) (?:one|task|item)|the (?:task|item|one)|that thing)$/.test(lower)) {
    return Target.It()
  }
  const them =
    /^(?:(?:all|both|each)(?: (two|three|four|five|six|seven|eight|nine|ten))?(?: of)? ?)?(?:the )?(them|those|these|they)?(?: all| both| tasks| ones)?$/.exec(
      lower
    )
  if (them !== null && (them[1] !== undefined || them[2] !== undefined || /^both/.test(lower))) {
    return Target.Them({ count: /both/.test(lower) ? 2 : them[1] === undefined ? null : toCount(them[1]) })
  }
  const place = placeOf(lower)
  if (place !== null) return place
  const named = namedList.exec(lower)?.[1]
  if (named !== undefined) return Target.All({ filter: labelled(named) })
  const all = allOf(words, present)
  if (all !== null) return Target.All({ filter: all })
  const parts = words.split(/\s*(?:,\s*and\s|,\s*|\sand\s|\s&\s)\s*/i).filter((part) => part !== "")
  if (parts.length > 1 && parts.length <= 25) {
    return Target.Several({ targets: parts.map((part) => targetOf(part, present)), words })
  }
  return Target.Title({ words })
}

const placeOf = (words: string): Target | null => {
  const one = "(?: one| task| item| thing)?"
  const several = /^(?:the )?(first|last) (two|three|four|five|\d{1,2})(?: ones| tasks| items)?$/.exec(words)
  if (several !== null) {
    const fromEnd = several[1] === "last"
    const n = Math.min(toCount(several[2] ?? ""), 25)
    const targets = Array.from({ length: n }, (_, i) => Target.Place({ n: i + 1, fromEnd }))
    return Target.Several({ targets, words: "" })
  }
  const nth = new RegExp(`^(?:the )?(?:(${ordinals.join("|")})|(\\d{1,3})(?:st|nd|rd|th))${one}$`).exec(words)
  if (nth !== null) {
    const n = nth[1] === undefined ? Number(nth[2]) : ordinals.indexOf(nth[1]) + 1
    return Target.Place({ n, fromEnd: false })
  }
  const last = new RegExp(`^(?:the )?(?:very )?(last|bottom|second to last|next to last|second last)${one}$`).exec(
    words
  )
  if (last !== null) return Target.Place({ n: last[1] === "last" || last[1] === "bottom" ? 1 : 2, fromEnd: true })
  return new RegExp(`^(?:the )?top${one}$`).test(words) ? Target.Place({ n: 1, fromEnd: false }) : null
}

const noun = "(?:tasks?|to-?dos?|items?|things?|stuff|ones)"

/** A place in a list, also if it could be a day of the month: "the fourth". */
const place = new RegExp(`^(?:\\d+|(?:the )?(?:${ordinals.join("|")}|last))$`, "i")

/** "everything labelled work", "all overdue tasks", "my completed tasks". */
const allOf = (text: string, present: Reading): Filter | null => {
  const head = new RegExp(
    `^(?:everything|anything|all|every task|each task|(?:all )?(?:of )?(?:my|the)(?= .*\\b${noun}\\b))(?=\\s|$)`,
    "i"
  ).exec(text)
  if (head === null) return null
  const found = filterOf(text.slice(head[0].length), present)
  const words = found.rest.replace(new RegExp(`\\b(?:of|my|the|tasks?|list|${noun}|on|that|are|is|which)\\b`, "gi"), "")
  return words.trim() === "" ? found.filter : null
}

const stops =
  /^(?:the|a|an|my|our|your|to|of|for|with|on|in|at|and|or|task|tasks|item|todo|one|thing|reminder|about|that|this|it)$/

/** The words of a text for comparing titles: lower case, no accents, no punctuation. */
export const wordsOf = (text: string): ReadonlyArray<string> =>
  text
    .normalize("NFD")
    .toLowerCase()
    .replace(/\p{M}|['’]/gu, "")
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== "")

/** The words that distinguish one title from another. */
export const significant = (text: string) => wordsOf(text).filter((word) => !stops.test(word))

/** Reads the conditions of a list. `rest` is the text that was not understood. */
export const filterOf = (text: string, present: Reading): { readonly filter: Filter; readonly rest: string } => {
  let rest = ` ${text.trim().replace(/[.!?]+$/, "")} `
  let filter = everything
  const what: Array<string> = []
  const take = (pattern: RegExp, to: (match: RegExpExecArray) => Partial<Filter> | null, says = "") => {
    const match = pattern.exec(rest)
    const part = match === null ? null : to(match)
    if (match === null || part === null) return
    rest = `${rest.slice(0, match.index)} ${rest.slice(match.index + match[0].length)}`
    filter = { ...filter, ...part }
    if (says !== "" || part.what !== undefined) what.push(part.what ?? says)
  }
  take(/\b(?:not (?:yet )?(?:done|completed?|finished)|unfinished|incomplete|open|pending|outstanding)\b/i, () => ({}))
  take(/\b(?:completed?|done|finished|closed)\b/i, () => ({ status: "completed" }))
  take(
    /(?:\b(?:with |that (?:are|is) |are |is |of )?(?:a )?(high|medium|low|top)[- ]priority\b|\bpriority (high|medium|low)\b)/i,
    (m) => {
      const priority = priorityOf(m[1] ?? m[2] ?? "")
      return priority === null ? null : { priority, what: ` with ${priority} priority` }
    }
  )
  take(/\b(?:on |in )?(?:my|the|our) (?!to-?do|task|whole|entire)([\p{L}-]+) list\b/iu, (m) => {
    const { label, what } = labelled(m[1]?.toLowerCase() ?? "")
    return { label, what }
  })
  take(
    /\b(?:without|with no|that have no) (?:an? )?(?:due )?(?:date|day|deadline)s?\b|\b(?:undated|unscheduled)\b/i,
    () => ({
      undated: true,
      what: " without a due date"
    })
  )
  take(/\b(?:urgent|important)\b/i, () => ({ priority: "high", what: " with high priority" }))
  take(
    /(?:\b(?:that (?:are|is) |are |is )?(?:labell?ed|tagged|with (?:the )?(?:label|tag)|(?:label|tag)):?(?: as| with)? (?:"([^"]+)"|#?([\p{L}\p{N}_-]+))|\s#(?=\p{L})([\p{L}\p{N}_-]+))/iu,
    (m) => {
      const label = m[1] ?? m[2] ?? m[3] ?? ""
      return { label, what: ` labelled ${label}` }
    }
  )
  take(/\b(?:that (?:are|is) |are |is )?(?:overdue|(?:past|over) due|late)\b/i, () => {
    const days = daysOf("overdue", present)
    return { after: null, before: days?.before ?? null, what: " overdue" }
  })
  // The longest phrase at the end of the rest that names days.
  const words = rest.trim().split(/\s+/)
  for (let from = Math.max(0, words.length - 8); from < words.length; from++) {
    const phrase = words.slice(from).join(" ")
    const days = daysOf(phrase, present)
    if (days !== null && !place.test(phrase)) {
      const spoken = phrase.toLowerCase().replace(/^(?:(?:due|on|for) )+/, "")
      filter = { ...filter, after: days.after, before: days.before }
      what.push(` due ${spoken}`)
      rest = ` ${words
        .slice(0, from)
        .join(" ")
        .replace(/(?:^|\s)(?:that (?:are|is) |are |is )?due$/i, "")} `
      break
    }
  }
  return { filter: { ...filter, what: what.join("") }, rest: rest.trim() }
}
