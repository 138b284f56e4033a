import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { MessageNotFound } from "../domain/Conversation.ts"
import { TurnId } from "../domain/Id.ts"
import { key } from "../domain/Json.ts"
import { wire } from "../domain/Problem.ts"
import { Reverted, Turn, TurnInProgress, TurnNotFound, UndoConflict } from "../domain/Turn.ts"
import { cursorId, start } from "../domain/TurnEvent.ts"
import { ApiRateLimit, Authentication } from "./Authentication.ts"
import { EventStream, TurnPath } from "./ChatApi.ts"

export class Undone extends Schema.Class<Undone>("Undone")(
  {
    turnId: TurnId.pipe(key("turn_id")),
    reverted: Schema.Array(Reverted)
  },
  [undefined, { identifier: "Undone", description: "The reverted changes" }]
) {}

export class TurnsApi extends HttpApiGroup.make("turns")
  .add(
    HttpApiEndpoint.get("get", "/api/:user_id/turns/:turn_id")
      .setPath(TurnPath)
      .addSuccess(Turn)
      .addError(wire(TurnNotFound))
      .annotate(OpenApi.Identifier, "getTurn")
      .annotate(OpenApi.Summary, "Read a turn, running or ended")
      .annotate(OpenApi.Description, "For a running turn, what is stored so far.")
  )
  .add(
    HttpApiEndpoint.get("events", "/api/:user_id/turns/:turn_id/events")
      .setPath(TurnPath)
      .setHeaders(
        Schema.Struct({
          "last-event-id": Schema.optional(
            Schema.String.annotations({
              description: "The id of the last event that you have read; the answer contains the later events",
              examples: [cursorId(start)]
            })
          )
        })
      )
      .addSuccess(EventStream)
      .addSuccess(
        HttpApiSchema.NoContent.annotations({ description: "You have read the last event; there are no more" })
      )
      .addError(wire(TurnNotFound))
      .addError(wire(MessageNotFound))
      .annotate(OpenApi.Identifier, "turnEvents")
      .annotate(OpenApi.Summary, "Read a turn's events, from the start or from any event")
      .annotate(
        OpenApi.Description,
        "Live while the turn runs, on any node. Text may come in other pieces than the first time; nothing is missing and nothing comes twice. 404 `message_not_found` if the answer was deleted."
      )
  )
  .add(
    HttpApiEndpoint.post("cancel", "/api/:user_id/turns/:turn_id/cancel")
      .setPath(TurnPath)
      .addSuccess(Turn, { status: 202 })
      .addSuccess(Turn)
      .addError(wire(TurnNotFound))
      .annotate(OpenApi.Identifier, "cancelTurn")
      .annotate(OpenApi.Summary, "Stop a turn")
      .annotate(
        OpenApi.Description,
        "202: the turn is being stopped; its text and tool calls so far are kept. 200: it had already ended and is unchanged."
      )
  )
  .add(
    HttpApiEndpoint.post("undo", "/api/:user_id/turns/:turn_id/undo")
      .setPath(TurnPath)
      .addSuccess(Undone)
      .addError(wire(TurnNotFound))
      .addError(wire(TurnInProgress))
      .addError(wire(UndoConflict))
      .annotate(OpenApi.Identifier, "undoTurn")
      .annotate(OpenApi.Summary, "Undo the task changes of an ended turn")
      .annotate(OpenApi.Description, "Reverts all of them or none. Repeating it is harmless and gives the same answer.")
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "Units of work: a user message, the agent's steps, the assistant message") {}
