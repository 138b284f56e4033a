import { hasToken, setToken, takeToken } from "./api.js"
import * as conversations from "./conversations.js"
import { $ } from "./dom.js"
import * as tasks from "./tasks.js"

const start = () => {
  $("sign-in").hidden = true
  $("app").hidden = false
  tasks.refresh()
  return conversations.start()
}

const signOut = (reason) => {
  setToken(null)
  $("app").hidden = true
  $("sign-in").hidden = false
  if (reason) $("sign-in-note").textContent = reason
  $("token").focus()
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault()
  setToken($("token").value.trim())
  $("token").value = ""
  start()
})
$("leave").addEventListener("click", () => signOut())
addEventListener("signed-out", ({ detail }) => signOut(detail ?? "The token is no longer accepted."))

// On small screens, one of the lists covers the conversation at a time.
const show = (name) => {
  document.body.dataset.open = name
  $(name).querySelector("[data-close]").focus()
}
const hide = () => {
  const name = document.body.dataset.open
  delete document.body.dataset.open
  document.querySelector(`button[data-open=${name}]`)?.focus()
}
for (const button of document.querySelectorAll("button[data-open]")) {
  button.addEventListener("click", () => show(button.dataset.open))
}
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", hide)
addEventListener("keydown", ({ key }) => {
  const hasDialog = document.querySelector("dialog[open]") !== null
  if (key === "Escape" && !hasDialog && document.body.dataset.open !== undefined) hide()
})

$("offline-model").hidden = document.querySelector("meta[name=taskchat-model]").content !== "offline"

takeToken()
if (hasToken()) start()
else signOut()
