import { DateTime, Option } from "effect"
import { dayIn, weekdayOf } from "../../dates/Calendar.ts"
import { foreignDay } from "../../dates/Foreign.ts"
import type { Command } from "./Commands.ts"
import type { Filter } from "./Targets.ts"
import type { TaskView } from "./Transcript.ts"
import { type Present, todayOf } from "./When.ts"

/** A title in one line, so that no line of a title can look like a line of a list. */
export const titleOf = (task: TaskView) => task.title.replace(/\s+/g, " ").trim()

export const named = (task: TaskView) => `“${titleOf(task)}” (#${task.id})`

/** The start of a line of a list. `Memory` recognizes a list in an earlier answer by it. */
export const lineHead = (n: number, task: TaskView) => `${n}. ${titleOf(task)} (#${task.id})`

export const lines = (tasks: ReadonlyArray<TaskView>, present: Present) =>
  tasks.map((task, i) => `${lineHead(i + 1, task)}${detailsOf(task, present)}`).join("\n")

const detailsOf = (task: TaskView, present: Present) => {
  const due = dueOf(task, present)
  const overdue = !task.completed && task.due_date !== null && task.due_date < todayOf(present)
  return [
    task.completed ? ", done" : "",
    due === null ? "" : overdue ? `, was due ${due}` : `, due ${due}`,
    task.repeat === null ? "" : `, ${task.repeat.text}`,
    task.priority === null ? "" : `, ${task.priority} priority`,
    task.labels.length === 0 ? "" : `, labelled ${and(task.labels)}`
  ].join("")
}

/** "tomorrow at 9:00", "on Monday", "on 14 February". */
export const dueOf = (task: TaskView, present: Present): string | null => {
  if (task.due_date === null) return null
  const at = task.due_at === null ? Option.none() : DateTime.make(task.due_at)
  const time = Option.match(at, {
    onNone: () => "",
    onSome: (instant) => {
      const clock = DateTime.formatIsoOffset(DateTime.setZone(instant, present.zone)).slice(11, 16)
      return ` at ${clock.replace(/^0/, "")}`
    }
  })
  return dayName(task.due_date, present) + time
}

/** ", due tomorrow", or for a task that repeats: ", next due on Monday, every week on Monday". */
export const timing = (task: TaskView, due: string | null) =>
  task.repeat === null
    ? due === null
      ? ""
      : `, due ${due}`
    : `${due === null ? "" : `, next due ${due}`}, ${task.repeat.text}`

const months = "January February March April May June July August September October November December".split(" ")

const dayName = (date: string, present: Present) => {
  const today = todayOf(present)
  if (date === today) return "today"
  if (date === dayIn(today, 1)) return "tomorrow"
  if (date === dayIn(today, -1)) return "yesterday"
  if (date > today && date < dayIn(today, 7)) return `on ${weekdayOf(date)}`
  const [year, month, day] = date.split("-").map(Number)
  const short = `on ${day} ${months[(month ?? 1) - 1]}`
  return date.slice(0, 4) === today.slice(0, 4) ? short : `${short} ${year}`
}

export const and = (words: ReadonlyArray<string>) =>
  words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`

export const counted = (n: number, noun: string) => `${n} ${noun}${n === 1 ? "" : "s"}`

export const listing = (
  filter: Filter,
  tasks: ReadonlyArray<TaskView>,
  total: number,
  more: boolean,
  present: Present
): string => {
  const kind = filter.status === "completed" ? "completed task" : filter.status === "all" ? "task" : "open task"
  if (filter.query !== null) {
    if (total === 0) return `I found no task about “${filter.query}”.`
    const heading = `I found ${counted(total, "task")} about “${filter.query}”:`
    return `${heading}\n${lines(tasks, present)}${rest(tasks.length, total, more)}`
  }
  if (total === 0) {
    if (filter.what === "" && filter.status !== "completed") return "Your list is empty. Say “add buy milk” to begin."
    return `You have no ${kind}s${filter.what}.`
  }
  const heading = `You have ${counted(total, kind)}${filter.what}:`
  return `${heading}\n${lines(tasks, present)}${rest(tasks.length, total, more)}`
}

const rest = (shown: number, total: number, more: boolean) =>
  more ? `\nThat is ${shown} of ${Math.max(total, shown + 1)}. Say “more” for the next ones.` : ""

/** One task with all its details. */
export const sheet = (task: TaskView, present: Present) => {
  const details = detailsOf(task, present).replace(/^, /, "")
  const state = task.completed || details !== "" ? details : "open"
  return `${named(task)}: ${state}.${task.description === null || task.description === "" ? "" : `\n${task.description}`}`
}

/** The verb phrase for a command after "should I". Null if the command never needs a question. */
const actionOf = (command: Command): string | null => {
  switch (command._tag) {
    case "Delete":
      return "delete"
    case "Complete":
      return command.completed ? "mark as done" : "reopen"
    case "Show":
      return "show you"
    case "Update":
      switch (command.change._tag) {
        case "Title":
          return `rename to “${flat(command.change.title)}”`
        case "Description":
          return "describe"
        case "Priority":
          return `give ${command.change.priority} priority`
        case "AddLabels":
          return `label ${flat(and(command.change.labels))}`
        case "RemoveLabels":
          return `take the label ${flat(and(command.change.labels))} from`
        case "Postpone":
          return `postpone by ${flat(command.change.by)}`
        case "Due":
          return `make due ${flat(command.change.due)}`
        case "Repeat":
          return `repeat ${flat(command.change.repeat)}`
        case "Clear":
          return `clear the ${command.change.field} of`
      }
  }
  return null
}

const flat = (text: string) => text.replace(/\s+/g, " ").trim()

/** The question that a command leads to, which the next message may answer. Null if it needs none. */
export const question = (command: Command): string | null => {
  if (command._tag === "Action") return offer(command.text)
  if (command._tag === "Add") return "What should I add?"
  const action = actionOf(command)
  return action === null ? null : `Which one should I ${action}?`
}

/** Offers to add something that the user mentioned without a request. */
export const offer = (text: string) => `Should I add “${flat(text)}” to your list?`

/** Says that a title contains a day in another language, which is not read. Empty if none does. */
export const foreign = (tasks: ReadonlyArray<{ readonly title: string; readonly due: string | null }>) => {
  const day = tasks.flatMap(({ due, title }) => (due === null ? (foreignDay(title) ?? []) : []))[0]
  return day === undefined
    ? ""
    : `I read dates in English only, so “${day}” is part of the title and no date is set. Say “make it tomorrow”, for example.`
}

export const confirmation = "Should I delete all of them? Say “yes”, and I will."

const tries = "Try “add call the bank tomorrow at 9”, “what's due this week?” or “done with the bank”."
const abilities = `I can add, list, find, finish, reopen, rename, describe, prioritise, label, date, repeat and delete tasks. ${tries}`
const nature = "I am an offline stand-in with a few fixed rules, not a language model, and I read English only."

export const help = `${nature} ${abilities}`
export const greeting = `Hello! I keep your list of tasks. ${tries} ${nature}`
export const unknown = (text: string | null) =>
  `I did not understand ${text === null ? "that" : `“${flat(text).slice(0, 80)}”`}. ${nature} ${abilities}`
export const unsupported = (what: string) => `I cannot ${what}. ${abilities}`
export const undo =
  "I have no tool for that, but the application can take back all task changes of an earlier turn: POST /api/{user_id}/turns/{turn_id}/undo, with the turn_id that came with the answer."
