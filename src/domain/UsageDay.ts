import { DateTime, Either, Schema } from "effect"
import { key } from "./Json.ts"
import { InvalidRequest } from "./Request.ts"
import { LocalDate } from "./Task.ts"
import { Usage } from "./Turn.ts"

/** What one model has told of its calls. */
const ModelUsage = Schema.Struct({
  model: Schema.String.annotations({
    description: "`provider:model`; `unnamed` where the turn does not say",
    examples: ["openai:gpt-4.1-mini"]
  }),
  ...Usage.pick("inputTokens", "outputTokens").fields
})

const count = Schema.Int.annotations({ examples: [3] })

/** What a user's turns that began on one day have cost, once they have ended. */
export const UsageDay = Schema.Struct({
  date: LocalDate.annotations({ description: "In UTC: the day on which the turns began" }),
  ...Usage.pick("inputTokens", "outputTokens").fields,
  estimatedTokens: Schema.Int.annotations({
    description: "Beside these, an estimate for calls of the model that did not tell what they cost",
    examples: [0]
  }).pipe(key("estimated_tokens")),
  turns: Schema.Struct({
    completed: count,
    failed: count,
    timedOut: count.pipe(key("timed_out")),
    cancelled: count,
    interrupted: count
  }).annotations({ description: "How many, by how they ended" }),
  models: Schema.Array(ModelUsage).annotations({ description: "The same tokens but the estimates, by model" })
}).annotations({ identifier: "UsageDay", description: "What the turns that began on one day have cost" })
export type UsageDay = typeof UsageDay.Type

/** Days in UTC, both included. */
export interface UsageRange {
  readonly from: DateTime.Utc
  readonly to: DateTime.Utc
}

const maxDays = 92

/** Before it, no date can be written as clients write them. */
const firstDay = DateTime.unsafeMake("0001-01-01")

/** The days that are asked for: the last 30 if none are named, and never more than 92. */
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
  if (days > maxDays) return wrong(`must be at most ${maxDays} days before \`to\`, or today where that is absent`)
  return Either.right({ from: first, to: last })
}

/** Every day from `from` to `to`, with what there is of it. */
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
