import { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { Effect, Layer, RuntimeFlags, Stream } from "effect"
import Pg from "pg"
import { Batch } from "./PgBatch.ts"
import { encode } from "./PgTypes.ts"
import * as Client from "./SqlClient.ts"

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
  const connect = <A>(use: (client: Pg.PoolClient) => A) =>
    Effect.async<A, SqlError.SqlError>((resume) =>
      pool.connect((error, client) =>
        resume(
          client === undefined
            ? failed(error, "Failed to acquire connection for transaction")
            : Effect.succeed(use(client))
        )
      )
    )
  return Client.make({
    connection: connection(nameOf, alone(pool)),
    session: connect((client) => ({
      connection: connection(nameOf, within(pool, client)),
      release: Effect.sync(() => giveBack(client, false))
    })),
    transaction: connect((client) => transaction(nameOf, pool, client)),
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
const names = (): NameOf => {
  const known = new Map<string, string>()
  return (text: string) => {
    const name = known.get(text)
    if (name !== undefined || known.size >= maxPrepared) return name
    const given = `taskchat_${known.size}`
    known.set(text, given)
    return given
  }
}

type NameOf = (text: string) => string | undefined

/** Sends one thing to a client, and tells what came of it. */
type Send<A> = (client: Pg.PoolClient, done: (error: unknown, answer: A | undefined) => void) => void

/** Has it sent on some client. */
type Via = <A>(send: Send<A>) => Effect.Effect<A, SqlError.SqlError>

const one =
  <A>(query: Pg.QueryConfig, read: (result: Pg.QueryResult) => A): Send<A> =>
  (client, done) =>
    client.query(query, (error, result) => done(error, error ? undefined : read(result)))

const executeBy =
  (
    nameOf: NameOf,
    run: (query: Pg.QueryConfig) => Effect.Effect<ReadonlyArray<object>, SqlError.SqlError>
  ): Connection["execute"] =>
  (text, values, transform) => {
    const name = values.length > 0 ? nameOf(text) : undefined
    const found = run({ text, values: values.map(encode), ...(name !== undefined && { name }) })
    return transform === undefined ? found : Effect.map(found, transform)
  }

const unnamed: NameOf = () => undefined

const connection = (
  nameOf: NameOf,
  via: Via,
  rows = (query: Pg.QueryConfig) => via(one(query, rowsOf))
): Connection => {
  const execute = executeBy(nameOf, rows)
  return {
    execute,
    executeUnprepared: executeBy(unnamed, rows),
    executeRaw: (text, values) => via(one<unknown>({ text, values: values.map(encode) }, (result) => result)),
    executeValues: (text, values) => {
      const query: Pg.QueryArrayConfig = { text, values: values.map(encode), rowMode: "array" }
      return via(one(query, (result) => result.rows))
    },
    // All at once: nothing here needs a cursor.
    executeStream: (text, values, transform) => Stream.fromIterableEffect(execute(text, values, transform))
  }
}

/** Without parameters there may be several statements; then each has its rows. */
const rowsOf = (result: Pg.QueryResult | ReadonlyArray<Pg.QueryResult>): ReadonlyArray<object> =>
  "rows" in result ? result.rows : result.map(({ rows }) => rows)

const failed = (cause: unknown, message = "Failed to execute statement") =>
  Effect.fail(new SqlError.SqlError({ cause, message }))

/** A statement on whichever connection is free, which is given back once nothing more is on the way to it. */
const alone =
  (pool: Pg.Pool): Via =>
  (send) =>
    interruptible((resume) => {
      let running: Running | undefined
      let isWanted = true
      pool.connect((error, client) => {
        if (client === undefined) return resume(failed(error, "Failed to acquire connection"))
        if (!isWanted) return client.release()
        running = start(client, send, resume, (isBroken) => giveBack(client, isBroken))
      })
      return Effect.suspend(() => {
        isWanted = false
        return running === undefined ? Effect.void : stop(pool, running)
      })
    })

/** On a connection that is kept. */
const within =
  (pool: Pg.Pool, client: Pg.PoolClient): Via =>
  (send) =>
    interruptible((resume) => {
      const running = start(client, send, resume, () => {})
      return Effect.suspend(() => stop(pool, running))
    })

const begin: Pg.QueryConfig = { text: "BEGIN" }
const commit: Pg.QueryConfig = { text: "COMMIT" }

const transaction = (nameOf: NameOf, pool: Pg.Pool, client: Pg.PoolClient): Client.Transaction => {
  const via = within(pool, client)
  // Nothing is sent but where it is known to be in the transaction.
  let state: "new" | "beginning" | "open" | "ending" | "over" = "new"
  let waiting: Array<() => void> = []

  const isNow = (next: "open" | "over") => {
    state = next
    const others = waiting
    waiting = []
    for (const go of others) go()
  }

  /** By `first` if there is nothing before it, else by `send`, once what there is has been answered. */
  const inOrder =
    <A>(send: Send<A>, first: Send<A> | undefined): Send<A> =>
    (client, done) => {
      const again = () => inOrder(send, first)(client, done)
      switch (state) {
        case "new":
          if (first !== undefined) return first(client, done)
          state = "beginning"
          return client.query(begin, (error) => {
            isNow(error ? "over" : "open")
            if (error) done(error, undefined)
            else again()
          })
        case "beginning":
        case "ending":
          return void waiting.push(again)
        case "open":
          return send(client, done)
        case "over":
          return done(new Error(Client.isOver), undefined)
      }
    }

  /** With what has to come before it, and as the last one with COMMIT. */
  const together =
    (query: Pg.QueryConfig, isLast: boolean): Send<ReadonlyArray<object>> =>
    (client, done) => {
      const before = state === "new" ? [begin] : []
      const batch = new Batch([...before, query, ...(isLast ? [commit] : [])], (error, rows) => {
        isNow(batch.done < before.length || (isLast && error === undefined) ? "over" : "open")
        done(error, rows[before.length])
      })
      state = isLast ? "ending" : "beginning"
      client.query(batch)
    }

  // Without parameters it may be several statements, which cannot be one of a batch.
  const rows = (query: Pg.QueryConfig) =>
    via(inOrder(one(query, rowsOf), query.values?.length === 0 ? undefined : together(query, false)))
  const last = (query: Pg.QueryConfig) => {
    const send = together(query, true)
    return via(inOrder(send, send))
  }

  const end =
    (command: string): Send<void> =>
    (client, done) => {
      if (state === "new" || state === "over") return done(undefined, undefined)
      if (state !== "open") return void waiting.push(() => end(command)(client, done))
      one({ text: command }, () => {})(client, done)
    }

  return {
    ...connection(nameOf, (send) => via(inOrder(send, undefined)), rows),
    executeLast: executeBy(nameOf, last),
    end: (command) =>
      Effect.ensuring(
        via(end(command)),
        Effect.sync(() => giveBack(client, false))
      )
  }
}

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
  send: Send<A>,
  resume: (answer: Effect.Effect<A, SqlError.SqlError>) => void,
  free: (isBroken: boolean) => void
): Running => {
  const running: Running = { client, left: 1, isBroken: false, free }
  send(client, (error, answer) => {
    leave(running, isFatal(error))
    // Safe: there is an answer where there is no error.
    resume(error ? failed(error) : Effect.succeed(answer as A))
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
