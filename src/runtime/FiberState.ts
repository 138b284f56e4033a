import { Context, Effect, FiberRef, HashMap } from "effect"

/**
 * What a fiber holds. V8 makes functions that are assigned to members in old space, as Effect does with those that a fiber
 * waits with, is interrupted by and restores its references with: until the next full garbage collection they keep the
 * fiber and the effects in them, and each minor one copies what these had. So the fiber of a request or a turn restores
 * nothing, and lets go at its end.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-FiberState`. Delete when: that row shows less than 5 %.
 */

type Annotations = Readonly<Record<string, unknown>>

const add = (values: Annotations) => (annotations: HashMap.HashMap<string, unknown>) =>
  Object.entries(values).reduce((all, [name, value]) => HashMap.set(all, name, value), annotations)

/** As `Effect.annotateLogs`, for the last effect of a fiber: the annotations stay. */
export const annotateLogs =
  (values: Annotations) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.zipRight(FiberRef.update(FiberRef.currentLogAnnotations, add(values)), effect)

/** As `Effect.annotateSpans`, for the last effect of a fiber: the annotations stay. */
export const annotateSpans =
  (values: Annotations) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.zipRight(FiberRef.update(FiberRef.currentTracerSpanAnnotations, add(values)), effect)

/** Lets go of the context and the annotations, as the last thing a fiber does. Stands for nothing of the library's. */
export const forget: Effect.Effect<void> = Effect.all(
  [
    FiberRef.delete(FiberRef.currentLogAnnotations),
    FiberRef.delete(FiberRef.currentTracerSpanAnnotations),
    FiberRef.set(FiberRef.currentContext, Context.empty())
  ],
  { discard: true }
)
