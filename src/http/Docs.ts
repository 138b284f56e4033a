import { createHash } from "node:crypto"
import { HttpApiSwagger, HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { Effect, Layer } from "effect"
import { DocumentedApi, openApi } from "../api/OpenApi.ts"
import * as Hosts from "./Hosts.ts"

/**
 * The page's own script and style are written into it, and its requests go to this service. Any other script, and
 * whatever else it could be made to load, by a link or by a document that somebody smuggles in, is refused.
 */
const policyOf = (page: string) =>
  [
    "default-src 'none'",
    `script-src ${scriptsIn(page)
      .map((script) => `'sha256-${sha256(script)}'`)
      .join(" ")}`,
    "style-src 'unsafe-inline'",
    "img-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")

/** Those that run: one with a type is data. */
const scriptsIn = (page: string) => Array.from(page.matchAll(/<script>(.*?)<\/script>/gs), ([, script = ""]) => script)

const sha256 = (text: string) => createHash("sha256").update(text).digest("base64")

/** The page is the same for every request, and large: its policy is made once. */
const guarded = HttpLayerRouter.middleware(
  Effect.sync(() => {
    let policy: string | undefined
    return Effect.map((response: HttpServerResponse.HttpServerResponse) => {
      policy ??= policyOf(response.body._tag === "Uint8Array" ? new TextDecoder().decode(response.body.body) : "")
      return HttpServerResponse.setHeader(response, "content-security-policy", policy)
    })
  })
).combine(Hosts.guard)

/** `/openapi.json`, and at `/docs` a page to try it with, which needs nothing from anywhere else. */
export const layer = Layer.suspend(() => {
  const document = HttpServerResponse.unsafeJson(openApi)
  return Layer.merge(
    HttpLayerRouter.add("GET", "/openapi.json", Effect.succeed(document)),
    Layer.provide(HttpApiSwagger.layerHttpLayerRouter({ api: DocumentedApi, path: "/docs" }), guarded.layer)
  )
})
