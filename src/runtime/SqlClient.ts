import type { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import { Context, Effect, Exit, Option, Scope, Stream } from "effect"

/** The engine of a database. */
export interface Engine {
  /** For statements outside of any transaction. */
  readonly connection: Connection
  /** Reserves a session, which is to be released. */
  readonly session: Effect.Effect<Session, SqlError.SqlError>
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
  /** Whether a transaction makes all other statements wait. */
  readonly hasOneSession?: boolean
}

export interface Session {
  readonly connection: Connection
  /**
   * Runs statements in order, none after one that fails, in one round trip if the engine can. Returns the outcome of each
   * that ran.
   */
  readonly batch: (statements: ReadonlyArray<Query>) => Effect.Effect<ReadonlyArray<Outcome>>
  readonly release: Effect.Effect<void>
}

export interface Query {
  readonly text: string
  readonly values: ReadonlyArray<unknown>
  /** Whether to prepare it by name. */
  readonly isPrepared: boolean
}

export type Outcome = Exit.Exit<ReadonlyArray<object>, SqlError.SqlError>

/**
 * The client of an engine. Stands for `SqlClient.make` alone, and uses the library's `makeWithTransaction`. `BEGIN` is sent
 * with the first statement, and `COMMIT` may be sent with the last one: a transaction without statements takes no
 * connection, and a tool call takes two round trips instead of four.
 * Saves: measured together with `PgClient.ts`. Delete when: that can go.
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
    (client): SqlClient.SqlClient & Direct =>
      Object.assign(client, {
        [DirectId]: engine,
        withTransaction: SqlClient.makeWithTransaction({
          transactionTag: SqlClient.TransactionConnection,
          spanAttributes: engine.spanAttributes,
          acquireConnection: Effect.map(Scope.make(), (scope) => {
            const connection: Connection = transaction(engine.session, scope)
            return [scope, connection] as const
          }),
          begin: () => Effect.void,
          savepoint: (connection, id) => run(connection, `SAVEPOINT effect_sql_${id}`),
          commit: (connection) => end(connection, "COMMIT"),
          // If the rollback fails, the connection is lost, and with it the transaction.
          rollback: (connection) => Effect.ignore(end(connection, "ROLLBACK")),
          rollbackSavepoint: (connection, id) => run(connection, `ROLLBACK TO SAVEPOINT effect_sql_${id}`)
        })
      })
  )

const DirectId: unique symbol = Symbol.for("taskchat/runtime/SqlClient")

/** A client that exposes its engine. */
interface Direct {
  readonly [DirectId]: Engine
}

/** The engine of a client made here; `undefined` for any other client. */
export const engineOf = (client: SqlClient.SqlClient): Engine | undefined =>
  // Safe: only `make` sets this member.
  DirectId in client ? (client as SqlClient.SqlClient & Direct)[DirectId] : undefined

/** The connection of the current transaction, and its depth. */
export const transactionOf = (context: Context.Context<never>) =>
  Option.getOrUndefined(Context.getOption(context, SqlClient.TransactionConnection))

/** A connection whose first statement begins the transaction. */
interface Transaction extends Connection {
  /** Runs a statement and, if it succeeds, commits, in one round trip. Nothing may follow. */
  readonly executeLast: Connection["execute"]
  /** Ends a transaction that has begun and is not committed. */
  readonly end: (command: "COMMIT" | "ROLLBACK") => Effect.Effect<void, SqlError.SqlError>
}

export const isTransaction = (connection: Connection): connection is Transaction => "executeLast" in connection

const end = (connection: Connection, command: "COMMIT" | "ROLLBACK") =>
  isTransaction(connection) ? connection.end(command) : run(connection, command)

const run = (connection: Connection, command: string) =>
  Effect.asVoid(connection.executeUnprepared(command, [], undefined))

const begin: Query = { text: "BEGIN", values: [], isPrepared: false }
const commit: Query = { text: "COMMIT", values: [], isPrepared: false }

/**
 * "new": nothing was sent. "begun": statements are part of it. "doomed": its BEGIN failed, or nobody knows what came of
 * what was sent, so that no more is; it is still to be ended. "ended": nothing is left to do.
 */
type State = "new" | "begun" | "doomed" | "ended"

/** The state after `sent` statements, of which `succeeded` did; `undefined` if that is not known. */
const after = (state: State, sent: ReadonlyArray<Query>, succeeded: number | undefined): State => {
  if (succeeded === undefined || (state === "new" && succeeded === 0)) return "doomed"
  return succeeded === sent.length && sent.at(-1) === commit ? "ended" : "begun"
}

const isOver = "The transaction is over"
const refused = Effect.suspend(() => new SqlError.SqlError({ cause: new Error(isOver), message: isOver }))

/** The session is released when the scope closes. */
const transaction = (session: Engine["session"], scope: Scope.Scope): Transaction => {
  // One statement at a time: nothing is sent before BEGIN has been answered.
  const lock = Effect.unsafeMakeSemaphore(1)
  // A free lock is taken in half the steps of one that is waited for.
  const inTurn = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.flatMap(
      lock.withPermitsIfAvailable(1)(effect),
      Option.match({ onNone: () => lock.withPermits(1)(effect), onSome: Effect.succeed })
    )
  let state: State = "new"
  let opened: Session | undefined
  // Uninterruptible, so that the session is never lost.
  const open = Effect.uninterruptible(
    Effect.tap(session, (made) => {
      opened = made
      return Scope.addFinalizer(scope, made.release)
    })
  )
  const use = <A>(act: (session: Session) => Effect.Effect<A, SqlError.SqlError>) =>
    inTurn(
      Effect.suspend(() => {
        if (state === "doomed" || state === "ended") return refused
        return opened === undefined ? Effect.flatMap(open, act) : act(opened)
      })
    )
  /** Sends statements in one round trip, after BEGIN if they are the first. Returns the rows of the first of them. */
  const send = (session: Session, statements: ReadonlyArray<Query>) => {
    const before = state
    const sent = before === "new" ? [begin, ...statements] : statements
    state = "doomed"
    return Effect.flatMap(session.batch(sent), (outcomes): Outcome => {
      state = after(before, sent, outcomes.filter(Exit.isSuccess).length)
      return outcomes.find(Exit.isFailure) ?? outcomes[sent.length - statements.length] ?? Exit.succeed([])
    })
  }
  /** The session's connection, in the transaction. */
  const begun = (session: Session) =>
    state === "begun" ? Effect.succeed(session.connection) : Effect.as(send(session, []), session.connection)
  const execute = (text: string, values: ReadonlyArray<unknown>, isPrepared: boolean) =>
    use((session) =>
      state === "begun" || values.length === 0
        ? // Without parameters the text may be several statements, which a batch cannot contain.
          Effect.flatMap(begun(session), (connection) =>
            connection[isPrepared ? "execute" : "executeUnprepared"](text, values, undefined)
          )
        : send(session, [{ text, values, isPrepared }])
    )
  const finish = (command: "COMMIT" | "ROLLBACK") =>
    inTurn(
      Effect.suspend(() => {
        const isToEnd = state === "begun" || state === "doomed"
        state = "ended"
        return isToEnd && opened !== undefined ? run(opened.connection, command) : Effect.void
      })
    )
  return {
    execute: (text, values, transform) => transformed(execute(text, values, true), transform),
    executeUnprepared: (text, values, transform) => transformed(execute(text, values, false), transform),
    executeRaw: (...given) => use((session) => Effect.flatMap(begun(session), (one) => one.executeRaw(...given))),
    executeValues: (...given) => use((session) => Effect.flatMap(begun(session), (one) => one.executeValues(...given))),
    executeStream: (...given) => Stream.unwrap(Effect.map(use(begun), (one) => one.executeStream(...given))),
    executeLast: (text, values, transform) =>
      transformed(
        use((session) => send(session, [{ text, values, isPrepared: true }, commit])),
        transform
      ),
    // After a last statement nothing is left to do, and nothing to wait for.
    end: (command) => Effect.suspend(() => (state === "ended" ? Effect.void : finish(command)))
  }
}

type Rows = Effect.Effect<ReadonlyArray<object>, SqlError.SqlError>

const transformed = (rows: Rows, transform: Parameters<Connection["execute"]>[2]) =>
  transform === undefined ? rows : Effect.map(rows, transform)
