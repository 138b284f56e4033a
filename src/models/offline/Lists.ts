import { Command } from "./Commands.ts"
import { unquote } from "./Phrases.ts"
import { everything, type Filter, filterOf, toCount } from "./Targets.ts"
import type { Reading } from "./When.ts"

const find =
  /^(?:find|search(?: for)?|look (?:for|up)|where(?:'s| is))(?: me)?(?: (?:the|my|all|any|a))*(?: tasks?)?(?: (?:about|with|for|containing|named|called|matching|that mention))? (.+)$/i
const about =
  /^(?:do i (?:have|need)(?: to do)?|have i got|is there|are there|show(?: me)?|list|what)(?: (?:anything|something|any|a|an|all|my|the|tasks?|to-?dos?|items?|things?))* (?:about|to do with|mentioning|containing|called|matching|concerning) (.+)$/i
const asking =
  /^(?:list|show|display|view|see|what|what's|whats|which|any|anything|do i|did i|have i|am i|are any(?:thing)?|is any(?:thing)?|is there|are there|how many|how much|how's|give me|tell me|my|all|everything|open|pending|complete|completed|done|finished|overdue|due|urgent|important|high|medium|low|tasks?|to-?dos?|to-?do list|agenda|today|tomorrow|this|next|labell?ed|tagged)\b/i
const filler = new Set(
  `list show display view see give tell me all of my the a an what what's whats which is are was were on in to do did i i've have has had got need should must for
  tasks task todo todos to-do to-dos items item lists things thing stuff please there any anything something left remaining next up currently still can you ones
  one that that's due with how many much agenda plate be today's everything now yet at it so far does schedule look like priority coming by just only been am we our those these them planned plan happening scheduled going going anything else free busy new most first looking`.split(
    /\s+/
  )
)

/** A list for today includes overdue tasks, unless the request says "due". */
const onToday = (filter: Filter, request: string): Filter =>
  filter.what === " due today" && !/\bdue\b/i.test(request)
    ? { ...filter, after: null, what: " due today or overdue" }
    : filter

/** The list that a request asks for. Null if it asks for none. */
export const listOf = (asked: string, present: Reading): Command | null => {
  const request = asked
    .replace(/,? (?:sorted|ordered|sort|order) by (?:the )?(?:due )?(?:dates?|day)$/i, "")
    .replace(/ look(?:ing|s)?(?: like)?$/i, "")
    .replace(/\bmy (week|month)\b/i, "this $1")
    .replace(/\bmy day\b/i, "today")
  const query = find.exec(request)?.[1] ?? about.exec(request)?.[1]
  if (query !== undefined) {
    const words = unquote(query.replace(/^(?:the|a|an|my) /i, "").replace(/\s+(?:on|in|from) (?:my|the) list$/i, ""))
    return Command.List({ filter: { ...everything, status: "all", query: words, what: "" }, counts: false })
  }
  const past =
    /^(?:(?:what|which(?: \w+)?) )?(?:did i|have i) (?:get |gotten |already )?(?:do|done|finish(?:ed)?|completed?|accomplish(?:ed)?)\b/i.test(
      request
    )
  // The tools do not return when a task was completed.
  if (past) return Command.List({ filter: { ...everything, status: "completed" }, counts: false })
  if (!asking.test(request)) return null
  const counts = /^how (?:many|much)\b/i.test(request)
  const { filter, rest } = filterOf(request, present)
  const words = rest
    .toLowerCase()
    .replace(/[,;:]/g, " ")
    .split(/\s+/)
    .filter((word) => word !== "")
  const others = words.filter((word) => !filler.has(word) && toCount(word) === 0)
  const [label, ...more] = others
  if (label !== undefined) {
    // "show my work tasks": a word before "tasks" is a label.
    const isLabel =
      more.length === 0 && filter.label === null && /^(?:show|list|display|my)\b.*\S (?:tasks|to-?dos)$/i.test(rest)
    return isLabel
      ? Command.List({ filter: { ...filter, label, what: `${filter.what} labelled ${label}` }, counts })
      : null
  }
  const all = filter.what === "" && filter.status === "pending" && /\ball (?:of )?(?:my |the )?tasks?\b/i.test(request)
  const narrowed = all ? { ...filter, status: "all" as const } : onToday(filter, request)
  return Command.List({ filter: narrowed, counts, byDate: request !== asked })
}
