import { Context, Effect, Exit, FiberRef } from "effect"
import { withFiber } from "./Fiber.ts"

/**
 * Provides services to an effect, and then restores the fiber's context. Stands for `Effect.mapInputContext` and
 * `Effect.provideService`, which take 26 operations to restore the context even after an interruption. An interrupted fiber
 * only runs finalizers, so here it keeps the services.
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
      // Safe: the fiber has what its effects require, and they require what `f` gets.
      fiber.setFiberRef(FiberRef.currentContext, f(outer as Context.Context<R0>) as Context.Context<never>)
      const { _fiberRefs: within } = fiber
      const restored = (exit: Exit.Exit<A, E>) => {
        // The same object as before if nothing else was set: a fiber that joins this one compares them.
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
      // Safe: it needs that service, or what the result still needs.
      effect as Effect.Effect<A, E, I | Exclude<R, I>>
    )
