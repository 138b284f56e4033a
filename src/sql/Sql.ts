import { type Migrator, SqlClient, SqlError } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Deferred, Duration, Effect, Layer, Option, Redacted, Schedule } from "effect"
import Pg from "pg"
import type * as DirectoryLock from "./DirectoryLock.ts"
import * as Embedded from "./Embedded.ts"
import * as Migrations from "./Migrations.ts"
import * as Signals from "./Signals.ts"
import { types } from "./Types.ts"

/** A PostgreSQL server of its own. */
export interface Options {
  /** `postgres://…`. It must lead to a session: statements are prepared by name, and one connection listens. */
  readonly url: Redacted.Redacted
  /** Connections; 10 when absent. One more listens. */
  readonly poolSize?: number
  /** How long to wait for a connection, new or free; 5 seconds when absent. */
  readonly connectTimeout?: Duration.DurationInput
}

/** Brings the schema up to date on whatever `SqlClient` it is given, and makes its transactions' failures visible. */
const migrated = <A, E>(database: Layer.Layer<SqlClient.SqlClient | A, E>) =>
  Layer.effectDiscard(Migrations.run).pipe(
    Layer.provideMerge(Layer.effect(SqlClient.SqlClient, Effect.map(SqlClient.SqlClient, withTypedFailures))),
    Layer.provideMerge(database)
  )

/** A migrated PostgreSQL, version 14 or later. */
export const layer = (
  options: Options
): Layer.Layer<SqlClient.SqlClient | Signals.Signals, SqlError.SqlError | Migrator.MigrationError> =>
  migrated(Layer.provideMerge(signals(options), client(options)))

/** A migrated PostgreSQL within this process. */
export const layerEmbedded = (
  options: Embedded.Options
): Layer.Layer<
  SqlClient.SqlClient | Signals.Signals,
  SqlError.SqlError | Migrator.MigrationError | DirectoryLock.DirectoryInUse | DirectoryLock.DirectoryUnusable
> => migrated(Embedded.layer(options))

/** A fresh migrated database in memory, for each use. */
export const layerTest: Layer.Layer<SqlClient.SqlClient | Signals.Signals> = Layer.unwrapEffect(
  Effect.map(Embedded.emptyImage, (image) => Layer.orDie(layerEmbedded({ memory: true, image })))
)

/**
 * The client reports a COMMIT or ROLLBACK that fails as a defect. It is what a database does that goes away meanwhile, so
 * callers must be able to tell.
 */
const withTypedFailures = (client: SqlClient.SqlClient): SqlClient.SqlClient => {
  const transaction = client.withTransaction
  return Object.assign(client, {
    withTransaction: <R, E, A>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
      Effect.catchSomeDefect(transaction(self), (defect) =>
        defect instanceof SqlError.SqlError ? Option.some(Effect.fail(defect)) : Option.none()
      )
  })
}

const client = (options: Options) =>
  PgClient.layerFromPool({
    acquire: Effect.acquireRelease(
      Effect.sync(() => {
        const pool = new Pg.Pool({
          ...connection(options),
          max: options.poolSize ?? 10,
          connectionTimeoutMillis: connectTimeout(options),
          statement_timeout: 30_000,
          // A node that stops within a transaction (a frozen machine, say) must not hold its rows for longer than the
          // others wait for its turns' leases.
          idle_in_transaction_session_timeout: 10_000
        })
        // A connection that breaks reports so to whoever uses it; without listeners the event would end the process.
        pool.on("error", () => {})
        const names = new Map<string, string>()
        pool.on("connect", (connected) => {
          connected.on("error", () => {})
          prepareByName(connected, names)
        })
        return pool
      }),
      (pool) => Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"))
    )
  })

const connection = (options: Options): Pg.ClientConfig => ({
  connectionString: Redacted.value(options.url),
  fallback_application_name: "taskchat",
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
  types
})

const connectTimeout = (options: Options) => Duration.toMillis(options.connectTimeout ?? "5 seconds")

/** Texts made from parts (lists of changing length) must not fill the server's memory. */
const maxPrepared = 500

/**
 * Lets the server parse and plan each statement with parameters once per connection: about half of a small one's time.
 * `names` belongs to the pool, so that all its connections call a statement by the same name.
 */
const prepareByName = (client: Pg.PoolClient, names: Map<string, string>) => {
  const query = client.query
  const nameOf = (text: string) => {
    const known = names.get(text)
    if (known !== undefined || names.size >= maxPrepared) return known
    const name = `taskchat_${names.size}`
    names.set(text, name)
    return name
  }
  Object.defineProperty(client, "query", {
    value: (...args: ReadonlyArray<unknown>): unknown => {
      const [text, values, callback] = args
      const name = typeof text === "string" && Array.isArray(values) && values.length > 0 ? nameOf(text) : undefined
      return Reflect.apply(query, client, name === undefined ? args : [{ name, text, values }, callback])
    }
  })
}

const signals = (options: Options) =>
  Layer.scoped(
    Signals.Signals,
    Signals.make((onPayload) =>
      Effect.gen(function* () {
        const tried = yield* Deferred.make<void>()
        yield* Effect.scoped(
          listen(options, onPayload).pipe(
            Effect.ensuring(Deferred.succeed(tried, undefined)),
            Effect.flatMap((ended) => Effect.promise(() => ended))
          )
        ).pipe(
          Effect.retry(backoff),
          Effect.zipRight(Effect.logWarning("The connection that listens for signals was lost")),
          Effect.repeat(Schedule.spaced("100 millis")),
          Effect.forkScoped
        )
        yield* Deferred.await(tried)
      })
    )
  )

const backoff = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")), Schedule.jittered)

/** Listens until the scope closes; the answer resolves when the connection has ended before that. */
const listen = (options: Options, onPayload: (payload: string) => void) =>
  Effect.gen(function* () {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Pg.Client({ ...connection(options), connectionTimeoutMillis: connectTimeout(options) })),
      (client) => Effect.promise(() => client.end()).pipe(Effect.interruptible, Effect.timeoutOption("1 second"))
    )
    client.on("error", () => {}) // "end" follows
    const ended = new Promise<void>((resolve) => client.once("end", resolve))
    client.on("notification", ({ payload }) => {
      if (payload !== undefined) onPayload(payload)
    })
    yield* Effect.tryPromise({
      try: async () => {
        await client.connect()
        await client.query(`LISTEN ${Pg.escapeIdentifier(Signals.channel)}`)
      },
      catch: (cause) => new SqlError.SqlError({ cause, message: "Failed to listen" })
    })
    return ended
  })
