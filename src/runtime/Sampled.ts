import { Effect, type Scope } from "effect"

const samples = new Set<() => void>()

/** Has a metric brought up to date whenever metrics are read, by `sample`, until the scope closes. */
export const register = (sample: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => void samples.add(sample)),
    () => Effect.sync(() => void samples.delete(sample))
  )

/** Brings them up to date. */
export const takeAll: Effect.Effect<void> = Effect.sync(() => {
  for (const sample of samples) sample()
})
