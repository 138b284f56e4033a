import { Cause, Data, Duration, Effect, Exit, type Fiber, FiberId, Metric, Schedule } from "effect"
import { type AgentError, type AgentEvent, AgentTimeout } from "../../domain/Agent.ts"
import type { ConversationId, MessageId, TurnId, UserId } from "../../domain/Id.ts"
import { type IdempotencyKeyReused, TurnLost, type Usage } from "../../domain/Turn.ts"
import type { Ended } from "../../domain/TurnEvent.ts"
import * as FiberState from "../../runtime/FiberState.ts"
import * as Memo from "../../runtime/Memo.ts"
import * as Pull from "../../runtime/Pull.ts"
import * as Span from "../../runtime/Span.ts"
import { type Alarm, Alarms } from "../../runtime/Timeouts.ts"
import type { Signals } from "../../sql/Signals.ts"
import { isUnavailable } from "../../sql/SqlErrors.ts"
import type { Agent } from "../agent/Agent.ts"
import { endOf, ifThere } from "./RemoteTurns.ts"
import { type Ending, endingOf, interrupted, Stopped, unavailable } from "./TurnEndings.ts"
import { TurnOutput } from "./TurnOutput.ts"
import type { Begun, Known, Refusal, TurnRequest, Turns } from "./Turns.ts"

/** A turn that runs on this node. A class, as an object that is put together from another one is slow to make. */
export class Live implements Begun {
  readonly user: UserId
  readonly turnId: TurnId
  readonly conversationId: ConversationId
  readonly userMessageId: MessageId
  /** Until the agent has been told of it. */
  history: Begun["history"]
  readonly output = new TurnOutput()
  /** Why it is being stopped, if it is; what came first counts. */
  reason: Reason | undefined = undefined
  /** Of its time. */
  alarm: Alarm | undefined = undefined
  usage: Usage = { inputTokens: 0, outputTokens: 0 }
  /** How much of the text is in the database, for readers elsewhere and for whoever may have to end the turn. */
  flushed = 0
  /** Open once what of it is on the way there has arrived. */
  flushing: Effect.Latch | undefined = undefined
  /** How many tool calls the readers elsewhere were told of. */
  announced = 0
  /** Whether someone reads along elsewhere. */
  watched = false
  isEnding = false
  private readonly fiber: Fiber.RuntimeFiber<unknown, unknown>

  constructor(begun: Begun, fiber: Fiber.RuntimeFiber<unknown, unknown>) {
    this.user = begun.user
    this.turnId = begun.turnId
    this.conversationId = begun.conversationId
    this.userMessageId = begun.userMessageId
    this.history = begun.history
    this.fiber = fiber
  }

  /** Ends it before its time. */
  stop(reason: Reason) {
    if (this.isEnding || this.reason !== undefined) return
    this.reason = reason
    this.fiber.unsafeInterruptAsFork(FiberId.none)
  }
}

type Beginning = Exit.Exit<Live | Known, Refusal | IdempotencyKeyReused>

type Reason = Stopped | TurnLost | AgentTimeout

/** The database does not answer at the moment. */
class Away extends Data.TaggedError("Away")<{}> {}

const endedTurns = Metric.counter("taskchat_turns_ended_total", {
  description: "Turns that ended, by status",
  incremental: true
})
const runningTurns = Metric.gauge("taskchat_turns_running", { description: "Turns that run on this node" })
const endedCalls = Metric.counter("taskchat_tool_calls_total", {
  description: "Tool calls, by status",
  incremental: true
})
const usedTokens = Metric.counter("taskchat_model_tokens_total", {
  description: "Tokens of the model, by direction",
  incremental: true
})

// To tag a metric anew takes as long as ten updates.
const turnsEnded = Memo.byText((status) => Metric.tagged(endedTurns, "status", status))
const toolCallsEnded = Memo.byText((status) => Metric.tagged(endedCalls, "status", status))
const tokensUsed = Memo.byText((direction) => Metric.tagged(usedTokens, "direction", direction))

/**
 * The turns that run on this node, from their beginning to their end. They belong to the scope in which this is made:
 * those that run when it closes end as interrupted.
 */
export const make = (
  options: { readonly timeout: Duration.Duration; readonly maxRunning: number; readonly lease: Duration.Duration },
  turns: typeof Turns.Service,
  agent: typeof Agent.Service,
  signals: typeof Signals.Service
) =>
  Effect.gen(function* () {
    const live = new Map<TurnId, Live>()
    const scope = yield* Effect.scope
    // Turns that run or are about to, so that the limit holds while they begin.
    let taken = 0
    const isIdle = yield* Effect.makeLatch(true)
    let isDraining = false
    let isStopping = false
    const gauge = () => runningTurns.unsafeUpdate(live.size, [])
    const times = Duration.isFinite(options.timeout)
      ? yield* Alarms.make(Duration.toMillis(options.timeout))
      : undefined

    // Before every turn's fiber is interrupted with this scope, each is told why, so that its end says so.
    yield* Effect.addFinalizer(() => stopAll)

    const stopAll = Effect.suspend(() => {
      isDraining = true
      isStopping = true
      for (const turn of live.values()) turn.stop(ended)
      return Effect.void
    }).pipe(Effect.zipRight(isIdle.await))

    const ended = new Stopped({ status: "interrupted" })
    const cancelled = new Stopped({ status: "cancelled" })

    /**
     * Begins in a fiber of its own: whoever asked may leave at any moment, and between the turn's beginning in the
     * database and here nobody would own it.
     */
    const start = (request: TurnRequest) =>
      Effect.suspend(() => {
        let begun: Beginning | undefined
        let hear: ((begun: Beginning) => void) | undefined
        const tell = (answer: Beginning) => {
          begun = answer
          hear?.(answer)
        }
        const whole = Effect.matchCauseEffect(turns.begin(request), {
          onFailure: (cause) => Effect.sync(() => tell(Exit.failCause(cause))),
          onSuccess: (value) =>
            Effect.withFiberRuntime<void>((fiber) => {
              if (!("history" in value)) return Effect.sync(() => tell(Exit.succeed(value)))
              const turn = liven(value, fiber)
              tell(Exit.succeed(turn))
              return run(turn, request)
            })
        })
        // What is forked where nothing interrupts is not interrupted either.
        const forked = Effect.suspend(() => {
          taken++
          isIdle.unsafeClose()
          return Effect.forkDaemon(Effect.onExit(whole, () => leave))
        })
        const heard = Effect.async<Live | Known, Refusal | IdempotencyKeyReused>((resume) => {
          if (begun !== undefined) resume(begun)
          else hear = resume
        })
        return Effect.zipRight(Effect.uninterruptible(forked), heard)
      })

    const leave = Effect.suspend(() => {
      taken--
      if (taken === 0) isIdle.unsafeOpen()
      return FiberState.forget
    })

    const liven = (begun: Begun, fiber: Fiber.RuntimeFiber<unknown, unknown>) => {
      const turn = new Live(begun, fiber)
      live.set(turn.turnId, turn)
      gauge()
      return turn
    }

    const run = (turn: Live, request: TurnRequest) => {
      if (isStopping) turn.stop(ended)
      const about = { turn_id: turn.turnId, conversation_id: turn.conversationId, user_id: turn.user }
      const working = Effect.interruptible(Effect.suspend(() => work(turn, request)))
      const ending = Effect.flatMap(Effect.exit(working), (exit) => conclude(turn, exit))
      return Effect.onExit(Effect.zipRight(FiberState.annotate(about), ending), () => {
        live.delete(turn.turnId)
        gauge()
        return Effect.void
      }).pipe(Span.withSpan("Chat.turn", { attributes: { "turn.id": turn.turnId, "user.id": turn.user } }))
    }

    const work = (turn: Live, request: TurnRequest) => {
      const { history } = turn
      turn.history = []
      const said = agent.run({
        id: turn.turnId,
        user: turn.user,
        timeZone: request.timeZone,
        message: request.message,
        history,
        record: (place, call) => turns.record(turn, { ...place, offset: turn.output.text.length }, call)
      })
      const heard = Pull.runForEachChunk(said, (events) => {
        for (const event of events) note(turn, event)
      })
      if (times === undefined) return heard
      const timeIsUp = () => {
        turn.stop(new AgentTimeout({ limit: options.timeout }))
        return undefined
      }
      const limited = times.set(timeIsUp, (alarm) => {
        turn.alarm = alarm
      })
      return Effect.zipRight(limited, heard)
    }

    const note = (turn: Live, event: AgentEvent) => {
      switch (event._tag) {
        case "Text":
          return turn.output.say(event.text)
        case "ToolCallStarted":
          return turn.output.callStarted(event.call, event.step)
        case "ToolCallEnded":
          return turn.output.callEnded(event.call, { step: event.step, offset: turn.output.text.length })
        case "StepEnded":
          turn.usage = {
            inputTokens: turn.usage.inputTokens + event.usage.inputTokens,
            outputTokens: turn.usage.outputTokens + event.usage.outputTokens
          }
      }
    }

    const conclude = (turn: Live, exit: Exit.Exit<void, AgentError | TurnLost>) => {
      turn.isEnding = true
      turn.alarm?.off()
      const { reason } = turn
      const why =
        reason !== undefined && Exit.isFailure(exit) && Cause.isInterrupted(exit.cause) ? Exit.fail(reason) : exit
      return Effect.matchEffect(endingOf(why), {
        onFailure: () => patiently(settle(turn)),
        onSuccess: (ending) => patiently(Effect.catchTag(write(turn, ending), "TurnLost", () => settle(turn)))
      }).pipe(
        // It stays `running` in the database, for a sweep to end once its lease is over.
        Effect.catchAllCause((cause) =>
          Effect.as(Effect.logError("A turn's end could not be written", cause), unwritten(turn, unavailable))
        ),
        Effect.flatMap((end) => {
          turn.output.end(end)
          measure(end)
          return turn.watched ? signals.publish(`said ${turn.turnId}`) : Effect.void
        })
      )
    }

    /** Tried again while the database is away, as long as the lease lasts. */
    const patiently = <A>(attempt: Effect.Effect<A>): Effect.Effect<A, Away> => {
      const once = Effect.catchAllDefect(attempt, (defect) =>
        isUnavailable(defect) ? Effect.fail(new Away()) : Effect.die(defect)
      )
      return Effect.catchAll(once, () =>
        Effect.delay(
          Effect.retry(once, { schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo(options.lease)) }),
          "500 millis"
        )
      )
    }

    /** Writes the end. Of a turn that was cut off, the database knows best which tool calls took effect. */
    const write = (turn: Live, ending: Ending): Effect.Effect<Ended, TurnLost> => {
      const { output } = turn
      const written = Effect.suspend(() => {
        const end = turns.end(turn, {
          ...ending,
          content: output.text,
          calls: output.calls,
          places: output.places,
          usage: turn.usage
        })
        // The end removes what it sees of what was flushed, and it would not see what is just arriving.
        return turn.flushing === undefined ? end : Effect.zipRight(turn.flushing.await, end)
      })
      if (ending.status === "completed") return written
      return Effect.flatMap(turns.recorded(turn.user, turn.turnId), ({ calls, places }) => {
        for (let i = output.calls.length; i < calls.length; i++) {
          const [call, place] = [calls[i], places[i]]
          if (call !== undefined && place !== undefined) output.callEnded(call, place)
        }
        return written
      })
    }

    /** The turn is not ours any more: whoever has ended it knows how. */
    const settle = (turn: Live) =>
      turns.find(turn.user, turn.turnId).pipe(
        Effect.map((stored) => endOf(stored) ?? unwritten(turn, interrupted)),
        Effect.catchTag("TurnNotFound", () => Effect.succeed(unwritten(turn, interrupted)))
      )

    // --- what others want of the turns here, and what they are told of them

    const watch = (turn: Live) =>
      Effect.suspend(() => {
        turn.watched = true
        if (isHurrying) return Effect.void
        isHurrying = true
        return flush.pipe(
          ifThere<void>(undefined),
          Effect.repeat({ schedule: Schedule.spaced("150 millis"), while: isWatched }),
          Effect.ensuring(
            Effect.sync(() => {
              isHurrying = false
            })
          ),
          Effect.forkIn(scope)
        )
      })

    // Whether output is flushed often, as it is while someone elsewhere reads along.
    let isHurrying = false
    const isWatched = () => [...live.values()].some(({ isEnding, watched }) => watched && !isEnding)

    const renew = Effect.gen(function* () {
      const ours = [...live.values()].filter(({ isEnding }) => !isEnding)
      if (ours.length === 0) return
      const wishes = new Map((yield* turns.renew(ours.map(({ turnId }) => turnId))).map((wish) => [wish.turnId, wish]))
      for (const turn of ours) {
        const wish = wishes.get(turn.turnId)
        if (turn.isEnding) continue
        if (wish === undefined) turn.stop(new TurnLost())
        else if (wish.cancelled) turn.stop(cancelled)
        else if (wish.watched) yield* watch(turn)
        else turn.watched = false
      }
    })

    const flushing = yield* Effect.makeSemaphore(1)
    const flush = flushing.withPermits(1)(
      Effect.gen(function* () {
        const news = [...live.values()]
          .filter(({ isEnding }) => !isEnding)
          .map((turn) => ({ turn, text: turn.output.text.slice(turn.flushed), calls: turn.output.calls.length }))
        const said = news.filter(({ text }) => text !== "")
        const arrival = Effect.unsafeMakeLatch()
        yield* Effect.ensuring(
          Effect.suspend(() => {
            for (const { turn } of said) turn.flushing = arrival
            return turns.flush(
              said.map(({ text, turn: { flushed, turnId, user } }) => ({ user, turnId, from: flushed, text }))
            )
          }),
          Effect.suspend(() => {
            for (const { turn } of said) turn.flushing = undefined
            return arrival.open
          })
        )
        for (const { calls, text, turn } of news) {
          const isNews = text !== "" || calls > turn.announced
          turn.flushed += text.length
          turn.announced = calls
          if (turn.watched && isNews) yield* signals.publish(`said ${turn.turnId}`)
        }
      })
    )

    yield* Effect.forkScoped(
      Effect.repeat(ifThere<void>(undefined)(Effect.zipRight(renew, flush)), Schedule.spaced("1 second"))
    )

    return {
      start,
      /** Whether one more turn may begin: if not, the node is draining or full. */
      hasRoom: () => !isDraining && taken < options.maxRunning,
      isAccepting: () => !isDraining,
      count: () => live.size,
      find: (user: UserId, turnId: TurnId) => {
        const turn = live.get(turnId)
        return turn?.user === user ? turn : undefined
      },
      /** Returns whether the turn runs here. */
      cancel: (turnId: TurnId) => {
        const turn = live.get(turnId)
        turn?.stop(cancelled)
        return turn !== undefined
      },
      /** Flushes often what the turn says, as long as someone elsewhere reads along. */
      watch: (turnId: TurnId) => {
        const turn = live.get(turnId)
        return turn === undefined ? Effect.void : watch(turn)
      },
      wake: () => {
        for (const { output } of live.values()) output.wake()
      },
      /** Begins no more, gives the running ones `grace` to end and ends the rest as interrupted. */
      drain: (grace: Duration.Duration) =>
        Effect.suspend(() => {
          isDraining = true
          return isIdle.await.pipe(Effect.timeoutOption(grace), Effect.zipRight(stopAll))
        })
    }
  })

/** An end that is not in the database: told to those who wait, so that nobody waits in vain. */
const unwritten = (turn: Live, ending: Ending): Ended => ({
  ...ending,
  turnId: turn.turnId,
  conversationId: turn.conversationId,
  content: turn.output.text,
  toolCalls: turn.output.calls.length === 0 ? null : turn.output.calls,
  usage: turn.usage,
  message: null
})

const measure = ({ status, toolCalls, usage }: Ended) => {
  turnsEnded(status).unsafeUpdate(1, [])
  tokensUsed("input").unsafeUpdate(usage.inputTokens, [])
  tokensUsed("output").unsafeUpdate(usage.outputTokens, [])
  for (const { result } of toolCalls ?? []) toolCallsEnded(result.status).unsafeUpdate(1, [])
}
