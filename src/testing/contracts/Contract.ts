import { Effect, FastCheck as fc, Runtime } from "effect"

/** One thing that every implementation has to do, as a check for whichever test runner there is. */
export interface Fact<R> {
  readonly name: string
  /** Fails or dies if it is not so. It may be run many times, and beside others. */
  readonly check: Effect.Effect<void, unknown, R>
}

/** Gathers facts as a test runner would. */
export const gather = <R>() => {
  const facts: Array<Fact<R>> = []
  const effect = (name: string, check: () => Effect.Effect<unknown, unknown, R>) => {
    facts.push({ name, check: Effect.asVoid(Effect.suspend(check)) })
  }
  /** A fact for all values of these kinds. */
  const prop = <Values extends [unknown, ...Array<unknown>]>(
    name: string,
    arbitraries: { [K in keyof Values]: fc.Arbitrary<Values[K]> },
    check: (values: Values) => Effect.Effect<unknown, unknown, R>,
    options: { readonly fastCheck: { readonly numRuns: number } }
  ) =>
    effect(name, () =>
      Effect.flatMap(Effect.runtime<R>(), (runtime) =>
        Effect.promise((signal) =>
          fc.assert(
            fc.asyncProperty(fc.tuple<Values>(...arbitraries), (values) =>
              Runtime.runPromise(runtime)(Effect.asVoid(check(values)), { signal })
            ),
            options.fastCheck
          )
        )
      )
    )
  return { facts, it: { effect: Object.assign(effect, { prop }) } }
}
