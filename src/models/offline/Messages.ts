import { type Change, Command } from "./Commands.ts"
import type { Draft, Present } from "./Phrases.ts"
import { commandOf } from "./Requests.ts"

/** A message's commands, in order. */
export const parse = (text: string, present: Present): ReadonlyArray<Command> => {
  const plain = text
    .replace(/[\uE000-\uE0FF]/g, "")
    .replace(/[‘’]/g, "'")
    .replace(/[“”„«»]/g, '"')
    .replace(/(?<=^|\s)'([^'\n]+)'(?=$|[\s.,;:!?])/g, '"$1"')
    .replace(/[^\S\n]+/g, " ")
    .replace(/(?:[,;] ?){3,}/g, ", ")
    .replace(/^- (.+)$/, (_, list: string) => `- ${list.split(" - ").join("\n- ")}`)
    .trim()
    .replace(thanks, "")
  if (plain.split("\n").some((line) => line.length > maxLine)) return [tooLong]
  const parts = split(plain)
  const tooMuch = parts.length > maxParts || parts.some((part) => part.length > maxLength && part.indexOf("\n") < 0)
  if (tooMuch) return [tooLong]
  return foldIt(parts.map((part) => commandOf(polite(part), present)))
}

/** A message has at most so many requests, and a request so many characters, unless it is a list with a line for each. */
const maxParts = 25
const maxLength = 300
const maxLine = 1000
const tooLong = Command.Missing({ what: "read that many requests or words at once" })

const thanks =
  /(?<=\S)[,.!?]? (?:many )?(?:thanks|thank you|cheers)(?: so much| very much| a lot| in advance| again)?[\s.!]*$/i

const courtesy =
  /^(?:(?:please|hello there|hi there|hello|hi|good morning|good evening|hey|ok(?:ay)?|so|well|now|then|also|and|could you|can you|would you|will you|i(?:'d| would) like (?:you )?to|i want you to|let's|let us|just|alright|great|thanks|thank you)[,!.:]*\s+)+(?=\S)/i
const farewell = /[\s,]+(?:please|thanks|thank you|for me|now|as well|too)$/i

const polite = (text: string) => {
  let out = text.trim().replace(/\s*[.!?]+$/, (end) => (/^\s*!!/.test(end) ? end.trimEnd() : ""))
  out = out.replace(courtesy, "")
  return out
    .replace(farewell, "")
    .replace(farewell, "")
    .replace(/\s*\?+$/, "")
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
const adding = new RegExp(`^(?:add|create|put|new|note|(?:a |another )?(?:task|to-?do|reminder):|${duty})`, "i")
/** "three tasks: …": all that follows is one list, whatever its parts look like. */
const announced = /^[^:\n]*\b(?:tasks|things|to-?dos|items|reminders)(?: [a-z ]{1,20})?\s*[:\n]/i

/** Divides a message into requests: at sentences, and where "and", "then" or a comma begins another one. */
const split = (text: string): ReadonlyArray<string> => {
  const quotes: Array<string> = []
  const masked = text.replace(/"[^"\n]*"/g, (quote) => `\uE010${quotes.push(quote) - 1}\uE011`)
  const unmask = (part: string) => part.replace(/\uE010(\d+)\uE011/g, (_, i: string) => quotes[Number(i)] ?? "")
  const out: Array<string> = []
  let current = ""
  const pieces = masked.split(
    /((?:[.;!?]+\s+(?:(?:also|then|and|plus|next)\b,?\s+)?|\s*,?\s+(?:and then|and also|then|and|also|plus|but)\s+|,\s+|\n+))/i
  )
  for (let i = 0; i < pieces.length; i += 2) {
    const separator = pieces[i - 1] ?? ""
    const piece = pieces[i] ?? ""
    const next = polite(piece)
    const sentence = /^[.;!?]/.test(separator)
    const begins = (sentence || !adding.test(polite(current)) ? head : afterAdd).test(`${next} `)
    if (current.trim() !== "" && separator !== "" && begins && !announced.test(current + separator)) {
      out.push(current)
      current = piece
    } else current += separator + piece
  }
  return [...out, current].map((part) => unmask(part).trim()).filter((part) => part !== "")
}

/** "add buy milk and make it high priority" is one new task. */
const foldIt = (commands: ReadonlyArray<Command>): ReadonlyArray<Command> => {
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
  if (change._tag === "AddLabels") return { ...task, labels: [...(task.labels ?? []), ...change.labels] }
  return change._tag === "Description" ? { ...task, description: change.description } : null
}
