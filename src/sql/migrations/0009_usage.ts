import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/**
 * What users' turns have cost, by day: it outlives the turns. A trigger counts a turn in the statement that ends it, so that
 * nobody can forget to, nodes of the version before included.
 */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    ALTER TABLE turns
      -- An estimate, of those calls of the model that did not tell what they had cost.
      ADD COLUMN estimated_tokens integer NOT NULL DEFAULT 0 CHECK (estimated_tokens >= 0),
      -- What the turn's day has set aside for it while it runs: an estimate, then what its calls have cost so far. Null
      -- without a budget.
      ADD COLUMN reserved_tokens integer CHECK (reserved_tokens >= 0)`

  // All of a turn counts to the day on which it began, which its id begins with (UUIDv7).
  yield* sql`
    CREATE FUNCTION turn_day(id uuid) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
      SELECT (to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC')::date
    $$`

  yield* sql`
    CREATE TABLE usage_days (
      user_id bigint NOT NULL,
      day date NOT NULL,
      -- Of turns that have ended: as the models told it, and estimates where they did not.
      input_tokens bigint NOT NULL DEFAULT 0,
      output_tokens bigint NOT NULL DEFAULT 0,
      estimated_tokens bigint NOT NULL DEFAULT 0,
      -- The sum over the turns that run.
      reserved_tokens bigint NOT NULL DEFAULT 0 CHECK (reserved_tokens >= 0),
      -- Turns, by their end.
      completed integer NOT NULL DEFAULT 0,
      failed integer NOT NULL DEFAULT 0,
      timed_out integer NOT NULL DEFAULT 0,
      cancelled integer NOT NULL DEFAULT 0,
      interrupted integer NOT NULL DEFAULT 0,
      PRIMARY KEY (user_id, day)
    )`
  yield* sql`
    CREATE TABLE usage_models (
      user_id bigint NOT NULL,
      day date NOT NULL,
      -- provider:model, or "unnamed".
      model text NOT NULL,
      input_tokens bigint NOT NULL,
      output_tokens bigint NOT NULL,
      PRIMARY KEY (user_id, day, model),
      FOREIGN KEY (user_id, day) REFERENCES usage_days
    )`

  yield* sql`
    INSERT INTO usage_days
    SELECT user_id, turn_day(id), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), 0, 0,
      count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
      count(*) FILTER (WHERE status = 'timed_out'), count(*) FILTER (WHERE status = 'cancelled'),
      count(*) FILTER (WHERE status = 'interrupted')
    FROM turns WHERE status <> 'running' GROUP BY 1, 2`
  yield* sql`
    INSERT INTO usage_models
    SELECT user_id, turn_day(id), coalesce(model, 'unnamed'), sum(input_tokens), sum(output_tokens)
    FROM turns WHERE status <> 'running' AND input_tokens + output_tokens > 0 GROUP BY 1, 2, 3`

  yield* sql`
    CREATE FUNCTION turns_usage() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      day_of_turn CONSTANT date := turn_day(NEW.id);
    BEGIN
      IF NEW.status = 'running' THEN
        UPDATE usage_days d
        SET reserved_tokens =
          greatest(0, d.reserved_tokens + coalesce(NEW.reserved_tokens, 0) - coalesce(OLD.reserved_tokens, 0))
        WHERE d.user_id = NEW.user_id AND d.day = day_of_turn;
        RETURN NULL;
      END IF;
      INSERT INTO usage_days AS d (user_id, day, input_tokens, output_tokens, estimated_tokens,
        completed, failed, timed_out, cancelled, interrupted)
      VALUES (NEW.user_id, day_of_turn, coalesce(NEW.input_tokens, 0), coalesce(NEW.output_tokens, 0), NEW.estimated_tokens,
        (NEW.status = 'completed')::integer, (NEW.status = 'failed')::integer, (NEW.status = 'timed_out')::integer,
        (NEW.status = 'cancelled')::integer, (NEW.status = 'interrupted')::integer)
      ON CONFLICT (user_id, day) DO UPDATE SET
        input_tokens = d.input_tokens + excluded.input_tokens,
        output_tokens = d.output_tokens + excluded.output_tokens,
        estimated_tokens = d.estimated_tokens + excluded.estimated_tokens,
        reserved_tokens = greatest(0, d.reserved_tokens - coalesce(OLD.reserved_tokens, 0)),
        completed = d.completed + excluded.completed,
        failed = d.failed + excluded.failed,
        timed_out = d.timed_out + excluded.timed_out,
        cancelled = d.cancelled + excluded.cancelled,
        interrupted = d.interrupted + excluded.interrupted;
      IF NEW.input_tokens + NEW.output_tokens > 0 THEN
        INSERT INTO usage_models AS m (user_id, day, model, input_tokens, output_tokens)
        VALUES (NEW.user_id, day_of_turn, coalesce(NEW.model, 'unnamed'), NEW.input_tokens, NEW.output_tokens)
        ON CONFLICT (user_id, day, model) DO UPDATE SET
          input_tokens = m.input_tokens + excluded.input_tokens,
          output_tokens = m.output_tokens + excluded.output_tokens;
      END IF;
      RETURN NULL;
    END $$`
  yield* sql`
    CREATE TRIGGER turns_usage AFTER UPDATE ON turns FOR EACH ROW
    WHEN (
      OLD.status = 'running'
      AND (NEW.status <> 'running' OR NEW.reserved_tokens IS DISTINCT FROM OLD.reserved_tokens)
    )
    EXECUTE FUNCTION turns_usage()`

  // What erased users have spent of a day's budget, under a name that only this database can make of their identity.
  yield* sql`
    CREATE TABLE erased_usage (
      identity_hash bytea NOT NULL,
      day date NOT NULL,
      tokens bigint NOT NULL CHECK (tokens >= 0),
      PRIMARY KEY (identity_hash, day)
    )`
  yield* sql`
    CREATE TABLE erased_usage_key (
      is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
      key bytea NOT NULL
    )`
  yield* sql`
    INSERT INTO erased_usage_key (key)
    VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'))`
  yield* sql`
    CREATE FUNCTION identity_hash(of_user bigint) RETURNS bytea LANGUAGE sql STABLE AS $$
      SELECT sha256(k.key || sha256(k.key || convert_to(
        coalesce(
          (SELECT json_build_array(i.issuer, i.subject)::text FROM identities i WHERE i.user_id = of_user),
          of_user::text
        ), 'UTF8')))
      FROM erased_usage_key k
    $$`
})
