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
 * A client on a pool of connections to a PostgreSQL server. Stands for `PgClient.layer` of `@effect/sql-pg`. The server keeps
 * the plans of statements, a transaction begins with its first statement (`SqlClient.ts`), and who is interrupted waits until
 * the statement was cancelled, where the library's late cancellation could stop the next user's.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-PgClient`.
 * Delete when: that row shows less than 5 %, and the library cancels nothing but what it is to.
 */
export const layer = ({ onReadOnly, ...config }: Options): Layer.Layer<SqlClient.SqlClient> =>
  Layer.scoped(
    SqlClient.SqlClient,
    Effect.acquireRelease(
      Effect.sync(() => new Pool(config, onReadOnly)),
      (pool) => Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"))
    ).pipe(Effect.tap(measured), Effect.flatMap(makeClient))
  ).pipe(Layer.provide(Reactivity.layer))

/** A pool, less the sessions of a server that others have taken over from. */
class Pool extends Pg.Pool {
  readonly #openedAt = new Map<Pg.PoolClient, number>()
  readonly #outdated = new WeakSet<Pg.PoolClient>()

  readonly #onReadOnly: () => void

  constructor(config: Pg.PoolConfig, onReadOnly: () => void) {
    super(config)
    this.#onReadOnly = onReadOnly
    // A connection that breaks reports so to whoever uses it; without listeners the event would end the process.
    this.on("error", () => {})
    this.on("connect", (client) => {
      this.#openedAt.set(client, performance.now())
      client.on("error", () => {})
    })
    this.on("remove", (client) => void this.#openedAt.delete(client))
  }

  /** A session that was not given up. */
  take(done: (error: unknown, client: Pg.PoolClient | undefined) => void) {
    this.connect((error, client) => {
      if (client === undefined || !this.#outdated.has(client)) return done(error, client)
      client.release(true)
      this.take(done)
    })
  }

  /** One that is broken, given up or within a transaction is closed instead. */
  giveBack(client: Pg.PoolClient, isBroken: boolean) {
    client.release(isBroken || this.#outdated.has(client) || client.getTransactionStatus() !== "I")
  }

  /**
   * A session of a server that became read only stays so, even if new ones lead to a server that can be written to. All are
   * given up but those just opened, which new ones would not differ from.
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
    session: Effect.map(
      Effect.acquireRelease(acquired, (client) => Effect.sync(() => pool.giveBack(client, false))),
      (client): Client.Session => {
        const via = within(pool, client)
        return { connection: connection(queryOf, via), batch: (statements) => batch(via, statements.map(queryOf)) }
      }
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

/** Sends one thing to a client, and tells what came of it. */
type Send<A> = (client: Pg.PoolClient, done: (error: unknown, answer: A | undefined) => void) => void

/** Has it sent on some client. */
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
    // All at once: nothing here needs a cursor.
    executeStream: (text, values, transform) => Stream.fromIterableEffect(prepared(text, values, transform))
  }
}

/** What came of each; what the client itself fails with, such as a lost connection, is that of the one that ran. */
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

/** A statement on whichever connection is free, which is given back once nothing more is on the way to it. */
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

/** On a connection that is kept. */
const within =
  (pool: Pool, client: Pg.PoolClient): Via =>
  (send) =>
    interruptible((resume) => {
      const running = start(pool, client, send, resume, () => {})
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
      // It may have been given back in this very moment, and be another's by now.
      if (running.left === 0) return
      running.free = () => {}
      free(true)
    })
  }).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"), Effect.asVoid)

/** The server says so before it ends the connection. */
const isFatal = (error: unknown) => error instanceof Pg.DatabaseError && error.severity === "FATAL"

const isReadOnly = (error: unknown) => error instanceof Pg.DatabaseError && error.code === "25006"
