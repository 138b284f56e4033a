import { createServer } from "node:http"
import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, FastCheck, Layer, Logger, Redacted, Ref, TestClock } from "effect"
import * as Jose from "jose"
import { UserId } from "../../../src/domain/Id.ts"
import { Identities } from "../../../src/services/access/Identities.ts"
import { Tokens } from "../../../src/services/access/Tokens.ts"

const secret = "a secret of more than thirty-two bytes"
const key = new TextEncoder().encode(secret)
const bySecret = Tokens.layer({ keys: { secret: Redacted.make(secret) } })

/** The test clock begins at 0. */
const hour = 3600

const sign = (claims: Jose.JWTPayload, header: Jose.JWTHeaderParameters = { alg: "HS256" }, by: Uint8Array = key) =>
  Effect.promise(() => new Jose.SignJWT(claims).setProtectedHeader(header).sign(by))

const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** The user of a token, or the tag of the failure. */
const userOf = (token: string): Effect.Effect<number | string, never, Tokens> =>
  Tokens.pipe(
    Effect.flatMap((tokens) => tokens.verify(Redacted.make(token))),
    Effect.match({ onFailure: (error) => error._tag, onSuccess: (user) => user.id })
  )

const noUser: ReadonlyArray<readonly [string, Jose.JWTPayload]> = [
  ["user_id 0", { user_id: 0 }],
  ["user_id -1", { user_id: -1 }],
  ["user_id 1.5", { user_id: 1.5 }],
  ["user_id 2^53", { user_id: 2 ** 53 }],
  ["user_id 10^30", { user_id: 1e30 }],
  ["user_id as text", { user_id: "7" }],
  ["user_id null", { user_id: null, sub: "7" }],
  ["user_id in a list", { user_id: [7] }],
  ["sub 0", { sub: "0" }],
  ["sub 2^53", { sub: String(2n ** 53n) }],
  ["sub with a sign", { sub: "+7" }],
  ["sub with a leading zero", { sub: "07" }],
  ["sub with a space", { sub: " 7" }],
  ["sub in exponents", { sub: "1e3" }],
  ["sub that is a name", { sub: "alice" }],
  ["an empty sub", { sub: "" }],
  ["no user", {}]
]

layer(bySecret)("a token signed with the secret", (it) => {
  it.effect("names its user", () =>
    Effect.gen(function* () {
      const token = yield* sign({ user_id: 7, exp: hour })
      assert.strictEqual(yield* userOf(token), 7)
      assert.strictEqual(yield* userOf(token), 7)
    })
  )

  it.effect.prop("names any user from 1 to 2^53 - 1, in user_id or in sub", [FastCheck.maxSafeNat()], ([n]) =>
    Effect.gen(function* () {
      const id = n + (n === 0 ? 1 : 0)
      assert.strictEqual(yield* userOf(yield* sign({ user_id: id, exp: hour })), id)
      assert.strictEqual(yield* userOf(yield* sign({ sub: String(id), exp: hour })), id)
    })
  )

  it.effect("names the user of user_id even if sub differs", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* userOf(yield* sign({ user_id: 1, sub: "2", exp: hour })), 1)
      assert.strictEqual(yield* userOf(yield* sign({ user_id: 1, sub: "auth0|abc", exp: hour })), 1)
      assert.strictEqual(yield* userOf(yield* sign({ user_id: "1", sub: "2", exp: hour })), "InvalidToken")
    })
  )

  it.effect.each(noUser)("is refused with %s", ([, claims]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* userOf(yield* sign({ ...claims, exp: hour })), "InvalidToken")
    })
  )

  it.effect("is refused without exp", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* userOf(yield* sign({ user_id: 7 })), "InvalidToken")
    })
  )

  it.effect("is accepted up to 30 seconds after it expired, also from the cache", () =>
    Effect.gen(function* () {
      const token = yield* sign({ user_id: 7, exp: 60 })
      yield* TestClock.setTime(89_999)
      assert.strictEqual(yield* userOf(token), 7)
      assert.strictEqual(yield* userOf(token), 7)
      yield* TestClock.setTime(90_000)
      assert.strictEqual(yield* userOf(token), "InvalidToken")
    })
  )

  it.effect("is refused more than 30 seconds before nbf, and accepted from then on", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(0)
      const token = yield* sign({ user_id: 7, exp: hour, nbf: 100 })
      assert.strictEqual(yield* userOf(token), "InvalidToken")
      yield* TestClock.setTime(69_999)
      assert.strictEqual(yield* userOf(token), "InvalidToken")
      yield* TestClock.setTime(70_000)
      assert.strictEqual(yield* userOf(token), 7)
    })
  )

  it.effect("is refused if it was changed after signing", () =>
    Effect.gen(function* () {
      const [header = "", claims = "", signature = ""] = (yield* sign({ user_id: 7, exp: hour })).split(".")
      const others = [
        `${header}.${base64({ user_id: 8, exp: hour })}.${signature}`,
        `${header}.${claims}.`,
        `${header}.${claims}`,
        `${header}.${claims}.${signature}.${signature}`,
        `${base64({ alg: "none" })}.${claims}.`,
        `${base64({ alg: "None", typ: "JWT" })}.${claims}.${signature}`,
        `${base64({ alg: "HS256", crit: ["x"], x: 1 })}.${claims}.${signature}`,
        `${base64({ alg: "HS512" })}.${claims}.${signature}`,
        "",
        ".",
        "..",
        "null",
        "a.b.c",
        "\0",
        "eyJhbGciOiJIUzI1NiJ9.\uD800.x"
      ]
      for (const other of others) assert.strictEqual(yield* userOf(other), "InvalidToken", other)
    })
  )

  it.effect("is refused when signed with another key or algorithm", () =>
    Effect.gen(function* () {
      const claims = { user_id: 7, exp: hour }
      const otherKey = new TextEncoder().encode("another secret of more than 32 bytes, too")
      assert.strictEqual(yield* userOf(yield* sign(claims, { alg: "HS256" }, otherKey)), "InvalidToken")
      const long = new Uint8Array([...key, ...key])
      assert.strictEqual(yield* userOf(yield* sign(claims, { alg: "HS512" }, long)), "InvalidToken")
    })
  )

  it.effect("is refused when longer than 8 KiB", () =>
    Effect.gen(function* () {
      const token = yield* sign({ user_id: 7, exp: hour, roles: "x".repeat(10_000) })
      assert.strictEqual(yield* userOf(token), "InvalidToken")
    })
  )

  it.effect("is issued for a user and a time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000)
      const token = yield* Effect.flatMap(Tokens, (tokens) => tokens.issue(UserId.make(3), "1 minute"))
      assert.strictEqual(yield* userOf(token), 3)
      yield* TestClock.adjust("91 seconds")
      assert.strictEqual(yield* userOf(token), "InvalidToken")
    })
  )
})

/** The part of a refusal that the caller sees. */
const refusalOf = (claims: Jose.JWTPayload) =>
  Effect.gen(function* () {
    const token = yield* sign({ exp: hour, ...claims })
    const error = yield* Effect.flip(Effect.flatMap(Tokens, (tokens) => tokens.verify(Redacted.make(token))))
    return error.message
  })

layer(bySecret)("a token without a user's id", (it) => {
  it.effect("is refused with the claim's name and without its value", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* refusalOf({}), "The token has neither a claim user_id nor a claim sub.")
      for (const [name, value] of [
        ["user_id", "auth0|hush"],
        ["sub", "auth0|hush"],
        ["sub", "hush"]
      ] as const) {
        const message = yield* refusalOf({ [name]: value })
        assert.include(message, `claim ${name} `)
        assert.notInclude(message, "hush")
      }
    })
  )
})

layer(Tokens.layer({ keys: { secret: Redacted.make(secret) }, userClaim: "urn:example:uid" }))(
  "the claim that names the user",
  (it) => {
    it.effect("is read from the configured claim, as a number or digits, even if other claims differ", () =>
      Effect.gen(function* () {
        const of = (claims: Jose.JWTPayload) => Effect.flatMap(sign({ exp: hour, ...claims }), userOf)
        assert.strictEqual(yield* of({ "urn:example:uid": 7, user_id: 1, sub: "2" }), 7)
        assert.strictEqual(yield* of({ "urn:example:uid": "7" }), 7)
        assert.strictEqual(yield* refusalOf({ user_id: 1, sub: "2" }), "The token has no claim urn:example:uid.")
        assert.include(yield* refusalOf({ "urn:example:uid": "07" }), "claim urn:example:uid ")
      })
    )

    it.effect("is in the tokens it issues", () =>
      Effect.gen(function* () {
        const token = yield* Effect.flatMap(Tokens, (tokens) => tokens.issue(UserId.make(3), "1 hour"))
        assert.strictEqual(yield* userOf(token), 3)
      })
    )
  }
)

const mapped = (userClaim?: string) =>
  Layer.provide(
    Tokens.layerMapped({ keys: { secret: Redacted.make(secret) }, ...(userClaim !== undefined && { userClaim }) }),
    Identities.layerTest
  )

layer(mapped())("a token that names an account", (it) => {
  const of = (claims: Jose.JWTPayload) => Effect.flatMap(sign({ exp: hour, iss: "us", ...claims }), userOf)

  it.effect("has the account's user", () =>
    Effect.gen(function* () {
      const user = yield* of({ sub: "auth0|5f7c" })
      assert.strictEqual(yield* of({ sub: "auth0|5f7c", jti: "another" }), user)
      for (const other of [{ sub: "auth0|5f7C" }, { sub: "auth0|5f7c", iss: "them" }]) {
        assert.notStrictEqual(yield* of(other), user)
      }
    })
  )

  it.effect("may be a number, which is read as text", () =>
    Effect.gen(function* () {
      const user = yield* of({ user_id: 90_210 })
      assert.notStrictEqual(user, 90_210)
      assert.strictEqual(yield* of({ sub: "90210" }), user)
      const issued = yield* Effect.flatMap(Tokens, (tokens) => tokens.issue("90210", "1 hour"))
      assert.notStrictEqual(yield* userOf(issued), user)
    })
  )

  it.effect("is refused without an issuer or with an invalid name, which the error does not repeat", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* refusalOf({ sub: "auth0|5f7c" }), "The token has no claim iss.")
      const wrong: ReadonlyArray<unknown> = [
        ...["", "x".repeat(256), "hush\0", "hush\n", "hush\u0085", "hush\ud800"],
        ...[null, true, 1.5, 1e30, ["hush"], { hush: 1 }]
      ]
      for (const sub of wrong) {
        const claims = JSON.parse(JSON.stringify({ iss: "us", user_id: sub }))
        const message = yield* refusalOf(claims)
        assert.strictEqual(
          message,
          "The token's claim user_id is not text of 1 to 255 characters without control characters."
        )
      }
      assert.include(yield* refusalOf({ sub: "a", iss: "x".repeat(256) }), "claim iss ")
    })
  )
})

layer(mapped("email"))("a token that names an account by its address", (it) => {
  it.effect("is refused unless the address was verified", () =>
    Effect.gen(function* () {
      const claims = { iss: "us", exp: hour, email: "me@example.com" }
      assert.isNumber(yield* userOf(yield* sign({ ...claims, email_verified: true })))
      for (const email_verified of [undefined, false, "true", 1]) {
        const message = yield* refusalOf({ ...claims, email_verified })
        assert.strictEqual(message, "The token's claim email_verified is missing or not true.")
      }
      const issued = yield* Effect.flatMap(Tokens, (tokens) => tokens.issue("you@example.com", "1 hour"))
      assert.isNumber(yield* userOf(issued))
    })
  )
})

describe("a configured issuer and audience", () => {
  const configured = Tokens.layer({ keys: { secret: Redacted.make(secret) }, issuer: "us", audience: "taskchat" })

  it.effect("are required in every token", () =>
    Effect.gen(function* () {
      const claims = { user_id: 7, exp: hour }
      const results = yield* Effect.forEach(
        [
          { ...claims, iss: "us", aud: "taskchat" },
          { ...claims, iss: "us", aud: ["other", "taskchat"] },
          { ...claims, iss: "us" },
          { ...claims, aud: "taskchat" },
          { ...claims, iss: "them", aud: "taskchat" },
          { ...claims, iss: "us", aud: "other" }
        ],
        (claims) => Effect.flatMap(sign(claims), userOf)
      )
      assert.deepStrictEqual(results, [7, 7, ...Array.from({ length: 4 }, () => "InvalidToken" as const)])
    }).pipe(Effect.provide(configured))
  )

  it.effect("are in the tokens it issues", () =>
    Effect.gen(function* () {
      const token = yield* Effect.flatMap(Tokens, (tokens) => tokens.issue(UserId.make(3), "1 hour"))
      assert.strictEqual(yield* userOf(token), 3)
    }).pipe(Effect.provide(configured))
  )
})

/** A key server on a real socket. `answer` is its next answer. */
const issuer = Effect.gen(function* () {
  const answer = yield* Ref.make<{ readonly status: number; readonly body: string }>({ status: 503, body: "" })
  const requests = yield* Ref.make(0)
  const listening = yield* Deferred.make<number>()
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const server = createServer((_, response) => {
        const { body, status } = Effect.runSync(
          Effect.zipLeft(
            Ref.get(answer),
            Ref.update(requests, (n) => n + 1)
          )
        )
        response.writeHead(status, { "content-type": "application/json" }).end(body)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        Deferred.unsafeDone(listening, Effect.succeed(typeof address === "object" && address ? address.port : 0))
      })
      return server
    }),
    (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
  )
  const url = new URL(`http://127.0.0.1:${yield* Deferred.await(listening)}/keys`)
  const publish = (...keys: ReadonlyArray<Jose.JWK>) => Ref.set(answer, { status: 200, body: JSON.stringify({ keys }) })
  return { url, publish, fail: Ref.set(answer, { status: 500, body: "" }), requests: Ref.get(requests) }
})

const pair = (alg: "RS256" | "ES256" | "EdDSA", kid?: string) =>
  Effect.promise(async () => {
    const { privateKey, publicKey } = await Jose.generateKeyPair(alg, { extractable: true })
    const name = kid === undefined ? {} : { kid }
    const jwk = { ...(await Jose.exportJWK(publicKey)), ...name, alg }
    const sign = (claims: Jose.JWTPayload) =>
      Effect.promise(() => new Jose.SignJWT(claims).setProtectedHeader({ alg, ...name }).sign(privateKey))
    return { jwk, sign }
  })

describe("a token signed with a published key", () => {
  it.scoped.each(["RS256", "ES256", "EdDSA"] as const)("of %s names its user", (alg) =>
    Effect.gen(function* () {
      const keys = yield* issuer
      const { jwk, sign } = yield* pair(alg, "one")
      yield* keys.publish(jwk)
      const layer = Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: [alg] } })
      const token = yield* sign({ sub: "7", exp: hour })
      assert.strictEqual(yield* Effect.provide(userOf(token), layer), 7)
    })
  )

  it.scoped(
    "is refused if its algorithm is not configured, its key is unknown, or the public key was used as a secret",
    () =>
      Effect.gen(function* () {
        const keys = yield* issuer
        const rsa = yield* pair("RS256", "one")
        const ec = yield* pair("ES256", "two")
        const unknown = yield* pair("RS256", "three")
        yield* keys.publish(rsa.jwk, ec.jwk)
        const layer = Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: ["RS256"] } })
        const claims = { user_id: 7, exp: hour }
        const modulus = new TextEncoder().encode(rsa.jwk.n)
        const results = yield* Effect.provide(
          Effect.all([
            Effect.flatMap(rsa.sign(claims), userOf),
            Effect.flatMap(ec.sign(claims), userOf),
            Effect.flatMap(unknown.sign(claims), userOf),
            Effect.flatMap(sign(claims, { alg: "HS256", kid: "one" }, modulus), userOf),
            userOf(`${base64({ alg: "none", kid: "one" })}.${base64(claims)}.`)
          ]),
          layer
        )
        assert.deepStrictEqual(results, [7, "InvalidToken", "InvalidToken", "InvalidToken", "InvalidToken"])
      })
  )

  it.scoped("may have no key id if several keys match", () =>
    Effect.gen(function* () {
      const keys = yield* issuer
      const [first, second, other] = [yield* pair("RS256"), yield* pair("RS256"), yield* pair("RS256")]
      yield* keys.publish(first.jwk, second.jwk)
      const layer = Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: ["RS256"] } })
      const results = yield* Effect.provide(
        Effect.all([
          Effect.flatMap(first.sign({ user_id: 7, exp: hour }), userOf),
          Effect.flatMap(second.sign({ user_id: 8, exp: hour }), userOf),
          Effect.flatMap(second.sign({ user_id: 8, exp: -hour }), userOf),
          Effect.flatMap(other.sign({ user_id: 9, exp: hour }), userOf)
        ]),
        layer
      )
      assert.deepStrictEqual(results, [7, 8, "InvalidToken", "InvalidToken"])
    })
  )

  it.scoped("cannot be verified before the first keys are read, and can be verified after that", () =>
    Effect.gen(function* () {
      const keys = yield* issuer
      const { jwk, sign } = yield* pair("ES256", "one")
      const token = yield* sign({ user_id: 7, exp: hour })
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* userOf(token), "Unavailable")
        yield* keys.publish(jwk)
        assert.strictEqual(yield* userOf(token), 7)
      }).pipe(Effect.provide(Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: ["ES256"] } })))
    })
  )

  it.scoped("is verified with the last keys while the key server is away", () =>
    Effect.gen(function* () {
      const keys = yield* issuer
      const { jwk, sign } = yield* pair("ES256", "one")
      yield* keys.publish(jwk)
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* userOf(yield* sign({ user_id: 7, exp: 10 * hour })), 7)
        yield* keys.fail
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* userOf(yield* sign({ user_id: 8, exp: 10 * hour })), 8)
      }).pipe(Effect.provide(Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: ["ES256"] } })))
    })
  )

  it.scoped("is not verified without keys, and the log has the reason", () =>
    Effect.gen(function* () {
      const keys = yield* issuer
      yield* keys.fail
      const logged = yield* Deferred.make<Cause.Cause<unknown>>()
      const log = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ cause }) => Deferred.unsafeDone(logged, Effect.succeed(cause)))
      )
      const { sign } = yield* pair("ES256", "one")
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* userOf(yield* sign({ user_id: 7, exp: 10 * hour })), "Unavailable")
        const [error] = Cause.failures(yield* Deferred.await(logged))
        assert.propertyVal(error, "code", "ERR_JOSE_GENERIC")
      }).pipe(
        Effect.provide(Layer.provideMerge(Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: ["ES256"] } }), log))
      )
    })
  )

  it.scoped("is refused after its key was withdrawn and the keys were read again", () =>
    Effect.gen(function* () {
      const keys = yield* issuer
      const [old, fresh] = [yield* pair("ES256", "one"), yield* pair("ES256", "two")]
      yield* keys.publish(old.jwk)
      const token = yield* old.sign({ user_id: 7, exp: 10 * hour })
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* userOf(token), 7)
        yield* keys.publish(fresh.jwk)
        const before = yield* keys.requests
        yield* TestClock.adjust("10 minutes")
        while ((yield* keys.requests) === before) yield* Effect.promise(() => new Promise(setImmediate))
        assert.strictEqual(yield* userOf(yield* fresh.sign({ user_id: 8, exp: 10 * hour })), 8)
        assert.strictEqual(yield* userOf(token), "InvalidToken")
      }).pipe(Effect.provide(Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: ["ES256"] } })))
    })
  )

  it.scoped("cannot be issued without a secret", () =>
    Effect.gen(function* () {
      const keys = yield* issuer
      const layer = Tokens.layer({ keys: { jwksUrl: keys.url, algorithms: ["RS256"] } })
      const error = yield* Tokens.pipe(
        Effect.flatMap((tokens) => tokens.issue(UserId.make(1), Duration.hours(1))),
        Effect.flip,
        Effect.provide(layer)
      )
      assert.strictEqual(error._tag, "NoSigningKey")
    })
  )
})

describe("Tokens.layerTest", () => {
  it.effect("issues tokens for any user", () =>
    Effect.gen(function* () {
      const token = yield* Effect.flatMap(Tokens, (tokens) => tokens.issue(UserId.make(42), "1 hour"))
      assert.strictEqual(yield* userOf(token), 42)
    }).pipe(Effect.provide(Layer.fresh(Tokens.layerTest)))
  )
})
