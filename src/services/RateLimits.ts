import { Clock, Context, Duration, Effect, Layer, Redacted } from "effect"
import { Redis } from "ioredis"
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible"
import type { UserId } from "../domain/Id.ts"

/** What is counted apart: chat, and everything else. */
export type Policy = "chat" | "api"

export interface Limit {
  /** Requests per window. */
  readonly limit: number
  /** Whole seconds, at least one; a minute when absent. It begins with a user's first request. */
  readonly window?: Duration.DurationInput
}

export type Limits = Readonly<Record<Policy, Limit>>

/** How a user stands after one request, which is counted whether or not it is allowed. */
export interface Standing {
  readonly allowed: boolean
  readonly limit: number
  /** Requests left in this window. */
  readonly remaining: number
  readonly windowSeconds: number
  /** Until the window ends, rounded up. */
  readonly resetSeconds: number
  /** When the window ends: Unix seconds. */
  readonly resetAt: number
  /** Seconds, if the request is not allowed. */
  readonly retryAfter: number | undefined
}

/** How often each user may ask. */
export class RateLimits extends Context.Tag("taskchat/services/RateLimits")<
  RateLimits,
  {
    /**
     * Counts so many requests, 1 when absent; 0 only tells how the user stands. Never fails: while Redis is away, each
     * process counts for itself.
     */
    readonly take: (policy: Policy, user: UserId, requests?: number) => Effect.Effect<Standing>
    /** Whether the counts are where they should be. */
    readonly ready: Effect.Effect<boolean>
  }
>() {
  /** Counted in this process. The windows go by the system's clock, whatever `Clock` is given. */
  static readonly layerMemory = (limits: Limits): Layer.Layer<RateLimits> =>
    Layer.sync(RateLimits, () => {
      const counts = inMemory(limits)
      return RateLimits.of({
        take: (policy, user, requests) => Effect.orDie(consume(counts[policy], user, limits[policy], requests)),
        ready: Effect.succeed(true)
      })
    })

  /** Counted in this process, in windows that go by the `Clock`. */
  static readonly layerClock = (limits: Limits): Layer.Layer<RateLimits> =>
    Layer.sync(RateLimits, () => {
      const counts = new Map<string, { readonly until: number; readonly count: number }>()
      return RateLimits.of({
        take: Effect.fn("RateLimits.take")((policy, user, requests = 1) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const limit = limits[policy]
            const key = `${policy}:${user}`
            const open = counts.get(key)
            const window =
              open !== undefined && open.until > now ? open : { until: now + windowSeconds(limit) * 1000, count: 0 }
            const count = window.count + requests
            counts.set(key, { ...window, count })
            const allowed = count <= limit.limit
            const resetSeconds = Math.max(1, Math.ceil((window.until - now) / 1000))
            return {
              allowed,
              limit: limit.limit,
              remaining: Math.max(0, limit.limit - count),
              windowSeconds: windowSeconds(limit),
              resetSeconds,
              resetAt: Math.ceil(window.until / 1000),
              retryAfter: allowed ? undefined : resetSeconds
            }
          })
        ),
        ready: Effect.succeed(true)
      })
    })

  /** 60 requests to chat and 600 others a minute, by the `Clock`. */
  static readonly layerTest: Layer.Layer<RateLimits> = RateLimits.layerClock({
    chat: { limit: 60 },
    api: { limit: 600 }
  })

  /** Counted in Redis, for all processes that name the same `prefix`; in this process while Redis is away. */
  static readonly layerRedis = (
    url: Redacted.Redacted,
    limits: Limits,
    options: { readonly prefix?: string } = {}
  ): Layer.Layer<RateLimits> =>
    Layer.scoped(
      RateLimits,
      Effect.gen(function* () {
        const redis = yield* connect(url)
        const shared = perPolicy((policy) => {
          return new RateLimiterRedis({
            storeClient: redis,
            rejectIfRedisNotReady: true,
            keyPrefix: `${options.prefix ?? "taskchat"}:${policy}`,
            ...points(limits[policy])
          })
        })
        const own = inMemory(limits)
        let awayUntil: number | undefined

        const lost = (now: number) =>
          Effect.suspend(() => {
            const first = awayUntil === undefined
            awayUntil = now + Duration.toMillis(retry)
            return first ? Effect.logWarning("Redis is away: each process counts requests for itself") : Effect.void
          })
        const found = Effect.suspend(() => {
          if (awayUntil === undefined) return Effect.void
          awayUntil = undefined
          return Effect.logInfo("Redis is back: requests are counted for all processes")
        })

        return RateLimits.of({
          take: Effect.fn("RateLimits.take")(function* (policy, user, requests) {
            const limit = limits[policy]
            const now = yield* Clock.currentTimeMillis
            const alone = Effect.orDie(consume(own[policy], user, limit, requests))
            if (awayUntil !== undefined && now < awayUntil) return yield* alone
            return yield* consume(shared[policy], user, limit, requests).pipe(
              Effect.zipLeft(found),
              Effect.catchAll(() => Effect.zipRight(lost(now), alone))
            )
          }),
          ready: Effect.tryPromise(() => redis.ping()).pipe(
            Effect.match({ onFailure: () => false, onSuccess: () => true })
          )
        })
      })
    )
}

/** How long not to ask a Redis that failed, so that one which does not answer costs one request its patience, not each. */
const retry = Duration.seconds(1)

const perPolicy = <A>(make: (policy: Policy) => A): Readonly<Record<Policy, A>> => ({
  chat: make("chat"),
  api: make("api")
})

const windowSeconds = (limit: Limit) => Math.max(1, Math.round(Duration.toSeconds(limit.window ?? "1 minute")))

const points = (limit: Limit) => ({ points: limit.limit, duration: windowSeconds(limit) })

const inMemory = (limits: Limits) =>
  perPolicy((policy) => new RateLimiterMemory({ keyPrefix: policy, ...points(limits[policy]) }))

/** Fails when the store does. */
const consume = (counts: RateLimiterAbstract, user: UserId, limit: Limit, requests = 1) =>
  Effect.gen(function* () {
    const { allowed, count } = yield* Effect.tryPromise(() =>
      counts.consume(String(user), requests).then(
        (count) => ({ allowed: true, count }),
        // "Too many" comes as a rejection, as the store's failures do.
        (reason) => (reason instanceof RateLimiterRes ? { allowed: false, count: reason } : Promise.reject(reason))
      )
    )
    const now = yield* Clock.currentTimeMillis
    const resetSeconds = Math.max(1, Math.ceil(count.msBeforeNext / 1000))
    return {
      allowed,
      limit: limit.limit,
      remaining: count.remainingPoints,
      windowSeconds: windowSeconds(limit),
      resetSeconds,
      resetAt: Math.ceil((now + count.msBeforeNext) / 1000),
      retryAfter: allowed ? undefined : resetSeconds
    } satisfies Standing
  })

/** Fails fast when Redis is away: nothing is queued or tried again, and what waits waits shortly. */
const connect = (url: Redacted.Redacted) =>
  Effect.gen(function* () {
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const redis = new Redis(Redacted.value(url), {
          connectTimeout: 1000,
          commandTimeout: 1000, // if shorter, a busy moment of our own would pass for an outage
          maxRetriesPerRequest: 0,
          enableOfflineQueue: false,
          retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 2000)
        })
        redis.on("error", () => {}) // told by the commands that fail
        return redis
      }),
      (redis) => Effect.sync(() => redis.disconnect())
    )
    // So that the first requests are counted there, too.
    yield* Effect.async<void>((resume) => {
      const done = () => resume(Effect.void)
      redis.once("ready", done).once("error", done).once("close", done)
    })
    return redis
  })
