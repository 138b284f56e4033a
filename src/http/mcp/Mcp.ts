import { HttpApp, HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Either, Layer, Option, Redacted, Schema } from "effect"
import { Authentication } from "../../api/Authentication.ts"
import type { UserId } from "../../domain/Id.ts"
import { RequestId } from "../../domain/Problem.ts"
import { InvalidRequest, NotAcceptable, NotFound, OriginForbidden, TimeZone } from "../../domain/Request.ts"
import * as JsonBody from "../../runtime/JsonBody.ts"
import { RateLimits } from "../../services/access/RateLimits.ts"
import { Erasing } from "../../services/data/Erasing.ts"
import { TaskTools } from "../../services/tasks/TaskTools.ts"
import * as Users from "../Authentication.ts"
import { showLimits, spend } from "../Authentication.ts"
import * as Exchange from "../Exchange.ts"
import { addressIn, Mount, PublicUrl, register, rootOf } from "../Mount.ts"
import * as Messages from "./Messages.ts"

export interface McpOptions {
  /** Origins whose pages may call it, besides loopback origins with any port. */
  readonly origins: ReadonlyArray<string>
  /** The issuer of tokens, if it is an OAuth authorization server for clients. */
  readonly issuer?: string | undefined
}

const path = "/mcp"
const metadataPath = "/.well-known/oauth-protected-resource"

/**
 * The tasks for MCP clients: Streamable HTTP without sessions, so that any node answers any request. Authentication, limits
 * and origins are checked as everywhere; the protocol does the rest.
 */
export const layer = (options: McpOptions) => Layer.provide(layerOpen(options), Users.layer)

/** As `layer`, for apps with their own authentication: `Routes.authentication` makes a layer for it. */
export const layerOpen = ({ issuer, origins }: McpOptions) =>
  HttpLayerRouter.use((router) =>
    Effect.gen(function* () {
      const { bearer } = yield* Authentication
      const limits = yield* RateLimits
      const erasing = yield* Erasing
      const toolkit = Effect.succeed(yield* TaskTools)
      // The protocol's code is loaded with the first request.
      const protocol = yield* Effect.cached(
        Effect.gen(function* () {
          const [{ createMcpHandler }, McpServer] = yield* Effect.promise(() =>
            Promise.all([import("@modelcontextprotocol/server"), import("./McpServer.ts")])
          )
          return { createMcpHandler, serverFor: yield* McpServer.make(toolkit) }
        })
      )
      const { prefix, root = router } = yield* Mount
      const resource = `${prefix}${path}`
      const publicUrl = yield* PublicUrl

      const serve = Effect.gen(function* () {
        const request = yield* HttpServerRequest.HttpServerRequest
        yield* pointTo(Option.map(rootOf(publicUrl, request), metadataOf(resource)))
        const { id: user } = yield* bearer(Redacted.make(""))
        if (!isWelcome(request.headers["origin"], origins)) {
          return yield* Effect.zipRight(showLimits(limits, "api", user), new OriginForbidden())
        }
        yield* spend(limits, "api", user)
        yield* erasing.refuse(user)
        const admitted = yield* admissionOf(request, user)
        const runtime = yield* Effect.runtime<never>()
        const body = request.method === "POST" ? yield* bodyOf(request) : Either.right(undefined)
        if (Either.isLeft(body)) return Messages.refusal(-32700, body.left)
        if (Array.isArray(body.right)) {
          const refused = Messages.batchRefusal(body.right, request.headers["mcp-protocol-version"])
          if (refused !== undefined) return refused
          yield* spend(limits, "api", user, body.right.length - 1)
        }
        const form = Messages.formFor(request.headers["accept"])
        if (form === undefined) return yield* new NotAcceptable()
        const { createMcpHandler, serverFor } = yield* protocol
        // A new handler for each request, since it works for one user; this is cheap.
        const handler = createMcpHandler(() => serverFor(Effect.succeed(admitted), runtime))
        const headers = { ...request.headers, accept: "application/json, text/event-stream" }
        const response = yield* Effect.promise((signal) =>
          handler.fetch(new Request(`http://localhost${resource}`, { method: request.method, headers, signal }), {
            parsedBody: body.right
          })
        )
        // There are no subscriptions, so the stream says so and ends.
        if (isSubscription(body.right)) yield* Effect.promise(() => handler.close())
        // The listener and the client decide whether the connection stays open.
        response.headers.delete("connection")
        return form === "json"
          ? yield* Messages.asJson(response, Array.isArray(body.right))
          : HttpServerResponse.fromWeb(response)
      })

      const metadata = Effect.gen(function* () {
        const root = rootOf(publicUrl, yield* HttpServerRequest.HttpServerRequest)
        if (Option.isNone(root)) return yield* new NotFound()
        return HttpServerResponse.unsafeJson({
          resource: addressIn(root.value, resource),
          resource_name: "taskchat",
          bearer_methods_supported: ["header"],
          // In a JWT an issuer is any text, in OAuth an address.
          ...(issuer !== undefined && /^https?:\/\//.test(issuer) && { authorization_servers: [issuer] })
        })
      })

      for (const method of ["GET", "POST", "DELETE"] as const) yield* router.add(method, path, serve)
      // RFC 9728's address for a resource with a path: before the path, whatever the prefix.
      yield* root.add("GET", `${metadataPath}${resource}`, metadata)
      if (prefix === "") yield* root.add("GET", metadataPath, metadata)
    })
  ).pipe(Layer.provide(Exchange.middleware.layer), Layer.merge(register("mcp")))

/** RFC 9728's address of a resource's metadata: before its path. */
const metadataOf = (resource: string) => (root: URL) =>
  `${root.origin}${metadataPath}${addressIn(root, resource).slice(root.origin.length)}`

/** RFC 9728, section 5.1: a refusal points to the resource's metadata, if the address is known. */
const pointTo = (metadata: Option.Option<string>) =>
  Option.match(metadata, {
    onNone: () => Effect.void,
    onSome: (address) =>
      HttpApp.appendPreResponseHandler((_, response) => {
        const challenge = response.status === 401 ? response.headers["www-authenticate"] : undefined
        if (challenge === undefined) return Effect.succeed(response)
        const pointed = `${challenge}${challenge.includes("=") ? "," : ""} resource_metadata="${address}"`
        return Effect.succeed(HttpServerResponse.setHeader(response, "www-authenticate", pointed))
      })
  })

const local = ["localhost", "127.0.0.1", "[::1]"]

/** Browsers send the page's `Origin`. Other clients send none. */
const isWelcome = (origin: string | undefined, origins: ReadonlyArray<string>) =>
  origin === undefined || origins.includes(origin) || (URL.canParse(origin) && local.includes(new URL(origin).hostname))

const admissionOf = ({ headers }: HttpServerRequest.HttpServerRequest, user: UserId) =>
  Effect.gen(function* () {
    const timeZone = headers["time-zone"] ?? "UTC"
    if (!isTimeZone(timeZone)) return yield* wrongTimeZone
    return { user, timeZone, requestId: yield* RequestId }
  })

const isTimeZone = Schema.is(TimeZone)
const wrongTimeZone = new InvalidRequest({
  errors: [{ path: "time-zone", message: "must be an IANA time zone such as Europe/Berlin" }]
})

/** The message, read within the limits of every body. The protocol refuses invalid JSON. */
const bodyOf = (request: HttpServerRequest.HttpServerRequest) =>
  JsonBody.json(request).pipe(
    Effect.map(Either.right),
    Effect.catchTag("InvalidRequest", ({ errors }) => Effect.succeed(Either.left(errors[0]?.message ?? "")))
  )

const isSubscription = Schema.is(Schema.Struct({ method: Schema.Literal("subscriptions/listen") }))
