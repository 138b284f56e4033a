import { Context, Effect, FiberRef, FiberRefs, HashMap } from "effect"
import { withFiber } from "./Fiber.ts"

/**
 * Sets a fiber's references without restoring them. V8 allocates functions that are assigned to members in old space, as
 * Effect does to wait, to interrupt and to restore references. Until the next full garbage collection these keep the fiber
 * and its effects alive, and each minor collection copies what they reach. So the fiber of a request or a turn restores
 * nothing, and drops its references at its end. Restoring a reference also takes 24 operations, setting one takes one.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-FiberState`. Delete when: that row shows less than 5
 * %.
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

/** As `Effect.annotateSpans`, for the last effect of a fiber: the annotations stay. Only with a tracer. */
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

/** Drops all references, as a fiber's last step. The library has nothing like it. */
export const forget: Effect.Effect<void> = withFiber((fiber) => {
  fiber.setFiberRefs(FiberRefs.empty())
  return Effect.void
})
