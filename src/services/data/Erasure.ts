import { randomUUID } from "node:crypto"
import { SqlClient } from "@effect/sql"
import { Context, Duration, Effect, Layer, Schedule, Schema } from "effect"
import { TurnId, UserId } from "../../domain/Id.ts"
import { Signals } from "../../sql/Signals.ts"
import { dieOnSql, violated } from "../../sql/SqlErrors.ts"
import { Erasing, notice, signal } from "./Erasing.ts"
import * as UserTables from "./UserTables.ts"

/** `begun` by this request, `running` since an earlier one, or `done`: nothing is left. */
type Progress = "begun" | "running" | "done"

/**
 * Erases all data of a user. The request is a row of `erasures`, which any node carries out, in steps of at most 1,000
 * rows; if the node dies, another one goes on. While the row exists, the user's requests are refused, and the database
 * accepts no new row of theirs.
 */
export class Erasure extends Context.Tag("taskchat/services/Erasure")<
  Erasure,
  {
    /** Requests an erasure, unless there is nothing to erase or one is running. */
    readonly request: (user: UserId) => Effect.Effect<Progress>
    /** Waits for the end of a running erasure. */
    readonly awaitEnd: (user: UserId) => Effect.Effect<void>
  }
>() {
  /** Carries out erasures requested on any node, until the scope closes. */
  static readonly layer: Layer.Layer<Erasure, never, SqlClient.SqlClient | Signals> = Layer.scoped(
    Erasure,
    Effect.suspend(() => make)
  ).pipe(Layer.provideMerge(Erasing.layer))
}

/** After this time without progress another node takes over. */
const lease = "10 seconds"

/** The class of the advisory locks that `erasure_fence` takes. */
const lockClass = 730301

const decodeUsers = Schema.decodeUnknown(Schema.Array(Schema.Struct({ user: UserId })))
const decodeTurns = Schema.decodeUnknown(Schema.Array(Schema.Struct({ id: TurnId })))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const signals = yield* Signals
  const erasing = yield* Erasing
  const node = randomUUID()
  const tables = yield* dieOnSql(UserTables.all)
  const others = tables.filter(({ name }) => name !== "identities")

  /** Blocks new rows of the user, and waits for transactions that are inserting one. */
  const lock = (user: UserId) => sql`SELECT pg_advisory_xact_lock(${lockClass}, hashint8(${user}))`

  const isRunning = (user: UserId) =>
    Effect.map(sql`SELECT FROM erasures WHERE user_id = ${user}`, ({ length }) => length > 0)

  const request = (user: UserId): Effect.Effect<Progress> =>
    Effect.gen(function* () {
      yield* lock(user)
      const added = yield* sql`
        INSERT INTO erasures (user_id) SELECT ${user}::bigint WHERE ${UserTables.hasAny(sql, tables, user)}
        ON CONFLICT (user_id) DO NOTHING
        RETURNING true`
      return { isNew: added.length > 0, isRunning: yield* isRunning(user) }
    }).pipe(
      sql.withTransaction,
      dieOnSql,
      Effect.tap(({ isNew }) =>
        isNew
          ? Effect.zipRight(
              Effect.annotateLogs(Effect.logInfo("Erasure requested"), { user_id: user }),
              Effect.zipRight(signals.publish(signal), erasing.refresh)
            )
          : Effect.void
      ),
      Effect.map(({ isNew, isRunning }) => (isNew ? "begun" : isRunning ? "running" : "done"))
    )

  const claim = sql`
    UPDATE erasures SET node = ${node}, lease_until = now() + ${lease}::interval
    WHERE user_id = (
      SELECT user_id FROM erasures
      WHERE requested_at <= now() - ${`${Duration.toMillis(notice)} milliseconds`}::interval
        AND (lease_until IS NULL OR lease_until < now())
      ORDER BY requested_at
      LIMIT 1
      FOR UPDATE SKIP LOCKED
    )
    RETURNING user_id AS "user"`.pipe(Effect.flatMap(decodeUsers))

  const renew = (user: UserId) =>
    Effect.map(
      sql`
        UPDATE erasures SET lease_until = now() + ${lease}::interval
        WHERE user_id = ${user} AND node = ${node}
        RETURNING true`,
      ({ length }) => length > 0
    )

  /** Cancels the user's turns, and returns whether any still runs. A turn whose lease has lapsed needs no end. */
  const stopTurns = (user: UserId) =>
    sql`
      UPDATE turns SET cancel_requested_at = coalesce(cancel_requested_at, now())
      WHERE user_id = ${user} AND status = 'running' AND lease_until > now()
      RETURNING id`.pipe(
      Effect.flatMap(decodeTurns),
      Effect.tap(Effect.forEach(({ id }) => signals.publish(`cancel ${id}`), { discard: true })),
      Effect.map(({ length }) => length > 0)
    )

  /** Deletes rows of one table; none if rows of others refer to them: these were just added, and are deleted first. */
  const deleteSome = (table: UserTables.UserTable, user: UserId) =>
    Effect.catchIf(
      UserTables.deleteOf(sql, table, user),
      (error) => error._tag === "SqlError" && violated(error) !== undefined,
      () => Effect.succeed(0)
    )

  /** Deletes all rows of the tables in steps while this node holds the erasure; returns whether it still does. */
  const deleteAll = (user: UserId) =>
    Effect.gen(function* () {
      for (const table of others) {
        let deleted: number
        do {
          if (!(yield* renew(user))) return false
          deleted = yield* deleteSome(table, user)
        } while (deleted === UserTables.maxRows)
      }
      return true
    })

  /** Ends the erasure, if nothing else is left. */
  const finish = (user: UserId) =>
    Effect.gen(function* () {
      yield* lock(user)
      const left = yield* sql`SELECT WHERE ${UserTables.hasAny(sql, others, user)}`
      if (left.length > 0) return false
      yield* sql`DELETE FROM identities WHERE user_id = ${user}`
      yield* sql`DELETE FROM erasures WHERE user_id = ${user}`
      return true
    }).pipe(sql.withTransaction)

  const work = (user: UserId) =>
    Effect.gen(function* () {
      while (yield* renew(user)) {
        const isReady = !(yield* stopTurns(user))
        if (isReady && !(yield* deleteAll(user))) return
        if (!isReady || !(yield* finish(user))) {
          yield* Effect.sleep("100 millis")
          continue
        }
        yield* Effect.annotateLogs(Effect.logInfo("Erasure completed"), { user_id: user })
        yield* signals.publish(signal)
        yield* erasing.refresh
      }
    })

  const workOff = Effect.flatMap(
    claim,
    Effect.forEach(({ user }) => work(user))
  ).pipe(
    Effect.repeat({ while: ({ length }) => length > 0 }),
    Effect.catchAllCause((cause) => Effect.logWarning("Erasure failed and will be retried", cause)),
    Effect.repeat(Schedule.spaced("500 millis"))
  )
  yield* Effect.forkScoped(workOff)

  return Erasure.of({
    request: Effect.fn("Erasure.request")(request),
    awaitEnd: (user) =>
      dieOnSql(isRunning(user)).pipe(
        Effect.repeat({ schedule: Schedule.spaced("100 millis"), while: (isRunning) => isRunning }),
        Effect.zipRight(erasing.refresh),
        Effect.withSpan("Erasure.awaitEnd")
      )
  })
})
