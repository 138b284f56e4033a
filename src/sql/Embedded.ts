import * as Fs from "node:fs/promises"
import { promisify } from "node:util"
import { setFlagsFromString } from "node:v8"
import { brotliDecompress } from "node:zlib"
import { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import type { PGlite } from "@electric-sql/pglite"
import { Context, Effect, Exit, Layer, Stream } from "effect"
import { Room } from "../domain/Room.ts"
import { encode, parsers } from "../runtime/PgTypes.ts"
import * as Client from "../runtime/SqlClient.ts"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as DiskRoom from "./Room.ts"
import * as Signals from "./Signals.ts"

/**
 * Where the embedded database lives: in a directory (created if absent), which survives the process and `kill -9` but, for
 * want of fsync, not a power loss; or in memory, new or from a dump of PGlite's.
 */
export type Options = { readonly dataDir: string } | { readonly memory: true; readonly image?: Blob }

/**
 * PostgreSQL within this process. It runs on the event loop: its statements take well under a millisecond, and a worker
 * thread's messages would double that. If slow statements block the loop, use a PostgreSQL server.
 */
export const layer = (
  options: Options
): Layer.Layer<
  SqlClient.SqlClient | Signals.Signals,
  SqlError.SqlError | DirectoryLock.DirectoryInUse | DirectoryLock.DirectoryUnusable
> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const turnstile = yield* Effect.makeSemaphore(1)
      const db = yield* open(options, turnstile)
      const sql = yield* makeClient(db, turnstile)
      const signals = yield* Effect.provideService(
        Signals.make((onPayload) => listen(db, onPayload)),
        SqlClient.SqlClient,
        sql
      )
      const services = Context.make(SqlClient.SqlClient, sql).pipe(Context.add(Signals.Signals, signals))
      return "dataDir" in options ? Context.add(services, Room, DiskRoom.on(options.dataDir)) : services
    })
  ).pipe(Layer.provide(Reactivity.layer))

/**
 * Bytes of a WASM function that run before V8 optimises it, for the whole process; 1.8 million in Node.js 20, 13 million in later
 * ones. A start runs many functions often enough for that, and then most of its CPU goes into code that is hardly used again.
 */
const tieringBudget = 50_000_000

/** A migrated database that `deploy/image.mjs` leaves in `dist`; there is none beside the sources. */
const builtImage = new URL("../database.tar.br", import.meta.url)

let newImage: Promise<Blob> | undefined

/** What a new database begins as. PGlite takes seconds to create one, which a process does at most once. */
const startingImage = async (): Promise<Blob> => {
  const built = await Fs.readFile(builtImage).catch(() => undefined)
  if (built !== undefined) return new Blob([await decompress(built)])
  newImage ??= createImage()
  return newImage
}

const decompress = promisify(brotliDecompress)

const createImage = async () => {
  const { PGlite } = await import("@electric-sql/pglite")
  const db = await PGlite.create("memory://")
  const dump = await db.dumpDataDir("none")
  await db.close()
  return dump
}

/** The image's last file is the one that tells PGlite that a database is there, so that a cut start begins anew. */
const isThere = (directory: string) =>
  Fs.access(`${directory}/PG_VERSION`).then(
    () => true,
    () => false
  )

const open = (options: Options, turnstile: Effect.Semaphore) =>
  Effect.gen(function* () {
    if ("dataDir" in options) yield* DirectoryLock.acquire(options.dataDir)
    return yield* Effect.acquireRelease(
      attempt(async () => {
        setFlagsFromString(`--wasm-tiering-budget=${tieringBudget}`)
        // Loaded on use: its code takes a good part of a second.
        const { PGlite } = await import("@electric-sql/pglite")
        const directory = "dataDir" in options ? `${options.dataDir}/postgres` : undefined
        const image = "memory" in options ? options.image : undefined
        const db = await PGlite.create(directory ?? "memory://", {
          postgresqlconf: ["shared_buffers=16MB"], // of 128, which one process's data does not need
          parsers,
          ...((directory === undefined || !(await isThere(directory))) && {
            loadDataDir: image ?? (await startingImage())
          })
        })
        // Parameters are text as `pg` writes it; PGlite's own serializers differ.
        db.serializers = {}
        return db
      }, "Failed to open the embedded database"),
      (db) =>
        // Waits for running statements, but not for an open transaction. Later statements fail as closed.
        turnstile
          .withPermits(1)(Effect.void)
          .pipe(
            Effect.interruptible,
            Effect.timeoutOption("5 seconds"),
            Effect.zipRight(Effect.promise(() => db.close()))
          )
    )
  })

/**
 * There is one session. Outside of a transaction each statement holds the turnstile while it runs, so that it does not
 * become part of another fiber's transaction; a transaction holds it from BEGIN to COMMIT.
 */
const makeClient = (db: PGlite, turnstile: Effect.Semaphore) => {
  const inTransaction = connection(db)
  const alone =
    (run: Connection["execute"]): Connection["execute"] =>
    (sql, params, transform) =>
      turnstile.withPermits(1)(run(sql, params, transform))
  return Client.make({
    connection: {
      execute: alone(inTransaction.execute),
      executeUnprepared: alone(inTransaction.executeUnprepared),
      executeRaw: (sql, params) => turnstile.withPermits(1)(inTransaction.executeRaw(sql, params)),
      executeValues: (sql, params) => turnstile.withPermits(1)(inTransaction.executeValues(sql, params)),
      executeStream: inTransaction.executeStream
    },
    session: Effect.as(turnstile.take(1), {
      connection: inTransaction,
      batch: (statements) => batch(inTransaction, statements),
      release: Effect.asVoid(turnstile.release(1))
    }),
    spanAttributes: [["db.system.name", "postgresql"]],
    hasOneSession: true
  })
}

/** One after another: there is no round trip to save. */
const batch = (
  session: Connection,
  [first, ...rest]: ReadonlyArray<Client.Query>
): Effect.Effect<ReadonlyArray<Client.Outcome>> => {
  if (first === undefined) return Effect.succeed([])
  return Effect.flatMap(Effect.exit(session.execute(first.text, first.values, undefined)), (outcome: Client.Outcome) =>
    Exit.isFailure(outcome)
      ? Effect.succeed<ReadonlyArray<Client.Outcome>>([outcome])
      : Effect.map(batch(session, rest), (others) => [outcome, ...others])
  )
}

const connection = (db: PGlite): Connection => {
  const execute: Connection["execute"] = (sql, params, transform) =>
    Effect.map(rows(db, sql, params), (found) => (transform ? transform(found) : found))
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: (sql, params) => rows(db, sql, params),
    executeValues: (sql, params) =>
      statement(async () => (await db.query<Array<unknown>>(sql, params.map(encode), { rowMode: "array" })).rows),
    executeStream: () =>
      Stream.die("The embedded database has no cursors: one would hold its only session. Page by key instead.")
  }
}

/** Without parameters there may be several statements, as with `pg`; then each has its rows. */
const rows = (db: PGlite, sql: string, params: ReadonlyArray<unknown>) =>
  statement<ReadonlyArray<object>>(async () => {
    if (params.length > 0) return (await db.query<object>(sql, params.map(encode))).rows
    const results = await db.exec(sql)
    return results.length === 1 ? (results[0]?.rows ?? []) : results.map((result) => result.rows)
  })

/** Once begun it cannot be stopped, and until it ends the session is not free. */
const statement = <A>(run: () => Promise<A>) => Effect.uninterruptible(attempt(run, "Failed to execute statement"))

const listen = (db: PGlite, onPayload: (payload: string) => void) =>
  Effect.acquireRelease(
    attempt(() => db.listen(Signals.channel, onPayload), "Failed to listen"),
    (unlisten) => Effect.promise(() => unlisten())
  )

const attempt = <A>(run: () => Promise<A>, message: string) =>
  Effect.tryPromise({ try: run, catch: (cause) => new SqlError.SqlError({ cause: withoutValues(cause), message }) })

/** PGlite puts the statement's parameters on its errors, and so text from people into the log. */
const withoutValues = (cause: unknown) => {
  if (cause instanceof Error)
    for (const name of ["query", "params", "queryOptions"]) Reflect.deleteProperty(cause, name)
  return cause
}
