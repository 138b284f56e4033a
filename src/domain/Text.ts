import { length } from "./Json.ts"

const accents = /[\u0300-\u036f\p{Default_Ignorable_Code_Point}]/gu

/**
 * Folds text for search. It ignores case, accents and invisible characters in every script, and treats compatible
 * characters (full-width letters, ligatures) as equal.
 */
export const fold = (text: string): string =>
  text.normalize("NFKD").replace(accents, "").toUpperCase().toLowerCase().replaceAll("ς", "σ").normalize("NFC")

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" })

/** The longest prefix of at most `max` code points that does not cut a grapheme. */
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
