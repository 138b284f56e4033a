import { HttpLayerRouter } from "@effect/platform"
import { Context, Effect, Layer } from "effect"

/** Where routes are being mounted. */
export class Mount extends Context.Reference<Mount>()("taskchat/http/Mount", {
  defaultValue: (): {
    /** What their paths begin with; empty for those of an app of their own. */
    readonly prefix: string
    /** The app's router, for what has its place at the root, if it is another than theirs. */
    readonly root: HttpLayerRouter.HttpRouter | undefined
  } => ({ prefix: "", root: undefined })
}) {}

/** Puts routes under a prefix, such as `/assistant`, of the app they are mounted into. */
export const under =
  (prefix: `/${string}`) =>
  <A, E, R>(routes: Layer.Layer<A, E, R>): Layer.Layer<A, E, R | HttpLayerRouter.HttpRouter> =>
    Layer.provide(
      routes,
      Layer.effectContext(
        Effect.gen(function* () {
          const router = yield* HttpLayerRouter.HttpRouter
          const outer = yield* Mount
          const root = outer.root ?? router
          const inner = outer.prefix + prefix
          return Context.make(HttpLayerRouter.HttpRouter, root.prefixed(inner)).pipe(
            Context.add(Mount, { prefix: inner, root })
          )
        })
      )
    )
