/** Texts for days, tool calls and the ends of turns. */

const day = 86_400_000

/** The local date of a time. Default: now. */
export const dateOf = (time = new Date()) =>
  [time.getFullYear(), time.getMonth() + 1, time.getDate()].map((n) => String(n).padStart(2, "0")).join("-")

const atNoon = (date) => new Date(`${date}T12:00:00`)

const dayInWords = (date) => {
  const days = Math.round((atNoon(date) - atNoon(dateOf())) / day)
  if (days === 0) return "today"
  if (days === 1) return "tomorrow"
  if (days === -1) return "yesterday"
  const isNear = days > 0 && days < 7
  const isThisYear = date.slice(0, 4) === dateOf().slice(0, 4)
  return new Intl.DateTimeFormat(
    "en-GB",
    isNear
      ? { weekday: "long" }
      : { weekday: "short", day: "numeric", month: "short", ...(!isThisYear && { year: "numeric" }) }
  ).format(atNoon(date))
}

/** The local due date of a task, null without one. */
export const dueDay = ({ due_at, due_date }) => (due_at ? dateOf(new Date(due_at)) : due_date)

/** The local due date and time of a task as text. */
export const due = (task) => {
  const time = task.due_at ? ` at ${new Date(task.due_at).toTimeString().slice(0, 5)}` : ""
  return `${dayInWords(dueDay(task))}${time}`
}

const quoted = (title) => (title ? `“${title}”` : "a task")
const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`

/** Texts for a running call, by tool. */
const running = {
  list_tasks: () => "Looking at the tasks",
  get_task: () => "Looking at a task",
  create_task: ({ title }) => `Adding ${quoted(title)}`,
  create_tasks: ({ tasks }) => `Adding ${count(tasks?.length ?? 0, "task")}`,
  update_task: ({ title }) => (title ? `Renaming a task to ${quoted(title)}` : "Changing a task"),
  mark_complete: ({ completed, task_ids }) =>
    `${completed === false ? "Reopening" : "Completing"} ${task_ids ? count(task_ids.length, "task") : "a task"}`,
  delete_task: () => "Deleting a task"
}

const succeeded = (results = []) => results.filter(({ status }) => status === "success").map(({ task }) => task)

const several = (verb, tasks) =>
  tasks.length <= 3 ? `${verb} ${tasks.map(({ title }) => quoted(title)).join(", ")}` : `${verb} ${tasks.length} tasks`

const withDue = (text, task) => (task?.due_date ? `${text}, due ${due(task)}` : text)

/** Texts for an ended call, by tool. */
const done = {
  list_tasks: (_, { tasks = [], total }) => `Looked at the tasks: ${total ?? tasks.length} found`,
  get_task: (_, { task }) => `Looked at ${quoted(task?.title)}`,
  create_task: (_, { task }) => withDue(`Added ${quoted(task?.title)}`, task),
  create_tasks: (_, { results }) => several("Added", succeeded(results)),
  update_task: (_, { task }) => withDue(`Changed ${quoted(task?.title)}`, task),
  mark_complete: ({ completed }, { results, task }) =>
    several(completed === false ? "Reopened" : "Completed", task ? [task] : succeeded(results)),
  delete_task: (_, { task }) => `Deleted ${quoted(task?.title)}`
}

/** Texts for a call that awaits approval, by tool. */
const awaitingTexts = {
  create_task: ({ title }) => `Add ${quoted(title)}`,
  create_tasks: ({ tasks = [] }) => several("Add", tasks),
  update_task: ({ title }, named) => (title ? `Rename ${named} to ${quoted(title)}` : `Change ${named}`),
  mark_complete: ({ completed }, named) => `${completed === false ? "Reopen" : "Complete"} ${named}`,
  delete_task: (_, named) => `Delete ${named}`
}

const plain = (tool) => tool.replaceAll("_", " ")

/** The text for a tool call, running or ended. */
export const toolCall = ({ parameters, result, tool }) => {
  const given = parameters ?? {}
  if (result === undefined) return `${(running[tool] ?? (() => `Running ${plain(tool)}`))(given)} …`
  if (result.status === "error") return `Not done (${plain(tool)}): ${result.error}`
  return (done[tool] ?? (() => `Ran ${plain(tool)}`))(given, result)
}

/** The text for a call that awaits approval, with the titles of its tasks if known. */
export const awaitingCall = ({ parameters, titles = [], tool }) => {
  const named = titles.length === 0 ? "a task" : titles.map(quoted).join(", ")
  return `${(awaitingTexts[tool] ?? (() => `Run ${plain(tool)}`))(parameters ?? {}, named)}?`
}

const readOnly = ["list_tasks", "get_task"]

/** True if a call has changed tasks. */
export const isChange = ({ result, tool }) => result?.status === "success" && !readOnly.includes(tool)

/** Texts for the ends of turns that were not completed. */
export const ending = {
  failed: "The answer failed.",
  timed_out: "The answer took too long.",
  cancelled: "Stopped.",
  interrupted: "The service stopped before the answer was complete."
}
