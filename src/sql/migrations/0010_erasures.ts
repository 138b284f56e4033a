import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/**
 * Users whose data is being erased. As long as one stands here, no row of theirs can begin in any table: what hangs on other
 * rows needs these, and the others have a trigger. Also what retention needs to find what is due.
 */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE erasures (
      user_id bigint PRIMARY KEY CHECK (user_id BETWEEN 1 AND 9007199254740991),
      requested_at timestamptz(3) NOT NULL DEFAULT now(),
      -- The node that deletes, and until when it is left to it.
      node uuid,
      lease_until timestamptz(3),
      CHECK ((node IS NULL) = (lease_until IS NULL))
    )`

  // Whoever inserts holds the user's lock, shared, until the transaction's end; whoever asks for an erasure waits for all of
  // them. An id that was assigned to an account which is gone is nobody's.
  yield* sql`
    CREATE FUNCTION erasure_fence() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock_shared(730301, hashint8(NEW.user_id));
      IF EXISTS (SELECT FROM erasures WHERE user_id = NEW.user_id) OR EXISTS (
        SELECT FROM user_ids WHERE mode = 'mapped' AND NEW.user_id <= (SELECT last_value FROM assigned_user_ids WHERE is_called)
          AND NOT EXISTS (SELECT FROM identities WHERE user_id = NEW.user_id)
      ) THEN
        RAISE EXCEPTION 'The data of this user is being erased' USING ERRCODE = 'TC002';
      END IF;
      RETURN NEW;
    END $$`
  for (const table of ["conversations", "tasks", "idempotency_keys"]) {
    yield* sql`
      CREATE TRIGGER erasure_fence BEFORE INSERT ON ${sql(table)} FOR EACH ROW EXECUTE FUNCTION erasure_fence()`
  }

  // A conversation's turns are deleted with it.
  yield* sql`CREATE INDEX turns_conversation ON turns (user_id, conversation_id)`
  for (const table of ["conversations", "messages", "tasks"]) {
    yield* sql`CREATE INDEX ${sql(`${table}_deleted`)} ON ${sql(table)} (deleted_at) WHERE deleted_at IS NOT NULL`
  }
})
