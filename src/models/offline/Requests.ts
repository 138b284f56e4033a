import { Predicate } from "effect"
import { changes, type Rule } from "./Changes.ts"
import { Change, Command } from "./Commands.ts"
import { listOf } from "./Lists.ts"
import { isAction, isDated, newTasks } from "./Phrases.ts"
import { everything, Target, targetOf } from "./Targets.ts"
import { duePhrase, isRepeat, type Reading, several } from "./When.ts"

const list = `(?:(?:my|the) )?(?:to-?do )?(?:task )?(?:list|tasks|to-?dos)`
/** A list with its own name, which is a label here, and an optional date after it. */
const namedList = String.raw`(?:(?:my|the|our) )(?!to-?do|task|whole|entire)([\p{L}-]+) list(?:[,:]? (.+))?`
/** The command of one request, without polite phrases. */
export const commandOf = (request: string, present: Reading): Command => {
  for (const [pattern, to] of rules) {
    if (!present.budget.spend(request.length)) break
    const match = pattern.exec(request)
    const command =
      match === null
        ? null
        : to(
            Array.from(match.slice(1), (group) => group ?? ""),
            present
          )
    if (command !== null) return isAimed(command) && isAction(request) ? { ...command, action: request } : command
  }
  const next = /^(?:how|what) about (.+)$/i.exec(request)?.[1]
  const about = next === undefined || /\d/.test(next) ? null : targetOf(next, present)
  if (about?._tag === "Place") return Command.Show({ target: about })
  const listed = listOf(next === undefined ? request : `what is due ${next}`, present)
  if (listed !== null) return listed
  // "on saturday" is the due date of the task just added.
  if (/^(?:on|at|by|in|for|before) /i.test(request) && duePhrase(request, present) !== null) {
    return Command.Update({ target: Target.It(), change: Change.Due({ due: request }) })
  }
  const shown = /^(?:show|view|display|open|see|read)(?: me)? (.+)$/i.exec(request)?.[1]
  if (shown !== undefined) return Command.Show({ target: targetOf(shown, present) })
  const target = targetOf(request, present)
  if (target._tag !== "Title" && !(target._tag === "Several" && target.targets.some(({ _tag }) => _tag === "Title"))) {
    return target._tag === "All" ? Command.List({ filter: target.filter, counts: false }) : Command.Pointer({ target })
  }
  if (/^(?:i|we)(?:'ve| have)(?: got)? (?:an? lot|so much|too much|nothing|no)\b/i.test(request))
    return Command.Unknown({ text: request })
  const action = request.replace(
    /^(?:i|we)(?:'ve| have)(?: got)? (?:(?:a|an|another|my|our|the) )?(?=\S)|^there(?:'s| is) (?:an? )?/i,
    ""
  )
  return isAction(action) || isDated(action, present)
    ? Command.Action({ text: action })
    : Command.Unknown({ text: request })
}

const isAimed = Predicate.or(Command.$is("Complete"), Predicate.or(Command.$is("Update"), Command.$is("Delete")))

const pointing = /^(?:it|that|this|them|those|these)(?: back| again| too)?$/i

/** A date alone, or "it", is not a task. */
const add = (body: string, present: Reading, hasHeading = false) =>
  Command.Add({
    tasks: duePhrase(body, present) !== null || pointing.test(body) ? [] : newTasks(body, present, hasHeading)
  })

/** Words before "to" that look like a date. */
const whenUnread =
  /^(?:the day|an? \w+|\d+ \w+|\w+ (?:minutes|hours|days|weeks)) (?:before|after)\b|^(?!(?:to|about|that|of)\b).*?\b(?:in|on|at|before|after|by|next|this|every|when|days?|weeks?|months?|hours?|minutes?|\d+)\b.*? to /is

const whenDone = / (?:already|yesterday|today|just now|now|earlier|last night|this (?:morning|afternoon|evening))$/i

/** Drops the day on which it was done. In "all tasks due today" the day selects the tasks, so it stays. */
const finished = (words: string, present: Reading) =>
  Command.Complete({
    target: targetOf(/^(?:all|every|my tasks|the tasks)/i.test(words) ? words : words.replace(whenDone, ""), present),
    completed: true
  })

/** Verbs in a past form, or that only look like one, after which a task is as open as before: "I postponed the report". */
const leavesOpen =
  /^(?:need|feed|heed|speed|exceed|(?:avoid|delay|dislik|fail|hat|hop|ignor|intend|lik|lov|miss|need|plann|postpon|promis|refus|renam|reschedul|skipp|start|want|wish)ed|tried)$/i

const done = `(?:done|complete|completed|finished|ticked off|checked off)`
const undone = `(?:not (?:yet )?(?:done|complete|completed|finished)(?: yet)?|undone|incomplete|unfinished|open|pending|to-?do)`

const rules: ReadonlyArray<Rule> = [
  [
    /^(?:help|what (?:can|do) you (?:do|help|understand)|what are you|who are you|how (?:do|does) (?:this|it|you) work|what can i (?:say|ask|do)|commands|options)\b/i,
    () => Command.Help()
  ],
  [
    /^(?:hi|hello|hey|(?:good )?(?:morning|afternoon|evening|day)|greetings|moin|how are you)(?: there| again)?$/i,
    () => Command.Greeting()
  ],
  [
    /^(?:thanks|thank you|thx|cheers|great|perfect|awesome|nice|cool|ok|okay|(?:good|bye )?bye|good night|see you|that's (?:all|it)|that is (?:all|it))(?: (?:a lot|so much|very much|you|then))?$/i,
    () => Command.Thanks()
  ],
  [
    /^(?:yes|yep|yeah|yup|sure|do it|go ahead|of course|correct|right|exactly|confirm|y|please do|add (?:it|them|that)|sounds good|(?:yes|yep|sure|ok(?:ay)?),? (?:please|thanks|do it|do that|add (?:it|them|that)|go ahead|all of them|delete them(?: all)?))$/i,
    () => Command.Yes()
  ],
  [
    /^(?:no|nope|nah|never ?mind|forget it|stop|cancel|cancel that|don't|none(?: of them)?|neither|n|leave it)$/i,
    () => Command.No()
  ],
  [/^(?:undo|revert|take back|roll back|(?:keep|restore) it|bring it back)\b/i, () => Command.Undo()],
  [/^(?:more|next page|show (?:me )?more|the rest|show (?:me )?the rest|continue|go on)$/i, () => Command.More()],

  // Adding with the word "task". These come before the rules that would read its date or priority as a change.
  [
    /^(?:add|create|new)(?: (?:a|an|another|one))?(?: new)?(?: task| to-?do| reminder)?$/i,
    () => Command.Add({ tasks: [] })
  ],
  [/^(?:a |another )?(?:new )?(?:task|to-?do|reminder):\s+(.+)$/is, ([body = ""], present) => add(body, present)],
  [
    /^(?:add|create|make|set up|set|give|new|i need|i want|i'd like)(?: me)?(?: a| an| another| the| one)?(?: new)?( (?:high|low|medium)[- ]priority)? (?:task|to-?do|reminder)(?: for me)?(?: (?:called|named|titled|saying|that says|for|to|about))?\s*:?\s+(.+)$/is,
    ([level = "", body = ""], present) => {
      if (/^(?:#?\d+|list|number|(?:as|to) )/i.test(body) || /^.+ (?:as|to) (?:done|high|low|medium)/i.test(body))
        return null
      return remind(level === "" ? body : `${body},${level}`, present)
    }
  ],

  // Requests that no tool can fulfil
  [
    /^(?:move|push|shift|make|start|put) .+ (?:an?|half an|\d{1,3}|two|three) (?:hours?|minutes?|mins?) (?:later|earlier)$/i,
    () => Command.Unsupported({ what: "move a time by hours or minutes: say the new one, such as “move it to 3pm”" })
  ],
  [
    /^skip (.+)$/i,
    ([target = ""], present) =>
      isDated(target, present) && !/\b(?:this|next|today|tomorrow)/i.test(target)
        ? null
        : Command.Unsupported({ what: "skip one: say that it is done, or move it to another day" })
  ],
  [
    /^(?:list|show|display|what|which)\b.*\b(?:repeats?|repeating|recur|recurring)\b/i,
    () => Command.Unsupported({ what: "list only the tasks that repeat: every list says how often each one does" })
  ],
  [
    /^(?:add|create|make) (?:a |an |another )?(?:new )?sub-?tasks?\b/i,
    () => Command.Unsupported({ what: "make subtasks" })
  ],
  [
    /^(?:add|create|make|start) (?:a |an |another )?(?:new )?(?:to-?do |task |shopping )?list(?: (?:called|named|for|of)\b.*)?$/i,
    () => Command.Unsupported({ what: "make several lists: there is one, and labels divide it" })
  ],
  [
    /^do (?:i|we) (?:still )?(?:need|have|want) to (.+)$/i,
    ([target = ""], present) => (/^do\b/i.test(target) ? null : Command.Show({ target: targetOf(target, present) }))
  ],

  [
    /^(?:did|have) i (?:already )?(?!(?:get|have|got|forget)\b)(\w+ .+?)(?: already| yet)?$/i,
    ([words = ""], present) => {
      const target = words.replace(/^\S+ /, "")
      return /^(?:anything|something|it all|everything|today|so far)\b/i.test(target)
        ? null
        : Command.Show({ target: targetOf(target, present) })
    }
  ],
  [
    /^(?:is|are|was|were|has|have) (?:the |my )?(.+?) (?:been )?(?:done|finished|completed?|paid|sent|bought|due|called|urgent|important|overdue)(?: yet| already)?$/i,
    ([target = ""], present) =>
      /^(?:anything|something|there|any|they|you)\b/i.test(target)
        ? null
        : Command.Show({ target: targetOf(target, present) })
  ],
  [
    /^(?:to-?do|memo|note to self|note|i forgot(?: to)?)(?::|,| -)? (.+)$/is,
    ([body = ""], present) => (/^(?:list|on|for|of)\b/i.test(body) ? null : add(body, present))
  ],
  [/^(?:schedule|pencil in|put in) (?:a|an|another) (.+)$/is, ([body = ""], present) => add(body, present)],

  ...changes,

  // Adding
  [
    /^(?:add|create|i have|i need|here are|there are)?(?: all(?: of)?)? ?(\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|some|a few|the following|these|new)(?: new| more)?(?: (?:tasks|things|to-?dos|items|reminders)|(?<=these|following))(?: (?:to do|for me|to my list))*\s*[:\n-]\s*(.+)$/is,
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
  [
    new RegExp(`^(?:add|put|stick|write|note|jot down) (.+) (?:to|on|onto|in|into) ${list},? (.+)$`, "is"),
    ([body = "", due = ""], present) => (duePhrase(due, present) === null ? null : add(`${body} ${due}`, present))
  ],
  [
    new RegExp(`^(?:add|put|stick|write|note|jot down) (.+) (?:to|on|onto|in|into) ${namedList}$`, "isu"),
    ([body = "", label = "", due = ""], present) => {
      if (due !== "" && duePhrase(due, present) === null) return null
      const tasks = newTasks(`${body} ${due}`, present, false)
      return Command.Add({ tasks: tasks.map((task) => ({ ...task, labels: [...(task.labels ?? []), label] })) })
    }
  ],
  [
    /^put (?!(?:it|that|this|them|those|these|off)\b)(?:down |in )?(.+)$/is,
    ([body = ""], present) => (isDated(body, present) ? add(body, present) : null)
  ],
  [new RegExp(`^(?:add|put) (?:to|on) ${list}:? (.+)$`, "is"), ([body = ""], present) => add(body, present)],
  [/^(?:add|create)(?: (?:a|an|another)(?: new)?| the new)?:?\s+(.+)$/is, ([body = ""], present) => add(body, present)],
  [
    /^remind me(?: again)?(?: (?:of|about) (it|that|this|them|these|those))? (.+)$/is,
    ([target = "", due = ""], present) =>
      duePhrase(due, present) === null
        ? null
        : Command.Update({ target: targetOf(target || "it", present), change: Change.Due({ due }) })
  ],
  [/^(?:please )?remind me(?: again)? (.+)$/is, ([body = ""], present) => remind(body, present)],
  [
    /^(?:i|we) (?:really |also |still )?(?:need|have|ought|want)(?: to|:) (?:remember to )?(.+)$/is,
    ([body = ""], present) => add(body.replace(/\band to\b/gi, "and"), present)
  ],
  [
    /^(.{1,40}?),? (?:please )?(?:add|remind me (?:to|about|of|that)|(?:i|we) (?:really |also |still )?(?:need to|have to|must|should|want to)) (.+)$/is,
    ([when = "", body = ""], present) =>
      duePhrase(when, present) !== null
        ? remind(`${when} to ${body}`, present)
        : isRepeat(when, present)
          ? add(`${body} ${when}`, present)
          : null
  ],
  [
    /^(.{1,40}?),? (?:please )?remind me (.+)$/is,
    ([when = "", body = ""], present) => (duePhrase(when, present) === null ? null : remind(`${when} ${body}`, present))
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
    /^((?:the|my) .+?) (?:(?:has|have) (?:now |already )?been (\w+)|(?:is|are) (?:now |already |all )?(?!cancel|clos|delay|need|schedul|postpon|block|label|tagg|relat|limit|requir)(?:\w{3,20}ed|sent|paid|bought|made|written))$/i,
    ([target = "", verb = ""], present) => (leavesOpen.test(verb) ? null : finished(target, present))
  ],
  [
    new RegExp(`^(?:mark|set|check|tick) (?:off )?(.+?) (?:as |to )?(?:${done}|off)$`, "i"),
    ([target = ""], present) => finished(target, present)
  ],
  [
    /^(?:mark|check|tick|cross)(?: off)? (.+?)(?: off)?(?: (?:my|the) list)?$/i,
    ([target = ""], present) => finished(target, present)
  ],
  [
    /^(?:(?:i(?:'m| am|'ve| have)?|we(?:'re|'ve| are| have)?) )?(?:all |just |already |now )*(?:done|finished|completed|through)(?: with| doing)? (.+)$/i,
    ([target = ""], present) => (/^(?:tasks|ones|items)\b/i.test(target) ? null : finished(target, present))
  ],
  [/^(?:complete|finish|close|resolve)(?: off| up)? (.+)$/i, ([target = ""], present) => finished(target, present)],
  [/^done:? (.+)$/i, ([target = ""], present) => finished(target, present)],
  [/^i(?:'ve)? (?:just |already )?(?:did|done) (.+)$/i, ([target = ""], present) => finished(target, present)],
  [
    /^(.+?) (?:is|are|was)(?: now| already| all)? (?:done|complete|completed|finished)$/i,
    ([target = ""], present) => (/^(?:what|which|how many|anything)\b/i.test(target) ? null : finished(target, present))
  ],
  [
    /^(?:(?:i'm|i am|we're|all) )?(?:done|finished|complete it|finished it)$/i,
    () => Command.Complete({ target: Target.It(), completed: true })
  ],

  [
    /^i(?:'ve| have)? (?:just |already |now )?(paid|bought|got(?! (?:an?|some|to)\b)|sent|wrote|written|made|took|taken|read|fed|cut|met|swept|called|\w{2,20}ed) (.+)$/i,
    ([verb = "", target = ""], present) =>
      leavesOpen.test(verb) || /^to (?!(?:the|my|our|an?) )/i.test(target) ? null : finished(target, present)
  ],

  [
    /^(.+?)(?: [-–—]|[:,])? (?:done|finished|completed|[✅✓✔☑]\ufe0f?)$/iu,
    ([target = ""], present) =>
      /^(?:what|which|is|are|has|have|how|anything|get|show|list)\b/i.test(target) ? null : finished(target, present)
  ],

  // Deleting
  [
    /^(?:clear|empty|wipe)(?: out)? (?:my |the )?(?:whole |entire )?(?:to-?do |task )?(?:list|tasks)$/i,
    () => Command.Delete({ target: Target.All({ filter: everything }) })
  ],
  [
    /^(?:delete|remove|erase|trash|discard|clear|get rid of|throw away|drop|scratch|cancel) (.+)$/i,
    ([target = ""], present) => Command.Delete({ target: targetOf(target, present) })
  ],
  [
    new RegExp(`^take (.+) off ${list}$`, "i"),
    ([target = ""], present) => Command.Delete({ target: targetOf(target, present) })
  ],

  // Showing one task
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
    /^(?:when|what time)(?:'s| is| are| do i have to| should i| must i| do i| did i)(?: have to| need to)? (?:(?:my|the) next )?(.+?)(?: due)?$/i,
    ([target = ""], present) => Command.Show({ target: targetOf(target, present) })
  ],
  [
    /^(?:what is|what's|what was) (#\d+|task #?\d+|number \d+|the \w+ one)(?: about)?$/i,
    ([target = ""], present) => Command.Show({ target: targetOf(target, present) })
  ]
]

/** "remind me tomorrow to call Bob": the date before "to" applies to every task after it. */
const remind = (body: string, present: Reading) => {
  const match = /^(.+?)[,:]? (?:to|about|that) (.+)$/is.exec(body)
  const due = match === null ? null : duePhrase(match[1] ?? "", present)
  if (match === null || due === null) {
    const tasks = newTasks(body.replace(/^(?:to|about|that|of)\s+/i, ""), present, false)
    const [task] = tasks
    const isUnread = task?.due === null && task.repeat === undefined && task.unclear === null && whenUnread.test(body)
    return Command.Add({
      tasks: isUnread
        ? [{ ...task, unclear: `I cannot read “${match?.[1] ?? body}” as a date. Say it like “tomorrow at 9”.` }]
        : tasks
    })
  }
  const tasks = newTasks(match[2] ?? "", present, false)
  return Command.Add({
    tasks: tasks.map((task) => {
      const both = task.due === null ? due : duePhrase(`${due} ${task.due}`, present)
      return { ...task, due: both, unclear: both === null ? several([due, task.due ?? ""]) : task.unclear }
    })
  })
}
