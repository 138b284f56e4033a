import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/**
 * How many conversations and tasks a user has, so that a first page need not count them. The triggers run at the commit:
 * the row is the last one that a transaction locks, so two transactions of a user cannot wait for each other.
 */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE user_totals (
      user_id bigint PRIMARY KEY,
      -- Deleted ones left out.
      conversations integer NOT NULL DEFAULT 0,
      tasks integer NOT NULL DEFAULT 0,
      completed_tasks integer NOT NULL DEFAULT 0
    )`
  // What is taken away makes no row: the user may have been erased.
  yield* sql`
    CREATE FUNCTION add_to_totals(owner bigint, more_conversations integer, more_tasks integer, more_completed integer)
    RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      IF more_conversations > 0 OR more_tasks > 0 OR more_completed > 0 THEN
        INSERT INTO user_totals AS t (user_id, conversations, tasks, completed_tasks)
        VALUES (owner, more_conversations, more_tasks, more_completed)
        ON CONFLICT (user_id) DO UPDATE SET conversations = t.conversations + excluded.conversations,
          tasks = t.tasks + excluded.tasks, completed_tasks = t.completed_tasks + excluded.completed_tasks;
      ELSIF more_conversations < 0 OR more_tasks < 0 OR more_completed < 0 THEN
        UPDATE user_totals t SET conversations = t.conversations + more_conversations, tasks = t.tasks + more_tasks,
          completed_tasks = t.completed_tasks + more_completed
        WHERE t.user_id = owner;
      END IF;
    END $$`
  yield* sql`
    CREATE FUNCTION count_conversation() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      had integer := CASE WHEN TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL THEN 1 ELSE 0 END;
      has integer := CASE WHEN TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL THEN 1 ELSE 0 END;
    BEGIN
      PERFORM add_to_totals(coalesce(NEW.user_id, OLD.user_id), has - had, 0, 0);
      RETURN NULL;
    END $$`
  yield* sql`
    CREATE FUNCTION count_task() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      had integer := CASE WHEN TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL THEN 1 ELSE 0 END;
      has integer := CASE WHEN TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL THEN 1 ELSE 0 END;
    BEGIN
      PERFORM add_to_totals(coalesce(NEW.user_id, OLD.user_id), 0, has - had,
        CASE WHEN NEW.completed_at IS NULL THEN 0 ELSE has END - CASE WHEN OLD.completed_at IS NULL THEN 0 ELSE had END);
      RETURN NULL;
    END $$`

  // Whoever writes now is waited for, and counted below; whoever comes later is counted by the triggers.
  yield* sql`LOCK TABLE conversations, tasks IN SHARE ROW EXCLUSIVE MODE`
  yield* sql`
    CREATE CONSTRAINT TRIGGER conversations_total AFTER INSERT OR UPDATE OF deleted_at OR DELETE ON conversations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_conversation()`
  yield* sql`
    CREATE CONSTRAINT TRIGGER tasks_total AFTER INSERT OR UPDATE OF deleted_at, completed_at OR DELETE ON tasks
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_task()`
  yield* sql`
    INSERT INTO user_totals (user_id, conversations, tasks, completed_tasks)
    SELECT user_id, coalesce(c.count, 0), coalesce(t.count, 0), coalesce(t.completed, 0)
    FROM (
      SELECT user_id, count(*) AS count FROM conversations WHERE deleted_at IS NULL GROUP BY user_id
    ) AS c
    FULL JOIN (
      SELECT user_id, count(*) AS count, count(completed_at) AS completed FROM tasks
      WHERE deleted_at IS NULL GROUP BY user_id
    ) AS t USING (user_id)`
})
