/**
 * Removes the reasoning that some servers send in the text, between `<think>` and `</think>` at its beginning. Later
 * tags are normal text, because the user may have asked about them.
 */
export interface Thinking {
  /** `before` the first word of the answer, `inside` a block, or in the `text` after all blocks. */
  readonly at: "before" | "inside" | "text"
  /** Text that may be the beginning of a tag. */
  readonly held: string
  readonly tag: string
}

export const start: Thinking = { at: "before", held: "", tag: "" }

const text: Thinking = { at: "text", held: "", tag: "" }

const tags = ["think", "thinking", "thought", "reasoning"]

/** `seen` is the visible text that `delta` adds. */
export const next = (thinking: Thinking, delta: string): readonly [thinking: Thinking, seen: string] => {
  if (thinking.at === "text" || delta === "") return [thinking, delta]
  let { at, held, tag } = { ...thinking, held: thinking.held + delta }
  for (;;) {
    if (at === "inside") {
      const close = `</${tag}>`
      const end = held.indexOf(close)
      if (end < 0) return [{ at, held: held.slice(-(close.length - 1)), tag }, ""]
      at = "before"
      held = held.slice(end + close.length)
    } else {
      held = held.trimStart()
      const open = tags.find((name) => held.startsWith(`<${name}>`))
      if (open === undefined) {
        if (tags.some((name) => `<${name}>`.startsWith(held))) return [{ at, held, tag }, ""]
        return [text, held]
      }
      at = "inside"
      tag = open
      held = held.slice(open.length + 2)
    }
  }
}

/** The held text, which is not a tag because nothing follows. */
export const end = ({ at, held }: Thinking): string => (at === "before" ? held : "")
