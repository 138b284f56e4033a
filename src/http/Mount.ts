import { HttpLayerRouter, type HttpServerRequest } from "@effect/platform"
import { Context, Effect, Layer, Option } from "effect"
import { isLoopback } from "../domain/Loopback.ts"

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

/** The groups of the API that are mounted in each place of an app. */
const mounted = new WeakMap<HttpLayerRouter.HttpRouter, Map<string, Set<string>>>()

/** Those that are mounted in this place; more may come until the app serves. */
export const mountedHere: Effect.Effect<Set<string>, never, HttpLayerRouter.HttpRouter> = Effect.gen(function* () {
  const router = yield* HttpLayerRouter.HttpRouter
  const { prefix, root = router } = yield* Mount
  const places = mounted.get(root) ?? new Map<string, Set<string>>()
  mounted.set(root, places)
  const here = places.get(prefix) ?? new Set<string>()
  places.set(prefix, here)
  return here
})

/** Tells that groups are mounted in this place. */
export const tell = (...groups: ReadonlyArray<string>) =>
  Layer.effectDiscard(
    Effect.map(mountedHere, (here) => {
      for (const group of groups) here.add(group)
    })
  )

/** Where clients reach the root of the app, if that is set: a proxy may stand before it. */
export class PublicUrl extends Context.Reference<PublicUrl>()("taskchat/http/PublicUrl", {
  defaultValue: (): Option.Option<URL> => Option.none()
}) {}

/** The address of a path of the app's, such as `/api/1/tasks/7`. */
export const addressIn = ({ origin, pathname }: URL, path: string) => `${origin}${pathname.replace(/\/+$/, "")}${path}`

/**
 * The app's root as the sender of a request knows it. A `Host` is whatever the sender wrote, so without `PublicUrl` it is
 * believed only where it names the machine itself.
 */
export const rootOf = (publicUrl: Option.Option<URL>, { headers }: HttpServerRequest.HttpServerRequest) =>
  Option.orElse(publicUrl, () => {
    const { host = "" } = headers
    const address = `http://${host}`
    return isLoopback(host.replace(/:\d*$/, "")) && URL.canParse(address)
      ? Option.some(new URL(address))
      : Option.none()
  })
