import { type LanguageModel, type Prompt, Tool, Toolkit } from "@effect/ai"
import { SqlClient, SqlError } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import {
  Array as Arr,
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Ref,
  Schema,
  Stream,
  TestClock
} from "effect"
import { ApprovalClosed } from "../../../src/domain/Approval.ts"
import { ConversationId, type TurnId, UserId } from "../../../src/domain/Id.ts"
import { type Cursor, start } from "../../../src/domain/TurnEvent.ts"
import { Agent } from "../../../src/services/agent/Agent.ts"
import { Conversations } from "../../../src/services/Conversations.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import * as TaskTools from "../../../src/services/tasks/TaskTools.ts"
import { Chat, type ChatOptions, type Reading } from "../../../src/services/turns/Chat.ts"
import type { Positioned } from "../../../src/services/turns/TurnOutput.ts"
import { Turns } from "../../../src/services/turns/Turns.ts"
import type { TurnRequest } from "../../../src/services/turns/TurnTypes.ts"
import { Signals } from "../../../src/sql/Signals.ts"
import * as ScriptedModel from "../../../src/testing/ScriptedModel.ts"
import { call, delay, fail, faults, pause, silence, used } from "../../../src/testing/ScriptedModel.ts"
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

const lease = Duration.seconds(15)

interface NodeOptions extends Partial<ChatOptions> {
  /** Wraps `Turns` for the chat. */
  readonly turns?: (turns: typeof Turns.Service) => Partial<typeof Turns.Service>
  readonly agent?: Layer.Layer<Agent, never, Tasks | LanguageModel.LanguageModel>
  readonly signals?: typeof Signals.Service
}

const TurnsLayer = Turns.layer({ historyLimit: 20, maxRunningPerUser: 50, lease })

/** Another node on the same database, with its own model. It stops when the scope closes. */
const newNode = (script: ScriptedModel.Script, options: NodeOptions = {}) => {
  const { agent, signals, turns, ...others } = options
  const wrapped =
    turns === undefined
      ? TurnsLayer
      : Layer.effect(
          Turns,
          Effect.map(Turns, (inner) => Turns.of({ ...inner, ...turns(inner) }))
        ).pipe(Layer.provide(TurnsLayer))
  const built = Chat.layer({ timeout: Duration.seconds(30), maxRunning: 100, lease, ...others }).pipe(
    Layer.provide(agent ?? Agent.layer(TaskTools.TaskTools, { maxSteps: 8 }).pipe(Layer.provide(TaskTools.layer))),
    Layer.provideMerge(wrapped),
    Layer.provideMerge(Layer.merge(Tasks.layer, Conversations.layer)),
    Layer.provideMerge(ScriptedModel.layer(script)),
    signals === undefined ? (self) => self : Layer.provide(Layer.succeed(Signals, signals))
  )
  return Effect.map(Layer.build(built), (context) => ({
    chat: Context.get(context, Chat),
    turns: Context.get(context, Turns),
    tasks: Context.get(context, Tasks),
    conversations: Context.get(context, Conversations),
    model: Context.get(context, ScriptedModel.ScriptedModel)
  }))
}
type Node = Effect.Effect.Success<ReturnType<typeof newNode>>

/** The database works in real time, independent of the test clock. */
const moment = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 2)))

/** Waits until the condition holds, and optionally advances the test clock at each check. */
const until = <E, R>(isSo: Effect.Effect<boolean, E, R>, step?: Duration.DurationInput): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    for (let looks = 0; looks < 5000; looks++) {
      if (yield* isSo) return
      if (step !== undefined) yield* TestClock.adjust(step)
      yield* moment
    }
    assert.fail("It did not become so")
  })

/** Runs an effect while the test clock advances. */
const passing = <A, E, R>(effect: Effect.Effect<A, E, R>, step: Duration.DurationInput = "500 millis") =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* until(
      Effect.map(Fiber.poll(fiber), (exit) => exit._tag === "Some"),
      step
    )
    return yield* Fiber.join(fiber)
  })

/** Collects the events of a reader. */
const reader = (reading: Reading, cursor: Cursor = start) =>
  Effect.gen(function* () {
    const items: Array<Positioned> = []
    let silences = 0
    const fiber = yield* reading.output.events(cursor).pipe(
      Stream.runForEach((item) =>
        Effect.sync(() => {
          if ("_tag" in item) silences++
          else items.push(item)
        })
      ),
      Effect.fork
    )
    return {
      fiber,
      items,
      text: () => items.map(({ event }) => (event._tag === "Text" ? event.text : "")).join(""),
      tags: () => Arr.dedupeAdjacent(items.map(({ event }) => event._tag)),
      silences: () => silences
    }
  })

const isOver = ({ chat }: Node, user: UserId, turnId: TurnId) =>
  Effect.map(chat.find(user, turnId), ({ status }) => status !== "running")

const messagesOf = (user: UserId, conversationId: ConversationId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql`SELECT role, content, status FROM messages
      WHERE user_id = ${user} AND conversation_id = ${conversationId} ORDER BY sequence_number`
    return yield* Schema.decodeUnknown(
      Schema.Array(Schema.Struct({ role: Schema.String, content: Schema.String, status: Schema.String }))
    )(rows)
  }).pipe(Effect.map(Arr.map(({ content, role, status }) => `${role} ${status}: ${content}`)), Effect.orDie)

const lapse = (turnId: TurnId) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`UPDATE turns SET lease_until = now() - interval '1 second' WHERE id = ${turnId} AND status = 'running'`
  ).pipe(Effect.orDie)

const titlesOf = ({ tasks }: Node, user: UserId) =>
  Effect.map(tasks.list(user, {}), (page) => page.tasks.map(({ title }) => title).sort())

const away = Effect.die(
  new SqlError.SqlError({ message: "Failed", cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) })
)

/** Signals that are never delivered. */
const noSignals = Signals.of({ publish: () => Effect.void, changes: Stream.never })

/** A clock that never moves. */
const stoppedClock: Clock.Clock = {
  ...Clock.make(),
  ...{
    currentTimeMillis: Effect.succeed(0),
    currentTimeNanos: Effect.succeed(0n),
    sleep: () => Effect.never,
    unsafeCurrentTimeMillis: () => 0,
    unsafeCurrentTimeNanos: () => 0n
  }
}

const nowhere = ConversationId.make(Number.MAX_SAFE_INTEGER)

const Hold = Toolkit.make(
  Tool.make("hold", {
    parameters: { title: Schema.String },
    success: Schema.Struct({ status: Schema.Literal("success") }),
    dependencies: [TaskTools.ToolContext]
  })
)

/** An agent with a tool that changes something and then never ends. */
const holding = Agent.layer(Toolkit.merge(TaskTools.TaskTools, Hold), { maxSteps: 8 }).pipe(
  Layer.provide(TaskTools.layer),
  Layer.provide(
    Hold.toLayer(
      Effect.map(Tasks, (tasks) => ({
        hold: ({ title }: { readonly title: string }) =>
          TaskTools.ToolContext.pipe(
            Effect.flatMap(({ cause, user }) => tasks.create(user, { title }, cause)),
            Effect.zipRight(Effect.never)
          )
      }))
    )
  )
)

/** An agent that needs approval for all changes. */
const confirming = Agent.layer(TaskTools.TaskTools, { maxSteps: 8, confirm: "changes" }).pipe(
  Layer.provide(TaskTools.layer)
)

/** The calls and results of a message, with both their ids. */
const callsIn = (message: Prompt.Message) =>
  typeof message.content === "string"
    ? []
    : message.content.flatMap((part: Prompt.Part) =>
        part.type === "tool-call" || part.type === "tool-result"
          ? [{ type: part.type as string, id: part.id, providerCallId: part.options["taskchat"]?.["providerCallId"] }]
          : []
      )

const create = (title: string) => call("create_task", { title })

layer(Database.layer)("Chat", (it) => {
  it.scoped("an answer has its message, its tool calls and their results", () =>
    Effect.gen(function* () {
      const node = yield* newNode([
        ["Adding.", create("Milk"), used(10, 1)],
        ["Added.", used(20, 2)]
      ])
      const user = yield* newUser
      const { end, isReplay, message } = yield* node.chat.answer(requestOf(user))
      assert.isFalse(isReplay)
      assert.deepStrictEqual(
        [end.status, end.content, end.usage],
        ["completed", "Adding.\n\nAdded.", { inputTokens: 30, outputTokens: 3 }]
      )
      assert.deepStrictEqual(yield* titlesOf(node, user), ["Milk"])
      const turn = yield* node.chat.find(user, end.turnId)
      assert.deepStrictEqual([turn.status, turn.messageId, turn.usage], ["completed", message.id, end.usage])
      assert.deepStrictEqual(turn.toolCalls, end.toolCalls)
      assert.deepStrictEqual(yield* messagesOf(user, end.conversationId), [
        "user completed: Hello",
        "assistant completed: Adding.\n\nAdded."
      ])
    })
  )

  it.scoped("the next turn of a conversation gets the previous one as history", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode([create("Milk"), "Added.", "You said hello."])
      const user = yield* newUser
      const { end } = yield* chat.answer(requestOf(user))
      yield* chat.answer(requestOf(user, { conversationId: end.conversationId, message: "What did I say?" }))
      assert.deepStrictEqual(
        (yield* model.asked).at(-1)?.prompt.map(({ role }) => role),
        ["system", "user", "assistant", "tool", "assistant", "user"]
      )
    })
  )

  it.scoped("the provider's id of a call is kept for the next prompt, and never shown", () =>
    Effect.gen(function* () {
      const same = (title: string) => call("create_task", { title }, "call_same")
      const node = yield* newNode([same("Milk"), same("Bread"), "Added.", "You have two."])
      const user = yield* newUser
      const { end } = yield* node.chat.answer(requestOf(user))
      const ids = (end.toolCalls ?? []).map(({ id }) => id)
      assert.lengthOf(Arr.dedupe(ids), 2)
      assert.notInclude(JSON.stringify([end, yield* node.chat.find(user, end.turnId)]), "call_same")
      yield* node.chat.answer(requestOf(user, { conversationId: end.conversationId }))
      const parts = (yield* node.model.asked).at(-1)?.prompt.flatMap(callsIn) ?? []
      assert.deepStrictEqual(
        parts,
        ids.flatMap((id) => ["tool-call", "tool-result"].map((type) => ({ type, id, providerCallId: "call_same" })))
      )
    })
  )

  it.scoped("each piece of text is read before the next one is pulled from the model", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode([["a", pause, "b", pause, "c"]])
      const user = yield* newUser
      const reading = yield* chat.start(requestOf(user))
      const read = yield* reader(reading)
      for (const expected of ["a", "ab", "abc"]) {
        yield* until(Effect.sync(() => read.text() === expected))
        yield* model.resume
      }
      yield* Fiber.join(read.fiber)
      assert.deepStrictEqual(read.tags(), ["Text", "Ended"])
    })
  )

  it.scoped("the turn continues when its client disconnects", () =>
    Effect.gen(function* () {
      const node = yield* newNode([["One ", pause, create("Milk")], "two."])
      const user = yield* newUser
      const asking = yield* Effect.fork(node.chat.answer(requestOf(user)))
      yield* until(Effect.map(node.model.open, (open) => open === 1))
      yield* Fiber.interrupt(asking)
      yield* node.model.resume
      yield* until(Effect.map(node.chat.running, (running) => running === 0))
      const [asked] = yield* node.model.asked
      assert.isDefined(asked)
      assert.deepStrictEqual(yield* titlesOf(node, user), ["Milk"])
      assert.strictEqual(yield* node.model.interrupted, 0)
    })
  )

  it.scoped("a client that disconnects while its turn begins leaves no orphaned turn", () =>
    Effect.gen(function* () {
      const [entered, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const begun = yield* Ref.make<TurnId | undefined>(undefined)
      const node = yield* newNode(["Hi."], {
        turns: ({ begin }) => ({
          begin: (request) =>
            Deferred.succeed(entered, undefined).pipe(
              Effect.zipRight(begin(request)),
              Effect.tap(({ turnId }) => Ref.set(begun, turnId)),
              Effect.zipLeft(Deferred.await(gate))
            )
        })
      })
      const user = yield* newUser
      const asking = yield* Effect.fork(node.chat.answer(requestOf(user)))
      yield* Deferred.await(entered)
      yield* Fiber.interrupt(asking)
      yield* Deferred.succeed(gate, undefined)
      yield* until(Effect.map(Ref.get(begun), (id) => id !== undefined))
      const turnId = yield* Ref.get(begun)
      if (turnId !== undefined) {
        yield* until(isOver(node, user, turnId))
        assert.strictEqual((yield* node.chat.find(user, turnId)).status, "completed")
      }
    })
  )

  it.scoped("a turn that times out keeps its text and calls", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode([
        ["One.", create("Milk")],
        ["Tw", silence]
      ])
      const user = yield* newUser
      const asking = yield* Effect.fork(Effect.flip(chat.answer(requestOf(user))))
      yield* until(Effect.map(model.asked, (asked) => asked.length === 2))
      yield* TestClock.adjust("30 seconds")
      const problem = yield* Fiber.join(asking)
      assert.strictEqual(problem._tag, "TurnTimedOut")
      if (problem._tag !== "TurnTimedOut") return
      assert.match(problem.message, /30 seconds/)
      assert.deepStrictEqual(
        problem.toolCalls?.map(({ tool }) => tool),
        ["create_task"]
      )
      assert.strictEqual(yield* model.interrupted, 1)
      const { conversationId, error } = yield* chat.find(user, problem.turnId)
      assert.strictEqual(error?.code, "agent_timeout")
      assert.deepStrictEqual((yield* messagesOf(user, conversationId)).slice(1), ["assistant timed_out: One.\n\nTw"])
    })
  )

  it.scoped("a slow answer within the time limit completes", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode([["a", delay("29 seconds"), "b"]])
      const asking = yield* Effect.fork(chat.answer(requestOf(yield* newUser)))
      yield* until(Effect.map(model.open, (open) => open === 1))
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual((yield* Fiber.join(asking)).end.content, "ab")
    })
  )

  it.scoped("a failure of the agent fails the turn, with its code, Retry-After and the tool calls that ran", () =>
    Effect.gen(function* () {
      const { chat } = yield* newNode([create("Milk"), fail(faults.busy(7)), fail(faults.status(401))])
      const user = yield* newUser
      const problem = yield* Effect.flip(chat.answer(requestOf(user)))
      assert.deepInclude(problem, { _tag: "TurnFailed", code: "agent_busy", retryAfter: 7 })
      const again = yield* Effect.flip(chat.answer(requestOf(user)))
      assert.deepInclude(again, { _tag: "TurnFailed", code: "agent_misconfigured", toolCalls: null })
      if (problem._tag !== "TurnFailed") return
      assert.lengthOf(problem.toolCalls ?? [], 1)
      const stored = yield* chat.find(user, problem.turnId)
      assert.deepStrictEqual([stored.status, stored.error?.code], ["failed", "agent_busy"])
    })
  )

  it.scoped("a defect is not exposed, and the conversation stays usable", () =>
    Effect.gen(function* () {
      // The script has only one answer.
      const { chat } = yield* newNode(({ message }) =>
        message === "Hello" ? "Hi." : ScriptedModel.wait(Effect.dieMessage("a secret"))
      )
      const user = yield* newUser
      const { end } = yield* chat.answer(requestOf(user))
      const { conversationId } = end
      const problem = yield* Effect.flip(chat.answer(requestOf(user, { conversationId, message: "Break" })))
      assert.deepInclude(problem, { _tag: "TurnFailed", code: "internal_error" })
      assert.notInclude(JSON.stringify(problem), "secret")
      yield* chat.answer(requestOf(user, { conversationId }))
    })
  )

  it.scoped("a cancelled turn stops at once and keeps its text", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode([["So f", silence], "Next."])
      const user = yield* newUser
      const reading = yield* chat.start(requestOf(user))
      const { conversationId, turnId } = reading
      const read = yield* reader(reading)
      yield* until(Effect.sync(() => read.text() === "So f"))
      assert.isTrue(yield* chat.cancel(user, turnId))
      yield* Fiber.join(read.fiber)
      assert.strictEqual(yield* model.interrupted, 1)
      assert.isFalse(yield* chat.cancel(user, turnId))
      assert.strictEqual((yield* chat.find(user, turnId)).status, "cancelled")
      assert.strictEqual((yield* Effect.flip(chat.cancel(yield* newUser, turnId)))._tag, "TurnNotFound")
      yield* chat.answer(requestOf(user, { conversationId }))
      const prompt = (yield* model.asked).at(-1)?.prompt ?? []
      assert.match(ScriptedModel.textOf(prompt.at(-2)), /^So f\n\[The user stopped this answer/)
    })
  )

  it.scoped("another node can cancel a turn: at once with a signal, within a second without", () =>
    Effect.gen(function* () {
      const node = yield* newNode(() => ["So f", silence])
      const other = yield* newNode([])
      const deaf = yield* newNode(() => ["So f", silence], { signals: noSignals })
      const user = yield* newUser
      const answering = (of: Node) =>
        Effect.gen(function* () {
          const reading = yield* of.chat.start(requestOf(user))
          yield* until(Effect.map(of.model.open, (open) => open === 1))
          assert.isTrue(yield* other.chat.cancel(user, reading.turnId))
          return reading.output
        })
      assert.strictEqual((yield* (yield* answering(node)).awaitEnd).status, "cancelled")
      assert.strictEqual((yield* passing((yield* answering(deaf)).awaitEnd)).status, "cancelled")
    })
  )

  it.scoped("with a concurrent cancel and end, the answer to the cancel matches the turn", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode(() => ["All", pause])
      const outcomes = yield* Effect.forEach(Arr.range(1, 20), () =>
        Effect.gen(function* () {
          const user = yield* newUser
          const { output, turnId } = yield* chat.start(requestOf(user))
          yield* until(Effect.sync(() => output.text === "All"))
          const [, wasRunning] = yield* Effect.all([model.resume, chat.cancel(user, turnId)], {
            concurrency: "unbounded"
          })
          const end = yield* output.awaitEnd
          assert.strictEqual(end.status, wasRunning ? "cancelled" : "completed")
          assert.strictEqual((yield* chat.find(user, turnId)).status, end.status)
          assert.strictEqual(end.content, "All")
          return end.status
        })
      )
      assert.lengthOf(outcomes, 20)
    })
  )

  // The embedded database has one session, which a running tool call occupies.
  it.scoped.skipIf(!Database.isRealPostgres)("a turn that is cancelled within a tool call takes its effect back", () =>
    Effect.gen(function* () {
      const node = yield* newNode([[create("Kept"), call("hold", { title: "Lost" })], "never"], { agent: holding })
      const user = yield* newUser
      const reading = yield* node.chat.start(requestOf(user))
      const read = yield* reader(reading)
      yield* until(Effect.sync(() => read.items.filter(({ event }) => event._tag === "ToolCallStarted").length === 2))
      yield* moment
      assert.isTrue(yield* node.chat.cancel(user, reading.turnId))
      const end = yield* reading.output.awaitEnd
      assert.strictEqual(end.status, "cancelled")
      assert.deepStrictEqual(
        end.toolCalls?.map(({ tool }) => tool),
        ["create_task"]
      )
      assert.deepStrictEqual(yield* titlesOf(node, user), ["Kept"])
      // A reader that left during the call continues at the end.
      const last = read.items.filter(({ event }) => event._tag === "ToolCallStarted").at(-1)?.after
      yield* until(Effect.map(node.chat.running, (n) => n === 0))
      const later = yield* node.chat.read(user, reading.turnId)
      assert.isTrue(last !== undefined && later.output.hasReached(last))
    })
  )

  it.scoped("a draining node begins no turns, and gives running turns time to end", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode(({ message }) => (message === "quick" ? ["a", pause] : ["b", silence]))
      const user = yield* newUser
      const key = { scope: "chat", key: "k", hash: "h" }
      const quick = yield* chat.start(requestOf(user, { message: "quick", key }))
      const slow = yield* chat.start(requestOf(user))
      yield* until(Effect.map(model.open, (open) => open === 2))
      const draining = yield* Effect.fork(chat.drain(Duration.seconds(30)))
      yield* Effect.yieldNow()
      assert.isFalse(yield* chat.isAccepting)
      assert.strictEqual((yield* Effect.flip(chat.start(requestOf(user))))._tag, "Unavailable")
      assert.strictEqual((yield* chat.start(requestOf(user, { message: "quick", key }))).turnId, quick.turnId)
      const { conversationId } = slow
      assert.strictEqual((yield* Effect.flip(chat.start(requestOf(user, { conversationId }))))._tag, "TurnInProgress")
      yield* model.resume
      assert.strictEqual((yield* quick.output.awaitEnd).status, "completed")
      yield* until(
        Effect.map(Fiber.poll(draining), (exit) => exit._tag === "Some"),
        "2 seconds"
      )
      const end = yield* slow.output.awaitEnd
      assert.deepStrictEqual([end.status, end.content, end.error?.code], ["interrupted", "b", "turn_interrupted"])
      assert.strictEqual((yield* chat.find(user, slow.turnId)).status, "interrupted")
      assert.strictEqual(yield* model.interrupted, 1)
    })
  )

  it.scoped("a turn that begins while its node stops is ended", () =>
    Effect.gen(function* () {
      const [entered, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const node = yield* newNode(["never"], {
        turns: ({ begin }) => ({
          begin: (request) =>
            Effect.zipLeft(begin(request), Deferred.succeed(entered, undefined)).pipe(
              Effect.zipLeft(Deferred.await(gate))
            )
        })
      })
      const user = yield* newUser
      const asking = yield* Effect.fork(Effect.flip(node.chat.answer(requestOf(user))))
      yield* Deferred.await(entered)
      const draining = yield* Effect.fork(node.chat.drain(Duration.zero))
      yield* TestClock.adjust("1 millis")
      yield* moment
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(draining)
      const problem = yield* Fiber.join(asking)
      assert.strictEqual(problem._tag, "TurnInterrupted")
      if (problem._tag !== "TurnInterrupted") return
      assert.strictEqual((yield* node.chat.find(user, problem.turnId)).status, "interrupted")
      assert.deepStrictEqual(yield* node.model.asked, [])
    })
  )

  it.scoped("running turns end as interrupted when the layer closes", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const other = yield* newNode([])
      const { output, turnId } = yield* Effect.scoped(
        Effect.gen(function* () {
          const { chat } = yield* newNode([["So f", silence]])
          const reading = yield* chat.start(requestOf(user))
          yield* until(Effect.sync(() => reading.output.text === "So f"))
          return reading
        })
      )
      assert.strictEqual((yield* output.awaitEnd).status, "interrupted")
      assert.strictEqual((yield* other.chat.find(user, turnId)).status, "interrupted")
    })
  )

  it.scoped("the final write is retried until the database is back", () =>
    Effect.gen(function* () {
      let failures = 6
      const { chat } = yield* newNode(["Hi."], {
        turns: ({ end }) => ({ end: (turn, outcome) => (failures-- > 0 ? away : end(turn, outcome)) })
      })
      const user = yield* newUser
      const { end } = yield* passing(chat.answer(requestOf(user)))
      assert.strictEqual((yield* chat.find(user, end.turnId)).status, "completed")
      assert.strictEqual(failures, -1)
    })
  )

  it.scoped("a final write with a lost confirmation is not repeated", () =>
    Effect.gen(function* () {
      let failures = 1
      const { chat } = yield* newNode([create("Milk"), "Hi."], {
        turns: ({ end }) => ({
          end: (turn, outcome) => Effect.zipLeft(end(turn, outcome), failures-- > 0 ? away : Effect.void)
        })
      })
      const user = yield* newUser
      const { end, message } = yield* passing(chat.answer(requestOf(user)))
      const stored = yield* chat.find(user, end.turnId)
      assert.deepStrictEqual([end.content, stored.messageId], ["Hi.", message.id])
      assert.deepStrictEqual(stored.toolCalls, end.toolCalls)
      assert.lengthOf(yield* messagesOf(user, end.conversationId), 2)
    })
  )

  it.scoped("if the final write fails, readers are told and the lease lapses", () =>
    Effect.gen(function* () {
      const renewed: Array<TurnId> = []
      const node = yield* newNode(({ message }) => (message === "Hello" ? "Hi." : ["b", silence]), {
        turns: ({ end, renew }) => ({
          end: (turn, outcome) => (outcome.status === "completed" ? away : end(turn, outcome)),
          renew: (ids) =>
            Effect.zipRight(
              Effect.sync(() => renewed.push(...ids)),
              renew(ids)
            )
        })
      })
      const user = yield* newUser
      const busy = yield* node.chat.start(requestOf(user, { message: "busy" }))
      const problem = yield* passing(Effect.flip(node.chat.answer(requestOf(user))))
      assert.strictEqual(problem._tag, "Unavailable")
      if (problem._tag !== "Unavailable" || problem.turnId === undefined) return assert.fail("No turn is named")
      const { turnId } = problem
      assert.strictEqual((yield* node.chat.find(user, turnId)).status, "running")
      renewed.length = 0
      yield* until(
        Effect.sync(() => renewed.length > 2),
        "1 second"
      )
      assert.notInclude(renewed, turnId)
      assert.include(renewed, busy.turnId)
      yield* lapse(turnId)
      yield* until(isOver(node, user, turnId), "1 second")
      assert.strictEqual((yield* node.chat.find(user, turnId)).status, "interrupted")
    })
  )

  it.scoped("a turn ends as unavailable if the database is away", () =>
    Effect.gen(function* () {
      const { chat } = yield* newNode([create("Milk")], { turns: () => ({ record: () => away }) })
      const problem = yield* Effect.flip(chat.answer(requestOf(yield* newUser)))
      assert.strictEqual(problem._tag, "Unavailable")
    })
  )

  it.scoped("a turn ends after the flush in flight completes, so that no flushed rows remain", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const arrives = yield* Deferred.make<void>()
      const { chat, model } = yield* newNode([["So f", pause, "ar"]], {
        turns: (inner) => ({
          flush: (parts) =>
            parts.length === 0
              ? Effect.void
              : Effect.sync(() => void order.push("flush")).pipe(
                  Effect.zipRight(Deferred.await(arrives)),
                  Effect.zipRight(inner.flush(parts)),
                  Effect.zipRight(Effect.sync(() => void order.push("arrived")))
                ),
          end: (turn, outcome) =>
            Effect.zipRight(
              Effect.sync(() => void order.push("end")),
              inner.end(turn, outcome)
            )
        })
      })
      const reading = yield* chat.start(requestOf(yield* newUser))
      yield* until(
        Effect.sync(() => order.includes("flush")),
        "500 millis"
      )
      yield* model.resume
      for (let looks = 0; looks < 20; looks++) yield* moment
      assert.deepStrictEqual(order, ["flush"])
      yield* Deferred.succeed(arrives, undefined)
      assert.strictEqual((yield* reading.output.awaitEnd).status, "completed")
      assert.deepStrictEqual(order, ["flush", "arrived", "end"])
    })
  )

  it.scoped("a node continues to renew leases after the database was away", () =>
    Effect.gen(function* () {
      let looks = 0
      const { chat, model } = yield* newNode([["So f", pause]], {
        turns: ({ renew }) => ({
          renew: (ids) => {
            looks++
            return looks === 1 ? away : looks === 2 ? Effect.die("nonsense") : renew(ids)
          }
        })
      })
      const reading = yield* chat.start(requestOf(yield* newUser))
      yield* until(
        Effect.sync(() => looks > 3),
        "1 second"
      )
      yield* model.resume
      assert.strictEqual((yield* reading.output.awaitEnd).status, "completed")
    })
  )

  it.scoped("a node that lost the lease of a turn stops it, and its readers get the end", () =>
    Effect.gen(function* () {
      const node = yield* newNode([
        ["One.", create("Milk")],
        ["Tw", silence]
      ])
      const other = yield* newNode([])
      const user = yield* newUser
      const asking = yield* Effect.fork(Effect.flip(node.chat.answer(requestOf(user))))
      yield* until(Effect.map(node.model.asked, (asked) => asked.length === 2))
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql<{ readonly id: TurnId }>`SELECT id FROM turns WHERE user_id = ${user}`
      assert.isDefined(row)
      if (row === undefined) return
      yield* lapse(row.id)
      yield* other.turns.sweep
      const problem = yield* passing(Fiber.join(asking))
      assert.strictEqual(problem._tag, "TurnInterrupted")
      if (problem._tag !== "TurnInterrupted") return
      assert.lengthOf(problem.toolCalls ?? [], 1)
      assert.strictEqual(yield* node.model.interrupted, 1)
      assert.deepStrictEqual(yield* titlesOf(node, user), ["Milk"])
    })
  )

  it.scoped("a repeated key returns its turn, running or ended, and runs nothing", () =>
    Effect.gen(function* () {
      const node = yield* newNode([["a", pause, "b"], fail(faults.status(400))])
      const other = yield* newNode([])
      const user = yield* newUser
      const request = requestOf(user, { key: { scope: "chat", key: "k", hash: "h" } })
      const first = yield* node.chat.start(request)
      assert.isFalse(first.isReplay)
      for (const { chat } of [node, other]) {
        const problem = yield* Effect.flip(chat.answer(request))
        assert.deepInclude(problem, { _tag: "IdempotencyInProgress", turnId: first.turnId })
        const joined = yield* chat.start(request)
        assert.deepInclude(joined, { turnId: first.turnId, isReplay: true })
      }
      yield* node.model.resume
      const end = yield* first.output.awaitEnd
      yield* until(Effect.map(node.chat.running, (running) => running === 0))
      for (const { chat } of [node, other]) {
        const again = yield* chat.answer(request)
        assert.isTrue(again.isReplay)
        assert.deepStrictEqual(again.end, end)
        const read = yield* reader(yield* chat.start(request))
        yield* Fiber.join(read.fiber)
        assert.deepStrictEqual([read.text(), read.tags()], ["ab", ["Text", "Ended"]])
      }
      // The answer of a failed turn is also repeated.
      const failing = requestOf(user, { key: { scope: "chat", key: "k2", hash: "h" } })
      const failed = yield* Effect.flip(node.chat.answer(failing))
      const replayed = yield* Effect.flip(other.chat.answer(failing))
      assert.strictEqual(failed._tag, "TurnFailed")
      assert.deepStrictEqual({ ...replayed }, { ...failed, headers: { "idempotent-replayed": "true" } })
      assert.lengthOf(yield* node.model.asked, 2)
      assert.lengthOf(yield* other.model.asked, 0)
    })
  )

  it.scoped("a replay in a deleted conversation is conversation_not_found", () =>
    Effect.gen(function* () {
      const { chat, conversations } = yield* newNode(["Hi."])
      const user = yield* newUser
      const request = requestOf(user, { key: { scope: "chat", key: "k", hash: "h" } })
      const { end } = yield* chat.answer(request)
      yield* conversations.remove(user, end.conversationId)
      assert.strictEqual((yield* Effect.flip(chat.answer(request)))._tag, "ConversationNotFound")
      assert.strictEqual((yield* Effect.flip(chat.read(user, end.turnId)))._tag, "TurnNotFound")
    })
  )

  it.scoped("a turn with a deleted answer has no text, and can still be undone", () =>
    Effect.gen(function* () {
      const node = yield* newNode([["Adding.", create("Milk")], "Added."])
      const { chat, conversations } = node
      const user = yield* newUser
      const request = requestOf(user, { key: { scope: "chat", key: "k", hash: "h" } })
      const { end, message } = yield* chat.answer(request)
      yield* conversations.removeMessage(user, end.conversationId, message.id)
      const { messageId, status, toolCalls } = yield* chat.find(user, end.turnId)
      assert.deepStrictEqual([status, messageId, toolCalls], ["completed", null, null])
      assert.strictEqual((yield* Effect.flip(chat.read(user, end.turnId)))._tag, "MessageNotFound")
      assert.strictEqual((yield* Effect.flip(chat.start(request)))._tag, "MessageNotFound")
      assert.strictEqual((yield* Effect.flip(chat.answer(request)))._tag, "MessageNotFound")
      const [{ tool, toolCallId } = { tool: "", toolCallId: "" }] = yield* chat.undo(user, end.turnId)
      assert.deepStrictEqual([tool, toolCallId], ["create_task", end.toolCalls?.[0]?.id])
      assert.deepStrictEqual(yield* titlesOf(node, user), [])
    })
  )

  it.scoped("deleting a conversation cancels its running turn on any node", () =>
    Effect.gen(function* () {
      const node = yield* newNode([["Hm", silence]])
      const other = yield* newNode([])
      const user = yield* newUser
      const { conversationId, output } = yield* node.chat.start(requestOf(user))
      yield* node.model.untilAsked(1)
      yield* other.conversations.remove(user, conversationId)
      assert.strictEqual((yield* passing(output.awaitEnd)).status, "cancelled")
      assert.strictEqual(yield* node.model.interrupted, 1)
    })
  )

  for (const [how, clock, others] of [
    // The clock of the other node does not move: it reads only after a signal.
    ["with signals", stoppedClock, {}],
    ["without signals", undefined, { signals: noSignals }]
  ] as const) {
    it.scoped(`a turn can be read on another node, ${how}: in order, without gaps or repeats`, () =>
      Effect.gen(function* () {
        const node = yield* newNode(
          [
            ["One ", pause, "two", create("Milk")],
            [pause, "Done", pause]
          ],
          others
        )
        const other = yield* newNode([], others)
        const user = yield* newUser
        const here = yield* node.chat.start(requestOf(user))
        const { turnId } = here
        const opened = other.chat.read(user, turnId)
        const there = yield* clock === undefined ? opened : Effect.withClock(opened, clock)
        assert.isTrue(there.isElsewhere)
        const read = yield* reader(there)
        const again = yield* reader(yield* other.chat.read(user, turnId))
        for (const expected of ["One ", "One two", "One two\n\nDone"]) {
          yield* until(
            Effect.sync(() => read.text() === expected),
            "100 millis"
          )
          yield* node.model.resume
        }
        yield* until(
          Effect.sync(() => read.items.at(-1)?.event._tag === "Ended" && again.items.at(-1)?.event._tag === "Ended"),
          "100 millis"
        )
        for (const { tags, text } of [read, again]) {
          assert.strictEqual(text(), "One two\n\nDone")
          assert.deepStrictEqual(tags(), ["Text", "ToolCallStarted", "ToolCallEnded", "Text", "Ended"])
        }
        const local = yield* reader(here)
        yield* Fiber.join(local.fiber)
        assert.deepStrictEqual(
          read.items.filter(({ event }) => event._tag !== "Text"),
          local.items.filter(({ event }) => event._tag !== "Text")
        )
        // A reader can continue on the other node, in both directions.
        for (const [from, to] of [
          [local, there],
          [read, here]
        ] as const) {
          for (const { after, event } of from.items) {
            if (event._tag !== "Ended") assert.isTrue(to.output.hasReached(after))
          }
        }
      })
    )
  }

  it.scoped("a reader on another node gets the end when the turn's node has died", () =>
    Effect.gen(function* () {
      const other = yield* newNode([])
      const user = yield* newUser
      const dead = yield* newNode([])
      const begun = yield* dead.turns.begin(requestOf(user))
      yield* dead.turns.flush([{ user, turnId: begun.turnId, from: 0, text: "So f" }])
      const reading = yield* other.chat.read(user, begun.turnId)
      const read = yield* reader(reading)
      // It read more text on the dead node than was flushed.
      const ahead = yield* reader(reading, { calls: 0, begun: false, text: 6 })
      yield* until(Effect.sync(() => read.text() === "So f"))
      yield* lapse(begun.turnId)
      yield* passing(Effect.all([Fiber.join(read.fiber), Fiber.join(ahead.fiber)]))
      assert.deepStrictEqual([read.tags(), ahead.tags()], [["Text", "Ended"], ["Ended"]])
      assert.strictEqual((yield* reading.output.awaitEnd).status, "interrupted")
    })
  )

  it.scoped("a reader on another node gets the end when the conversation is deleted", () =>
    Effect.gen(function* () {
      const dead = yield* newNode([])
      const other = yield* newNode([])
      const user = yield* newUser
      const begun = yield* dead.turns.begin(requestOf(user))
      const reading = yield* other.chat.read(user, begun.turnId)
      yield* other.conversations.remove(user, reading.conversationId)
      assert.strictEqual((yield* passing(reading.output.awaitEnd)).status, "cancelled")
    })
  )

  it.scoped("readers of other nodes' turns are released when their node has drained, and can continue", () =>
    Effect.gen(function* () {
      const node = yield* newNode([["So far", pause, " so good"]])
      const [leaving, other] = [yield* newNode([]), yield* newNode([])]
      const user = yield* newUser
      const { turnId } = yield* node.chat.start(requestOf(user))
      const read = yield* reader(yield* leaving.chat.read(user, turnId))
      yield* until(
        Effect.sync(() => read.text() === "So far"),
        "100 millis"
      )
      yield* leaving.chat.drain(Duration.zero)
      yield* Fiber.join(read.fiber)
      const late = yield* reader(yield* leaving.chat.read(user, turnId))
      yield* Fiber.join(late.fiber)
      assert.deepStrictEqual([read.tags(), late.tags()], [["Text"], ["Text"]])
      const there = yield* reader(yield* other.chat.read(user, turnId), read.items.at(-1)?.after)
      yield* node.model.resume
      yield* passing(Fiber.join(there.fiber))
      assert.deepStrictEqual([there.text(), there.tags()], [" so good", ["Text", "Ended"]])
    })
  )

  it.scoped("another user's turn is not found", () =>
    Effect.gen(function* () {
      const { chat } = yield* newNode([["a", silence]])
      const user = yield* newUser
      const stranger = yield* newUser
      const { turnId } = yield* chat.start(requestOf(user))
      const problems = [
        yield* Effect.flip(chat.read(stranger, turnId)),
        yield* Effect.flip(chat.find(stranger, turnId)),
        yield* Effect.flip(chat.cancel(stranger, turnId)),
        yield* Effect.flip(chat.undo(stranger, turnId))
      ]
      for (const { _tag } of problems) assert.strictEqual(_tag, "TurnNotFound")
    })
  )

  it.scoped("readers get keep-alives during silence, on every node", () =>
    Effect.gen(function* () {
      const node = yield* newNode([silence])
      const other = yield* newNode([])
      const user = yield* newUser
      const here = yield* node.chat.start(requestOf(user))
      const readers = [yield* reader(here), yield* reader(yield* other.chat.read(user, here.turnId))]
      yield* TestClock.adjust("14 seconds")
      yield* until(Effect.sync(() => readers.every(({ silences }) => silences() === 1)))
    })
  )

  it.scoped("a full node refuses new turns, but not repeated requests", () =>
    Effect.gen(function* () {
      const { chat, model } = yield* newNode(() => ["a", pause], { maxRunning: 3 })
      const user = yield* newUser
      const key = { scope: "chat", key: "k", hash: "h" }
      const results = yield* Effect.forEach(
        Arr.range(1, 20),
        (n) => Effect.exit(chat.start(requestOf(user, { key: n === 1 ? key : null }))),
        { concurrency: "unbounded" }
      )
      const begun = results.filter(Exit.isSuccess)
      assert.lengthOf(begun, 3)
      assert.strictEqual((yield* chat.start(requestOf(user, { key }))).isReplay, true)
      assert.strictEqual((yield* Effect.flip(chat.start(requestOf(user))))._tag, "Unavailable")
      yield* Effect.repeatN(model.resume, 2)
      yield* Effect.forEach(begun, ({ value }) => value.output.awaitEnd)
      yield* until(Effect.map(chat.running, (running) => running === 0))
      yield* model.resume
      yield* chat.answer(requestOf(user))
    })
  )

  it.scoped("refused requests do not count as running turns", () =>
    Effect.gen(function* () {
      const { chat } = yield* newNode(["Hi."], { maxRunning: 1 })
      const user = yield* newUser
      const { end } = yield* Effect.zipRight(
        Effect.forEach(Arr.range(1, 3), () => Effect.flip(chat.start(requestOf(user, { conversationId: nowhere })))),
        chat.answer(requestOf(user))
      )
      assert.strictEqual(end.status, "completed")
    })
  )

  it.scoped("an undo reverts the changes of a turn once, and returns their calls", () =>
    Effect.gen(function* () {
      const node = yield* newNode([
        ["Adding.", create("Milk"), call("get_task", { task_id: 1 }), create("Bread")],
        create("Eggs"),
        "Done."
      ])
      const user = yield* newUser
      const { end } = yield* node.chat.answer(requestOf(user))
      const reverted = yield* node.chat.undo(user, end.turnId)
      assert.deepStrictEqual(
        reverted.map(({ tool, toolCallId }) => [tool, toolCallId]),
        [0, 2, 3].map((i) => ["create_task", end.toolCalls?.[i]?.id])
      )
      assert.deepStrictEqual(yield* titlesOf(node, user), [])
      assert.deepStrictEqual(yield* node.chat.undo(user, end.turnId), reverted)
    })
  )

  it.scoped("an undo with a conflict reverts nothing, and a running turn cannot be undone", () =>
    Effect.gen(function* () {
      const node = yield* newNode([[create("Milk"), create("Bread")], "Done.", ["a", silence]])
      const user = yield* newUser
      const { end } = yield* node.chat.answer(requestOf(user))
      const { tasks } = yield* node.tasks.list(user, { query: "Milk" })
      const milk = Arr.unsafeGet(tasks, 0)
      yield* node.tasks.setCompleted(user, [milk.id], true, { _tag: "Request", requestId: "r" })
      const conflict = yield* Effect.flip(node.chat.undo(user, end.turnId))
      assert.deepInclude(conflict, { _tag: "UndoConflict", tasks: [{ id: milk.id, title: "Milk" }] })
      assert.deepStrictEqual(yield* titlesOf(node, user), ["Bread", "Milk"])
      const running = yield* node.chat.start(requestOf(user))
      assert.strictEqual((yield* Effect.flip(node.chat.undo(user, running.turnId)))._tag, "TurnInProgress")
    })
  )

  it.scoped("of concurrent decisions on several nodes one takes effect, and the approved calls run once", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 2; round++) {
        const node = yield* newNode([create("Once")], { agent: confirming })
        const nodes = [node, yield* newNode([], { agent: confirming }), yield* newNode([], { agent: confirming })]
        const user = yield* newUser
        const { end } = yield* node.chat.answer(requestOf(user))
        assert.lengthOf(end.awaiting ?? [], 1)
        const decisions = Arr.makeBy(12, (i) => {
          const { chat } = nodes[i % 3] ?? node
          const decision = i % 4 === 3 ? ("declined" as const) : ("approved" as const)
          return Effect.exit(chat.decide({ user, decides: end.turnId, decision, key: null }))
        })
        const exits = yield* Effect.all(decisions, { concurrency: "unbounded" })
        assert.lengthOf(exits.filter(Exit.isSuccess), 1)
        for (const exit of exits.filter(Exit.isFailure)) {
          assert.strictEqual(Cause.squash(exit.cause) instanceof ApprovalClosed, true)
        }
        const isApproved = exits.findIndex(Exit.isSuccess) % 4 !== 3
        assert.deepStrictEqual(yield* titlesOf(node, user), isApproved ? ["Once"] : [])
      }
    })
  )

  it.scoped("if the approved calls cannot complete, nothing has changed and they still wait", () =>
    Effect.gen(function* () {
      const node = yield* newNode([[create("Milk"), create("Bread")], "Done."], { agent: confirming })
      const { chat } = yield* newNode([], {
        agent: Layer.map(confirming, (context) => {
          const agent = Context.get(context, Agent)
          const runHeld: NonNullable<typeof agent.runHeld> = (turn, calls) =>
            Effect.zipRight(agent.runHeld?.(turn, calls) ?? Effect.void, away)
          return Context.make(Agent, { ...agent, runHeld })
        })
      })
      const user = yield* newUser
      const { end } = yield* node.chat.answer(requestOf(user))
      const approval = { user, decides: end.turnId, decision: "approved", key: null } as const
      assert.isTrue(Exit.isFailure(yield* Effect.exit(chat.decide(approval))))
      assert.deepStrictEqual(yield* titlesOf(node, user), [])
      assert.lengthOf(yield* messagesOf(user, end.conversationId), 2)
      const { end: approved } = yield* node.chat.answerDecision(approval)
      assert.lengthOf(approved.toolCalls ?? [], 2)
      assert.deepStrictEqual(yield* titlesOf(node, user), ["Bread", "Milk"])
    })
  )

  it.scoped("if a node dies after an approval, its changes stay and the approval is used up", () =>
    Effect.gen(function* () {
      const node = yield* newNode([create("Milk"), silence], { agent: confirming })
      const other = yield* newNode([])
      const user = yield* newUser
      const { end } = yield* node.chat.answer(requestOf(user))
      const approval = { user, decides: end.turnId, decision: "approved", key: null } as const
      const { turnId } = yield* node.chat.decide(approval)
      yield* lapse(turnId)
      yield* other.turns.sweep
      const turn = yield* other.chat.find(user, turnId)
      assert.deepStrictEqual(
        [turn.status, turn.toolCalls?.map(({ id }) => id)],
        ["interrupted", end.awaiting?.map(({ id }) => id)]
      )
      assert.strictEqual((yield* Effect.flip(other.chat.decide(approval)))._tag, "ApprovalClosed")
      yield* other.chat.undo(user, turnId)
      assert.deepStrictEqual(yield* titlesOf(other, user), [])
    })
  )
})
