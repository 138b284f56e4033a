import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Either, Fiber, Redacted, Schedule, Stream } from "effect"
import Pg from "pg"
import { Signals } from "../../src/sql/Signals.ts"
import { isUnavailable } from "../../src/sql/SqlErrors.ts"
import * as Database from "../support/Database.ts"
import * as Server from "../support/Server.ts"
import { send } from "../support/Server.ts"

/** Runs a statement in a session of its own, which may write. */
const administer = (url: Redacted.Redacted, statement: (database: string) => string) =>
  Effect.promise(async () => {
    const client = new Pg.Client({ connectionString: Redacted.value(url) })
    await client.connect()
    await client.query("SET default_transaction_read_only = off")
    await client.query(statement(client.database ?? "")).finally(() => client.end())
  })

/** As when another server takes over: sessions that were there end, and new ones can read only. */
const becomeReadOnly = (url: Redacted.Redacted) =>
  Effect.zipRight(
    administer(url, (database) => `ALTER DATABASE ${database} SET default_transaction_read_only = on`),
    administer(
      url,
      () =>
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
  )

/** New sessions may write; those that there are still cannot. */
const becomeWritable = (url: Redacted.Redacted) =>
  administer(url, (database) => `ALTER DATABASE ${database} RESET default_transaction_read_only`)

const untilSuccess = <A, E, R>(attempt: Effect.Effect<A, E, R>) => Effect.retry(attempt, Schedule.spaced("50 millis"))

describe.runIf(Database.isRealPostgres)("a server that became read-only", () => {
  const write = Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`INSERT INTO conversations (user_id) VALUES (1) RETURNING id`
  )

  for (const [name, run] of [
    ["", (effect: typeof write) => effect],
    [
      " within transactions",
      (effect: typeof write) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))
    ]
  ] as const) {
    it.scopedLive(`has its sessions closed, so that writes${name} succeed again on a writable server`, () =>
      Effect.gen(function* () {
        const url = yield* Database.freshUrl
        yield* Effect.gen(function* () {
          yield* becomeReadOnly(url)
          const refused = yield* Effect.replicateEffect(Effect.either(run(write)), 20, { concurrency: 5 })
          for (const outcome of refused) {
            assert.isTrue(Either.isLeft(outcome) && isUnavailable(outcome.left), String(outcome))
          }
          yield* becomeWritable(url)
          yield* untilSuccess(run(write))
          // Not one session is left behind.
          yield* untilSuccess(Effect.replicateEffect(run(write), 20, { concurrency: 5 }))
          yield* Effect.replicateEffect(run(write), 20, { concurrency: 5 })
        }).pipe(Effect.provide(Database.layerOf(url)))
      })
    )
  }

  it.scopedLive("has the listening connection closed too", () =>
    Effect.gen(function* () {
      const url = yield* Database.freshUrl
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { changes, publish } = yield* Signals
        const listeners = Effect.map(
          sql<{ readonly pid: number }>`
            SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`,
          Arr.map(({ pid }) => pid)
        )
        yield* becomeReadOnly(url)
        // It is back, in a session of the server that is read only.
        const [before] = yield* untilSuccess(Effect.filterOrFail(listeners, (pids) => pids.length === 1))
        yield* becomeWritable(url)
        yield* untilSuccess(write)
        yield* untilSuccess(Effect.filterOrFail(listeners, (pids) => pids.length === 1 && pids[0] !== before))
        const heard = yield* Effect.fork(Stream.runHead(changes))
        yield* Effect.raceFirst(
          Fiber.join(heard),
          Effect.repeat(publish("hello"), Schedule.spaced("20 millis")).pipe(Effect.zipRight(Effect.never))
        )
      }).pipe(Effect.provide(Database.layerOf(url)))
    })
  )

  it.scopedLive("makes the node not ready until the server is writable again", () =>
    Effect.gen(function* () {
      const url = yield* Database.freshUrl
      yield* Effect.gen(function* () {
        const ready = Effect.map(send("GET", "/ready"), ({ status }) => status)
        assert.strictEqual(yield* ready, 200)
        yield* becomeReadOnly(url)
        yield* untilSuccess(Effect.filterOrFail(ready, (status) => status === 503))
        assert.strictEqual(yield* ready, 503)
        yield* becomeWritable(url)
        yield* untilSuccess(Effect.filterOrFail(ready, (status) => status === 200))
      }).pipe(Effect.provide(Server.layer({ database: Database.layerOf(url) })))
    })
  )
})
