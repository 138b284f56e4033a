/* A task's fields in a dialog. */

import { request, timeZone } from "./api.js"
import { $, shown } from "./dom.js"
import { dueDay } from "./words.js"

const dialog = $("task-dialog")
const form = dialog.querySelector("form")

/** Fills the dialog with a task. */
const read = async (id) => {
  const response = await request("GET", `tasks/${id}`)
  const task = await response.json()
  const values = {
    ...task,
    labels: task.labels.join(", "),
    date: dueDay(task),
    time: task.due_at && new Date(task.due_at).toTimeString().slice(0, 5),
    repeat: task.repeat?.text
  }
  for (const field of form.elements) if (field.name) field.value = values[field.name] ?? ""
  return { task, before: fields(), version: response.headers.get("etag") }
}

/** The fields of the dialog in the form of the API. */
const fields = () => {
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

/**
 * The members of `after` that differ from `before`. Day and time of a due date are sent together with the time zone, so that
 * "every day at 9" means local time.
 */
const differences = (before, after) => {
  const names = Object.keys(after).filter((name) => JSON.stringify(after[name]) !== JSON.stringify(before[name]))
  const { due_at, due_date } = after
  const isMoved = names.includes("due_date") || names.includes("due_at")
  const hasTime = isMoved && due_at !== null
  return {
    ...Object.fromEntries(names.map((name) => [name, after[name]])),
    ...(isMoved && { due_date, due_at }),
    ...((hasTime || (names.includes("repeat") && after.repeat)) && { time_zone: timeZone })
  }
}

/**
 * Shows the dialog until the task is saved or the dialog is cancelled. Refused input stays in the fields. Returns the previous
 * task with the `patch` that was made, if any, or the request to delete it.
 */
export const edit = async (id) => {
  let shownTask = await read(id)
  let problem = ""
  for (;;) {
    const { before, task, version } = shownTask
    form.querySelector(".problem").textContent = problem
    const choice = await shown(dialog)
    const patch = differences(before, fields())
    if (choice === "delete") return { task, isDeleted: true }
    if (choice !== "save" || Object.keys(patch).length === 0) return { task }
    try {
      await request("PATCH", `tasks/${id}`, { body: patch, headers: { "if-match": version } })
      return { task, patch }
    } catch (error) {
      if (error.code === "invalid_request") problem = error.about.errors.map(({ message }) => message).join("; ")
      else if (error.code === "task_changed") {
        shownTask = await read(id)
        problem = "It changed in the meantime. This is how it is now."
      } else throw error
    }
  }
}
