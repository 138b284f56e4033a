import { SqlClient } from "@effect/sql"
import { type DateTime, Effect, Schema } from "effect"
import { ConversationId, MessageId, UserId } from "../../src/domain/Id.ts"

/** A user without data. */
export const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

const decodeIds = Schema.decodeUnknown(Schema.Array(Schema.Struct({ id: ConversationId })))
const decodeMessageIds = Schema.decodeUnknown(Schema.Array(Schema.Struct({ id: MessageId })))

/** Conversations without messages, one for each time of the last activity, ordered by id. */
export const seedConversations = (owner: UserId, times: ReadonlyArray<DateTime.Utc>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql`
      INSERT INTO conversations (user_id, title, updated_at)
      SELECT ${owner}::bigint, 'Seeded', to_timestamp(millis / 1000.0)
      FROM unnest(${times.map((time) => time.epochMillis)}::bigint[]) WITH ORDINALITY AS given (millis, n)
      ORDER BY n
      RETURNING id`
    return (yield* decodeIds(rows)).map(({ id }) => id)
  }).pipe(Effect.orDie)

export const seedConversation = (owner: UserId) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql`INSERT INTO conversations (user_id, title) VALUES (${owner}, 'Seeded') RETURNING id`
    return (yield* decodeIds(rows)).map(({ id }) => id)
  }).pipe(
    Effect.orDie,
    Effect.flatMap(([id]) => (id === undefined ? Effect.dieMessage("No row was inserted") : Effect.succeed(id)))
  )

/** The first messages of a conversation, alternately of the user and the assistant. The content is the number. */
export const seedMessages = (owner: UserId, id: ConversationId, count: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`
      UPDATE conversations SET last_sequence_number = ${count}, message_count = ${count}
      WHERE user_id = ${owner} AND id = ${id}`
    const rows = yield* sql`
      INSERT INTO messages (user_id, conversation_id, sequence_number, turn_id, role, content, status)
      SELECT ${owner}::bigint, ${id}::bigint, s.n, gen_random_uuid(),
        CASE s.n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, s.n::text, 'completed'
      FROM generate_series(1, ${count}::int) AS s (n)
      ORDER BY s.n
      RETURNING id`
    return (yield* decodeMessageIds(rows)).map(({ id }) => id)
  }).pipe(Effect.orDie)
