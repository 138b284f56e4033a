import { type Migrator, SqlClient, SqlError } from "@effect/sql"
import { Deferred, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import Pg from "pg"
import * as PgClient from "../runtime/PgClient.ts"
import { types } from "../runtime/PgTypes.ts"
import * as DatabaseUrl from "./DatabaseUrl.ts"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as Embedded from "./Embedded.ts"
import * as Migrations from "./Migrations.ts"
import * as Room from "./Room.ts"
import * as Sessions from "./Sessions.ts"
import * as Signals from "./Signals.ts"

/** A PostgreSQL server. */
export interface Options {
  /** `postgres://…`. It must provide real sessions: statements are prepared by name, and one connection listens. */
  readonly url: Redacted.Redacted
  /** Connections, besides one that listens. Default: 10. */
  readonly poolSize?: number
  /** How long to wait for a new or free connection. Default: 5 seconds. */
  readonly connectTimeout?: Duration.DurationInput
}

/** Runs the migrations on a `SqlClient`. */
const migrated = <A, E>(database: Layer.Layer<SqlClient.SqlClient | A, E>) =>
  Layer.provideMerge(Layer.effectDiscard(Migrations.run), database)

/** New embedded databases are copies of a template. The template has no secrets of migrations. */
const withSecrets = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`
    INSERT INTO erased_usage_key (key)
    VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'))
    ON CONFLICT DO NOTHING`
)
const migratedEmbedded = (options: Embedded.Options) =>
  Layer.provideMerge(Layer.effectDiscard(withSecrets), migrated(Embedded.layer(options)))

/** A migrated PostgreSQL, version 14 or later. */
export const layer = (
  options: Options
): Layer.Layer<SqlClient.SqlClient | Signals.Signals, SqlError.SqlError | Migrator.MigrationError> =>
  Layer.unwrapEffect(
    Effect.map(Effect.tap(connection(options), Sessions.required), (connection) => {
      const readOnly: ReadOnly = { onFound: () => {} }
      return migrated(Layer.provideMerge(signals(connection, readOnly), client(options, connection, readOnly)))
    })
  )

/** A migrated PostgreSQL within this process. */
export const layerEmbedded = (
  options: Embedded.Options
): Layer.Layer<
  SqlClient.SqlClient | Signals.Signals,
  SqlError.SqlError | Migrator.MigrationError | DirectoryLock.DirectoryInUse | DirectoryLock.DirectoryUnusable
> =>
  "dataDir" in options
    ? Layer.catchAll(migratedEmbedded(options), (error) =>
        Layer.unwrapEffect(Effect.flatMap(unusable(options.dataDir, error), Effect.fail))
      )
    : migratedEmbedded(options)

/** A failure to open or migrate a database in a directory is reported as a failure of the directory. */
const unusable = <E>(directory: string, error: E): Effect.Effect<E | DirectoryLock.DirectoryUnusable> =>
  error instanceof DirectoryLock.DirectoryInUse || error instanceof DirectoryLock.DirectoryUnusable
    ? Effect.succeed(error)
    : Effect.map(Room.on(directory).isLeft, (isLeft) => {
        if (!isLeft) return new DirectoryLock.DirectoryUnusable({ directory, cause: "its disk is full" })
        const isSql = error instanceof SqlError.SqlError
        return isSql ? new DirectoryLock.DirectoryUnusable({ directory, cause: error.cause }) : error
      })

/** A fresh migrated database in memory, for each use. */
export const layerTest: Layer.Layer<SqlClient.SqlClient | Signals.Signals> = Layer.orDie(
  layerEmbedded({ memory: true })
)

/** Called when a server refuses a write of the pool because it is read only. */
interface ReadOnly {
  onFound: () => void
}

const client = (options: Options, connection: Pg.ClientConfig, readOnly: ReadOnly) =>
  PgClient.layer({
    ...connection,
    onReadOnly: () => readOnly.onFound(),
    max: options.poolSize ?? 10,
    statement_timeout: 30_000,
    // A frozen node must not lock rows in a transaction for longer than the leases of its turns.
    idle_in_transaction_session_timeout: 10_000
  })

const connection = (options: Options): Effect.Effect<Pg.ClientConfig, SqlError.SqlError> =>
  Effect.try({
    try: () => ({
      fallback_application_name: "taskchat",
      ...DatabaseUrl.read(Redacted.value(options.url)),
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: Duration.toMillis(options.connectTimeout ?? "5 seconds"),
      types
    }),
    catch: (cause) => new SqlError.SqlError({ cause, message: "Failed to read the database's URL" })
  })

const signals = (connection: Pg.ClientConfig, readOnly: ReadOnly) =>
  Layer.scoped(
    Signals.Signals,
    Signals.make((onPayload) =>
      Effect.gen(function* () {
        const tried = yield* Deferred.make<void>()
        yield* Effect.scoped(
          listen(connection, readOnly, onPayload).pipe(
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

/** Milliseconds for which a new connection is kept even if its server is read only. */
const minAge = 1000

/**
 * Listens until the scope closes. The returned promise resolves if the connection ends before that or must be replaced,
 * because a server that was replaced in a failover gets no notifications.
 */
const listen = (connection: Pg.ClientConfig, readOnly: ReadOnly, onPayload: (payload: string) => void) =>
  Effect.gen(function* () {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Pg.Client(connection)),
      (client) => Effect.promise(() => client.end()).pipe(Effect.interruptible, Effect.timeoutOption("1 second"))
    )
    client.on("error", () => {}) // "end" follows
    const openedAt = performance.now()
    const ended = new Promise<void>((resolve) => {
      client.once("end", resolve)
      readOnly.onFound = () => {
        readOnly.onFound = () => {}
        setTimeout(resolve, Math.max(0, openedAt + minAge - performance.now())).unref()
      }
    })
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
