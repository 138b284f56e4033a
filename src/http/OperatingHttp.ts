import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Api } from "../api/Api.ts"
import { Unavailable } from "../domain/Request.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { RateLimits } from "../services/access/RateLimits.ts"
import { Chat } from "../services/turns/Chat.ts"
import * as Metrics from "./Metrics.ts"

const ok = { status: "ok" } as const

export const layer = HttpApiRoutes.group(Api, "operating", (handlers) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const limits = yield* RateLimits
    const chat = yield* Chat

    const databaseAnswers = sql`SELECT 1`.pipe(
      Effect.timeout("2 seconds"),
      Effect.match({ onFailure: () => false, onSuccess: () => true })
    )
    const unless = (isTrue: Effect.Effect<boolean>, detail: string) =>
      Effect.filterOrFail(isTrue, Boolean, () => new Unavailable({ detail, retryAfter: 1 }))

    return handlers
      .handle("health", () => Effect.succeed(ok))
      .handle("ready", () =>
        Effect.as(
          Effect.all([
            unless(chat.isAccepting, "The service is shutting down."),
            unless(databaseAnswers, "The database does not answer."),
            unless(limits.ready, "Redis does not answer.")
          ]),
          ok
        )
      )
      .handle("metrics", () => Metrics.text)
  })
)
