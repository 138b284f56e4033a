import { Effect, Random } from "effect"
import { zoneOf } from "../src/domain/Request.ts"
import { dayMillis, dayPhrases, kindsOfYear, timePhrases, wrongReadings } from "./support/DatePhrases.ts"

// Every phrase for a day on every day of the 14 kinds of year, one of them with a phrase for a time in each order, in a zone
// chosen by the seed.
const seed = process.argv[2] ?? "taskchat"
const zones = Intl.supportedValuesOf("timeZone")

const program = Effect.gen(function* () {
  let wrong = 0
  for (const first of kindsOfYear) {
    for (let today = first; today < first + 366 * dayMillis; today += dayMillis) {
      const zone = zoneOf(zones[yield* Random.nextIntBetween(0, zones.length)] ?? "UTC")
      const i = yield* Random.nextIntBetween(0, dayPhrases.length)
      const found = [
        ...wrongReadings(today, zone, dayPhrases, []),
        ...wrongReadings(today, zone, dayPhrases.slice(i, i + 1), timePhrases)
      ]
      for (const line of found) console.error(`${line} (${zone.id})`)
      wrong += found.length
    }
  }
  console.log(`${kindsOfYear.length * 366} days, seed ${seed}: ${wrong} wrong readings`)
  process.exitCode = wrong === 0 ? 0 : 1
})

await Effect.runPromise(Effect.withRandom(program, Random.make(seed)))
