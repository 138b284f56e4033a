import * as Answers from "./Answers.ts"
import type { Command } from "./Commands.ts"
import type { Memory } from "./Memory.ts"
import { mostTasks } from "./Phrases.ts"
import { everything, type Filter, significant, type Target, wordsOf } from "./Targets.ts"
import type { Call, Result, TaskView, Transcript } from "./Transcript.ts"

/** Yields calls, receives their results in order, and returns a value at the end. */
export type Script<A> = Generator<ReadonlyArray<Call>, A, ReadonlyArray<Result>>

/** The tasks that a command means, or an answer if they cannot be determined. */
export type Found = { readonly tasks: ReadonlyArray<Ref>; readonly left: number } | { readonly say: string }
export interface Ref {
  readonly id: number
  readonly task: TaskView | null
}

const maxPages = 3

/** The context of a request. */
export interface Session {
  readonly transcript: Transcript
  memory: Memory
}

/** Stands for the result of a call that has none. */
export const missing: Result = { error: "There is no result.", tasks: [], total: 0, cursor: null, outcomes: [] }
/** One sentence for each error. */
export const failures = (what: string, errors: ReadonlyArray<string>) =>
  [...new Set(errors)].map((error) => `${what}: ${error.replace(/[.\s]+$/, "")}.`).join("\n")

const listParams = (filter: Filter, cursor: string | null, byDate: boolean) => ({
  status: filter.status,
  priority: filter.priority,
  label: filter.label,
  due_before: filter.before,
  due_after: filter.after,
  ...(filter.undated && { due: "none" }),
  query: filter.query,
  ...(byDate && { sort: "due" }),
  limit: null,
  cursor
})
export const listCall = (filter: Filter, cursor: string | null = null, byDate = false): Call => ({
  name: "list_tasks",
  params: listParams(filter, cursor, byDate)
})

type Aimed = Extract<Command, { readonly target: Target }>

/** The tasks that a command means. Otherwise an answer: there are none, or a question which one is meant. */
export function* locate(session: Session, command: Aimed, status: Filter["status"]): Script<Found> {
  const found = yield* find(session, command, command.target, status)
  if ("say" in found || found.tasks.length > 0) return found
  return { say: "There is no such task." }
}

function* find(session: Session, command: Aimed, target: Target, status: Filter["status"]): Script<Found> {
  const { focus, shown, tasksById } = session.memory
  const asks = Answers.question(command) ?? ""
  const which = (tasks: ReadonlyArray<TaskView>): Found => ({
    say: `${asks}\n${Answers.lines(tasks.slice(0, 10), session.transcript)}`
  })
  const these = (...tasks: ReadonlyArray<TaskView>): Found => ({
    tasks: tasks.map((task) => ({ id: task.id, task })),
    left: 0
  })
  const byId = (id: number): Found =>
    id > 0
      ? { tasks: [{ id, task: tasksById.get(id) ?? null }], left: 0 }
      : { say: "There is no task with that number." }
  switch (target._tag) {
    case "Id":
      return byId(target.id)
    case "Number": {
      const placed = shown[target.n - 1]
      const meant = shown.find(({ id }) => id === target.n)
      if (placed === undefined) return byId(target.n)
      return meant === undefined || meant === placed ? these(placed) : which([placed, meant])
    }
    case "Place": {
      const placed = target.fromEnd ? shown.at(-target.n) : shown[target.n - 1]
      if (placed !== undefined) return these(placed)
      return {
        say:
          shown.length === 0
            ? "I have not shown you a list yet. Say “list my tasks”, or name the task."
            : `The last list has only ${Answers.counted(shown.length, "task")}.`
      }
    }
    case "It": {
      const [one] = focus
      if (one === undefined)
        return { say: "I am not sure which task you mean. Name it, please, or give its number, such as #12." }
      return focus.length === 1 ? these(one) : which(focus)
    }
    case "Them":
      if (focus.length === 0) {
        return { say: "I am not sure which tasks you mean. Name them, please, or say “list my tasks” first." }
      }
      if (focus.length === 1 && shown.length > 1) return which(shown)
      return target.count !== null && target.count !== focus.length ? which(focus) : capped(focus, 0)
    case "All":
      return yield* all(target.filter, status)
    case "Title":
      return yield* search(session, command, target.words, status)
    case "Several": {
      if (target.words !== "" && target.targets.every(({ _tag }) => _tag === "Title")) {
        const whole = yield* matching(command, target.words, status)
        if ("say" in whole) return whole
        const [one] = whole.exact
        if (one !== undefined && whole.exact.length === 1) return these(one)
      }
      const refs = new Map<number, Ref>()
      for (const part of target.targets) {
        const found = yield* find(session, command, part, status)
        if ("say" in found) return found
        for (const ref of found.tasks) refs.set(ref.id, ref)
      }
      return { tasks: [...refs.values()].slice(0, mostTasks), left: Math.max(0, refs.size - mostTasks) }
    }
  }
}

const capped = (tasks: ReadonlyArray<TaskView>, unseen: number): Found => ({
  tasks: tasks.slice(0, mostTasks).map((task) => ({ id: task.id, task })),
  left: Math.max(0, tasks.length - mostTasks) + unseen
})
function* all(filter: Filter, status: Filter["status"]): Script<Found> {
  const asked = { ...filter, status: filter.status === "completed" || status === "all" ? filter.status : status }
  const found = yield* pages(asked)
  if ("say" in found) return found
  if (found.tasks.length === 0)
    return { say: `You have no ${asked.status === "completed" ? "completed" : "open"} tasks${filter.what}.` }
  return capped(
    [...found.tasks].sort((a, b) => a.id - b.id),
    found.unseen
  )
}

function* pages(
  filter: Filter
): Script<{ readonly tasks: ReadonlyArray<TaskView>; readonly unseen: number } | { readonly say: string }> {
  const tasks: Array<TaskView> = []
  let cursor: string | null = null
  for (let page = 1; page <= maxPages; page++) {
    const [result = missing]: ReadonlyArray<Result> = yield [listCall(filter, cursor)]
    if (result.error !== null) return { say: failures("I could not look at your tasks", [result.error]) }
    tasks.push(...result.tasks)
    cursor = result.cursor
    if (cursor === null) return { tasks, unseen: 0 }
    if (page === maxPages) return { tasks, unseen: Math.max(1, result.total - tasks.length) }
  }
  return { tasks, unseen: 0 }
}

/** Tasks whose titles contain all the words. The titles in `exact` have no other words. */
interface Matches {
  readonly exact: ReadonlyArray<TaskView>
  readonly full: ReadonlyArray<TaskView>
}

function* matching(
  command: Aimed,
  words: string,
  status: Filter["status"]
): Script<Matches | { readonly say: string }> {
  const tokens = tokensOf(words)
  const longest = [...tokens].sort((a, b) => b.length - a.length)[0] ?? words
  const found = yield* pages({ ...everything, status, query: stem(longest) === longest ? longest : stem(longest) })
  if ("say" in found) return found
  const full = likely(
    command,
    found.tasks.filter((task) => fits(task, tokens))
  )
  const title = tokens.join(" ")
  return { full, exact: full.filter((task) => tokensOf(task.title).join(" ") === title) }
}

const tokensOf = (words: string) => {
  const distinctive = significant(words)
  return distinctive.length > 0 ? distinctive : wordsOf(words)
}

/** Prefers open tasks to completed ones. A deletion considers both, because it must not rely on a guess. */
const likely = (command: Aimed, tasks: ReadonlyArray<TaskView>) => {
  const open = tasks.filter(({ completed }) => !completed)
  return command._tag === "Delete" || open.length === 0 ? tasks : open
}

function* search(session: Session, command: Aimed, words: string, status: Filter["status"]): Script<Found> {
  if (tokensOf(words).length === 0)
    return { say: "I am not sure which task you mean. Name it, please, or give its number." }
  const lines = (tasks: ReadonlyArray<TaskView>) => Answers.lines(tasks.slice(0, 10), session.transcript)
  const ask = Answers.question(command) ?? ""
  const decided = ({ exact, full }: Matches): Found | null => {
    const [one] = exact.length === 1 ? exact : full
    if (one === undefined) return null
    if (exact.length === 1 || full.length === 1) return { tasks: [{ id: one.id, task: one }], left: 0 }
    return { say: `${Answers.counted(full.length, "task")} could be meant.\n${ask}\n${lines(full)}` }
  }
  const first = yield* matching(command, words, status)
  if ("say" in first) return first
  const found = decided(first)
  if (found !== null) return found
  const rest = yield* pages({ ...everything, status: "all" })
  if ("say" in rest) return rest
  const tokens = tokensOf(words)
  const full = rest.tasks.filter((task) => fits(task, tokens))
  const again = decided({ full: likely(command, full), exact: [] })
  if (again !== null) return again
  const close = rest.tasks.filter((task) => !task.completed && isClose(task, tokens))
  const none = `I found no task that matches “${words.replace(/\s+/g, " ").slice(0, 80)}”.`
  if (close.length > 0) return { say: `${none} Close to it:\n${lines(close)}\n${ask}` }
  return {
    say: "action" in command && command.action !== undefined ? `${none}\n${Answers.offer(command.action)}` : none
  }
}

const stem = (word: string) =>
  word.length > 5 ? word.replace(/(?:ing|ed|es|s)$/, "") : word.length > 3 ? word.replace(/s$/, "") : word

const fitsWord = (word: string, token: string) =>
  word === token || stem(word) === stem(token) || (token.length >= 3 && word.startsWith(token))

const fits = (task: TaskView, tokens: ReadonlyArray<string>) => {
  const title = wordsOf(task.title)
  return tokens.every((token) => title.some((word) => fitsWord(word, token)))
}

/** A longer text is not a mistyped title. */
const maxTitleWords = 12

/** At least half of the words match, apart from a letter or two. Such a task is suggested, never changed. */
const isClose = (task: TaskView, tokens: ReadonlyArray<string>) => {
  if (tokens.length > maxTitleWords) return false
  const title = wordsOf(task.title)
  const hits = tokens.filter((token) =>
    title.some(
      (word) => fitsWord(word, token) || (token.length >= 4 && distance(word, token) <= (token.length > 6 ? 2 : 1))
    )
  )
  return hits.length * 2 >= tokens.length && hits.length > 0
}

/** The edit distance: letters to add, drop, change or swap. 9 for words of very different length. */
const distance = (a: string, b: string): number => {
  if (Math.abs(a.length - b.length) > 2 || a.length > 40) return 9
  let before: ReadonlyArray<number> = []
  let row: ReadonlyArray<number> = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 9) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 9) + 1 : 99
      current.push(Math.min(change, swap, (row[j] ?? 9) + 1, (current[j - 1] ?? 9) + 1))
    }
    before = row
    row = current
  }
  return row[b.length] ?? 9
}
