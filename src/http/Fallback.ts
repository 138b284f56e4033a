import { HttpLayerRouter, HttpServerError, HttpServerRequest } from "@effect/platform"
import { Effect } from "effect"
import { Api } from "../api/Api.ts"
import { MethodNotAllowed, NotFound } from "../domain/Request.ts"
import { RateLimits } from "../services/RateLimits.ts"
import { Tokens } from "../services/Tokens.ts"
import { authenticate, ownUrl, spend } from "./Authentication.ts"
import { exchange } from "./Exchange.ts"

interface Known {
  readonly method: string
  readonly pattern: RegExp
}

const known = (method: string, path: string): Known => ({
  method,
  // As the router reads paths: without regard to case, to a slash at the end, and to how many there are in a row.
  pattern: new RegExp(`^${path.replaceAll(/:[^/]+/g, "[^/]+")}/?$`, "i")
})

/** What there is besides the API's endpoints. */
const others = [
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

/** Of a path that there is, the methods it takes. */
const methodsOf = (path: string) => {
  const methods = new Set(routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))
  if (methods.has("GET")) methods.add("HEAD")
  return Array.from(methods)
}

/** The path in a request's target, whatever was sent as one. */
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

/**
 * Answers what no route does: 401 first for whatever lies under `/api` and `/mcp`, so that strangers learn nothing of
 * what there is; then 405 with `Allow`, or 404.
 */
export const layer = HttpLayerRouter.middleware(
  Effect.gen(function* () {
    const tokens = yield* Tokens
    const limits = yield* RateLimits

    const answer = Effect.gen(function* () {
      const { url } = yield* HttpServerRequest.HttpServerRequest
      const path = pathOf(url)
      if (/^\/(api|mcp)(\/|$)/i.test(path)) {
        const { id } = yield* authenticate(tokens)
        yield* ownUrl(limits, "api", id, /^\/api\/([^/]+)/i.exec(path)?.[1])
        yield* spend(limits, "api", id)
      }
      const methods = methodsOf(path)
      if (methods.length === 0) return yield* new NotFound()
      return yield* new MethodNotAllowed({ headers: { allow: methods.join(", ") } })
    })

    return (handler) =>
      Effect.catchAll(handler, (error) => (isRouteNotFound(error) ? exchange(answer, "*") : Effect.fail(error)))
  }),
  { global: true }
)
