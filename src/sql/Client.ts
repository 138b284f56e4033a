import type { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import { Context, Effect, type Fiber, FiberRef, Option } from "effect"

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
 * The client of an engine. Its transactions, and statements by `Prepared`, go straight to the engine where nobody traces:
 * the library's way costs 129 operations for a transaction and 66 for a statement even then.
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
      const traced = client.withTransaction
      return Object.assign(client, {
        withTransaction: <A, E, R>(self: Effect.Effect<A, E, R>) =>
          Effect.withFiberRuntime<A, E | SqlError.SqlError, R>((fiber) =>
            fiber.getFiberRef(FiberRef.currentTracerEnabled)
              ? withTypedFailures(traced(self))
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

/**
 * The library reports a COMMIT or ROLLBACK that fails as a defect. It is what a database does that goes away meanwhile, so
 * callers must be able to tell.
 */
const withTypedFailures = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.catchSomeDefect(self, (defect) =>
    defect instanceof SqlError.SqlError ? Option.some(Effect.fail(defect)) : Option.none()
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
      return Effect.flatMap(engine.transaction, (connection) =>
        Effect.matchCauseEffect(run(connection, 0), {
          onFailure: (cause) => Effect.zipRight(connection.end("ROLLBACK"), Effect.failCause(cause)),
          onSuccess: (value) => Effect.as(connection.end("COMMIT"), value)
        })
      )
    })
  )

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
