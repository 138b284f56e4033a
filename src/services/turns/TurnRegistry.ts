import { Deferred, type Duration, Effect, Metric } from "effect"
import type { TurnId, UserId } from "../../domain/Id.ts"
import type { TurnLost } from "../../domain/Turn.ts"
import { TurnOutput } from "./TurnOutput.ts"
import { type BegunTurn, Stopped } from "./TurnTypes.ts"

/** A turn that runs on this node. */
export interface RunningTurn extends Omit<BegunTurn, "history"> {
  readonly output: TurnOutput
  /** Fails when the turn has to stop before its end; the first reason counts. */
  readonly stopped: Deferred.Deferred<never, Stopped | TurnLost>
}

const runningTurns = Metric.gauge("taskchat_turns_running", { description: "Turns that run on this node" })

/** The turns that run on this node. When the scope closes, those that still run end as interrupted. */
export const make = (maxRunning: number) =>
  Effect.gen(function* () {
    const turns = new Map<TurnId, RunningTurn>()
    const places = yield* Effect.makeSemaphore(maxRunning)
    let isAccepting = true
    let isStopping = false

    const interrupted = new Stopped({ status: "interrupted" })
    const isIdle = places.withPermits(maxRunning)(Effect.void)
    const measure = Effect.suspend(() => Metric.set(runningTurns, turns.size))

    const stopAll = Effect.suspend(() => {
      isAccepting = false
      isStopping = true
      return Effect.forEach([...turns.values()], ({ stopped }) => Deferred.fail(stopped, interrupted), {
        discard: true
      })
    })
    yield* Effect.addFinalizer(() => Effect.zipRight(stopAll, isIdle))

    return {
      /** Runs `effect`, in which one turn may begin and run, unless the node is draining or full. */
      withPlace: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.suspend(() => (isAccepting ? places.withPermitsIfAvailable(1)(effect) : Effect.succeedNone)),
      /** Holds the turn for as long as `use` runs. */
      withTurn: <A, E, R>({ history: _, ...begun }: BegunTurn, use: (turn: RunningTurn) => Effect.Effect<A, E, R>) =>
        Effect.acquireUseRelease(
          Effect.tap(Deferred.make<never, Stopped | TurnLost>(), (stopped) =>
            isStopping ? Deferred.fail(stopped, interrupted) : Effect.void
          ).pipe(
            Effect.map((stopped): RunningTurn => ({ ...begun, output: new TurnOutput(), stopped })),
            Effect.tap((turn) =>
              Effect.zipRight(
                Effect.sync(() => turns.set(turn.turnId, turn)),
                measure
              )
            )
          ),
          use,
          ({ turnId }) =>
            Effect.zipRight(
              Effect.sync(() => turns.delete(turnId)),
              measure
            )
        ),
      get: (turnId: TurnId) => turns.get(turnId),
      find: (user: UserId, turnId: TurnId) => {
        const turn = turns.get(turnId)
        return turn?.user === user ? turn : undefined
      },
      /** Stops a turn, if it runs here; says whether it does. */
      stop: (turnId: TurnId, reason: Stopped | TurnLost) =>
        Effect.suspend(() => {
          const turn = turns.get(turnId)
          return turn === undefined ? Effect.succeed(false) : Effect.as(Deferred.fail(turn.stopped, reason), true)
        }),
      count: Effect.sync(() => turns.size),
      isAccepting: Effect.sync(() => isAccepting),
      /** Sends every reader a sign of life. */
      wakeReaders: Effect.sync(() => {
        for (const { output } of turns.values()) output.wake()
      }),
      /** Takes no more turns, gives the running ones `grace` to end, and ends the rest as interrupted. */
      drain: (grace: Duration.Duration) =>
        Effect.suspend(() => {
          isAccepting = false
          return isIdle.pipe(Effect.timeoutOption(grace), Effect.zipRight(stopAll), Effect.zipRight(isIdle))
        })
    }
  })

export type TurnRegistry = Effect.Effect.Success<ReturnType<typeof make>>
