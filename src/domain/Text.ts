import { length } from "./Json.ts"

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" })

/** The longest beginning of at most `max` characters (code points) that ends between what people see as characters. */
export const beginning = (text: string, max: number): string => {
  let kept = 0
  let count = 0
  for (const { segment } of graphemes.segment(text)) {
    count += length(segment)
    if (count > max) break
    kept += segment.length
  }
  return text.slice(0, kept)
}
