import { Context, Effect, FiberRef, FiberRefs, HashMap } from "effect"
import { withFiber } from "./Fiber.ts"

/**
 * What a fiber holds. V8 makes functions that are assigned to members in old space, as Effect does with those that a fiber
 * waits with, is interrupted by and restores its references with: until the next full garbage collection they keep the
 * fiber and the effects in them, and each minor one copies what these had. So the fiber of a request or a turn restores
 * nothing, and lets go at its end. To restore a reference also takes 24 operations, where to set one takes one.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-FiberState`. Delete when: that row shows less than 5 %.
 */

type Annotations = Readonly<Record<string, unknown>>

const update = <A, E, R, Value>(
  effect: Effect.Effect<A, E, R>,
  ref: FiberRef.FiberRef<Value>,
  f: (value: Value) => Value
): Effect.Effect<A, E, R> =>
  withFiber((fiber) => {
    fiber.setFiberRef(ref, f(fiber.getFiberRef(ref)))
    return effect
  })

const add = (values: Annotations) => (annotations: HashMap.HashMap<string, unknown>) =>
  Object.entries(values).reduce((all, [name, value]) => HashMap.set(all, name, value), annotations)

/** As `Effect.annotateLogs`, for the last effect of a fiber: the annotations stay. */
export const annotateLogs =
  (values: Annotations) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    update(effect, FiberRef.currentLogAnnotations, add(values))

/** As `Effect.annotateSpans`, for the last effect of a fiber: the annotations stay, where somebody traces. */
export const annotateSpans =
  (values: Annotations) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    withFiber((fiber) =>
      fiber.getFiberRef(FiberRef.currentTracerEnabled)
        ? update(effect, FiberRef.currentTracerSpanAnnotations, add(values))
        : effect
    )

/** As `Effect.mapInputContext`, for the last effect of a fiber: the context stays. */
export const mapInputContext =
  <R0, R>(f: (context: Context.Context<R0>) => Context.Context<R>) =>
  <A, E>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R0> =>
    // Safe: the fiber's context has what the effect that is made here asks for, and `f` makes of it what the given one does.
    update(effect, FiberRef.currentContext, f as never) as Effect.Effect<A, E, never>

/** As `Effect.provide`, for the last effect of a fiber: the services stay. */
export const provide =
  <Services>(services: Context.Context<Services>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Services>> =>
    mapInputContext((context: Context.Context<Exclude<R, Services>>) => Context.mergeAll(context, services))(
      // Safe: what it needs is in one or the other.
      effect as Effect.Effect<A, E, Services | Exclude<R, Services>>
    )

/** Lets go of all references, as the last thing a fiber does. Stands for nothing of the library's. */
export const forget: Effect.Effect<void> = withFiber((fiber) => {
  fiber.setFiberRefs(FiberRefs.empty())
  return Effect.void
})
