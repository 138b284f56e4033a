import { type Clock, Effect, type Scope } from "effect"

/** Rings, unless it is off by then. */
export interface Alarm {
  readonly off: () => void
}

interface Pending extends Alarm {
  at: number
  readonly ring: () => number | undefined
}

/**
 * Timeouts of one length. One fiber sleeps for all of them, where a timeout of its own costs each a fiber, a timer and a
 * race; while none is set it ends.
 */
export class Alarms {
  readonly #millis: number
  readonly #scope: Scope.Scope
  readonly #pending = new Set<Pending>()
  #isWatched = false

  private constructor(millis: number, scope: Scope.Scope) {
    this.#millis = millis
    this.#scope = scope
  }

  /** They ring as long as the scope is open. */
  static readonly make = (millis: number): Effect.Effect<Alarms, never, Scope.Scope> =>
    Effect.map(Effect.scope, (scope) => new Alarms(millis, scope))

  /**
   * `ring` is called when the time is up. It may ask for more: so many milliseconds, at most as many as there were first.
   */
  set(ring: () => number | undefined): Effect.Effect<Alarm> {
    return Effect.clockWith((clock) => {
      const alarm: Pending = {
        at: clock.unsafeCurrentTimeMillis() + this.#millis,
        ring,
        off: () => this.#pending.delete(alarm)
      }
      this.#pending.add(alarm)
      if (this.#isWatched) return Effect.succeed(alarm)
      this.#isWatched = true
      // Who sets one may not be interruptible; the scope has to be able to close.
      return Effect.as(Effect.forkIn(Effect.interruptible(this.#watch(clock)), this.#scope), alarm)
    })
  }

  // None that is set while it sleeps can be due before those that it sleeps for, as all last equally long.
  #watch(clock: Clock.Clock): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = clock.unsafeCurrentTimeMillis()
      let next = Number.POSITIVE_INFINITY
      for (const alarm of this.#pending) {
        if (alarm.at <= now) {
          const more = alarm.ring()
          if (more === undefined) {
            this.#pending.delete(alarm)
            continue
          }
          alarm.at = now + more
        }
        next = Math.min(next, alarm.at)
      }
      if (this.#pending.size > 0) return Effect.zipRight(Effect.sleep(next - now), this.#watch(clock))
      this.#isWatched = false
      return Effect.void
    })
  }
}
