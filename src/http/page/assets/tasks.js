/* The task list: overdue tasks first, completed tasks last. It is updated while the agent works. */

import { call } from "./api.js"
import { $, ask, h, orSay, toast } from "./dom.js"
import { edit } from "./task-dialog.js"
import { dateOf, due, dueDay } from "./words.js"

let open = { tasks: [], total: 0, next_cursor: null }
let finished = { tasks: [], total: 0 }

const sections = [
  ["Overdue", (date, today) => date !== null && date < today],
  ["Today", (date, today) => date === today],
  ["Upcoming", (date, today) => date !== null && date > today],
  ["No date", (date) => date === null]
]

const isOverdue = ({ completed, due_at, due_date }) =>
  !completed && (due_at ? new Date(due_at) < new Date() : due_date !== null && due_date < dateOf())

const byDue = (a, b) =>
  (dueDay(a) ?? "").localeCompare(dueDay(b) ?? "") || (a.due_at ?? "").localeCompare(b.due_at ?? "")

const page = (cursor) =>
  call("GET", `tasks?status=pending&sort=due&limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`)

const more = async () => {
  const { next_cursor, tasks } = await page(open.next_cursor)
  open = { ...open, tasks: [...open.tasks, ...tasks], next_cursor }
  render()
}

let asked = null

/** Reads the list again. Several changes at once lead to one read. */
export const refresh = () => {
  asked ??= new Promise((resolve) => setTimeout(resolve, 100)).then(async () => {
    asked = null
    try {
      ;[open, finished] = await Promise.all([page(), call("GET", "tasks?status=completed&limit=20")])
      render()
    } catch ({ message }) {
      render(message)
    }
  })
  return asked
}

const render = (problem) => {
  const { id: focused } = document.activeElement
  const today = dateOf()
  const isDoneOpen = $("task-list").querySelector("details")?.open === true
  const found = sections
    .map(([name, has]) => [name, open.tasks.filter((task) => has(dueDay(task), today)).sort(byDue)])
    .filter(([, tasks]) => tasks.length > 0)
  const shown = [
    problem && h("p", { class: "problem", role: "alert" }, problem, " ", h("button", { click: refresh }, "Try again")),
    !problem && open.total === 0 && h("p", { class: "note" }, "Nothing to do. Add a task here, or just say it."),
    ...found.map(([name, tasks]) =>
      h("section", {}, h("h3", { class: name.toLowerCase() }, name), h("ul", {}, ...tasks.map(row)))
    ),
    open.next_cursor !== null && h("button", { class: "plain", click: () => orSay(more()) }, "Show more"),
    finished.total > 0 &&
      h(
        "details",
        { open: isDoneOpen },
        h("summary", {}, `Done (${finished.total})`),
        h("ul", {}, ...finished.tasks.map(row))
      )
  ]
  $("open-count").textContent = open.total > 0 ? open.total : ""
  $("task-list").replaceChildren(...shown.filter(Boolean))
  if (focused) $(focused)?.focus()
}

const row = (task) => {
  const { completed, id, labels, priority, repeat, title } = task
  const late = isOverdue(task)
  const about = (name, text) => text && h("span", { class: name }, text)
  const done = {
    type: "checkbox",
    id: `done-${id}`,
    "aria-label": `Done: ${title}`,
    checked: completed,
    change: () => complete(task).then(refresh)
  }
  return h(
    "li",
    { class: completed ? "task completed" : "task" },
    h("input", done),
    h(
      "button",
      { class: "open", id: `edit-${id}`, click: () => orSay(change(task)).then(refresh) },
      h("span", { class: "title" }, title),
      task.due_date && about(late ? "due overdue" : "due", late ? `${due(task)}, overdue` : due(task)),
      repeat && about("repeat", `↻ ${repeat.text}`),
      priority && about(`priority ${priority}`, `${priority} priority`),
      ...labels.map((label) => about("label", label))
    )
  )
}

const patch = (task, changes) => call("PATCH", `tasks/${task.id}`, changes)

/** Shows the change and offers to undo it. */
const done = (text, task, back) => {
  const undo = async () => {
    await orSay(patch(task, back).then(() => toast(`“${task.title}” is as it was.`)))
    await refresh()
  }
  toast(text, undo)
}

const complete = async (task) => {
  const isDone = !task.completed
  // A repeating task shows its next occurrence.
  const isOnce = isDone && task.repeat !== null
  const changed = await orSay(patch(task, { completed: isDone, ...(isOnce && { occurrence: task.due_date }) }))
  if (changed === undefined) return
  const next = isDone && !changed.completed ? ` Next: ${due(changed)}.` : ""
  done(`“${task.title}” is ${isDone ? "done" : "open again"}.${next}`, task, {
    completed: !isDone,
    ...(isOnce && dueOf(task))
  })
}

/** The due date of a task as members of a change. */
const dueOf = ({ due_at, due_date, time_zone }) => ({ due_date, due_at, ...(due_at !== null && { time_zone }) })

/** The change that undoes a change. A repeat needs a date, so it is restored together with the date. */
const undoing = (patch, task) => {
  const isRepeat = "repeat" in patch || (patch.due_date === null && task.repeat !== null)
  return {
    ...Object.fromEntries(Object.keys(patch).map((name) => [name, task[name]])),
    ...((isRepeat || "due_date" in patch) && dueOf(task)),
    ...(isRepeat && { repeat: task.repeat?.rule ?? null })
  }
}

/** Edits or deletes a task with the dialog. */
const change = async ({ id }) => {
  const { isDeleted, patch, task } = await edit(id)
  if (isDeleted) await remove(task)
  else if (patch) done(`“${task.title}” was changed.`, task, undoing(patch, task))
}

const remove = async (task) => {
  const text = `“${task.title}” will be gone.`
  if ((await ask({ title: "Delete the task?", text, yes: "Delete", isDanger: true })) === null) return
  await call("DELETE", `tasks/${task.id}`)
  toast(`“${task.title}” was deleted.`)
}

$("add").addEventListener("submit", async (event) => {
  event.preventDefault()
  const field = $("add-title")
  if ((await orSay(call("POST", "tasks", { title: field.value }))) !== undefined) field.value = ""
  await refresh()
})
addEventListener("tasks", refresh)
// Other clients may change tasks, and overdue tasks depend on the day.
addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && !$("app").hidden) refresh()
})
