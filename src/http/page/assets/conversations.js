/* The list of conversations. The id of the open one is in the URL, so that a reload keeps it. */

import { call } from "./api.js"
import * as chat from "./chat.js"
import { $, ask, h, orSay } from "./dom.js"

let conversations = []
let next = null
let openId = null

const titleOf = ({ title }) => title ?? "Without a title"

const idInAddress = () => Number(new URLSearchParams(location.hash.slice(1)).get("conversation")) || null

/** Marks the open conversation in the list. */
const mark = (id) => {
  openId = id
  const hash = id === null ? "" : `#conversation=${id}`
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname)
  render()
}

const open = (id) => {
  mark(id)
  delete document.body.dataset.open
  return chat.open(id)
}

const render = () => {
  const wanted = $("find").value.trim().toLowerCase()
  const found = conversations.filter((one) => titleOf(one).toLowerCase().includes(wanted))
  const current = conversations.find(({ id }) => id === openId)
  const nothing = wanted === "" ? "No conversations yet" : "No title has these words"
  $("title").textContent = current ? titleOf(current) : "New conversation"
  $("conversation-list").replaceChildren(...found.map(row))
  $("conversation-note").replaceChildren(
    found.length > 0 ? "" : nothing,
    next === null ? "" : h("button", { class: "plain", click: () => orSay(more()) }, "Show more")
  )
}

const row = (one) => {
  const icon = (what, sign, click) =>
    h("button", { class: "icon", "aria-label": `${what} “${titleOf(one)}”`, click: () => click(one) }, sign)
  const current = one.id === openId && "true"
  return h(
    "li",
    {},
    h("button", { class: "open", "aria-current": current, click: () => open(one.id) }, titleOf(one)),
    icon("Rename", "✎", rename),
    icon("Delete", "×", remove)
  )
}

const load = async (cursor) => {
  const query = cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""
  const page = await call("GET", `conversations?limit=100${query}`)
  next = page.next_cursor
  return page.conversations
}

const refresh = async () => {
  conversations = await load()
  render()
}

const more = async () => {
  const page = await load(next)
  const known = new Set(conversations.map(({ id }) => id))
  conversations = [...conversations, ...page.filter(({ id }) => !known.has(id))]
  render()
}

/** A search covers the titles of the latest thousand conversations. */
const search = async () => {
  render()
  while ($("find").value !== "" && next !== null && conversations.length < 1000) await more()
}

const rename = async (one) => {
  const title = await ask({ title: "Rename the conversation", yes: "Rename", value: titleOf(one) })
  if (title === null || title.trim() === "") return
  await orSay(call("PATCH", `conversations/${one.id}`, { title }).then(refresh))
}

const remove = async (one) => {
  const text = `“${titleOf(one)}” and its messages will be gone. The tasks stay.`
  if ((await ask({ title: "Delete the conversation?", text, yes: "Delete", isDanger: true })) === null) return
  const gone = async () => {
    if (one.id === openId) await open(null)
    await refresh()
  }
  await orSay(call("DELETE", `conversations/${one.id}`).then(gone))
}

export const start = () => Promise.all([orSay(refresh()), open(idInAddress())])

$("new").addEventListener("click", () => open(null))
$("find").addEventListener("input", () => orSay(search()))
addEventListener("popstate", () => open(idInAddress()))
addEventListener("conversations", ({ detail }) => {
  if (detail) mark(detail.id)
  orSay(refresh())
})
