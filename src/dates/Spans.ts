import { partsAt } from "./Grammar.ts"
import type { Part } from "./Parts.ts"
import { Cursor, tokensOf } from "./Tokens.ts"

/** A run of words that all belong to dates, by its place in the text. */
export interface DateSpan {
  readonly start: number
  readonly end: number
  /** How many words it has. */
  readonly words: number
}

/** The longest runs of words in a text that are dates by themselves, in one pass over it. */
export const dateSpans = (text: string): ReadonlyArray<DateSpan> => {
  const tokens = tokensOf(text)
  const cursor = new Cursor(tokens)
  const spans: Array<DateSpan> = []
  let first: number | null = null
  let before: Part | undefined
  const close = () => {
    const [start, end] = [tokens[first ?? 0]?.start ?? 0, tokens[cursor.at - 1]?.end ?? 0]
    if (first !== null) spans.push({ start, end, words: cursor.at - first })
    first = null
    before = undefined
  }
  while (!cursor.done) {
    const at = cursor.at
    const parts = partsAt(cursor, before)
    if (parts === undefined) {
      close()
      cursor.at++
    } else {
      first ??= at
      before = parts.at(-1)
    }
  }
  close()
  return spans
}
