import { assert, describe, it } from "@effect/vitest"
import { DateTime, Either } from "effect"
import { readRepeat } from "../../src/dates/Repeats.ts"

/** The rule, then the time and the first day if given; or `✗` if refused. Today is Sunday, 2026-11-29. */
const read = (words: string) =>
  Either.match(
    readRepeat(words, DateTime.unsafeMake("2026-11-29T12:00:00Z"), DateTime.zoneUnsafeMakeNamed("Europe/Berlin")),
    {
      onLeft: () => "✗",
      onRight: ({ rule, startsOn, time }) => [rule, time, startsOn].filter((part) => part !== null).join(" ")
    }
  )

describe("Repeats", () => {
  const table: ReadonlyArray<readonly [string, string]> = [
    ["every monday", "FREQ=WEEKLY;BYDAY=MO"],
    ["every 2 weeks", "FREQ=WEEKLY;INTERVAL=2"],
    ["on the 1st of every month", "FREQ=MONTHLY;BYMONTHDAY=1"],
    ["every weekday at 9", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR 09:00"],
    ["every last friday", "FREQ=MONTHLY;BYDAY=-1FR"],
    ["last friday of the month every month", "FREQ=MONTHLY;BYDAY=-1FR"],
    ["yearly", "FREQ=YEARLY"],
    ["every other tuesday", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU"],
    ["every mon, wed and fri at 5pm", "FREQ=WEEKLY;BYDAY=MO,WE,FR 17:00"],
    ["mondays and thursdays", "FREQ=WEEKLY;BYDAY=MO,TH"],
    ["daily at 8 in the morning", "FREQ=DAILY 08:00"],
    ["every evening", "FREQ=DAILY 18:00"],
    ["every march 2", "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=2"],
    ["every 25th of december", "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25"],
    ["the first monday of every month", "FREQ=MONTHLY;BYDAY=1MO"],
    ["on the last day of every month", "FREQ=MONTHLY;BYMONTHDAY=-1"],
    ["every 3 days starting tomorrow", "FREQ=DAILY;INTERVAL=3 2026-11-30"],
    ["monthly on the 1st and 15th", "FREQ=MONTHLY;BYMONTHDAY=1,15"],
    // The texts that the service writes for rules
    ["every week on Monday", "FREQ=WEEKLY;BYDAY=MO"],
    ["every 2 weeks on Monday and Wednesday", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE"],
    ["every month on the 31st day of the month", "FREQ=MONTHLY;BYMONTHDAY=31"],
    ["every month on last Friday", "FREQ=MONTHLY;BYDAY=-1FR"],
    ["every day until December 1, 2026", "FREQ=DAILY;UNTIL=20261201"],
    ["every day for 5 times", "FREQ=DAILY;COUNT=5"]
  ]
  for (const [words, expected] of table) {
    it(`"${words}" is ${expected}`, () => assert.strictEqual(read(words), expected))
  }

  it("a text that does not say how often, or has an unknown word, is refused", () => {
    for (const words of [
      "",
      "monday",
      "every",
      "every hour",
      "every blue moon",
      "every monday maybe",
      "every second tuesday",
      "every monday and on the 5th",
      "every friday at midnight",
      "every day this morning",
      "every monday at 9 at 10",
      "twice a week",
      "every day ".repeat(100)
    ]) {
      assert.strictEqual(read(words), "✗", words)
    }
  })
})
