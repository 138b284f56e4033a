/* The messages of one conversation, its running turn, and the input field. */

import { Answer } from "./answer.js"
import { call, tell } from "./api.js"
import { $, h } from "./dom.js"
import { cancel, decide, follow, say } from "./turns.js"
import { isChange } from "./words.js"

const suggestions = ["Add buy milk and call the bank tomorrow at 9", "What is due this week?", "Which tasks are open?"]

const log = $("log")
const field = $("message")

/** The shown conversation. When another one is opened, pending reads for this one are dropped. */
let shown = { id: null }

/** The turn that is being read, if any. It has no id before its first event. */
let running = null

const scrollToEnd = () => log.scrollTo({ top: log.scrollHeight })

/** Changes the log, and keeps its end in view if it was in view. */
const append = (change) => {
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80
  change()
  if (isAtEnd) scrollToEnd()
}

const showRunning = (turn) => {
  running = turn
  $("send").hidden = turn !== null
  $("stop").hidden = turn === null
  $("stop").disabled = false
  $("connection").hidden = true
}

const userMessage = (text) =>
  h("article", { class: "message user" }, h("p", { class: "visually-hidden" }, "You said:"), h("div", {}, text))

const endings = { turn_cancelled: "cancelled", agent_timeout: "timed_out", turn_interrupted: "interrupted" }

/** Removes the buttons of decided calls. */
const stopWaiting = () => {
  for (const element of log.querySelectorAll(".awaiting-call, .decision")) element.remove()
}

const decided = { approve: "Approve", decline: "Decline" }

/** Offers to approve or decline the awaiting calls of a turn. */
const offer = (answer, turnId, calls) =>
  answer.wait(calls, (decision) => {
    if (running !== null) return
    const next = new Answer()
    log.append(userMessage(decided[decision]), next.element)
    scrollToEnd()
    read((onCut) => decide(turnId, decision, onCut), next)
  })

/** Reads a turn into an answer, to its end or until another conversation is shown. */
const read = async (open, answer, onRetry) => {
  const conversation = shown
  const isShown = () => conversation === shown
  const onCut = (isCut) => {
    if (!isShown()) return
    $("connection").hidden = !isCut
    $("connection").textContent = "The connection is broken. Nothing is lost; trying again …"
  }
  const turn = { id: null }
  showRunning(turn)
  stopWaiting()
  answer.begin()
  try {
    for await (const { awaiting, code, content, conversation_id, done, error, event, tool_call, turn_id } of open(
      onCut
    )) {
      if (!isShown()) return
      if (event === "turn") {
        turn.id = turn_id
        if (turn.isStopped) stop()
        if (conversation.id === null) tell("conversations", { id: conversation_id })
        conversation.id = conversation_id
      }
      append(() => {
        if (tool_call) answer.call(tool_call)
        else if (content) answer.text(content)
        const status = error ? (endings[code] ?? "failed") : "completed"
        if (done) answer.end({ status, detail: error, turnId: turn.id, onRetry })
        if (awaiting) offer(answer, turn.id, awaiting)
      })
      if (tool_call && isChange(tool_call)) tell("tasks")
    }
  } catch ({ message }) {
    if (isShown()) append(() => answer.end({ status: "failed", detail: message, onRetry }))
  }
  if (!isShown()) return
  showRunning(null)
  tell("conversations")
}

const send = (message) => {
  if (message.trim() === "" || running !== null) return
  const answer = new Answer()
  log.querySelector(".empty")?.remove()
  log.append(userMessage(message), answer.element)
  scrollToEnd()
  read(
    (onCut) => say(message, shown.id, onCut),
    answer,
    () => send(message)
  )
}

const empty = () =>
  h(
    "div",
    { class: "empty" },
    h("h2", {}, "What do you want to get done?"),
    h("p", {}, "Write it as you would say it. Tasks appear beside the conversation."),
    h("div", { class: "suggestions" }, ...suggestions.map((text) => h("button", { click: () => send(text) }, text)))
  )

/** A stored message, with the end of its turn if known. */
const kept = ({ awaiting, content, parts, role, status, tool_calls, turn_id }, ending) => {
  if (role === "user") return userMessage(content)
  const answer = new Answer()
  for (const { id, text, type } of parts) {
    if (type === "text") answer.text(text)
    else answer.call(tool_calls.find((tool) => tool.id === id))
  }
  answer.end({ status, turnId: turn_id, ...ending })
  if (awaiting) offer(answer, turn_id, awaiting)
  return answer.element
}

const page = (id, before = Number.MAX_SAFE_INTEGER) =>
  call("GET", `conversations/${id}/messages?include=parts&limit=50&before=${before}`)

/** A page of messages, with a button for earlier ones. `ending` belongs to the last message. */
const pageOf = ({ has_more, messages }, ending) => {
  const conversation = shown
  const load = async () => {
    const before = await page(conversation.id, messages[0].sequence_number)
    if (conversation !== shown) return
    const height = log.scrollHeight
    button.replaceWith(...pageOf(before))
    log.scrollTop += log.scrollHeight - height
  }
  const button = h("button", { class: "plain earlier", click: load }, "Show earlier messages")
  const shownMessages = messages.map((message, i) => kept(message, i === messages.length - 1 && ending))
  return has_more ? [button, ...shownMessages] : shownMessages
}

/** Shows a conversation and reads its running turn. Null begins a new conversation. */
export const open = async (id) => {
  const conversation = { id }
  shown = conversation
  showRunning(null)
  if (id === null) {
    log.replaceChildren(empty())
    return field.focus()
  }
  log.replaceChildren(h("p", { class: "note loading" }, "Loading …"))
  try {
    const found = await page(id)
    const last = found.messages.at(-1)
    // If the answer is missing or incomplete, its turn has the reason.
    const isOpen = last !== undefined && (last.role === "user" || last.status !== "completed")
    const turn = isOpen ? await call("GET", `turns/${last.turn_id}`) : null
    if (conversation !== shown) return
    const lastSaid = found.messages.findLast(({ role }) => role === "user")
    const ending = { detail: turn?.error?.detail, onRetry: lastSaid && (() => send(lastSaid.content)) }
    log.replaceChildren(...pageOf(found, ending))
    scrollToEnd()
    if (last?.role === "user") resume(turn, ending)
  } catch ({ message }) {
    if (conversation !== shown) return
    const retry = h("button", { click: () => open(id) }, "Try again")
    log.replaceChildren(h("div", { class: "empty" }, h("p", { class: "problem" }, message), retry))
  }
}

/** Shows the turn of a message that has no answer yet. */
const resume = ({ status, turn_id }, ending) => {
  if (status === "completed") return
  const answer = new Answer()
  append(() => log.append(answer.element))
  if (status === "running") read((onCut) => follow(turn_id, onCut), answer, ending.onRetry)
  else answer.end({ status, turnId: turn_id, ...ending })
}

/** A turn without an id is stopped as soon as it has one. */
const stop = () => {
  $("stop").disabled = true
  running.isStopped = true
  if (running.id === null) return
  cancel(running.id).catch(() => {
    $("stop").disabled = false
  })
}

const submit = (event) => {
  event.preventDefault()
  if (running !== null) return
  send(field.value)
  field.value = ""
}

$("composer").addEventListener("submit", submit)
$("stop").addEventListener("click", stop)
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event)
  if (event.key === "Escape" && running !== null) stop()
})
