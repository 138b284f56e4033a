import { HttpLayerRouter, HttpServerRequest } from "@effect/platform"
import { Context, Effect, Layer, Redacted } from "effect"
import { ApiRateLimit, Authentication, ChatRateLimit, ErasureRateLimit } from "../api/Authentication.ts"
import { ownScheme, type SecurityScheme } from "../api/OpenApi.ts"
import type { UserId } from "../domain/Id.ts"
import {
  CurrentUser,
  type InvalidToken,
  MissingToken,
  RateLimited,
  type Unavailable,
  UserMismatch
} from "../domain/Request.ts"
import { type Policy, RateLimits, type Standing } from "../services/access/RateLimits.ts"
import { Tokens } from "../services/access/Tokens.ts"
import { Erasing } from "../services/data/Erasing.ts"
import { Additions, setResponseHeaders } from "./Exchange.ts"

/** Identifies the user by the Bearer token of the request. */
const authenticate = (tokens: typeof Tokens.Service): Identify =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ headers }): Effect.Effect<{ readonly id: UserId }, MissingToken | InvalidToken | Unavailable> => {
      const [, token] = /^Bearer +(.+)$/i.exec(headers["authorization"] ?? "") ?? []
      return token === undefined ? new MissingToken() : tokens.verify(Redacted.make(token))
    }
  )

/** Counts requests of the user, one by default. The answer has the limit headers in any case. */
export const spend = (
  limits: typeof RateLimits.Service,
  policy: Policy,
  user: UserId,
  requests = 1
): Effect.Effect<void, RateLimited> =>
  Effect.flatMap(Additions, (additions) =>
    Effect.flatMap(limits.take(policy, user, requests), (allowance) => {
      additions.setHeaders(fieldsOf(policy, allowance))
      return allowance.allowed ? Effect.void : new RateLimited({ retryAfter: allowance.resetSeconds })
    })
  )

/** `X-RateLimit-*`, and the header fields of the IETF's draft. */
const fieldsOf = (policy: Policy, { limit, remaining, resetAt, resetSeconds, windowSeconds }: Standing) => ({
  "x-ratelimit-limit": String(limit),
  "x-ratelimit-remaining": String(remaining),
  "x-ratelimit-reset": String(resetAt),
  ratelimit: `"${policy}";r=${remaining};t=${resetSeconds}`,
  "ratelimit-policy": `"${policy}";q=${limit};w=${windowSeconds}`
})

/** The answer is private to the token's user, and depends on the token. */
const toItsUserAlone = { "cache-control": "private, no-cache", vary: "Authorization" }

/** Whether the URL's user is another one. A value that is not a number is refused later, as 400. */
const isForeign = (inUrl: string | undefined, user: UserId) =>
  inUrl !== undefined && /^[0-9]+$/.test(inUrl) && inUrl !== String(user)

/** Sets the limit headers without counting a request. */
export const showLimits = (limits: typeof RateLimits.Service, policy: Policy, user: UserId) =>
  Effect.flatMap(limits.take(policy, user, 0), (allowance) => setResponseHeaders(fieldsOf(policy, allowance)))

/** Refuses without counting a request. */
const refuse = (limits: typeof RateLimits.Service, policy: Policy, user: UserId) =>
  Effect.zipRight(showLimits(limits, policy, user), new UserMismatch())

/** A middleware's type cannot require what another one provides; `Authentication` is around this one in every group. */
const spendOwn = <E>(policy: Policy, refuse: (user: UserId) => Effect.Effect<void, E>) =>
  Effect.map(RateLimits, (limits) =>
    Effect.contextWithEffect((context: Context.Context<never>) => {
      const { id } = Context.unsafeGet(context, CurrentUser)
      return Effect.zipRight(spend(limits, policy, id), refuse(id))
    })
  )

/** Identifies the sender of a request, by anything in it: a token, a cookie, a header of a proxy. */
export type Identify = Effect.Effect<
  { readonly id: UserId },
  MissingToken | InvalidToken | Unavailable,
  HttpServerRequest.HttpServerRequest
>

/** How clients authenticate, for the document and its page; by a token, unless it is set. */
export class Scheme extends Context.Reference<Scheme>()("taskchat/http/Authentication/Scheme", {
  defaultValue: (): { readonly scheme: SecurityScheme | undefined } => ({ scheme: ownScheme })
}) {}

export interface IdentifyOptions {
  /** How clients authenticate, for `/openapi.json` and `/docs`, which do not mention it when absent. */
  readonly scheme?: SecurityScheme
}

/**
 * `Authentication` and the limits of every endpoint, for an app's own users. It also checks that the URL is the user's.
 * `Mcp.layerOpen` needs it too.
 */
export const layerOf = <E, R>(
  identify: Effect.Effect<Identify, E, R>,
  { scheme }: IdentifyOptions = {}
): Layer.Layer<Authentication | ChatRateLimit | ApiRateLimit | ErasureRateLimit | Scheme, E, R | RateLimits> =>
  Layer.mergeAll(
    Layer.succeed(Scheme, { scheme }),
    Layer.effect(
      Authentication,
      Effect.gen(function* () {
        const identity = yield* identify
        const limits = yield* RateLimits
        return {
          bearer: () =>
            Effect.gen(function* () {
              const additions = yield* Additions
              additions.setHeaders(toItsUserAlone)
              const { id } = yield* identity
              additions.log({ user_id: id })
              const { params, route } = yield* HttpLayerRouter.RouteContext
              // Before anything reads the path, so that `me` works exactly like the number.
              if (params["user_id"] === "me") Object.assign(params, { user_id: String(id) })
              if (!isForeign(params["user_id"], id)) return { id }
              return yield* refuse(limits, /\/(chat(\/stream)?|approve|decline)$/.test(route.path) ? "chat" : "api", id)
            })
        }
      })
    ),
    Layer.effect(
      ChatRateLimit,
      Effect.flatMap(Erasing, ({ refuse }) => spendOwn("chat", refuse))
    ),
    Layer.effect(
      ApiRateLimit,
      Effect.flatMap(Erasing, ({ refuse }) => spendOwn("api", refuse))
    ),
    Layer.effect(
      ErasureRateLimit,
      spendOwn("api", () => Effect.void)
    )
  )

/** The users are those of the tokens. */
export const layer = layerOf(Effect.map(Tokens, authenticate), { scheme: ownScheme })
