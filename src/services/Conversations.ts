import { SqlClient, type SqlError } from "@effect/sql"
import { Array as Arr, Context, Effect, Either, Layer, type ParseResult, Schema } from "effect"
import { awaitedOf, Held } from "../domain/Approval.ts"
import { Conversation, ConversationNotFound, Message, MessageNotFound, partsOf, Role } from "../domain/Conversation.ts"
import { type Cursor, pageOf, startOf } from "../domain/Cursor.ts"
import { ConversationId, MessageId, TurnId, type UserId } from "../domain/Id.ts"
import { ToolCall } from "../domain/ToolCall.ts"
import { TurnEnd } from "../domain/Turn.ts"
import * as Codec from "../runtime/Codec.ts"
import * as PreparedStatement from "../runtime/PreparedStatement.ts"
import * as Span from "../runtime/Span.ts"
import * as Sql from "../sql/Sql.ts"
import { dieOnSql } from "../sql/SqlErrors.ts"

export interface ConversationQuery {
  /** 1 to 100; 50 when absent. */
  readonly limit?: number | undefined
  readonly cursor?: Cursor | undefined
}

export interface ConversationPage {
  readonly conversations: ReadonlyArray<Conversation>
  /** Of all the user's, whatever the page. */
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
  /** Whether the query finds more of them than the page holds. */
  readonly hasMore: boolean
}

/**
 * The owner comes first in every method, so that no query can forget whose conversations it may touch. What was deleted
 * is nowhere found, listed or counted. Turns write the messages (`Turns`).
 */
export class Conversations extends Context.Tag("taskchat/services/Conversations")<
  Conversations,
  {
    /** The last to have been spoken in first. */
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
      const columns = sql.literal(`id, title, created_at AS "createdAt", updated_at AS "updatedAt"`)

      type Owned = { owner: UserId; id: ConversationId }

      const living = ({ id, owner }: Owned | PreparedStatement.Given<keyof Owned>) =>
        sql`user_id = ${owner} AND id = ${id} AND deleted_at IS NULL`

      const only = (statement: Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>) =>
        Effect.flatMap(decoded(statement, decodeConversations), ([conversation]) =>
          conversation === undefined ? new ConversationNotFound() : Effect.succeed(conversation)
        )

      const selectPage = PreparedStatement.make<{ owner: UserId; time: string; id: number; limit: number }>(
        sql,
        ({ id, limit, owner, time }) => sql`
          SELECT counted.total, page.*
          FROM (
            SELECT coalesce((SELECT conversations FROM user_totals WHERE user_id = ${owner}), 0) AS total
          ) AS counted
          LEFT JOIN (
            SELECT ${columns} FROM conversations
            WHERE user_id = ${owner} AND deleted_at IS NULL
              AND (updated_at, id) < (${time}::timestamptz, ${id}::bigint)
            ORDER BY conversations.updated_at DESC, conversations.id DESC
            LIMIT ${limit}
          ) AS page ON true
          ORDER BY page."updatedAt" DESC, page.id DESC`
      )

      const select = PreparedStatement.make<Owned>(
        sql,
        (p) => sql`SELECT ${columns} FROM conversations WHERE ${living(p)}`
      )

      const selectMessages = (order: "ASC" | "DESC") =>
        PreparedStatement.make<Owned & { after: number; before: number; limit: number; hasParts: boolean }>(
          sql,
          ({ after, before, hasParts, id, limit, owner }) => sql`
            SELECT c.message_count AS total, c.last_sequence_number AS last, m.*
            FROM (SELECT message_count, last_sequence_number FROM conversations WHERE ${living({ owner, id })}) AS c
            LEFT JOIN (
              SELECT id, sequence_number AS "sequenceNumber", role, content, tool_calls AS "toolCalls", status,
                created_at AS "createdAt", turn_id AS "turnId",
                CASE WHEN ${hasParts}::boolean THEN tool_places END AS places,
                CASE WHEN ${hasParts}::boolean AND approval_expires_at > now() THEN awaiting END AS held,
                approval_expires_at AS "expiresAt"
              FROM messages
              WHERE user_id = ${owner} AND conversation_id = ${id} AND deleted_at IS NULL
                AND sequence_number > ${after}::bigint AND sequence_number < ${before}::bigint
              ORDER BY sequence_number ${sql.literal(order)}
              LIMIT ${limit}
            ) AS m ON true
            ORDER BY m."sequenceNumber"`
        )
      const firstMessages = selectMessages("ASC")
      const lastMessages = selectMessages("DESC")

      return Conversations.of({
        list: (owner, { cursor, limit = 50 }) =>
          selectPage({ owner, ...startOf(cursor), limit: limit + 1 }).pipe(
            Effect.flatMap(countedOf(decodeConversations)),
            Effect.map(({ found, total }) => {
              const { nextCursor, page } = pageOf(found, limit, ({ id, updatedAt }) => ({ time: updatedAt, id }))
              return { conversations: page, total, nextCursor }
            }),
            dieOnSql,
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
              WHERE ${living({ owner, id })} RETURNING ${columns}`
          )
        }),

        remove: Effect.fn("Conversations.remove")(function* (owner, id) {
          yield* Effect.annotateCurrentSpan({ "conversation.id": id })
          // In two statements: the second one sees a turn that began while the first one waited for it.
          yield* only(
            sql`UPDATE conversations SET deleted_at = now() WHERE ${living({ owner, id })} RETURNING ${columns}`
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
          const select = isBackwards ? lastMessages : firstMessages
          const rows = select({
            owner,
            id,
            after: after ?? 0,
            before: before ?? Number.MAX_SAFE_INTEGER,
            limit: limit + 1,
            hasParts: include === "parts"
          })
          const decode = include === "parts" ? decodeWithParts : decodeMessages
          return decoded(rows, (rows) => (rows.length === 0 ? Either.right(undefined) : countedOf(decode)(rows))).pipe(
            Effect.flatMap((page) =>
              page === undefined
                ? new ConversationNotFound()
                : Effect.succeed({
                    conversationId: id,
                    messages: isBackwards ? page.found.slice(-limit) : page.found.slice(0, limit),
                    total: page.total,
                    hasMore: page.found.length > limit
                  })
            ),
            Span.withSpan("Conversations.messages", { attributes: { "conversation.id": id } })
          )
        },

        removeMessage: Effect.fn("Conversations.removeMessage")(function* (owner, id, message) {
          yield* Effect.annotateCurrentSpan({ "conversation.id": id, "message.id": message })
          // The conversation is locked first, as turns do, so that neither waits for the other for ever.
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

const Time = Schema.DateTimeUtcFromDate

const decodeCounted = Codec.decodeUnknown(Schema.Struct({ total: Schema.Int, id: Schema.NullOr(Schema.Int) }))

/** Every row of a page tells the total; there is one row without an `id` where the page is empty. */
const countedOf =
  <A>(decode: (rows: unknown) => Either.Either<ReadonlyArray<A>, ParseResult.ParseError>) =>
  (rows: ReadonlyArray<unknown>) =>
    Either.flatMap(decodeCounted(rows[0]), ({ id, total }) =>
      Either.map(id === null ? Either.right([]) : decode(rows), (found) => ({ found, total }))
    )

const decodeConversations = Codec.decodeInstances(
  Conversation,
  Schema.Struct({ id: ConversationId, title: Schema.NullOr(Schema.String), createdAt: Time, updatedAt: Time })
)

const decodeMessages = Codec.decodeInstances(
  Message,
  Schema.Struct({
    id: MessageId,
    sequenceNumber: Schema.Int,
    role: Role,
    content: Schema.String,
    toolCalls: Schema.NullOr(Schema.Array(ToolCall)),
    status: TurnEnd,
    createdAt: Time,
    turnId: TurnId
  })
)

const decodeParts = Codec.decodeUnknown(
  Schema.Array(
    Schema.Struct({
      places: Schema.NullOr(Schema.Array(Schema.Struct({ offset: Schema.Int }))),
      last: Schema.Int,
      held: Schema.NullOr(Held),
      expiresAt: Schema.NullOr(Time)
    })
  )
)

const decodeWithParts = (rows: unknown) =>
  Either.zipWith(decodeMessages(rows), decodeParts(rows), (messages, rows) =>
    Arr.zipWith(messages, rows, (message, { expiresAt, held, last, places }) => {
      const parts = partsOf(message, places ?? [])
      const waits = held !== null && expiresAt !== null && message.sequenceNumber === last
      return new Message({ ...message, parts, ...(waits && { awaiting: awaitedOf(held, expiresAt) }) })
    })
  )

const decodeRemoved = Codec.decodeUnknown(Schema.Array(Schema.Struct({ removed: Schema.Boolean })))
