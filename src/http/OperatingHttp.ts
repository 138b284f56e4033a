import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Api } from "../api/Api.ts"
import { Unavailable } from "../domain/Request.ts"
import { Room } from "../domain/Room.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { RateLimits } from "../services/access/RateLimits.ts"
import { Chat } from "../services/turns/Chat.ts"
import { Draining } from "./Draining.ts"
import * as Metrics from "./Metrics.ts"

const ok = { status: "ok" } as const

export const layer = HttpApiRoutes.group(Api, "operating", (handlers) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const limits = yield* RateLimits
    const chat = yield* Chat
    const draining = yield* Draining
    const room = yield* Room

    // A read-only server refuses it, and it changes nothing on any other. The first attempt closes the sessions of a
    // server that another has replaced, even if nothing else writes.
    const databaseAcceptsWrites = sql`DELETE FROM idempotency_keys WHERE false`.pipe(
      Effect.retry({ times: 1 }),
      Effect.timeout("2 seconds"),
      Effect.match({ onFailure: () => false, onSuccess: () => true })
    )
    const unless = (isTrue: Effect.Effect<boolean>, detail: string) =>
      Effect.filterOrFail(isTrue, Boolean, () => new Unavailable({ detail, retryAfter: 1 }))

    return handlers
      .handle("health", () => Effect.succeed(ok))
      .handle(
        "ready",
        Effect.fnUntraced(function* () {
          yield* unless(
            Effect.map(chat.isAccepting, (isAccepting) => isAccepting && !draining.isDraining),
            "The service is shutting down."
          )
          yield* unless(databaseAcceptsWrites, "The database does not answer, or accepts no writes.")
          yield* unless(room.isLeft, "The disk is full.")
          return (yield* limits.ready) ? ok : { ...ok, redis: "away" as const }
        })
      )
      .handle("metrics", () => Metrics.text)
  })
)
