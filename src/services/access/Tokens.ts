import { hash } from "node:crypto"
import { Cause, Clock, Context, Data, DateTime, Duration, Effect, Layer, Redacted, Schedule, type Scope } from "effect"
import * as Jose from "jose"
import type { UserId } from "../../domain/Id.ts"
import { InvalidToken, Unavailable } from "../../domain/Request.ts"
import { Erasing } from "../data/Erasing.ts"
import * as Claims from "./Claims.ts"
import { Identities } from "./Identities.ts"

/** The keys for signatures: a secret shared with the issuer (HS256), or the issuer's published keys. */
export type Keys =
  | {
      /** UTF-8, at least 32 bytes. */
      readonly secret: Redacted.Redacted
    }
  | {
      /** A JSON Web Key Set. */
      readonly jwksUrl: URL
      readonly algorithms: ReadonlyArray<PublicKeyAlgorithm>
    }

export type PublicKeyAlgorithm = "RS256" | "ES256" | "EdDSA"

export interface Options {
  readonly keys: Keys
  /** The `iss` a token must have; any when absent. */
  readonly issuer?: string
  /** The `aud` a token must have or list; any when absent. */
  readonly audience?: string
  /** The claim that names the user; when absent `user_id`, else `sub`. Visible ASCII without quotes and backslashes. */
  readonly userClaim?: string
}

/** Tokens are verified with public keys only. */
export class NoSigningKey extends Data.TaggedError("NoSigningKey")<{}> {
  override get message() {
    return "Tokens can only be issued with a secret (JWT_SECRET); those of a key set come from its issuer"
  }
}

/** Verifies and issues signed tokens. */
export class Tokens extends Context.Tag("taskchat/services/Tokens")<
  Tokens,
  {
    /** `Unavailable` if the keys cannot be read. Only the log says why a token is invalid. */
    readonly verify: (token: Redacted.Redacted) => Effect.Effect<{ readonly id: UserId }, InvalidToken | Unavailable>
    /** A user's id or, with assigned ids, the name of an account. */
    readonly issue: (user: UserId | string, ttl: Duration.DurationInput) => Effect.Effect<string, NoSigningKey>
  }
>() {
  /** Tokens carry the users' ids. */
  static readonly layer = (options: Options): Layer.Layer<Tokens> =>
    Layer.scoped(
      Tokens,
      make(options, (claims) => Claims.userOf(claims, options.userClaim))
    )

  /** Tokens name accounts by any text; `Identities` has the users' ids. A token must have an issuer. */
  static readonly layerMapped = (options: Options): Layer.Layer<Tokens, never, Identities> =>
    Layer.scoped(
      Tokens,
      Effect.flatMap(Identities, (identities) =>
        make(options, (claims) => Effect.flatMap(Claims.identityOf(claims, options.userClaim), identities.userOf), true)
      )
    )

  /** A fixed secret that everyone knows. */
  static readonly layerTest: Layer.Layer<Tokens> = Layer.suspend(() =>
    Tokens.layer({ keys: { secret: Redacted.make("this secret is public and only for tests") } })
  )
}

/** A longer token is refused without parsing. */
const maxLength = 8192
const skew = Duration.seconds(30)
/** How often published keys are read again; a withdrawn key may be accepted for that long. */
const refresh = Duration.minutes(10)
const maxVerified = 10_000

/** The `iss` of tokens issued here, if none is required. */
const ownIssuer = "taskchat"

/** After an erasure the account gets another id, so nothing may be cached beyond that. */
const make = (
  options: Options,
  identify: (claims: Jose.JWTPayload) => Effect.Effect<UserId, InvalidToken>,
  isMapped = false
) =>
  Effect.gen(function* () {
    const { audience, issuer, keys, userClaim } = options
    const verifier = "secret" in keys ? yield* bySecret(keys.secret) : yield* byKeySet(keys.jwksUrl, keys.algorithms)
    const expected = {
      requiredClaims: ["exp"],
      clockTolerance: Duration.toSeconds(skew),
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience === undefined ? {} : { audience })
    }
    // By hash, so that memory holds no usable token; the oldest first. Verifying costs several times the rest of
    // `verify`.
    const verified = new Map<string, { readonly user: { readonly id: UserId }; readonly until: number }>()

    let forgotten = 0
    const forget = (id?: UserId) =>
      Effect.sync(() => {
        forgotten++
        for (const [key, { user }] of verified) if (id === undefined || user.id === id) verified.delete(key)
      })
    if (isMapped) yield* (yield* Erasing).listen({ ended: forget })

    const verifyAnew = Effect.fn("Tokens.verify")(function* (text: string, key: string, now: number) {
      verified.delete(key)
      const before = forgotten
      const currentDate = DateTime.toDateUtc(DateTime.unsafeMake(now))
      const claims = yield* verifier.verify(text, { ...expected, currentDate })
      const user = { id: yield* Effect.tapError(identify(claims), ({ message }) => logRefusal(message)) }
      const expires = (claims.exp ?? 0) * 1000 + Duration.toMillis(skew)
      if (forgotten === before) verified.set(key, { user, until: Math.min(expires, now + verifier.maxAge) })
      if (verified.size > maxVerified) {
        const oldest = verified.keys().next()
        if (!oldest.done) verified.delete(oldest.value)
      }
      return user
    })

    return Tokens.of({
      verify: (token) =>
        Effect.clockWith((clock) => {
          const now = clock.unsafeCurrentTimeMillis()
          const text = Redacted.value(token)
          if (text.length > maxLength) return refuse("too long")
          const key = hash("sha256", text, "base64")
          const known = verified.get(key)
          return known !== undefined && now < known.until ? Effect.succeed(known.user) : verifyAnew(text, key, now)
        }),
      issue: Effect.fn("Tokens.issue")(function* (user, ttl) {
        const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
        return yield* verifier.sign({
          ...Claims.claimsOf(user, userClaim),
          iat: now,
          exp: now + Math.ceil(Duration.toSeconds(ttl)),
          iss: issuer ?? ownIssuer,
          ...(audience === undefined ? {} : { aud: audience })
        })
      })
    })
  })

interface Verifier {
  readonly verify: (
    token: string,
    expected: Jose.JWTVerifyOptions
  ) => Effect.Effect<Jose.JWTPayload, InvalidToken | Unavailable>
  readonly sign: (claims: Jose.JWTPayload) => Effect.Effect<string, NoSigningKey>
  /** Milliseconds for which a verified token is cached. */
  readonly maxAge: number
}

const bySecret = (secret: Redacted.Redacted): Effect.Effect<Verifier> =>
  Effect.map(
    Effect.promise(() =>
      crypto.subtle.importKey(
        "raw",
        new TextEncoder().encode(Redacted.value(secret)),
        { name: "HMAC", hash: "SHA-256" },
        false,
        ["sign", "verify"]
      )
    ),
    (key) => ({
      verify: (token, expected) =>
        Effect.tryPromise({
          try: async () => (await Jose.jwtVerify(token, key, { ...expected, algorithms: ["HS256"] })).payload,
          catch: reasonOf
        }).pipe(Effect.catchAll(refuse)),
      sign: (claims) =>
        Effect.promise(() => new Jose.SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(key)),
      maxAge: Number.POSITIVE_INFINITY
    })
  )

/**
 * Reads the keys in the background, so that no request waits for a refresh, and keeps them while the issuer is away. A
 * token with an unknown `kid` triggers a reading at once, at most every 30 seconds.
 */
const byKeySet = (
  url: URL,
  algorithms: ReadonlyArray<PublicKeyAlgorithm>
): Effect.Effect<Verifier, never, Scope.Scope> =>
  Effect.gen(function* () {
    const keySet = Jose.createRemoteJWKSet(url, { cacheMaxAge: Number.POSITIVE_INFINITY, timeoutDuration: 5000 })
    yield* Effect.tryPromise(() => keySet.reload()).pipe(
      Effect.catchAll(({ error }) =>
        Effect.logWarning("The key set of JWT_JWKS_URL could not be read", Cause.fail(error))
      ),
      Effect.repeat(Schedule.spaced(refresh)),
      Effect.forkScoped
    )
    // jose does not distinguish a missing key from an unreadable key set; this lookup does.
    const keyOf: Jose.JWTVerifyGetKey = async (header, token) => {
      try {
        return await keySet(header, token)
      } catch (error) {
        throw isVerdict(error) ? error : new KeySetUnavailable()
      }
    }
    return {
      verify: (token, expected) =>
        Effect.tryPromise({
          try: () => verifyByAny(token, keyOf, { ...expected, algorithms: [...algorithms] }),
          catch: (error) => (error instanceof KeySetUnavailable ? error : reasonOf(error))
        }).pipe(
          Effect.catchAll(
            (error): Effect.Effect<never, InvalidToken | Unavailable> =>
              error instanceof KeySetUnavailable ? new Unavailable({ retryAfter: 5 }) : refuse(error)
          )
        ),
      sign: () => new NoSigningKey(),
      maxAge: Duration.toMillis(refresh)
    }
  })

/** A token without a `kid` may be signed with any suitable key. */
const verifyByAny = async (token: string, keyOf: Jose.JWTVerifyGetKey, expected: Jose.JWTVerifyOptions) => {
  try {
    return (await Jose.jwtVerify(token, keyOf, expected)).payload
  } catch (error) {
    if (!(error instanceof Jose.errors.JWKSMultipleMatchingKeys)) throw error
    let reason: unknown = error
    for await (const key of error) {
      try {
        return (await Jose.jwtVerify(token, key, expected)).payload
      } catch (why) {
        reason = why
      }
    }
    throw reason
  }
}

class KeySetUnavailable extends Data.TaggedError("KeySetUnavailable")<{}> {}

/** The key set's errors that are the token's fault. */
const isVerdict = (error: unknown) =>
  error instanceof Jose.errors.JWKSNoMatchingKey ||
  error instanceof Jose.errors.JWKSMultipleMatchingKeys ||
  error instanceof Jose.errors.JOSENotSupported

/** Neither the token nor its claims: jose's code, such as `ERR_JWT_EXPIRED`. */
const reasonOf = (error: unknown) => (error instanceof Jose.errors.JOSEError ? error.code : "not verifiable")

const logRefusal = (reason: string) => Effect.annotateLogs(Effect.logDebug("Token refused"), { reason })

const refuse = (reason: string) => Effect.zipRight(logRefusal(reason), new InvalidToken())
