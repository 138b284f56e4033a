import { SqlError } from "@effect/sql"
import { Data, Effect } from "effect"
import Pg from "pg"

class SharedSessions extends Data.TaggedError("SharedSessions")<{}> {
  override get message() {
    return (
      "it is that of a pool in transaction mode, but statements that are prepared and notifications need sessions: " +
      "take the database's own address, or a pool in session mode"
    )
  }
}

/**
 * Fails if connections have no session of their own, as with a pooler in transaction mode. Otherwise occasional
 * failures would occur later. Two real sessions always have different server processes.
 */
export const required = (config: Pg.ClientConfig): Effect.Effect<void, SqlError.SqlError> =>
  Effect.gen(function* () {
    const [one, other] = [yield* connect(config), yield* connect(config)]
    const first = yield* processOf(one)
    yield* query(other, "BEGIN")
    const second = yield* processOf(other)
    // While the other connection is in a transaction, a pooler would serve the first by another process.
    const isShared = first === second || first !== (yield* processOf(one))
    if (isShared) return yield* new SqlError.SqlError({ cause: new SharedSessions(), message: "No session" })
  }).pipe(Effect.scoped)

const connect = (config: Pg.ClientConfig) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const client = new Pg.Client(config)
      client.on("error", () => {}) // the next use reports the error
      yield* attempt(() => client.connect())
      return client
    }),
    (client) => Effect.promise(() => client.end()).pipe(Effect.interruptible, Effect.timeoutOption("1 second"))
  )

const processOf = (client: Pg.Client) =>
  Effect.map(query(client, "SELECT pg_backend_pid() AS pid"), ({ rows: [row] }): unknown => row.pid)

const query = (client: Pg.Client, text: string) => attempt(() => client.query(text))

const attempt = <A>(run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => new SqlError.SqlError({ cause, message: "Failed to connect" }) })
