import { Clock, Context, Duration, Effect, Layer, Redacted } from "effect"
import type { RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible"
import type { UserId } from "../../domain/Id.ts"
import { Erasing } from "../data/Erasing.ts"

/** Chat and all other requests are counted separately. */
export type Policy = "chat" | "api"

export interface Limit {
  /** Requests per window. */
  readonly limit: number
  /** Whole seconds, at least one; a minute when absent. It begins with a user's first request. */
  readonly window?: Duration.DurationInput
}

export type Limits = Readonly<Record<Policy, Limit>>

/** A user's limit after a request, which is counted whether or not it is allowed. */
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

/** Limits requests per user. */
export class RateLimits extends Context.Tag("taskchat/services/RateLimits")<
  RateLimits,
  {
    /**
     * Counts requests, 1 when absent; 0 only reads the user's limit. Never fails: while Redis is away, each process counts
     * for itself.
     */
    readonly take: (policy: Policy, user: UserId, requests?: number) => Effect.Effect<Standing>
    /** Whether the shared counter is available. */
    readonly ready: Effect.Effect<boolean>
  }
>() {
  /** Counted in this process, in windows that go by the `Clock`. */
  static readonly layerMemory = (limits: Limits): Layer.Layer<RateLimits> =>
    Layer.scoped(
      RateLimits,
      Effect.gen(function* () {
        const { forget, take } = inMemory(limits)
        yield* (yield* Erasing).listen({ ended: forget })
        return RateLimits.of({ take, ready: Effect.succeed(true) })
      })
    )

  /** 60 requests to chat and 600 others a minute, by the `Clock`. */
  static readonly layerTest: Layer.Layer<RateLimits> = RateLimits.layerMemory({
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
        // Loaded on use.
        const { RateLimiterRedis, RateLimiterRes } = (yield* Effect.promise(() => import("rate-limiter-flexible")))
          .default
        const isCount = (reason: unknown): reason is RateLimiterRes => reason instanceof RateLimiterRes
        const redis = yield* connect(url)
        const prefix = options.prefix ?? "taskchat"
        const shared = perPolicy((policy) => {
          return new RateLimiterRedis({
            storeClient: redis,
            rejectIfRedisNotReady: true,
            keyPrefix: `${prefix}:${policy}`,
            ...points(limits[policy])
          })
        })
        const own = inMemory(limits)
        const forgetShared = (user: UserId) =>
          Effect.forEach(
            Object.values(shared),
            (counts) => Effect.ignore(Effect.tryPromise(() => counts.delete(String(user)))),
            { discard: true }
          )
        yield* (yield* Erasing).listen({
          ended: (user) => (user === undefined ? own.forget() : Effect.zipRight(own.forget(user), forgetShared(user)))
        })
        let awayUntil: number | undefined

        const lost = Effect.flatMap(Clock.currentTimeMillis, (now) => {
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
            const alone = own.take(policy, user, requests)
            if (awayUntil !== undefined) {
              if (now < awayUntil) return yield* alone
              // This request asks Redis; the others do not wait for the answer.
              awayUntil = now + commandTimeout + Duration.toMillis(retry)
            }
            return yield* consume(shared[policy], isCount, user, limit, requests).pipe(
              Effect.zipLeft(found),
              Effect.catchAll(() => Effect.zipRight(lost, alone))
            )
          }),
          ready: Effect.tryPromise(() => redis.set(`${prefix}:ready`, "", "PX", 1000)).pipe(
            Effect.match({ onFailure: () => false, onSuccess: () => true })
          )
        })
      })
    )
}

/** How long a failed Redis is not asked again, so that only one request waits for its timeout. */
const retry = Duration.seconds(1)

/** Milliseconds. If it was shorter, a busy moment of our own would pass for an outage. */
const commandTimeout = 1000

const perPolicy = <A>(make: (policy: Policy) => A): Readonly<Record<Policy, A>> => ({
  chat: make("chat"),
  api: make("api")
})

const windowSeconds = (limit: Limit) => Math.max(1, Math.round(Duration.toSeconds(limit.window ?? "1 minute")))

const points = (limit: Limit) => ({ points: limit.limit, duration: windowSeconds(limit) })

/** A user's count in a window. */
interface Count {
  /** The number of requests, including this one. */
  readonly count: number
  /** The window's end, in milliseconds since 1970. */
  readonly until: number
}

const standingOf = (limit: Limit, { count, until }: Count, now: number): Standing => {
  const allowed = count <= limit.limit
  const resetSeconds = Math.max(1, Math.ceil((until - now) / 1000))
  return {
    allowed,
    limit: limit.limit,
    remaining: Math.max(0, limit.limit - count),
    windowSeconds: windowSeconds(limit),
    resetSeconds,
    resetAt: Math.ceil(until / 1000),
    retryAfter: allowed ? undefined : resetSeconds
  }
}

/** Synchronous, since every request passes here. */
const inMemory = (limits: Limits) => {
  const windows = perPolicy((policy) => new Windows(windowSeconds(limits[policy]) * 1000))
  const take: (typeof RateLimits.Service)["take"] = (policy, user, requests = 1) =>
    Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      return Effect.succeed(standingOf(limits[policy], windows[policy].count(user, requests, now), now))
    })
  /** A user whose data was erased; the windows of others are short. */
  const forget = (user?: UserId) =>
    Effect.sync(() => {
      if (user !== undefined) for (const open of Object.values(windows)) open.forget(user)
    })
  return { take, forget }
}

/** The windows of all recent users. */
class Windows {
  /** All windows have the same length, so the first one ends first. */
  private readonly open = new Map<UserId, Count>()
  private readonly millis: number

  constructor(millis: number) {
    this.millis = millis
  }

  count(user: UserId, requests: number, now: number): Count {
    for (const [other, { until }] of this.open) {
      if (until > now) break
      this.open.delete(other)
    }
    const known = this.open.get(user)
    // An ended window may still be behind others if the clock was set back.
    const isOpen = known !== undefined && known.until > now
    if (!isOpen) this.open.delete(user)
    const { count, until } = isOpen ? known : { count: 0, until: now + this.millis }
    const counted = { count: count + requests, until }
    this.open.set(user, counted)
    return counted
  }

  forget(user: UserId) {
    this.open.delete(user)
  }
}

/** Fails when Redis does. */
const consume = (
  counts: RateLimiterRedis,
  isCount: (reason: unknown) => reason is RateLimiterRes,
  user: UserId,
  limit: Limit,
  requests = 1
) =>
  Effect.gen(function* () {
    const { consumedPoints, msBeforeNext } = yield* Effect.tryPromise(() =>
      counts
        .consume(String(user), requests)
        // The library rejects both for "too many" and for failures of the store.
        .catch((reason: unknown) => (isCount(reason) ? reason : Promise.reject(reason)))
    )
    const now = yield* Clock.currentTimeMillis
    return standingOf(limit, { count: consumedPoints, until: now + msBeforeNext }, now)
  })

/** Fails fast while Redis is away: no queue, no retries, short timeouts. */
const connect = (url: Redacted.Redacted) =>
  Effect.gen(function* () {
    const { Redis } = (yield* Effect.promise(() => import("ioredis"))).default
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const redis = new Redis(Redacted.value(url), {
          connectTimeout: 1000,
          commandTimeout,
          maxRetriesPerRequest: 0,
          enableOfflineQueue: false,
          retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 2000),
          // After a failover this connection stays with the replica, while a new one reaches the new server.
          reconnectOnError: ({ message }) => message.includes("READONLY")
        })
        redis.on("error", () => {}) // told by the commands that fail
        return redis
      }),
      (redis) => Effect.sync(() => redis.disconnect())
    )
    // Connect now, so that the first requests are counted in Redis too.
    yield* Effect.async<void>((resume) => {
      const done = () => resume(Effect.void)
      redis.once("ready", done).once("error", done).once("close", done)
    })
    return redis
  })
