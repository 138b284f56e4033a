import { SqlClient, type SqlError } from "@effect/sql"
import { Context, Effect, Layer, Schema } from "effect"
import { UserId } from "../../domain/Id.ts"
import type { Identity } from "../../domain/Identity.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { Erasing } from "../data/Erasing.ts"
import * as UserIds from "./UserIds.ts"

/** The users of this service for accounts issued elsewhere. */
export class Identities extends Context.Tag("taskchat/services/Identities")<
  Identities,
  {
    /**
     * The user of an account. The id is assigned at the first call and is then the same on every node; no row had it
     * before. Accounts are compared byte for byte.
     */
    readonly userOf: (identity: Identity) => Effect.Effect<UserId>
  }
>() {
  /** Stored in the database, which thereby is in `mapped` mode. */
  static readonly layer: Layer.Layer<Identities, UserIds.OtherUserIds | SqlError.SqlError, SqlClient.SqlClient> =
    Layer.scoped(
      Identities,
      Effect.suspend(() => make)
    )

  /** Ids from 1, kept in memory. */
  static readonly layerTest: Layer.Layer<Identities> = Layer.sync(Identities, () => {
    const users = new Map<string, UserId>()
    return Identities.of({
      userOf: (identity) =>
        Effect.sync(() => {
          const key = keyOf(identity)
          const user = users.get(key) ?? UserId.make(users.size + 1)
          users.set(key, user)
          return user
        })
    })
  })
}

const maxCached = 10_000

const keyOf = ({ issuer, subject }: Identity) => JSON.stringify([issuer, subject])

const decodeRows = Schema.decodeUnknown(Schema.NonEmptyArray(Schema.Struct({ id: UserId })))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* UserIds.keep("mapped")
  const tables = yield* UserIds.tablesOfUsers
  const isTaken = sql.or(tables.map((table) => sql`EXISTS (SELECT FROM ${sql(table)} WHERE user_id = drawn_id)`))
  // If nodes ask at once, the first one's id counts; unused ids are not reused.
  const find = PreparedStatement.make<Identity>(
    sql,
    ({ issuer, subject }) => sql`
      WITH RECURSIVE known AS (
        SELECT user_id FROM identities WHERE issuer = ${issuer} AND subject = ${subject}
      ), drawn (drawn_id, is_taken) AS (
        SELECT drawn_id, ${isTaken}
        FROM (SELECT nextval('assigned_user_ids') AS drawn_id WHERE NOT EXISTS (SELECT FROM known)) AS first
        UNION ALL
        SELECT drawn_id, ${isTaken}
        FROM (SELECT nextval('assigned_user_ids') AS drawn_id FROM drawn WHERE is_taken) AS next
      ), added AS (
        INSERT INTO identities (issuer, subject, user_id)
        SELECT ${issuer}, ${subject}, drawn_id FROM drawn WHERE NOT is_taken
        ON CONFLICT (issuer, subject) DO UPDATE SET subject = excluded.subject
        RETURNING user_id
      )
      SELECT user_id AS id FROM known UNION ALL SELECT user_id AS id FROM added`
  )
  const cached = new Map<string, UserId>()
  /** Counts how often users were removed: an answer that was requested before may be about one of them. */
  let forgotten = 0
  yield* (yield* Erasing).listen({
    ended: (user) =>
      Effect.sync(() => {
        forgotten++
        for (const [key, id] of cached) if (user === undefined || id === user) cached.delete(key)
      })
  })

  const ask = Effect.fn("Identities.userOf")(function* (identity: Identity, key: string) {
    const before = forgotten
    const [{ id }] = yield* decodeRows(yield* find(identity))
    if (forgotten === before) cached.set(key, id)
    if (cached.size > maxCached) {
      const oldest = cached.keys().next()
      if (!oldest.done) cached.delete(oldest.value)
    }
    return id
  }, Effect.orDie)

  return Identities.of({
    userOf: (identity) => {
      const key = keyOf(identity)
      const user = cached.get(key)
      return user === undefined ? ask(identity, key) : Effect.succeed(user)
    }
  })
})
