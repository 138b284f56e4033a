import { DateTime } from "effect"
import { longest } from "./Budget.ts"
import { type Change, Command } from "./Commands.ts"
import { type Draft, mostTasks, newTasks } from "./Phrases.ts"
import { commandOf } from "./Requests.ts"
import { duePhrase, isRepeat, type Reading } from "./When.ts"

/** A cache of messages with the steps they took, because every step of a turn reads the same messages again. */
const recent = new Map<string, { readonly commands: ReadonlyArray<Command>; readonly steps: number }>()

/** The most messages in the cache, each of up to a few thousand characters. */
const maxRecent = 100

/** A message's commands, in order. A cached message uses up its steps again. */
export const parse = (text: string, present: Reading): ReadonlyArray<Command> => {
  const key = `${present.now.epochMillis} ${DateTime.zoneToString(present.zone)} ${text}`
  const cached = recent.get(key)
  if (cached !== undefined) return present.budget.spend(cached.steps) ? cached.commands : [tooLong]
  const before = present.budget.steps
  const commands = read(text, present)
  if (present.budget.isSpent) return [tooLong]
  const [oldest] = recent.keys()
  if (recent.size >= maxRecent && oldest !== undefined) recent.delete(oldest)
  recent.set(key, { commands, steps: present.budget.steps - before })
  return commands
}

const read = (text: string, present: Reading): ReadonlyArray<Command> => {
  const plain = text
    .replace(/[\uE000-\uE0FF]/g, "")
    .replace(/[‘’]/g, "'")
    .replace(/[“”„«»]/g, '"')
    .replace(/(?<=^|\s)'([^'\n]+)'(?=$|[\s.,;:!?])/g, '"$1"')
    .replace(/[^\S\n]+/g, " ")
    .replace(/\n\s*/g, "\n")
    .replace(/(?:[,;] ?){3,}/g, ", ")
    .replace(/^- (.+)$/, (_, list: string) => `- ${list.split(" - ").join("\n- ")}`)
    .trim()
    .replace(thanks, "")
    .replace(opening, "")
  const parts = assent.test(plain) ? [plain] : split(plain, present)
  if (parts.length > maxParts || parts.some(isTooLong)) return [tooLong]
  const commands = mergeUpdates(parts.map((part) => asAddition(part, commandIn(polite(part), present), present)))
  const asks = commands.filter(({ _tag }) => _tag !== "Greeting" && _tag !== "Thanks")
  return asks.length > 0 ? asks : commands.slice(0, 1)
}

/** An action after "also" is added without a question: "also pick up the kids". */
const asAddition = (part: string, command: Command, present: Reading) =>
  command._tag === "Action" && /^(?:oh,? )?(?:and|also|plus)\b/i.test(part)
    ? Command.Add({ tasks: newTasks(command.text, present, false) })
    : command

/** The most requests in a message. */
const maxParts = 25
const tooLong = Command.Unsupported({ what: "read that many requests or words at once" })
const isTooLong = (part: string) => part.split("\n").some((line) => line.length > longest)

/** One request's command. The first lines of a long list give the command, and each other line is a task. */
const commandIn = (part: string, present: Reading): Command => {
  if (part.length <= longest) return commandOf(part, present)
  const lines = part.split("\n")
  const head = lines.slice(0, 3).join("\n")
  if (head.length > longest) return tooLong
  const command = commandOf(head, present)
  if (command._tag === "Action" && lines.length <= mostTasks) return Command.Action({ text: part })
  if (command._tag !== "Add") return tooLong
  return Command.Add({ tasks: [...command.tasks, ...newTasks(lines.slice(2).join("\n"), present, true).slice(1)] })
}

const thanks =
  /(?<=\S)[,.!?]? (?:many )?(?:thanks|thank you|cheers)(?: so much| very much| a lot| in advance| again)?[\s.!]*$/i

/** Introductory words before a comma, such as "first,". Without this rule they would be a request of their own. */
const opening =
  /^(?:actually|first(?:ly)?|second(?:ly)?|third(?:ly)?|finally|lastly|next|oh|ok(?:ay)?|well|so|hm+|right|great|sorry|wait|no(?! thank)),\s+(?!thank|please)(?=\S)/i

const courtesy =
  /^(?:(?:please|hello there|hi there|hello|hi|good morning|good evening|hey|ok(?:ay)?|so|well|now|then|also|and|could you|can you|would you|will you|i(?:'d| would) like (?:you )?to|i want you to|let's|let us|just|alright|great|perfect|thanks|thank you|oh|ah|hm+|um|sorry|wait|actually|right|maybe|by the way|btw|fyi|no wait|(?:no|nope),(?! thank)|can i|(?:show|tell) me (?=(?:what|how many|which|when)\b))[,!.:]*\s+)+(?=\S)(?!(?:there|again|everyone|all)[\s.!?]*$)/i
const farewell = /(?<![\s,])[\s,]+(?:please|thanks|thank you|for me|now|as well|too)$/i

const polite = (text: string) => {
  let out = text.trim().replace(/(?<!\s)\s*(?<![.!?])[.!?]+$/, (end) => (/^\s*!!/.test(end) ? end.trimEnd() : ""))
  out = out.replace(courtesy, "")
  return out
    .replace(farewell, "")
    .replace(farewell, "")
    .replace(/(?<!\s)\s*(?<!\?)\?+$/, "")
    .trim()
}

const duty =
  "(?:remind me (?=\\S)|i (?:really |also |still )?(?:need|have|ought|want) to |i(?:'ve| have) got to |i (?:must|should|gotta) |don't (?:let me )?forget (?:to |about )|remember to )"

/** Begins a request of its own after "add …", where most verbs would only go on with the title. */
const afterAdd = new RegExp(
  `^(?:add |create (?:a|an|another|the) |delete |(?:remove|erase) (?:the |it|that|#|task |number |")|mark .+ (?:as )?(?:done|completed?|finished)|rename .+ to |(?:show|list) (?:me|my|the|all|everything)|what|(?:complete|finish|reopen|check off|tick off) (?:it|that|#|task |number |the \\w+ one)|(?:move|reschedule|postpone) (?:it|that|them|#|task |everything )|(?:make|set|give) (?:it|that|them|#|task )|(?:label|tag) (?:it|that|them|#)|${duty})`,
  "i"
)
const head = new RegExp(
  `^(?:(?:add|create|delete|remove|erase|complete|finish|close|check|tick|cross|mark|reopen|rename|show|list|find|search|move|reschedule|postpone|push|set|make|change|label|tag|untag|describe|prioriti[sz]e|undo|what|which|how many|i(?:'m| am) done|i(?:'ve| have) (?:done|finished)|i (?:did|finished)|done with|put)\\b|${duty})`,
  "i"
)
/** A statement such as "the report is done". Two in a row are two requests. */
const statement =
  /^(?:the|my) .{1,60} (?:is|are|has been|have been) (?:now |already )?(?:done|finished|complete|sent|paid|bought|\w{2,20}ed)$/i
/** A single answer, although "add it" alone would be a request. */
const assent =
  /^(?:yes|yep|yeah|sure|ok(?:ay)?),? (?:please|thanks|do it|do that|add (?:it|them|that)|go ahead|all of them|delete them(?: all)?)[.!]*$/i
const adding = new RegExp(`^(?:add|create|put|new|note|(?:a |another )?(?:task|to-?do|reminder):|${duty})`, "i")
/** A heading such as "three tasks: …". All text after it is one list. */
const listHeading = /^[^:\n]*\b(?:tasks|things|to-?dos|items|reminders)(?: [a-z ]{1,20})?\s*[:\n]/i

/** Splits a message into requests: at sentences, and where "and", "then" or a comma begins another request. */
const split = (text: string, present: Reading): ReadonlyArray<string> => {
  const quotes: Array<string> = []
  const masked = text.replace(/"[^"\n]*"/g, (quote) => `\uE010${quotes.push(quote) - 1}\uE011`)
  const unmask = (part: string) => part.replace(/\uE010(\d+)\uE011/g, (_, i: string) => quotes[Number(i)] ?? "")
  const out: Array<string> = []
  let current = ""
  let adds = false
  const pieces = masked.split(
    /((?:(?<![.;!?])[.;!?]+\s+(?:(?:also|then|and|plus|next)\b,?\s+)?|\s*,?\s+(?:and then|and also|then|and|also|plus|but)\s+|,\s+|\n+))/i
  )
  for (let i = 0; i < pieces.length; i += 2) {
    const separator = pieces[i - 1] ?? ""
    const piece = pieces[i] ?? ""
    const next = polite(piece)
    const sentence = /^[.;!?]/.test(separator)
    const isStatement = statement.test(next) && statement.test(polite(current))
    const begins = isStatement || (sentence || !adds ? head : afterAdd).test(`${next.slice(0, longest)} `)
    const isFirst = current.trim() === ""
    const isOwn = begins && !(/^,\s+$/.test(separator) && saysWhen(current, next, present))
    if (!isFirst && separator !== "" && isOwn && !listHeading.test((current + separator).slice(0, longest))) {
      out.push(current)
      current = piece
    } else current += separator + piece
    if (isFirst || current === piece) adds = adding.test(next)
  }
  return [...out, current].map((part) => unmask(part).trim()).filter((part) => part !== "")
}

const question = /^(?:show|list|find|search|what|which|how many)\b/i
/** Requests cannot have conditions, so one that has is not understood. */
const condition =
  /^(?:if|unless|once|whenever|when(?! (?:is|are|was|were|do|does|did|should|must|will|can)\b)|as soon as|in case|after|until|till|while) /i

/** True for words before a comma that belong to the change after it: a condition, a date or a repeat. */
const saysWhen = (before: string, request: string, present: Reading) => {
  const words = polite(before)
  if (condition.test(words)) return true
  if (question.test(request) || words.length > 40) return false
  return duePhrase(words, present) !== null || isRepeat(words, present)
}

/** Merges an update of "it" into the new task before it: "add buy milk and make it high priority" is one task. */
const mergeUpdates = (commands: ReadonlyArray<Command>): ReadonlyArray<Command> => {
  const out: Array<Command> = []
  for (const command of commands) {
    const last = out.at(-1)
    const [task, ...others] = last?._tag === "Add" ? last.tasks : []
    const goesOn =
      command._tag === "Update" && command.target._tag === "It" && task !== undefined && others.length === 0
    const more = goesOn ? withChange(task, command.change) : null
    if (more === null) out.push(command)
    else out[out.length - 1] = Command.Add({ tasks: [more] })
  }
  return out
}

const withChange = (task: Draft, change: Change): Draft | null => {
  if (change._tag === "Priority") return { ...task, priority: change.priority }
  if (change._tag === "Due") return { ...task, due: change.due }
  if (change._tag === "Repeat") return { ...task, repeat: change.repeat }
  if (change._tag === "AddLabels") return { ...task, labels: [...(task.labels ?? []), ...change.labels] }
  return change._tag === "Description" ? { ...task, description: change.description } : null
}
