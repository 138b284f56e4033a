import { HttpLayerRouter, HttpRouter, HttpServerError, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Redacted } from "effect"
import { Api } from "../api/Api.ts"
import { ApiRateLimit, Authentication } from "../api/Authentication.ts"
import { CurrentUser, InvalidRequest, MethodNotAllowed, NotFound } from "../domain/Request.ts"
import * as Users from "./Authentication.ts"
import { exchange } from "./Exchange.ts"
import { Mount } from "./Mount.ts"

interface Known {
  readonly method: string
  readonly pattern: RegExp
}

const known = (method: string, path: string): Known => ({
  method,
  // As the router matches paths: ignoring case, a trailing slash and repeated slashes.
  pattern: new RegExp(`^${path.replaceAll(/:([^/]+)/g, "(?<$1>[^/]+)")}/?$`, "i")
})

/** Paths besides the API's endpoints. */
const others = [
  "/",
  "/openapi.json",
  "/docs",
  "/.well-known/oauth-protected-resource",
  "/.well-known/oauth-protected-resource/mcp"
]

const routes: ReadonlyArray<Known> = [
  ...Object.values(Api.groups).flatMap((group) =>
    Object.values(group.endpoints).map((endpoint) => known(endpoint.method, endpoint.path))
  ),
  ...others.map((path) => known("GET", path)),
  known("POST", "/mcp")
]

/** The methods of a known path. */
const methodsOf = (path: string) => {
  const methods = new Set(routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))
  if (methods.has("GET")) methods.add("HEAD")
  return Array.from(methods)
}

/** The path in a request's target, which may be malformed. */
const pathOf = (target: string) => {
  const path = target
    .replace(/^https?:\/\/[^/?#]*/i, "")
    .replace(/[?#].*$/s, "")
    .replaceAll(/\/+/g, "/")
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}

const isRouteNotFound = (u: unknown) => u instanceof HttpServerError.RouteNotFound

/** The part of a path below the API's prefix, if it is below. */
const below = (prefix: string, path: string) => {
  const [above, rest] = [path.slice(0, prefix.length), path.slice(prefix.length)]
  const isBelow = prefix === "" || (above.toLowerCase() === prefix.toLowerCase() && /^(\/|$)/.test(rest))
  return isBelow ? rest : undefined
}

/** The most characters that the router takes for one value in a path: find-my-way's `maxParamLength`. */
const maxValueLength = 100

/** The parameters of an endpoint whose values in a path are too long for the router. */
const longValues = (method: string, path: string) =>
  routes
    .filter((route) => route.method === method)
    .flatMap(({ pattern }) => Object.entries(pattern.exec(path)?.groups ?? {}))
    .flatMap(([name, value]) => (value.length > maxValueLength ? [name] : []))

/** Stands for the missing route. */
const nowhere = HttpRouter.makeRoute("GET", "/*", HttpServerResponse.empty())

/** As `layer`, for apps with their own authentication. Under a prefix, paths elsewhere are left to the app. */
export const layerOpen = Layer.fresh(
  HttpLayerRouter.middleware(
    Effect.gen(function* () {
      const { bearer } = yield* Authentication
      const spend = yield* ApiRateLimit
      const { prefix } = yield* Mount

      const answer = (path: string) =>
        Effect.gen(function* () {
          if (/^\/(api|mcp)(\/|$)/i.test(path)) {
            yield* Effect.provideServiceEffect(spend, CurrentUser, bearer(Redacted.make("")))
          }
          const { method } = yield* HttpServerRequest.HttpServerRequest
          const methods = methodsOf(path)
          const errors = longValues(method, path).map((name) => ({
            path: name,
            message: `must have at most ${maxValueLength} characters`
          }))
          if (errors.length > 0) return yield* new InvalidRequest({ errors })
          // A known endpoint that is not mounted here.
          if (methods.length === 0 || methods.includes(method)) return yield* new NotFound()
          return yield* new MethodNotAllowed({ headers: { allow: methods.join(", ") } })
        }).pipe(
          Effect.provideService(HttpServerRequest.ParsedSearchParams, {}),
          Effect.provideService(HttpLayerRouter.RouteContext, {
            [HttpRouter.RouteContextTypeId]: HttpRouter.RouteContextTypeId,
            params: { user_id: /^\/api\/([^/]+)/i.exec(path)?.[1] },
            route: nowhere
          })
        )

      return (handler) =>
        Effect.catchAll(handler, (error) =>
          Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => {
            const path = below(prefix, pathOf(url))
            return isRouteNotFound(error) && path !== undefined ? exchange(answer(path), "*") : Effect.fail(error)
          })
        )
    }),
    { global: true }
  )
)

/**
 * Answers requests without a route: first 401 for everything under `/api` and `/mcp`, so that requests without a token
 * cannot find out what exists; then 405 with `Allow`, 400 for a value that is too long, or 404.
 */
export const layer = Layer.provide(layerOpen, Users.layer)
