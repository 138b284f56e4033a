import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, DateTime, Effect, Either, FastCheck, Schema, TestClock } from "effect"
import * as Dates from "../../src/dates/Dates.ts"
import { TimeZone } from "../../src/domain/Request.ts"

/** A Friday, 14:05 in Berlin. */
const friday = "2026-01-30T13:05:00Z"

/** `day` or `day HH:MM` as the zone's clock shows it, or `✗`. */
const resolve = (text: string, now = friday, timeZone = "Europe/Berlin") => {
  const zone = DateTime.zoneUnsafeMakeNamed(timeZone)
  return Either.match(Dates.resolve(text, DateTime.unsafeMake(now), zone), {
    onLeft: () => "✗",
    onRight: ({ dueAt, dueDate }) => {
      if (dueAt === null) return dueDate
      const local = DateTime.formatIsoOffset(DateTime.setZone(dueAt, zone))
      assert.strictEqual(local.slice(0, 10), dueDate)
      return local.replace("T", " ").slice(0, 16)
    }
  })
}

const zones = [
  "Pacific/Auckland",
  "America/Santiago",
  "America/New_York",
  "Australia/Lord_Howe",
  "Europe/Berlin",
  "UTC"
]

const zone = FastCheck.constantFrom(...zones)
const instant = FastCheck.date({
  min: DateTime.toDateUtc(DateTime.unsafeMake("2015-01-01T00:00:00Z")),
  max: DateTime.toDateUtc(DateTime.unsafeMake("2040-01-01T00:00:00Z")),
  noInvalidDate: true
}).map(DateTime.unsafeMake)

const clocks = new Map<string, Intl.DateTimeFormat>()

/** The wall clock of an instant by `Intl`, for comparison: YYYY-MM-DDTHH:MM. */
const wall = (millis: number, timeZone: string) => {
  const clock =
    clocks.get(timeZone) ?? new Intl.DateTimeFormat("sv", { timeZone, dateStyle: "short", timeStyle: "short" })
  clocks.set(timeZone, clock)
  return clock.format(millis).replace(" ", "T")
}

const hour = 3_600_000
const offsetAt = (millis: number, timeZone: string) =>
  DateTime.zonedOffset(DateTime.unsafeMakeZoned(millis, { timeZone }))

/** The instants of 2026 and 2027 at which a zone's clocks change. */
const transitions = (timeZone: string) => {
  const start = DateTime.unsafeMake("2026-01-01T00:00:00Z").epochMillis
  return Arr.range(0, 729)
    .map((day) => start + day * 24 * hour)
    .filter((day) => offsetAt(day, timeZone) !== offsetAt(day + 24 * hour, timeZone))
    .flatMap((day) => Arr.range(1, 48).map((half) => day + (half * hour) / 2))
    .filter((millis) => offsetAt(millis, timeZone) !== offsetAt(millis - 1, timeZone))
}

describe("Dates", () => {
  describe("on a Friday at 14:05", () => {
    const table: ReadonlyArray<readonly [string, string]> = [
      ["2026-02-28", "2026-02-28"],
      ["2026-02-28 10:00", "2026-02-28 10:00"],
      ["2026-02-28T10:00:00Z", "2026-02-28 11:00"],
      ["2026-02-28T23:30:00-05:00", "2026-03-01 05:30"],
      ["tomorrow", "2026-01-31"],
      ["Tomorrow  9AM", "2026-01-31 09:00"],
      ["tomorrow at 9", "2026-01-31 09:00"],
      ["tomorrow at 3", "2026-01-31 15:00"],
      ["tomorrow at 03:00", "2026-01-31 03:00"],
      ["monday at 5", "2026-02-02 17:00"],
      ["friday", "2026-02-06"],
      ["this friday", "2026-01-30"],
      ["next friday", "2026-02-06"],
      ["last friday", "2026-01-23"],
      ["saturday", "2026-01-31"],
      ["next saturday", "2026-02-07"],
      ["monday next week", "2026-02-02"],
      ["a week from friday", "2026-02-13"],
      ["monday at noon", "2026-02-02 12:00"],
      ["by friday 5pm", "2026-02-06 17:00"],
      ["in two weeks", "2026-02-13"],
      ["in a month", "2026-02-28"],
      ["2 days from tomorrow", "2026-02-02"],
      ["3 days ago", "2026-01-27"],
      ["in 3 days at 5pm", "2026-02-02 17:00"],
      ["in 3 hours", "2026-01-30 17:05"],
      ["in 90 minutes", "2026-01-30 15:35"],
      ["in 1h30m", "2026-01-30 15:35"],
      ["in an hour and a half", "2026-01-30 15:35"],
      ["half an hour from now", "2026-01-30 14:35"],
      ["now", "2026-01-30 14:05"],
      ["today", "2026-01-30"],
      ["tonight", "2026-01-30 20:00"],
      ["tonight at 8", "2026-01-30 20:00"],
      ["tomorrow morning", "2026-01-31 09:00"],
      ["friday night", "2026-02-06 20:00"],
      ["this morning", "2026-01-30"],
      ["in the morning", "2026-01-31 09:00"],
      ["at 5", "2026-01-30 17:00"],
      ["9am", "2026-01-31 09:00"],
      ["noon", "2026-01-31 12:00"],
      ["midnight", "2026-01-31 00:00"],
      ["tomorrow at midnight", "2026-02-01 00:00"],
      ["half past 8 tomorrow", "2026-01-31 08:30"],
      ["end of the month", "2026-01-31"],
      ["by the end of next month", "2026-02-28"],
      ["end of the week", "2026-02-01"],
      ["eod", "2026-01-30"],
      ["this week", "2026-02-01"],
      ["next week", "2026-02-02"],
      ["next month", "2026-02-01"],
      ["this weekend", "2026-01-31"],
      ["the day after tomorrow", "2026-02-01"],
      ["jan 30", "2026-01-30"],
      ["jan 5", "2027-01-05"],
      ["the 5th of march at 6pm", "2026-03-05 18:00"],
      ["on the 5th", "2026-02-05"],
      ["friday jan 30", "2026-01-30"],
      ["31.1.2026", "2026-01-31"],
      ["24/12", "2026-12-24"],
      ["tomorrow 9am EST", "2026-01-31 15:00"]
    ]
    for (const [text, expected] of table) {
      it(`"${text}" is ${expected}`, () => assert.strictEqual(resolve(text), expected))
    }

    const refused = [
      "",
      "soon",
      "5",
      "2027",
      "march",
      "week",
      "2 weeks",
      "2026-02-30",
      "0000-01-01",
      "10000-01-01",
      "2026-02-30T10:00:00Z",
      "2026-02-28T25:00:00Z",
      "in 100000 years",
      "in 999999 hours and 999999 hours ago",
      "3/4",
      "1/2/2026",
      "friday jan 31",
      "mon-fri",
      "tomorrow or friday",
      "tomorrow 9am, call the bank",
      "25:00 tomorrow",
      "tomorrow ".repeat(200)
    ]
    for (const text of refused) {
      it(`"${text.slice(0, 40)}" is refused`, () => assert.strictEqual(resolve(text), "✗"))
    }
  })

  it("a refusal says what works and does not repeat the words", () => {
    const refusal = Dates.resolve("zweimal", DateTime.unsafeMake(friday), DateTime.zoneUnsafeMakeNamed("UTC"))
    const { detail } = Either.getOrThrow(Either.flip(refusal))
    assert.include(detail, "tomorrow at 9am")
    assert.notInclude(detail, "zweimal")
  })

  it("today is the zone's day, not that of UTC", () => {
    assert.strictEqual(resolve("today", friday, "Pacific/Auckland"), "2026-01-31")
    assert.strictEqual(resolve("today", "2026-01-30T03:00:00Z", "America/New_York"), "2026-01-29")
  })

  it("a time that the clocks skip moves forward by as much as they do", () => {
    assert.strictEqual(resolve("march 29 at 2:30am"), "2026-03-29 03:30")
    assert.strictEqual(resolve("march 8 at 2:30am", friday, "America/New_York"), "2026-03-08 03:30")
    assert.strictEqual(resolve("october 4 at 2:15am", friday, "Australia/Lord_Howe"), "2026-10-04 02:45")
    assert.strictEqual(resolve("2026-09-06 00:00", friday, "America/Santiago"), "2026-09-06 01:00")
  })

  it("of two times with the same name it is the earlier", () => {
    const due = Dates.resolve(
      "2026-10-25 02:30",
      DateTime.unsafeMake(friday),
      DateTime.zoneUnsafeMakeNamed("Europe/Berlin")
    )
    assert.deepStrictEqual(Either.getOrThrow(due).dueAt, DateTime.unsafeMake("2026-10-25T00:30:00Z"))
  })

  it("hours are counted exactly over the nights when clocks change", () => {
    for (const timeZone of zones) {
      for (const millis of transitions(timeZone)) {
        const now = DateTime.unsafeMake(millis - 2 * hour)
        const due = Dates.resolve("in 5 hours", now, DateTime.zoneUnsafeMakeNamed(timeZone))
        assert.strictEqual(Either.getOrThrow(due).dueAt?.epochMillis, millis + 3 * hour)
      }
    }
  })

  it("on the nights when clocks change a time is the first instant that shows it, or lies as far past the gap", () => {
    for (const timeZone of zones) {
      for (const millis of transitions(timeZone)) {
        const before = offsetAt(millis - 1, timeZone)
        const instants = Arr.range(-18, 18).map((n) => millis + n * 600_000)
        for (const instant of instants) {
          // What a clock that nobody changes would show: so times within the gap are tried, too.
          const local = DateTime.formatIso(DateTime.unsafeMake(instant + before)).slice(0, 16)
          const due = Dates.resolve(local, DateTime.unsafeMake(friday), DateTime.zoneUnsafeMakeNamed(timeZone))
          const shown = Arr.range(-30, 30)
            .map((n) => millis + n * 600_000)
            .find((candidate) => wall(candidate, timeZone) === local)
          assert.strictEqual(Either.getOrThrow(due).dueAt?.epochMillis, shown ?? instant)
        }
      }
    }
  })

  it.prop("an instant is kept whatever the zone, and its day is the zone's", [instant, zone], ([moment, timeZone]) => {
    const due = Dates.resolve(
      DateTime.formatIso(moment),
      DateTime.unsafeMake(friday),
      DateTime.zoneUnsafeMakeNamed(timeZone)
    )
    assert.deepStrictEqual(Either.getOrThrow(due), {
      dueDate: wall(moment.epochMillis, timeZone).slice(0, 10),
      dueAt: moment
    })
  })

  it.prop("a date never shifts and gets no time", [instant, instant, zone], ([day, now, timeZone]) => {
    const date = DateTime.formatIsoDateUtc(day)
    const due = Dates.resolve(date, now, DateTime.zoneUnsafeMakeNamed(timeZone))
    assert.deepStrictEqual(Either.getOrThrow(due), { dueDate: date, dueAt: null })
  })

  it.prop("tomorrow at noon is the zone's next day at 12:00", [instant, zone], ([now, timeZone]) => {
    const today = wall(now.epochMillis, timeZone).slice(0, 10)
    const next = DateTime.formatIsoDateUtc(DateTime.add(DateTime.unsafeMake(today), { days: 1 }))
    assert.strictEqual(resolve("tomorrow at noon", DateTime.formatIso(now), timeZone), `${next} 12:00`)
  })

  it.prop(
    "a weekday is that day, one to seven days ahead",
    [
      instant,
      zone,
      FastCheck.constantFrom("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    ],
    ([now, timeZone, name]) => {
      const date = resolve(name, DateTime.formatIso(now), timeZone)
      const today = wall(now.epochMillis, timeZone).slice(0, 10)
      const days = DateTime.distance(DateTime.unsafeMake(today), DateTime.unsafeMake(date)) / 86_400_000
      assert.strictEqual(Dates.weekdayOf(date), name)
      assert.isTrue(days >= 1 && days <= 7)
    }
  )

  it.prop(
    "any text is either refused or a day with, perhaps, an instant on it",
    [
      FastCheck.oneof(
        FastCheck.string({ unit: "grapheme" }),
        FastCheck.array(
          FastCheck.constantFrom(
            "in",
            "next",
            "9",
            "at",
            "friday",
            "two",
            "weeks",
            "end of",
            "month",
            "feb",
            "30th",
            "am",
            "-",
            "/",
            "2026",
            "hours",
            "ago",
            "from",
            "tomorrow",
            "noon",
            "half past",
            "the"
          ),
          { maxLength: 6 }
        ).map((words) => words.join(" "))
      ),
      zone
    ],
    ([text, timeZone]) => {
      const found = resolve(text, friday, timeZone)
      assert.match(found, /^✗$|^\d{4}-\d\d-\d\d(?: \d\d:\d\d)?$/)
    },
    { fastCheck: { numRuns: 500 } }
  )

  it.effect("every zone that Intl lists can be named, and GMT in all its spellings", () =>
    Effect.gen(function* () {
      const aliases = ["GMT", "gmt", "GMT0", "GMT+0", "Etc/GMT", "Etc/GMT+5", "Greenwich", "Zulu", "Asia/Kolkata"]
      for (const name of [...Intl.supportedValuesOf("timeZone"), ...aliases]) {
        assert.isTrue(Schema.is(TimeZone)(name), name)
        assert.strictEqual((yield* Dates.todayIn(name)).timeZone, name)
        assert.isNotNull((yield* Dates.resolveDue("tomorrow at 9am", name)).dueAt)
      }
      for (const name of ["", "Etc/Unknown", "Mars/Olympus", "+01:00", "x".repeat(65)]) {
        assert.isFalse(Schema.is(TimeZone)(name), name)
      }
    })
  )

  it.effect("now comes from the Clock", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(DateTime.unsafeMake(friday).epochMillis)
      assert.deepStrictEqual(yield* Dates.resolveDue("tomorrow", "Pacific/Auckland"), {
        dueDate: "2026-02-01",
        dueAt: null
      })
      assert.strictEqual((yield* Effect.flip(Dates.resolveDue("someday", "UTC")))._tag, "UnknownDate")
      const today = yield* Dates.todayIn("Europe/Berlin")
      assert.strictEqual(Dates.sentence(today), "Today is Friday, 2026-01-30, 14:05 in Europe/Berlin.")
    })
  )
})
