import { Deferred, type Duration, Effect, Exit, Fiber, FiberId, Metric, Option } from "effect"
import type { TurnId, UserId } from "../../domain/Id.ts"
import type { TurnLost } from "../../domain/Turn.ts"
import * as Sampled from "../../runtime/Sampled.ts"
import { TurnOutput } from "./TurnOutput.ts"
import { type BegunTurn, Stopped } from "./TurnTypes.ts"

/** A turn that runs on this node. */
export interface RunningTurn extends Omit<BegunTurn, "history"> {
  readonly output: TurnOutput
  /** Interrupts the turn's work. The first reason counts. */
  readonly stop: (reason: Stopped | TurnLost) => Effect.Effect<void>
  /** Fails with the reason why the turn was stopped, if it was. */
  readonly reason: Effect.Effect<void, Stopped | TurnLost>
}

/** The turn that the current fiber runs. */
const runningTurn = ({ history: _, ...begun }: BegunTurn): Effect.Effect<RunningTurn> =>
  Effect.map(Deferred.make<never, Stopped | TurnLost>(), (stopped) => {
    const fiber = Option.getOrThrow(Fiber.getCurrentFiber())
    return {
      ...begun,
      output: new TurnOutput(),
      stop: (reason) => Effect.zipRight(Deferred.fail(stopped, reason), Fiber.interruptAsFork(fiber, FiberId.none)),
      reason: Effect.flatMap(
        Deferred.poll(stopped),
        Option.getOrElse(() => Effect.void)
      )
    }
  })

const runningTurns = Metric.gauge("taskchat_turns_running", { description: "Turns that run on this node" })

/** The turns that run on this node. When the scope closes, those that still run end as interrupted. */
export const make = (maxRunning: number) =>
  Effect.gen(function* () {
    const turns = new Map<TurnId, RunningTurn>()
    const idle = yield* Effect.makeLatch(true)
    let taken = 0
    let isAccepting = true
    let isStopping = false

    const interrupted = new Stopped({ status: "interrupted" })
    yield* Sampled.register(() => runningTurns.unsafeUpdate(turns.size, []))

    const stopAll = Effect.suspend(() => {
      isAccepting = false
      isStopping = true
      return Effect.forEach([...turns.values()], (turn) => turn.stop(interrupted), { discard: true })
    })
    yield* Effect.addFinalizer(() => Effect.zipRight(stopAll, idle.await))

    return {
      /**
       * Runs `effect`, in which one turn may begin and run, unless the node is draining or full. Like `withTurn` it is for a
       * fiber that cannot be interrupted.
       */
      withPlace: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.suspend(() => {
          if (!isAccepting || taken >= maxRunning) return Effect.succeedNone
          taken++
          idle.unsafeClose()
          return Effect.flatMap(Effect.exit(effect), (exit) => {
            taken--
            if (taken === 0) idle.unsafeOpen()
            return Exit.map(exit, Option.some)
          })
        }),
      /** Registers the turn while `use` runs in this fiber. */
      withTurn: <A, E, R>(begun: BegunTurn, use: (turn: RunningTurn) => Effect.Effect<A, E, R>) =>
        Effect.flatMap(runningTurn(begun), (turn) => {
          turns.set(turn.turnId, turn)
          const used = isStopping ? Effect.zipRight(turn.stop(interrupted), use(turn)) : use(turn)
          return Effect.flatMap(Effect.exit(used), (exit) => {
            turns.delete(turn.turnId)
            return exit
          })
        }),
      get: (turnId: TurnId) => turns.get(turnId),
      find: (user: UserId, turnId: TurnId) => {
        const turn = turns.get(turnId)
        return turn?.user === user ? turn : undefined
      },
      /** Stops a turn if it runs here; returns whether it does. */
      stop: (turnId: TurnId, reason: Stopped | TurnLost) =>
        Effect.suspend(() => {
          const turn = turns.get(turnId)
          return turn === undefined ? Effect.succeed(false) : Effect.as(turn.stop(reason), true)
        }),
      count: Effect.sync(() => turns.size),
      isAccepting: Effect.sync(() => isAccepting),
      /** Sends every reader a keep-alive. */
      wakeReaders: Effect.sync(() => {
        for (const { output } of turns.values()) output.wake()
      }),
      /** Refuses new turns, gives the running ones `grace` to end, and ends the rest as interrupted. */
      drain: (grace: Duration.Duration) =>
        Effect.suspend(() => {
          isAccepting = false
          return idle.await.pipe(Effect.timeoutOption(grace), Effect.zipRight(stopAll), Effect.zipRight(idle.await))
        })
    }
  })

export type TurnRegistry = Effect.Effect.Success<ReturnType<typeof make>>
