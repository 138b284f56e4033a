import { length } from "./Json.ts"

const accents = /[\u0300-\u036f\p{Default_Ignorable_Code_Point}]/gu

/**
 * Text as it is searched: letters without case, accents and invisible characters, in every script that has them, and what
 * merely looks different (full-width letters, ligatures) alike.
 */
export const fold = (text: string): string =>
  text.normalize("NFKD").replace(accents, "").toUpperCase().toLowerCase().replaceAll("ς", "σ").normalize("NFC")

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
