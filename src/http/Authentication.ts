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

/** Who asks, by the Bearer token of the request. */
const authenticate = (tokens: typeof Tokens.Service): Identify =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ headers }): Effect.Effect<{ readonly id: UserId }, MissingToken | InvalidToken | Unavailable> => {
      const [, token] = /^Bearer +(.+)$/i.exec(headers["authorization"] ?? "") ?? []
      return token === undefined ? new MissingToken() : tokens.verify(Redacted.make(token))
    }
  )

/** Spends one request of the user's, or several; the answer, whatever it is, says what is left. */
export const spend = (
  limits: typeof RateLimits.Service,
  policy: Policy,
  user: UserId,
  requests = 1
): Effect.Effect<void, RateLimited> =>
  Effect.flatMap(Additions, (additions) =>
    Effect.flatMap(limits.take(policy, user, requests), (standing) => {
      additions.setHeaders(fieldsOf(policy, standing))
      return standing.allowed ? Effect.void : new RateLimited({ retryAfter: standing.resetSeconds })
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

/** The answer is for whoever sent the token, and may be another for another token. */
const toItsUserAlone = { "cache-control": "private, no-cache", vary: "Authorization" }

/** A URL of someone else's is one. What is no number at all is refused later, as such. */
const isForeign = (inUrl: string | undefined, user: UserId) =>
  inUrl !== undefined && /^[0-9]+$/.test(inUrl) && inUrl !== String(user)

/** Has the answer say what is left to the user, and spends nothing of it. */
export const showLimits = (limits: typeof RateLimits.Service, policy: Policy, user: UserId) =>
  Effect.flatMap(limits.take(policy, user, 0), (standing) => setResponseHeaders(fieldsOf(policy, standing)))

/** Spends nobody's quota. */
const refuse = (limits: typeof RateLimits.Service, policy: Policy, user: UserId) =>
  Effect.zipRight(showLimits(limits, policy, user), new UserMismatch())

/** A middleware's type cannot ask for what another provides, though every group has `Authentication` around this. */
const spendOwn = <E>(policy: Policy, refuse: (user: UserId) => Effect.Effect<void, E>) =>
  Effect.map(RateLimits, (limits) =>
    Effect.contextWithEffect((context: Context.Context<never>) => {
      const { id } = Context.unsafeGet(context, CurrentUser)
      return Effect.zipRight(spend(limits, policy, id), refuse(id))
    })
  )

/** Finds out who sent a request. It may read the request however it likes: a token, a cookie, a header of a proxy's. */
export type Identify = Effect.Effect<
  { readonly id: UserId },
  MissingToken | InvalidToken | Unavailable,
  HttpServerRequest.HttpServerRequest
>

/** How clients say who they are, as the document and its page tell it; by a token, unless it is set. */
export class Scheme extends Context.Reference<Scheme>()("taskchat/http/Authentication/Scheme", {
  defaultValue: (): { readonly scheme: SecurityScheme | undefined } => ({ scheme: ownScheme })
}) {}

export interface IdentifyOptions {
  /** How clients say who they are, for `/openapi.json` and `/docs`, which say nothing of it when absent. */
  readonly scheme?: SecurityScheme
}

/**
 * Every endpoint's `Authentication` and limits, with users of one's own. That the URL is theirs is checked here. It is also
 * what `Mcp.layerOpen` needs.
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
              // Before anything reads the path: whatever depends on it is the same as with the number.
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

/** Who asks is whoever the token names. */
export const layer = layerOf(Effect.map(Tokens, authenticate), ownScheme && { scheme: ownScheme })
