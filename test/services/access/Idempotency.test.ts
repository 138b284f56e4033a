import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, Effect, FastCheck as fc, Layer, Ref, Schema } from "effect"
import { UserId } from "../../../src/domain/Id.ts"
import { Idempotency } from "../../../src/services/access/Idempotency.ts"
import * as Database from "../../support/Database.ts"

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))
const attempt = { scope: "tests", key: "k", body: { a: 1, b: [{ c: 2, d: null }] } }

/** An effect whose result is the number of its runs. */
const counted = Effect.map(Ref.make(0), (runs) => ({
  runs: Ref.get(runs),
  effect: Ref.updateAndGet(runs, (n) => n + 1)
}))

layer(Layer.provideMerge(Idempotency.layer, Database.layer))("Idempotency", (it) => {
  it.effect("the effect of a key runs once, and its result is returned again", () =>
    Effect.gen(function* () {
      const { once } = yield* Idempotency
      const owner = yield* newUser
      const { effect } = yield* counted
      const ask = once({ ...attempt, owner }, Schema.Number, effect)
      assert.deepStrictEqual(yield* ask, { replayed: false, value: 1 })
      assert.deepStrictEqual(yield* ask, { replayed: true, value: 1 })
    })
  )

  it.effect("the repeated result is decoded by its schema", () =>
    Effect.gen(function* () {
      const { once } = yield* Idempotency
      const owner = yield* newUser
      const ask = once({ ...attempt, owner }, Schema.DateFromString, Effect.succeed(new Date(0)))
      yield* ask
      assert.deepStrictEqual((yield* ask).value, new Date(0))
    })
  )

  it.effect("a key belongs to its owner and its scope", () =>
    Effect.gen(function* () {
      const { once } = yield* Idempotency
      const owner = yield* newUser
      const { effect } = yield* counted
      const attempts = [
        { ...attempt, owner },
        { ...attempt, owner: yield* newUser },
        { ...attempt, owner, scope: "others" },
        { ...attempt, owner, key: "l" }
      ]
      const values = yield* Effect.forEach(attempts, (one) => once(one, Schema.Number, effect))
      assert.deepStrictEqual(
        values.map(({ value }) => value),
        [1, 2, 3, 4]
      )
    })
  )

  it.effect.prop(
    "bodies are equal if their JSON values are equal",
    [fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 })],
    ([body, other]) =>
      Effect.gen(function* () {
        const { once } = yield* Idempotency
        const owner = yield* newUser
        yield* once({ ...attempt, owner, body }, Schema.Null, Effect.succeed(null))
        const again = yield* once({ ...attempt, owner, body: reordered(body) }, Schema.Null, Effect.succeed(null))
        assert.isTrue(again.replayed)
        const different = yield* Effect.either(
          once({ ...attempt, owner, body: { body, other } }, Schema.Null, Effect.succeed(null))
        )
        assert.strictEqual(different._tag, "Left")
      }),
    { fastCheck: { numRuns: 20 } }
  )

  it.effect("another body is refused and has no effect", () =>
    Effect.gen(function* () {
      const { once } = yield* Idempotency
      const owner = yield* newUser
      const { effect, runs } = yield* counted
      yield* once({ ...attempt, owner }, Schema.Number, effect)
      const refusal = yield* Effect.flip(once({ ...attempt, owner, body: { a: 2 } }, Schema.Number, effect))
      assert.strictEqual(refusal._tag, "IdempotencyKeyReused")
      assert.strictEqual(yield* runs, 1)
    })
  )

  it.effect("of 50 concurrent attempts one runs, and all get its result", () =>
    Effect.gen(function* () {
      const { once } = yield* Idempotency
      const owner = yield* newUser
      const { effect, runs } = yield* counted
      const results = yield* Effect.forEach(
        Arr.range(1, 50),
        () => once({ ...attempt, owner }, Schema.Number, effect),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* runs, 1)
      assert.deepStrictEqual(Arr.dedupe(results.map(({ value }) => value)), [1])
      assert.strictEqual(results.filter(({ replayed }) => !replayed).length, 1)
    })
  )

  it.effect("an attempt that dies leaves no changes and does not use up the key", () =>
    Effect.gen(function* () {
      const { once } = yield* Idempotency
      const sql = yield* SqlClient.SqlClient
      const owner = yield* newUser
      const change = sql`INSERT INTO conversations (user_id) VALUES (${owner})`
      const dying = Effect.zipRight(Effect.orDie(change), Effect.die("broken"))
      yield* Effect.exit(once({ ...attempt, owner }, Schema.Number, dying))
      assert.deepStrictEqual(yield* sql`SELECT 1 FROM conversations WHERE user_id = ${owner}`, [])
      const { effect } = yield* counted
      const other = { ...attempt, owner, body: "another" }
      assert.deepStrictEqual(yield* once(other, Schema.Number, effect), { replayed: false, value: 1 })
    })
  )

  it.effect("after a day a key can be used again with any body", () =>
    Effect.gen(function* () {
      const { once } = yield* Idempotency
      const sql = yield* SqlClient.SqlClient
      const owner = yield* newUser
      const { effect } = yield* counted
      yield* once({ ...attempt, owner }, Schema.Number, effect)
      yield* sql`UPDATE idempotency_keys SET created_at = created_at - interval '25 hours' WHERE user_id = ${owner}`
      const later = { ...attempt, owner, body: "another" }
      assert.deepStrictEqual(yield* once(later, Schema.Number, effect), { replayed: false, value: 2 })
      assert.deepStrictEqual(yield* once(later, Schema.Number, effect), { replayed: true, value: 2 })
    })
  )
})

/** The same JSON value with the members of its objects in the opposite order. */
const reordered = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(reordered)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, member]) => [key, reordered(member)])
      .reverse()
  )
}
