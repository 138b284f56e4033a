import { DateTime, Either, Schema } from "effect"
import { key } from "./Json.ts"
import { InvalidRequest } from "./Request.ts"
import { LocalDate } from "./Task.ts"
import { Usage } from "./Turn.ts"

/** The reported usage of one model. */
const ModelUsage = Schema.Struct({
  model: Schema.String.annotations({
    description: "`provider:model`; `unnamed` if the turn does not name it",
    examples: ["openai:gpt-4.1-mini"]
  }),
  ...Usage.pick("inputTokens", "outputTokens").fields
})

const count = Schema.Int.annotations({ examples: [3] })

/** The cost of a user's ended turns that began on one day. */
export const UsageDay = Schema.Struct({
  date: LocalDate.annotations({ description: "The UTC day on which the turns began" }),
  ...Usage.pick("inputTokens", "outputTokens").fields,
  estimatedTokens: Schema.Int.annotations({
    description: "In addition, an estimate for calls of the model without a reported cost",
    examples: [0]
  }).pipe(key("estimated_tokens")),
  turns: Schema.Struct({
    completed: count,
    failed: count,
    timedOut: count.pipe(key("timed_out")),
    cancelled: count,
    interrupted: count
  }).annotations({ description: "The number of turns, by their end" }),
  models: Schema.Array(ModelUsage).annotations({ description: "The reported tokens, by model" })
}).annotations({ identifier: "UsageDay", description: "The cost of the turns that began on one day" })
export type UsageDay = typeof UsageDay.Type

/** Days in UTC, both inclusive. */
export interface UsageRange {
  readonly from: DateTime.Utc
  readonly to: DateTime.Utc
}

const maxDays = 92

/** The first year that clients can write in a date. */
const firstDay = DateTime.unsafeMake("0001-01-01")

/** The requested days: the last 30 by default, at most 92. */
export const usageRange = (
  { from, to }: { readonly from?: string | undefined; readonly to?: string | undefined },
  now: DateTime.Utc
): Either.Either<UsageRange, InvalidRequest> => {
  const last = to === undefined ? DateTime.startOf(now, "day") : DateTime.unsafeMake(to)
  const first =
    from === undefined ? DateTime.max(DateTime.subtract(last, { days: 29 }), firstDay) : DateTime.unsafeMake(from)
  const days = DateTime.distance(first, last) / 86_400_000 + 1
  const wrong = (message: string) => Either.left(new InvalidRequest({ errors: [{ path: "from", message }] }))
  if (days < 1) return wrong("must not be later than `to`, or today where that is absent")
  if (days > maxDays) return wrong(`must be at most ${maxDays - 1} days before \`to\`, or today where that is absent`)
  return Either.right({ from: first, to: last })
}

/** Every day from `from` to `to`; empty days are added. */
export const everyDay = ({ from, to }: UsageRange, known: ReadonlyArray<UsageDay>): ReadonlyArray<UsageDay> => {
  const byDate = new Map(known.map((day) => [day.date, day]))
  const days: Array<UsageDay> = []
  for (let day = from; DateTime.lessThanOrEqualTo(day, to); day = DateTime.add(day, { days: 1 })) {
    const date = DateTime.formatIsoDateUtc(day)
    days.push(byDate.get(date) ?? { ...nothing, date })
  }
  return days
}

const nothing: Omit<UsageDay, "date"> = {
  inputTokens: 0,
  outputTokens: 0,
  estimatedTokens: 0,
  turns: { completed: 0, failed: 0, timedOut: 0, cancelled: 0, interrupted: 0 },
  models: []
}
