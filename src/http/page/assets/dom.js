/* Elements, dialogs, and short messages at the bottom of the page. */

/** The element of the page with this id. */
export const $ = (id) => document.getElementById(id)

/**
 * Creates an element. Attributes that are functions are listeners for the event of that name. Attributes and children that
 * are null, undefined or false are left out. Children are elements or text. Text is never parsed as HTML.
 */
export const h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value)
    else if (isThere(value)) element.setAttribute(name, value === true ? "" : value)
  }
  element.append(...children.filter(isThere))
  return element
}

const isThere = (value) => value !== null && value !== undefined && value !== false

let hiding

/** Shows a message for a few seconds, or longer with an undo button, so that there is time to press it. */
export const toast = (text, undo) => {
  const hide = () => $("toast").replaceChildren()
  const take = () => {
    hide()
    undo()
  }
  clearTimeout(hiding)
  $("toast").replaceChildren(
    h("div", {}, h("span", {}, text), undo && h("button", { class: "plain", click: take }, "Undo"))
  )
  hiding = setTimeout(hide, undo ? 30_000 : 8000)
}

/** Shows the reason of a refusal, and returns undefined. */
export const orSay = (promise) => promise.catch(({ message }) => toast(message))

// Enter in a field presses the first submit button of a form, which must be the confirming one.
for (const button of document.querySelectorAll("dialog button[type=button]")) {
  button.addEventListener("click", () => button.closest("dialog").close(button.value))
}

/** Shows a dialog and returns the value of the pressed button. */
export const shown = (dialog) =>
  new Promise((resolve) => {
    dialog.returnValue = "cancel"
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true })
    dialog.showModal()
  })

/** Asks a question. Returns null if cancelled, or the entered text if `value` is given. */
export const ask = async ({ title, text = "", yes, value, isDanger }) => {
  const dialog = $("ask")
  const [field] = dialog.getElementsByTagName("input")
  const button = dialog.querySelector("[value=yes]")
  $("ask-title").textContent = title
  dialog.querySelector("p").textContent = text
  button.textContent = yes
  button.className = isDanger ? "danger" : "primary"
  field.parentElement.hidden = value === undefined
  field.value = value ?? ""
  return (await shown(dialog)) === "yes" ? field.value : null
}
