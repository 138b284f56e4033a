import { Effect, FastCheck as fc, Runtime } from "effect"

/** One requirement for every implementation, as a check for any test runner. */
export interface Fact<R> {
  readonly name: string
  /** Fails or dies if the requirement is not met. It may run several times, also concurrently. */
  readonly check: Effect.Effect<void, unknown, R>
}

/** Collects facts with the interface of a test runner. */
export const gather = <R>() => {
  const facts: Array<Fact<R>> = []
  const effect = (name: string, check: () => Effect.Effect<unknown, unknown, R>) => {
    facts.push({ name, check: Effect.asVoid(Effect.suspend(check)) })
  }
  /** A fact for all values of these arbitraries. */
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
