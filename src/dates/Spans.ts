import { partsAt } from "./Grammar.ts"
import type { Part } from "./Parts.ts"
import { Cursor, tokensOf } from "./Tokens.ts"

/** The position in a text of a run of words that all belong to dates. */
export interface DateSpan {
  readonly start: number
  readonly end: number
  readonly wordCount: number
}

/** The longest runs of words that are dates, found in one pass over the text. */
export const dateSpans = (text: string): ReadonlyArray<DateSpan> => {
  const tokens = tokensOf(text)
  const cursor = new Cursor(tokens)
  const spans: Array<DateSpan> = []
  let first: number | null = null
  let before: Part | undefined
  const close = () => {
    const [start, end] = [tokens[first ?? 0]?.start ?? 0, tokens[cursor.at - 1]?.end ?? 0]
    if (first !== null) spans.push({ start, end, wordCount: cursor.at - first })
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
