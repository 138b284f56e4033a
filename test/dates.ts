import { Effect, Random } from "effect"
import { zoneOf } from "../src/domain/Request.ts"
import { dayMillis, dayPhrases, kindsOfYear, timePhrases, wrongReadings } from "./support/DatePhrases.ts"

// Every phrase for a day on every day of the 14 kinds of year, one of them with each phrase for a time in each order. The
// days go through all zones in turn, in an order that the seed chooses. It takes some minutes, and tells of each year.
const seed = process.argv[2] ?? "taskchat"

const program = Effect.gen(function* () {
  const zones = Array.from(yield* Random.shuffle(Intl.supportedValuesOf("timeZone")))
  let wrong = 0
  let days = 0
  for (const [n, first] of kindsOfYear.entries()) {
    for (let today = first; today < first + 366 * dayMillis; today += dayMillis) {
      const zone = zoneOf(zones[days++ % zones.length] ?? "UTC")
      const i = yield* Random.nextIntBetween(0, dayPhrases.length)
      const found = [
        ...wrongReadings(today, zone, dayPhrases, []),
        ...wrongReadings(today, zone, dayPhrases.slice(i, i + 1), timePhrases)
      ]
      for (const line of found) console.error(`${line} (${zone.id})`)
      wrong += found.length
    }
    console.log(`${n + 1} of ${kindsOfYear.length} years, ${wrong} wrong readings`)
  }
  console.log(`${days} days, seed ${seed}: ${wrong} wrong readings`)
  process.exitCode = wrong === 0 ? 0 : 1
})

await Effect.runPromise(Effect.withRandom(program, Random.make(seed)))
