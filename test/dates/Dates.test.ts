import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, DateTime, Effect, Either, FastCheck, Schema, TestClock } from "effect"
import { weekdayOf } from "../../src/dates/Calendar.ts"
import * as Dates from "../../src/dates/Dates.ts"
import { TimeZone, zoneOf } from "../../src/domain/Request.ts"
import {
  changesIn,
  dayMillis,
  dayPhrases,
  edgesOf,
  kindsOfYear,
  timePhrases,
  tomorrow,
  wrongReadings
} from "../support/DatePhrases.ts"

/** A Friday, 14:05 in Berlin. */
const friday = "2026-01-30T13:05:00Z"

/** `day` or `day HH:MM` in local time, or `✗` if refused. */
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

/** The local time of an instant by `Intl`, for comparison: YYYY-MM-DDTHH:MM. */
const wall = (millis: number, timeZone: string) => {
  const clock =
    clocks.get(timeZone) ?? new Intl.DateTimeFormat("sv", { timeZone, dateStyle: "short", timeStyle: "short" })
  clocks.set(timeZone, clock)
  return clock.format(millis).replace(" ", "T")
}

const hour = 3_600_000
const offsetAt = (millis: number, timeZone: string) =>
  DateTime.zonedOffset(DateTime.unsafeMakeZoned(millis, { timeZone }))

/** The instants of 2026 and 2027 at which a zone's offset changes. */
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
      "tomorrow ".repeat(200),
      "this morning",
      "today at 9am",
      "tuesday this week",
      "the first monday of this month",
      "tomorrow today",
      "monday and wednesday",
      "monday the 1st",
      "tonight at 14:00",
      "tomorrow morning at 9pm",
      "9am at 10am",
      "in the morning in the evening",
      "in 2 hours tomorrow",
      "5-6pm",
      "9:00-10:00 tomorrow",
      "tomorrow at",
      "next monday or so",
      "morgen um 9",
      "明天下午3点",
      "tomorrow 9am CST",
      "2027-03-05T10:00:00+02:00[Europe/Berlin]",
      "a\u0301".repeat(300)
    ]
    for (const text of refused) {
      it(`"${text.slice(0, 40)}" is refused`, () => assert.strictEqual(resolve(text), "✗"))
    }
  })

  it("phrases as people write them are understood in full", () => {
    const sunday = "2026-11-29T12:00:00Z"
    const table: ReadonlyArray<readonly [string, string]> = [
      ["tuesday next week", "2026-12-01"],
      ["next week on thursday", "2026-12-03"],
      ["tuesday next week at 10am", "2026-12-01 10:00"],
      ["evening of wednesday", "2026-12-02 18:00"],
      ["in the evening on wednesday", "2026-12-02 18:00"],
      ["on the morning of december 24", "2026-12-24 09:00"],
      ["march 2 next year", "2027-03-02"],
      ["jan 1 next year", "2027-01-01"],
      ["a week after march 2", "2027-03-09"],
      ["march 2 a week later", "✗"],
      ["tomorrow at 5:30", "2026-11-30 17:30"],
      ["tomorrow at quarter past 3", "2026-11-30 15:15"],
      ["tomorrow at 7 in the evening", "2026-11-30 19:00"],
      ["9am tomorrow morning", "2026-11-30 09:00"],
      ["8pm tomorrow night", "2026-11-30 20:00"],
      ["in thirty minutes", "2026-11-29 13:30"],
      ["in twenty-five minutes", "2026-11-29 13:25"],
      ["monday the 30th", "2026-11-30"],
      ["feb 29", "2028-02-29"],
      ["tomor\u200brow", "2026-11-30"],
      ["in 3d", "2026-12-02"],
      ["tommorow", "2026-11-30"],
      ["2027-W10-3", "2027-03-10"],
      ["2027-03-05T10:00:00+01:00[Europe/Berlin]", "2027-03-05 10:00"],
      ["first monday of next month", "2026-12-07"],
      ["saturday the 5th of december at 10", "2026-12-05 10:00"],
      ["two weeks before the end of the year", "2026-12-17"]
    ]
    for (const [words, expected] of table) assert.strictEqual(resolve(words, sunday), expected, words)
  })

  it("an hour without am or pm is the next likely one: 1 to 6 are in the afternoon", () => {
    for (const [words, now, expected] of [
      ["at 5", "2026-01-30T02:27:00Z", "2026-01-30 17:00"],
      ["at 5", "2026-01-30T17:00:00Z", "2026-01-31 17:00"],
      ["at 2:30", "2026-01-30T15:00:00Z", "2026-01-31 14:30"],
      ["at 7", "2026-01-30T02:27:00Z", "2026-01-30 07:00"],
      ["at 7", "2026-01-30T07:00:00Z", "2026-01-30 19:00"],
      ["at 12", "2026-01-30T12:00:00Z", "2026-01-31 12:00"],
      ["3am", "2026-01-30T12:00:00Z", "2026-01-31 03:00"]
    ] as const) {
      assert.strictEqual(resolve(words, now), expected, `${words} ${now}`)
    }
  })

  it("a night continues after midnight", () => {
    const wednesday = "2027-03-03T09:05:00Z"
    for (const [words, expected] of [
      ["tonight at 12", "2027-03-04 00:00"],
      ["tonight at 1am", "2027-03-04 01:00"],
      ["friday night at 1am", "2027-03-06 01:00"],
      ["this morning at 8", "✗"],
      ["last day of february", "2028-02-29"]
    ] as const) {
      const zone = DateTime.zoneUnsafeMakeNamed("Europe/Berlin")
      const found = Either.match(Dates.resolve(words, DateTime.unsafeMake(wednesday), zone), {
        onLeft: () => "✗",
        onRight: ({ dueAt, dueDate }) => (dueAt === null ? dueDate : wall(dueAt.epochMillis, zone.id).replace("T", " "))
      })
      assert.strictEqual(found, expected, words)
    }
  })

  it("`given` says whether the text names a day, a time or both, and a time alone is read on the given day", () => {
    const zone = DateTime.zoneUnsafeMakeNamed("Europe/Berlin")
    const given = (words: string) =>
      Either.getOrThrow(Dates.resolve(words, DateTime.unsafeMake(friday), zone, "2026-03-10"))
    assert.deepStrictEqual(given("friday"), { dueDate: "2026-02-06", dueAt: null, given: "day" })
    for (const words of ["5pm", "at 5", "at 17:00"]) {
      assert.deepStrictEqual(given(words), {
        dueDate: "2026-03-10",
        dueAt: DateTime.unsafeMake("2026-03-10T16:00:00Z"),
        given: "time"
      })
    }
    for (const words of ["tonight", "tomorrow at 9", "in 90 minutes", "2026-03-01T09:00:00Z"]) {
      assert.strictEqual(given(words).given, "both", words)
    }
  })

  it("every phrase, with its parts in any order, is the expected date", () => {
    const some = <A>(all: ReadonlyArray<A>, from: number, step: number) =>
      all.filter((_, i) => i % step === from % step)
    kindsOfYear.forEach((first, year) => {
      edgesOf(first).forEach((today, i) => {
        const zone = zoneOf(zones[i % zones.length] ?? "UTC")
        assert.deepStrictEqual(
          wrongReadings(today, zone, some(dayPhrases, i + year, 23), some(timePhrases, i + year, 12)),
          []
        )
      })
    })
  })

  it("phrases with a time are right on the days of daylight-saving changes", () => {
    for (const timeZone of zones) {
      const zone = zoneOf(timeZone)
      for (const day of changesIn(kindsOfYear[0] ?? 0, zone)) {
        assert.deepStrictEqual(wrongReadings(day - dayMillis, zone, tomorrow, timePhrases), [])
      }
    }
  })

  it.prop(
    "an unknown word is never ignored",
    [
      FastCheck.constantFrom(...dayPhrases.map(([words]) => words)),
      FastCheck.constantFrom("call", "bob", "or", "and", "not", "except", "maybe", "5", "#3", "?!", "明天", "x"),
      FastCheck.nat()
    ],
    ([phrase, word, place]) => {
      const words = phrase.split(" ")
      // "10 in 3 days" has no unknown word, but an extra number.
      words.splice(place % (words.length + 1), 0, word)
      const found = resolve(words.join(" "))
      if (word !== "5") assert.strictEqual(found, "✗", words.join(" "))
    }
  )

  it("a refusal gives valid examples and does not repeat the text", () => {
    const refusal = Dates.resolve("zweimal", DateTime.unsafeMake(friday), DateTime.zoneUnsafeMakeNamed("UTC"))
    const { detail } = Either.getOrThrow(Either.flip(refusal))
    assert.include(detail, "tomorrow at 9am")
    assert.include(detail, "English")
    assert.notInclude(detail, "zweimal")
  })

  it("today is the date in the zone, not the date in UTC", () => {
    assert.strictEqual(resolve("today", friday, "Pacific/Auckland"), "2026-01-31")
    assert.strictEqual(resolve("today", "2026-01-30T03:00:00Z", "America/New_York"), "2026-01-29")
  })

  it("a time that a daylight-saving change skips moves forward by the same amount", () => {
    assert.strictEqual(resolve("march 29 at 2:30am"), "2026-03-29 03:30")
    assert.strictEqual(resolve("march 8 at 2:30am", friday, "America/New_York"), "2026-03-08 03:30")
    assert.strictEqual(resolve("october 4 at 2:15am", friday, "Australia/Lord_Howe"), "2026-10-04 02:45")
    assert.strictEqual(resolve("2026-09-06 00:00", friday, "America/Santiago"), "2026-09-06 01:00")
  })

  it("a local time that occurs twice is the earlier one", () => {
    const due = Dates.resolve(
      "2026-10-25 02:30",
      DateTime.unsafeMake(friday),
      DateTime.zoneUnsafeMakeNamed("Europe/Berlin")
    )
    assert.deepStrictEqual(Either.getOrThrow(due).dueAt, DateTime.unsafeMake("2026-10-25T00:30:00Z"))
  })

  it("hours are exact across daylight-saving changes", () => {
    for (const timeZone of zones) {
      for (const millis of transitions(timeZone)) {
        const now = DateTime.unsafeMake(millis - 2 * hour)
        const due = Dates.resolve("in 5 hours", now, DateTime.zoneUnsafeMakeNamed(timeZone))
        assert.strictEqual(Either.getOrThrow(due).dueAt?.epochMillis, millis + 3 * hour)
      }
    }
  })

  it("on the nights of daylight-saving changes a time is its first instant, or moves past the gap", () => {
    for (const timeZone of zones) {
      for (const millis of transitions(timeZone)) {
        const before = offsetAt(millis - 1, timeZone)
        const instants = Arr.range(-18, 18).map((n) => millis + n * 600_000)
        for (const instant of instants) {
          // A clock without the change, so that times within the gap are tried too.
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

  it.prop(
    "an instant is the same in every zone, and its day is the date in the zone",
    [instant, zone],
    ([moment, timeZone]) => {
      const due = Dates.resolve(
        DateTime.formatIso(moment),
        DateTime.unsafeMake(friday),
        DateTime.zoneUnsafeMakeNamed(timeZone)
      )
      assert.deepStrictEqual(Either.getOrThrow(due), {
        dueDate: wall(moment.epochMillis, timeZone).slice(0, 10),
        dueAt: moment,
        given: "both"
      })
    }
  )

  it.prop("a date never shifts and gets no time", [instant, instant, zone], ([day, now, timeZone]) => {
    const date = DateTime.formatIsoDateUtc(day)
    const due = Dates.resolve(date, now, DateTime.zoneUnsafeMakeNamed(timeZone))
    assert.deepStrictEqual(Either.getOrThrow(due), { dueDate: date, dueAt: null, given: "day" })
  })

  it.prop("tomorrow at noon is the next day in the zone at 12:00", [instant, zone], ([now, timeZone]) => {
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
      assert.strictEqual(weekdayOf(date), name)
      assert.isTrue(days >= 1 && days <= 7)
    }
  )

  it.prop(
    "any text is refused or is a day, with or without an instant",
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

  it.effect("every zone of Intl and every spelling of GMT is accepted", () =>
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

  it.effect("the present comes from Clock", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(DateTime.unsafeMake(friday).epochMillis)
      assert.deepStrictEqual(yield* Dates.resolveDue("tomorrow", "Pacific/Auckland"), {
        dueDate: "2026-02-01",
        dueAt: null,
        given: "day"
      })
      assert.strictEqual((yield* Effect.flip(Dates.resolveDue("someday", "UTC")))._tag, "UnknownDate")
      const today = yield* Dates.todayIn("Europe/Berlin")
      assert.strictEqual(Dates.sentence(today), "Today is Friday, 2026-01-30, 14:05 in Europe/Berlin.")
    })
  )
})
