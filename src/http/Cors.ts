import { HttpApp, HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer } from "effect"
import { isLoopback } from "../domain/Loopback.ts"
import { exchange, withHeaders } from "./Exchange.ts"

const methods = ["GET", "HEAD", "POST", "PATCH", "DELETE"]

const allowed = [
  // A value with a quoted profile is not CORS-safelisted.
  "Accept",
  "Authorization",
  "Content-Type",
  "Idempotency-Key",
  "If-Match",
  "Last-Event-ID",
  "X-Request-Id",
  "Time-Zone",
  "MCP-Protocol-Version",
  "Mcp-Session-Id",
  "Mcp-Method",
  "Mcp-Name"
]

const exposed = [
  "X-Request-Id",
  "X-Error-Details",
  "Retry-After",
  "Idempotent-Replayed",
  "ETag",
  "Location",
  "X-RateLimit-Limit",
  "X-RateLimit-Remaining",
  "X-RateLimit-Reset",
  "RateLimit",
  "RateLimit-Policy"
]

const toPages = { "access-control-expose-headers": exposed.join(", ") }

/** Seconds for which a browser may cache a preflight answer. */
const maxAge = 600

const toPreflights = {
  "access-control-allow-methods": methods.join(", "),
  "access-control-allow-headers": allowed.join(", "),
  "access-control-max-age": String(maxAge)
}

/**
 * Lets pages of these origins call the API and read every answer, also refusals. Other origins do not learn which ones are
 * allowed.
 */
export const layer = (origins: ReadonlyArray<string>) =>
  origins.length === 0 ? Layer.empty : welcoming((origin) => origins.includes(origin))

/** Allows pages of loopback origins with any port, such as a front end in development. */
export const layerLoopback = Layer.suspend(() =>
  welcoming((origin) => URL.canParse(origin) && isLoopback(new URL(origin).hostname))
)

const welcoming = (includes: (origin: string) => boolean) =>
  HttpLayerRouter.middleware(
    (handler) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, method }) => {
        const origin = headers["origin"]
        const isWelcome = origin !== undefined && includes(origin)
        const about = {
          // On every answer, for caches: it depends on the origin.
          vary: "Origin",
          ...(isWelcome && { "access-control-allow-origin": origin })
        }
        const isPreflight =
          method === "OPTIONS" && origin !== undefined && headers["access-control-request-method"] !== undefined
        return isPreflight
          ? exchange(
              Effect.succeed(
                HttpServerResponse.empty({ status: 204, headers: { ...about, ...(isWelcome && toPreflights) } })
              ),
              "*"
            )
          : Effect.zipRight(answer({ ...about, ...(isWelcome && toPages) }), handler)
      }),
    { global: true }
  )

const answer = (headers: Readonly<Record<string, string>>) =>
  HttpApp.appendPreResponseHandler((_, response) => Effect.succeed(withHeaders(response, headers)))
