import { Array as Arr, DateTime, Effect, Either, Option, Schema } from "effect"
import { RRuleTemporal } from "rrule-temporal"
import { toText } from "rrule-temporal/totext"
import * as Calendar from "../../dates/Calendar.ts"
import * as Repeats from "../../dates/Repeats.ts"
import { dayIn } from "../../domain/Due.ts"
import type { Repeat } from "../../domain/NewTask.ts"
import { InvalidRequest, zoneOf } from "../../domain/Request.ts"

/**
 * Repeating tasks, by the rules of RFC 5545. Occurrences are days. The series has one time of day in its zone, so the local
 * time stays the same when the clocks change.
 */

/**
 * A task or a change to one, with the words of its `repeat` read: in the zone that is given with them, else in `ownZone`, that
 * of the task, else in UTC. `InvalidRequest` says what is wrong with them.
 */
export const readRepeat = <
  A extends { readonly repeat?: string | null | undefined; readonly timeZone?: string | null | undefined }
>(
  given: A,
  ownZone: string | null = null
): Effect.Effect<Omit<A, "repeat"> & { readonly repeat: Repeat | null | undefined }, InvalidRequest> => {
  const { repeat, ...others } = given
  if (repeat == null) return Effect.succeed({ ...others, repeat })
  const zone = given.timeZone ?? ownZone ?? "UTC"
  return Effect.flatMap(DateTime.now, (now) =>
    Either.match(readWords(repeat, now, zone), {
      onLeft: (message) => new InvalidRequest({ errors: [{ path: "repeat", message }] }),
      onRight: (read) => Effect.succeed({ ...others, repeat: read })
    })
  )
}

const readWords = (words: string, now: DateTime.Utc, timeZone: string): Either.Either<Repeat, string> =>
  Either.gen(function* () {
    const read = isRule(words)
      ? { rule: yield* readRule(words, timeZone), time: null, startsOn: null }
      : yield* Either.mapLeft(Repeats.readRepeat(words, now, zoneOf(timeZone)), ({ detail }) => detail)
    return firstFrom(read.rule, read.startsOn ?? dayIn(now, timeZone)) === null
      ? yield* Either.left("No day is left on which that would repeat.")
      : read
  })

/** A stored repetition. Clients do not see the members that are needed to go on. */
export const Series = Schema.Struct({
  rule: Schema.String,
  text: Schema.String,
  starts_on: Schema.String,
  /** The time of every occurrence that was not moved: `HH:MM:SS.sss`, in `time_zone`. */
  time: Schema.NullOr(Schema.String),
  time_zone: Schema.NullOr(Schema.String),
  /** The last completed occurrence, the day of its completion, and the turn that completed it, if any. */
  completed: Schema.NullOr(Schema.String),
  completed_on: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null }),
  turn_id: Schema.NullOr(Schema.String)
})
export type Series = typeof Series.Type

/** The first occurrence after a day, or null if there is none. */
export const nextAfter = ({ rule, starts_on }: Pick<Series, "rule" | "starts_on">, day: string): string | null =>
  occurrence(rule, starts_on, day, true)

/** The number of occurrences before a day, at most 999: those that a COUNT has used up. */
export const countBefore = (rule: string, startsOn: string, day: string): number =>
  Either.getOrElse(
    Either.try(() => ruleOf(rule, startsOn, true).all((date) => date.toString().slice(0, 10) < day)),
    () => []
  ).filter((date) => date.toString().slice(0, 10) < day).length

/** The first day from `from` on that matches a rule, where its intervals and its count begin; null if there is none. */
export const firstFrom = (rule: string, from: string): string | null => {
  const anyOf = rule.replace(/;?(INTERVAL|COUNT)=\d+/g, "").replace(/^;/, "")
  return occurrence(anyOf, from, Calendar.dayIn(from, -1), false)
}

/** A rule in words. */
export const textOf = (rule: string, startsOn: string): string => toText(ruleOf(rule, startsOn, false))

const ruleOf = (rule: string, startsOn: string, includeDtstart: boolean) =>
  new RRuleTemporal({
    rruleString: `DTSTART;VALUE=DATE:${startsOn.replaceAll("-", "")}\nRRULE:${rule}`,
    includeDtstart,
    maxIterations
  })

/** Any two occurrences are fewer steps apart; after this many, a rule has no further occurrence. */
const maxIterations = 4000

const occurrence = (rule: string, startsOn: string, after: string, includeDtstart: boolean): string | null =>
  Either.try(() => ruleOf(rule, startsOn, includeDtstart).next(DateTime.toDate(DateTime.unsafeMake(after)))).pipe(
    Either.getRight,
    Option.filterMap((next) => Option.fromNullable(next?.toString().slice(0, 10))),
    // Beyond the year 9999 there is a sign and one digit more.
    Option.filter((day) => /^\d{4}-/.test(day)),
    Option.getOrNull
  )

const days = "MO|TU|WE|TH|FR|SA|SU"

const listOf = (item: string) => new RegExp(`^${item}(,${item})*$`)

/** The parts that a rule may have, and what each of them takes. */
const parts: Readonly<Record<string, readonly [form: RegExp, words: string]>> = {
  FREQ: [/^(DAILY|WEEKLY|MONTHLY|YEARLY)$/, "DAILY, WEEKLY, MONTHLY or YEARLY"],
  INTERVAL: [/^0*([1-9]\d{0,2})$/, "a number from 1 to 999"],
  BYDAY: [listOf(`([+-]?0?[1-9]|[+-]?[1-4]\\d|[+-]?5[0-3])?(${days})`), "days such as MO,WE or 1MO or -1FR"],
  BYMONTHDAY: [listOf("[+-]?(0?[1-9]|[12]\\d|3[01])"), "days of the month, 1 to 31 or -31 to -1"],
  BYMONTH: [listOf("(0?[1-9]|1[0-2])"), "months, 1 to 12"],
  UNTIL: [/^\d{8}(T\d{6}Z?)?$/, "a day such as 20261231"],
  COUNT: [/^0*([1-9]\d{0,2})$/, "a number from 1 to 999"],
  WKST: [new RegExp(`^(${days})$`), "a day such as MO"]
}

/** Whether the text is a rule, not words. */
const isRule = (text: string) => /^\s*(RRULE\s*:|FREQ\s*=)|;\s*FREQ\s*=/i.test(text)

/** A rule in its stored form, or the reason of its refusal. An UNTIL with a time becomes the day in the zone. */
export const readRule = (text: string, timeZone: string): Either.Either<string, string> =>
  Either.gen(function* () {
    const given = text
      .toUpperCase()
      .replace(/\s+/g, "")
      .replace(/^RRULE:|;$/g, "")
      .split(";")
      .map((part) => part.split("="))
    const names = given.map(([name = ""]) => name)
    const has = (name: string) => names.includes(name)
    for (const [name = "", value = "", ...rest] of given) {
      const part = Object.hasOwn(parts, name) ? parts[name] : undefined
      if (part === undefined || rest.length > 0) {
        return yield* Either.left(
          `A rule cannot have ${/^[A-Z]{1,20}$/.test(name) ? name : "that"}. It may have ${Object.keys(parts).slice(0, -1).join(", ")}.`
        )
      }
      const [form, words] = part
      if (!form.test(value)) return yield* Either.left(`${name} must be ${words}.`)
    }
    if (Arr.dedupe(names).length < names.length) return yield* Either.left("A rule names each part once.")
    if (!has("FREQ")) return yield* Either.left("A rule needs FREQ: DAILY, WEEKLY, MONTHLY or YEARLY.")
    if (has("UNTIL") && has("COUNT")) return yield* Either.left("A rule ends by UNTIL or by COUNT, not by both.")
    const valueOf = (part: string) => given.find(([name]) => name === part)?.[1] ?? ""
    const freq = valueOf("FREQ")
    if (/\d/.test(valueOf("BYDAY")) && (freq === "DAILY" || freq === "WEEKLY")) {
      return yield* Either.left("Only MONTHLY and YEARLY rules can number the days in BYDAY.")
    }
    if (freq === "WEEKLY" && has("BYMONTHDAY")) {
      return yield* Either.left("A WEEKLY rule has days of the week, BYDAY, not BYMONTHDAY.")
    }
    const until = valueOf("UNTIL")
    const last = yield* until === "" ? Either.right("") : lastDayOf(until, timeZone)
    return given.map(([name, value]) => `${name}=${name === "UNTIL" ? last : value}`).join(";")
  })

const lastDayOf = (until: string, timeZone: string): Either.Either<string, string> => {
  const [, y, m, d, hh, mm, ss, z] = /^(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?$/.exec(until) ?? []
  const day = `${y}-${m}-${d}`
  return DateTime.make(z === "Z" ? `${day}T${hh}:${mm}:${ss}Z` : `${day}T00:00:00Z`).pipe(
    Option.filter((instant) => z === "Z" || DateTime.formatIsoDateUtc(instant) === day),
    Option.map((instant) => (z === "Z" ? dayIn(instant, timeZone) : day).replaceAll("-", "")),
    Either.fromOption(() => "UNTIL must be a day such as 20261231.")
  )
}
