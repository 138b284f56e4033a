import type { AiError } from "@effect/ai"
import { Cause, Chunk, Effect, Exit, Metric, MetricBoundaries, MetricLabel, Option, Predicate } from "effect"
import * as Memo from "../runtime/Memo.ts"
import type * as Pull from "../runtime/Pull.ts"
import type { Part } from "../runtime/StreamText.ts"

const requestSeconds = Metric.histogram(
  "taskchat_model_request_duration_seconds",
  MetricBoundaries.fromIterable([0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120]),
  "Seconds until the end of the model's answer, by provider and outcome"
)
const firstTokenSeconds = Metric.histogram(
  "taskchat_model_first_token_seconds",
  MetricBoundaries.fromIterable([0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 20, 30]),
  "Seconds until the first text or tool call of the model's answer, by provider and outcome"
)

/** The outcome of a request to a model. `abandoned` means that the turn ended first. */
type Outcome = "completed" | "refused" | "silent" | "unreachable" | "malformed" | "abandoned"

// Cached, because tagging a metric takes as long as ten updates.
const withLabels = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>) =>
  Memo.byText((provider) =>
    Memo.byText((outcome) =>
      Metric.taggedWithLabels(metric, [MetricLabel.make("provider", provider), MetricLabel.make("outcome", outcome)])
    )
  )
const requests = withLabels(requestSeconds)
const firstTokens = withLabels(firstTokenSeconds)

/** Measures a source from now until it is closed. */
export const measured = (
  provider: string,
  source: Pull.Source<Part, AiError.AiError>
): Effect.Effect<Pull.Source<Part, AiError.AiError>> =>
  Effect.map(Effect.clock, (clock) => {
    const from = clock.unsafeCurrentTimeMillis()
    const elapsed = () => (clock.unsafeCurrentTimeMillis() - from) / 1000
    let outcome: Outcome | undefined
    let firstToken: number | undefined
    const begun = Effect.mapError(source.pull, (end) => {
      outcome = Option.match(end, { onNone: () => "completed", onSome: outcomeOf })
      return end
    })
    const beginning = Effect.map(begun, (parts) => {
      if (Chunk.some(parts, isToken)) firstToken = elapsed()
      return parts
    })
    return {
      pull: Effect.suspend(() => (firstToken === undefined ? beginning : begun)),
      close: (exit) =>
        Effect.suspend(() => {
          // The reader of the parts may have found an error in them.
          const end = outcome ?? (Exit.isFailure(exit) && Cause.isFailure(exit.cause) ? "malformed" : "abandoned")
          requests(provider)(end).unsafeUpdate(elapsed(), [])
          if (firstToken !== undefined) firstTokens(provider)(end).unsafeUpdate(firstToken, [])
          return source.close(exit)
        })
    }
  })

const isToken = ({ type }: Part) => type !== "response-metadata" && type !== "text-start" && type !== "finish"

const outcomeOf = (error: AiError.AiError): Outcome => {
  switch (error._tag) {
    case "HttpResponseError":
      return "refused"
    case "HttpRequestError":
      return Predicate.isTagged(error.cause, "TimeoutException") ? "silent" : "unreachable"
    default:
      return "malformed"
  }
}
