import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/**
 * Finds the tasks of a user that have a text by an index: every three characters in a row, together with the user, are a
 * number in it. Extensions for that, such as pg_trgm, are not everywhere, and do not take the user into account.
 */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE FUNCTION task_trigrams(owner bigint, texts text) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000
    AS $$
      SELECT coalesce(array_agg(DISTINCT hashtext(owner || trigram)), '{}')
      FROM (
        SELECT c || lead(c, 1) OVER (ORDER BY n) || lead(c, 2) OVER (ORDER BY n) AS trigram
        FROM unnest(string_to_array(texts, NULL)) WITH ORDINALITY AS characters (c, n)
      ) AS trigrams
      WHERE trigram IS NOT NULL
    $$`
  // The text is that of services/tasks/TaskLists.ts, to the letter.
  yield* sql`
    CREATE INDEX tasks_texts ON tasks USING gin (task_trigrams(
      user_id,
      coalesce(title_search, lower(title)) || chr(1) || coalesce(description_search, lower(description), '')
    )) WHERE deleted_at IS NULL`
})
