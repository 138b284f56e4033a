import { Effect, FiberRef } from "effect"

/**
 * A span around an effect, as by `Effect.withSpan`, but nothing at all where nobody traces: `withSpan` and `Effect.fn` cost
 * some 35 operations even then, which on the path of every turn is a tenth of it.
 */
export const traced =
  (name: string, attributes?: Readonly<Record<string, unknown>>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) =>
      fiber.getFiberRef(FiberRef.currentTracerEnabled)
        ? Effect.withSpan(effect, name, { captureStackTrace: false, ...(attributes !== undefined && { attributes }) })
        : effect
    )
