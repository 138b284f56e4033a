import { createHash } from "node:crypto"
import { HttpApi, HttpLayerRouter, HttpServerRequest, HttpServerResponse, OpenApi } from "@effect/platform"
import { Effect, Layer, Option } from "effect"
import { documentOf, openApi } from "../api/OpenApi.ts"
import { Scheme } from "./Authentication.ts"
import * as Hosts from "./Hosts.ts"
import { addressIn, Mount, mountedHere, PublicUrl } from "./Mount.ts"

/**
 * The page contains its own scripts and styles, and sends requests only to this service. Any other script or resource, as
 * from a link or a manipulated document, is refused.
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

/** Scripts that run: one with a type is data. */
const scriptsIn = (page: string) => Array.from(page.matchAll(/<script>(.*?)<\/script>/gs), ([, script = ""]) => script)

const sha256 = (text: string) => createHash("sha256").update(text).digest("base64")

const specification = /(<script id="swagger-spec" type="application\/json">).*?(<\/script>)/s

/**
 * Swagger UI shows an answer when it is complete. For a stream, this passes it the answer so far with every piece. It runs
 * after the bundle and before the page's `onload`, which creates the UI.
 */
const liveStreams = `
const bundle = SwaggerUIBundle
const executeRequest = (execute, { specActions }) => (request) => {
  const userFetch = async (url, options) => {
    const response = await fetch(url, options)
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return response
    const [shown, kept] = response.body.tee()
    const { ok, status, statusText } = response
    const headers = Object.fromEntries(response.headers)
    const show = async () => {
      let text = ""
      for await (const piece of shown.pipeThrough(new TextDecoderStream())) {
        text += piece
        specActions.setResponse(request.pathName, request.method, { ok, url, status, statusText, headers, text, data: text })
      }
    }
    show().catch(() => {}) // whoever reads the other branch says what broke
    return new Response(kept, { status, statusText, headers })
  }
  return execute({ ...request, userFetch })
}
SwaggerUIBundle = (options) =>
  bundle({ ...options, plugins: [{ statePlugins: { spec: { wrapActions: { executeRequest } } } }] })
`

/**
 * The library's page, with an empty document. It has 2 MB, and is loaded when it is asked for. An API of its own: the platform
 * keeps the first document made of an API, and this one would be made without our options.
 */
const libraryPage = Effect.gen(function* () {
  const { layerHttpLayerRouter } = yield* Effect.promise(() => import("@effect/platform/HttpApiSwagger"))
  const router = yield* HttpLayerRouter.make
  const api = HttpApi.make("page").annotate(OpenApi.Title, openApi().info.title)
  const docs = layerHttpLayerRouter({ api, path: "/docs" })
  yield* Layer.build(Layer.provide(docs, Layer.succeed(HttpLayerRouter.HttpRouter, router)))
  const request = HttpServerRequest.fromWeb(new Request("http://localhost/docs"))
  const answer = router.asHttpEffect()
  const response = yield* Effect.provideService(answer, HttpServerRequest.HttpServerRequest, request)
  return yield* Effect.promise(() => HttpServerResponse.toWeb(response).text())
}).pipe(Effect.scoped, Effect.orDie, Effect.uninterruptible)

/** The page of a document: the library's page with this document, and with streams shown live. */
const pageOf = (page: string, document: object) => {
  const text = JSON.stringify(document).replaceAll("<", "\\u003c")
  const html = page
    .replace(specification, (_, before: string, after: string) => `${before}${text}${after}`)
    .replace(/(?=<\/body>\s*<\/html>\s*$)/, () => `<script>${liveStreams}</script>\n`)
  return HttpServerResponse.text(html, {
    contentType: "text/html",
    headers: { "content-security-policy": policyOf(html) }
  })
}

/** `/openapi.json`, and at `/docs` an interactive page, which loads nothing from elsewhere. */
export const layer = Layer.unwrapEffect(
  Effect.gen(function* () {
    const { prefix } = yield* Mount
    const publicUrl = yield* PublicUrl
    const groups = yield* mountedHere
    const { scheme } = yield* Scheme
    const root = Option.match(publicUrl, {
      onNone: () => "",
      onSome: (url) => addressIn(url, "").slice(url.origin.length)
    })
    const document = () => documentOf({ root, prefix, groups: new Set([...groups, "docs"]), scheme })
    // The mounted groups are known once the app serves, and do not change after that.
    const json = yield* Effect.cached(Effect.sync(() => HttpServerResponse.unsafeJson(document())))
    const page = yield* Effect.cached(Effect.map(libraryPage, (page) => pageOf(page, document())))

    return Layer.merge(
      HttpLayerRouter.add("GET", "/openapi.json", json),
      Layer.provide(HttpLayerRouter.add("GET", "/docs", page), Hosts.guard.layer)
    )
  })
)
