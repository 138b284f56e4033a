import { SqlClient } from "@effect/sql"
import { Context, Effect, PubSub, type Scope, Stream } from "effect"
import * as PreparedStatement from "../runtime/PreparedStatement.ts"

/** The channel of LISTEN and NOTIFY; statements may also call `pg_notify` on it. */
export const channel = "taskchat"

/** PostgreSQL allows less than 8,000 bytes. */
const maxBytes = 7_900

/** Wakes other fibers and nodes. Delivery is not guaranteed: signals may only make something faster. */
export class Signals extends Context.Tag("taskchat/sql/Signals")<
  Signals,
  {
    /** At most 7,900 bytes. Inside a transaction it is sent by the commit. Never fails: a lost signal only delays. */
    readonly publish: (payload: string) => Effect.Effect<void>
    /** Signals of all nodes, also this one, from the start of the stream. A slow reader loses the oldest. */
    readonly changes: Stream.Stream<string>
  }
>() {}

/** `listen` attaches to the database's channel and calls back for each payload, until the scope closes. */
export const make = <E, R>(
  listen: (onPayload: (payload: string) => void) => Effect.Effect<void, E, R>
): Effect.Effect<typeof Signals.Service, E, R | Scope.Scope | SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const payloads = yield* Effect.acquireRelease(PubSub.sliding<string>(1024), PubSub.shutdown)
    const notify = PreparedStatement.make<{ payload: string }>(
      sql,
      ({ payload }) => sql`SELECT pg_notify(${channel}, ${payload})`
    )
    yield* listen((payload) => payloads.unsafeOffer(payload))
    return Signals.of({
      publish: (payload) =>
        Buffer.byteLength(payload) > maxBytes
          ? Effect.logWarning("A signal was too long to be sent")
          : Effect.catchAll(notify({ payload }), () => Effect.logDebug("A signal could not be sent")),
      changes: Stream.fromPubSub(payloads)
    })
  })
