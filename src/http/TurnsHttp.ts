import { HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Api } from "../api/Api.ts"
import { Undone } from "../api/TurnsApi.ts"
import { CurrentUser } from "../domain/Request.ts"
import { Turn } from "../domain/Turn.ts"
import { invalidCursor, parseCursor, start } from "../domain/TurnEvent.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { Chat } from "../services/turns/Chat.ts"
import * as Sse from "./sse/Sse.ts"

const turnJson = HttpServerResponse.schemaJson(Turn)

export const layer = HttpApiRoutes.group(Api, "turns", (handlers) =>
  Effect.map(Chat, (chat) =>
    handlers
      .handle("get", ({ path }) => Effect.flatMap(CurrentUser, ({ id }) => chat.find(id, path.turn_id)))
      .handleRaw(
        "events",
        Effect.fnUntraced(function* ({ headers, path, request }) {
          const { id } = yield* CurrentUser
          const last = headers["last-event-id"]
          const cursor = last === undefined ? start : yield* parseCursor(last)
          const reading = yield* chat.read(id, path.turn_id)
          if (cursor === undefined) {
            return reading.output.isOver ? HttpServerResponse.empty({ status: 204 }) : yield* invalidCursor
          }
          if (!reading.isElsewhere && !reading.output.hasReached(cursor)) return yield* invalidCursor
          return Sse.respond(request.headers["accept"], reading, last === undefined ? undefined : cursor)
        })
      )
      .handleRaw(
        "cancel",
        Effect.fnUntraced(function* ({ path }) {
          const { id } = yield* CurrentUser
          const wasRunning = yield* chat.cancel(id, path.turn_id)
          const turn = yield* chat.find(id, path.turn_id)
          return yield* Effect.orDie(turnJson(turn, { status: wasRunning ? 202 : 200 }))
        })
      )
      .handle(
        "undo",
        Effect.fnUntraced(function* ({ path }) {
          const { id } = yield* CurrentUser
          return new Undone({ turnId: path.turn_id, reverted: yield* chat.undo(id, path.turn_id) })
        })
      )
  )
)
