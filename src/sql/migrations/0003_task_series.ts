import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/** Tasks repeat, know the zone of their time, and are found without regard to case and accents. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    ALTER TABLE tasks
      -- Of due_at, as an IANA name; null if nobody knows it.
      ADD COLUMN time_zone text CHECK (char_length(time_zone) <= 64),
      -- How it repeats, and what is needed to go on: see Series in services/tasks/Recurrence.ts.
      ADD COLUMN repeat jsonb CHECK (jsonb_typeof(repeat) = 'object'),
      -- Title and description as they are searched. The service folds them; null until it has.
      ADD COLUMN title_search text,
      ADD COLUMN description_search text,
      ADD CHECK (time_zone IS NULL OR due_at IS NOT NULL),
      ADD CHECK (repeat IS NULL OR due_date IS NOT NULL)`
  yield* sql`CREATE INDEX tasks_unfolded ON tasks (user_id, id) WHERE title_search IS NULL`

  // In the order of a list by due date, with those that have none.
  yield* sql`
    CREATE INDEX tasks_by_due ON tasks (user_id, due_date, due_at, created_at DESC, id DESC) WHERE deleted_at IS NULL`
  yield* sql`DROP INDEX tasks_due`
})
