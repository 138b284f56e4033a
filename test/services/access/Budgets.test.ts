import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, Context, Deferred, Duration, Effect, Either, Layer, Option, Schema, TestClock } from "effect"
import { type TurnId, UserId } from "../../../src/domain/Id.ts"
import type { AnyProblem } from "../../../src/domain/Problem.ts"
import { BudgetExhausted, Usage } from "../../../src/domain/Turn.ts"
import { type Budget, Budgets } from "../../../src/services/access/Budgets.ts"
import { Agent } from "../../../src/services/agent/Agent.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import * as TaskTools from "../../../src/services/tasks/TaskTools.ts"
import { Chat } from "../../../src/services/turns/Chat.ts"
import { Turns } from "../../../src/services/turns/Turns.ts"
import type { IdempotencyKey, TurnRequest } from "../../../src/services/turns/TurnTypes.ts"
import * as ScriptedModel from "../../../src/testing/ScriptedModel.ts"
import { call, cut, fail, faults, silence, unreported, used, wait } from "../../../src/testing/ScriptedModel.ts"
import * as Database from "../../support/Database.ts"

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

const requestOf = (user: UserId, fields: Partial<TurnRequest> = {}): TurnRequest => ({
  user,
  conversationId: null,
  message: "Hello",
  timeZone: "UTC",
  key: null,
  ...fields
})

const keyed = (key: string): IdempotencyKey => ({ scope: "chat", key, hash: "same" })

const lease = Duration.seconds(15)

/** Another node on the same database, with its own model and budget. */
const newNode = (
  script: ScriptedModel.Script,
  budget: Layer.Layer<never, never, SqlClient.SqlClient> = Budgets.layer({ tokensPerDay: 1000 })
) =>
  Effect.map(
    Layer.build(
      Chat.layer({ timeout: Duration.seconds(30), maxRunning: 200, lease }).pipe(
        Layer.provide(
          Agent.layer(TaskTools.TaskTools, { maxSteps: 8, instructions: "Help.", maxOutputTokens: 100 }).pipe(
            Layer.provide(TaskTools.layer)
          )
        ),
        Layer.provideMerge(Turns.layer({ historyLimit: 20, maxRunningPerUser: 40, lease })),
        Layer.provideMerge(budget),
        Layer.provideMerge(Tasks.layer),
        Layer.provideMerge(ScriptedModel.layer(script))
      )
    ),
    (context) => ({
      chat: Context.get(context, Chat),
      turns: Context.get(context, Turns),
      model: Context.get(context, ScriptedModel.ScriptedModel),
      budget: Option.getOrUndefined(Context.get(context, Budgets))
    })
  )
type Node = Effect.Effect.Success<ReturnType<typeof newNode>>

const ended = ({ chat }: Node, request: TurnRequest) =>
  Effect.scoped(Effect.flatMap(chat.start(request), ({ output }) => output.awaitEnd))

const toldOf = ({ _tag: tag, detail, retryAfter }: AnyProblem) => ({ tag, retryAfter, detail })

const lapseAll = Effect.orDie(
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`UPDATE turns SET lease_until = now() - interval '1 second' WHERE status = 'running'`
  )
)

const Day = Schema.Struct({ spent: Schema.Int, estimated: Schema.Int, reserved: Schema.Int, turns: Schema.Int })

/** The sum of all the user's days. */
const dayOf = (user: UserId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql`
      SELECT coalesce(sum(input_tokens + output_tokens + estimated_tokens), 0)::int AS spent,
        coalesce(sum(estimated_tokens), 0)::int AS estimated, coalesce(sum(reserved_tokens), 0)::int AS reserved,
        coalesce(sum(completed + failed + timed_out + cancelled + interrupted), 0)::int AS turns
      FROM usage_days WHERE user_id = ${user}`
    return (yield* Schema.decodeUnknown(Schema.Tuple(Day))(rows))[0]
  }).pipe(Effect.orDie)

const countOf = (user: UserId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql`SELECT
      (SELECT count(*)::int FROM conversations WHERE user_id = ${user}) AS conversations,
      (SELECT count(*)::int FROM messages WHERE user_id = ${user}) AS messages,
      (SELECT count(*)::int FROM turns WHERE user_id = ${user}) AS turns,
      (SELECT count(*)::int FROM idempotency_keys WHERE user_id = ${user}) AS keys`
    return row
  }).pipe(Effect.orDie)

const nothing = { conversations: 0, messages: 0, turns: 0, keys: 0 }

const reservedBy = (turnId: TurnId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql`SELECT reserved_tokens AS reserved FROM turns WHERE id = ${turnId}`
    return row?.["reserved"]
  }).pipe(Effect.orDie)

const midnight = Date.UTC(2026, 1, 1)

layer(Database.layer)("Budgets", (it) => {
  it.scoped(
    "a turn reserves an estimate or the rest of the budget, and the usage of its calls replaces the reservation",
    () =>
      Effect.gen(function* () {
        const [asked, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const hold = wait(Effect.zipRight(Deferred.succeed(asked, undefined), Deferred.await(gate)))
        const node = yield* newNode([
          [call("list_tasks"), used(300, 20)],
          [hold, "Done.", used(400, 30)]
        ])
        const user = yield* newUser
        const first = yield* node.turns.begin(requestOf(yield* newUser), undefined, () => 700)
        assert.strictEqual(yield* reservedBy(first.turnId), 700)
        const reading = yield* node.chat.start(requestOf(user))
        yield* Deferred.await(asked)
        assert.deepInclude(yield* dayOf(user), { spent: 0, reserved: 320 })
        const second = yield* node.turns.begin(requestOf(user), undefined, () => 4000)
        assert.strictEqual(yield* reservedBy(second.turnId), 680)
        assert.deepInclude(yield* dayOf(user), { spent: 0, reserved: 1000 })
        yield* Deferred.succeed(gate, undefined)
        assert.deepInclude(yield* reading.output.awaitEnd, {
          status: "completed",
          usage: { inputTokens: 700, outputTokens: 50 }
        })
        assert.deepInclude(yield* dayOf(user), { spent: 750, reserved: 680, turns: 1 })
      })
  )

  it.scoped("of many turns that begin concurrently on three nodes, only those within the budget begin", () =>
    Effect.gen(function* () {
      const nodes = yield* Effect.replicateEffect(newNode([]), 3)
      const user = yield* newUser
      const begun = yield* Effect.forEach(
        Arr.makeBy(30, (i) => nodes[i % 3]?.turns),
        (turns, i) =>
          Effect.either(
            turns?.begin(requestOf(user, { key: keyed(`${i}`) }), undefined, () => 400) ?? Effect.dieMessage("No node")
          ),
        { concurrency: "unbounded" }
      )
      const refused = Arr.getLefts(begun)
      assert.lengthOf(refused, 27)
      for (const refusal of refused) assert.strictEqual(refusal._tag, "BudgetExhausted")
      assert.deepInclude(yield* dayOf(user), { spent: 0, reserved: 1000 })
      assert.deepStrictEqual(yield* countOf(user), { conversations: 3, messages: 3, turns: 3, keys: 3 })
    })
  )

  it.scoped("a turn ends after the step that used up the budget, with the calls of that step, also on a repeat", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(midnight - 90_000)
      const node = yield* newNode([[call("create_task", { title: "Milk" }), call("list_tasks"), used(900, 101)]])
      const user = yield* newUser
      const request = requestOf(user, { key: keyed("once") })
      const problem = yield* Effect.flip(node.chat.answer(request))
      if (problem._tag !== "BudgetExhausted") return assert.fail(problem._tag)
      assert.strictEqual(problem.retryAfter, 90)
      assert.deepStrictEqual(
        problem.toolCalls?.map(({ result, tool }) => [tool, result.status]),
        [
          ["create_task", "success"],
          ["list_tasks", "success"]
        ]
      )
      const turn = yield* node.chat.find(user, problem.turnId ?? assert.fail("no turn"))
      assert.deepStrictEqual([turn.status, turn.error?.code], ["failed", "budget_exhausted"])
      assert.deepStrictEqual(turn.steps, [{ inputTokens: 900, outputTokens: 101 }])
      const again = yield* Effect.flip(node.chat.answer(request))
      assert.deepStrictEqual([again._tag, "turnId" in again && again.turnId], ["BudgetExhausted", turn.turnId])
      assert.deepInclude(yield* dayOf(user), { spent: 1001, reserved: 0, turns: 1 })
    })
  )

  it.scoped("an answer that uses up the budget is valid, and the next turn is refused until midnight", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(midnight - 1500)
      const node = yield* newNode([
        ["Well.", used(1, 2000)],
        ["Good morning.", used(5, 5)]
      ])
      const user = yield* newUser
      const { end } = yield* node.chat.answer(requestOf(user))
      const request = requestOf(user, { conversationId: end.conversationId, key: keyed("morning") })
      const before = yield* countOf(user)
      const refusal = yield* Effect.flip(node.chat.answer(request))
      assert.deepStrictEqual(toldOf(refusal), { tag: "BudgetExhausted", retryAfter: 2, detail: undefined })
      assert.deepStrictEqual(yield* countOf(user), before)
      yield* TestClock.setTime(midnight)
      const answer = yield* node.chat.answer(request)
      assert.deepStrictEqual([answer.isReplay, answer.end.content], [false, "Good morning."])
    })
  )

  it.scoped("the whole usage of a turn counts for the day on which it began", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(midnight - 1000)
      const [asked, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const hold = wait(Effect.zipRight(Deferred.succeed(asked, undefined), Deferred.await(gate)))
      const node = yield* newNode([
        [hold, call("list_tasks"), used(999, 1)],
        ["Hi.", used(5, 5)]
      ])
      const user = yield* newUser
      const reading = yield* node.chat.start(requestOf(user))
      yield* Deferred.await(asked)
      yield* TestClock.setTime(midnight + 1000)
      yield* Deferred.succeed(gate, undefined)
      // The turn began yesterday, whose budget is used up.
      assert.deepInclude(yield* reading.output.awaitEnd, { status: "failed", retryAfter: 1 })
      assert.strictEqual((yield* node.chat.answer(requestOf(user))).end.content, "Hi.")
    })
  )

  it.scoped("a killed turn counts its reported usage, or else its reservation", () =>
    Effect.gen(function* () {
      const [dead, alive] = [yield* newNode([silence, [call("list_tasks"), used(70, 7)], silence]), yield* newNode([])]
      const [first, second] = [yield* newUser, yield* newUser]
      yield* dead.chat.start(requestOf(first))
      yield* dead.model.untilAsked(1)
      const { reserved } = yield* dayOf(first)
      assert.isAbove(reserved, 100)
      const { turnId } = yield* dead.chat.start(requestOf(second))
      yield* dead.model.untilAsked(3)
      yield* lapseAll
      yield* alive.turns.sweep
      assert.deepStrictEqual(yield* dayOf(first), { spent: reserved, estimated: reserved, reserved: 0, turns: 1 })
      assert.deepStrictEqual(yield* dayOf(second), { spent: 77, estimated: 0, reserved: 0, turns: 1 })
      const turn = yield* alive.chat.find(second, turnId)
      assert.deepStrictEqual(
        [turn.status, turn.usage, turn.steps, turn.model],
        ["interrupted", ...[{ inputTokens: 70, outputTokens: 7 }, [{ inputTokens: 70, outputTokens: 7 }], "custom"]]
      )
    })
  )

  it.scoped("a call without usage counts as an estimate, and a refused call counts as nothing", () =>
    Effect.gen(function* () {
      const node = yield* newNode(
        [
          [call("list_tasks"), unreported],
          ["Done.", used(7, 1)],
          ["So", cut],
          fail(faults.status(400)),
          ["So", silence]
        ],
        Layer.empty
      )
      const user = yield* newUser
      const { end } = yield* node.chat.answer(requestOf(user))
      const estimated = end.usage.estimatedTokens ?? 0
      assert.isAbove(estimated, 100)
      assert.deepInclude(end.usage, { inputTokens: 7, outputTokens: 1 })
      const { steps } = yield* node.chat.find(user, end.turnId)
      assert.deepStrictEqual(steps, [
        { inputTokens: 0, outputTokens: 0, estimatedTokens: estimated },
        { inputTokens: 7, outputTokens: 1 }
      ])
      const unfinished = yield* ended(node, requestOf(user))
      assert.deepStrictEqual([unfinished.status, unfinished.usage.estimatedTokens], ["failed", estimated])
      const refused = yield* ended(node, requestOf(user))
      assert.deepStrictEqual([refused.status, refused.usage], ["failed", { inputTokens: 0, outputTokens: 0 }])
      const silent = yield* node.chat.start(requestOf(user))
      yield* node.model.untilAsked(5)
      yield* node.chat.cancel(user, silent.turnId)
      assert.deepInclude((yield* silent.output.awaitEnd).usage, { estimatedTokens: estimated })
      assert.deepInclude(yield* dayOf(user), { spent: 8 + 3 * estimated, estimated: 3 * estimated, turns: 4 })
    })
  )

  it.scoped("the usage of an erased user still counts", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(midnight)
      const sql = yield* SqlClient.SqlClient
      const node = yield* newNode([["Hi.", used(40, 2)]])
      const user = yield* newUser
      yield* sql`INSERT INTO erased_usage VALUES (identity_hash(${user}), '2026-02-01', 960)`
      assert.deepInclude(yield* node.budget?.allowance(user) ?? Effect.succeed({}), { remaining: 40 })
      yield* node.chat.answer(requestOf(user))
      const refusal = yield* Effect.flip(node.chat.answer(requestOf(user)))
      assert.strictEqual(refusal._tag, "BudgetExhausted")
    })
  )

  it.scoped("a replaced budget decides, and gets the cost of each turn, also of killed ones", () =>
    Effect.gen(function* () {
      const log: Array<readonly [string, UserId, Usage | number]> = []
      const rich = yield* newUser
      const note = (what: string, user: UserId, value: Usage | number) =>
        Effect.sync(() => void log.push([what, user, value]))
      const budget: Budget = {
        allowance: () => Effect.dieMessage("Not asked"),
        reserve: ({ user }, estimate) =>
          user === rich
            ? note("reserve", user, estimate)
            : new BudgetExhausted({ retryAfter: 7, detail: "Pay first." }),
        goOn: ({ user }, usage) =>
          usage.inputTokens > 50 ? new BudgetExhausted({ detail: "Pay more." }) : note("goOn", user, usage),
        settle: ({ user }, usage) => note("settle", user, usage)
      }
      const theirs = Layer.succeed(Budgets, Option.some(budget))
      const node = yield* newNode(
        [[call("list_tasks"), used(50, 1)], [call("list_tasks"), used(1, 1)], silence, "never"],
        theirs
      )
      const refusal = yield* Effect.flip(node.chat.answer(requestOf(yield* newUser)))
      assert.deepStrictEqual(toldOf(refusal), { tag: "BudgetExhausted", retryAfter: 7, detail: "Pay first." })
      assert.isEmpty(log)
      const problem = yield* Effect.flip(node.chat.answer(requestOf(rich)))
      assert.deepStrictEqual(toldOf(problem), { tag: "BudgetExhausted", retryAfter: undefined, detail: "Pay more." })
      assert.deepStrictEqual(log.shift()?.slice(0, 2), ["reserve", rich])
      assert.deepStrictEqual(log, [
        ["goOn", rich, { inputTokens: 50, outputTokens: 1 }],
        ["settle", rich, { inputTokens: 51, outputTokens: 2 }]
      ])
      yield* node.chat.start(requestOf(rich))
      yield* node.model.untilAsked(3)
      log.length = 0
      yield* lapseAll
      // A node sweeps when it starts.
      yield* newNode([], theirs)
      yield* Effect.repeat(tick, { until: () => log.length > 0 })
      assert.deepStrictEqual(log, [["settle", rich, { inputTokens: 0, outputTokens: 0 }]])
    })
  )

  it.scoped("a reservation is returned if the turn does not begin", () =>
    Effect.gen(function* () {
      const settled: Array<TurnId> = []
      const node = yield* newNode(
        [],
        Layer.succeed(
          Budgets,
          Option.some<Budget>({
            allowance: () => Effect.dieMessage("Not asked"),
            reserve: () => Effect.die("away"),
            goOn: () => Effect.void,
            settle: ({ turnId }) => Effect.sync(() => void settled.push(turnId))
          })
        )
      )
      const user = yield* newUser
      assert.isTrue((yield* Effect.exit(node.turns.begin(requestOf(user))))._tag === "Failure")
      assert.lengthOf(settled, 1)
      assert.deepStrictEqual(yield* countOf(user), nothing)
    })
  )

  it.scoped("200 turns on three nodes, some of them killed, count their usage and estimates", () =>
    Effect.gen(function* () {
      const limit = 3000
      const users = yield* Effect.replicateEffect(newUser, 5)
      const held = new Map<string, Deferred.Deferred<void>>()
      // A message lists the steps of its turn.
      const script = ({ message, results }: ScriptedModel.Asked): ScriptedModel.Answer => {
        const [name = "", ...steps] = message.split(" ")
        const step = steps[results.length] ?? ""
        const isHeld = held.get(name)
        if (step === "killed" && isHeld) return wait(Effect.zipRight(Deferred.succeed(isHeld, undefined), Effect.never))
        const cost = step === "unreported" ? unreported : used(Number(step), 10)
        return results.length < steps.length - 1 ? [call("list_tasks", { limit: 1 }), cost] : ["Done.", cost]
      }
      const nodes = yield* Effect.replicateEffect(newNode(script, Budgets.layer({ tokensPerDay: limit })), 3)
      const step = (n: number) => (n % 11 === 10 ? "killed" : n % 7 === 6 ? "unreported" : `${90 + (n % 5) * 20}`)
      const turns = Arr.makeBy(200, (n) => ({
        node: nodes[n % 3],
        user: users[n % 5],
        message: [`turn${n}`, ...Arr.makeBy(1 + (n % 4), (i) => step(n * 3 + i * 5))].join(" ")
      }))
      const ends = yield* Effect.forEach(
        turns,
        ({ message, node, user }) =>
          node === undefined || user === undefined
            ? Effect.dieMessage("No node")
            : Effect.gen(function* () {
                const isHeld = yield* Deferred.make<void>()
                held.set(message.split(" ")[0] ?? "", isHeld)
                const begun = yield* Effect.either(node.chat.start(requestOf(user, { message })))
                if (Either.isLeft(begun)) return Effect.succeed(begun.left._tag)
                const end = Effect.map(begun.right.output.awaitEnd, ({ error, status }) => error?.code ?? status)
                return Effect.race(end, Effect.as(Deferred.await(isHeld), "killed"))
              }),
        // More turns would wait too long for the few connections on a busy machine.
        { concurrency: 20 }
      )
      const isOver = yield* Effect.all(ends, { concurrency: "unbounded" })
      yield* lapseAll
      yield* nodes[0]?.turns.sweep ?? Effect.void
      const counts = Arr.groupBy(isOver, (end) => end)
      for (const end of ["completed", "killed", "budget_exhausted", "BudgetExhausted"]) {
        assert.isAbove(counts[end]?.length ?? 0, 0, end)
      }
      const sql = yield* SqlClient.SqlClient
      for (const user of users) {
        const rows = yield* Effect.flatMap(
          sql`SELECT input_tokens + output_tokens AS told, estimated_tokens AS estimated, step_usage AS steps
            FROM turns WHERE user_id = ${user}`,
          Schema.decodeUnknown(Schema.Array(TurnRow))
        )
        const told = Arr.reduce(rows, 0, (sum, row) => sum + row.told)
        const estimated = Arr.reduce(rows, 0, (sum, row) => sum + row.estimated)
        const lastSteps = Arr.reduce(rows, 0, (sum, { estimated, steps }) => {
          const last = steps?.at(-1)
          return (
            sum + (last === undefined ? estimated : last.inputTokens + last.outputTokens + (last.estimatedTokens ?? 0))
          )
        })
        const day = yield* dayOf(user)
        assert.deepStrictEqual(day, { spent: told + estimated, estimated, reserved: 0, turns: rows.length })
        assert.isBelow(day.spent, limit + lastSteps)
      }
    })
  )
})

const TurnRow = Schema.Struct({
  told: Schema.Int,
  estimated: Schema.Int,
  steps: Schema.NullOr(Schema.Array(Usage))
})

/** The database works in real time, independent of the test clock. */
const tick = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 2)))
