/**
 * Fills databases with conversations, straight into the tables: the columns named here are the same for all servers but
 * Mastra, which has tables of its own.
 */

/** A turn's id, from a conversation's and a message's number: two messages a turn. */
const turnId = (conversation, number) =>
  `('00000000-0000-7000-8000-' || lpad(to_hex(${conversation} * 32768 + (${number} + 1) / 2), 12, '0'))::uuid`

/** Role and text of message `s` of a conversation, as columns; an answer has `length` characters. */
const said = (length) => `CASE s % 2 WHEN 1 THEN 'user' ELSE 'assistant' END AS role,
  CASE s % 2 WHEN 1 THEN 'What about task ' || s || ', is it done by now?'
    ELSE rpad('Number ' || s || ' is', ${length}, ' not done yet and') END AS content`

/** Mastra's threads and messages, which have their times twice, without a time zone and with one. */
const seedMastra = async (client, { conversations, first, length, messages, users }) => {
  await client.query(`
    WITH t AS (
      INSERT INTO mastra_threads (id, "resourceId", title, "createdAt", "updatedAt", "createdAtZ", "updatedAtZ")
      SELECT gen_random_uuid(), ${first} + n % ${users}, 'Conversation ' || n, at AT TIME ZONE 'UTC',
        at AT TIME ZONE 'UTC', at, at
      FROM (
        SELECT n, now() - n * interval '1 second' AS at FROM generate_series(0, ${conversations * users} - 1) n
      ) n
      RETURNING id, "resourceId"
    )
    INSERT INTO mastra_messages (id, thread_id, "resourceId", role, type, content, "createdAt", "createdAtZ")
    SELECT gen_random_uuid(), t.id, t."resourceId", role, 'v2',
      json_build_object('format', 2, 'parts', json_build_array(json_build_object('type', 'text', 'text', content,
        'createdAt', floor(extract(epoch FROM at) * 1000))), 'content', content),
      at AT TIME ZONE 'UTC', at
    FROM t, (
      SELECT ${said(length)}, now() - (${messages} - s) * interval '1 second' AS at
      FROM generate_series(1, ${messages}) s
    ) m`)
  await client.query("VACUUM (ANALYZE)")
  const { rows } = await client.query(`
    SELECT (array_agg(id ORDER BY id))[1:1000] AS ids FROM mastra_threads
    WHERE "resourceId"::bigint >= ${first} AND "resourceId"::bigint < ${first + users}
    GROUP BY "resourceId" ORDER BY "resourceId"::bigint`)
  return rows.map(({ ids }) => ids)
}

/**
 * Gives users `first` and following so many conversations each, with so many messages, the answers among them of `length`
 * characters. Returns their ids, by user from `first` on.
 */
export const seed = (server, { conversations, first, length = 100, messages, users }) =>
  server.database.use(async (client) => {
    if (server.name === "mastra") return seedMastra(client, { conversations, first, length, messages, users })
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
      SELECT c.user_id, c.id, s, ${turnId("c.id", "s")}, ${said(length)},
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
    // Else it would be written while the figures are taken.
    await client.query("CHECKPOINT").catch(() => {})
    const { rows } = await client.query(`
      SELECT (array_agg(id ORDER BY id))[1:1000] AS ids FROM conversations
      WHERE user_id >= ${first} AND user_id < ${first + users} GROUP BY user_id ORDER BY user_id`)
    return rows.map(({ ids }) => ids.map(Number))
  })

/**
 * Gives a user so many tasks, one a minute: with times, descriptions and labels, some that repeat, every fourth of them
 * done. They are due all through a year; `found` of them have the word "needle".
 */
export const seedTasks = (server, { found = 0, tasks, user }) =>
  server.database.use(async (client) => {
    const { rows: columns } = await client.query(
      "SELECT FROM information_schema.columns WHERE table_name = 'tasks' AND column_name = 'title_search'"
    )
    const [searched, texts] =
      columns.length === 0 ? ["", ""] : [", title_search, description_search", ", lower(title), lower(description)"]
    const repeat = `{"rule": "FREQ=WEEKLY;BYDAY=MO", "text": "every week on Monday", "starts_on": "2026-02-02", "time": null,
      "time_zone": null, "completed": null, "turn_id": null}`
    await client.query(`
      INSERT INTO tasks (user_id, title, description, priority, labels, due_date, due_at, time_zone, repeat, created_at,
        updated_at, completed_at${searched})
      SELECT ${user}, title, description, (ARRAY['low', 'medium', 'high', NULL])[n % 4 + 1],
        CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{errands}' ELSE '{work,"call back"}' END::text[],
        due_date, due_at, CASE WHEN due_at IS NOT NULL THEN 'Europe/London' END,
        CASE n % 5 WHEN 2 THEN '${repeat}'::jsonb END, at, at, CASE n % 4 WHEN 3 THEN at END${texts}
      FROM (
        SELECT n, CASE WHEN n < ${found} THEN 'Find the needle ' ELSE 'Call the bank about card ' END || n AS title,
          CASE n % 2 WHEN 1 THEN 'Ask what it costs, and whether number ' || n || ' can be kept.' END AS description,
          date '2026-01-01' + n % 365 AS due_date,
          CASE n % 4 WHEN 2 THEN timestamptz '2026-01-01 09:00Z' + n % 365 * interval '1 day' END AS due_at,
          timestamptz '2025-12-31 12:00Z' - n * interval '1 minute' AS at
        FROM generate_series(0, ${tasks} - 1) n
      ) t`)
    await client.query("VACUUM (ANALYZE)")
  })
