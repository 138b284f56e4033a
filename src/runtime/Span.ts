import { Effect, FiberRef, type Tracer } from "effect"

/**
 * Spans that cost nothing where nobody traces. Stands for `Effect.withSpan` and `Effect.fn`, which take some 35 operations
 * even then.
 */

/** As `Effect.withSpan`. */
export const withSpan =
  (name: string, options?: Tracer.SpanOptions) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) =>
      fiber.getFiberRef(FiberRef.currentTracerEnabled)
        ? Effect.withSpan(effect, name, { captureStackTrace: false, ...options })
        : effect
    )

/** As `Effect.fn`. */
export const fn = (name: string): typeof Effect.fnUntraced =>
  // Safe: what it makes is what `Effect.fnUntraced` makes, in a span, which changes no type.
  ((...body: Parameters<typeof Effect.fnUntraced>) => {
    const run = Effect.fnUntraced(...body) as (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown>
    return (...args: ReadonlyArray<unknown>) => withSpan(name)(run(...args))
  }) as typeof Effect.fnUntraced
