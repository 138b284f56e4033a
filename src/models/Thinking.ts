/**
 * Text without the thoughts that some servers leave in it, between `<think>` and `</think>` at its beginning. Tags
 * further on are text like any other: somebody may have asked about them.
 */
export interface Thinking {
  /** `before` the answer's first word, `inside` a block, or in the `text` after all of them. */
  readonly at: "before" | "inside" | "text"
  /** What cannot be told yet: the beginning of a tag, perhaps. */
  readonly held: string
  readonly tag: string
}

export const start: Thinking = { at: "before", held: "", tag: "" }

const text: Thinking = { at: "text", held: "", tag: "" }

const tags = ["think", "thinking", "thought", "reasoning"]

/** What `delta` adds to the text that is to be seen. */
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

/** What was held back and is no tag, now that nothing follows. */
export const end = ({ at, held }: Thinking): string => (at === "before" ? held : "")
