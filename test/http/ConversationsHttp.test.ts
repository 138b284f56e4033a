import { HttpClient, HttpClientRequest, HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, DateTime, Effect, Layer, Redacted, Schema } from "effect"
import { ApiRateLimit, Authentication } from "../../src/api/Authentication.ts"
import * as Base from "../../src/api/Base.ts"
import { ConversationList, ConversationsApi, MessageList } from "../../src/api/ConversationsApi.ts"
import { Conversation } from "../../src/domain/Conversation.ts"
import { Cursor } from "../../src/domain/Cursor.ts"
import { MessageId, UserId } from "../../src/domain/Id.ts"
import { wire } from "../../src/domain/Problem.ts"
import { InvalidRequest } from "../../src/domain/Request.ts"
import * as ConversationsHttp from "../../src/http/ConversationsHttp.ts"
import * as Exchange from "../../src/http/Exchange.ts"
import * as HttpApiRoutes from "../../src/runtime/HttpApiRoutes.ts"
import { Conversations } from "../../src/services/Conversations.ts"
import { newUser, seedConversation, seedConversations, seedMessages } from "../support/Conversations.ts"
import * as Database from "../support/Database.ts"

/** The token is just the user's id, because authentication is tested elsewhere. */
const whoeverSaysSo = Layer.merge(
  Layer.succeed(Authentication, {
    bearer: (token) => Effect.succeed({ id: UserId.make(Number(Redacted.value(token))) })
  }),
  Layer.succeed(ApiRateLimit, Effect.void)
)

class ConversationsOnly extends Base.make("taskchat").add(ConversationsApi).addError(wire(InvalidRequest)) {}

const server = HttpApiRoutes.mount(ConversationsOnly).pipe(
  Layer.provide(ConversationsHttp.layer),
  Layer.provide([whoeverSaysSo, Exchange.middleware.layer]),
  (routes) => HttpLayerRouter.serve(routes, { disableListenLog: true, disableLogger: true }),
  Layer.provideMerge(Conversations.layer),
  Layer.provideMerge(Database.layer),
  Layer.provideMerge(NodeHttpServer.layerTest)
)

/** A request of the user. `path` is the part after `/conversations`. */
const send = (user: UserId, method: "GET" | "PATCH" | "DELETE", path: string, body?: unknown) =>
  HttpClientRequest.make(method)(`/api/${user}/conversations${path}`).pipe(
    HttpClientRequest.bearerToken(String(user)),
    body === undefined ? (request) => request : HttpClientRequest.bodyText(JSON.stringify(body), "application/json"),
    HttpClient.execute,
    Effect.flatMap((response) => Effect.map(response.text, (text) => ({ status: response.status, text })))
  )

const Refusal = Schema.parseJson(
  Schema.Struct({
    code: Schema.String,
    errors: Schema.optional(Schema.Array(Schema.Struct({ path: Schema.String })))
  })
)
const decodeRefusal = Schema.decodeSync(Refusal)
const Page = Schema.encodedSchema(ConversationList)
const decodePage = Schema.decodeSync(Schema.parseJson(Page))
const decodeMessages = Schema.decodeSync(Schema.parseJson(MessageList))
const decodeConversation = Schema.decodeSync(Schema.parseJson(Conversation))
const encodeMessages = Schema.encodeSync(MessageList)
const encodeTaskCursor = Schema.encodeSync(Cursor)

layer(server)("ConversationsHttp", (it) => {
  it.effect("cursors lead through all pages", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const ids = yield* seedConversations(
        user,
        [1, 2, 3, 3, 5].map((n) => DateTime.unsafeMake(n))
      )
      const pages: Array<typeof Page.Type> = []
      let query = "?limit=2&unknown=1"
      for (let cursor: string | null = ""; cursor !== null; query = `?limit=2&cursor=${cursor}`) {
        const { status, text } = yield* send(user, "GET", query)
        assert.strictEqual(status, 200)
        const page = decodePage(text)
        pages.push(page)
        cursor = page.next_cursor
      }
      const found = pages.flatMap(({ conversations }) => conversations)
      assert.deepStrictEqual(
        pages.map(({ conversations, total }) => [conversations.length, total]),
        [
          [2, 5],
          [2, 5],
          [1, 5]
        ]
      )
      assert.deepStrictEqual(
        found.map(({ id }) => id),
        Arr.reverse(ids)
      )
      assert.deepInclude(found[0], { title: "Seeded", updated_at: "1970-01-01T00:00:00.005Z" })
    })
  )

  it.effect("messages match their schema", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const conversations = yield* Conversations
      const id = yield* seedConversation(user)
      yield* seedMessages(user, id, 5)
      const { status, text } = yield* send(user, "GET", `/${id}/messages`)
      assert.strictEqual(status, 200)
      const page = yield* conversations.messages(user, id, {})
      assert.strictEqual(text, JSON.stringify(encodeMessages(page)))
      const numbers = (query: string) =>
        Effect.map(send(user, "GET", `/${id}/messages?${query}`), ({ text }) => {
          const { hasMore, messages } = decodeMessages(text)
          return [messages.map(({ sequenceNumber }) => sequenceNumber), hasMore]
        })
      assert.deepStrictEqual(yield* numbers("limit=2"), [[1, 2], true])
      assert.deepStrictEqual(yield* numbers("limit=2&after=2"), [[3, 4], true])
      assert.deepStrictEqual(yield* numbers("limit=2&before=4"), [[2, 3], true])
      assert.deepStrictEqual(yield* numbers("after=1&before=4"), [[2, 3], false])
      assert.deepStrictEqual(yield* numbers(`after=0&before=${Number.MAX_SAFE_INTEGER}`), [[1, 2, 3, 4, 5], false])
    })
  )

  it.effect("with include=parts, messages have text and tool calls in order", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const id = yield* seedConversation(user)
      const answers = [
        { content: "Let me see.\n\nDone. Anything else?", offsets: [13, 19, 19] },
        { content: "Done.", offsets: [0, 5] },
        // A call without a position, or with an invalid one, does not change the text.
        { content: "Done.", offsets: [] },
        { content: "Done.", offsets: [4, 2, 99] },
        { content: "", offsets: [0] }
      ]
      const ids = yield* seedMessages(user, id, 2 * answers.length)
      const sql = yield* SqlClient.SqlClient
      const calls = ["a", "b", "c"].map((id) => ({
        id,
        tool: "list_tasks",
        parameters: {},
        result: { status: "success" },
        duration_ms: 1
      }))
      for (const [i, { content, offsets }] of answers.entries()) {
        yield* sql`
          UPDATE messages SET content = ${content}, tool_calls = ${JSON.stringify(calls)}::json,
            tool_places = ${JSON.stringify(offsets.map((offset) => ({ step: 0, offset })))}::json
          WHERE user_id = ${user} AND id = ${ids[2 * i + 1]}`
      }
      const read = (query: string) =>
        Effect.map(send(user, "GET", `/${id}/messages${query}`), ({ text }) => decodeMessages(text).messages)
      const brief = yield* read("")
      const messages = yield* read("?include=parts")
      for (const { content, parts = [], toolCalls } of messages) {
        const texts = parts.map((part) => (part.type === "text" ? part.text : ""))
        assert.strictEqual(texts.join(""), content)
        const ids = parts.flatMap((part) => (part.type === "tool_call" ? [part.id] : []))
        assert.deepStrictEqual(ids, toolCalls === null ? [] : ["a", "b", "c"])
      }
      assert.deepStrictEqual(
        messages.map(({ parts = [] }) =>
          parts.map((part) => (part.type === "text" ? `“${part.text}”` : part.id)).join(" ")
        ),
        [
          "“1”",
          "“Let me see.\n\n” a “Done. ” b c “Anything else?”",
          "“3”",
          "a “Done.” b c",
          "“5”",
          "a b c “Done.”",
          "“7”",
          "“Done” a b “.” c",
          "“9”",
          "a b c"
        ]
      )
      assert.isTrue(brief.every((message) => !("parts" in message)))
      const refused = yield* send(user, "GET", `/${id}/messages?include=pieces`)
      assert.deepStrictEqual([refused.status, decodeRefusal(refused.text).errors?.[0]?.path], [400, "include"])
    })
  )

  it.effect("a conversation can be read, renamed, left without a title, and deleted", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const id = yield* seedConversation(user)
      const title = ({ status, text }: { readonly status: number; readonly text: string }) => [
        status,
        decodeConversation(text).title
      ]
      assert.deepStrictEqual(title(yield* send(user, "GET", `/${id}`)), [200, "Seeded"])
      assert.deepStrictEqual(title(yield* send(user, "PATCH", `/${id}`, { title: " e\u0301\u0000\n" })), [200, "é"])
      assert.deepStrictEqual(title(yield* send(user, "PATCH", `/${id}`, {})), [200, "é"])
      assert.deepStrictEqual(title(yield* send(user, "PATCH", `/${id}`, { title: null, id: 1 })), [200, null])
      assert.deepStrictEqual(yield* send(user, "DELETE", `/${id}`), { status: 204, text: "" })
      for (const method of ["GET", "DELETE"] as const) {
        const { status, text } = yield* send(user, method, `/${id}`)
        assert.deepStrictEqual([status, decodeRefusal(text).code], [404, "conversation_not_found"])
      }
    })
  )

  it.effect("a message is deleted once", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const id = yield* seedConversation(user)
      const [message = MessageId.make(1)] = yield* seedMessages(user, id, 2)
      assert.deepStrictEqual(yield* send(user, "DELETE", `/${id}/messages/${message}`), { status: 204, text: "" })
      const again = yield* send(user, "DELETE", `/${id}/messages/${message}`)
      assert.deepStrictEqual([again.status, decodeRefusal(again.text).code], [404, "message_not_found"])
      const left = decodeMessages((yield* send(user, "GET", `/${id}/messages`)).text)
      assert.deepStrictEqual([left.total, left.messages.length], [1, 1])
    })
  )

  it.effect("another user's conversation is not found", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const id = yield* seedConversation(yield* newUser)
      const answers = [
        yield* send(user, "GET", `/${id}`),
        yield* send(user, "PATCH", `/${id}`, { title: "Mine" }),
        yield* send(user, "DELETE", `/${id}`),
        yield* send(user, "GET", `/${id}/messages`),
        yield* send(user, "DELETE", `/${id}/messages/1`)
      ]
      assert.deepStrictEqual(
        answers.map(({ status, text }) => [status, decodeRefusal(text).code]),
        answers.map(() => [404, "conversation_not_found"])
      )
    })
  )

  const taskCursor = encodeTaskCursor({ time: DateTime.unsafeMake(1), id: 1 })
  const forged = (text: string) => Buffer.from(text).toString("base64url")
  const queries = [
    ...["0", "101", "1e1", "+1", "-1", "1.0", "0x1", "%201", "", "99999999999999999999", "1&limit=2"].map(
      (limit) => ["limit", `?limit=${limit}`] as const
    ),
    ...["", "x", "%00", taskCursor, forged("conversation.1"), forged(`conversation.${"9".repeat(15)}.1`)].map(
      (cursor) => ["cursor", `?cursor=${cursor}`] as const
    ),
    ...["0", "1001", "a"].map((limit) => ["limit", `/1/messages?limit=${limit}`] as const),
    ...["-1", "1.5", "9007199254740992", "NaN", ""].flatMap((n) => [
      ["before", `/1/messages?before=${n}`] as const,
      ["after", `/1/messages?after=${n}`] as const
    ]),
    ...["0", "-1", "9007199254740992", "9223372036854775808", "1".padEnd(31, "0"), "1e3", "a", "%00"].map(
      (id) => ["conversation_id", `/${id}`] as const
    ),
    ["message_id", "/1/messages/0"] as const
  ]
  it.effect.each(queries)("a wrong %s is named: %s", ([name, path]) =>
    Effect.gen(function* () {
      const method = name === "message_id" ? "DELETE" : "GET"
      const { status, text } = yield* send(yield* newUser, method, path)
      assert.deepStrictEqual(
        { status, ...decodeRefusal(text) },
        { status: 400, code: "invalid_request", errors: [{ path: name }] }
      )
    })
  )

  it.effect("cursors of all possible times are accepted", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const millis of ["0", "9".repeat(14)]) {
        const cursor = forged(`conversation.${millis}.${Number.MAX_SAFE_INTEGER}`)
        assert.strictEqual((yield* send(user, "GET", `?cursor=${cursor}`)).status, 200)
      }
    })
  )

  const titles = [{ title: "" }, { title: " \u0000\n " }, { title: "😀".repeat(201) }, { title: 1 }, { title: ["a"] }]
  it.effect.each(titles)("a wrong title is refused: %j", (body) =>
    Effect.gen(function* () {
      const user = yield* newUser
      const id = yield* seedConversation(user)
      const { status, text } = yield* send(user, "PATCH", `/${id}`, body)
      assert.deepStrictEqual(
        { status, ...decodeRefusal(text) },
        { status: 400, code: "invalid_request", errors: [{ path: "title" }] }
      )
      assert.strictEqual(decodeConversation((yield* send(user, "GET", `/${id}`)).text).title, "Seeded")
    })
  )
})
