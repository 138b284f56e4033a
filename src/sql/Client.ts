import type { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import { Context, Effect, type Fiber, FiberRef, Option } from "effect"

/** What a database is run on. */
export interface Engine {
  /** For statements outside of any transaction. */
  readonly connection: Connection
  /** A connection that is a transaction's alone until `release`. Asked for where nothing interrupts. */
  readonly session: Effect.Effect<
    { readonly connection: Connection; readonly release: Effect.Effect<void> },
    SqlError.SqlError
  >
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
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

/** Where `client` sends a statement of this fiber's; `undefined` if that is for the client to say, which is not ours. */
export const connectionOf = (
  client: SqlClient.SqlClient,
  fiber: Fiber.RuntimeFiber<unknown, unknown>
): Connection | undefined => {
  const own = connections.get(client)
  return own && (transactionOf(fiber)?.[0] ?? own)
}

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
      if (outer !== undefined) return within(currentContext, outer[0], outer[1] + 1, restore(self))
      return Effect.flatMap(engine.session, ({ connection, release }) =>
        Effect.matchCauseEffect(within(currentContext, connection, 0, restore(self)), {
          onFailure: (cause) => Effect.zipRight(release, Effect.failCause(cause)),
          onSuccess: (value) => Effect.as(release, value)
        })
      )
    })
  )

/** Within another transaction it is a savepoint, which ends with that one. */
const within = <A, E, R>(
  outside: Context.Context<never>,
  connection: Connection,
  depth: number,
  self: Effect.Effect<A, E, R>
) => {
  const inside = Context.add(outside, SqlClient.TransactionConnection, [connection, depth])
  const say = (command: string) => connection.executeUnprepared(command, [], undefined)
  const savepoint = `SAVEPOINT effect_sql_${depth}`
  const leave = FiberRef.set(FiberRef.currentContext, outside)
  // `Effect.locally` and `Effect.ensuring` see to interruption, which there is none of here, and cost thrice as much.
  return say(depth === 0 ? "BEGIN" : savepoint).pipe(
    Effect.zipRight(FiberRef.set(FiberRef.currentContext, inside)),
    Effect.zipRight(
      Effect.matchCauseEffect(self, {
        onFailure: (cause) =>
          leave.pipe(
            Effect.zipRight(say(depth === 0 ? "ROLLBACK" : `ROLLBACK TO ${savepoint}`)),
            Effect.zipRight(Effect.failCause(cause))
          ),
        onSuccess: (value) => Effect.as(depth === 0 ? Effect.zipRight(leave, say("COMMIT")) : leave, value)
      })
    )
  )
}
