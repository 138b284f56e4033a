import { assert, it } from "@effect/vitest"
import { foreignDay } from "../../src/dates/Foreign.ts"

const languages = "ar cs da de el es fa fi fr hi hu id it ja ko nb nl pl pt ro ru sv th tr uk vi zh".split(" ")

/** "today", "tomorrow", the day after and the weekdays, those of one word that no English one looks like. */
const daysIn = (language: string) => {
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" })
  const weekday = new Intl.DateTimeFormat(language, { weekday: "long", timeZone: "UTC" })
  return [
    ...[0, 1, 2].map((n) => relative.format(n, "day")),
    ...Array.from({ length: 7 }, (_, n) => weekday.format(Date.UTC(2026, 0, 5 + n)))
  ].filter((word) => !/\s|^[\p{Script=Latin}]{1,3}$/u.test(word))
}

it("knows the words for days of other languages, in capitals and without accents too", () => {
  for (const language of languages) {
    for (const word of daysIn(language)) {
      for (const written of [word, word.toUpperCase(), word.normalize("NFD")]) {
        assert.isNotNull(foreignDay(`abc ${written}, 3`), `${language}: ${written}`)
      }
    }
  }
})

it("takes no English word, and no part of a word, for one of them", () => {
  for (const text of ["call Bob tomorrow", "heuteabend", "the morgenstern book", "moreover", ""]) {
    assert.isNull(foreignDay(text), text)
  }
})
