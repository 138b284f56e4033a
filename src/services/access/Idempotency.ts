import { createHash } from "node:crypto"
import { SqlClient } from "@effect/sql"
import { Context, Effect, Layer, Option, Predicate, Schema } from "effect"
import type { UserId } from "../../domain/Id.ts"
import { IdempotencyKeyReused, keyLifetime } from "../../domain/Turn.ts"
import { dieOnSql } from "../../sql/SqlErrors.ts"

/** The use of an `Idempotency-Key`. */
export interface Attempt {
  readonly owner: UserId
  /** The kind of request: the same key may be used once in each. */
  readonly scope: string
  readonly key: string
  /** Compared as JSON values: the order of members does not matter. */
  readonly body: unknown
}

export interface Once<A> {
  readonly value: A
  /** Whether the value is from an earlier attempt. */
  readonly replayed: boolean
}

/** Runs the request of a key once within 24 hours, however often it is sent. */
export class Idempotency extends Context.Tag("taskchat/services/Idempotency")<
  Idempotency,
  {
    /**
     * Commits the effect's changes and its result together, or neither: an attempt that dies or fails does not use up the
     * key. Concurrent attempts wait for the first. The effect may wait only for the database.
     */
    readonly once: <A, I, E>(
      attempt: Attempt,
      result: Schema.Schema<A, I>,
      effect: Effect.Effect<A, E>
    ) => Effect.Effect<Once<A>, IdempotencyKeyReused | E>
  }
>() {
  static readonly layer: Layer.Layer<Idempotency, never, SqlClient.SqlClient> = Layer.effect(
    Idempotency,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      /** Whether this attempt got the key. Waits for another transaction that holds it. */
      const take = ({ key, owner, scope }: Attempt, hash: string) =>
        Effect.map(
          sql`
            INSERT INTO idempotency_keys AS k (user_id, scope, key, request_hash)
            VALUES (${owner}, ${scope}, ${key}, ${hash})
            ON CONFLICT (user_id, scope, key) DO UPDATE
              SET request_hash = excluded.request_hash, turn_id = NULL, response = NULL, created_at = now()
              WHERE k.created_at <= now() - ${keyLifetime}::interval
            RETURNING true`,
          (rows) => rows.length > 0
        )

      const find = ({ key, owner, scope }: Attempt) =>
        Effect.flatMap(
          sql`
            SELECT request_hash AS hash, response FROM idempotency_keys
            WHERE user_id = ${owner} AND scope = ${scope} AND key = ${key}`,
          decodeKept
        )

      const keep = ({ key, owner, scope }: Attempt, response: unknown) => sql`
        UPDATE idempotency_keys SET response = ${JSON.stringify(response)}::json
        WHERE user_id = ${owner} AND scope = ${scope} AND key = ${key}`

      const once = <A, I, E>(
        attempt: Attempt,
        result: Schema.Schema<A, I>,
        effect: Effect.Effect<A, E>
      ): Effect.Effect<Once<A>, IdempotencyKeyReused | E> => {
        const hash = hashOf(attempt.body)
        const first = Effect.gen(function* () {
          const value = yield* effect
          yield* keep(attempt, yield* Effect.orDie(Schema.encode(result)(value)))
          return Option.some({ replayed: false, value })
        })
        const again = Effect.gen(function* () {
          const [kept] = yield* find(attempt)
          if (kept === undefined) return Option.none()
          if (kept.hash !== hash) return yield* new IdempotencyKeyReused()
          return Option.some({
            replayed: true,
            value: yield* Effect.orDie(Schema.decodeUnknown(result)(kept.response))
          })
        })
        return Effect.if(take(attempt, hash), { onTrue: () => first, onFalse: () => again }).pipe(
          sql.withTransaction,
          dieOnSql,
          // The key has just expired, so it is free.
          Effect.flatMap(Option.match({ onNone: () => once(attempt, result, effect), onSome: Effect.succeed }))
        )
      }

      return { once: (attempt, result, effect) => Effect.withSpan(once(attempt, result, effect), "Idempotency.once") }
    })
  )
}

const Kept = Schema.Struct({ hash: Schema.String, response: Schema.Unknown })
const decodeKept = (rows: unknown) => Effect.orDie(Schema.decodeUnknown(Schema.Array(Kept))(rows))

export const hashOf = (body: unknown) => createHash("sha256").update(canonical(body)).digest("base64url")

const canonical = (value: unknown) =>
  JSON.stringify(value, (_, inner: unknown) =>
    Predicate.isReadonlyRecord(inner) && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  ) ?? ""
