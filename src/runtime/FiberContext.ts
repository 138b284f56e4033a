import { Context, Effect, Exit, FiberRef } from "effect"
import { withFiber } from "./Fiber.ts"

/**
 * Gives an effect services, and the fiber its context back. Stands for `Effect.mapInputContext` and `Effect.provideService`,
 * which take 26 operations, so that the context comes back even to a fiber that is interrupted. That one runs finalizers and
 * nothing else, and here keeps the services.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-FiberContext`, most where somebody traces.
 * Delete when: that row shows less than 5 %.
 */

/** As `Effect.mapInputContext`. */
export const mapInputContext =
  <R0, R>(f: (context: Context.Context<R0>) => Context.Context<R>) =>
  <A, E>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R0> =>
    withFiber<A, E, never>((fiber) => {
      const { _fiberRefs: before } = fiber
      const outer = fiber.getFiberRef(FiberRef.currentContext)
      // Safe: the fiber has what its effects ask for, and they ask for what `f` is given.
      fiber.setFiberRef(FiberRef.currentContext, f(outer as Context.Context<R0>) as Context.Context<never>)
      const { _fiberRefs: within } = fiber
      const restored = (exit: Exit.Exit<A, E>) => {
        // As they were, if nothing else was set: a fiber that waits for this one would look for a difference.
        if (fiber._fiberRefs === within) fiber.setFiberRefs(before)
        else fiber.setFiberRef(FiberRef.currentContext, outer)
        return exit
      }
      return Effect.matchCauseEffect(effect as Effect.Effect<A, E>, {
        onFailure: (cause) => restored(Exit.failCause(cause)),
        onSuccess: (value) => restored(Exit.succeed(value))
      })
    })

/** As `Effect.provideService`. */
export const provideService =
  <I, S>(tag: Context.Tag<I, S>, service: NoInfer<S>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, I>> =>
    mapInputContext((context: Context.Context<Exclude<R, I>>) => Context.mergeAll(context, Context.make(tag, service)))(
      // Safe: what it needs is that service, or what it is left to need.
      effect as Effect.Effect<A, E, I | Exclude<R, I>>
    )
