import type { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import { Context, Effect, Exit, type Fiber, FiberRef, Option, Stream } from "effect"

/** What a database is run on. */
export interface Engine {
  /** For statements outside of any transaction. */
  readonly connection: Connection
  /** A connection that is nobody else's until `release`. Asked for where nothing interrupts, as is a transaction. */
  readonly session: Effect.Effect<
    { readonly connection: Connection; readonly release: Effect.Effect<void> },
    SqlError.SqlError
  >
  readonly transaction: Effect.Effect<Transaction, SqlError.SqlError>
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
}

/** A connection whose first statement begins the transaction, in the same round trip. */
export interface Transaction extends Connection {
  /** Runs a statement and, if it succeeds, commits, in one round trip. Nothing may come after that but the end. */
  readonly executeLast: Connection["execute"]
  /** Ends what was begun, and is over by no last statement, and gives the connection back. */
  readonly end: (command: "COMMIT" | "ROLLBACK") => Effect.Effect<void, SqlError.SqlError>
}

/**
 * The client of an engine. Statements by `PreparedStatement` go straight to it where nobody traces: the library's way takes 66
 * operations even then. A transaction takes its connection with its first statement, so that what does other things before,
 * or has none, keeps nobody waiting; in the library's way it would also cost thrice as much.
 */
export const make = (engine: Engine): Effect.Effect<SqlClient.SqlClient, never, Reactivity.Reactivity> =>
  Effect.map(
    SqlClient.make({
      acquirer: Effect.succeed(engine.connection),
      transactionAcquirer: Effect.map(
        Effect.acquireRelease(engine.session, ({ release }) => release),
        ({ connection }) => connection
      ),
      compiler: makeCompiler(),
      spanAttributes: engine.spanAttributes
    }),
    (client) => {
      connections.set(client, engine.connection)
      return Object.assign(client, {
        withTransaction: <A, E, R>(self: Effect.Effect<A, E, R>) =>
          Effect.withFiberRuntime<A, E | SqlError.SqlError, R>((fiber) =>
            fiber.getFiberRef(FiberRef.currentTracerEnabled)
              ? traced(engine, self, transactionOf(fiber) === undefined ? "commit" : "savepoint")
              : transaction(engine, self)
          )
      })
    }
  )

const connections = new WeakMap<SqlClient.SqlClient, Connection>()

/** How `client` runs a statement of this fiber's; `undefined` if that is for the client to say, which is not ours. */
export const executeOf = (
  client: SqlClient.SqlClient,
  fiber: Fiber.RuntimeFiber<unknown, unknown>
): Connection["execute"] | undefined => {
  const own = connections.get(client)
  return own && (transactionOf(fiber)?.[0] ?? own).execute
}

/** The same for the last statement of the transaction it is in, if that is not within another one. */
export const executeLastOf: typeof executeOf = (client, fiber) => {
  const [connection, depth] = transactionOf(fiber) ?? []
  return connection !== undefined && depth === 0 && isTransaction(connection)
    ? connection.executeLast
    : executeOf(client, fiber)
}

const isTransaction = (connection: Connection): connection is Transaction => "executeLast" in connection

const transactionOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>) =>
  Option.getOrUndefined(Context.getOption(fiber.currentContext, SqlClient.TransactionConnection))

/** With the span and the events of the library's. */
const traced = <A, E, R>(engine: Engine, self: Effect.Effect<A, E, R>, success: string) =>
  Effect.useSpan(
    "sql.transaction",
    { kind: "client", captureStackTrace: false, attributes: Object.fromEntries(engine.spanAttributes) },
    (span) =>
      Effect.onExit(transaction(engine, Effect.withParentSpan(self, span)), (exit) =>
        Effect.clockWith((clock) =>
          Effect.sync(() => {
            const event = Exit.isSuccess(exit) ? success : "rollback"
            span.event(`db.transaction.${event}`, clock.unsafeCurrentTimeNanos())
          })
        )
      )
  )

const transaction = <A, E, R>(engine: Engine, self: Effect.Effect<A, E, R>) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime<A, E | SqlError.SqlError, R>((fiber) => {
      const outer = transactionOf(fiber)
      const { currentContext } = fiber
      const run = (connection: Connection, depth: number) => within(currentContext, connection, depth, restore(self))
      if (outer !== undefined) {
        const [connection, depth] = outer
        const savepoint = `SAVEPOINT effect_sql_${depth + 1}`
        const say = (command: string) => connection.executeUnprepared(command, [], undefined)
        return Effect.zipRight(
          say(savepoint),
          Effect.matchCauseEffect(run(connection, depth + 1), {
            onFailure: (cause) => Effect.zipRight(say(`ROLLBACK TO ${savepoint}`), Effect.failCause(cause)),
            onSuccess: Effect.succeed
          })
        )
      }
      const connection = opening(engine)
      return Effect.matchCauseEffect(run(connection, 0), {
        onFailure: (cause) => Effect.zipRight(connection.end("ROLLBACK"), Effect.failCause(cause)),
        onSuccess: (value) => Effect.as(connection.end("COMMIT"), value)
      })
    })
  )

/** Of a transaction that has ended, and would otherwise be asked for what it can no longer keep. */
export const isOver = "The transaction is over"

/** A transaction that is asked for with its first statement. */
const opening = (engine: Engine): Transaction => {
  let opened: Transaction | undefined
  let others: Effect.Latch | undefined
  let isOpening = false
  /** Nothing can come any more: it has ended, or will with no further word. */
  let isShut = false

  const refused = Effect.suspend(() => new SqlError.SqlError({ cause: new Error(isOver), message: isOver }))
  // Interrupted only afterwards, or it would be nobody's.
  const ask = Effect.uninterruptible(
    Effect.onExit(engine.transaction, (exit) => {
      isOpening = false
      others?.unsafeOpen()
      others = undefined
      if (Exit.isFailure(exit)) return Effect.void
      if (isShut) return Effect.ignore(exit.value.end("ROLLBACK"))
      opened = exit.value
      return Effect.void
    })
  )
  const open: Effect.Effect<Transaction, SqlError.SqlError> = Effect.suspend(() => {
    if (isShut) return refused
    if (opened !== undefined) return Effect.succeed(opened)
    if (isOpening) {
      others ??= Effect.unsafeMakeLatch()
      return Effect.zipRight(others.await, open)
    }
    isOpening = true
    return Effect.zipRight(ask, open)
  })
  const run = <A>(statement: (transaction: Transaction) => Effect.Effect<A, SqlError.SqlError>) =>
    Effect.suspend(() => (opened === undefined || isShut ? Effect.flatMap(open, statement) : statement(opened)))
  return {
    execute: (...given) => run((transaction) => transaction.execute(...given)),
    executeUnprepared: (...given) => run((transaction) => transaction.executeUnprepared(...given)),
    executeRaw: (...given) => run((transaction) => transaction.executeRaw(...given)),
    executeValues: (...given) => run((transaction) => transaction.executeValues(...given)),
    executeStream: (...given) => Stream.unwrap(Effect.map(open, (transaction) => transaction.executeStream(...given))),
    executeLast: (...given) =>
      Effect.map(
        run((transaction) => transaction.executeLast(...given)),
        (rows) => {
          isShut = true
          return rows
        }
      ),
    end: (command) =>
      Effect.suspend(() => {
        isShut = true
        return opened === undefined ? Effect.void : opened.end(command)
      })
  }
}

/** With the transaction in the fiber's context, and without it again at the end. */
const within = <A, E, R>(
  outside: Context.Context<never>,
  connection: Connection,
  depth: number,
  self: Effect.Effect<A, E, R>
) => {
  const leave = FiberRef.set(FiberRef.currentContext, outside)
  // `Effect.locally` and `Effect.ensuring` see to interruption, which there is none of here, and cost thrice as much.
  return Effect.zipRight(
    FiberRef.set(FiberRef.currentContext, Context.add(outside, SqlClient.TransactionConnection, [connection, depth])),
    Effect.matchCauseEffect(self, {
      onFailure: (cause) => Effect.zipRight(leave, Effect.failCause(cause)),
      onSuccess: (value) => Effect.as(leave, value)
    })
  )
}
