import { Effect, type FiberRef, type FiberRefs } from "effect"

/** A fiber with what Effect's own modules use of it: the public type has nothing that sets a reference. */
export interface Fiber {
  /** As they are now; the public `getFiberRefs` makes new ones. */
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly getFiberRef: <A>(ref: FiberRef.FiberRef<A>) => A
  readonly setFiberRef: <A>(ref: FiberRef.FiberRef<A>, value: A) => void
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}

/** What `f` makes of the fiber that runs it. */
export const withFiber = <A, E, R>(f: (fiber: Fiber) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  // Safe: all fibers are of one class, which has these methods.
  Effect.withFiberRuntime((fiber) => f(fiber as unknown as Fiber))
