import { SqlClient, type SqlError } from "@effect/sql"
import { Array as Arr, Context, Effect, type Either, Layer, type ParseResult, Schema } from "effect"
import { awaitedOf, Held } from "../domain/Approval.ts"
import { Conversation, ConversationNotFound, Message, MessageNotFound, partsOf } from "../domain/Conversation.ts"
import { type Cursor, pageOf, startOf } from "../domain/Cursor.ts"
import type { ConversationId, MessageId, UserId } from "../domain/Id.ts"
import { key, Time } from "../domain/Json.ts"
import * as Codec from "../runtime/Codec.ts"
import * as JsonList from "../runtime/JsonList.ts"
import * as PreparedStatement from "../runtime/PreparedStatement.ts"
import * as Span from "../runtime/Span.ts"
import * as Json from "../sql/Json.ts"
import * as Sql from "../sql/Sql.ts"
import { dieOnSql } from "../sql/SqlErrors.ts"

export interface ConversationQuery {
  /** 1 to 100; 50 when absent. */
  readonly limit?: number | undefined
  readonly cursor?: Cursor | undefined
}

export interface ConversationPage {
  readonly conversations: ReadonlyArray<Conversation>
  /** The number of all the user's conversations. */
  readonly total: number
  readonly nextCursor: Cursor | null
}

/** Sequence numbers, exclusive. With `before` alone it is the last messages before it, else the first after `after`. */
export interface MessageQuery {
  /** 1 to 1,000; 1,000 when absent. */
  readonly limit?: number | undefined
  readonly before?: number | undefined
  readonly after?: number | undefined
  /** Whether messages have `parts`. */
  readonly include?: "parts" | undefined
}

export interface MessagePage {
  readonly conversationId: ConversationId
  /** In order. */
  readonly messages: ReadonlyArray<Message>
  /** Of all the conversation's, whatever the page. */
  readonly total: number
  /** Whether the query finds more messages than the page has. */
  readonly hasMore: boolean
}

/**
 * The owner is the first parameter of every method, so that no query can forget it. Deleted data is not found, listed or
 * counted. Turns write the messages (`Turns`).
 */
export class Conversations extends Context.Tag("taskchat/services/Conversations")<
  Conversations,
  {
    /** The latest activity first. */
    readonly list: (owner: UserId, query: ConversationQuery) => Effect.Effect<ConversationPage>
    readonly get: (owner: UserId, id: ConversationId) => Effect.Effect<Conversation, ConversationNotFound>
    /** `title` is a `ConversationTitle`; undefined keeps it, null removes it. The conversation keeps its place in the list. */
    readonly rename: (
      owner: UserId,
      id: ConversationId,
      title: string | null | undefined
    ) => Effect.Effect<Conversation, ConversationNotFound>
    readonly remove: (owner: UserId, id: ConversationId) => Effect.Effect<void, ConversationNotFound>
    readonly messages: (
      owner: UserId,
      id: ConversationId,
      query: MessageQuery
    ) => Effect.Effect<MessagePage, ConversationNotFound>
    /** The other messages keep their sequence numbers. */
    readonly removeMessage: (
      owner: UserId,
      id: ConversationId,
      message: MessageId
    ) => Effect.Effect<void, ConversationNotFound | MessageNotFound>
  }
>() {
  static readonly layer: Layer.Layer<Conversations, never, SqlClient.SqlClient> = Layer.effect(
    Conversations,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const json = sql.literal(`${conversationJson} AS conversation`)

      type Owned = { owner: UserId; id: ConversationId }

      const living = ({ id, owner }: Owned | PreparedStatement.Given<keyof Owned>) =>
        sql`user_id = ${owner} AND id = ${id} AND deleted_at IS NULL`

      const only = (statement: Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>) =>
        Effect.flatMap(decoded(statement, decodeRows), ([row]) =>
          row === undefined ? new ConversationNotFound() : Effect.succeed(conversationOf(row.conversation))
        )

      const selectPage = PreparedStatement.make<{ owner: UserId; time: string; id: number; limit: number }>(
        sql,
        ({ id, limit, owner, time }) => sql`
          SELECT counted.total, page.conversation
          FROM (
            SELECT coalesce((SELECT conversations FROM user_totals WHERE user_id = ${owner}), 0) AS total
          ) AS counted
          LEFT JOIN (
            SELECT updated_at, id, ${json} FROM conversations
            WHERE user_id = ${owner} AND deleted_at IS NULL
              AND (updated_at, id) < (${time}::timestamptz, ${id}::bigint)
            ORDER BY updated_at DESC, id DESC
            LIMIT ${limit}
          ) AS page ON true
          ORDER BY page.updated_at DESC, page.id DESC`
      )

      const select = PreparedStatement.make<Owned>(
        sql,
        (p) => sql`SELECT ${json} FROM conversations WHERE ${living(p)}`
      )

      const selectMessages = (order: "ASC" | "DESC", members: Readonly<Record<string, string>>) =>
        PreparedStatement.make<Owned & { after: number; before: number; limit: number }>(
          sql,
          ({ after, before, id, limit, owner }) => sql`
            SELECT c.message_count AS total, m.message
            FROM (SELECT message_count, last_sequence_number FROM conversations WHERE ${living({ owner, id })}) AS c
            LEFT JOIN LATERAL (
              SELECT sequence_number, ${sql.literal(Json.object(members))} AS message FROM messages
              WHERE user_id = ${owner} AND conversation_id = ${id} AND deleted_at IS NULL
                AND sequence_number > ${after}::bigint AND sequence_number < ${before}::bigint
              ORDER BY sequence_number ${sql.literal(order)}
              LIMIT ${limit}
            ) AS m ON true
            ORDER BY m.sequence_number`
        )
      const selectEach = (members: Readonly<Record<string, string>>) => ({
        first: selectMessages("ASC", members),
        last: selectMessages("DESC", members)
      })
      const plain = selectEach(messageMembers)
      const withParts = selectEach({ ...messageMembers, ...partMembers })

      return Conversations.of({
        list: (owner, { cursor, limit = 50 }) =>
          decoded(selectPage({ owner, ...startOf(cursor), limit: limit + 1 }), decodePage).pipe(
            Effect.map((rows) => {
              const found = rows.flatMap(({ conversation }) => conversation ?? [])
              const { nextCursor, page } = pageOf(found, limit, (last) => {
                const { id, updatedAt } = conversationOf(last)
                return { time: updatedAt, id }
              })
              return { conversations: conversationsOf(page), total: rows[0]?.total ?? 0, nextCursor }
            }),
            Span.withSpan("Conversations.list")
          ),

        get: (owner, id) =>
          only(select({ owner, id })).pipe(
            Span.withSpan("Conversations.get", { attributes: { "conversation.id": id } })
          ),

        rename: Effect.fn("Conversations.rename")(function* (owner, id, title) {
          yield* Effect.annotateCurrentSpan({ "conversation.id": id })
          return yield* only(
            sql`
              UPDATE conversations SET title = ${title === undefined ? sql`title` : sql`${title}`}
              WHERE ${living({ owner, id })} RETURNING ${json}`
          )
        }),

        remove: Effect.fn("Conversations.remove")(function* (owner, id) {
          yield* Effect.annotateCurrentSpan({ "conversation.id": id })
          // Two statements: the second one sees a turn that began while the first one waited.
          yield* only(
            sql`UPDATE conversations SET deleted_at = now() WHERE ${living({ owner, id })} RETURNING ${json}`
          ).pipe(
            Effect.zipLeft(sql`
              UPDATE turns SET cancel_requested_at = coalesce(cancel_requested_at, now())
              WHERE user_id = ${owner} AND conversation_id = ${id} AND status = 'running'`),
            sql.withTransaction,
            dieOnSql
          )
        }),

        messages: (owner, id, { after, before, include, limit = 1000 }) => {
          const isBackwards = before !== undefined && after === undefined
          const statements = include === "parts" ? withParts : plain
          const select = isBackwards ? statements.last : statements.first
          const listOf = include === "parts" ? messagesWithParts : messagesOf
          const rows = select({
            owner,
            id,
            after: after ?? 0,
            before: before ?? Number.MAX_SAFE_INTEGER,
            limit: limit + 1
          })
          return decoded(rows, decodeMessageRows).pipe(
            Effect.flatMap((rows) => {
              const [first] = rows
              if (first === undefined) return new ConversationNotFound()
              const found = rows.flatMap(({ message }) => message ?? [])
              return Effect.succeed({
                conversationId: id,
                messages: listOf(isBackwards ? found.slice(-limit) : found.slice(0, limit)),
                total: first.total,
                hasMore: found.length > limit
              })
            }),
            Span.withSpan("Conversations.messages", { attributes: { "conversation.id": id } })
          )
        },

        removeMessage: Effect.fn("Conversations.removeMessage")(function* (owner, id, message) {
          yield* Effect.annotateCurrentSpan({ "conversation.id": id, "message.id": message })
          // Locks the conversation first, as turns do, to avoid a deadlock.
          const [row] = yield* decoded(
            sql`
              WITH conversation AS (
                SELECT user_id, id FROM conversations WHERE ${living({ owner, id })} FOR NO KEY UPDATE
              ), removed AS (
                UPDATE messages m SET deleted_at = now()
                FROM conversation c
                WHERE m.user_id = ${owner} AND m.id = ${message} AND m.conversation_id = c.id AND m.deleted_at IS NULL
                RETURNING m.conversation_id
              ), counted AS (
                UPDATE conversations c SET message_count = c.message_count - 1
                FROM removed
                WHERE c.user_id = ${owner} AND c.id = removed.conversation_id
              )
              SELECT EXISTS (SELECT FROM removed) AS removed FROM conversation`,
            decodeRemoved
          )
          if (row === undefined) return yield* new ConversationNotFound()
          if (!row.removed) return yield* new MessageNotFound()
        })
      })
    })
  )

  /** On a fresh database in memory. */
  static readonly layerTest: Layer.Layer<Conversations> = Layer.provide(Conversations.layer, Sql.layerTest)
}

const decoded = <A>(
  statement: Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>,
  decode: (rows: ReadonlyArray<unknown>) => Either.Either<A, ParseResult.ParseError>
) => dieOnSql(Effect.flatMap(statement, decode))

const decodeRows = Codec.decodeUnknown(Schema.Array(Schema.Struct({ conversation: Schema.String })))

const conversationJson = Json.object({
  id: Json.plain("id"),
  title: Json.any("title"),
  created_at: Json.word(Json.time("created_at")),
  updated_at: Json.word(Json.time("updated_at"))
})

const conversationsOf = JsonList.make(Conversation)

const conversationOf = (json: string) => Arr.unsafeGet(conversationsOf([json]), 0)

/** Every row of a page has the total; an empty page is one row without a conversation. */
const decodePage = Codec.decodeUnknown(
  Schema.Array(Schema.Struct({ total: Schema.Int, conversation: Schema.NullOr(Schema.String) }))
)

/** As for conversations; a missing conversation has no rows. */
const decodeMessageRows = Codec.decodeUnknown(
  Schema.Array(Schema.Struct({ total: Schema.Int, message: Schema.NullOr(Schema.String) }))
)

const messageMembers = {
  id: Json.plain("id"),
  sequence_number: Json.plain("sequence_number"),
  role: Json.word("role"),
  content: Json.any("content"),
  tool_calls: Json.plain("tool_calls"),
  status: Json.word("status"),
  created_at: Json.word(Json.time("created_at")),
  turn_id: Json.word("turn_id")
}

const messagesOf = JsonList.make(Message)

/** What its parts are made of; `held`, the calls that wait for approval, only of the conversation's last message. */
const partMembers = {
  places: Json.plain("tool_places"),
  expires_at: Json.word(Json.time("approval_expires_at")),
  held: Json.plain(
    "CASE WHEN approval_expires_at > now() AND sequence_number = c.last_sequence_number THEN awaiting END"
  )
}

const rowsWithParts = JsonList.make(
  Schema.Struct({
    ...Message.fields,
    places: Schema.NullOr(Schema.Array(Schema.Struct({ offset: Schema.Int }))),
    held: Schema.NullOr(Held),
    expiresAt: Schema.NullOr(Time).pipe(key("expires_at"))
  })
)

const messagesWithParts = (json: ReadonlyArray<string>) =>
  rowsWithParts(json).map(({ expiresAt, held, places, ...message }) => {
    const awaiting = held !== null && expiresAt !== null && { awaiting: awaitedOf(held, expiresAt) }
    return new Message({ ...message, parts: partsOf(message, places ?? []), ...awaiting })
  })

const decodeRemoved = Codec.decodeUnknown(Schema.Array(Schema.Struct({ removed: Schema.Boolean })))
