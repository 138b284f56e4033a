import { SqlClient, Statement } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, Context, Deferred, Duration, Effect, Either, Exit, Fiber, Layer, Schema } from "effect"
import { ConversationId, TurnId, UserId } from "../../../src/domain/Id.ts"
import type { ToolCall } from "../../../src/domain/ToolCall.ts"
import { TurnInProgress } from "../../../src/domain/Turn.ts"
import * as Metrics from "../../../src/http/Metrics.ts"
import { Turns } from "../../../src/services/turns/Turns.ts"
import type { BegunTurn, Outcome, TurnRequest, TurnsOptions } from "../../../src/services/turns/TurnTypes.ts"
import * as Database from "../../support/Database.ts"

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

/** Another node on the same database. */
const newNode = (options: Partial<TurnsOptions> = {}) =>
  Effect.map(
    Layer.build(Turns.layer({ historyLimit: 20, maxRunningPerUser: 5, lease: Duration.seconds(15), ...options })),
    Context.get(Turns)
  )
type Node = typeof Turns.Service

const requestOf = (user: UserId, fields: Partial<TurnRequest> = {}): TurnRequest => ({
  user,
  conversationId: null,
  message: "Buy milk",
  timeZone: "UTC",
  key: null,
  ...fields
})

const begin = (node: Node, user: UserId, fields: Partial<TurnRequest> = {}): Effect.Effect<BegunTurn> =>
  node.begin(requestOf(user, fields)).pipe(
    Effect.flatMap((begun) => ("history" in begun ? Effect.succeed(begun) : Effect.dieMessage("Not a new turn"))),
    Effect.orDie
  )

const outcome = (fields: Partial<Outcome> = {}): Outcome => ({
  status: "completed",
  content: "Done.",
  calls: [],
  places: [],
  usage: { inputTokens: 10, outputTokens: 3 },
  error: null,
  retryAfter: null,
  ...fields
})

const callNamed = (id: string): ToolCall => ({
  id,
  tool: "create_task",
  parameters: { title: id },
  result: { status: "success" },
  durationMs: 4
})

/** Runs a whole turn in a conversation. Default: a new conversation. */
const converse = (node: Node, user: UserId, conversationId: ConversationId | null = null, message = "Hello") =>
  Effect.tap(begin(node, user, { conversationId, message }), (turn) => node.end(turn, outcome()))

const lapse = (turn: BegunTurn) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`UPDATE turns SET lease_until = now() - interval '1 second'
      WHERE user_id = ${turn.user} AND id = ${turn.turnId} AND status = 'running'`
  ).pipe(Effect.orDie)

/** The value in `/metrics`. */
const lapsedSoFar = Effect.map(Metrics.text, (text) =>
  Number(/^taskchat_turns_lapsed_total (\d+)$/m.exec(text)?.[1] ?? 0)
)

const Rows = Schema.Array(
  Schema.Struct({ n: Schema.Int, role: Schema.String, content: Schema.String, status: Schema.String })
)

const messagesOf = (user: UserId, conversationId: ConversationId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql`SELECT sequence_number AS n, role, content, status FROM messages
      WHERE user_id = ${user} AND conversation_id = ${conversationId} ORDER BY n`
    return yield* Schema.decodeUnknown(Rows)(rows)
  }).pipe(Effect.orDie)

const count = (statement: Statement.Statement<unknown>) =>
  statement.pipe(
    Effect.flatMap(Schema.decodeUnknown(Schema.Tuple(Schema.Struct({ n: Schema.Int })))),
    Effect.map(([{ n }]) => n),
    Effect.orDie
  )

/** The statements that an effect sends. */
const statementsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const statements: Array<readonly [sql: string, params: ReadonlyArray<unknown>]> = []
    return Statement.withTransformer(effect, (statement) =>
      Effect.sync(() => {
        statements.push(statement.compile())
        return statement
      })
    ).pipe(Effect.map((result) => ({ result, statements })))
  })

/** The lines of the query plans. `isIndexed` disables sequential scans where an index is possible. */
const plansOf = (statements: ReadonlyArray<readonly [string, ReadonlyArray<unknown>]>, isIndexed: boolean) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    if (isIndexed) yield* sql`SET LOCAL enable_seqscan = off`
    const plans = yield* Effect.forEach(
      statements.filter(([text]) => !/^(BEGIN|COMMIT)/.test(text)),
      ([text, params]) => sql.unsafe<{ readonly "QUERY PLAN": string }>(`EXPLAIN ${text}`, params)
    )
    return plans.flatMap((rows) => rows.map((row) => row["QUERY PLAN"]))
  }).pipe((explain) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(explain)), Effect.orDie)

const at = { step: 1, position: 0, offset: 0 }

layer(Database.layer)("Turns", (it) => {
  it.scoped("a turn begins with one statement and ends with one", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const first = yield* statementsOf(begin(node, user, { message: "Buy milk and eggs" }))
      assert.lengthOf(first.statements, 1)
      assert.deepStrictEqual(first.result.history, [])
      const ended = yield* statementsOf(node.end(first.result, outcome({ content: "Bought." })))
      assert.lengthOf(ended.statements, 1)
      const { conversationId } = first.result
      const second = yield* statementsOf(begin(node, user, { conversationId, message: "Thanks" }))
      assert.lengthOf(second.statements, 1)
      assert.deepStrictEqual(
        second.result.history.map(({ content, role, sequenceNumber, turnStatus }) => [
          sequenceNumber,
          role,
          content,
          turnStatus
        ]),
        [
          [1, "user", "Buy milk and eggs", "completed"],
          [2, "assistant", "Bought.", "completed"]
        ]
      )
    })
  )

  it.scoped("an ended turn can be read with its end", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const turn = yield* begin(node, user)
      const calls = [callNamed("a"), callNamed("b")]
      const places = [
        { step: 1, offset: 0 },
        { step: 2, offset: 3 }
      ]
      const error = { code: "agent_busy", detail: "Busy." }
      const ended = yield* node.end(
        turn,
        outcome({ status: "failed", content: "One two", calls, places, error, retryAfter: 7 })
      )
      const found = yield* node.find(user, turn.turnId)
      assert.deepStrictEqual(found.calls, calls)
      assert.deepStrictEqual(found.places, places)
      assert.strictEqual(found.content, "One two")
      assert.strictEqual(found.retryAfter, 7)
      assert.deepStrictEqual(found.turn.error, error)
      assert.deepStrictEqual(found.turn.usage, { inputTokens: 10, outputTokens: 3 })
      assert.strictEqual(found.turn.status, "failed")
      assert.strictEqual(found.turn.messageId, ended.message?.id)
      assert.deepStrictEqual(found.createdAt, ended.message?.createdAt)
      assert.strictEqual((yield* Effect.flip(node.find(yield* newUser, turn.turnId)))._tag, "TurnNotFound")
    })
  )

  it.scoped("an incomplete turn leaves a message only if it has text or calls", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const first = yield* begin(node, user)
      const { conversationId } = first
      const silent = yield* node.end(first, outcome({ status: "timed_out", content: "" }))
      assert.isNull(silent.message)
      const done = yield* node.end(
        yield* begin(node, user, { conversationId }),
        outcome({ status: "failed", content: "", calls: [callNamed("a")], places: [{ step: 1, offset: 0 }] })
      )
      assert.isNotNull(done.message)
      assert.deepStrictEqual(
        (yield* messagesOf(user, conversationId)).map(({ n, role, status }) => [n, role, status]),
        [
          [1, "user", "completed"],
          [2, "user", "completed"],
          [3, "assistant", "failed"]
        ]
      )
    })
  )

  it.scoped("of many concurrent turns in one conversation one begins, and the others get its id", () =>
    Effect.gen(function* () {
      const nodes = [yield* newNode(), yield* newNode()]
      const user = yield* newUser
      const { conversationId } = yield* converse(Arr.unsafeGet(nodes, 0), user)
      const results = yield* Effect.forEach(
        Arr.range(1, 50),
        (n) => Effect.either(Arr.unsafeGet(nodes, n % 2).begin(requestOf(user, { conversationId }))),
        { concurrency: "unbounded" }
      )
      const begun = results.filter(Either.isRight).map(({ right }) => right.turnId)
      assert.lengthOf(begun, 1)
      for (const { left } of results.filter(Either.isLeft)) {
        assert.instanceOf(left, TurnInProgress)
        if (left instanceof TurnInProgress) assert.strictEqual(left.turnId, begun[0])
      }
      assert.lengthOf(yield* messagesOf(user, conversationId), 3)
    })
  )

  it.scoped(
    "sequence numbers have no gaps or repeats, and each turn sees all earlier messages, with concurrent turns",
    () =>
      Effect.gen(function* () {
        const nodes = [yield* newNode({ historyLimit: 1000 }), yield* newNode({ historyLimit: 1000 })]
        const user = yield* newUser
        const { conversationId } = yield* converse(Arr.unsafeGet(nodes, 0), user)
        const say = (worker: number, n: number): Effect.Effect<void> => {
          const node = Arr.unsafeGet(nodes, worker % 2)
          return node.begin(requestOf(user, { conversationId, message: `${worker}.${n}` })).pipe(
            Effect.flatMap((turn) => {
              if (!("history" in turn)) return Effect.dieMessage("Not a new turn")
              assert.deepStrictEqual(
                turn.history.map(({ sequenceNumber }) => sequenceNumber),
                turn.history.map((_, i) => i + 1)
              )
              const status = n % 3 === 0 ? ("cancelled" as const) : ("completed" as const)
              // A turn without output does not touch the conversation.
              return Effect.asVoid(node.end(turn, outcome({ status, content: n % 3 === 0 ? "" : `${turn.turnId}` })))
            }),
            Effect.catchTag("TurnInProgress", () => Effect.zipRight(Effect.yieldNow(), say(worker, n))),
            Effect.orDie
          )
        }
        yield* Effect.forEach(
          Arr.range(1, 8),
          (worker) => Effect.forEach(Arr.range(1, 6), (n) => say(worker, n), { discard: true }),
          { concurrency: "unbounded", discard: true }
        )
        const messages = yield* messagesOf(user, conversationId)
        assert.deepStrictEqual(
          messages.map(({ n }) => n),
          Arr.range(1, messages.length)
        )
        assert.strictEqual(messages.filter(({ role }) => role === "user").length, 1 + 48)
        assert.strictEqual(messages.filter(({ role }) => role === "assistant").length, 1 + 32)
        assert.strictEqual(new Set(messages.map(({ content }) => content)).size, messages.length)
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual(
          yield* count(sql`SELECT last_sequence_number AS n FROM conversations
          WHERE user_id = ${user} AND id = ${conversationId} AND message_count = last_sequence_number`),
          messages.length
        )
      }).pipe(Effect.timeout("25 seconds"))
  )

  it.scoped("a user has at most the allowed number of running turns, with concurrent requests", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const results = yield* Effect.forEach(Arr.range(1, 64), () => Effect.either(node.begin(requestOf(user))), {
        concurrency: "unbounded"
      })
      assert.lengthOf(results.filter(Either.isRight), 5)
      for (const { left } of results.filter(Either.isLeft)) assert.strictEqual(left._tag, "TooManyTurns")
      const sql = yield* SqlClient.SqlClient
      assert.strictEqual(yield* count(sql`SELECT count(*)::int AS n FROM conversations WHERE user_id = ${user}`), 5)
      yield* begin(node, yield* newUser)
      for (const { right } of results.filter(Either.isRight)) {
        if ("history" in right) yield* node.end(right, outcome())
      }
      yield* begin(node, user)
    })
  )

  it.scoped("the slots of a dead node are free when its leases have lapsed", () =>
    Effect.gen(function* () {
      const dead = yield* newNode()
      const node = yield* newNode()
      const user = yield* newUser
      const turns = yield* Effect.forEach(Arr.range(1, 5), () => begin(dead, user))
      assert.strictEqual((yield* Effect.flip(node.begin(requestOf(user))))._tag, "TooManyTurns")
      yield* Effect.forEach(turns, lapse)
      yield* begin(node, user)
      for (const { turnId } of turns) {
        assert.strictEqual((yield* node.find(user, turnId)).turn.status, "interrupted")
      }
    })
  )

  it.scoped("a missing, deleted or other user's conversation is refused, and nothing is stored", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const { conversationId } = yield* converse(node, user)
      const why = (of: UserId, conversationId: ConversationId) =>
        Effect.gen(function* () {
          const request = requestOf(of, { conversationId, key: { scope: "s", key: "k", hash: "h" } })
          const { _tag } = yield* Effect.flip(node.begin(request))
          assert.strictEqual((yield* Effect.flip(node.refusal(request)))._tag, _tag)
          return _tag
        })
      const stranger = yield* newUser
      assert.strictEqual(yield* why(stranger, conversationId), "ConversationForbidden")
      assert.strictEqual(yield* why(user, ConversationId.make(Number.MAX_SAFE_INTEGER)), "ConversationNotFound")
      yield* sql`UPDATE conversations SET deleted_at = now() WHERE user_id = ${user} AND id = ${conversationId}`
      assert.strictEqual(yield* why(user, conversationId), "ConversationNotFound")
      assert.strictEqual(yield* why(stranger, conversationId), "ConversationNotFound")
      assert.lengthOf(yield* messagesOf(user, conversationId), 2)
      assert.strictEqual(
        yield* count(sql`SELECT count(*)::int AS n FROM idempotency_keys WHERE user_id IN (${user}, ${stranger})`),
        0
      )
    })
  )

  it.scoped("a turn that begins while its conversation is being deleted waits for that, and is refused", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const { conversationId } = yield* converse(node, user)
      const begun = yield* Deferred.make<Fiber.Fiber<string>>()
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`UPDATE conversations SET deleted_at = now() WHERE user_id = ${user} AND id = ${conversationId}`
          // A separate connection, because a fiber inherits the transaction of its parent.
          yield* Deferred.succeed(
            begun,
            yield* Effect.forkDaemon(outside(why(node, requestOf(user, { conversationId }))))
          )
          yield* sql`SELECT pg_sleep(0.05)`
        })
      )
      assert.strictEqual(yield* Fiber.join(yield* Deferred.await(begun)), "ConversationNotFound")
      assert.lengthOf(yield* messagesOf(user, conversationId), 2)
    })
  )

  it.scoped("concurrent requests with the same key are one turn", () =>
    Effect.gen(function* () {
      const nodes = [yield* newNode(), yield* newNode(), yield* newNode()]
      const user = yield* newUser
      const { conversationId } = yield* converse(Arr.unsafeGet(nodes, 0), user)
      for (const request of [
        requestOf(user, { key: { scope: "chat", key: "new", hash: "h" } }),
        requestOf(user, { conversationId, key: { scope: "chat", key: "known", hash: "h" } })
      ]) {
        const results = yield* Effect.forEach(Arr.range(1, 50), (n) => Arr.unsafeGet(nodes, n % 3).begin(request), {
          concurrency: "unbounded"
        })
        assert.strictEqual(new Set(results.map(({ turnId }) => turnId)).size, 1)
        assert.lengthOf(
          results.filter((result) => "history" in result),
          1
        )
      }
      const sql = yield* SqlClient.SqlClient
      assert.strictEqual(yield* count(sql`SELECT count(*)::int AS n FROM messages WHERE user_id = ${user}`), 4)
    })
  )

  it.scoped("a key returns its turn also after its end, and before any refusal", () =>
    Effect.gen(function* () {
      const node = yield* newNode({ maxRunningPerUser: 1 })
      const user = yield* newUser
      const key = { scope: "chat", key: "k", hash: "h" }
      const turn = yield* begin(node, user, { key })
      const { conversationId, turnId } = turn
      yield* node.end(turn, outcome())
      assert.deepStrictEqual(yield* node.begin(requestOf(user, { key })), { turnId })
      // Another turn has the only slot.
      yield* begin(node, user, { conversationId })
      assert.deepStrictEqual(yield* node.begin(requestOf(user, { key })), { turnId })
      assert.deepStrictEqual(yield* node.begin(requestOf(user, { key, conversationId })), { turnId })
      assert.deepStrictEqual(yield* node.refusal(requestOf(user, { key, conversationId })), { turnId })
      const other = requestOf(user, { key: { ...key, hash: "other" } })
      assert.strictEqual((yield* Effect.flip(node.begin(other)))._tag, "IdempotencyKeyReused")
      assert.strictEqual((yield* Effect.flip(node.refusal(other)))._tag, "IdempotencyKeyReused")
    })
  )

  it.scoped("a key belongs to its user and endpoint", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const key = { scope: "chat", key: "k", hash: "h" }
      const turns = [
        yield* begin(node, user, { key }),
        yield* begin(node, yield* newUser, { key }),
        yield* begin(node, user, { key: { ...key, scope: "stream" } })
      ]
      assert.strictEqual(new Set(turns.map(({ turnId }) => turnId)).size, 3)
    })
  )

  it.scoped("a key expires after a day, deleted or not", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const age = (interval: string) =>
        sql`UPDATE idempotency_keys SET created_at = now() - ${interval}::interval WHERE user_id = ${user}`
      const key = { scope: "chat", key: "k", hash: "h" }
      const first = yield* begin(node, user, { key })
      yield* age("23 hours 59 minutes")
      yield* node.prune
      assert.deepStrictEqual(yield* node.begin(requestOf(user, { key })), { turnId: first.turnId })
      yield* age("24 hours 1 minute")
      const second = yield* begin(node, user, { key: { ...key, hash: "another" } })
      assert.notStrictEqual(second.turnId, first.turnId)
      yield* age("24 hours 1 minute")
      yield* node.prune
      assert.strictEqual(yield* count(sql`SELECT count(*)::int AS n FROM idempotency_keys WHERE user_id = ${user}`), 0)
    })
  )

  it.scoped("flushed rows that arrive after the end of a turn are deleted, but not those of a running turn", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const ending = yield* begin(node, user)
      const running = yield* begin(node, user)
      yield* node.end(ending, outcome({ content: "Done" }))
      for (const { turnId } of [ending, running])
        yield* sql`INSERT INTO turn_output (user_id, turn_id, part, text) VALUES (${user}, ${turnId}, 0, 'late')`
      yield* node.prune
      assert.deepStrictEqual(yield* sql`SELECT turn_id AS id FROM turn_output WHERE user_id = ${user}`, [
        { id: running.turnId }
      ])
    })
  )

  it.scoped("a sweep ends a turn with a lapsed lease as interrupted, with its stored output", () =>
    Effect.gen(function* () {
      const dead = yield* newNode()
      const node = yield* newNode()
      const user = yield* newUser
      const turn = yield* begin(dead, user)
      const { conversationId, turnId } = turn
      yield* dead.flush([{ user, turnId, from: 0, text: "One " }])
      yield* dead.record(turn, { ...at, offset: 4 }, Effect.succeed(callNamed("a")))
      yield* dead.flush([{ user, turnId, from: 4, text: "two " }])
      yield* dead.record(turn, { step: 2, position: 0, offset: 12 }, Effect.succeed(callNamed("b")))
      const ids = Effect.map(
        node.sweep,
        Arr.map(({ turnId }) => turnId)
      )
      assert.notInclude(yield* ids, turnId)
      const running = yield* node.find(user, turnId)
      assert.deepStrictEqual([running.turn.status, running.content], ["running", "One two "])
      assert.deepStrictEqual(
        running.places.map(({ offset }) => offset),
        [4, 12]
      )
      yield* lapse(turn)
      assert.include(yield* ids, turnId)
      const { calls, content, places, turn: ended } = yield* node.find(user, turnId)
      assert.deepStrictEqual(
        [ended.status, ended.error?.code, content],
        ["interrupted", "turn_interrupted", "One two "]
      )
      assert.deepStrictEqual(calls, [callNamed("a"), callNamed("b")])
      // The text before the second call was lost with the node.
      assert.deepStrictEqual(places, [
        { step: 1, offset: 4 },
        { step: 2, offset: 8 }
      ])
      assert.deepStrictEqual(
        (yield* messagesOf(user, conversationId)).map(({ n, status }) => [n, status]),
        [
          [1, "completed"],
          [2, "interrupted"]
        ]
      )
      const sql = yield* SqlClient.SqlClient
      assert.strictEqual(
        yield* count(sql`SELECT (SELECT count(*) FROM turn_output WHERE user_id = ${user})::int
          + (SELECT count(*) FROM tool_calls WHERE user_id = ${user})::int AS n`),
        0
      )
      assert.notInclude(yield* ids, turnId)
    })
  )

  it.scoped("a sweep ends any number of lapsed turns", () =>
    Effect.gen(function* () {
      const dead = yield* newNode()
      const node = yield* newNode()
      const turns = yield* Effect.forEach(Arr.range(1, 60), () => Effect.flatMap(newUser, (user) => begin(dead, user)))
      yield* Effect.forEach(turns, lapse)
      const before = yield* lapsedSoFar
      const swept = new Set((yield* node.sweep).map(({ turnId }) => turnId))
      assert.deepStrictEqual(
        turns.filter(({ turnId }) => !swept.has(turnId)),
        []
      )
      assert.isAtLeast((yield* lapsedSoFar) - before, turns.length)
    })
  )

  it.scoped("a message to a conversation with a lapsed turn ends that turn and begins a new one", () =>
    Effect.gen(function* () {
      const dead = yield* newNode()
      const node = yield* newNode()
      const user = yield* newUser
      const turn = yield* begin(dead, user)
      const { conversationId, turnId } = turn
      yield* dead.flush([{ user, turnId, from: 0, text: "One" }])
      assert.strictEqual((yield* Effect.flip(node.begin(requestOf(user, { conversationId }))))._tag, "TurnInProgress")
      yield* lapse(turn)
      const next = yield* begin(node, user, { conversationId })
      assert.deepStrictEqual(
        next.history.map(({ content, turnStatus }) => [content, turnStatus]),
        [
          ["Buy milk", "interrupted"],
          ["One", "interrupted"]
        ]
      )
    })
  )

  it.scoped("a node without the lease cannot write to the turn", () =>
    Effect.gen(function* () {
      const dead = yield* newNode()
      const node = yield* newNode()
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const turn = yield* begin(dead, user)
      const { conversationId, turnId } = turn
      yield* lapse(turn)
      yield* node.sweep
      const before = yield* messagesOf(user, conversationId)
      const change = sql`UPDATE conversations SET title = 'changed' WHERE user_id = ${user} AND id = ${conversationId}`
      const call = Effect.as(Effect.orDie(change), callNamed("late"))
      assert.strictEqual((yield* Effect.flip(dead.record(turn, at, call)))._tag, "TurnLost")
      assert.strictEqual(
        yield* count(sql`SELECT count(*)::int AS n FROM conversations WHERE user_id = ${user} AND title = 'changed'`),
        0
      )
      yield* dead.flush([{ user, turnId, from: 0, text: "late" }])
      assert.strictEqual((yield* Effect.flip(dead.end(turn, outcome({ content: "late" }))))._tag, "TurnLost")
      assert.deepStrictEqual(yield* dead.renew([turnId]), [])
      assert.deepStrictEqual(yield* messagesOf(user, conversationId), before)
      assert.strictEqual(yield* count(sql`SELECT count(*)::int AS n FROM turn_output WHERE user_id = ${user}`), 0)
      // A node cannot write to the running turn of another node either.
      const foreign = yield* begin(dead, user, { conversationId })
      assert.strictEqual((yield* Effect.flip(node.end(foreign, outcome())))._tag, "TurnLost")
      assert.strictEqual((yield* Effect.flip(node.record(foreign, at, call)))._tag, "TurnLost")
      yield* node.flush([{ user, turnId: foreign.turnId, from: 0, text: "late" }])
      assert.strictEqual((yield* node.find(user, foreign.turnId)).content, "")
      assert.deepStrictEqual(yield* node.renew([foreign.turnId]), [])
    })
  )

  it.scoped("a node renews only the leases of its own running turns", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const [kept, given] = [yield* begin(node, user), yield* begin(node, user)]
      yield* lapse(kept)
      yield* lapse(given)
      assert.deepStrictEqual(yield* node.renew([kept.turnId]), [
        { turnId: kept.turnId, isCancelled: false, isWatched: false }
      ])
      const swept = (yield* node.sweep).map(({ turnId }) => turnId)
      assert.include(swept, given.turnId)
      assert.notInclude(swept, kept.turnId)
    })
  )

  it.scoped("a renewal returns the cancelled turns and the turns with remote readers", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const other = yield* newNode()
      const user = yield* newUser
      const turns = [yield* begin(node, user), yield* begin(node, user), yield* begin(node, user)]
      const [cancelled, watched, plain] = turns.map(({ turnId }) => turnId)
      assert.strictEqual(yield* other.requestCancel(user, cancelled ?? none), "running")
      yield* other.watch(user, watched ?? none)
      const renewed = new Map((yield* node.renew(turns.map(({ turnId }) => turnId))).map((w) => [w.turnId, w]))
      assert.deepStrictEqual(renewed.get(cancelled ?? none)?.isCancelled, true)
      assert.deepStrictEqual(renewed.get(watched ?? none)?.isWatched, true)
      assert.deepStrictEqual(renewed.get(plain ?? none), {
        turnId: plain ?? none,
        isCancelled: false,
        isWatched: false
      })
    })
  )

  it.scoped("a turn with a cancel request ends as cancelled", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const other = yield* newNode()
      const user = yield* newUser
      for (const status of ["completed", "failed", "timed_out", "cancelled"] as const) {
        const turn = yield* begin(node, user)
        assert.strictEqual(yield* other.requestCancel(user, turn.turnId), "running")
        const error = { code: "agent_failed", detail: "It failed." }
        const ended = yield* node.end(turn, outcome({ status, content: "So far", error, retryAfter: 3 }))
        assert.strictEqual(ended.status, "cancelled")
        const found = yield* node.find(user, turn.turnId)
        assert.deepStrictEqual(
          [found.turn.status, found.turn.error?.code, found.content, found.retryAfter],
          ["cancelled", "turn_cancelled", "So far", null]
        )
        if (status !== "cancelled") {
          assert.deepStrictEqual([ended.error, ended.retryAfter], [found.turn.error, found.retryAfter])
        }
      }
      const silent = yield* begin(node, user)
      yield* other.requestCancel(user, silent.turnId)
      assert.isNull((yield* node.end(silent, outcome({ content: "" }))).message)
      const lost = yield* begin(node, user)
      yield* other.requestCancel(user, lost.turnId)
      yield* lapse(lost)
      yield* other.sweep
      assert.strictEqual((yield* node.find(user, lost.turnId)).turn.status, "cancelled")
    })
  )

  it.scoped("an ended turn is not cancelled, and another user's is not found", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const turn = yield* converse(node, user)
      assert.strictEqual(yield* node.requestCancel(user, turn.turnId), "completed")
      assert.strictEqual((yield* Effect.flip(node.requestCancel(yield* newUser, turn.turnId)))._tag, "TurnNotFound")
      assert.strictEqual((yield* Effect.flip(node.requestCancel(user, none)))._tag, "TurnNotFound")
      assert.strictEqual((yield* node.find(user, turn.turnId)).turn.status, "completed")
    })
  )

  it.scoped("a tool call that fails leaves neither effect nor record", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const turn = yield* begin(node, user)
      const change = sql`UPDATE conversations SET title = 'changed' WHERE user_id = ${user}`
      const exit = yield* Effect.exit(
        node.record(turn, at, Effect.zipRight(Effect.orDie(change), Effect.dieMessage("broken")))
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(
        yield* count(sql`SELECT count(*)::int AS n FROM conversations WHERE user_id = ${user} AND title = 'changed'`),
        0
      )
      assert.deepStrictEqual(yield* node.recorded(user, turn.turnId), { calls: [], places: [] })
    })
  )

  it.scoped("the first record of a tool call at a position wins, even if its confirmation was lost", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const turn = yield* begin(node, user)
      const titled = (title: string) =>
        Effect.as(
          Effect.orDie(sql`UPDATE conversations SET title = ${title} WHERE user_id = ${user}`),
          callNamed(title)
        )
      // As after a commit with a lost confirmation.
      const calls = yield* Effect.forEach(["a", "b", "c"], (title) => node.record(turn, at, titled(title)))
      assert.deepStrictEqual(calls, [callNamed("a"), callNamed("a"), callNamed("a")])
      assert.strictEqual(
        yield* count(sql`SELECT count(*)::int AS n FROM conversations WHERE user_id = ${user} AND title = 'a'`),
        1
      )
      assert.deepStrictEqual((yield* node.recorded(user, turn.turnId)).calls, [callNamed("a")])
    })
  )

  it.scoped("a lapsed turn that is ended and swept concurrently ends once, and the loser is told", () =>
    Effect.gen(function* () {
      const [node, other] = [yield* newNode(), yield* newNode()]
      const ends = yield* Effect.forEach(
        Arr.range(1, 20),
        () =>
          Effect.gen(function* () {
            const user = yield* newUser
            const turn = yield* begin(node, user)
            yield* node.record(turn, at, Effect.succeed(callNamed("a")))
            yield* lapse(turn)
            const [end] = yield* Effect.all(
              [
                Effect.either(node.end(turn, outcome({ calls: [callNamed("a")], places: [{ step: 1, offset: 0 }] }))),
                other.sweep,
                node.renew([turn.turnId]),
                Effect.either(other.begin(requestOf(user, { conversationId: turn.conversationId })))
              ],
              { concurrency: "unbounded" }
            )
            const found = yield* node.find(user, turn.turnId)
            assert.strictEqual(found.turn.status, Either.isRight(end) ? "completed" : "interrupted")
            assert.deepStrictEqual(found.calls, [callNamed("a")])
            const messages = yield* messagesOf(user, turn.conversationId)
            assert.strictEqual(messages.filter(({ role }) => role === "assistant").length, 1)
            return end
          }),
        { concurrency: 5 }
      )
      for (const end of ends.filter(Either.isLeft)) assert.strictEqual(end.left._tag, "TurnLost")
    })
  )

  // The embedded database has one session, so it cannot have two open transactions.
  it.scoped.skipIf(!Database.isRealPostgres)("a sweep during a tool call takes that call's effect back", () =>
    Effect.gen(function* () {
      const [dead, node] = [yield* newNode(), yield* newNode()]
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const turn = yield* begin(dead, user)
      yield* lapse(turn)
      const [changed, swept] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const call = sql`INSERT INTO tasks (user_id, title) VALUES (${user}, 'late')`.pipe(
        Effect.orDie,
        Effect.zipRight(Deferred.succeed(changed, undefined)),
        Effect.zipRight(Deferred.await(swept)),
        Effect.as(callNamed("late"))
      )
      const recording = yield* Effect.fork(Effect.flip(dead.record(turn, at, call)))
      yield* Deferred.await(changed)
      yield* node.sweep
      assert.strictEqual((yield* node.find(user, turn.turnId)).turn.status, "interrupted")
      yield* Deferred.succeed(swept, undefined)
      assert.strictEqual((yield* Fiber.join(recording))._tag, "TurnLost")
      assert.strictEqual(yield* count(sql`SELECT count(*)::int AS n FROM tasks WHERE user_id = ${user}`), 0)
      assert.deepStrictEqual((yield* node.find(user, turn.turnId)).calls, [])
    })
  )

  it.scoped.skipIf(!Database.isRealPostgres)("a sweep waits for a tool call that is committing, and keeps it", () =>
    Effect.gen(function* () {
      const [dead, node] = [yield* newNode(), yield* newNode()]
      const user = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const turn = yield* begin(dead, user)
      yield* lapse(turn)
      const [recorded, swept] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const recording = yield* dead
        .record(turn, at, Effect.succeed(callNamed("a")))
        .pipe(
          Effect.zipLeft(Deferred.succeed(recorded, undefined)),
          Effect.zipLeft(Deferred.await(swept)),
          sql.withTransaction,
          Effect.fork
        )
      yield* Deferred.await(recorded)
      yield* node.sweep
      assert.strictEqual((yield* node.find(user, turn.turnId)).turn.status, "running")
      yield* Deferred.succeed(swept, undefined)
      yield* Fiber.join(recording)
      yield* node.sweep
      const { calls, turn: ended } = yield* node.find(user, turn.turnId)
      assert.strictEqual(ended.status, "interrupted")
      assert.deepStrictEqual(calls, [callNamed("a")])
    })
  )

  it.scoped("a piece that was flushed twice is stored once, together with later text", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const { turnId } = yield* begin(node, user)
      yield* node.flush([{ user, turnId, from: 0, text: "One" }])
      // The confirmation of the first flush was lost.
      yield* node.flush([{ user, turnId, from: 0, text: "One two" }])
      yield* node.flush([{ user, turnId, from: 7, text: " three" }])
      assert.strictEqual((yield* node.find(user, turnId)).content, "One two three")
    })
  )

  it.scoped("an undo is recorded once, and only for an ended turn", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const user = yield* newUser
      const turn = yield* begin(node, user)
      let runs = 0
      const revert = Effect.sync(() => {
        runs++
        return []
      })
      assert.strictEqual((yield* Effect.flip(node.undo(user, turn.turnId, revert)))._tag, "TurnInProgress")
      yield* node.end(turn, outcome())
      assert.strictEqual(yield* Effect.flip(node.undo(user, turn.turnId, Effect.fail("conflict"))), "conflict")
      const all = yield* Effect.forEach(Arr.range(1, 10), () => node.undo(user, turn.turnId, revert), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(all, Arr.replicate([], 10))
      assert.strictEqual(runs, 1)
      assert.strictEqual((yield* Effect.flip(node.undo(yield* newUser, turn.turnId, revert)))._tag, "TurnNotFound")
    })
  )

  it.scoped("a turn costs the same in a conversation of 10 and of 20,000 messages", () =>
    Effect.gen(function* () {
      const node = yield* newNode()
      const sql = yield* SqlClient.SqlClient
      const conversationOf = (size: number) =>
        Effect.gen(function* () {
          const user = yield* newUser
          const { conversationId, turnId } = yield* converse(node, user)
          yield* sql`
            INSERT INTO messages (user_id, conversation_id, sequence_number, turn_id, role, content, status)
            SELECT ${user}, ${conversationId}, n, ${turnId}::uuid, 'user', 'filler', 'completed'
            FROM generate_series(3, ${size}::int) n`
          yield* sql`UPDATE conversations SET last_sequence_number = ${size}, message_count = ${size}
            WHERE user_id = ${user} AND id = ${conversationId}`
          return { user, conversationId }
        })
      const small = yield* conversationOf(10)
      const large = yield* conversationOf(20_000)
      yield* sql`ANALYZE`
      const cost = ({ conversationId, user }: typeof small) =>
        statementsOf(
          Effect.gen(function* () {
            const turn = yield* begin(node, user, { conversationId })
            assert.lengthOf(turn.history, Math.min(20, conversationId === small.conversationId ? 10 : 20))
            yield* node.flush([{ user, turnId: turn.turnId, from: 0, text: "One" }])
            yield* node.record(turn, at, Effect.succeed(callNamed("a")))
            yield* node.renew([turn.turnId])
            yield* node.end(turn, outcome())
            yield* node.find(user, turn.turnId)
          })
        )
      const [few, many] = [yield* cost(small), yield* cost(large)]
      assert.deepStrictEqual(
        few.statements.map(([text]) => text),
        many.statements.map(([text]) => text)
      )
      const plans = yield* plansOf(many.statements, false)
      assert.isNotEmpty(plans.filter((line) => /Index .* on messages/.test(line)))
      assert.deepStrictEqual(
        plans.filter((line) => /Seq Scan on messages/.test(line)),
        []
      )
      // The other tables are too small here for meaningful plans.
      assert.deepStrictEqual(
        (yield* plansOf(many.statements, true)).filter((line) => /Seq Scan on/.test(line)),
        []
      )
    })
  )
})

const none = TurnId.make("01970000-0000-7000-8000-000000000000")

/** Runs outside of the transaction of the fiber. */
const outside = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.mapInputContext(effect, (_: Context.Context<never>) => Context.empty())

const why = (node: Node, request: TurnRequest) =>
  Effect.flip(node.begin(request)).pipe(
    Effect.map(({ _tag }): string => _tag),
    Effect.orDie
  )
