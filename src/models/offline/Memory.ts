import { confirmation, lineHead, offer, question } from "./Answers.ts"
import type { Budget } from "./Budget.ts"
import { Command } from "./Commands.ts"
import { parse } from "./Messages.ts"
import { Target } from "./Targets.ts"
import type { Result, TaskView, Transcript, Turn } from "./Transcript.ts"

/** What "the second one", "it" and "them" refer to. */
export interface Memory {
  /** The last list, in its order. */
  readonly shown: ReadonlyArray<TaskView>
  /** The tasks last changed or shown: "it" for one task, "them" for several. */
  readonly focus: ReadonlyArray<TaskView>
  /** The latest state of each task seen in this conversation. */
  readonly tasksById: ReadonlyMap<number, TaskView>
}

const changing = /^(?:create_tasks?|update_task|mark_complete|get_task)$/

export const recall = (turns: ReadonlyArray<Turn>): Memory => {
  const tasksById = new Map<number, TaskView>()
  let shown: ReadonlyArray<TaskView> = []
  let focus: ReadonlyArray<TaskView> = []
  for (const turn of turns) {
    const results = turn.calls.flatMap(({ name, result }) => (result === null ? [] : [{ name, result }]))
    for (const { result } of results) for (const task of tasksOf(result)) tasksById.set(task.id, task)
    const changed = new Map(
      results
        .filter(({ name }) => changing.test(name))
        .flatMap(({ result }) => tasksOf(result))
        .map((task) => [task.id, task])
    )
    const deleted = new Set(
      results
        .filter(({ name }) => name === "delete_task")
        .flatMap(({ result }) => tasksOf(result))
        .map(({ id }) => id)
    )
    const listed = listIn(turn.text, tasksById)
    if (listed.length > 0) shown = listed
    const asked = listed.length > 0 && /^(?:Which one should I |Should I )/m.test(turn.text)
    const next = asked || changed.size === 0 ? listed : [...changed.values()]
    if (next.length > 0) focus = next
    else if (deleted.size > 0) focus = focus.filter(({ id }) => !deleted.has(id))
    focus = focus.map((task) => tasksById.get(task.id) ?? task)
  }
  return { shown, focus, tasksById }
}

const tasksOf = (result: Result) => [...result.tasks, ...result.outcomes.flatMap(({ task }) => task ?? [])]

/**
 * The numbered list in an answer. A line counts only if it begins exactly as `lineHead` writes a task of this
 * conversation, so a title cannot imitate another task.
 */
const listIn = (text: string, tasksById: ReadonlyMap<number, TaskView>): ReadonlyArray<TaskView> => {
  const found: Array<TaskView> = []
  for (const line of text.split("\n")) {
    const n = Number(/^(\d{1,3})\. /.exec(line)?.[1] ?? 0)
    if (n === 0) continue
    if (n === 1) found.length = 0
    let best: TaskView | null = null
    for (const task of tasksById.values()) {
      const head = lineHead(n, task)
      if (line.startsWith(head) && (best === null || head.length > lineHead(n, best).length)) best = task
    }
    if (best !== null && found.length === n - 1) found.push(best)
  }
  return found
}

/** The commands of a transcript's last message, which may answer a question. */
export const understand = (
  transcript: Transcript,
  budget: Budget,
  last = transcript.turns.length - 1
): ReadonlyArray<Command> => {
  const turn = transcript.turns[last]
  if (turn === undefined) return []
  const reading = { now: transcript.now, zone: transcript.zone, budget }
  const commands = parse(turn.user, reading)
  const [command] = commands
  const before = transcript.turns[last - 1]
  if (commands.length !== 1 || command === undefined || before === undefined) return commands
  if (!/^(?:Which one|What|Should I)\b.*\?/m.test(before.text)) return commands
  const asked = before.text.split("\n")
  const pending = understand(transcript, budget, last - 1)
  const isAsked = (one: Command) => asked.some((line) => line === question(one))
  const open = pending.find(isAsked)
  const toDelete = asked.includes(confirmation) ? pending.find(({ _tag }) => _tag === "Delete") : undefined
  const offered = pending.flatMap((one) => {
    const action = one._tag === "Action" ? one.text : "action" in one ? one.action : undefined
    return action !== undefined && asked.includes(offer(action)) ? [action] : []
  })[0]
  if (command._tag === "Yes" || (command._tag === "Thanks" && /^ok/i.test(turn.user.trim()))) {
    if (offered !== undefined) return parse(`add ${offered}`, reading)
    // Delete only the tasks that were shown, not those added since.
    if (toDelete !== undefined) {
      const { shown } = recall(transcript.turns.slice(0, last))
      return [aimed(toDelete, Target.Several({ targets: shown.map(({ id }) => Target.Id({ id })), words: "" }))]
    }
    const candidates = recall(transcript.turns.slice(0, last)).shown
    return open === undefined || candidates.length !== 1
      ? commands
      : [aimed(open, Target.Place({ n: 1, fromEnd: false }))]
  }
  if (open === undefined) return commands
  if (open._tag === "Add") {
    return command._tag === "Unknown" || command._tag === "Action" ? parse(`add ${command.text}`, reading) : commands
  }
  if (command._tag === "Pointer") return [aimed(open, command.target)]
  const words = command._tag === "Unknown" || command._tag === "Action" ? command.text : null
  const fits = words !== null && recall(transcript.turns.slice(0, last)).shown.some((task) => mentions(task, words))
  return fits ? [aimed(open, Target.Title({ words }))] : commands
}

const mentions = (task: TaskView, words: string) => {
  const title = task.title.toLowerCase()
  return words
    .toLowerCase()
    .split(/\W+/)
    .some((word) => word.length > 2 && title.includes(word))
}

const aimed = (command: Command, target: Target): Command => {
  switch (command._tag) {
    case "Complete":
      return Command.Complete({ ...command, target })
    case "Update":
      return Command.Update({ ...command, target })
    case "Delete":
      return Command.Delete({ ...command, target })
    case "Show":
      return Command.Show({ target })
    default:
      return command
  }
}
