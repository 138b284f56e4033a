import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/**
 * Calls that wait for the user's approval, and what was decided on them. They wait as long as their message is the last of
 * its conversation and has not expired: whichever turn begins next ends the waiting, on nodes of earlier versions too.
 */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    ALTER TABLE messages
      -- Of an answer: { "calls": [the calls that did not run …], "tasks": [the versions of the tasks they are about …] }.
      ADD COLUMN awaiting json,
      ADD COLUMN approval_expires_at timestamptz(3),
      -- Of a user's message: what it decided on the calls that waited.
      ADD COLUMN decision text CHECK (decision IN ('approved', 'declined')),
      ADD CHECK ((awaiting IS NULL) = (approval_expires_at IS NULL)),
      ADD CHECK (awaiting IS NULL OR role = 'assistant' AND status = 'completed'),
      ADD CHECK (decision IS NULL OR role = 'user')`

  // The turn whose calls this one decides on.
  yield* sql`ALTER TABLE turns ADD COLUMN decides uuid`
  yield* sql`CREATE UNIQUE INDEX turns_one_decision ON turns (user_id, decides) WHERE decides IS NOT NULL`
})
