import { Effect, type FiberRef, type FiberRefs } from "effect"

/** A fiber with the methods that Effect's own modules use: the public type cannot set a reference. */
export interface Fiber {
  /** The current references; the public `getFiberRefs` makes a copy. */
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly getFiberRef: <A>(ref: FiberRef.FiberRef<A>) => A
  readonly setFiberRef: <A>(ref: FiberRef.FiberRef<A>, value: A) => void
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}

/** Runs `f` with the current fiber. */
export const withFiber = <A, E, R>(f: (fiber: Fiber) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  // Safe: all fibers are of one class, which has these methods.
  Effect.withFiberRuntime((fiber) => f(fiber as unknown as Fiber))
