/* One answer: its texts and tool calls in order, and the actions after its end. */

import { call, tell } from "./api.js"
import { h, toast } from "./dom.js"
import * as words from "./words.js"

/** The titles of a call's tasks, if they are found. */
const titlesOf = async (parameters) => {
  const { task_id, task_ids } = parameters ?? {}
  const ids = [task_id, task_ids].flat().filter(Number.isInteger)
  const tasks = await Promise.all(ids.map((id) => call("GET", `tasks/${id}`).catch(() => null)))
  return tasks.filter((task) => task !== null).map(({ title }) => title)
}

export class Answer {
  constructor() {
    this.parts = h("div", { class: "parts" })
    this.foot = h("footer")
    const who = h("p", { class: "visually-hidden" }, "taskchat answered:")
    this.element = h("article", { class: "message assistant" }, who, this.parts, this.foot)
    this.waiting = h("span", { class: "waiting", role: "img", "aria-label": "Working" })
    this.calls = new Map()
    this.hasChanged = false
  }

  /** While the answer is incomplete, screen readers wait, and then read it once. */
  begin() {
    this.element.setAttribute("aria-busy", "true")
    this.parts.append(this.waiting)
    this.isRunning = true
  }

  text(piece) {
    // The texts of two steps are separated by empty lines, which paragraphs do not need.
    const text = this.paragraph === undefined ? piece.trimStart() : piece
    if (text === "") return
    this.paragraph ??= this.add(h("p"))
    this.paragraph.append(text)
    if (this.isRunning) this.paragraph.append(this.waiting)
  }

  call({ duration_ms, id, parameters, result, tool }) {
    this.paragraph = undefined
    const state = result === undefined ? "running" : result.status === "error" ? "error" : "done"
    const element = h(
      "details",
      { class: `call ${state}` },
      h("summary", {}, words.toolCall({ parameters, result, tool })),
      h("pre", { tabindex: "0" }, JSON.stringify({ tool, parameters, result, duration_ms }, null, 2))
    )
    const before = this.calls.get(id)
    if (before === undefined) this.add(element)
    else before.replaceWith(element)
    this.calls.set(id, element)
    this.hasChanged ||= words.isChange({ result, tool })
  }

  /** Calls that await the user's approval. `onDecide` gets the decision. */
  wait(calls, onDecide) {
    for (const { parameters, tool } of calls) {
      const text = h("p", {}, words.awaitingCall({ parameters, tool }))
      this.add(h("div", { class: "awaiting-call" }, text))
      titlesOf(parameters).then((titles) => text.replaceChildren(words.awaitingCall({ parameters, titles, tool })))
    }
    const decide = (decision) => () => onDecide(decision)
    this.add(
      h(
        "div",
        { class: "decision", role: "group", "aria-label": "Shall it be done?" },
        h("button", { class: "primary", click: decide("approve") }, "Approve"),
        h("button", { class: "plain", click: decide("decline") }, "Decline")
      )
    )
  }

  add(part) {
    this.parts.append(part)
    if (this.isRunning) this.parts.append(this.waiting)
    return part
  }

  /** Shows the end of the turn: the reason if it was not completed, with a retry if the message is known. */
  end({ detail, onRetry, status, turnId }) {
    this.isRunning = false
    this.element.removeAttribute("aria-busy")
    this.waiting.remove()
    // A call that was running at the end of its turn has no effect.
    for (const element of this.parts.querySelectorAll(".running")) element.className = "call error"
    const button = (text, click) => h("button", { class: "plain", click }, text)
    const retry = () => {
      this.foot.replaceChildren()
      onRetry()
    }
    const offered = [
      status !== "completed" && h("p", { class: "problem" }, detail ?? words.ending[status]),
      status !== "completed" && onRetry && button("Try again", retry),
      this.hasChanged && button("Undo", ({ target }) => this.undo(turnId, target))
    ]
    this.foot.replaceChildren(...offered.filter(Boolean))
  }

  async undo(turnId, button) {
    try {
      const { reverted } = await call("POST", `turns/${turnId}/undo`)
      button.replaceWith(h("p", { class: "note" }, "Undone"))
      toast(reverted.length === 1 ? "One change was taken back." : `${reverted.length} changes were taken back.`)
      tell("tasks")
    } catch ({ about, message }) {
      const titles = about?.tasks?.map(({ title }) => `“${title}”`).join(", ")
      toast(titles ? `Not undone: ${titles} changed since.` : message)
    }
  }
}
