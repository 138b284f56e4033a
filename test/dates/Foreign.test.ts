import { assert, it } from "@effect/vitest"
import { foreignDay } from "../../src/dates/Foreign.ts"

const languages = "ar cs da de el es fa fi fr hi hu id it ja ko nb nl pl pt ro ru sv th tr uk vi zh".split(" ")

/** "today", "tomorrow", "the day after tomorrow" and the weekdays: single words that do not look like English words. */
const daysIn = (language: string) => {
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" })
  const weekday = new Intl.DateTimeFormat(language, { weekday: "long", timeZone: "UTC" })
  return [
    ...[0, 1, 2].map((n) => relative.format(n, "day")),
    ...Array.from({ length: 7 }, (_, n) => weekday.format(Date.UTC(2026, 0, 5 + n)))
  ].filter((word) => !/\s|^[\p{Script=Latin}]{1,3}$/u.test(word))
}

it("finds words for days in other languages, also in capitals and without accents", () => {
  for (const language of languages) {
    for (const word of daysIn(language)) {
      for (const written of [word, word.toUpperCase(), word.normalize("NFD")]) {
        assert.isNotNull(foreignDay(`abc ${written}, 3`), `${language}: ${written}`)
      }
    }
  }
})

it("does not match English words or parts of words", () => {
  for (const text of ["call Bob tomorrow", "heuteabend", "the morgenstern book", "moreover", ""]) {
    assert.isNull(foreignDay(text), text)
  }
})
