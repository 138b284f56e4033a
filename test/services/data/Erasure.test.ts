import { SqlClient, Statement } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Layer, Option, Schedule } from "effect"
import { TurnId, UserId } from "../../../src/domain/Id.ts"
import { Identities } from "../../../src/services/access/Identities.ts"
import { Erasing } from "../../../src/services/data/Erasing.ts"
import { Erasure } from "../../../src/services/data/Erasure.ts"
import * as Retention from "../../../src/services/data/Retention.ts"
import { Turns } from "../../../src/services/turns/Turns.ts"
import * as Database from "../../support/Database.ts"

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

/** Creates conversations, each with an ended turn and its two messages, and tasks, each with one change. */
const fill = (user: UserId, conversations: number, running: "running" | "ended" = "ended") =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`
      WITH c AS (
        INSERT INTO conversations (user_id, last_sequence_number, message_count)
        SELECT ${user}::bigint, 2, 2 FROM generate_series(1, ${conversations}::integer) RETURNING user_id, id
      ), t AS (
        INSERT INTO turns (user_id, id, conversation_id, status, slot, lease_until, node, time_zone, user_message_id,
          finished_at)
        SELECT user_id, gen_random_uuid(), id,
          CASE WHEN ${running === "running"} THEN 'running' ELSE 'completed' END,
          CASE WHEN ${running === "running"} THEN 1 END,
          CASE WHEN ${running === "running"} THEN now() + interval '1 second' END, gen_random_uuid(), 'UTC', 1,
          CASE WHEN ${running === "ended"} THEN now() END
        FROM c RETURNING user_id, id, conversation_id
      )
      INSERT INTO messages (user_id, conversation_id, sequence_number, turn_id, role, content, status)
      SELECT user_id, conversation_id, s, id, 'user', 'Hi', 'completed' FROM t, generate_series(1, 2) AS s`
    yield* sql`
      INSERT INTO turn_output (user_id, turn_id, part, text)
      SELECT user_id, id, 0, 'Hi' FROM turns WHERE user_id = ${user}`
    yield* sql`
      INSERT INTO tool_calls (user_id, turn_id, step, position, text_offset, call)
      SELECT user_id, id, 1, 0, 0, '{}' FROM turns WHERE user_id = ${user}`
    yield* sql`
      WITH t AS (
        INSERT INTO tasks (user_id, title) SELECT ${user}::bigint, 'Buy milk'
        FROM generate_series(1, ${conversations}::integer) RETURNING user_id, id
      )
      INSERT INTO task_changes (user_id, task_id, version, kind, after, cause, request_id)
      SELECT user_id, id, 1, 'created', '{}', 'request', 'r' FROM t`
    yield* sql`INSERT INTO idempotency_keys (user_id, scope, key, request_hash) VALUES (${user}, 'tasks', 'key', '')`
    yield* sql`
      INSERT INTO usage_days (user_id, day, input_tokens, reserved_tokens)
      SELECT ${user}::bigint, (now() AT TIME ZONE 'UTC')::date - n, 10, 1 FROM generate_series(0, 1) n
      ON CONFLICT DO NOTHING`
    yield* sql`INSERT INTO usage_models SELECT user_id, day, 'openai:one', 10, 0 FROM usage_days WHERE user_id = ${user}`
    yield* sql`
      INSERT INTO identities (issuer, subject, user_id) VALUES ('https://issuer.example.com', ${`user ${user}`}, ${user})`
  })

/** For every column that can contain a user id, the number of rows with this user. */
const rowsOf = (user: UserId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const columns = yield* sql<{ table: string; column: string }>`
      SELECT class.relname AS table, attribute.attname AS column
      FROM pg_attribute AS attribute JOIN pg_class AS class ON class.oid = attribute.attrelid
      WHERE attribute.attnum > 0 AND NOT attribute.attisdropped AND class.relkind IN ('r', 'p')
        AND attribute.atttypid = 'bigint'::regtype AND class.relnamespace = current_schema()::regnamespace`
    const counts = sql.join(
      " UNION ALL ",
      false
    )(
      columns.map(
        ({ column, table }) =>
          sql`SELECT ${`${table}.${column}`} AS name, count(*) AS count FROM ${sql(table)} WHERE ${sql(column)} = ${user}`
      )
    )
    const rows = yield* sql<{ name: string; count: number }>`SELECT * FROM (${counts}) AS counts WHERE count > 0`
    return Object.fromEntries(rows.map(({ count, name }) => [name, count]))
  })

/** Another node, until the scope closes. */
const node = Layer.fresh(Erasure.layer)

/** Dates the request back, so that the erasure does not wait for nodes. */
const erase = (user: UserId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const erasure = yield* Erasure
    yield* erasure.request(user)
    yield* sql`UPDATE erasures SET requested_at = now() - interval '1 minute' WHERE user_id = ${user}`
    yield* erasure.awaitEnd(user)
  })

const retention = Retention.layer({ deleted: Duration.days(30) })

const until = <E, R>(isSo: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(isSo, { until: (is) => is, schedule: Schedule.spaced("50 millis") })

const isErasing = (user: UserId) => Effect.flatMap(Erasing, (erasing) => Effect.isFailure(erasing.refuse(user)))

layer(Database.layer, { excludeTestServices: true, timeout: "60 seconds" })("an erasure", (it) => {
  it.effect("deletes all rows of the user and no rows of others", () =>
    Effect.gen(function* () {
      const erasure = yield* Erasure
      const [user, other] = [yield* newUser, yield* newUser]
      yield* fill(user, 1100)
      yield* fill(other, 2)
      const before = yield* rowsOf(other)
      // Every table must have rows, otherwise the test would not check its deletion.
      const sql = yield* SqlClient.SqlClient
      const tables = yield* sql<{ name: string }>`
        SELECT class.relname AS name FROM pg_attribute AS attribute JOIN pg_class AS class ON class.oid = attribute.attrelid
        WHERE attribute.attname = 'user_id' AND class.relkind = 'r' AND class.relname <> 'erasures'
          AND class.relnamespace = current_schema()::regnamespace`
      assert.sameMembers(
        Object.keys(before),
        tables.map(({ name }) => `${name}.user_id`)
      )
      yield* erase(user)
      assert.deepStrictEqual(yield* rowsOf(user), {})
      assert.deepStrictEqual(yield* rowsOf(other), before)
      assert.strictEqual(yield* erasure.request(user), "done")
    }).pipe(Effect.provide(node))
  )

  it.effect("keeps today's usage until midnight under a hash", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const user = yield* newUser
      yield* fill(user, 1)
      const [hashed] = yield* sql<{ hash: string }>`SELECT encode(identity_hash(${user}), 'hex') AS hash`
      const kept = sql<{ days: number; tokens: number }>`
        SELECT count(*) AS days, sum(tokens)::bigint AS tokens FROM erased_usage
        WHERE encode(identity_hash, 'hex') = ${hashed?.hash}`
      yield* erase(user)
      assert.deepStrictEqual(yield* kept, [{ days: 1, tokens: 11 }])
      yield* fill(user, 1)
      yield* erase(user)
      assert.deepStrictEqual(yield* kept, [{ days: 1, tokens: 22 }])
      yield* sql`UPDATE erased_usage SET day = day - 1 WHERE encode(identity_hash, 'hex') = ${hashed?.hash}`
      yield* Effect.provide(
        until(Effect.map(kept, ([row]) => row?.days === 0)),
        Retention.layer({ deleted: Duration.days(30) })
      )
    }).pipe(Effect.provide(node))
  )

  it.effect("the database refuses new rows of the user during the erasure", () =>
    Effect.gen(function* () {
      const erasure = yield* Erasure
      const sql = yield* SqlClient.SqlClient
      const user = yield* newUser
      yield* fill(user, 1)
      assert.strictEqual(yield* erasure.request(user), "begun")
      assert.strictEqual(yield* erasure.request(user), "running")
      for (const row of [
        sql`INSERT INTO conversations (user_id) VALUES (${user})`,
        sql`INSERT INTO tasks (user_id, title) VALUES (${user}, 'Buy milk')`,
        sql`INSERT INTO idempotency_keys (user_id, scope, key, request_hash) VALUES (${user}, 'tasks', 'other', '')`
      ]) {
        assert.isTrue(yield* Effect.isFailure(row))
      }
      yield* erase(user)
      assert.deepStrictEqual(yield* rowsOf(user), {})
      // After the erasure the user is like any other.
      yield* sql`INSERT INTO conversations (user_id) VALUES (${user})`
    }).pipe(Effect.provide(node))
  )

  it.effect("waits for transactions that insert when the erasure is requested", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const user = yield* newUser
      yield* fill(user, 1)
      const [inserted, isAsked] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const inserting = sql`INSERT INTO tasks (user_id, title) VALUES (${user}, 'Buy milk')`.pipe(
        Effect.zipRight(Deferred.succeed(inserted, undefined)),
        Effect.zipRight(Deferred.await(isAsked)),
        sql.withTransaction
      )
      const asking = Effect.zipRight(Deferred.await(inserted), erase(user))
      yield* Effect.all([inserting, asking, Effect.delay(Deferred.succeed(isAsked, undefined), "200 millis")], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(yield* rowsOf(user), {})
    }).pipe(Effect.provide(node))
  )

  it.effect("first ends the user's turns on all nodes, and does not wait for a dead node", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      yield* fill(user, 1, "running")
      yield* erase(user)
      assert.deepStrictEqual(yield* rowsOf(user), {})
    }).pipe(Effect.provide(node))
  )

  it.effect("every node knows the erasure before its first step, and learns of its end", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      yield* fill(user, 1)
      const before = yield* rowsOf(user)
      const [one, other] = [yield* Layer.build(node), yield* Layer.build(node)]
      yield* Effect.provide(
        Effect.flatMap(Erasure, (erasure) => erasure.request(user)),
        one
      )
      assert.isTrue(yield* Effect.provide(isErasing(user), one))
      yield* until(Effect.provide(isErasing(user), other))
      assert.deepStrictEqual(yield* rowsOf(user), { ...before, "erasures.user_id": 1 })
      yield* until(Effect.map(Effect.provide(isErasing(user), one), (is) => !is))
      assert.deepStrictEqual(yield* rowsOf(user), {})
      yield* until(Effect.map(Effect.provide(isErasing(user), other), (is) => !is))
    }).pipe(Effect.scoped)
  )

  it.effect("the account gets a new id afterwards, on every node", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const mapped = Layer.fresh(Layer.provideMerge(Identities.layer, Erasure.layer))
      const nodes = [yield* Layer.build(mapped), yield* Layer.build(mapped)] as const
      const userOf = Effect.flatMap(Identities, ({ userOf }) => userOf({ issuer: "https://a.example", subject: "ada" }))
      const known = Effect.forEach(nodes, (node) => Effect.provide(userOf, node))
      const [before] = yield* known
      yield* sql`INSERT INTO tasks (user_id, title) VALUES (${before}, 'Buy milk')`
      yield* Effect.provide(erase(UserId.make(before ?? 0)), nodes[0])
      yield* until(Effect.map(known, (after) => after.every((user) => user !== before)))
      assert.lengthOf(new Set(yield* known), 1)
      assert.deepStrictEqual(yield* rowsOf(UserId.make(before ?? 0)), {})
    }).pipe(Effect.scoped, Effect.provide(Database.layer))
  )

  it.effect(
    "that is killed at any statement is continued by another node",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const isDone = (user: UserId) => Effect.map(rowsOf(user), (rows) => Object.keys(rows).length === 0)
        let wasKilled = true
        for (let last = 0; wasKilled; last++) {
          const user = yield* newUser
          yield* fill(user, 1)
          // Dated back, so that the erasure does not wait for nodes.
          yield* sql`INSERT INTO erasures (user_id, requested_at) VALUES (${user}, now() - interval '1 minute')`
          const killed = yield* Deferred.make<void>()
          wasKilled = yield* Layer.build(node).pipe(
            Effect.zipRight(
              Effect.raceFirst(Effect.as(Deferred.await(killed), true), Effect.as(until(isDone(user)), false))
            ),
            Effect.scoped,
            Effect.locally(Statement.currentTransformer, Option.some(killer(last, killed)))
          )
          // It was killed while looking for the next erasure.
          if (yield* isDone(user)) break
          yield* sql`UPDATE erasures SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL`
          yield* Effect.provide(
            Effect.flatMap(Erasure, (erasure) => erasure.awaitEnd(user)),
            node
          )
          assert.deepStrictEqual(yield* rowsOf(user), {}, `killed at statement ${last}`)
          if (last > 200) assert.fail("no erasure is that long")
        }
      }),
    120_000
  )
})

layer(Database.layer, { excludeTestServices: true, timeout: "60 seconds" })("retention", (it) => {
  const aged = Effect.fnUntraced(function* (table: string, column: string, days: number, users: ReadonlyArray<UserId>) {
    const sql = yield* SqlClient.SqlClient
    yield* sql`
      UPDATE ${sql(table)} SET ${sql(column)} = now() - ${`${days} days`}::interval WHERE ${sql.in("user_id", users)}`
  })

  it.effect("removes data that was deleted before DELETED_RETENTION, and nothing else", () =>
    Effect.gen(function* () {
      const [old, young, living] = [yield* newUser, yield* newUser, yield* newUser]
      for (const user of [old, young, living]) yield* fill(user, user === old ? 1100 : 2)
      const before = yield* Effect.forEach([young, living], rowsOf)
      for (const table of ["conversations", "tasks"]) {
        yield* aged(table, "deleted_at", 31, [old])
        yield* aged(table, "deleted_at", 29, [young])
      }
      const isRemoved = Effect.map(
        rowsOf(old),
        (rows) => rows["conversations.user_id"] === undefined && rows["tasks.user_id"] === undefined
      )
      yield* Effect.provide(until(isRemoved), retention)
      const left = yield* rowsOf(old)
      assert.deepStrictEqual(Object.keys(left).sort(), [
        "idempotency_keys.user_id",
        "identities.user_id",
        "usage_days.user_id",
        "usage_models.user_id",
        "user_totals.user_id"
      ])
      assert.deepStrictEqual(yield* Effect.forEach([young, living], rowsOf), before)
    })
  )

  it.effect("removes single deleted messages, and their turn is like a turn with a deleted answer", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const user = yield* newUser
      yield* fill(user, 3)
      yield* sql`
        UPDATE messages SET deleted_at = now() - interval '31 days' WHERE user_id = ${user} AND sequence_number = 2`
      const [turn] = yield* sql<{ id: string }>`
        UPDATE turns SET message_id = (
          SELECT id FROM messages m WHERE m.user_id = turns.user_id AND m.turn_id = turns.id AND m.sequence_number = 2
        )
        WHERE user_id = ${user} RETURNING id`
      const find = Effect.flatMap(Turns, (turns) => turns.find(user, TurnId.make(turn?.id ?? "")))
      const before = yield* find
      assert.deepStrictEqual([before.isDeleted, before.turn.messageId], [true, null])
      yield* Effect.provide(until(Effect.map(rowsOf(user), (rows) => rows["messages.user_id"] === 3)), retention)
      assert.deepStrictEqual(yield* find, { ...before, content: "", createdAt: null })
    }).pipe(Effect.provide(Turns.layer({ historyLimit: 20, maxRunningPerUser: 5, lease: Duration.seconds(15) })))
  )

  it.effect("removes conversations without recent messages, except those with a running turn", () =>
    Effect.gen(function* () {
      const [silent, lively, busy] = [yield* newUser, yield* newUser, yield* newUser]
      yield* fill(silent, 1100)
      yield* fill(lively, 2)
      yield* fill(busy, 1, "running")
      const before = yield* Effect.forEach([lively, busy], rowsOf)
      yield* aged("conversations", "updated_at", 8, [silent, busy])
      yield* aged("conversations", "updated_at", 6, [lively])
      yield* Effect.provide(
        until(Effect.map(rowsOf(silent), (rows) => rows["conversations.user_id"] === undefined)),
        Retention.layer({ conversations: Duration.days(7), deleted: Duration.days(30) })
      )
      assert.deepStrictEqual(yield* Effect.forEach([lively, busy], rowsOf), before)
      const left = yield* rowsOf(silent)
      assert.deepStrictEqual(
        [left["messages.user_id"], left["turns.user_id"], left["tasks.user_id"]],
        [undefined, undefined, 1100]
      )
    })
  )

  it.effect.runIf(Database.isRealPostgres)("is left to the node that is at it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const user = yield* newUser
      yield* fill(user, 1)
      yield* aged("tasks", "deleted_at", 31, [user])
      const before = yield* rowsOf(user)
      // Another node is within a step.
      const isAt = yield* Deferred.make<void>()
      yield* sql`SELECT pg_advisory_xact_lock(7303011021)`.pipe(
        Effect.zipRight(Deferred.succeed(isAt, undefined)),
        Effect.zipRight(Effect.never),
        sql.withTransaction,
        Effect.forkScoped
      )
      yield* Deferred.await(isAt)
      yield* Effect.provide(Effect.sleep("200 millis"), retention)
      assert.deepStrictEqual(yield* rowsOf(user), before)
    }).pipe(Effect.scoped)
  )
})

/** Lets a number of statements of an erasure run. The next one never completes. */
const killer = (last: number, killed: Deferred.Deferred<void>): Statement.Statement.Transformer => {
  let count = 0
  return (statement) => {
    const [text] = statement.compile()
    // Its looks and its waiting are between those.
    const isStep = /DELETE|advisory/.test(text)
    if (!isStep || count++ < last) return Effect.succeed(statement)
    return Effect.zipRight(Deferred.succeed(killed, undefined), Effect.never)
  }
}
