import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted, Schema, TestClock } from "effect"
import * as Jose from "jose"
import * as Settings from "../../src/Config.ts"
import * as Keys from "../../src/server/Keys.ts"
import { Identities } from "../../src/services/access/Identities.ts"
import { Tokens } from "../../src/services/access/Tokens.ts"
import { documentOf } from "../support/Documents.ts"
import { blocks } from "../support/Markdown.ts"

const Shown = Schema.parseJson(
  Schema.Struct({
    header: Schema.Struct({ alg: Schema.Literal("RS256", "ES256", "EdDSA"), kid: Schema.String }),
    payload: Schema.Struct(
      { iat: Schema.Int, exp: Schema.Int, iss: Schema.String, sub: Schema.String, oid: Schema.optional(Schema.String) },
      { key: Schema.String, value: Schema.Unknown }
    )
  })
)

/** Each service with the settings and the token that the page shows for it. */
const recipes = documentOf("docs/identity.md")
  .text.split(/^## /m)
  .filter((section) => section.startsWith("Recipes"))
  .flatMap((section) => section.split(/^### /m).slice(1))
  .map((recipe) => {
    const [settings, token] = blocks(recipe)
    const variables = (settings?.text ?? "")
      .trim()
      .split("\n")
      .map((line) => /^(\w+)=(.*)$/.exec(line)?.slice(1) ?? [])
    return {
      service: recipe.split("\n")[0],
      variables: new Map(variables.map(([name = "", value = ""]) => [name, value])),
      token: Schema.decodeSync(Shown)(token?.text ?? "")
    }
  })

/** Keys as an issuer publishes them, on a real socket. */
const published = (keys: ReadonlyArray<Jose.JWK>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((_, response) => {
          response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ keys }))
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
    ),
    // A server that listens on a port has an address of this form.
    (server) => new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`)
  )

describe("docs/identity.md", () => {
  it("has a recipe for each of six services", () => {
    assert.deepStrictEqual(
      recipes.map(({ service }) => service),
      ["Supabase", "Auth0", "Clerk", "Amazon Cognito", "Keycloak", "Microsoft Entra ID"]
    )
  })

  it.scoped.each(recipes)(
    "accepts $service's tokens for the users they name, and no other tokens",
    ({ token, variables }) =>
      Effect.gen(function* () {
        const { header, payload } = token
        const { privateKey, publicKey } = yield* Effect.promise(() =>
          Jose.generateKeyPair(header.alg, { extractable: true })
        )
        const jwk = yield* Effect.promise(() => Jose.exportJWK(publicKey))
        const jwksUrl = yield* published([{ ...jwk, kid: header.kid, alg: header.alg, use: "sig" }])
        yield* TestClock.setTime(payload.iat * 1000)

        const settings = yield* Effect.withConfigProvider(Settings.settings, ConfigProvider.fromMap(variables))
        const { keys, ...options } = yield* Keys.options(settings)
        assert.isTrue("jwksUrl" in keys && keys.jwksUrl.protocol === "https:")
        assert.strictEqual(settings.auth.userIds, "mapped")
        const algorithms = "algorithms" in keys ? keys.algorithms : []

        const verify = (claims: Jose.JWTPayload) =>
          Effect.gen(function* () {
            const signed = yield* Effect.promise(() =>
              new Jose.SignJWT(claims).setProtectedHeader(header).sign(privateKey)
            )
            return (yield* (yield* Tokens).verify(Redacted.make(signed))).id
          })
        yield* Effect.gen(function* () {
          const user = yield* verify(payload)
          const identities = yield* Identities
          assert.strictEqual(
            yield* identities.userOf({ issuer: payload.iss, subject: payload.oid ?? payload.sub }),
            user
          )
          assert.strictEqual(yield* verify({ ...payload, iat: payload.iat + 1 }), user)
          for (const other of [{ aud: "another" }, { iss: "https://another.example.com" }, { exp: payload.iat - 60 }]) {
            assert.strictEqual((yield* Effect.flip(verify({ ...payload, ...other })))._tag, "InvalidToken")
          }
        }).pipe(
          Effect.provide(
            Layer.provideMerge(Tokens.layerMapped({ ...options, keys: { jwksUrl, algorithms } }), Identities.layerTest)
          )
        )
      }).pipe(Effect.provide(NodeContext.layer))
  )
})
