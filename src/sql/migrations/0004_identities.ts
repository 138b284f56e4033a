import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/** Where the users' ids come from: the tokens, or the accounts that tokens name, each of which is assigned an id. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // Compared byte for byte, whatever the database's collation. It is found by account, so its key begins with that.
  yield* sql`
    CREATE TABLE identities (
      issuer text COLLATE "C" NOT NULL,
      subject text COLLATE "C" NOT NULL,
      user_id bigint NOT NULL CHECK (user_id BETWEEN 1 AND 9007199254740991),
      created_at timestamptz(3) NOT NULL DEFAULT now(),
      PRIMARY KEY (issuer, subject)
    )`
  yield* sql`CREATE UNIQUE INDEX identities_user ON identities (user_id)`
  yield* sql`CREATE SEQUENCE assigned_user_ids AS bigint MAXVALUE 9007199254740991`

  yield* sql`
    CREATE TABLE user_ids (
      is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
      mode text NOT NULL CHECK (mode IN ('token', 'mapped'))
    )`
  // Before this migration, ids came from tokens only.
  yield* sql`
    INSERT INTO user_ids (mode)
    SELECT 'token'
    WHERE EXISTS (SELECT FROM conversations) OR EXISTS (SELECT FROM tasks) OR EXISTS (SELECT FROM idempotency_keys)`
})
