import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/**
 * Keeps the searched texts true while nodes of the first version still write tasks: these change a title and leave
 * `title_search` as it was. Their statements do not name that column, and those of all later versions do; so the first trigger
 * takes away what is not of this text any more, and the second one gives it back to who named it. What is null is
 * folded before the next search. Triggers run in the order of their names.
 */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE FUNCTION task_texts_unfold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      NEW.title_search := NULL;
      NEW.description_search := NULL;
      RETURN NEW;
    END $$`
  yield* sql`
    CREATE FUNCTION task_texts_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      NEW.title_search := OLD.title_search;
      NEW.description_search := OLD.description_search;
      RETURN NEW;
    END $$`
  yield* sql`
    CREATE TRIGGER tasks_texts_1_unfold BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (
      (NEW.title, NEW.description) IS DISTINCT FROM (OLD.title, OLD.description)
      AND (NEW.title_search, NEW.description_search) IS NOT DISTINCT FROM (OLD.title_search, OLD.description_search)
    )
    EXECUTE FUNCTION task_texts_unfold()`
  yield* sql`
    CREATE TRIGGER tasks_texts_2_keep BEFORE UPDATE OF title_search ON tasks FOR EACH ROW
    WHEN (NEW.title_search IS NULL)
    EXECUTE FUNCTION task_texts_keep()`
})
