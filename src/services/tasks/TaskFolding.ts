import type { SqlClient } from "@effect/sql"
import { Effect, Schema } from "effect"
import { TaskId, UserId } from "../../domain/Id.ts"
import * as Text from "../../domain/Text.ts"

const decodeUnfolded = Schema.decodeUnknown(
  Schema.Array(
    Schema.Struct({
      user: UserId,
      id: TaskId,
      version: Schema.Int,
      title: Schema.String,
      description: Schema.NullOr(Schema.String)
    })
  )
)

const batch = 500

/**
 * Folds the texts of tasks, of one user or of all, that nodes of the first version wrote, so that they are found as all others
 * are. Any number of nodes may do so at once; what stays unfolded is for the next time, and until then found as well as SQL
 * can.
 */
export const fold = (sql: SqlClient.SqlClient, owner?: UserId): Effect.Effect<void> =>
  Effect.gen(function* () {
    const tasks = yield* Effect.flatMap(
      sql`
        SELECT user_id AS "user", id, version, title, description FROM tasks
        WHERE title_search IS NULL ${owner === undefined ? sql.literal("") : sql`AND user_id = ${owner}`}
        ORDER BY user_id, id
        LIMIT ${batch}`,
      decodeUnfolded
    )
    const folded = tasks.map(({ description, title, ...task }) => ({
      ...task,
      title_search: Text.fold(title),
      description_search: description && Text.fold(description)
    }))
    if (folded.length > 0) {
      yield* sql`
        UPDATE tasks t SET title_search = f.title_search, description_search = f.description_search
        FROM jsonb_to_recordset(${JSON.stringify(folded)}::jsonb)
          AS f ("user" bigint, id bigint, version integer, title_search text, description_search text)
        WHERE t.user_id = f."user" AND t.id = f.id AND t.version = f.version AND t.title_search IS NULL`
    }
    return folded.length
  }).pipe(
    Effect.repeat({ while: (count) => count > 0 }),
    Effect.catchAll((error) =>
      Effect.logWarning("Search texts of older tasks are not ready yet", { reason: error._tag })
    ),
    Effect.asVoid,
    Effect.withSpan("Tasks.fold")
  )
