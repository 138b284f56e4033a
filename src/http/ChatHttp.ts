import { Effect, Either } from "effect"
import { Api } from "../api/Api.ts"
import { type ChatRequest, unquoted } from "../api/ChatApi.ts"
import { readText } from "../domain/Json.ts"
import { CurrentUser, InvalidRequest } from "../domain/Request.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { hashOf } from "../services/access/Idempotency.ts"
import { Chat } from "../services/turns/Chat.ts"
import type { TurnRequest } from "../services/turns/TurnTypes.ts"
import { annotateRequestLog, setResponseHeaders } from "./Exchange.ts"
import * as Sse from "./sse/Sse.ts"

interface Call {
  readonly payload: ChatRequest
  readonly headers: { readonly "idempotency-key"?: string | undefined }
}

export interface ChatHttpOptions {
  /** Code points. */
  readonly messageMaxLength: number
}

export const layer = ({ messageMaxLength }: ChatHttpOptions) =>
  HttpApiRoutes.group(Api, "chat", (handlers) =>
    Effect.gen(function* () {
      const chat = yield* Chat

      const turnRequest = (
        scope: string,
        { headers, payload }: Call,
        { id: user }: typeof CurrentUser.Service
      ): Effect.Effect<TurnRequest, InvalidRequest> => {
        const read = readText(payload.message, 1, messageMaxLength)
        if (Either.isLeft(read)) return new InvalidRequest({ errors: [{ path: "message", message: read.left }] })
        const conversationId = payload.conversationId ?? null
        const timeZone = payload.timeZone ?? "UTC"
        const key = headers["idempotency-key"]
        return Effect.succeed({
          user,
          conversationId,
          message: read.right,
          timeZone,
          key: key === undefined ? null : { scope, key: unquoted(key), hash: hashOf({ ...payload, conversationId }) }
        })
      }

      return handlers
        .handle(
          "send",
          Effect.fnUntraced(function* (call) {
            const request = yield* turnRequest("chat", call, yield* CurrentUser)
            const { end, isReplay, message } = yield* chat.answer(request)
            yield* annotateRequestLog({ turn_id: end.turnId, conversation_id: end.conversationId })
            if (isReplay) yield* setResponseHeaders({ "idempotent-replayed": "true" })
            return {
              conversationId: end.conversationId,
              messageId: message.id,
              assistantMessage: end.content,
              toolCalls: end.toolCalls,
              timestamp: message.createdAt,
              turnId: end.turnId,
              usage: end.usage
            }
          })
        )
        .handle(
          "stream",
          Effect.fnUntraced(function* (call) {
            const request = yield* turnRequest("chat/stream", call, yield* CurrentUser)
            const reading = yield* chat.start(request)
            yield* annotateRequestLog({ turn_id: reading.turnId, conversation_id: reading.conversationId })
            return Sse.respond(call.request.headers["accept"], reading)
          })
        )
    })
  )
