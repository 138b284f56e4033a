import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/** What a statement calls when the turn that it writes for is no longer held by the node that sent it. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE FUNCTION turn_lost() RETURNS integer LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'The turn is no longer held by this node' USING ERRCODE = 'TC001';
    END $$`
})
