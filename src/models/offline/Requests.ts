import { Change, Command } from "./Commands.ts"
import { duePhrase, isDated, isDeed, labelsOf, newTasks, type Present, priorityOf, unquote } from "./Phrases.ts"
import { everything, type Filter, filterOf, Target, targetOf, toCount } from "./Targets.ts"

const list = `(?:(?:my|the) )?(?:to-?do )?(?:task )?(?:list|tasks|to-?dos)`
/** What one request asks for; it comes without courtesies. */
export const commandOf = (request: string, present: Present): Command => {
  for (const [pattern, to] of rules) {
    const match = pattern.exec(request)
    const command =
      match === null
        ? null
        : to(
            Array.from(match.slice(1), (group) => group ?? ""),
            present
          )
    if (command !== null) return command
  }
  const listed = listOf(request, present)
  if (listed !== null) return listed
  const shown = /^(?:show|view|display|open|see|read)(?: me)? (.+)$/i.exec(request)?.[1]
  if (shown !== undefined) return Command.Show({ target: targetOf(shown, present) })
  const target = targetOf(request, present)
  if (target._tag !== "Title" && !(target._tag === "Several" && target.targets.some(({ _tag }) => _tag === "Title"))) {
    return target._tag === "All" ? Command.List({ filter: target.filter, counts: false }) : Command.Pointer({ target })
  }
  return isDeed(request) || isDated(request, present)
    ? Command.Deed({ text: request })
    : Command.Unknown({ text: request })
}

/** Reads a request, or passes it on. Groups are never undefined. */
type Rule = readonly [RegExp, (groups: ReadonlyArray<string>, present: Present) => Command | null]

const update = (target: string, change: Change, present: Present) =>
  Command.Update({ target: targetOf(target, present), change })

const labelChange = (target: string, words: string, removes: boolean, present: Present) => {
  const labels = labelsOf(words)
  if (labels.length === 0) return null
  return update(target, removes ? Change.RemoveLabels({ labels }) : Change.AddLabels({ labels }), present)
}

const prioritize = (target: string, word: string, present: Present) => {
  if (/^(?:none|no|nothing|without)$/i.test(word)) return update(target, Change.Clear({ field: "priority" }), present)
  const priority = priorityOf(word)
  return priority === null ? null : update(target, Change.Priority({ priority }), present)
}

const schedule = (target: string, due: string, present: Present) => {
  const words = duePhrase(due, present)
  return words === null ? null : update(target, Change.Due({ due: words }), present)
}

const add = (body: string, present: Present, announced = false) => {
  const tasks = newTasks(body, present, announced)
  return Command.Add({ tasks })
}

const done = `(?:done|complete|completed|finished|ticked off|checked off)`
const undone = `(?:not (?:yet )?(?:done|complete|completed|finished)(?: yet)?|undone|incomplete|unfinished|open|pending|to-?do)`
const level = "(high|highest|top|urgent|important|critical|medium|normal|low|lowest)"
const pointer = String.raw`(it|that|this|them|those|these|everything|#\d+|task #?\d+|the \w+ one)`

const rules: ReadonlyArray<Rule> = [
  [
    /^(?:help|what (?:can|do) you do|what are you|who are you|how (?:do|does) (?:this|it|you) work|what can i (?:say|ask|do)|commands|options)\b/i,
    () => Command.Help()
  ],
  [
    /^(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|greetings|moin|how are you)(?: there| again)?$/i,
    () => Command.Greeting()
  ],
  [
    /^(?:thanks|thank you|thx|cheers|great|perfect|awesome|nice|cool|ok|okay)(?: (?:a lot|so much|very much|you|then))?$/i,
    () => Command.Thanks()
  ],
  [
    /^(?:yes|yep|yeah|yup|sure|do it|go ahead|of course|correct|right|exactly|confirm|y|yes,? (?:please|do it|all of them|delete them(?: all)?))$/i,
    () => Command.Yes()
  ],
  [
    /^(?:no|nope|nah|never ?mind|forget it|stop|cancel|cancel that|don't|none(?: of them)?|neither|n|leave it)$/i,
    () => Command.No()
  ],
  [/^(?:undo|revert|take back|roll back)\b/i, () => Command.Undo()],
  [/^(?:more|next page|show (?:me )?more|the rest|show (?:me )?the rest|continue|go on)$/i, () => Command.More()],

  // A new task that is called one; before the rules that would read its date or priority as a change.
  [
    /^(?:add|create|new)(?: (?:a|an|another|one))?(?: new)?(?: task| to-?do| reminder)?$/i,
    () => Command.Add({ tasks: [] })
  ],
  [/^(?:a |another )?(?:new )?(?:task|to-?do|reminder):\s+(.+)$/is, ([body = ""], present) => add(body, present)],
  [
    /^(?:add|create|make|set up|set|new|i need|i want|i'd like)(?: a| an| another| the| one)?(?: new)?( (?:high|low|medium)[- ]priority)? (?:task|to-?do|reminder)(?: (?:called|named|titled|saying|that says|for|to|about))?\s*:?\s+(.+)$/is,
    ([level = "", body = ""], present) => {
      if (/^(?:#?\d+|list|number|(?:as|to) )/i.test(body) || /^.+ (?:as|to) (?:done|high|low|medium)/i.test(body))
        return null
      return add(level === "" ? body : `${body},${level}`, present)
    }
  ],

  // What there is no tool for
  [
    /^(?:add|create|make) (?:a |an |another )?(?:new )?sub-?tasks?\b/i,
    () => Command.Missing({ what: "make subtasks" })
  ],
  [
    /^(?:add|create|make|start) (?:a |an |another )?(?:new )?(?:to-?do |task |shopping )?list(?: (?:called|named|for|of)\b.*)?$/i,
    () => Command.Missing({ what: "make several lists: there is one, and labels divide it" })
  ],
  [
    /^do (?:i|we) (?:still )?(?:need|have|want) to (.+)$/i,
    ([target = ""], present) => (/^do\b/i.test(target) ? null : Command.Show({ target: targetOf(target, present) }))
  ],

  // Taking away what a task has; before the rules that would delete the task.
  [
    /^(?:remove|clear|delete|drop|unset) (?:the |its )?(description|notes?|priority|labels|tags|due date|due|deadline|date|reminder)(?: (?:of|from|for|on) (.+))?$/i,
    ([what = "", target = ""], present) => {
      const field = /^(?:desc|note)/i.test(what)
        ? "description"
        : /^pri/i.test(what)
          ? "priority"
          : /^(?:lab|tag)/i.test(what)
            ? "labels"
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
    /^(?:postpone|delay|defer|push(?: back)?|move|shift|put off) (.+) by (?:another )?((?:\d{1,3}|an?|one|two|three|four|five|six|seven|ten) (?:days?|weeks?|months?|years?))$/i,
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
    /^(?:move|reschedule|postpone|push(?: back)?|delay|defer|put off|bring forward|shift|bump|set|change|schedule) (.+) (?:to|until|till|for|on|due|due on|due by) (.+)$/i,
    ([target = "", due = ""], present) => schedule(target, due, present)
  ],
  [
    /^(?:reschedule|postpone|delay|defer) (.+) (?:to|until|till|for) (.+)$/i,
    ([target = "", due = ""], present) => update(target, Change.Due({ due }), present)
  ],
  [
    /^(?:make |set )?(.+?)(?: is)? due(?: on| by)? (.+)$/i,
    ([target = "", due = ""], present) =>
      /^(?:what|which|anything|any|is|are|list|show|how|do|finish|complete|close|mark|check|delete|remove|clear|reopen|tasks?|to-?dos?|everything|all|my|the tasks|add|create|new|put|remind|i)\b/i.test(
        target
      )
        ? null
        : schedule(target, due, present)
  ],
  [
    /^(?:change) (.+?) (?:to|into) (.+)$/i,
    ([target = "", title = ""], present) => update(target, Change.Title({ title: unquote(title) }), present)
  ],

  // Adding
  [
    /^(?:add|create|i have|i need|here are|there are)? ?(\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|some|a few|the following|these|new)(?: new| more)? (?:tasks|things|to-?dos|items|reminders)(?: (?:to do|for me|to my list))*\s*[:\n-]\s*(.+)$/is,
    ([, body = ""], present) => add(body, present, true)
  ],
  [
    /^(?:(?:add|create|new|make) )?(?:tasks|to-?dos|reminders)\s*[:\n]\s*(.+)$/is,
    ([body = ""], present) => add(body, present, true)
  ],
  [
    new RegExp(`^(?:add|put|stick|write|note|jot down) (.+) (?:to|on|onto|in|into) ${list}$`, "is"),
    ([body = ""], present) => add(body, present)
  ],
  [new RegExp(`^(?:add|put) (?:to|on) ${list}:? (.+)$`, "is"), ([body = ""], present) => add(body, present)],
  [/^(?:add|create)(?: (?:a|another|the) new)?:?\s+(.+)$/is, ([body = ""], present) => add(body, present)],
  [/^(?:please )?remind me(?: again)? (.+)$/is, ([body = ""], present) => remind(body, present)],
  [
    /^(?:i|we) (?:really |also |still )?(?:need|have|ought|want)(?: to|:) (.+)$/is,
    ([body = ""], present) => add(body.replace(/\band to\b/gi, "and"), present)
  ],
  [
    /^(.{1,40}?),? (?:i|we) (?:really |also |still )?(?:need to|have to|must|should|want to) (.+)$/is,
    ([due = "", body = ""], present) => (duePhrase(due, present) === null ? null : remind(`${due} to ${body}`, present))
  ],
  [/^(?:i|we)(?:'ve| have) got to (.+)$/is, ([body = ""], present) => add(body, present)],
  [/^(?:i|we) (?:really |also |still )?(?:must|should|gotta) (.+)$/is, ([body = ""], present) => add(body, present)],
  [
    /^(?:(?:don't|do not) (?:let me )?forget|remember|make sure (?:that )?i(?: don't forget)?|note to self:?|need|gotta)(?: to| about)?,?:? (.+)$/is,
    ([body = ""], present) => add(body, present)
  ],

  // Reopening, then finishing
  [
    /^(?:reopen|re-open|uncomplete|uncheck|untick|un-?finish|restore|bring back) (.+)$/i,
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: false })
  ],
  [
    new RegExp(`^(?:mark|set) (.+?) (?:as |to |back to )*${undone}$`, "i"),
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: false })
  ],
  [
    /^(.+?) (?:is not|isn't|wasn't|are not|aren't) (?:actually )?(?:done|complete|completed|finished)(?: yet)?$/i,
    ([target = ""], present) =>
      /^(?:what|which)\b/i.test(target)
        ? null
        : Command.Complete({ target: targetOf(target, present), completed: false })
  ],
  [
    new RegExp(`^(?:mark|set|check|tick) (?:off )?(.+?) (?:as |to )?(?:${done}|off)$`, "i"),
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: true })
  ],
  [
    /^(?:mark|check|tick|cross)(?: off)? (.+?)(?: off)?(?: (?:my|the) list)?$/i,
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: true })
  ],
  [
    /^(?:(?:i(?:'m| am|'ve| have)?|we(?:'re|'ve| are| have)?) )?(?:all |just |already |now )*(?:done|finished|completed|through)(?: with| doing)? (.+)$/i,
    ([target = ""], present) =>
      /^(?:tasks|ones|items)\b/i.test(target)
        ? null
        : Command.Complete({ target: targetOf(target, present), completed: true })
  ],
  [
    /^(?:complete|finish|close|resolve)(?: off| up)? (.+)$/i,
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: true })
  ],
  [
    /^done:? (.+)$/i,
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: true })
  ],
  [
    /^i(?:'ve)? (?:just |already )?(?:did|done) (.+)$/i,
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: true })
  ],
  [
    /^(.+?) (?:is|are|was)(?: now| already| all)? (?:done|complete|completed|finished)$/i,
    ([target = ""], present) =>
      /^(?:what|which|how many|anything)\b/i.test(target)
        ? null
        : Command.Complete({ target: targetOf(target, present), completed: true })
  ],
  [
    /^(?:(?:i'm|i am|we're|all) )?(?:done|finished|complete it|finished it)$/i,
    () => Command.Complete({ target: Target.It(), completed: true })
  ],

  [
    /^i(?:'ve| have)? (?:just |already |now )?(?:paid|bought|got|sent|wrote|written|made|took|taken|read|fed|cut|met|swept|called|\w{2,20}ed) (.+)$/i,
    ([target = ""], present) => Command.Complete({ target: targetOf(target, present), completed: true })
  ],

  // Deleting
  [
    /^(?:clear|empty|wipe)(?: out)? (?:my |the )?(?:whole |entire )?(?:to-?do |task )?(?:list|tasks)$/i,
    () => Command.Delete({ target: Target.All({ filter: everything }) })
  ],
  [
    /^(?:delete|remove|erase|trash|discard|clear|get rid of|throw away|drop|scratch) (.+)$/i,
    ([target = ""], present) => Command.Delete({ target: targetOf(target, present) })
  ],
  [
    new RegExp(`^take (.+) off ${list}$`, "i"),
    ([target = ""], present) => Command.Delete({ target: targetOf(target, present) })
  ],

  // Looking at one
  [
    /^(?:show|view|display|describe|read|open|get)(?: me)? (?:the )?(?:details|description|notes?)? ?(?:of |for |on |about )?(#\d+|(?:task|number) #?\d+|the \w+ one|it|that one)$/i,
    ([target = ""], present) => Command.Show({ target: targetOf(target, present) })
  ],
  [
    /^(?:details|more|tell me(?: more)?|info|information) (?:of|for|on|about) (.+)$/i,
    ([target = ""], present) => {
      const found = targetOf(target, present)
      return found._tag === "All" ? null : Command.Show({ target: found })
    }
  ],
  [
    /^(?:show|give|tell)(?: me)? (?:the )?(?:details|description|notes?) (?:of|for|on|about) (.+)$/i,
    ([target = ""], present) => Command.Show({ target: targetOf(target, present) })
  ],
  [
    /^(?:when|what time) (?:is|do i have to|should i|must i) (.+?)(?: due)?$/i,
    ([target = ""], present) => Command.Show({ target: targetOf(target, present) })
  ],
  [
    /^(?:what is|what's|what was) (#\d+|task #?\d+|number \d+|the \w+ one)(?: about)?$/i,
    ([target = ""], present) => Command.Show({ target: targetOf(target, present) })
  ]
]

/** "remind me tomorrow to call Bob": the date before "to" is that of every task after it. */
const remind = (body: string, present: Present) => {
  const match = /^(.+?)[,:]? (?:to|about|that) (.+)$/is.exec(body)
  const due = match === null ? null : duePhrase(match[1] ?? "", present)
  if (match === null || due === null) return add(body.replace(/^(?:to|about|that|of)\s+/i, ""), present)
  const tasks = newTasks(match[2] ?? "", present, false)
  return Command.Add({
    tasks: tasks.map((task) => {
      const both = task.due === null ? due : duePhrase(`${due} ${task.due}`, present)
      return { ...task, due: both, clash: task.clash || both === null }
    })
  })
}

const find =
  /^(?:find|search(?: for)?|look (?:for|up)|where(?:'s| is))(?: me)?(?: (?:the|my|all|any|a))*(?: tasks?)?(?: (?:about|with|for|containing|named|called|matching|that mention))? (.+)$/i
const about =
  /^(?:do i (?:have|need)(?: to do)?|have i got|is there|are there|show(?: me)?|list|what)(?: (?:anything|something|any|a|an|all|my|the|tasks?|to-?dos?|items?|things?))* (?:about|to do with|mentioning|containing|called|matching|concerning) (.+)$/i
const asking =
  /^(?:list|show|display|view|see|what|what's|whats|which|any|anything|do i|did i|have i|is there|are there|how many|how much|how's|give me|tell me|my|all|everything|open|pending|complete|completed|done|finished|overdue|due|urgent|important|high|medium|low|tasks?|to-?dos?|to-?do list|agenda|today|tomorrow|this|next|labell?ed|tagged)\b/i
const filler = new Set(
  `list show display view see give tell me all of my the a an what what's whats which is are was were on in to do did i i've have has had got need should must for
  tasks task todo todos to-do to-dos items item lists things thing stuff please there any anything something left remaining next up currently still can you ones
  one that that's due with how many much agenda plate be today's everything now yet at it so far does schedule look like priority coming by just only been up`.split(
    /\s+/
  )
)

/** What is on for today is also what is overdue. */
const onToday = (filter: Filter, request: string): Filter =>
  filter.what === " due today" && !/\bdue\b/i.test(request)
    ? { ...filter, after: null, what: " due today or overdue" }
    : filter

const listOf = (asked: string, present: Present): Command | null => {
  const request = asked.replace(/,? (?:sorted|ordered|sort|order) by (?:the )?(?:due )?(?:dates?|day)$/i, "")
  const query = find.exec(request)?.[1] ?? about.exec(request)?.[1]
  if (query !== undefined) {
    const words = unquote(query.replace(/^(?:the|a|an|my) /i, "").replace(/\s+(?:on|in|from) (?:my|the) list$/i, ""))
    return Command.List({ filter: { ...everything, status: "all", query: words, what: "" }, counts: false })
  }
  const past = /^what (?:did i|have i) (?:get |gotten )?(?:do|done|finish(?:ed)?|completed?|accomplish(?:ed)?)\b/i.test(
    request
  )
  // The tools do not tell when a task was finished.
  if (past) return Command.List({ filter: { ...everything, status: "completed" }, counts: false })
  if (!asking.test(request)) return null
  const counts = /^how (?:many|much)\b/i.test(request)
  const { filter, rest } = filterOf(request, present)
  const words = rest
    .toLowerCase()
    .replace(/[,;:]/g, " ")
    .split(/\s+/)
    .filter((word) => word !== "")
  if (words.some((word) => !filler.has(word) && toCount(word) === 0)) return null
  const all = filter.what === "" && filter.status === "pending" && /\ball (?:of )?(?:my |the )?tasks?\b/i.test(request)
  const narrowed = all ? { ...filter, status: "all" as const } : onToday(filter, request)
  return Command.List({ filter: narrowed, counts, byDate: request !== asked })
}
