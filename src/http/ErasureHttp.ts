import { HttpServerResponse } from "@effect/platform"
import { Effect, Option } from "effect"
import { Api } from "../api/Api.ts"
import { CurrentUser, InvalidRequest } from "../domain/Request.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { Erasure } from "../services/data/Erasure.ts"

/** How long a request waits for a running erasure. */
const patience = "5 seconds"

const running = HttpServerResponse.empty({ status: 202, headers: { "retry-after": "1" } })
const done = HttpServerResponse.empty({ status: 204 })

export const layer = HttpApiRoutes.group(Api, "erasure", (handlers) =>
  Effect.map(Erasure, (erasure) =>
    handlers.handle(
      "erase",
      Effect.fnUntraced(function* ({ payload }) {
        const { id } = yield* CurrentUser
        if (payload.confirm !== id) {
          return yield* new InvalidRequest({ errors: [{ path: "confirm", message: "must be the user's id" }] })
        }
        switch (yield* erasure.request(id)) {
          case "begun":
            return running
          case "done":
            return done
          case "running":
            return Option.match(yield* Effect.timeoutOption(erasure.awaitEnd(id), patience), {
              onNone: () => running,
              onSome: () => done
            })
        }
      })
    )
  )
)
