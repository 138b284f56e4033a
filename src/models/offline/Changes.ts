import { Change, Command } from "./Commands.ts"
import { labelsOf, priorityOf, unquote } from "./Phrases.ts"
import { targetOf } from "./Targets.ts"
import { duePhrase, isRepeat, type Reading } from "./When.ts"

/** Turns a match into a command. Null passes the request on to the next rule. Groups are never undefined. */
export type Rule = readonly [RegExp, (groups: ReadonlyArray<string>, present: Reading) => Command | null]

const update = (target: string, change: Change, present: Reading) =>
  Command.Update({ target: targetOf(target, present), change })

const labelChange = (target: string, words: string, removes: boolean, present: Reading) => {
  const labels = labelsOf(words)
  if (labels.length === 0) return null
  return update(target, removes ? Change.RemoveLabels({ labels }) : Change.AddLabels({ labels }), present)
}

const prioritize = (target: string, word: string, present: Reading) => {
  if (/^(?:none|no|nothing|without)$/i.test(word)) return update(target, Change.Clear({ field: "priority" }), present)
  const priority = priorityOf(word)
  return priority === null ? null : update(target, Change.Priority({ priority }), present)
}

const schedule = (target: string, due: string, present: Reading) => {
  const words = duePhrase(due, present)
  return words === null ? null : update(target, Change.Due({ due: words }), present)
}

const level = "(high|highest|top|urgent|important|critical|medium|normal|low|lowest)"
const pointer = String.raw`(it|that|this|them|those|these|everything|#\d+|task #?\d+|the \w+ one)`

/** Rules for changes of existing tasks. */
export const changes: ReadonlyArray<Rule> = [
  // Clearing a field. These come before the rules that would delete the task.
  [
    /^(?:remove|clear|delete|drop|unset) (?:the |its )?(description|notes?|priority|labels|tags|due date|due|deadline|date|reminder|repeat|repetition|recurrence)(?: (?:of|from|for|on) (.+))?$/i,
    ([what = "", target = ""], present) => {
      const field = /^(?:desc|note)/i.test(what)
        ? "description"
        : /^pri/i.test(what)
          ? "priority"
          : /^(?:lab|tag)/i.test(what)
            ? "labels"
            : /^re[pc]/i.test(what)
              ? "repeat"
              : "due"
      return update(target === "" ? "it" : target, Change.Clear({ field }), present)
    }
  ],
  [
    /^(?:remove|delete|drop|take) (?:the )?(?:labels?|tags?) (.+?) (?:from|off) (.+)$/i,
    ([labels = "", target = ""], present) => labelChange(target, labels, true, present)
  ],
  [
    /^(?:un-?tag|un-?label) (.+?)(?: (?:from|as|with) (.+))?$/i,
    ([target = "", labels = ""], present) =>
      labels === ""
        ? update(target, Change.Clear({ field: "labels" }), present)
        : labelChange(target, labels, true, present)
  ],

  // Repeating
  [
    /^(?:stop|don't|do not) repeat(?:ing)? (.+)$/i,
    ([target = ""], present) => update(target, Change.Clear({ field: "repeat" }), present)
  ],
  [
    /^(?:make|set|change|schedule|repeat) (.+?)(?: to)?(?: repeat| recur)? ((?:every|each|daily|weekly|fortnightly|monthly|quarterly|yearly|annually)\b.*)$/i,
    ([target = "", repeat = ""], present) =>
      isRepeat(repeat, present) ? update(target, Change.Repeat({ repeat }), present) : null
  ],

  // Describing
  [
    /^describe (.+?) (?:as|with):? (.+)$/is,
    ([target = "", words = ""], present) => update(target, Change.Description({ description: unquote(words) }), present)
  ],
  [
    /^(?:set|change|update|make) (?:the )?(?:description|notes?) (?:of|for|on) (.+?)(?: to| as|:) (.+)$/is,
    ([target = "", words = ""], present) => update(target, Change.Description({ description: unquote(words) }), present)
  ],
  [
    /^add (?:a |the )?(?:description|notes?|comment|details?) (?:to|on|for) (.+?)(?:: ?| saying:? | that says:? )(.+)$/is,
    ([target = "", words = ""], present) => update(target, Change.Description({ description: unquote(words) }), present)
  ],
  [
    /^add (?:a |the )?(?:description|notes?|comment|details?):? (.+) to (.+)$/is,
    ([words = "", target = ""], present) => update(target, Change.Description({ description: unquote(words) }), present)
  ],
  [
    /^add (.+) as (?:a |the )?(?:notes?|description|comment|details?) (?:to|on|for) (.+)$/is,
    ([words = "", target = ""], present) => update(target, Change.Description({ description: unquote(words) }), present)
  ],
  [
    /^(?:note|notes|description) (?:on|for|of) (.+?): ?(.+)$/is,
    ([target = "", words = ""], present) => update(target, Change.Description({ description: unquote(words) }), present)
  ],

  // Labelling
  [
    /^add (?:the |a )?(?:labels?|tags?) (.+) to (.+)$/i,
    ([labels = "", target = ""], present) => labelChange(target, labels, false, present)
  ],
  [
    /^(?:put|set) (?:the )?(?:labels?|tags?) (.+) on (.+)$/i,
    ([labels = "", target = ""], present) => labelChange(target, labels, false, present)
  ],
  [
    /^(?:label|tag) (.+) (?:as|with) (.+)$/i,
    ([target = "", labels = ""], present) => labelChange(target, labels, false, present)
  ],
  [
    new RegExp(`^(?:label|tag) ${pointer}:? (.+)$`, "i"),
    ([target = "", labels = ""], present) => labelChange(target, labels, false, present)
  ],

  // Renaming
  [
    /^(?:rename|retitle|reword) ("[^"]+"|.+?) (?:to|as|into):? (.+)$/i,
    ([target = "", title = ""], present) => update(target, Change.Title({ title: unquote(title) }), present)
  ],
  [
    new RegExp(`^(?:rename|retitle|call) ${pointer}:? ("[^"]+")$`, "i"),
    ([target = "", title = ""], present) => update(target, Change.Title({ title: unquote(title) }), present)
  ],
  [
    /^(?:change|set|edit) (?:the )?(?:title|name|text) of (.+?) (?:to|into):? (.+)$/i,
    ([target = "", title = ""], present) => update(target, Change.Title({ title: unquote(title) }), present)
  ],
  [
    /^(?:change|set) (.+)'s (?:title|name) to (.+)$/i,
    ([target = "", title = ""], present) => update(target, Change.Title({ title: unquote(title) }), present)
  ],

  // Priorities
  [/^(?:de-?prioriti[sz]e) (.+)$/i, ([target = ""], present) => prioritize(target, "low", present)],
  [
    new RegExp(`^prioriti[sz]e (.+?)(?: as ${level})?$`, "i"),
    ([target = "", word = ""], present) => prioritize(target, word === "" ? "high" : word, present)
  ],
  [
    /^(?:set|change|make|raise|lower) (?:the )?priority (?:of|for|on) (.+) (?:to|as) (\w+)$/i,
    ([target = "", word = ""], present) => prioritize(target, word, present)
  ],
  [
    /^(?:set|change) (.+?)(?:'s)? (?:priority )?to (\w+)(?: priority)?$/i,
    ([target = "", word = ""], present) => prioritize(target, word, present)
  ],
  [
    /^(lower|raise|reduce|increase) (?:the )?priority (?:of|for|on) (.+)$/i,
    ([way = "", target = ""], present) => prioritize(target, /^[lr]e?[od]/i.test(way) ? "low" : "high", present)
  ],
  [
    new RegExp(`^(?:make|mark|set|flag) (.+?) (?:as |to |a )*${level}(?:[- ]priority)?$`, "i"),
    ([target = "", word = ""], present) => prioritize(target, word, present)
  ],
  [
    /^give (.+?) (?:a )?(high|medium|low|no|top) priority$/i,
    ([target = "", word = ""], present) => prioritize(target, word, present)
  ],
  [
    new RegExp(`^(.+) is (?:very |really )?(?:${level} priority|(urgent|important))$`, "i"),
    ([target = "", word = "", other = ""], present) => prioritize(target, word === "" ? other : word, present)
  ],

  // Dates
  [
    /^(?:postpone|delay|defer|snooze|push(?: back)?|move|shift|put off) (.+) (?:by|for) (?:another )?((?:\d{1,3}|an?|one|two|three|four|five|six|seven|ten) (?:days?|weeks?|months?|years?))$/i,
    ([target = "", by = ""], present) => update(target, Change.Postpone({ by }), present)
  ],
  [
    /^(?:make|set|change|schedule|move) (it|that|this|them|those) (?:to |for |due |on )?(.+)$/i,
    ([target = "", due = ""], present) => schedule(target, due, present)
  ],
  [
    /^(?:set|change|move) (?:the )?(?:due date|deadline|due|date) (?:of|for|on) (.+) (?:to|as) (.+)$/i,
    ([target = "", due = ""], present) => update(target, Change.Due({ due }), present)
  ],
  [
    /^give (.+?) (?:a )?(?:due date|deadline)(?: of|:)? (.+)$/i,
    ([target = "", due = ""], present) => update(target, Change.Due({ due }), present)
  ],
  [
    /^(?:move|reschedule|postpone|push(?: back)?|delay|defer|snooze|put off|bring forward|shift|bump|set|change|schedule) (.+) (?:to|until|till|for|on|due|due on|due by) (.+)$/i,
    ([target = "", due = ""], present) => schedule(target, due, present)
  ],
  [
    /^(?:push|move|put|make|shift) (.+?)(?: back)? (?:by )?((?:\d{1,3}|an?|one|two|three|four|five|six|seven|ten) (?:days?|weeks?|months?|years?))(?: later)?$/i,
    ([target = "", by = ""], present) => update(target, Change.Postpone({ by }), present)
  ],
  [/^put (.+) off (?:to|until|till|for) (.+)$/i, ([target = "", due = ""], present) => schedule(target, due, present)],
  [
    /^(?:bring|move|pull) (.+) (?:forward|ahead|up) to (.+)$/i,
    ([target = "", due = ""], present) => schedule(target, due, present)
  ],
  [
    /^(?:move|reschedule|postpone|delay|defer|snooze|shift|bump) (.+) (?:to|until|till|for) (.+)$/i,
    ([target = "", due = ""], present) => update(target, Change.Due({ due }), present)
  ],
  [
    /^(?:make |set )?(.+?)(?: is)? due(?: on| by)? (.+)$/i,
    ([target = "", due = ""], present) =>
      /^(?:what|which|anything|any|is|are|whats|list|show|how|do|finish|complete|close|mark|check|delete|remove|clear|reopen|tasks?|to-?dos?|everything|all|my|the tasks|add|create|new|put|remind|i)\b/i.test(
        target
      )
        ? null
        : schedule(target, due, present)
  ],
  [
    /^(?:change) (.+?) (?:to|into) (.+)$/i,
    ([target = "", title = ""], present) => update(target, Change.Title({ title: unquote(title) }), present)
  ]
]
