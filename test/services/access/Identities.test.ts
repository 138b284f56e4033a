import { SqlClient } from "@effect/sql"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FastCheck, Layer } from "effect"
import { UserId } from "../../../src/domain/Id.ts"
import { type Identity, isIdentityName } from "../../../src/domain/Identity.ts"
import { Identities } from "../../../src/services/access/Identities.ts"
import * as UserIds from "../../../src/services/access/UserIds.ts"
import * as Database from "../../support/Database.ts"

const issuer = "https://issuer.example.com/"

const userOf = (subject: string, by = issuer) =>
  Effect.flatMap(Identities, (identities) => identities.userOf({ issuer: by, subject }))

/** A node with an empty cache. */
const onAnotherNode = <A, E, R>(effect: Effect.Effect<A, E, R | Identities>) =>
  Effect.provide(effect, Layer.fresh(Identities.layer))

const carry = (user: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO conversations (user_id) VALUES (${user})`)

const names = FastCheck.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).filter(isIdentityName)
const identities = FastCheck.record({ issuer: names, subject: names })

const contract = (name: string, identitiesLayer: Layer.Layer<Identities, unknown>) =>
  layer(Layer.orDie(identitiesLayer))(name, (it) => {
    it.effect.prop(
      "different accounts have different users",
      [identities, identities],
      ([one, other]) =>
        Effect.gen(function* () {
          const of = (identity: Identity) => Effect.flatMap(Identities, (known) => known.userOf(identity))
          const isSame = one.issuer === other.issuer && one.subject === other.subject
          assert.strictEqual((yield* of(one)) === (yield* of(other)), isSame)
          assert.strictEqual(yield* of(one), yield* of(one))
        }),
      { fastCheck: { numRuns: 30 } }
    )

    it.effect("similar accounts are different users", () =>
      Effect.gen(function* () {
        const alike = ["é", "e\u0301", "É", "a", "a ", " a", "A", "a\u200b", "а", "ａ", "ss", "ß", "ab", "𝒶"]
        const users = yield* Effect.forEach(alike, (subject) => userOf(subject))
        assert.strictEqual(new Set(users).size, alike.length)
        assert.notStrictEqual(yield* userOf("c", `${issuer}b`), yield* userOf("bc"))
        const long = "𝒶".repeat(255)
        assert.notStrictEqual(yield* userOf(long, long), yield* userOf(`${long.slice(2)}a`, long))
      })
    )
  })

contract("Identities.layerTest", Identities.layerTest)
contract("Identities.layer", Layer.provide(Identities.layer, Database.layer))

layer(Database.layer)("an assigned id", (it) => {
  it.effect("is the same on every node", () =>
    Effect.gen(function* () {
      const asked = yield* Effect.forEach(
        Array.from({ length: 30 }, (_, i) => `racer ${i % 3}`),
        (subject) => onAnotherNode(Effect.map(userOf(subject), (user) => ({ subject, user }))),
        { concurrency: "unbounded" }
      )
      const pairs = new Set(asked.map(({ subject, user }) => `${subject}: ${user}`))
      assert.strictEqual(pairs.size, 3)
      assert.strictEqual(new Set(asked.map(({ user }) => user)).size, 3)
    })
  )

  it.effect("is an id that no row has", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const last = yield* onAnotherNode(userOf("the last one before"))
      for (let next = last + 1; next < last + 50; next++) yield* carry(next)
      yield* sql`
        INSERT INTO idempotency_keys (user_id, scope, key, request_hash) VALUES (${last + 50}, 'tasks', 'key', '')`
      yield* carry(Number.MAX_SAFE_INTEGER)
      assert.strictEqual(yield* onAnotherNode(userOf("the first one after")), last + 51)
    })
  )
})

/** The message of a failure. */
const refusal = (effect: Effect.Effect<unknown, { readonly message: string }, SqlClient.SqlClient>) =>
  Effect.map(Effect.flip(effect), ({ message }) => message)

describe("a database", () => {
  it.effect("keeps the mode it was started with", () =>
    Effect.gen(function* () {
      yield* UserIds.keep("token")
      yield* UserIds.keep("token")
      assert.match(yield* refusal(UserIds.keep("mapped")), /^USER_IDS is "mapped", but should be "token"[^\n]*$/)
      assert.match(yield* refusal(onAnotherNode(userOf("anyone"))), /^USER_IDS is "mapped"/)
      yield* UserIds.change("mapped", [])
      assert.match(yield* refusal(UserIds.keep("token")), /^USER_IDS is "token", but should be "mapped"[^\n]*$/)
      yield* UserIds.change("token", [])
      yield* UserIds.keep("token")
    }).pipe(Effect.provide(Database.layer))
  )

  it.effect("links existing ids to accounts, and assigns new ids to other accounts", () =>
    Effect.gen(function* () {
      yield* UserIds.keep("token")
      for (const user of [1, 2, 700, Number.MAX_SAFE_INTEGER]) yield* carry(user)
      const links = [
        { issuer, subject: "auth0|one", userId: UserId.make(1) },
        { issuer, subject: "auth0|seven", userId: UserId.make(700) }
      ]
      assert.strictEqual(yield* UserIds.change("mapped", links), 2)
      assert.strictEqual(yield* UserIds.change("mapped", links), 2)
      yield* onAnotherNode(
        Effect.gen(function* () {
          assert.strictEqual(yield* userOf("auth0|one"), 1)
          assert.strictEqual(yield* userOf("auth0|seven"), 700)
          assert.strictEqual(yield* userOf("auth0|new"), 701)
        })
      )
      assert.match(yield* refusal(UserIds.change("token", [])), /assigned/)
    }).pipe(Effect.provide(Database.layer))
  )

  it.effect("changes nothing if one link contradicts another", () =>
    Effect.gen(function* () {
      yield* UserIds.keep("token")
      for (const wrong of [
        { issuer, subject: "a", userId: UserId.make(2) },
        { issuer, subject: "b", userId: UserId.make(1) }
      ]) {
        const links = [{ issuer, subject: "a", userId: UserId.make(1) }, wrong]
        assert.match(yield* refusal(UserIds.change("mapped", links)), /^User \d cannot be linked/)
      }
      yield* UserIds.keep("token")
    }).pipe(Effect.provide(Database.layer))
  )
})
