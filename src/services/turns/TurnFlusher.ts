import { Deferred, Effect, Schedule } from "effect"
import type { TurnId } from "../../domain/Id.ts"
import { TurnLost } from "../../domain/Turn.ts"
import type { Signals } from "../../sql/Signals.ts"
import { orLater } from "./RemoteTurns.ts"
import type { RunningTurn } from "./TurnRegistry.ts"
import type { Turns } from "./Turns.ts"
import { Stopped } from "./TurnTypes.ts"

/** What other nodes can read of a running turn. */
interface Progress {
  readonly turn: RunningTurn
  /** The length of the flushed text (UTF-16 units). */
  readonly text: number
  /** The number of tool calls that other nodes were notified of. */
  readonly calls: number
  /** Whether another node reads it. */
  readonly isWatched: boolean
  /** It is being ended: no more flushes or renewals. */
  readonly isEnding: boolean
}

/**
 * Renews the leases of this node's turns and flushes their text, once a second. Flushes the text several times a second
 * while another node reads it.
 */
export const make = (turns: typeof Turns.Service, signals: typeof Signals.Service) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const progress = new Map<TurnId, Progress>()
    const flushing = yield* Effect.makeSemaphore(1)
    /** The flush in flight. */
    let inFlight: { readonly turns: ReadonlySet<TurnId>; readonly done: Deferred.Deferred<void> } | undefined
    let isHurrying = false

    const update = (turnId: TurnId, change: Partial<Progress>) => {
      const before = progress.get(turnId)
      if (before !== undefined) progress.set(turnId, { ...before, ...change })
    }

    const active = () => [...progress.values()].filter(({ isEnding }) => !isEnding)

    const flush = flushing.withPermits(1)(
      Effect.gen(function* () {
        const news = active().map(({ calls, isWatched, text, turn: { output, turnId, user } }) => ({
          ...{ user, turnId, isWatched, from: text, text: output.text.slice(text), calls: output.calls.length },
          isNew: output.text.length > text || output.calls.length > calls
        }))
        const parts = news.filter(({ text }) => text !== "")
        const done = yield* Deferred.make<void>()
        inFlight = { turns: new Set(parts.map(({ turnId }) => turnId)), done }
        yield* Effect.ensuring(
          turns.flush(parts),
          Effect.suspend(() => {
            inFlight = undefined
            return Deferred.succeed(done, undefined)
          })
        )
        for (const { calls, from, isNew, isWatched, text, turnId } of news) {
          update(turnId, { text: from + text.length, calls })
          if (isWatched && isNew) yield* signals.publish(`said ${turnId}`)
        }
      })
    )

    const hurry = flush.pipe(
      orLater<void>(undefined),
      Effect.repeat({
        schedule: Schedule.spaced("150 millis"),
        while: () => active().some(({ isWatched }) => isWatched)
      }),
      Effect.ensuring(
        Effect.sync(() => {
          isHurrying = false
        })
      )
    )

    /** Flushes the turn often, while another node reads it. */
    const watch = (turnId: TurnId) =>
      Effect.suspend(() => {
        if (!progress.has(turnId)) return Effect.void
        update(turnId, { isWatched: true })
        if (isHurrying) return Effect.void
        isHurrying = true
        return Effect.forkIn(hurry, scope)
      })

    const renew = Effect.gen(function* () {
      const ids = active().map(({ turn }) => turn.turnId)
      if (ids.length === 0) return
      const renewed = new Map((yield* turns.renew(ids)).map((row) => [row.turnId, row]))
      for (const turnId of ids) {
        const turn = progress.get(turnId)
        if (turn === undefined || turn.isEnding) continue
        const row = renewed.get(turnId)
        if (row === undefined) yield* turn.turn.stop(new TurnLost())
        else if (row.isCancelled) yield* turn.turn.stop(new Stopped({ status: "cancelled" }))
        else if (row.isWatched) yield* watch(turnId)
        else update(turnId, { isWatched: false })
      }
    })

    yield* Effect.forkScoped(
      Effect.repeat(orLater<void>(undefined)(Effect.zipRight(renew, flush)), Schedule.spaced("1 second"))
    )

    return {
      add: (turn: RunningTurn) =>
        Effect.sync(() => {
          progress.set(turn.turnId, { turn, text: 0, calls: 0, isWatched: false, isEnding: false })
        }),
      /**
       * Stops flushing the turn, and waits for the flush in flight: the statement that ends the turn deletes the flushed
       * rows, and would miss one that is just arriving.
       */
      settle: ({ turnId }: RunningTurn) =>
        Effect.suspend(() => {
          update(turnId, { isEnding: true })
          return inFlight?.turns.has(turnId) === true ? Deferred.await(inFlight.done) : Effect.void
        }),
      /** Removes the turn, and notifies its readers on other nodes of its end. */
      remove: ({ turnId }: RunningTurn) =>
        Effect.suspend(() => {
          const isWatched = progress.get(turnId)?.isWatched === true
          progress.delete(turnId)
          return isWatched ? signals.publish(`said ${turnId}`) : Effect.void
        }),
      watch
    }
  })

export type TurnFlusher = Effect.Effect.Success<ReturnType<typeof make>>
