/* The task list: what is overdue first, and what is done at the end. It follows what the agent does. */

import { call, request, timeZone } from "./api.js"
import { $, ask, h, shown, toast } from "./dom.js"
import { dateOf, due } from "./words.js"

let open = { tasks: [], total: 0, next_cursor: null }
let finished = { tasks: [], total: 0 }

const sections = [
  ["Overdue", (date, today) => date !== null && date < today],
  ["Today", (date, today) => date === today],
  ["Upcoming", (date, today) => date !== null && date > today],
  ["No date", (date) => date === null]
]

/** The day on which a task is due where the user is. */
const dayOf = ({ due_at, due_date }) => (due_at ? dateOf(new Date(due_at)) : due_date)

const isOverdue = (task) =>
  !task.completed &&
  (task.due_at ? new Date(task.due_at) < new Date() : task.due_date !== null && task.due_date < dateOf())

const byDue = (a, b) => (dayOf(a) ?? "").localeCompare(dayOf(b) ?? "") || (a.due_at ?? "").localeCompare(b.due_at ?? "")

const page = (cursor) =>
  call("GET", `tasks?status=pending&sort=due&limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`)

const load = async () => {
  ;[open, finished] = await Promise.all([page(), call("GET", "tasks?status=completed&limit=20")])
}

const more = async () => {
  const { next_cursor, tasks } = await page(open.next_cursor)
  open = { ...open, tasks: [...open.tasks, ...tasks], next_cursor }
  render()
}

let asked = null

/** Reads the list again, once for however many changes come at a time. */
export const refresh = () => {
  asked ??= new Promise((resolve) => setTimeout(resolve, 100)).then(async () => {
    asked = null
    try {
      await load()
      render()
    } catch (error) {
      render(error.detail ?? "The service does not answer.")
    }
  })
  return asked
}

const render = (problem) => {
  const { id: focused } = document.activeElement
  const today = dateOf()
  const isDoneOpen = $("task-list").querySelector("details")?.open === true
  const found = sections.map(([name, has]) => [name, open.tasks.filter((task) => has(dayOf(task), today)).sort(byDue)])
  $("open-count").textContent = open.total > 0 ? open.total : ""
  $("task-list").replaceChildren(
    ...[
      problem &&
        h("p", { class: "problem", role: "alert" }, problem, " ", h("button", { click: refresh }, "Try again")),
      !problem && open.total === 0 && h("p", { class: "note" }, "Nothing to do. Add a task here, or just say it."),
      ...found
        .filter(([, tasks]) => tasks.length > 0)
        .map(([name, tasks]) =>
          h("section", {}, h("h3", { class: name.toLowerCase() }, name), h("ul", {}, ...tasks.map(row)))
        ),
      open.next_cursor !== null && h("button", { class: "plain", click: more }, "Show more"),
      finished.total > 0 &&
        h(
          "details",
          { open: isDoneOpen },
          h("summary", {}, `Done (${finished.total})`),
          h("ul", {}, ...finished.tasks.map(row))
        )
    ].filter(Boolean)
  )
  if (focused) $(focused)?.focus()
}

const row = (task) => {
  const about = [
    due(task) &&
      h(
        "span",
        { class: isOverdue(task) ? "due overdue" : "due" },
        isOverdue(task) ? `${due(task)}, overdue` : due(task)
      ),
    task.repeat && h("span", { class: "repeat" }, `↻ ${task.repeat.text}`),
    task.priority && h("span", { class: `priority ${task.priority}` }, `${task.priority} priority`),
    ...task.labels.map((label) => h("span", { class: "label" }, label))
  ].filter(Boolean)
  return h(
    "li",
    { class: task.completed ? "task completed" : "task" },
    h("input", {
      type: "checkbox",
      id: `done-${task.id}`,
      "aria-label": `Done: ${task.title}`,
      checked: task.completed,
      change: () => complete(task)
    }),
    h(
      "button",
      { class: "open", id: `edit-${task.id}`, click: () => edit(task.id) },
      h("span", { class: "title" }, task.title),
      ...about
    )
  )
}

/** Changes a task, says so, and offers to change it back. */
const change = async (task, patch, back, said) => {
  try {
    const changed = await call("PATCH", `tasks/${task.id}`, patch)
    toast(said(changed), back && (() => change(task, back, null, () => `“${task.title}” is as it was.`)))
  } catch (error) {
    toast(error.detail ?? "The service does not answer.")
  }
  await refresh()
}

/** When a task is due, as a change says it. */
const dueOf = ({ due_at, due_date, time_zone }) => ({ due_date, due_at, ...(due_at !== null && { time_zone }) })

const complete = (task) => {
  if (task.completed)
    return change(task, { completed: false }, { completed: true }, () => `“${task.title}” is open again.`)
  // Of a repeating task this one occurrence is done, and the next one takes its place.
  const patch = { completed: true, ...(task.repeat && { occurrence: task.due_date }) }
  const back = { completed: false, ...(task.repeat && dueOf(task)) }
  return change(task, patch, back, (changed) =>
    changed.completed ? `“${task.title}” is done.` : `“${task.title}” is done. Next: ${due(changed)}.`
  )
}

/** What is in the dialog, as the API has it. */
const fieldsOf = (form) => {
  const value = (name) => form.elements[name].value.trim() || null
  const date = value("date")
  const time = value("time")
  const labels = (value("labels") ?? "").split(",").map((label) => label.trim())
  return {
    title: value("title"),
    description: value("description"),
    priority: value("priority"),
    labels: labels.filter((label) => label !== ""),
    due_date: date,
    due_at: date && time ? new Date(`${date}T${time}`).toISOString() : null,
    repeat: value("repeat")
  }
}

const fill = (form, task) => {
  const at = task.due_at === null ? null : new Date(task.due_at)
  const values = {
    ...task,
    labels: task.labels.join(", "),
    date: dayOf(task),
    time: at?.toTimeString().slice(0, 5),
    repeat: task.repeat?.text
  }
  for (const field of form.elements) if (field.name) field.value = values[field.name] ?? ""
}

const isSame = (a, b) => JSON.stringify(a) === JSON.stringify(b)

/** The members of `after` that `before` has not. */
const differences = (before, after) =>
  Object.fromEntries(Object.entries(after).filter(([name, value]) => !isSame(value, before[name])))

/** A due date changes as a whole: day and time belong together, and "every day at 9" means nine o'clock here. */
const withDue = (patch, { due_at, due_date }) => {
  const zone = patch.repeat && { time_zone: timeZone }
  if (!("due_date" in patch || "due_at" in patch)) return { ...patch, ...zone }
  return { ...patch, due_date, due_at, ...(due_at === null ? zone : { time_zone: timeZone }) }
}

/** What takes a change back. Without a date a task does not repeat, so its date brings the repetition back. */
const undoing = (patch, task) => {
  const same = Object.keys(patch).map((name) => [name, task[name]])
  const isRepeat = "repeat" in patch || (patch.due_date === null && task.repeat !== null)
  return {
    ...Object.fromEntries(same),
    ...((isRepeat || "due_date" in patch) && dueOf(task)),
    ...(isRepeat && { repeat: task.repeat?.rule ?? null })
  }
}

/** Fills the dialog with a task as it is now. */
const read = async (form, id) => {
  const response = await request("GET", `tasks/${id}`)
  const task = await response.json()
  fill(form, task)
  return { task, before: fieldsOf(form), version: response.headers.get("etag"), problem: "" }
}

/** Asks for a task's fields until they are saved or given up. What was refused stays as it was typed. */
const edit = async (id, refused) => {
  const dialog = $("task-dialog")
  const form = dialog.querySelector("form")
  try {
    const { before, problem, task, version } = refused ?? (await read(form, id))
    form.querySelector(".problem").textContent = problem
    const choice = await shown(dialog)
    if (choice === "delete") return await remove(task)
    if (choice !== "save") return
    const after = fieldsOf(form)
    const patch = withDue(differences(before, after), after)
    if (isSame(patch, {})) return
    try {
      await request("PATCH", `tasks/${id}`, { body: patch, headers: { "if-match": version } })
    } catch (error) {
      if (error.code === "invalid_request") {
        const problem = error.about.errors.map(({ message }) => message).join("; ")
        return edit(id, { before, problem, task, version })
      }
      if (error.code !== "task_changed") throw error
      return edit(id, { ...(await read(form, id)), problem: "It changed in the meantime. This is how it is now." })
    }
    const back = () => change(task, undoing(patch, task), null, () => `“${task.title}” is as it was.`)
    toast(`“${after.title}” was changed.`, back)
  } catch (error) {
    toast(error.detail ?? "The service does not answer.")
  }
  await refresh()
}

const remove = async (task) => {
  const text = `“${task.title}” will be gone.`
  if ((await ask({ title: "Delete the task?", text, yes: "Delete", isDanger: true })) === null) return
  await call("DELETE", `tasks/${task.id}`)
  toast(`“${task.title}” was deleted.`)
  await refresh()
}

$("add").addEventListener("submit", async (event) => {
  event.preventDefault()
  const title = $("add-title").value
  try {
    await call("POST", "tasks", { title })
    $("add-title").value = ""
  } catch (error) {
    toast(error.detail ?? "The service does not answer.")
  }
  await refresh()
})
addEventListener("tasks", refresh)
// Other clients change tasks too, and what is due depends on the day.
addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && !$("app").hidden) refresh()
})
