import { Context, Effect, FiberRef } from "effect"

/**
 * Lets go of the context and the log's annotations, as the last thing a fiber does. V8 makes functions that are assigned to
 * members in old space, as Effect does with those that a fiber waits with and is interrupted by: until the next full
 * garbage collection they keep the fiber, and each minor one would copy what it had. Stands for nothing of the library's.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-FiberState`. Delete when: that row shows less than 5 %.
 */
export const forget: Effect.Effect<void> = Effect.zipRight(
  FiberRef.delete(FiberRef.currentLogAnnotations),
  FiberRef.set(FiberRef.currentContext, Context.empty())
)
