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
 * The location of the embedded database. A directory is created if absent. Its data survives `kill -9`, but not a power
 * loss, because it does not use fsync. In memory, the database is new or loaded from a dump of PGlite.
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
      const semaphore = yield* Effect.makeSemaphore(1)
      const db = yield* open(options, semaphore)
      const sql = yield* makeClient(db, semaphore)
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
 * The budget of executed bytes before V8 optimises a WASM function, for the whole process. The default is 1.8 million
 * in Node.js 20 and 13 million later. A start would exceed it for many functions, and most CPU would go into optimising
 * code that is rarely used later.
 */
const tieringBudget = 50_000_000

/** A migrated database that `deploy/image.mjs` writes to `dist`. Absent when running from source. */
const builtImage = new URL("../database.tar.br", import.meta.url)

let newImage: Promise<Blob> | undefined

/** The template of new databases. PGlite takes seconds to create it, at most once per process. */
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

/** The last file marks the database as complete for PGlite. An interrupted copy is started again. */
const isThere = (directory: string) =>
  Fs.access(`${directory}/PG_VERSION`).then(
    () => true,
    () => false
  )

const open = (options: Options, semaphore: Effect.Semaphore) =>
  Effect.gen(function* () {
    if ("dataDir" in options) yield* DirectoryLock.acquire(options.dataDir)
    return yield* Effect.acquireRelease(
      attempt(async () => {
        setFlagsFromString(`--wasm-tiering-budget=${tieringBudget}`)
        // Loaded on use, because loading takes most of a second.
        const { PGlite } = await import("@electric-sql/pglite")
        const directory = "dataDir" in options ? `${options.dataDir}/postgres` : undefined
        const image = "memory" in options ? options.image : undefined
        const db = await PGlite.create(directory ?? "memory://", {
          postgresqlconf: ["shared_buffers=16MB"], // the default of 128 MB is more than one process needs
          parsers,
          ...((directory === undefined || !(await isThere(directory))) && {
            loadDataDir: image ?? (await startingImage())
          })
        })
        // Parameters are text in the form of `pg`. PGlite's serializers differ.
        db.serializers = {}
        return db
      }, "Failed to open the embedded database"),
      (db) =>
        // Waits for running statements, but not for an open transaction. Later statements fail as closed.
        semaphore
          .withPermits(1)(Effect.void)
          .pipe(
            Effect.interruptible,
            Effect.timeoutOption("5 seconds"),
            Effect.zipRight(Effect.promise(() => db.close()))
          )
    )
  })

/**
 * There is one session. A statement outside of a transaction holds the semaphore while it runs, so that it does not
 * become part of another fiber's transaction. A transaction holds it from BEGIN to COMMIT.
 */
const makeClient = (db: PGlite, semaphore: Effect.Semaphore) => {
  const inTransaction = connection(db)
  const alone =
    (run: Connection["execute"]): Connection["execute"] =>
    (sql, params, transform) =>
      semaphore.withPermits(1)(run(sql, params, transform))
  return Client.make({
    connection: {
      execute: alone(inTransaction.execute),
      executeUnprepared: alone(inTransaction.executeUnprepared),
      executeRaw: (sql, params) => semaphore.withPermits(1)(inTransaction.executeRaw(sql, params)),
      executeValues: (sql, params) => semaphore.withPermits(1)(inTransaction.executeValues(sql, params)),
      executeStream: inTransaction.executeStream
    },
    session: Effect.as(semaphore.take(1), {
      connection: inTransaction,
      batch: (statements) => batch(inTransaction, statements),
      release: Effect.asVoid(semaphore.release(1))
    }),
    spanAttributes: [["db.system.name", "postgresql"]],
    hasOneSession: true
  })
}

/** Runs statements in sequence, because there are no round trips to save. */
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

/** Without parameters, the text may contain several statements, as with `pg`. Each has its own rows. */
const rows = (db: PGlite, sql: string, params: ReadonlyArray<unknown>) =>
  statement<ReadonlyArray<object>>(async () => {
    if (params.length > 0) return (await db.query<object>(sql, params.map(encode))).rows
    const results = await db.exec(sql)
    return results.length === 1 ? (results[0]?.rows ?? []) : results.map((result) => result.rows)
  })

/** A running statement cannot be stopped, and it blocks the session until it ends. */
const statement = <A>(run: () => Promise<A>) => Effect.uninterruptible(attempt(run, "Failed to execute statement"))

const listen = (db: PGlite, onPayload: (payload: string) => void) =>
  Effect.acquireRelease(
    attempt(() => db.listen(Signals.channel, onPayload), "Failed to listen"),
    (unlisten) => Effect.promise(() => unlisten())
  )

const attempt = <A>(run: () => Promise<A>, message: string) =>
  Effect.tryPromise({ try: run, catch: (cause) => new SqlError.SqlError({ cause: withoutValues(cause), message }) })

/** PGlite adds parameters to its errors. They are removed, because they may contain text from users. */
const withoutValues = (cause: unknown) => {
  if (cause instanceof Error)
    for (const name of ["query", "params", "queryOptions"]) Reflect.deleteProperty(cause, name)
  return cause
}
