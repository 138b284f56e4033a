import { Cause, Data, Effect, Exit, Option } from "effect"
import type { AgentError, AgentTimeout } from "../../domain/Agent.ts"
import { InternalError, Unavailable } from "../../domain/Request.ts"
import { TurnCancelled, TurnInterrupted, type TurnLost } from "../../domain/Turn.ts"
import { isUnavailable } from "../../sql/SqlErrors.ts"
import type { Outcome } from "./Turns.ts"

/** Why a turn is stopped before its end. */
export class Stopped extends Data.TaggedError("Stopped")<{ readonly status: "cancelled" | "interrupted" }> {}

/** How a turn ends, apart from what it leaves behind. */
export type Ending = Pick<Outcome, "status" | "error" | "retryAfter">

const failed = (code: string, detail: string): Ending => ({
  status: "failed",
  error: { code, detail },
  retryAfter: null
})

/** The database was away: in the turn, or at its end. */
export const unavailable = failed("unavailable", Unavailable.about.detail)

export const interrupted: Ending = {
  status: "interrupted",
  error: { code: "turn_interrupted", detail: TurnInterrupted.about.detail },
  retryAfter: null
}

const cancelled: Ending = {
  status: "cancelled",
  error: { code: "turn_cancelled", detail: TurnCancelled.about.detail },
  retryAfter: null
}

/** How a turn ends by what became of its work. Fails if the turn is not ours to end. */
export const endingOf = (
  exit: Exit.Exit<void, AgentError | AgentTimeout | Stopped | TurnLost>
): Effect.Effect<Ending, TurnLost> => {
  if (Exit.isSuccess(exit)) return Effect.succeed({ status: "completed", error: null, retryAfter: null })
  const failure = Cause.failureOption(exit.cause)
  if (Option.isNone(failure)) {
    if (Cause.isInterruptedOnly(exit.cause)) return Effect.succeed(interrupted)
    return isUnavailable(Cause.squash(exit.cause))
      ? Effect.succeed(unavailable)
      : Effect.as(Effect.logError("Turn failed", exit.cause), failed("internal_error", InternalError.about.detail))
  }
  const error = failure.value
  switch (error._tag) {
    case "TurnLost":
      return Effect.fail(error)
    case "Stopped":
      return Effect.succeed(error.status === "cancelled" ? cancelled : interrupted)
    case "AgentTimeout":
      return Effect.succeed({ ...failed(error.code, error.detail), status: "timed_out" })
    default:
      return Effect.as(Effect.logWarning("The agent failed").pipe(Effect.annotateLogs({ code: error.code })), {
        ...failed(error.code, error.detail),
        retryAfter: "retryAfter" in error ? (error.retryAfter ?? null) : null
      })
  }
}
