import { HttpLayerRouter, type HttpServerRequest } from "@effect/platform"
import { Context, Effect, Layer, Option } from "effect"
import { isLoopback } from "../domain/Loopback.ts"

/** The place where routes are mounted. */
export class Mount extends Context.Reference<Mount>()("taskchat/http/Mount", {
  defaultValue: (): {
    /** The prefix of their paths; empty at the app's root. */
    readonly prefix: string
    /** The app's router, for routes at the root, if it is not their own router. */
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

/** The mounted groups of the API in each place of an app. */
const mounted = new WeakMap<HttpLayerRouter.HttpRouter, Map<string, Set<string>>>()

/** The groups that are mounted here; more may follow until the app serves. */
export const mountedHere: Effect.Effect<Set<string>, never, HttpLayerRouter.HttpRouter> = Effect.gen(function* () {
  const router = yield* HttpLayerRouter.HttpRouter
  const { prefix, root = router } = yield* Mount
  const places = mounted.get(root) ?? new Map<string, Set<string>>()
  mounted.set(root, places)
  const here = places.get(prefix) ?? new Set<string>()
  places.set(prefix, here)
  return here
})

/** Registers groups as mounted here. */
export const register = (...groups: ReadonlyArray<string>) =>
  Layer.effectDiscard(
    Effect.map(mountedHere, (here) => {
      for (const group of groups) here.add(group)
    })
  )

/** The address of the app's root for clients, if it is set: there may be a proxy in front. */
export class PublicUrl extends Context.Reference<PublicUrl>()("taskchat/http/PublicUrl", {
  defaultValue: (): Option.Option<URL> => Option.none()
}) {}

/** The address of a path of the app, such as `/api/1/tasks/7`. */
export const addressIn = ({ origin, pathname }: URL, path: string) => `${origin}${pathname.replace(/\/+$/, "")}${path}`

/**
 * The app's root for the sender of a request. The sender can write any `Host`, so without `PublicUrl` only a loopback one
 * is used.
 */
export const rootOf = (publicUrl: Option.Option<URL>, { headers }: HttpServerRequest.HttpServerRequest) =>
  Option.orElse(publicUrl, () => {
    const { host = "" } = headers
    const address = `http://${host}`
    return isLoopback(host.replace(/:\d*$/, "")) && URL.canParse(address)
      ? Option.some(new URL(address))
      : Option.none()
  })
