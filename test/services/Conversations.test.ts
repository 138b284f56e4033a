import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, Duration, Effect, Equal, Layer } from "effect"
import { Conversation, Message } from "../../src/domain/Conversation.ts"
import type { ConversationId, UserId } from "../../src/domain/Id.ts"
import { Conversations } from "../../src/services/Conversations.ts"
import { Turns } from "../../src/services/turns/Turns.ts"
import { ConversationSeeds, contracts } from "../../src/testing.ts"
import { newUser, seedConversation, seedConversations, seedMessages } from "../support/Conversations.ts"
import * as Database from "../support/Database.ts"

const turns = Turns.layer({ historyLimit: 20, maxRunningPerUser: 100, lease: Duration.minutes(1) })
const seeds = Layer.effect(
  ConversationSeeds,
  Effect.map(SqlClient.SqlClient, (sql) => {
    const provided = Effect.provideService(SqlClient.SqlClient, sql)
    return ConversationSeeds.of({
      conversations: (owner, times) => provided(seedConversations(owner, times)),
      messages: (owner, id, count) => provided(seedMessages(owner, id, count)),
      touch: (owner, id) =>
        Effect.orDie(sql`UPDATE conversations SET updated_at = now() WHERE user_id = ${owner} AND id = ${id}`)
    })
  })
)
const database = Layer.provideMerge(Layer.mergeAll(Conversations.layer, turns, seeds), Database.layer)

const numbers = (page: { readonly messages: ReadonlyArray<{ readonly sequenceNumber: number }> }) =>
  page.messages.map(({ sequenceNumber }) => sequenceNumber)

layer(database)("Conversations", (it) => {
  for (const { check, name } of contracts.conversations) it.effect(name, () => check)

  it.effect("a message has the calls and status of its turn", () =>
    Effect.gen(function* () {
      const conversations = yield* Conversations
      const turns = yield* Turns
      const owner = yield* newUser
      const begun = yield* begin(owner, null)
      const result = { status: "success" as const, task: { id: 7 } }
      const call = { id: "call_1", tool: "create_task", parameters: { title: "Milk" }, result, durationMs: 4 }
      yield* turns.end(begun, {
        status: "cancelled",
        content: "I've",
        calls: [call],
        places: [{ step: 0, offset: 0 }],
        usage: { inputTokens: 1, outputTokens: 1 },
        error: null,
        retryAfter: null
      })
      const { messages, total } = yield* conversations.messages(owner, begun.conversationId, {})
      assert.strictEqual(total, 2)
      assert.deepStrictEqual(
        messages.map(({ createdAt: _, id: __, ...message }) => message),
        [
          {
            sequenceNumber: 1,
            role: "user",
            content: "Hello",
            toolCalls: null,
            status: "completed",
            turnId: begun.turnId
          },
          {
            sequenceNumber: 2,
            role: "assistant",
            content: "I've",
            toolCalls: [call],
            status: "cancelled",
            turnId: begun.turnId
          }
        ]
      )
      const conversation = yield* conversations.get(owner, begun.conversationId)
      assert.deepStrictEqual(conversation.updatedAt, messages[1]?.createdAt)
    })
  )

  it.effect("rows are decoded to instances of their classes", () =>
    Effect.gen(function* () {
      const conversations = yield* Conversations
      const owner = yield* newUser
      const { conversationId } = yield* begin(owner, null)
      const { messages } = yield* conversations.messages(owner, conversationId, {})
      const listed = yield* conversations.list(owner, {})
      assert.deepStrictEqual(
        [...messages, ...listed.conversations],
        [...messages.map((it) => new Message(it)), ...listed.conversations.map((it) => new Conversation(it))]
      )
      assert.isTrue(Equal.equals(messages[0], messages[0] && new Message(messages[0])))
    })
  )

  it.effect("the total is right while messages are added and removed concurrently", () =>
    Effect.gen(function* () {
      const conversations = yield* Conversations
      const turns = yield* Turns
      const owner = yield* newUser
      const id = yield* seedConversation(owner)
      const say = Effect.gen(function* () {
        for (let n = 0; n < 10; n++) yield* turns.end(yield* begin(owner, id), answer)
      })
      yield* say
      const said = yield* conversations.messages(owner, id, {})
      yield* Effect.all(
        [
          say,
          Effect.forEach(said.messages, (message) => conversations.removeMessage(owner, id, message.id), {
            concurrency: 4
          })
        ],
        { concurrency: "unbounded" }
      )
      const page = yield* conversations.messages(owner, id, {})
      assert.deepStrictEqual(
        numbers(page),
        Arr.makeBy(20, (n) => 21 + n)
      )
      assert.strictEqual(page.total, 20)
    })
  )

  it.effect("the agent does not see a removed message", () =>
    Effect.gen(function* () {
      const conversations = yield* Conversations
      const owner = yield* newUser
      const turns = yield* Turns
      const { conversationId: id, ...first } = yield* begin(owner, null)
      yield* turns.end(first, answer)
      yield* turns.end(yield* begin(owner, id), answer)
      yield* conversations.removeMessage(owner, id, first.userMessageId)
      const { history } = yield* begin(owner, id)
      assert.deepStrictEqual(
        history.map(({ sequenceNumber }) => sequenceNumber),
        [2, 3, 4]
      )
    })
  )
})

const begin = (user: UserId, conversationId: ConversationId | null) =>
  Effect.gen(function* () {
    const turns = yield* Turns
    const begun = yield* turns.begin({ user, conversationId, message: "Hello", timeZone: "UTC", key: null })
    return "history" in begun ? begun : yield* Effect.dieMessage("There was no key")
  })

const answer = {
  status: "completed",
  content: "Hi",
  calls: [],
  places: [],
  usage: { inputTokens: 1, outputTokens: 1 },
  error: null,
  retryAfter: null
} as const
