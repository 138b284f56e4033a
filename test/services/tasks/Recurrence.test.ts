import { assert, it } from "@effect/vitest"
import { DateTime, Either, FastCheck as fc } from "effect"
import { instantOf, timeIn } from "../../../src/domain/Due.ts"
import { firstFrom, nextAfter, readRule } from "../../../src/services/tasks/Recurrence.ts"
import { settle } from "../../../src/services/tasks/TaskPatches.ts"

const after = (rule: string, starts_on: string, ...days: ReadonlyArray<string>) =>
  days.map((day) => nextAfter({ rule, starts_on }, day))

it("the next occurrence follows RFC 5545", () => {
  for (const [rule, startsOn, ...days] of [
    ["FREQ=MONTHLY;BYMONTHDAY=31", "2026-01-31", "2026-03-31", "2026-05-31", "2026-07-31", "2026-08-31"],
    ["FREQ=MONTHLY", "2026-01-31", "2026-03-31", "2026-05-31"],
    ["FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31", "2026-02-28", "2026-03-31"],
    ["FREQ=YEARLY", "2024-02-29", "2028-02-29", "2032-02-29"],
    ["FREQ=YEARLY", "2096-02-29", "2104-02-29"],
    ["FREQ=MONTHLY;BYDAY=-1FR", "2026-01-30", "2026-02-27", "2026-03-27"],
    ["FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "2026-11-27", "2026-11-30", "2026-12-01"],
    ["FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE", "2026-11-30", "2026-12-02", "2026-12-14"],
    ["FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU", "2026-11-29", "2026-11-30", "2026-12-13"],
    ["FREQ=YEARLY;BYMONTH=3,9;BYDAY=1SA", "2026-03-07", "2026-09-05", "2027-03-06"],
    // A first day that does not match the rule is also an occurrence.
    ["FREQ=WEEKLY;BYDAY=MO;COUNT=2", "2026-11-29", "2026-11-30", null],
    ["FREQ=DAILY;UNTIL=20261201", "2026-11-30", "2026-12-01", null],
    ["FREQ=YEARLY;INTERVAL=999", "9000-01-01", "9999-01-01", null]
  ] as const) {
    const asked = [startsOn, ...days].filter((day) => day !== null).slice(0, days.length)
    assert.deepStrictEqual([rule, ...after(rule, startsOn, ...asked)], [rule, ...days])
  }
})

it("a series begins on the first matching day, for any interval", () => {
  assert.strictEqual(firstFrom("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "2026-11-29"), "2026-11-30")
  assert.strictEqual(firstFrom("FREQ=MONTHLY;INTERVAL=6;BYMONTHDAY=1", "2026-11-29"), "2026-12-01")
  assert.strictEqual(firstFrom("INTERVAL=3;FREQ=DAILY;COUNT=2", "2026-11-29"), "2026-11-29")
  assert.strictEqual(firstFrom("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2026-11-29"), null)
})

it("a rule is stored in capitals, and UNTIL is a day in the user's zone", () => {
  assert.deepStrictEqual(
    readRule("RRULE: freq=daily;until=20261231T233000Z;", "Europe/Berlin"),
    Either.right("FREQ=DAILY;UNTIL=20270101")
  )
  assert.deepStrictEqual(readRule("FREQ=DAILY;UNTIL=20261231T233000", "UTC"), Either.right("FREQ=DAILY;UNTIL=20261231"))
})

it("the error for an unsupported rule says what is supported", () => {
  for (const [rule, refusal] of [
    ["FREQ=HOURLY", "FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY."],
    [
      "FREQ=DAILY;BYSETPOS=1",
      "A rule cannot have BYSETPOS. It may have FREQ, INTERVAL, BYDAY, BYMONTHDAY, BYMONTH, UNTIL, COUNT."
    ],
    ["FREQ=DAILY;INTERVAL=0", "INTERVAL must be a number from 1 to 999."],
    ["FREQ=WEEKLY;BYDAY=MONDAY", "BYDAY must be days such as MO,WE or 1MO or -1FR."],
    ["FREQ=WEEKLY;BYMONTHDAY=1", "A WEEKLY rule has days of the week, BYDAY, not BYMONTHDAY."],
    ["FREQ=DAILY;UNTIL=20260230", "UNTIL must be a day such as 20261231."],
    ["INTERVAL=2;COUNT=2", "A rule needs FREQ: DAILY, WEEKLY, MONTHLY or YEARLY."]
  ] as const) {
    assert.deepStrictEqual([rule, readRule(rule, "UTC")], [rule, Either.left(refusal)])
  }
})

const zone = fc.constantFrom("Pacific/Auckland", "America/Santiago", "America/New_York", "Australia/Lord_Howe", "UTC")
const time = fc.constantFrom("00:00:00.000", "01:59:00.000", "02:15:00.000", "02:30:00.000", "23:59:59.999")

it.prop(
  "a task that repeats keeps its time of day, whatever the clocks do",
  [zone, time, fc.integer({ min: 0, max: 800 })],
  ([timeZone, time, days]) => {
    const now = DateTime.unsafeMake("2000-01-01T00:00:00Z")
    const day = DateTime.formatIsoDateUtc(DateTime.add(DateTime.unsafeMake("2026-01-01"), { days }))
    const dueAt = instantOf(day, time, timeZone)
    const series = {
      rule: "FREQ=DAILY",
      text: "every day",
      starts_on: day,
      time,
      time_zone: timeZone,
      completed: null,
      completed_on: null,
      turn_id: null
    }
    const kept = { dueDate: day, dueAt, timeZone, completed: false, series }
    const settled = settle(kept, { completed: true }, { now, turnId: null })
    const { due_at, due_date, time_zone } = settled?.columns ?? {}
    const instant = DateTime.unsafeMake(String(due_at))
    assert.deepStrictEqual(
      [due_date, time_zone],
      [DateTime.formatIsoDateUtc(DateTime.add(DateTime.unsafeMake(day), { days: 1 })), timeZone]
    )
    // A skipped time moves forward by an hour, on Lord Howe by half an hour.
    assert.include([0, 30, 60], minutesOf(timeIn(instant, timeZone)) - minutesOf(time))
  }
)

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5))
