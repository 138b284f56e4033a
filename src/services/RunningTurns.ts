import {
  type Chunk,
  Data,
  Deferred,
  type Duration,
  Effect,
  Either,
  Exit,
  FiberId,
  FiberSet,
  Metric,
  Option,
  Schedule,
  Stream
} from "effect"
import { type AgentEvent, AgentTimeout } from "../domain/Agent.ts"
import type { TurnId, UserId } from "../domain/Id.ts"
import { type IdempotencyKeyReused, TurnLost, type Usage } from "../domain/Turn.ts"
import type { Ended } from "../domain/TurnEvent.ts"
import type { Signals } from "../sql/Signals.ts"
import { isUnavailable } from "../sql/SqlErrors.ts"
import type { Agent } from "./Agent.ts"
import { traced } from "./Traced.ts"
import { endOf, ifThere } from "./TurnCopies.ts"
import { type Ending, endingOf, interrupted, Stopped, unavailable } from "./TurnEndings.ts"
import { TurnOutput } from "./TurnOutput.ts"
import type { Begun, Known, Refusal, TurnRequest, Turns } from "./Turns.ts"

/** A turn that runs on this node. */
export interface Live extends Begun {
  readonly output: TurnOutput
  readonly stop: Deferred.Deferred<never, Stopped | TurnLost>
  usage: Usage
  /** How much of the text is in the database, for readers elsewhere and for whoever may have to end the turn. */
  flushed: number
  /** How many tool calls the readers elsewhere were told of. */
  announced: number
  /** Whether someone reads along elsewhere. */
  watched: boolean
  isEnding: boolean
}

/** The database does not answer at the moment. */
class Away extends Data.TaggedError("Away")<{}> {}

const turnsEnded = Metric.counter("taskchat_turns_ended_total", {
  description: "Turns that ended, by status",
  incremental: true
})
const turnsRunning = Metric.gauge("taskchat_turns_running", { description: "Turns that run on this node" })
const toolCallsEnded = Metric.counter("taskchat_tool_calls_total", {
  description: "Tool calls, by status",
  incremental: true
})
const tokensUsed = Metric.counter("taskchat_model_tokens_total", {
  description: "Tokens of the model, by direction",
  incremental: true
})

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
    const fibers = yield* FiberSet.make<void>()
    const scope = yield* Effect.scope
    // Turns that run or are about to, so that the limit holds while they begin.
    let taken = 0
    let isDraining = false
    let isStopping = false
    const gauge = Effect.suspend(() => Metric.set(turnsRunning, live.size))

    // Before every turn's fiber is interrupted with this scope, each is told why, so that its end says so.
    yield* Effect.addFinalizer(() => stopAll)

    const stopAll = Effect.suspend(() => {
      isDraining = true
      isStopping = true
      return Effect.forEach(live.values(), ({ stop }) => Deferred.fail(stop, ended), { discard: true })
    }).pipe(Effect.zipRight(FiberSet.awaitEmpty(fibers)))

    const ended = new Stopped({ status: "interrupted" })
    const cancelled = new Stopped({ status: "cancelled" })

    /**
     * Begins in a fiber of its own: whoever asked may leave at any moment, and between the turn's beginning in the
     * database and here nobody would own it.
     */
    const start = (request: TurnRequest): Effect.Effect<Live | Known, Refusal | IdempotencyKeyReused> =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<Live | Known, Refusal | IdempotencyKeyReused>()
        taken++
        yield* FiberSet.run(
          fibers,
          Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(Effect.exit(turns.begin(request)), (exit) => {
              if (Exit.isFailure(exit)) return Deferred.failCause(begun, exit.cause)
              if (!("history" in exit.value)) return Deferred.succeed(begun, exit.value)
              const turn = liven(exit.value)
              return Deferred.succeed(begun, turn).pipe(Effect.zipRight(run(turn, request, restore)))
            })
          ).pipe(Effect.ensuring(Effect.sync(() => taken--)), Effect.interruptible, Effect.asVoid)
        )
        return yield* Deferred.await(begun)
      })

    const liven = (begun: Begun): Live => {
      const turn = {
        ...begun,
        output: new TurnOutput(),
        stop: Deferred.unsafeMake<never, Stopped | TurnLost>(FiberId.none),
        usage: { inputTokens: 0, outputTokens: 0 },
        flushed: 0,
        announced: 0,
        watched: false,
        isEnding: false
      }
      live.set(turn.turnId, turn)
      return turn
    }

    const run = (
      turn: Live,
      request: TurnRequest,
      restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    ) =>
      (isStopping
        ? Effect.fail(ended)
        : Effect.raceFirst(Effect.zipRight(gauge, work(turn, request)), Deferred.await(turn.stop))
      ).pipe(
        restore,
        Effect.exit,
        Effect.flatMap((exit) => conclude(turn, exit)),
        Effect.ensuring(
          Effect.suspend(() => {
            live.delete(turn.turnId)
            return gauge
          })
        ),
        Effect.annotateLogs({ turn_id: turn.turnId, conversation_id: turn.conversationId, user_id: turn.user }),
        traced("Chat.turn", { "turn.id": turn.turnId, "user.id": turn.user })
      )

    const work = (turn: Live, request: TurnRequest) =>
      agent
        .run({
          id: turn.turnId,
          user: turn.user,
          timeZone: request.timeZone,
          message: request.message,
          history: turn.history,
          record: (place, call) => turns.record(turn, { ...place, offset: turn.output.text.length }, call)
        })
        .pipe(
          forEachChunk((events) => {
            for (const event of events) note(turn, event)
          }),
          Effect.timeoutFail({
            duration: options.timeout,
            onTimeout: () => new AgentTimeout({ limit: options.timeout })
          })
        )

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

    const conclude = (turn: Live, exit: Parameters<typeof endingOf>[0]) =>
      Effect.gen(function* () {
        turn.isEnding = true
        const ending = yield* Effect.either(endingOf(exit))
        const attempt = Either.isLeft(ending)
          ? settle(turn)
          : Effect.catchTag(write(turn, ending.right), "TurnLost", () => settle(turn))
        const end = yield* attempt.pipe(
          Effect.catchAllDefect((defect) => (isUnavailable(defect) ? Effect.fail(new Away()) : Effect.die(defect))),
          Effect.retry({ schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo(options.lease)) }),
          // It stays `running` in the database, for a sweep to end once its lease is over.
          Effect.catchAllCause((cause) =>
            Effect.as(Effect.logError("A turn's end could not be written", cause), unwritten(turn, unavailable))
          )
        )
        turn.output.end(end)
        if (turn.watched) yield* signals.publish(`said ${turn.turnId}`)
        yield* measure(end)
      })

    /** Writes the end. Of a turn that was cut off, the database knows best which tool calls took effect. */
    const write = (turn: Live, ending: Ending) =>
      Effect.gen(function* () {
        const { output } = turn
        if (ending.status !== "completed") {
          const { calls, places } = yield* turns.recorded(turn.user, turn.turnId)
          for (let i = output.calls.length; i < calls.length; i++) {
            const [call, place] = [calls[i], places[i]]
            if (call !== undefined && place !== undefined) output.callEnded(call, place)
          }
        }
        return yield* turns.end(turn, {
          ...ending,
          content: output.text,
          calls: output.calls,
          places: output.places,
          usage: turn.usage
        })
      })

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
        if (wish === undefined) yield* Deferred.fail(turn.stop, new TurnLost())
        else if (wish.cancelled) yield* Deferred.fail(turn.stop, cancelled)
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
        yield* turns.flush(
          said.map(({ text, turn: { flushed, turnId, user } }) => ({ user, turnId, from: flushed, text }))
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
        return turn === undefined ? Effect.succeed(false) : Effect.as(Deferred.fail(turn.stop, cancelled), true)
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
          return FiberSet.awaitEmpty(fibers).pipe(Effect.timeoutOption(grace), Effect.zipRight(stopAll))
        })
    }
  })

/** As `Stream.runForEachChunk`, for what needs no effect: a third of its time for a turn whose words come at once. */
const forEachChunk =
  <A>(f: (chunk: Chunk.Chunk<A>) => void) =>
  <E, R>(stream: Stream.Stream<A, E, R>): Effect.Effect<void, E, R> =>
    Effect.scoped(
      Effect.flatMap(Stream.toPull(stream), (pull) => {
        const next: Effect.Effect<void, Option.Option<E>, R> = Effect.flatMap(pull, (chunk) => {
          f(chunk)
          return next
        })
        return Effect.catchAll(next, Option.match({ onNone: () => Effect.void, onSome: Effect.fail }))
      })
    )

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

const measure = ({ status, toolCalls, usage }: Ended) =>
  Effect.all([
    Metric.increment(Metric.tagged(turnsEnded, "status", status)),
    Metric.incrementBy(Metric.tagged(tokensUsed, "direction", "input"), usage.inputTokens),
    Metric.incrementBy(Metric.tagged(tokensUsed, "direction", "output"), usage.outputTokens),
    ...(toolCalls ?? []).map(({ result }) => Metric.increment(Metric.tagged(toolCallsEnded, "status", result.status)))
  ])
