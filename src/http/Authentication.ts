import { HttpApp, HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Redacted } from "effect"
import { ApiRateLimit, Authentication, ChatRateLimit } from "../api/Authentication.ts"
import type { UserId } from "../domain/Id.ts"
import {
  CurrentUser,
  type InvalidToken,
  MissingToken,
  RateLimited,
  type Unavailable,
  UserMismatch
} from "../domain/Request.ts"
import { type Policy, RateLimits, type Standing } from "../services/RateLimits.ts"
import { Tokens } from "../services/Tokens.ts"
import { note } from "./Exchange.ts"

/** Who asks, by the Bearer token of the request. */
export const authenticate = (tokens: typeof Tokens.Service) =>
  Effect.gen(function* () {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const [, token] = /^Bearer +(.+)$/i.exec(headers["authorization"] ?? "") ?? []
    if (token === undefined) return yield* new MissingToken()
    const user = yield* tokens.verify(Redacted.make(token))
    yield* note({ user_id: user.id })
    return user
  })

/** Spends one request of the user's; the answer, whatever it is, says what is left. */
export const spend = (limits: typeof RateLimits.Service, policy: Policy, user: UserId) =>
  Effect.gen(function* () {
    const standing = yield* limits.take(policy, user)
    yield* announce(policy, standing)
    if (!standing.allowed) return yield* new RateLimited({ retryAfter: standing.resetSeconds })
  })

/** `X-RateLimit-*`, and the header fields of the IETF's draft. */
const announce = (policy: Policy, { limit, remaining, resetAt, resetSeconds, windowSeconds }: Standing) =>
  HttpApp.appendPreResponseHandler((_, response) =>
    Effect.succeed(
      HttpServerResponse.setHeaders(response, {
        "x-ratelimit-limit": String(limit),
        "x-ratelimit-remaining": String(remaining),
        "x-ratelimit-reset": String(resetAt),
        ratelimit: `"${policy}";r=${remaining};t=${resetSeconds}`,
        "ratelimit-policy": `"${policy}";q=${limit};w=${windowSeconds}`
      })
    )
  )

/** A URL of someone else's spends nobody's quota. What is no number at all is refused later, as such. */
const ownUrl = (limits: typeof RateLimits.Service, policy: Policy, user: UserId, inUrl: string | undefined) =>
  inUrl === undefined || !/^[0-9]+$/.test(inUrl) || inUrl === String(user)
    ? Effect.void
    : Effect.zipRight(
        Effect.flatMap(limits.take(policy, user, 0), (standing) => announce(policy, standing)),
        new UserMismatch()
      )

/** A middleware's type cannot ask for what another provides, though every group has `Authentication` around this. */
const spendOwn = (limits: typeof RateLimits.Service, policy: Policy) =>
  Effect.flatMap(Effect.serviceOption(CurrentUser), (user) =>
    Effect.flatMap(Effect.orDie(user), ({ id }) => spend(limits, policy, id))
  )

/** Finds out who sent a request. It may read the request however it likes: a token, a cookie, a header of a proxy's. */
export type Identify = Effect.Effect<
  { readonly id: UserId },
  MissingToken | InvalidToken | Unavailable,
  HttpServerRequest.HttpServerRequest
>

/** Every endpoint's `Authentication` and limits, with users of one's own. That the URL is theirs is checked here. */
export const layerOf = <E, R>(
  identify: Effect.Effect<Identify, E, R>
): Layer.Layer<Authentication | ChatRateLimit | ApiRateLimit, E, R | RateLimits> =>
  Layer.mergeAll(
    Layer.effect(
      Authentication,
      Effect.gen(function* () {
        const identity = yield* identify
        const limits = yield* RateLimits
        return {
          bearer: () =>
            Effect.gen(function* () {
              const user = yield* identity
              const { params, route } = yield* HttpLayerRouter.RouteContext
              const policy = /\/chat(\/stream)?$/.test(route.path) ? "chat" : "api"
              yield* note({ user_id: user.id })
              yield* ownUrl(limits, policy, user.id, params["user_id"])
              return { id: user.id }
            })
        }
      })
    ),
    Layer.effect(
      ChatRateLimit,
      Effect.map(RateLimits, (limits) => spendOwn(limits, "chat"))
    ),
    Layer.effect(
      ApiRateLimit,
      Effect.map(RateLimits, (limits) => spendOwn(limits, "api"))
    )
  )

/** Who asks is whoever the token names. */
export const layer = layerOf(Effect.map(Tokens, authenticate))
