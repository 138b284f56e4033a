import { Cause, type Clock, Effect, type Scope } from "effect"

/** Rings, unless it is off by then. */
export interface Alarm {
  readonly off: () => void
}

interface Pending extends Alarm {
  at: number
  /** Among those that are set; negative when it is not. */
  index: number
  readonly ring: () => number | undefined
}

/**
 * Timeouts of one length. One fiber sleeps for all of them, where a timeout of its own costs each a fiber, a timer and a
 * race; while none is set it ends.
 */
export class Alarms {
  readonly #millis: number
  readonly #scope: Scope.Scope
  /** In any order. A set makes new tables as it goes, and its old ones would keep what they held for long. */
  readonly #pending: Array<Pending> = []
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
   * `keep` is handed the alarm as it is set, so that nothing comes between.
   */
  set(ring: () => number | undefined, keep: (alarm: Alarm) => void = () => {}): Effect.Effect<void> {
    return Effect.clockWith((clock) => {
      const alarm: Pending = { at: elapsed(clock) + this.#millis, index: -1, ring, off: () => this.#remove(alarm) }
      this.#add(alarm)
      keep(alarm)
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

  #add(alarm: Pending) {
    alarm.index = this.#pending.push(alarm) - 1
  }

  #remove(alarm: Pending) {
    if (alarm.index < 0) return
    const last = this.#pending.pop()
    if (last !== undefined && last !== alarm) {
      this.#pending[alarm.index] = last
      last.index = alarm.index
    }
    alarm.index = -1
  }

  // None that is set while it sleeps can be due before those that it sleeps for, as all last equally long.
  #watch(clock: Clock.Clock): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = elapsed(clock)
      const failures: Array<unknown> = []
      let next = Number.POSITIVE_INFINITY
      for (const alarm of [...this.#pending]) {
        // Another one that rang may have put it off.
        if (alarm.index < 0) continue
        if (alarm.at <= now) {
          this.#remove(alarm)
          try {
            const more = alarm.ring()
            if (more === undefined) continue
            alarm.at = now + more
            this.#add(alarm)
          } catch (defect) {
            failures.push(defect)
            continue
          }
        }
        next = Math.min(next, alarm.at)
      }
      // What rings is to fail nobody else.
      const told = Effect.forEach(failures, (defect) => Effect.logError("An alarm failed", Cause.die(defect)))
      if (this.#pending.length > 0)
        return Effect.zipRight(told, Effect.zipRight(Effect.sleep(next - now), this.#watch(clock)))
      this.#isWatched = false
      return Effect.asVoid(told)
    })
  }
}

/** Milliseconds by a clock that nobody sets: what it counts from does not matter. */
export const elapsed = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6
