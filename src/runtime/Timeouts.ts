import { Cause, type Clock, Effect, type Scope } from "effect"

/** A scheduled timeout. */
export interface Timeout {
  readonly cancel: () => void
}

interface Pending extends Timeout {
  at: number
  /** The position in the list of scheduled timeouts; negative when it is not scheduled. */
  index: number
  readonly onTimeout: () => number | undefined
}

/**
 * Timeouts of one length. One fiber sleeps for all of them, and ends when none is scheduled. `Effect.timeout` would cost each
 * a fiber, a timer and a race.
 */
export class Timeouts {
  readonly #millis: number
  readonly #scope: Scope.Scope
  /** In any order. Not a `Set`: it makes new tables as it changes, and the old ones keep what they held for long. */
  readonly #pending: Array<Pending> = []
  #isWatched = false

  private constructor(millis: number, scope: Scope.Scope) {
    this.#millis = millis
    this.#scope = scope
  }

  /** When the scope closes, all timeouts are cancelled. */
  static readonly make = (millis: number): Effect.Effect<Timeouts, never, Scope.Scope> =>
    Effect.map(Effect.scope, (scope) => new Timeouts(millis, scope))

  /**
   * Calls `onTimeout` when the time is up. If it returns milliseconds, at most the length of these timeouts, it is called again
   * after them. `keep` gets the timeout in the same step in which it is scheduled, so that it cannot be lost.
   */
  schedule(onTimeout: () => number | undefined, keep: (timeout: Timeout) => void = () => {}): Effect.Effect<void> {
    return Effect.clockWith((clock) => {
      const timeout: Pending = {
        at: elapsed(clock) + this.#millis,
        index: -1,
        onTimeout,
        cancel: () => this.#remove(timeout)
      }
      this.#add(timeout)
      keep(timeout)
      return this.#isWatched ? Effect.void : this.#beginWatch(clock)
    })
  }

  #beginWatch(clock: Clock.Clock): Effect.Effect<void> {
    return Effect.uninterruptible(
      Effect.suspend(() => {
        if (this.#isWatched) return Effect.void
        this.#isWatched = true
        return Effect.forkIn(Effect.interruptible(this.#watch(clock)), this.#scope)
      })
    )
  }

  #add(timeout: Pending) {
    timeout.index = this.#pending.push(timeout) - 1
  }

  #remove(timeout: Pending) {
    if (timeout.index < 0) return
    const last = this.#pending.pop()
    if (last !== undefined && last !== timeout) {
      this.#pending[timeout.index] = last
      last.index = timeout.index
    }
    timeout.index = -1
  }

  // All timeouts have one length, so one that is scheduled during a sleep ends after the sleep.
  #watch(clock: Clock.Clock): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = elapsed(clock)
      const failures: Array<unknown> = []
      let next = Number.POSITIVE_INFINITY
      for (const timeout of [...this.#pending]) {
        // The callback of another timeout may have cancelled it.
        if (timeout.index < 0) continue
        if (timeout.at <= now) {
          this.#remove(timeout)
          try {
            const more = timeout.onTimeout()
            if (more === undefined) continue
            timeout.at = now + more
            this.#add(timeout)
          } catch (defect) {
            failures.push(defect)
            continue
          }
        }
        next = Math.min(next, timeout.at)
      }
      // A callback that throws must not fail the other timeouts.
      const logged = Effect.forEach(failures, (defect) =>
        Effect.logError("The callback of a timeout failed", Cause.die(defect))
      )
      if (this.#pending.length > 0)
        return Effect.zipRight(logged, Effect.zipRight(Effect.sleep(next - now), this.#watch(clock)))
      this.#isWatched = false
      return Effect.asVoid(logged)
    })
  }
}

/** Milliseconds of a monotonic clock, from an arbitrary start. */
export const elapsed = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6
