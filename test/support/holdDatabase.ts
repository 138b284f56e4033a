import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import * as Sql from "../../src/sql/Sql.ts"

/** Opens the embedded database in the given directory, adds a conversation, prints a line and waits. */
const [, , dataDir = ""] = process.argv

SqlClient.SqlClient.pipe(
  Effect.flatMap((sql) => sql`INSERT INTO conversations (user_id, title) VALUES (1, 'held')`),
  Effect.tap(() => Effect.sync(() => process.send?.("holding"))),
  Effect.zipRight(Effect.never),
  Effect.provide(Sql.layerEmbedded({ dataDir })),
  Effect.catchAll((error) => Effect.sync(() => process.send?.(error._tag))),
  Effect.runFork
)
