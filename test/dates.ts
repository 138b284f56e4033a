import { DateTime, Effect, Random } from "effect"
import { zoneOf } from "../src/domain/Request.ts"
import {
  changesIn,
  dayMillis,
  dayPhrases,
  kindsOfYear,
  timePhrases,
  tomorrow,
  wrongReadings
} from "./support/DatePhrases.ts"

// Tests every phrase for a day on every day of the 14 kinds of year, and one phrase for a day with every phrase for a time,
// in both orders. The days rotate through all zones, shuffled by the seed. Also tests every phrase for a time on every
// day of those years on which a zone's offset changes. It takes a few minutes and prints the progress after each year.
const seed = process.argv[2] ?? "taskchat"

const program = Effect.gen(function* () {
  const zones = Array.from(yield* Random.shuffle(Intl.supportedValuesOf("timeZone"))).map(zoneOf)
  let wrong = 0
  let days = 0
  let changes = 0
  for (const [n, first] of kindsOfYear.entries()) {
    const report = (...given: Parameters<typeof wrongReadings>) => {
      const found = wrongReadings(...given)
      for (const line of found) console.error(`${line} (${DateTime.zoneToString(given[1])})`)
      wrong += found.length
    }
    for (let today = first; today < first + 366 * dayMillis; today += dayMillis) {
      const zone = zones[days++ % zones.length] ?? zoneOf("UTC")
      const i = yield* Random.nextIntBetween(0, dayPhrases.length)
      report(today, zone, dayPhrases, [])
      report(today, zone, dayPhrases.slice(i, i + 1), timePhrases)
    }
    for (const zone of zones) {
      for (const day of changesIn(first, zone)) {
        changes++
        report(day - dayMillis, zone, tomorrow, timePhrases)
      }
    }
    console.log(`${n + 1} of ${kindsOfYear.length} years, ${wrong} wrong readings`)
  }
  console.log(`${days} days and ${changes} daylight-saving changes, seed ${seed}: ${wrong} wrong readings`)
  process.exitCode = wrong === 0 ? 0 : 1
})

await Effect.runPromise(Effect.withRandom(program, Random.make(seed)))
