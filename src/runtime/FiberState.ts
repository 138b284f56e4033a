import { Context, Effect, FiberRef, HashMap } from "effect"

// Changes to the state of the fiber that runs them, which stay with it: a fiber that answers one request or runs one turn
// ends with it anyway.

/** Has the fiber's lines in the log name these. */
export const annotate = (facts: Readonly<Record<string, unknown>>): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) =>
    FiberRef.set(
      FiberRef.currentLogAnnotations,
      HashMap.mutate(fiber.getFiberRef(FiberRef.currentLogAnnotations), (annotations) => {
        for (const name in facts) HashMap.set(annotations, name, facts[name])
      })
    )
  )

/**
 * Lets go of the context and the log's annotations, as the last thing a fiber does. V8 makes functions that are assigned to
 * members in old space, as Effect does with those that a fiber waits with and is interrupted by: until the next full
 * garbage collection they keep the fiber, and each minor one would copy what it had.
 */
export const forget: Effect.Effect<void> = Effect.zipRight(
  FiberRef.delete(FiberRef.currentLogAnnotations),
  FiberRef.set(FiberRef.currentContext, Context.empty())
)
