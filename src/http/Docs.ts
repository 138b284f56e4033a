import { HttpApiSwagger, HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { Effect, Layer } from "effect"
import { DocumentedApi, openApi } from "../api/OpenApi.ts"
import * as Hosts from "./Hosts.ts"

/**
 * The page's own script and style are written into it, and its requests go to this service. Whatever else it could be
 * made to load, by a link or by a document that somebody smuggles in, is refused.
 */
const policy = [
  "default-src 'none'",
  "script-src 'unsafe-inline'",
  "style-src 'unsafe-inline'",
  "img-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join("; ")

const guarded = HttpLayerRouter.middleware(
  Effect.map(HttpServerResponse.setHeader("content-security-policy", policy))
).combine(Hosts.guard)

/** `/openapi.json`, and at `/docs` a page to try it with, which needs nothing from anywhere else. */
export const layer = Layer.suspend(() => {
  const document = HttpServerResponse.unsafeJson(openApi)
  return Layer.merge(
    HttpLayerRouter.add("GET", "/openapi.json", Effect.succeed(document)),
    Layer.provide(HttpApiSwagger.layerHttpLayerRouter({ api: DocumentedApi, path: "/docs" }), guarded.layer)
  )
})
