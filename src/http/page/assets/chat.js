/* The messages of one conversation, the turn that runs in it, and the field to write in. */

import { call, isDisconnected } from "./api.js"
import { $, h, tell, toast } from "./dom.js"
import { cancel, follow, say } from "./turns.js"
import * as words from "./words.js"

const suggestions = ["Add buy milk and call the bank tomorrow at 9", "What is due this week?", "Which tasks are open?"]

const log = $("log")
const field = $("message")

/** Which conversation is shown; its number grows with each, so that what is read for an earlier one is dropped. */
const shown = { id: null, number: 0 }

/** The turn that is being read, if one is; it has no id before its first event. */
let running = null

const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80
const scrollToEnd = () => log.scrollTo({ top: log.scrollHeight })

/** Changes the log, and keeps its end in view if it was. */
const append = (change) => {
  const follows = isAtEnd()
  change()
  if (follows) scrollToEnd()
}

const setRunning = (turn) => {
  running = turn
  $("send").hidden = turn !== null
  $("stop").hidden = turn === null
  $("stop").disabled = false
  if (turn === null) showCut(false)
}

const showCut = (isCut) => {
  $("connection").hidden = !isCut
  $("connection").textContent = isCut ? "The connection is broken. Nothing is lost; trying again …" : ""
}

const userMessage = (text) =>
  h("article", { class: "message user" }, h("p", { class: "visually-hidden" }, "You said:"), h("div", {}, text))

/** An answer in the making, or a kept one: texts and tool calls, in the order in which they came. */
class Answer {
  constructor() {
    this.parts = h("div", { class: "parts" })
    this.foot = h("footer")
    this.element = h(
      "article",
      { class: "message assistant" },
      h("p", { class: "visually-hidden" }, "taskchat answered:"),
      this.parts,
      this.foot
    )
    this.calls = new Map()
    this.hasChanged = false
  }

  /** While it is busy, screen readers wait, and read it once as a whole. */
  busy(isBusy) {
    this.element.setAttribute("aria-busy", isBusy)
    this.waiting?.remove()
    this.waiting = isBusy ? h("span", { class: "waiting", role: "img", "aria-label": "Working" }) : undefined
    if (this.waiting) this.parts.append(this.waiting)
  }

  add(part) {
    this.parts.append(part)
    if (this.waiting) this.parts.append(this.waiting)
  }

  text(piece) {
    // Between the texts of two steps there are empty lines, which paragraphs need not show.
    const text = this.paragraph === undefined ? piece.trimStart() : piece
    if (text === "") return
    if (this.paragraph === undefined) {
      this.paragraph = h("p")
      this.add(this.paragraph)
    }
    this.paragraph.append(text)
    if (this.waiting) this.paragraph.append(this.waiting)
  }

  call(tool) {
    this.paragraph = undefined
    const before = this.calls.get(tool.id)
    const { duration_ms, parameters, result } = tool
    const state = result === undefined ? "running" : result.status === "error" ? "error" : "done"
    const element = h(
      "details",
      { class: `call ${state}` },
      h("summary", {}, words.toolCall(tool)),
      h("pre", { tabindex: "0" }, JSON.stringify({ tool: tool.tool, parameters, result, duration_ms }, null, 2))
    )
    if (before === undefined) this.add(element)
    else before.replaceWith(element)
    this.calls.set(tool.id, element)
    if (!words.isChange(tool)) return
    this.hasChanged = true
  }

  /** What can be done with it now that it is over. */
  end({ detail, onRetry, status, turnId }) {
    this.busy(false)
    // A call whose turn ended before it did has come to nothing.
    for (const element of this.parts.querySelectorAll(".running")) element.className = "call error"
    const problem =
      status === "completed" ? null : h("p", { class: "problem" }, detail ?? words.ending[status] ?? "It failed.")
    const undo = this.hasChanged && h("button", { class: "plain", click: () => this.undo(turnId) }, "Undo")
    const retry = onRetry && h("button", { class: "plain", click: onRetry }, "Try again")
    this.foot.replaceChildren(...[problem, retry, undo].filter(Boolean))
  }

  async undo(turnId) {
    try {
      const { reverted } = await call("POST", `turns/${turnId}/undo`)
      this.foot.querySelector("button:last-child").replaceWith(h("p", { class: "note" }, "Undone"))
      toast(reverted.length === 1 ? "One change was taken back." : `${reverted.length} changes were taken back.`)
      tell("tasks")
    } catch (error) {
      const titles = error.about?.tasks?.map(({ title }) => `“${title}”`).join(", ")
      toast(titles ? `Not undone: ${titles} changed since.` : (error.detail ?? "The service does not answer."))
    }
  }
}

/** Reads a turn into an answer, to its end or until another conversation is shown. */
const read = async (events, answer, { message }) => {
  const { number } = shown
  const turn = { id: null }
  const status = { turn_cancelled: "cancelled", agent_timeout: "timed_out", turn_interrupted: "interrupted" }
  const onRetry = () => {
    answer.element.querySelector("footer").replaceChildren()
    send(message)
  }
  setRunning(turn)
  answer.busy(true)
  try {
    for await (const { code, content, conversation_id, done, error, event, tool_call, turn_id } of events) {
      if (number !== shown.number) return
      append(() => {
        if (event === "turn") {
          turn.id = turn_id
          if (turn.isStopped) cancel(turn.id)
          if (shown.id === null) tell("conversations", { id: conversation_id })
          shown.id = conversation_id
        } else if (tool_call) {
          answer.call(tool_call)
          if (words.isChange(tool_call)) tell("tasks")
        } else if (content) answer.text(content)
        if (!done) return
        answer.end(
          error
            ? { status: status[code] ?? "failed", detail: error, turnId: turn.id, onRetry }
            : { status: "completed", turnId: turn.id }
        )
      })
    }
  } catch (error) {
    if (number !== shown.number) return
    append(() => answer.end({ status: "failed", detail: error.detail ?? String(error), onRetry }))
  }
  if (number !== shown.number) return
  setRunning(null)
  tell("conversations")
}

const cutIn = (number) => (isCut) => {
  if (number === shown.number) showCut(isCut)
}

const send = (message) => {
  if (message.trim() === "" || running !== null) return
  const answer = new Answer()
  log.querySelector(".empty")?.remove()
  log.append(userMessage(message), answer.element)
  scrollToEnd()
  read(say(message, shown.id, cutIn(shown.number)), answer, { message })
}

const empty = () =>
  h(
    "div",
    { class: "empty" },
    h("h2", {}, "What do you want to get done?"),
    h("p", {}, "Write it as you would say it. Tasks appear beside the conversation."),
    h("div", { class: "suggestions" }, ...suggestions.map((text) => h("button", { click: () => send(text) }, text)))
  )

/** A kept message; of older ones it is not known between which words their calls came. */
const kept = (message, isLast) => {
  if (message.role === "user") return userMessage(message.content)
  const answer = new Answer()
  const calls = new Map((message.tool_calls ?? []).map((tool) => [tool.id, tool]))
  const parts = message.parts ?? [
    ...Array.from(calls.keys(), (id) => ({ type: "tool_call", id })),
    { type: "text", text: message.content }
  ]
  for (const { id, text, type } of parts) {
    if (type === "text") answer.text(text)
    else if (calls.has(id)) answer.call(calls.get(id))
  }
  answer.end({ status: message.status, turnId: message.turn_id, ...(isLast && retryOf(message)) })
  return answer.element
}

/** An unfinished answer at the end can be tried again with what was said before it. */
const retryOf = ({ status }) => status !== "completed" && { onRetry: () => send(lastSaid) }
let lastSaid = ""

const page = (id, before) => call("GET", `conversations/${id}/messages?include=parts&limit=50&before=${before}`)

const earlier = (id, { has_more, messages }) => {
  if (!has_more) return []
  const load = async () => {
    const { number } = shown
    const before = await page(id, messages[0].sequence_number)
    if (number !== shown.number) return
    const height = log.scrollHeight
    button.replaceWith(...earlier(id, before), ...before.messages.map((message) => kept(message, false)))
    log.scrollTop += log.scrollHeight - height
  }
  const button = h("button", { class: "plain earlier", click: load }, "Show earlier messages")
  return [button]
}

/** Shows a conversation, and reads on a turn that still runs in it; null begins a new one. */
export const open = async (id) => {
  const number = ++shown.number
  shown.id = id
  setRunning(null)
  if (id === null) {
    log.replaceChildren(empty())
    return field.focus()
  }
  log.replaceChildren(h("p", { class: "note loading" }, "Loading …"))
  try {
    const found = await page(id, Number.MAX_SAFE_INTEGER)
    if (number !== shown.number) return
    const { messages } = found
    lastSaid = messages.findLast(({ role }) => role === "user")?.content ?? ""
    log.replaceChildren(
      ...earlier(id, found),
      ...messages.map((message, at) => kept(message, at === messages.length - 1))
    )
    scrollToEnd()
    await resume(messages.at(-1), number)
  } catch (error) {
    if (number !== shown.number) return
    const detail = isDisconnected(error) ? "The service does not answer." : error.detail
    const retry = h("button", { click: () => open(id) }, "Try again")
    log.replaceChildren(h("div", { class: "empty" }, h("p", { class: "problem" }, detail), retry))
  }
}

/** What became of a message that has no answer yet. */
const resume = async (last, number) => {
  if (last?.role !== "user") return
  const turn = await call("GET", `turns/${last.turn_id}`)
  if (number !== shown.number || turn.status === "completed") return
  const answer = new Answer()
  append(() => log.append(answer.element))
  if (turn.status === "running") return read(follow(turn.turn_id, cutIn(number)), answer, { message: last.content })
  const { detail } = turn.error ?? {}
  answer.end({ status: turn.status, detail, turnId: turn.turn_id, onRetry: () => send(last.content) })
}

const stop = async () => {
  $("stop").disabled = true
  running.isStopped = true
  if (running.id !== null) await cancel(running.id).catch(() => ($("stop").disabled = false))
}

const submit = (event) => {
  event.preventDefault()
  if (running !== null) return
  send(field.value)
  field.value = ""
  field.dispatchEvent(new Event("input"))
}

$("composer").addEventListener("submit", submit)
$("stop").addEventListener("click", stop)
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event)
  if (event.key === "Escape" && running !== null) stop()
})
