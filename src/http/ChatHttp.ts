import { HttpApiBuilder, HttpApiError, HttpApp, HttpServerResponse } from "@effect/platform"
import { Effect, Schema } from "effect"
import { Api } from "../api/Api.ts"
import { ChatAnswer, ChatRequest, unquoted } from "../api/ChatApi.ts"
import * as Codec from "../domain/Codec.ts"
import { length, normalize } from "../domain/Json.ts"
import { CurrentUser, InvalidRequest } from "../domain/Request.ts"
import { Chat } from "../services/Chat.ts"
import { hashOf } from "../services/Idempotency.ts"
import type { TurnRequest } from "../services/Turns.ts"
import { note } from "./Exchange.ts"
import * as Sse from "./Sse.ts"

interface Call {
  readonly payload: ChatRequest
  readonly headers: { readonly "idempotency-key"?: string | undefined }
}

export interface ChatHttpOptions {
  /** Code points. */
  readonly messageMaxLength: number
}

export const layer = ({ messageMaxLength }: ChatHttpOptions) =>
  HttpApiBuilder.group(Api, "chat", (handlers) =>
    Effect.gen(function* () {
      const chat = yield* Chat

      const turnRequest = (
        scope: string,
        { headers, payload }: Call
      ): Effect.Effect<TurnRequest, InvalidRequest, CurrentUser> =>
        Effect.gen(function* () {
          const { id: user } = yield* CurrentUser
          const message = normalize(payload.message)
          if (message === "") return yield* refuse("must not be blank")
          if (length(message) > messageMaxLength)
            return yield* refuse(`must have at most ${messageMaxLength} characters`)
          const conversationId = payload.conversationId ?? null
          const timeZone = payload.timeZone ?? "UTC"
          const key = headers["idempotency-key"]
          return {
            user,
            conversationId,
            message,
            timeZone,
            key: key === undefined ? null : { scope, key: unquoted(key), hash: hashOf({ ...payload, conversationId }) }
          }
        })

      return handlers
        .handle("send", (call) =>
          Effect.gen(function* () {
            const request = yield* turnRequest("chat", call)
            const { end, isReplay, message } = yield* chat.answer(request)
            yield* note({ turn_id: end.turnId, conversation_id: end.conversationId })
            if (isReplay) yield* replayed
            return HttpServerResponse.unsafeJson(
              encodeAnswer({
                conversationId: end.conversationId,
                messageId: message.id,
                assistantMessage: end.content,
                toolCalls: end.toolCalls,
                timestamp: message.createdAt,
                turnId: end.turnId,
                usage: end.usage
              })
            )
          })
        )
        .handleRaw("stream", ({ headers, request }) =>
          Effect.gen(function* () {
            const payload = yield* Effect.flatMap(Effect.orDie(request.json), decodeChat)
            const reading = yield* Effect.flatMap(turnRequest("chat/stream", { headers, payload }), chat.start)
            yield* note({ turn_id: reading.turnId, conversation_id: reading.conversationId })
            return Sse.respond(request.headers["accept"], reading)
          }).pipe(Effect.catchTag("ParseError", HttpApiError.HttpApiDecodeError.refailParseError))
        )
    })
  )

const encodeAnswer = Codec.encode(ChatAnswer)

const decodeChat = Schema.decodeUnknown(ChatRequest)

const refuse = (message: string) => new InvalidRequest({ errors: [{ path: "message", message }] })

/** The answer was given before; nothing has run twice. */
const replayed = HttpApp.appendPreResponseHandler((_, response) =>
  Effect.succeed(HttpServerResponse.setHeader(response, "idempotent-replayed", "true"))
)
