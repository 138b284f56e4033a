import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/**
 * Which model answered a turn and what each step of it cost, which messages a provider refused, and what providers want
 * back with their answers.
 */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    ALTER TABLE turns
      -- provider:model; null if no model answered.
      ADD COLUMN model text,
      -- Of each step, in order: [{ "input_tokens": …, "output_tokens": … }, …].
      ADD COLUMN step_usage json,
      -- The provider refused the user's message even by itself: later requests do without it.
      ADD COLUMN is_message_refused boolean NOT NULL DEFAULT false`
  // Until now these codes alone said so.
  yield* sql`
    UPDATE turns SET is_message_refused = true WHERE error_code IN ('agent_content_refused', 'agent_context_too_long')`

  // Opaque, for the provider and the model in `origin` alone: [{ "step": …, "origin": …, "state": … }, …].
  yield* sql`ALTER TABLE messages ADD COLUMN provider_states json`
})
