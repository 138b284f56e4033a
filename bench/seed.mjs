/** Fills databases with conversations, straight into the tables: the columns named here are the same for all servers. */

/** A turn's id, from a conversation's and a message's number: two messages a turn. */
const turnId = (conversation, number) =>
  `('00000000-0000-7000-8000-' || lpad(to_hex(${conversation} * 32768 + (${number} + 1) / 2), 12, '0'))::uuid`

/**
 * Gives users `first` and following so many conversations each, with so many messages. Returns their ids, by user from
 * `first` on.
 */
export const seed = (server, { conversations, first, messages, users }) =>
  server.database.use(async (client) => {
    // Every row is right by itself; checking a million references takes minutes.
    await client.query("SET session_replication_role = replica").catch(() => {})
    await client.query(`
      WITH c AS (
        INSERT INTO conversations (user_id, title, last_sequence_number, message_count, created_at, updated_at)
        SELECT ${first} + n % ${users}, 'Conversation ' || n, ${messages}, ${messages},
          now() - n * interval '1 second', now() - n * interval '1 second'
        FROM generate_series(0, ${conversations * users} - 1) n
        RETURNING user_id, id
      )
      INSERT INTO messages (user_id, conversation_id, sequence_number, turn_id, role, content, status, created_at)
      SELECT c.user_id, c.id, s, ${turnId("c.id", "s")}, CASE s % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
        'Message ' || s || ' of this conversation, about as long as what people say to each other about their tasks.',
        'completed', now() - (${messages} - s) * interval '1 second'
      FROM c, generate_series(1, ${messages}) s`)
    const { rows: tables } = await client.query("SELECT to_regclass('turns') AS turns")
    if (tables[0].turns !== null) {
      await client.query(`
        INSERT INTO turns (user_id, id, conversation_id, status, node, time_zone, user_message_id, message_id, finished_at)
        SELECT user_id, turn_id, conversation_id, 'completed', gen_random_uuid(), 'UTC', id, answer, now()
        FROM (
          SELECT *, lead(id) OVER (PARTITION BY user_id, conversation_id ORDER BY sequence_number) AS answer
          FROM messages WHERE user_id >= ${first} AND user_id < ${first + users}
        ) m
        WHERE role = 'user'
        ON CONFLICT DO NOTHING`)
    }
    const { rows: totals } = await client.query("SELECT to_regclass('user_totals') AS totals")
    if (totals[0].totals !== null) {
      await client.query(`
        INSERT INTO user_totals (user_id, conversations)
        SELECT user_id, count(*) FROM conversations WHERE user_id >= ${first} AND user_id < ${first + users} GROUP BY user_id
        ON CONFLICT (user_id) DO UPDATE SET conversations = excluded.conversations`)
    }
    await client.query("VACUUM (ANALYZE)")
    const { rows } = await client.query(`
      SELECT (array_agg(id ORDER BY id))[1:1000] AS ids FROM conversations
      WHERE user_id >= ${first} AND user_id < ${first + users} GROUP BY user_id ORDER BY user_id`)
    return rows.map(({ ids }) => ids.map(Number))
  })
