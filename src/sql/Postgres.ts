import { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { Effect, Layer, RuntimeFlags, Stream } from "effect"
import Pg from "pg"
import * as Client from "./Client.ts"

/** A client on a pool of connections to a PostgreSQL server. */
export const layer = (config: Pg.PoolConfig): Layer.Layer<SqlClient.SqlClient> =>
  Layer.scoped(
    SqlClient.SqlClient,
    Effect.flatMap(
      Effect.acquireRelease(
        Effect.sync(() => open(config)),
        (pool) => Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"))
      ),
      makeClient
    )
  ).pipe(Layer.provide(Reactivity.layer))

const open = (config: Pg.PoolConfig) => {
  const pool = new Pg.Pool(config)
  // A connection that breaks reports so to whoever uses it; without listeners the event would end the process.
  pool.on("error", () => {})
  pool.on("connect", (connected) => void connected.on("error", () => {}))
  return pool
}

const makeClient = (pool: Pg.Pool) => {
  const nameOf = names()
  const { database, host, port } = new Pg.Client(pool.options)
  return Client.make({
    connection: connection(nameOf, alone(pool)),
    session: Effect.async((resume) =>
      pool.connect((error, client) =>
        resume(
          client === undefined
            ? failed(error, "Failed to acquire connection for transaction")
            : Effect.succeed({
                connection: connection(nameOf, within(pool, client)),
                release: Effect.sync(() => giveBack(client, false))
              })
        )
      )
    ),
    spanAttributes: [
      ["db.system.name", "postgresql"],
      ["db.namespace", database ?? "postgres"],
      ["server.address", host],
      ["server.port", port]
    ]
  })
}

/** Texts made from parts (lists of changing length) must not fill the server's memory. */
const maxPrepared = 500

/**
 * Names by which the server parses and plans each statement with parameters once per connection: about half of a small
 * one's time. They are the pool's, so that all its connections call a statement by the same one.
 */
const names = () => {
  const known = new Map<string, string>()
  return (text: string) => {
    const name = known.get(text)
    if (name !== undefined || known.size >= maxPrepared) return name
    const given = `taskchat_${known.size}`
    known.set(text, given)
    return given
  }
}

type Run = <A>(query: Pg.QueryConfig, read: (result: Pg.QueryResult) => A) => Effect.Effect<A, SqlError.SqlError>

const connection = (nameOf: (text: string) => string | undefined, run: Run): Connection => {
  const rows =
    (nameOf: (text: string) => string | undefined): Connection["execute"] =>
    (text, values, transform) => {
      const name = values.length > 0 ? nameOf(text) : undefined
      return run({ text, values: [...values], ...(name !== undefined && { name }) }, (result) => {
        const found = rowsOf(result)
        return transform === undefined ? found : transform(found)
      })
    }
  const execute = rows(nameOf)
  return {
    execute,
    executeUnprepared: rows(() => undefined),
    executeRaw: (text, values) => run<unknown>({ text, values: [...values] }, (result) => result),
    executeValues: (text, values) => {
      const query: Pg.QueryArrayConfig = { text, values: [...values], rowMode: "array" }
      return run(query, (result) => result.rows)
    },
    // All at once: nothing here needs a cursor.
    executeStream: (text, values, transform) => Stream.fromIterableEffect(execute(text, values, transform))
  }
}

/** Without parameters there may be several statements; then each has its rows. */
const rowsOf = (result: Pg.QueryResult | ReadonlyArray<Pg.QueryResult>) =>
  "rows" in result ? result.rows : result.map(({ rows }) => rows)

const failed = (cause: unknown, message = "Failed to execute statement") =>
  Effect.fail(new SqlError.SqlError({ cause, message }))

/** A statement on whichever connection is free, which is given back once nothing more is on the way to it. */
const alone =
  (pool: Pg.Pool): Run =>
  (query, read) =>
    interruptible((resume) => {
      let running: Running | undefined
      let isWanted = true
      pool.connect((error, client) => {
        if (client === undefined) return resume(failed(error, "Failed to acquire connection"))
        if (!isWanted) return client.release()
        running = start(client, query, read, resume, (isBroken) => giveBack(client, isBroken))
      })
      return Effect.suspend(() => {
        isWanted = false
        return running === undefined ? Effect.void : stop(pool, running)
      })
    })

/** A statement of a transaction, which keeps its connection. */
const within =
  (pool: Pg.Pool, client: Pg.PoolClient): Run =>
  (query, read) =>
    interruptible((resume) => {
      const running = start(client, query, read, resume, () => {})
      return Effect.suspend(() => stop(pool, running))
    })

/** `Effect.async`, which costs ten times as much where it can be interrupted. */
const interruptible = <A>(
  register: (resume: (answer: Effect.Effect<A, SqlError.SqlError>) => void) => Effect.Effect<void>
) =>
  Effect.withFiberRuntime<A, SqlError.SqlError>((_, { runtimeFlags }) =>
    Effect.async((resume) => {
      const stop = register(resume)
      return RuntimeFlags.interruptible(runtimeFlags) ? stop : undefined
    })
  )

/** A statement, and whoever is to stop it: until both have ended, its connection is nobody else's. */
interface Running {
  readonly client: Pg.PoolClient
  left: number
  isBroken: boolean
  free: (isBroken: boolean) => void
}

const start = <A>(
  client: Pg.PoolClient,
  query: Pg.QueryConfig,
  read: (result: Pg.QueryResult) => A,
  resume: (answer: Effect.Effect<A, SqlError.SqlError>) => void,
  free: (isBroken: boolean) => void
): Running => {
  const running: Running = { client, left: 1, isBroken: false, free }
  client.query(query, (error, result) => {
    leave(running, isFatal(error))
    resume(error ? failed(error) : Effect.succeed(read(result)))
  })
  return running
}

const leave = (running: Running, isBroken: boolean) => {
  running.isBroken ||= isBroken
  if (--running.left === 0) running.free(running.isBroken)
}

const stop = (pool: Pg.Pool, running: Running) =>
  Effect.async<void>((resume) => {
    const { client, free, left } = running
    if (left === 0) return resume(Effect.void)
    running.left++
    running.free = (isBroken) => {
      free(isBroken)
      resume(Effect.void)
    }
    pool.query("SELECT pg_cancel_backend($1)", [Reflect.get(client, "processID")], () => leave(running, false))
    return Effect.sync(() => {
      // It may have been given back in this very moment, and be another's by now.
      if (running.left === 0) return
      running.free = () => {}
      free(true)
    })
  }).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"), Effect.asVoid)

/** The server says so before it ends the connection. */
const isFatal = (error: unknown) => error instanceof Pg.DatabaseError && error.severity === "FATAL"

/** One that is broken or within a transaction is closed instead. */
const giveBack = (client: Pg.PoolClient, isBroken: boolean) =>
  client.release(isBroken || client.getTransactionStatus() !== "I")
