import { type Context, Effect, FiberRef } from "effect"

/**
 * Gives an effect a context and leaves it with the fiber. To put the old one back, as `Effect.provide` does, takes 25
 * operations; what answers a request has the rest of its fiber to itself, and the router puts back what was before it.
 */
export const forGood = <A, E, R>(effect: Effect.Effect<A, E, R>, context: Context.Context<R>): Effect.Effect<A, E> =>
  // Safe: from here on the fiber has what the effect needs.
  Effect.zipRight(FiberRef.set(FiberRef.currentContext, context), effect as Effect.Effect<A, E>)
