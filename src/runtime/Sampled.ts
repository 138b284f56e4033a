import { Effect, type Scope } from "effect"

const samples = new Set<() => void>()

/** Calls `sample` to update a metric whenever metrics are read, until the scope closes. */
export const register = (sample: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => void samples.add(sample)),
    () => Effect.sync(() => void samples.delete(sample))
  )

/** Updates all registered metrics. */
export const takeAll: Effect.Effect<void> = Effect.sync(() => {
  for (const sample of samples) sample()
})
