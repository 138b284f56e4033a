import { Order, Predicate } from "effect"
import * as Answers from "./Answers.ts"
import { Budget } from "./Budget.ts"
import type { Change, Command } from "./Commands.ts"
import { failures, listCall, locate, missing, type Ref, type Script, type Session } from "./Lookup.ts"
import { recall, understand } from "./Memory.ts"
import { type Draft, mostTasks } from "./Phrases.ts"
import type { Filter } from "./Targets.ts"
import type { Call, Result, TaskView, Transcript } from "./Transcript.ts"
import type { Present } from "./When.ts"

/** The next step: tools to call, or the answer. */
export type Next =
  | { readonly calls: ReadonlyArray<Call>; readonly text: null }
  | { readonly calls: null; readonly text: string }

/**
 * The next step of a turn, as a pure function. It replays the script from its start with the results so far, up to the
 * first calls without results.
 */
export const next = (transcript: Transcript, tools: ReadonlySet<string>): Next => {
  const answer = (text: string): Next => ({ calls: null, text })
  const done = transcript.turns.at(-1)?.calls ?? []
  const script = respond(transcript)
  let place = 0
  for (let turn = script.next(); ; ) {
    if (turn.done === true) return answer(turn.value)
    const calls = turn.value
    const made = done.slice(place, place + calls.length)
    if (made.length === 0) {
      if (calls.every(({ name }) => tools.has(name))) return { calls, text: null }
      return answer(progress(done.slice(0, place)) + (place > 0 && tools.size === 0 ? cutOff : noTool))
    }
    place += calls.length
    turn = script.next(calls.map((_, i) => made[i]?.result ?? missing))
  }
}

const cutOff = "That takes more steps than I may take in one turn. Please ask for the rest again."
const noTool = "I cannot do that here: the tool for it is not available to me."

/** The changes so far of a turn that has to stop. */
const progress = (calls: ReadonlyArray<Call & { readonly result: Result | null }>) => {
  const changed = calls.filter(
    ({ name, result }) => /^(?:create|update|mark|delete)_/.test(name) && result?.error === null
  )
  const tasks = changed.flatMap(({ result }) => result?.outcomes.flatMap(({ task }) => task ?? []) ?? [])
  return tasks.length === 0 ? "" : `Done so far: ${Answers.and(tasks.map(Answers.named))}. `
}

function* respond(transcript: Transcript): Script<string> {
  const commands = understand(transcript, new Budget())
  const session: Session = { transcript, memory: recall(transcript.turns.slice(0, -1)) }
  const answers: Array<string> = []
  let plans: Array<Plan> = []
  const carryOut = function* (): Script<void> {
    const calls = plans.flatMap((plan) => plan.calls)
    const results = calls.length === 0 ? [] : yield calls
    let place = 0
    for (const plan of plans) {
      const own = results.slice(place, place + plan.calls.length)
      place += plan.calls.length
      const seen = own.flatMap((result) => result.outcomes.flatMap(({ task }) => task ?? []))
      if (seen.length > 0) session.memory = { ...session.memory, focus: seen }
      answers.push(plan.answer(own))
    }
    plans = []
  }
  const planned = () => plans.reduce((n, { calls }) => n + calls.length, 0)
  for (const command of commands) {
    const pointsBack = "target" in command && (command.target._tag === "It" || command.target._tag === "Them")
    if (planned() > 0 && pointsBack) yield* carryOut()
    const one = yield* plan(session, command, commands.length > 1)
    if (planned() + one.calls.length > mostTasks) yield* carryOut()
    plans.push(one)
  }
  yield* carryOut()
  return answers.length === 0 ? Answers.unknown(null) : answers.join("\n")
}

/** The calls and the answer for a command whose tasks have been found. */
interface Plan {
  readonly calls: ReadonlyArray<Call>
  readonly answer: (results: ReadonlyArray<Result>) => string
}
const say = (text: string): Plan => ({ calls: [], answer: () => text })

function* plan(session: Session, command: Command, isOneOfMany: boolean): Script<Plan> {
  switch (command._tag) {
    case "Add":
      return addition(session, command.tasks)
    case "List":
      return listing(session, command.filter, command.counts, null, command.byDate)
    case "More":
      return more(session)
    case "Show":
      return yield* show(session, command)
    case "Pointer":
      return yield* show(session, { _tag: "Show", target: command.target })
    case "Complete":
      return yield* completion(session, command)
    case "Update":
      return yield* change(session, command)
    case "Delete":
      return yield* deletion(session, command)
    case "Unsupported":
      return say(Answers.unsupported(command.what))
    case "Undo":
      return say(Answers.undo)
    case "Help":
      return say(Answers.help)
    case "Greeting":
      return say(Answers.greeting)
    case "Thanks":
      return say("You're welcome.")
    case "Yes":
      return say("I am not sure what to say yes to. Tell me what to do, please.")
    case "No":
      return say("All right, I leave everything as it is.")
    case "Action":
      return say(Answers.question(command) ?? Answers.unknown(command.text))
    case "Unknown":
      return say(Answers.unknown(isOneOfMany ? command.text : null))
  }
}

const addition = ({ transcript }: Session, drafts: ReadonlyArray<Draft>): Plan => {
  if (drafts.length === 0) return say("What should I add?")
  if (drafts.length > mostTasks)
    return say(`I can add at most ${mostTasks} tasks at once. Send the rest by themselves.`)
  const unclear = drafts.flatMap((draft) => draft.unclear ?? [])[0]
  if (unclear !== undefined) return say(unclear)
  const tasks = drafts.map(({ unclear: _, ...task }) => task)
  const calls: ReadonlyArray<Call> =
    tasks.length === 1
      ? tasks.map((task) => ({ name: "create_task", params: task }))
      : chunks(tasks).map((some) => ({ name: "create_tasks", params: { tasks: some } }))
  return {
    calls,
    answer: (results) => {
      const created = results.flatMap((result) => result.outcomes.flatMap(({ task }) => task ?? []))
      const errors = errorsOf(results)
      const [one] = created
      const due = one === undefined ? null : Answers.dueOf(one, transcript)
      const head =
        one === undefined
          ? ""
          : created.length === 1
            ? `Added ${Answers.named(one)}${Answers.timing(one, due)}.`
            : `Added ${created.length} tasks:\n${Answers.lines(created, transcript)}`
      return paragraphs(head, Answers.foreign(tasks), failures("I could not add", errors))
    }
  }
}

const listing = (
  { transcript }: Session,
  filter: Filter,
  counts: boolean,
  cursor: string | null,
  sorted = false
): Plan => ({
  calls: [listCall(filter, cursor, sorted)],
  answer: ([result]) => {
    if (result === undefined || result.error !== null)
      return failures("I could not list your tasks", errorsOf([result]))
    // The tools list the newest first. The answer lists the oldest first, or by date if the request is about dates.
    const byDate = sorted || filter.after !== null || filter.before !== null
    const tasks = [...result.tasks].sort((a, b) => (byDate ? Order.string(when(a), when(b)) : 0) || a.id - b.id)
    if (counts) {
      const kind = filter.status === "completed" ? "completed task" : "open task"
      return `You have ${Answers.counted(result.total, kind)}${filter.what}.`
    }
    return Answers.listing(filter, tasks, result.total, result.cursor !== null, transcript)
  }
})

/** Sorts tasks without a date last. */
const when = (task: TaskView) => `${task.due_date ?? "~"}${task.due_at ?? ""}`

/** The next page of the last list. */
const more = (session: Session): Plan => {
  for (const turn of session.transcript.turns.slice(0, -1).reverse()) {
    const last = turn.calls.findLast(({ name }) => name === "list_tasks")
    if (last === undefined) continue
    const cursor = last.result?.cursor ?? null
    if (cursor === null) return say("There are no more.")
    return {
      calls: [{ name: "list_tasks", params: { ...(Predicate.isRecord(last.params) ? last.params : {}), cursor } }],
      answer: ([result]) =>
        result === undefined || result.error !== null
          ? failures("I could not list your tasks", errorsOf([result]))
          : paragraphs(
              Answers.lines(
                [...result.tasks].sort((a, b) => a.id - b.id),
                session.transcript
              ),
              result.cursor === null ? "" : "Say “more” for the next ones."
            )
    }
  }
  return say("I have not shown you a list yet. Say “list my tasks”.")
}

function* show(session: Session, command: Extract<Command, { readonly _tag: "Show" }>): Script<Plan> {
  const found = yield* locate(session, command, "all")
  if ("say" in found) return say(found.say)
  return {
    calls: found.tasks.map(({ id }) => ({ name: "get_task", params: { task_id: id } })),
    answer: (results) =>
      paragraphs(
        ...results.flatMap(({ tasks }) => tasks.map((task) => Answers.sheet(task, session.transcript))),
        failures("I could not find it", errorsOf(results))
      )
  }
}

function* completion(session: Session, command: Extract<Command, { readonly _tag: "Complete" }>): Script<Plan> {
  const { completed } = command
  const found = yield* locate(session, command, completed ? "pending" : "completed")
  if ("say" in found) return say(found.say)
  const [one] = found.tasks
  // Only a lookup by title has just read the current state. A task found by number or place may have changed since.
  if (found.tasks.length === 1 && one?.task?.completed === completed && command.target._tag === "Title") {
    return say(`${Answers.named(one.task)} is ${completed ? "already done" : "not done yet"}.`)
  }
  const ids = found.tasks.map(({ id }) => id)
  const calls =
    one !== undefined && ids.length === 1
      ? [{ name: "mark_complete", params: { task_id: one.id, task_ids: null, completed } }]
      : chunks(ids).map((some) => ({ name: "mark_complete", params: { task_id: null, task_ids: some, completed } }))
  return {
    calls,
    answer: outcome(session, found, completed ? "Done:" : "Reopened", completed ? "mark it as done" : "reopen it")
  }
}

function* deletion(session: Session, command: Extract<Command, { readonly _tag: "Delete" }>): Script<Plan> {
  const found = yield* locate(session, command, "all")
  if ("say" in found) return say(found.say)
  const { target } = command
  const many = target._tag === "All" || (target._tag === "Them" && target.count === null)
  if (many && found.tasks.length > 1) {
    const tasks = found.tasks.flatMap(({ task }) => task ?? [])
    const first = found.left === 0 ? "" : ` of ${tasks.length + found.left}; say it again for the others`
    return say(
      `These are ${Answers.counted(tasks.length, "task")}${first}:\n${Answers.lines(tasks, session.transcript)}\n${Answers.confirmation}`
    )
  }
  return {
    calls: found.tasks.map(({ id }) => ({ name: "delete_task", params: { task_id: id } })),
    answer: outcome(session, found, "Deleted", "delete it")
  }
}

function* change(session: Session, command: Extract<Command, { readonly _tag: "Update" }>): Script<Plan> {
  const found = yield* locate(session, command, "all")
  if ("say" in found) return say(found.say)
  const { change } = command
  let refs = found.tasks
  if (change._tag === "AddLabels" || change._tag === "RemoveLabels" || change._tag === "Postpone") {
    // The tool replaces all labels and the whole date, so read their current values first.
    const results = yield refs.map(({ id }) => ({ name: "get_task", params: { task_id: id } }))
    const errors = errorsOf(results)
    if (errors.length > 0) return say(failures("I could not change it", errors))
    refs = results.flatMap(({ tasks }) => tasks.map((task) => ({ id: task.id, task })))
  }
  return {
    calls: refs.map(({ id, task }) => ({
      name: "update_task",
      params: { task_id: id, ...unchanged, ...paramsOf(change, task) }
    })),
    answer: (results) => {
      const tasks = results.flatMap((result) => result.outcomes.flatMap(({ task }) => task ?? []))
      return paragraphs(
        tasks.length === 0 ? "" : `${summaryOf(change, tasks, refs, session.transcript)}${remaining(found)}`,
        failures("I could not change it", errorsOf(results))
      )
    }
  }
}

const unchanged = { title: null, description: null, priority: null, labels: null, due: null, clear: null }

const paramsOf = (change: Change, task: TaskView | null) => {
  const labels = task?.labels ?? []
  const same = (a: string) => (b: string) => a.toLowerCase() === b.toLowerCase()
  switch (change._tag) {
    case "Title":
      return { title: change.title }
    case "Description":
      return { description: change.description }
    case "Priority":
      return { priority: change.priority }
    case "Due":
      return { due: change.due }
    case "Repeat":
      return { repeat: change.repeat }
    case "Postpone":
      return { due: task?.due_date == null ? `in ${change.by}` : `${change.by} after ${task.due_date}` }
    case "AddLabels":
      return { labels: [...labels, ...change.labels.filter((label) => !labels.some(same(label)))] }
    case "RemoveLabels": {
      const left = labels.filter((label) => !change.labels.some(same(label)))
      return left.length === 0 ? { clear: ["labels"] } : { labels: left }
    }
    case "Clear":
      return { clear: [change.field] }
  }
}

const summaryOf = (change: Change, tasks: ReadonlyArray<TaskView>, refs: ReadonlyArray<Ref>, present: Present) => {
  const names = Answers.and(tasks.map(Answers.named))
  const is = tasks.length === 1 ? "is" : "are"
  const has = tasks.length === 1 ? "has" : "have"
  switch (change._tag) {
    case "Title": {
      const [old] = refs
      return old?.task === null || old === undefined
        ? `Renamed: it is now ${names}.`
        : `Renamed “${Answers.titleOf(old.task)}” to ${names}.`
    }
    case "Description":
      return `Noted on ${names}.`
    case "Priority":
      return `${names} now ${has} ${change.priority} priority.`
    case "AddLabels":
      return `${names} ${is} now labelled ${Answers.and(tasks.length === 1 ? (tasks[0]?.labels ?? []) : change.labels)}.`
    case "RemoveLabels":
      return `${names} ${is} no longer labelled ${Answers.and(change.labels)}.`
    case "Due":
    case "Postpone": {
      const [due = null, ...others] = new Set(tasks.map((task) => Answers.dueOf(task, present)))
      return others.length > 0 ? timings(tasks, present) : `${names} ${is} now due ${due ?? "as you said"}.`
    }
    case "Repeat":
      return timings(tasks, present)
    case "Clear":
      return change.field === "repeat"
        ? `${names} no longer ${tasks.length === 1 ? "repeats" : "repeat"}.`
        : `${names} now ${has} no ${change.field === "due" ? "due date" : change.field}.`
  }
}

/** When each task is due, a line for each. */
const timings = (tasks: ReadonlyArray<TaskView>, present: Present) =>
  tasks
    .map((task) => `${Answers.named(task)} is now${Answers.timing(task, Answers.dueOf(task, present)).slice(1)}.`)
    .join("\n")

const outcome =
  (
    { transcript }: Session,
    found: { readonly tasks: ReadonlyArray<Ref>; readonly left: number },
    did: string,
    doing: string
  ) =>
  (results: ReadonlyArray<Result>) => {
    const changed = results.flatMap((result) => result.outcomes.flatMap(({ task }) => task ?? []))
    const errors = errorsOf(results)
    const fine = results.some(({ error }) => error === null)
    const tasks = changed.length > 0 || !fine ? changed : found.tasks.flatMap(({ task }) => task ?? [])
    // A repeating task has a next due date after it is done.
    const names =
      tasks.length > 0
        ? Answers.and(
            tasks.map((task) => {
              const due = did === "Done:" && task.repeat !== null ? Answers.dueOf(task, transcript) : null
              return `${Answers.named(task)}${due === null || task.completed ? "" : `, next due ${due}`}`
            })
          )
        : `#${found.tasks[0]?.id}`
    const head = fine && (tasks.length > 0 || errors.length === 0) ? `${did} ${names}.${remaining(found)}` : ""
    return paragraphs(head, failures(`I could not ${doing}`, errors))
  }

const remaining = ({ left }: { readonly left: number }) =>
  left === 0 ? "" : ` There are ${left} more; say it again for the next ${Math.min(left, mostTasks)}.`

const errorsOf = (results: ReadonlyArray<Result | undefined>) =>
  results.flatMap((result) =>
    result === undefined
      ? ["There is no result."]
      : [result.error, ...result.outcomes.map(({ error }) => error)].flatMap((error) => error ?? [])
  )

const paragraphs = (...texts: ReadonlyArray<string>) => texts.filter((text) => text !== "").join("\n")

const chunks = <A>(values: ReadonlyArray<A>) =>
  Array.from({ length: Math.ceil(values.length / mostTasks) }, (_, i) =>
    values.slice(i * mostTasks, (i + 1) * mostTasks)
  )
