import { SqlClient } from "@effect/sql"
import { Context, Deferred, Effect, Layer, Schema, type Scope, Stream } from "effect"
import { ErasureInProgress } from "../../domain/Erasure.ts"
import type { UserId } from "../../domain/Id.ts"
import { RateLimited, Unavailable } from "../../domain/Request.ts"
import * as SqlEngine from "../../runtime/SqlClient.ts"
import * as TemporaryFile from "../../runtime/TemporaryFile.ts"
import { dieOnSql } from "../../sql/SqlErrors.ts"
import * as TaskCalendar from "../tasks/TaskCalendar.ts"
import { decodeVersioned, taskJson } from "../tasks/TaskStatements.ts"
import type { Versioned } from "../tasks/Tasks.ts"
import { Erasing } from "./Erasing.ts"
import * as ExportStatements from "./ExportStatements.ts"

/** An export in a file, so that a slow reader holds nothing else. */
export type Copy = Stream.Stream<Uint8Array>

/** Why an export fails: too many at a time, no disk space, or the data is being erased. */
export type Refusal = RateLimited | Unavailable | ErasureInProgress

/** Exports of a node at the same time. */
const maxPerNode = 2

/** Exports of users' data, one per user and two per node at the same time. The scope is the reading's. */
export class Exports extends Context.Tag("taskchat/services/Exports")<
  Exports,
  {
    /** All data as JSON lines from one snapshot; on the embedded database, each row as of its reading. */
    readonly everything: (user: UserId) => Effect.Effect<Copy, Refusal, Scope.Scope>
    /** All tasks that are not deleted, as to-dos of iCalendar. */
    readonly calendar: (user: UserId) => Effect.Effect<Copy, Refusal, Scope.Scope>
  }
>() {
  static readonly layer: Layer.Layer<Exports, never, SqlClient.SqlClient> = Layer.scoped(
    Exports,
    Effect.suspend(() => make)
  )
}

const tooMany = new RateLimited({
  detail: "An export is running already. Wait for it to end, and try again.",
  retryAfter: 5
})

const noRoom = new Unavailable({ detail: "There is no room for an export at the moment.", retryAfter: 30 })

const decodeNow = Schema.decodeUnknown(Schema.NonEmptyArray(Schema.Struct({ now: Schema.DateFromSelf })))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const statements = ExportStatements.make(sql)
  const isShared = SqlEngine.engineOf(sql)?.hasOneSession === true
  /** One connection for all exports of this node. */
  const reading = yield* Effect.makeSemaphore(1)
  const running = new Map<UserId, Deferred.Deferred<never, ErasureInProgress>>()

  yield* (yield* Erasing).listen({
    begun: (user) => {
      const ended = running.get(user)
      return ended === undefined ? Effect.void : Deferred.fail(ended, new ErasureInProgress({ retryAfter: 1 }))
    }
  })

  const place = (user: UserId) =>
    Effect.acquireRelease(
      Effect.flatMap(Deferred.make<never, ErasureInProgress>(), (ended) =>
        Effect.suspend(() => {
          if (running.has(user) || running.size >= maxPerNode) return tooMany
          running.set(user, ended)
          return Effect.succeed(ended)
        })
      ),
      () => Effect.sync(() => running.delete(user))
    )

  /** An export that `fill` writes. An erasure ends it: without its last line, if it has been read in part. */
  const copy = (
    user: UserId,
    fill: (file: TemporaryFile.TemporaryFile) => Effect.Effect<unknown, TemporaryFile.NoTemporaryFile>
  ): Effect.Effect<Copy, Refusal, Scope.Scope> =>
    Effect.gen(function* () {
      const ended = yield* place(user)
      const file = yield* TemporaryFile.make
      yield* Effect.raceFirst(reading.withPermits(1)(fill(file)), Deferred.await(ended))
      return file.bytes.pipe(Stream.interruptWhen(Effect.ignore(Deferred.await(ended))), Stream.orDie)
    }).pipe(
      Effect.catchTag("NoTemporaryFile", (error) =>
        Effect.zipRight(Effect.logWarning("An export could not be written", error.cause), noRoom)
      )
    )

  /** In one snapshot if there are many sessions; else in pages, between which other statements run. */
  const snapshot = <A, E>(read: (until: Date | undefined) => Effect.Effect<A, E>) =>
    isShared
      ? Effect.flatMap(Effect.flatMap(sql`SELECT now() AS now`, decodeNow), ([{ now }]) => read(now))
      : sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY`.pipe(
          Effect.zipRight(read(undefined)),
          sql.withTransaction
        )

  const tasksAfter = (user: UserId, id: number) =>
    sql`
      SELECT ${taskJson(sql, "t")} AS task, version FROM tasks t
      WHERE t.user_id = ${user} AND t.id > ${id} AND t.deleted_at IS NULL
      ORDER BY t.id
      LIMIT 100`.pipe(Effect.flatMap(decodeVersioned))

  const writeCalendar = (user: UserId, { append }: TemporaryFile.TemporaryFile) =>
    Effect.gen(function* () {
      const calendar = yield* TaskCalendar.make
      yield* append(calendar.begin)
      let after: number | undefined = 0
      while (after !== undefined) {
        const page: ReadonlyArray<Versioned> = yield* tasksAfter(user, after)
        for (const { task } of page) {
          yield* append(calendar.task(user, task))
          // A rule with a high count takes a while.
          yield* Effect.yieldNow()
        }
        after = page.at(-1)?.task.id
      }
      yield* append(calendar.end)
    })

  return Exports.of({
    calendar: (user) => copy(user, (file) => dieOnSql(snapshot(() => writeCalendar(user, file)))),
    everything: (user) =>
      copy(user, (file) =>
        Effect.gen(function* () {
          const lines = yield* dieOnSql(snapshot((until) => statements.readAll(user, file.append, until)))
          yield* file.append(`${JSON.stringify({ type: "end", lines })}\n`)
          yield* Effect.annotateLogs(Effect.logInfo("Export completed"), { user_id: user, lines })
        })
      )
  })
})
