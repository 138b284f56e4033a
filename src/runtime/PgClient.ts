import { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { Effect, Exit, Layer, Metric, RuntimeFlags, Stream } from "effect"
import Pg from "pg"
import { Batch } from "./PgBatch.ts"
import { encode } from "./PgTypes.ts"
import * as Sampled from "./Sampled.ts"
import * as Client from "./SqlClient.ts"

export interface Options extends Pg.PoolConfig {
  /** A statement was refused because its server is read only. */
  readonly onReadOnly: () => void
}

/**
 * A client on a pool of connections to a PostgreSQL server. Stands for `PgClient.layer` of `@effect/sql-pg`. Statements are
 * prepared by name, a transaction begins with its first statement (`SqlClient.ts`), and an interruption waits until its
 * statement is cancelled, where the library's late cancellation could stop the connection's next statement.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-PgClient`.
 * Delete when: that row shows less than 5 %, and the library cancels the right statement.
 */
export const layer = ({ onReadOnly, ...config }: Options): Layer.Layer<SqlClient.SqlClient> =>
  Layer.scoped(
    SqlClient.SqlClient,
    Effect.acquireRelease(
      Effect.sync(() => new Pool(config, onReadOnly)),
      (pool) => Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"))
    ).pipe(Effect.tap(measured), Effect.flatMap(makeClient))
  ).pipe(Layer.provide(Reactivity.layer))

/** A pool that closes its sessions after a failover. */
class Pool extends Pg.Pool {
  readonly #openedAt = new Map<Pg.PoolClient, number>()
  readonly #outdated = new WeakSet<Pg.PoolClient>()

  readonly #onReadOnly: () => void

  constructor(config: Pg.PoolConfig, onReadOnly: () => void) {
    super(config)
    this.#onReadOnly = onReadOnly
    // A broken connection fails its current statement; without listeners the event would end the process.
    this.on("error", () => {})
    this.on("connect", (client) => {
      this.#openedAt.set(client, performance.now())
      client.on("error", () => {})
    })
    this.on("remove", (client) => void this.#openedAt.delete(client))
  }

  /** Takes a session that is not outdated. */
  take(done: (error: unknown, client: Pg.PoolClient | undefined) => void) {
    this.connect((error, client) => {
      if (client === undefined || !this.#outdated.has(client)) return done(error, client)
      client.release(true)
      this.take(done)
    })
  }

  /** Returns a session. One that is broken, outdated or within a transaction is closed. */
  giveBack(client: Pg.PoolClient, isBroken: boolean) {
    client.release(isBroken || this.#outdated.has(client) || client.getTransactionStatus() !== "I")
  }

  /**
   * Sessions of a server that became read only stay read only, while new ones may reach a writable server. Marks all
   * sessions as outdated, except those just opened.
   */
  giveUpReadOnly() {
    const until = performance.now() - 1000
    for (const [client, openedAt] of this.#openedAt) if (openedAt < until) this.#outdated.add(client)
    this.#onReadOnly()
  }
}

const gauges = [
  [
    Metric.gauge("taskchat_database_connections", { description: "Open connections to the database" }),
    ({ totalCount }: Pool) => totalCount
  ],
  [
    Metric.gauge("taskchat_database_connections_busy", { description: "Connections that are in use" }),
    ({ idleCount, totalCount }: Pool) => totalCount - idleCount
  ],
  [
    Metric.gauge("taskchat_database_connections_limit", { description: "Connections that may be open" }),
    ({ options }: Pool) => options.max
  ],
  [
    Metric.gauge("taskchat_database_waiting", {
      description: "Statements and transactions that wait for a connection"
    }),
    ({ waitingCount }: Pool) => waitingCount
  ]
] as const

/** All pools of the process. */
const pools = new Set<Pool>()

const measured = (pool: Pool) =>
  Effect.zipRight(
    Effect.acquireRelease(
      Effect.sync(() => pools.add(pool)),
      () => Effect.sync(() => pools.delete(pool))
    ),
    Sampled.register(() => {
      for (const [gauge, read] of gauges) {
        gauge.unsafeUpdate(
          Array.from(pools, read).reduce((sum, count) => sum + count, 0),
          []
        )
      }
    })
  )

const makeClient = (pool: Pool) => {
  const queryOf = queries()
  const { database, host, port } = new Pg.Client(pool.options)
  const acquired = Effect.async<Pg.PoolClient, SqlError.SqlError>((resume) =>
    pool.take((error, client) =>
      resume(
        client === undefined ? failed(error, "Failed to acquire connection for transaction") : Effect.succeed(client)
      )
    )
  )
  return Client.make({
    connection: connection(queryOf, alone(pool)),
    session: Effect.map(acquired, (client): Client.Session => {
      const via = within(pool, client)
      return {
        connection: connection(queryOf, via),
        batch: (statements) => batch(via, statements.map(queryOf)),
        release: Effect.sync(() => pool.giveBack(client, false))
      }
    }),
    spanAttributes: [
      ["db.system.name", "postgresql"],
      ["db.namespace", database ?? "postgres"],
      ["server.address", host],
      ["server.port", port]
    ]
  })
}

/** Statements with changing texts (lists of any length) must not fill the server's memory. */
const maxPrepared = 500

/**
 * Names for prepared statements: the server then parses and plans each statement with parameters once per connection, which
 * is about half of a small statement's time. All connections of the pool share the names.
 */
const queries = () => {
  const known = new Map<string, string>()
  const nameOf = (text: string) => {
    const name = known.get(text)
    if (name !== undefined || known.size >= maxPrepared) return name
    const given = `taskchat_${known.size}`
    known.set(text, given)
    return given
  }
  return ({ isPrepared, text, values }: Client.Query): Pg.QueryConfig => {
    const name = isPrepared && values.length > 0 ? nameOf(text) : undefined
    return { text, values: values.map(encode), ...(name !== undefined && { name }) }
  }
}

type QueryOf = ReturnType<typeof queries>

/** Sends a query to a client, and calls back with the result. */
type Send<A> = (client: Pg.PoolClient, done: (error: unknown, answer: A | undefined) => void) => void

/** Runs a `Send` on some client. */
type Via = <A>(send: Send<A>) => Effect.Effect<A, SqlError.SqlError>

const one =
  <A>(query: Pg.QueryConfig, read: (result: Pg.QueryResult) => A): Send<A> =>
  (client, done) =>
    client.query(query, (error, result) => done(error, error ? undefined : read(result)))

const connection = (queryOf: QueryOf, via: Via): Connection => {
  const execute =
    (isPrepared: boolean): Connection["execute"] =>
    (text, values, transform) => {
      const found = via(one(queryOf({ text, values, isPrepared }), rowsOf))
      return transform === undefined ? found : Effect.map(found, transform)
    }
  const prepared = execute(true)
  return {
    execute: prepared,
    executeUnprepared: execute(false),
    executeRaw: (text, values) => via(one<unknown>({ text, values: values.map(encode) }, (result) => result)),
    executeValues: (text, values) => {
      const query: Pg.QueryArrayConfig = { text, values: values.map(encode), rowMode: "array" }
      return via(one(query, (result) => result.rows))
    },
    // Reads all rows at once: nothing here needs a cursor.
    executeStream: (text, values, transform) => Stream.fromIterableEffect(prepared(text, values, transform))
  }
}

/** The outcome of each statement. A failure of the client, such as a lost connection, is the outcome of the running one. */
const batch = (via: Via, statements: ReadonlyArray<Pg.QueryConfig>) =>
  Effect.orDie(
    via<ReadonlyArray<Client.Outcome>>((client, done) => {
      const batch: Batch = new Batch(statements, (error, rows) => {
        const outcomes = rows.slice(0, batch.done).map((of): Client.Outcome => Exit.succeed(of))
        done(error, error === undefined ? outcomes : [...outcomes, Exit.fail(sqlError(error))])
      })
      client.query(batch)
    })
  )

/** Without parameters there may be several statements; then each has its rows. */
const rowsOf = (result: Pg.QueryResult | ReadonlyArray<Pg.QueryResult>): ReadonlyArray<object> =>
  "rows" in result ? result.rows : result.map(({ rows }) => rows)

const sqlError = (cause: unknown, message = "Failed to execute statement") => new SqlError.SqlError({ cause, message })

const failed = (cause: unknown, message?: string) => Effect.fail(sqlError(cause, message))

/** Runs a statement on a free connection, which is returned when nothing more is sent to it. */
const alone =
  (pool: Pool): Via =>
  (send) =>
    interruptible((resume) => {
      let running: Running | undefined
      let isWanted = true
      pool.take((error, client) => {
        if (client === undefined) return resume(failed(error, "Failed to acquire connection"))
        if (!isWanted) return client.release()
        running = start(pool, client, send, resume, (isBroken) => pool.giveBack(client, isBroken))
      })
      return Effect.suspend(() => {
        isWanted = false
        return running === undefined ? Effect.void : stop(pool, running)
      })
    })

/** Runs a statement on a reserved connection. */
const within =
  (pool: Pool, client: Pg.PoolClient): Via =>
  (send) =>
    interruptible((resume) => {
      const running = start(pool, client, send, resume, () => {})
      return Effect.suspend(() => stop(pool, running))
    })

/** As `Effect.async`, which costs ten times as much when it is interruptible. */
const interruptible = <A>(
  register: (resume: (answer: Effect.Effect<A, SqlError.SqlError>) => void) => Effect.Effect<void>
) =>
  Effect.withFiberRuntime<A, SqlError.SqlError>((_, { runtimeFlags }) =>
    Effect.async((resume) => {
      const stop = register(resume)
      return RuntimeFlags.interruptible(runtimeFlags) ? stop : undefined
    })
  )

/** A running statement, and perhaps its cancellation: until both have ended, nothing else uses the connection. */
interface Running {
  readonly client: Pg.PoolClient
  left: number
  isBroken: boolean
  free: (isBroken: boolean) => void
}

const start = <A>(
  pool: Pool,
  client: Pg.PoolClient,
  send: Send<A>,
  resume: (answer: Effect.Effect<A, SqlError.SqlError>) => void,
  free: (isBroken: boolean) => void
): Running => {
  const running: Running = { client, left: 1, isBroken: false, free }
  send(client, (error, answer) => {
    if (isReadOnly(error)) pool.giveUpReadOnly()
    leave(running, isFatal(error))
    resume(answer === undefined ? failed(error) : Effect.succeed(answer))
  })
  return running
}

const leave = (running: Running, isBroken: boolean) => {
  running.isBroken ||= isBroken
  if (--running.left === 0) running.free(running.isBroken)
}

const stop = (pool: Pool, running: Running) =>
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
      // It may just have been returned, and be in use by others.
      if (running.left === 0) return
      running.free = () => {}
      free(true)
    })
  }).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"), Effect.asVoid)

/** The server says so before it ends the connection. */
const isFatal = (error: unknown) => error instanceof Pg.DatabaseError && error.severity === "FATAL"

const isReadOnly = (error: unknown) => error instanceof Pg.DatabaseError && error.code === "25006"
