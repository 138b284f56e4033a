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

/** As `Effect.fn`, with a span by `traced`. */
export const tracedFn = (name: string): typeof Effect.fnUntraced =>
  // Safe: what it makes is what `Effect.fnUntraced` makes, in a span, which changes no type.
  ((...body: Parameters<typeof Effect.fnUntraced>) => {
    const run = Effect.fnUntraced(...body) as (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown>
    return (...args: ReadonlyArray<unknown>) => traced(name)(run(...args))
  }) as typeof Effect.fnUntraced
