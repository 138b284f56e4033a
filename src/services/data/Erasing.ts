import { SqlClient } from "@effect/sql"
import { Context, Duration, Effect, Layer, Schedule, Schema, type Scope, Stream } from "effect"
import { ErasureInProgress } from "../../domain/Erasure.ts"
import { UserId } from "../../domain/Id.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { Signals } from "../../sql/Signals.ts"
import { dieOnSql } from "../../sql/SqlErrors.ts"
import { orLater } from "../turns/RemoteTurns.ts"

/** Something that caches data of users, and must drop it. */
interface Listener {
  readonly begun?: (user: UserId) => Effect.Effect<void>
  /** Without a user: an unknown erasure may have been missed. */
  readonly ended?: (user?: UserId) => Effect.Effect<void>
}

interface View {
  /** Fails as long as the user's data is being erased. */
  readonly refuse: (user: UserId) => Effect.Effect<void, ErasureInProgress>
  /** Calls back when an erasure begins and when it ends, on any node, until the scope closes. */
  readonly listen: (listener: Listener) => Effect.Effect<void, never, Scope.Scope>
  /** Polls at once. */
  readonly refresh: Effect.Effect<void>
}

/** The signal that erasures have begun or ended. */
export const signal = "erasure"

/** How old a node's view may be before it asks the database for each request. */
const maxAge = Duration.seconds(2)

/** How long after the request an erasure deletes its first row: by then no node has an older view. */
export const notice = Duration.sum(maxAge, Duration.millis(500))

/**
 * The users whose data is being erased, from signals and from polling every half second. A node that could not poll for two
 * seconds asks the database for every request. So all nodes refuse the user before the first row is deleted.
 */
export class Erasing extends Context.Reference<Erasing>()("taskchat/services/Erasing", {
  defaultValue: (): View => ({ refuse: () => Effect.void, listen: () => Effect.void, refresh: Effect.void })
}) {
  static readonly layer: Layer.Layer<Erasing, never, SqlClient.SqlClient | Signals> = Layer.scoped(
    Erasing,
    Effect.suspend(() => make)
  )
}

const decodeUsers = Schema.decodeUnknown(Schema.Array(Schema.Struct({ user: UserId })))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const signals = yield* Signals
  const listeners = new Set<Listener>()
  const one = yield* Effect.makeSemaphore(1)
  let users: ReadonlySet<UserId> = new Set()
  /** When the view was requested, by the `Clock`; `undefined` before the first one. */
  let seenAt: number | undefined

  const isFresh = (now: number) => seenAt !== undefined && now >= seenAt && now < seenAt + Duration.toMillis(maxAge)

  const select = PreparedStatement.make(sql, () => sql`SELECT user_id AS "user" FROM erasures`)
  const selectOne = PreparedStatement.make<{ user: UserId }>(
    sql,
    ({ user }) => sql`SELECT user_id AS "user" FROM erasures WHERE user_id = ${user}`
  )

  const look = one.withPermits(1)(
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const now = clock.unsafeCurrentTimeMillis()
      const rows = yield* Effect.flatMap(select({}), decodeUsers)
      const before = users
      const hasMissed = seenAt !== undefined && !isFresh(now)
      users = new Set(rows.map(({ user }) => user))
      seenAt = now
      const begun = [...users].filter((user) => !before.has(user))
      const ended = [...before].filter((user) => !users.has(user))
      for (const listener of listeners) {
        for (const user of begun) yield* listener.begun?.(user) ?? Effect.void
        for (const user of ended) yield* listener.ended?.(user) ?? Effect.void
        if (hasMissed) yield* listener.ended?.() ?? Effect.void
      }
    })
  )
  const refresh = dieOnSql(look)

  yield* refresh
  yield* Effect.forkScoped(Effect.repeat(orLater<void>(undefined)(refresh), Schedule.spaced("500 millis")))
  yield* Effect.forkScoped(
    Stream.runForEach(signals.changes, (said) => (said === signal ? orLater<void>(undefined)(refresh) : Effect.void))
  )

  const refused = Effect.suspend(() => new ErasureInProgress({ retryAfter: 1 }))

  return {
    refuse: (user) =>
      Effect.clockWith((clock) => {
        if (isFresh(clock.unsafeCurrentTimeMillis())) return users.has(user) ? refused : Effect.void
        return Effect.flatMap(dieOnSql(selectOne({ user })), ({ length }) => (length > 0 ? refused : Effect.void))
      }),
    listen: (listener) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => listeners.add(listener)),
          () => Effect.sync(() => listeners.delete(listener))
        )
      ),
    refresh
  } satisfies View
})
