/* The list of conversations, and which of them is open: its id is in the address, so that a reload keeps it. */

import { call } from "./api.js"
import * as chat from "./chat.js"
import { $, ask, h, toast } from "./dom.js"

let conversations = []
let next = null
let openId = null

const titleOf = ({ title }) => title ?? "Without a title"

const idInAddress = () => Number(new URLSearchParams(location.hash.slice(1)).get("conversation")) || null

/** Shows which one is open, without opening it. */
const mark = (id) => {
  openId = id
  const hash = id === null ? "" : `#conversation=${id}`
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname)
  render()
}

export const open = (id) => {
  mark(id)
  delete document.body.dataset.open
  return chat.open(id)
}

const render = () => {
  const wanted = $("find").value.trim().toLowerCase()
  const found = conversations.filter((one) => titleOf(one).toLowerCase().includes(wanted))
  const current = conversations.find(({ id }) => id === openId)
  $("title").textContent = current ? titleOf(current) : "New conversation"
  $("conversation-list").replaceChildren(...found.map(row))
  $("conversation-note").replaceChildren(
    found.length > 0 ? "" : wanted === "" ? "No conversations yet" : "None is called that",
    next === null ? "" : h("button", { class: "plain", click: more }, "Show more")
  )
}

const row = (one) =>
  h(
    "li",
    {},
    h(
      "button",
      { class: "open", "aria-current": one.id === openId ? "true" : null, click: () => open(one.id) },
      titleOf(one)
    ),
    h("button", { class: "icon", "aria-label": `Rename “${titleOf(one)}”`, click: () => rename(one) }, "✎"),
    h("button", { class: "icon", "aria-label": `Delete “${titleOf(one)}”`, click: () => remove(one) }, "×")
  )

/** What a service says that refuses; nothing is lost. */
const orSay = (promise) => promise.catch((error) => toast(error.detail ?? "The service does not answer."))

const load = (cursor) => call("GET", `conversations?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`)

export const refresh = () =>
  orSay(
    load().then((page) => {
      conversations = page.conversations
      next = page.next_cursor
      render()
    })
  )

const more = async () => {
  const page = await load(next)
  const known = new Set(conversations.map(({ id }) => id))
  conversations = [...conversations, ...page.conversations.filter(({ id }) => !known.has(id))]
  next = page.next_cursor
  render()
}

/** A search looks at the titles of the thousand latest. */
const search = async () => {
  render()
  while ($("find").value !== "" && next !== null && conversations.length < 1000) await more()
}

const rename = async (one) => {
  const title = await ask({ title: "Rename the conversation", yes: "Rename", value: titleOf(one) })
  if (title === null || title.trim() === "") return
  await orSay(call("PATCH", `conversations/${one.id}`, { title }))
  await refresh()
}

const remove = async (one) => {
  const text = `“${titleOf(one)}” and its messages will be gone. The tasks stay.`
  if ((await ask({ title: "Delete the conversation?", text, yes: "Delete", isDanger: true })) === null) return
  await orSay(call("DELETE", `conversations/${one.id}`))
  if (one.id === openId) await open(null)
  await refresh()
}

export const start = async () => {
  await Promise.all([refresh(), open(idInAddress())])
}

$("new").addEventListener("click", () => open(null))
$("find").addEventListener("input", () => orSay(search()))
addEventListener("popstate", () => open(idInAddress()))
addEventListener("conversations", ({ detail }) => {
  if (detail) mark(detail.id)
  refresh()
})
