import { Cause, Data, DateTime, Deferred, Duration, Effect, Exit, Metric, Option, Schedule } from "effect"
import { type AgentError, AgentTimeout } from "../../domain/Agent.ts"
import type { Held } from "../../domain/Approval.ts"
import { InternalError } from "../../domain/Request.ts"
import { TaskChanged } from "../../domain/Task.ts"
import type { BudgetExhausted, TurnLost } from "../../domain/Turn.ts"
import type { Ended } from "../../domain/TurnEvent.ts"
import * as FiberState from "../../runtime/FiberState.ts"
import * as Memo from "../../runtime/Memo.ts"
import * as Pull from "../../runtime/Pull.ts"
import * as Span from "../../runtime/Span.ts"
import { isUnavailable } from "../../sql/SqlErrors.ts"
import type { Agent, AgentTurn } from "../agent/Agent.ts"
import type { Tasks } from "../tasks/Tasks.ts"
import { endOf } from "./RemoteTurns.ts"
import type { TurnFlusher } from "./TurnFlusher.ts"
import type { RunningTurn, TurnRegistry } from "./TurnRegistry.ts"
import type { Turns } from "./Turns.ts"
import {
  type BegunTurn,
  cancelled,
  completed,
  type DecisionRequest,
  type Ending,
  type ExistingTurn,
  failed,
  interrupted,
  type RunHeld,
  type Stopped,
  type TurnRequest,
  unavailable
} from "./TurnTypes.ts"

/** The node is draining or full. */
class NodeFull extends Data.TaggedError("NodeFull")<{}> {}

/** The database is away. */
class DatabaseAway extends Data.TaggedError("DatabaseAway")<{}> {}

/** Runs turns from beginning to end, each in a fiber that no request owns. */
export const make = (
  options: { readonly timeout: Duration.Duration; readonly lease: Duration.Duration },
  turns: typeof Turns.Service,
  agent: typeof Agent.Service,
  tasks: typeof Tasks.Service,
  registry: TurnRegistry,
  flusher: TurnFlusher
) => {
  /**
   * Begins a turn in its own fiber. The client may leave at any moment, and a turn that has just begun in the database must
   * still have an owner. Only the turn's work in that fiber is interruptible.
   */
  const start = <E>(
    begin: Effect.Effect<BegunTurn | ExistingTurn, E>
  ): Effect.Effect<RunningTurn | ExistingTurn, E | NodeFull> =>
    Effect.flatMap(Deferred.make<RunningTurn | ExistingTurn, E | NodeFull>(), (begun) =>
      Effect.zipRight(
        Effect.forkDaemon(Effect.uninterruptible(Effect.zipRight(beginAndRun(begin, begun), FiberState.forget))),
        Deferred.await(begun)
      )
    )

  const beginAndRun = <E>(
    begin: Effect.Effect<BegunTurn | ExistingTurn, E>,
    begun: Deferred.Deferred<RunningTurn | ExistingTurn, E | NodeFull>
  ) =>
    Effect.flatMap(
      registry.withPlace(
        Effect.matchCauseEffect(begin, {
          onFailure: (cause) => Deferred.failCause(begun, cause),
          onSuccess: (value) =>
            "history" in value
              ? registry.withTurn(value, (turn) => Effect.zipRight(Deferred.succeed(begun, turn), run(turn, value)))
              : Deferred.succeed(begun, value)
        })
      ),
      (ran) => (Option.isNone(ran) ? Deferred.fail(begun, new NodeFull()) : Effect.void)
    )

  const run = (turn: RunningTurn, begun: BegunTurn) =>
    flusher.add(turn).pipe(
      Effect.zipRight(Effect.exit(limitedWork(turn, begun))),
      Effect.zipLeft(flusher.settle(turn)),
      Effect.flatMap((exit) => conclude(turn, exit)),
      Effect.zipRight(flusher.remove(turn)),
      Span.withSpan("Chat.turn", { attributes: { "turn.id": turn.turnId, "user.id": turn.user } }),
      FiberState.annotateLogs({ turn_id: turn.turnId, conversation_id: turn.conversationId, user_id: turn.user }),
      FiberState.annotateSpans({ "gen_ai.conversation.id": String(turn.conversationId) })
    )

  /** Runs approved calls when the approving turn begins, if the tasks' versions are still those of the calls. */
  const runHeld: RunHeld = ({ timeZone, ...turn }, { calls, tasks: before }) =>
    Effect.gen(function* () {
      const now = yield* tasks.versions(
        turn.user,
        before.map(({ id }) => id)
      )
      if (before.some(({ version }, i) => version !== now[i]?.version))
        return yield* new TaskChanged({ detail: changed })
      if (agent.runHeld === undefined) return yield* Effect.dieMessage("The agent holds no calls back")
      const record: AgentTurn["record"] = (place, call) => turns.record(turn, { ...place, offset: 0 }, call)
      const approved = calls.filter(({ needsApproval }) => needsApproval)
      return yield* Effect.orDie(agent.runHeld({ id: turn.turnId, user: turn.user, timeZone, record }, approved))
    })

  /** The turn's work. At the timeout or a stop it is interrupted, and fails with the reason. */
  const limitedWork = (turn: RunningTurn, begun: BegunTurn) =>
    work(turn, begun).pipe(
      Effect.timeoutFail({
        duration: options.timeout,
        onTimeout: () => new AgentTimeout({ limit: options.timeout })
      }),
      Effect.interruptible,
      Effect.tapErrorCause((cause) => (Cause.isInterrupted(cause) ? turn.reason : Effect.void))
    )

  /** Runs the agent and adds its events to the turn's output. */
  const work = (turn: RunningTurn, { decided, history, message, timeZone }: BegunTurn) =>
    Effect.clockWith((clock) =>
      Pull.runForEachChunk(
        agent.run({
          id: turn.turnId,
          user: turn.user,
          timeZone,
          message,
          history,
          decided,
          deadline: Duration.isFinite(options.timeout)
            ? DateTime.unsafeMake(clock.unsafeCurrentTimeMillis() + Duration.toMillis(options.timeout))
            : undefined,
          record: (place, call) => turns.record(turn, { ...place, offset: turn.output.text.length }, call, turn.output),
          asked: (estimate) => turn.output.asked(estimate),
          goOn: turns.goOn && Effect.suspend(() => turns.goOn?.(turn, turn.output.usage) ?? Effect.void)
        }),
        (events) => {
          for (const event of events) turn.output.add(event)
        }
      )
    )

  /** Writes the turn's end and notifies its readers, in any case. */
  const conclude = (turn: RunningTurn, exit: WorkExit) => {
    turn.output.closeCall()
    return endingOf(exit).pipe(
      Effect.matchEffect({
        onFailure: () => retryWhileAway(storedEnd(turn)),
        onSuccess: (ending) =>
          retryWhileAway(Effect.catchTag(writeEnd(turn, ending), "TurnLost", () => storedEnd(turn)))
      }),
      // It stays `running` in the database until a sweep ends it after its lease.
      Effect.catchAllCause((cause) =>
        Effect.as(Effect.logError("A turn's end could not be written", cause), unwrittenEnd(turn, unavailable))
      ),
      Effect.map((end) => {
        turn.output.end(end)
        measure(end)
      })
    )
  }

  const retryWhileAway = <A>(attempt: Effect.Effect<A>): Effect.Effect<A, DatabaseAway> => {
    const tried = Effect.catchSomeDefect(attempt, (defect) =>
      isUnavailable(defect) ? Option.some(Effect.fail(new DatabaseAway())) : Option.none()
    )
    const retried = Effect.retry(tried, Schedule.spaced(pause).pipe(Schedule.upTo(options.lease)))
    // Start the schedule only when there is something to retry: it costs as much as the attempt.
    return Effect.catchAll(tried, () => Effect.delay(retried, pause))
  }

  const writeEnd = (turn: RunningTurn, ending: Ending): Effect.Effect<Ended, TurnLost> => {
    const { output } = turn
    const write = (held?: Held) =>
      Effect.suspend(() => {
        const { calls, model, places, states, steps, text: content, usage } = output
        return turns.end(turn, { ...ending, content, calls, places, model, usage, steps, states, held })
      })
    if (ending.status === "completed") {
      if (output.held === undefined) return write()
      const { calls, states, tasks: about } = output.held
      return Effect.flatMap(tasks.versions(turn.user, about), (tasks) => write({ calls, tasks, states }))
    }
    // After a cut-off the database has the right list of tool calls: one may have committed without an answer.
    return Effect.flatMap(turns.recorded(turn.user, turn.turnId), ({ calls, places }) => {
      for (let i = output.calls.length; i < calls.length; i++) {
        const [call, place] = [calls[i], places[i]]
        if (call !== undefined && place !== undefined) output.callEnded(call, place)
      }
      return write()
    })
  }

  /** This node has lost the turn; the node that ended it has the outcome. */
  const storedEnd = (turn: RunningTurn) =>
    turns.find(turn.user, turn.turnId).pipe(
      Effect.map((stored) => endOf(stored) ?? unwrittenEnd(turn, interrupted)),
      Effect.catchTag("TurnNotFound", () => Effect.succeed(unwrittenEnd(turn, interrupted)))
    )

  return {
    start: (request: TurnRequest) => start(turns.begin(request, runHeld, agent.estimate)),
    decide: (request: DecisionRequest) => start(turns.decide(request, runHeld, agent.estimate))
  }
}

/** Between two attempts to write a turn's end. */
const pause = "500 millis"

const changed = "A task that these calls are about has changed since. Nothing was run; please ask for it again."

type WorkError = AgentError | AgentTimeout | Stopped | TurnLost | BudgetExhausted
type WorkExit = Exit.Exit<void, WorkError>

/** A turn's end from the exit of its work. Fails if this node has lost the turn. */
const endingOf = (exit: WorkExit): Effect.Effect<Ending, TurnLost> => {
  if (Exit.isSuccess(exit)) return Effect.succeed(completed)
  const failure = Cause.failureOption(exit.cause)
  if (Option.isSome(failure)) return endingOfError(failure.value)
  if (Cause.isInterruptedOnly(exit.cause)) return Effect.succeed(interrupted)
  return isUnavailable(Cause.squash(exit.cause))
    ? Effect.succeed(unavailable)
    : Effect.as(Effect.logError("Turn failed", exit.cause), failed("internal_error", InternalError.about.detail))
}

const endingOfError = (error: WorkError): Effect.Effect<Ending, TurnLost> => {
  switch (error._tag) {
    case "TurnLost":
      return Effect.fail(error)
    case "Stopped":
      return Effect.succeed(error.status === "cancelled" ? cancelled : interrupted)
    case "AgentTimeout":
      return Effect.succeed({ ...failed(error.code, error.detail), status: "timed_out" })
    case "BudgetExhausted":
      return Effect.succeed({
        ...failed(error.code ?? "budget_exhausted", error.message),
        retryAfter: error.retryAfter ?? null
      })
    default:
      return Effect.as(Effect.logWarning("The agent failed").pipe(Effect.annotateLogs({ code: error.code })), {
        ...failed(error.code, error.detail),
        retryAfter: "retryAfter" in error ? (error.retryAfter ?? null) : null,
        isMessageRefused: error._tag === "AgentMessageRefused"
      })
  }
}

/** An end that could not be written to the database, for the readers that wait. */
const unwrittenEnd = ({ conversationId, output, turnId }: RunningTurn, ending: Ending): Ended => ({
  ...ending,
  turnId,
  conversationId,
  content: output.text,
  toolCalls: output.calls.length === 0 ? null : output.calls,
  awaiting: null,
  model: output.model,
  usage: output.usage,
  message: null
})

const endedTurns = Metric.counter("taskchat_turns_ended_total", {
  description: "Turns that ended, by status",
  incremental: true
})
const endedCalls = Metric.counter("taskchat_tool_calls_total", {
  description: "Tool calls, by status",
  incremental: true
})
const usedTokens = Metric.counter("taskchat_model_tokens_total", {
  description: "Tokens of the models, by direction and model",
  incremental: true
})

// Tagging a metric costs as much as ten updates.
const turnsEnded = Memo.byText((status) => Metric.tagged(endedTurns, "status", status))
const toolCallsEnded = Memo.byText((status) => Metric.tagged(endedCalls, "status", status))
const inputTokensUsed = Memo.byText((model) => tokensUsed("input", model))
const outputTokensUsed = Memo.byText((model) => tokensUsed("output", model))
const tokensEstimated = Memo.byText((model) => tokensUsed("estimated", model))
const tokensUsed = (direction: string, model: string) =>
  usedTokens.pipe(Metric.tagged("direction", direction), Metric.tagged("model", model))

const measure = ({ model, status, toolCalls, usage }: Ended) => {
  turnsEnded(status).unsafeUpdate(1, [])
  if (usage.inputTokens + usage.outputTokens > 0) {
    inputTokensUsed(model ?? "unnamed").unsafeUpdate(usage.inputTokens, [])
    outputTokensUsed(model ?? "unnamed").unsafeUpdate(usage.outputTokens, [])
  }
  if (usage.estimatedTokens !== undefined) {
    tokensEstimated(model ?? "unnamed").unsafeUpdate(usage.estimatedTokens, [])
  }
  for (const { result } of toolCalls ?? []) toolCallsEnded(result.status).unsafeUpdate(1, [])
}
