import type { HttpServerRequest } from "@effect/platform"
import { Effect, Either } from "effect"
import { Api } from "../api/Api.ts"
import { type ChatRequest, unquoted } from "../api/ChatApi.ts"
import { mediaType } from "../api/UiMessageChunk.ts"
import type { Decision } from "../domain/Approval.ts"
import type { TurnId } from "../domain/Id.ts"
import { readText } from "../domain/Json.ts"
import { CurrentUser, InvalidRequest } from "../domain/Request.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { hashOf } from "../services/access/Idempotency.ts"
import { type Answer, Chat } from "../services/turns/Chat.ts"
import type { IdempotencyKey, TurnRequest } from "../services/turns/TurnTypes.ts"
import { names } from "./Accept.ts"
import { annotateRequestLog, setResponseHeaders } from "./Exchange.ts"
import * as Sse from "./sse/Sse.ts"

interface Headers {
  readonly "idempotency-key"?: string | undefined
}

interface Call {
  readonly payload: ChatRequest
  readonly headers: Headers
}

interface DecisionCall {
  readonly path: { readonly turn_id: TurnId }
  readonly headers: Headers
  readonly request: HttpServerRequest.HttpServerRequest
}

const keyOf = (scope: string, { "idempotency-key": key }: Headers, body: unknown): IdempotencyKey | null =>
  key === undefined ? null : { scope, key: unquoted(key), hash: hashOf(body) }

const answered = ({ end, isReplay, message }: Answer) => {
  const logged = annotateRequestLog({ turn_id: end.turnId, conversation_id: end.conversationId })
  return Effect.as(isReplay ? Effect.zipRight(logged, setResponseHeaders({ "idempotent-replayed": "true" })) : logged, {
    conversationId: end.conversationId,
    messageId: message.id,
    assistantMessage: end.content,
    toolCalls: end.toolCalls,
    awaiting: end.awaiting,
    timestamp: message.createdAt,
    turnId: end.turnId,
    usage: end.usage
  })
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
        const key = keyOf(scope, headers, { ...payload, conversationId })
        return Effect.succeed({ user, conversationId, message: read.right, timeZone, key })
      }

      const decided = Effect.fnUntraced(function* (decision: Decision, { headers, path, request }: DecisionCall) {
        const { id: user } = yield* CurrentUser
        const { turn_id: decides } = path
        const asked = { user, decides, decision, key: keyOf(`turns/${decides}/${decision}`, headers, null) }
        const accept = request.headers["accept"]
        if (!names(accept, mediaType)) return yield* answered(yield* chat.answerDecision(asked))
        const reading = yield* chat.decide(asked)
        yield* annotateRequestLog({ turn_id: reading.turnId, conversation_id: reading.conversationId })
        const declined = decision === "declined" ? yield* chat.awaited(user, decides) : []
        return Sse.respond(accept, reading, undefined, { declined: declined.map(({ id }) => id) })
      })

      return handlers
        .handle(
          "send",
          Effect.fnUntraced(function* (call) {
            const request = yield* turnRequest("chat", call, yield* CurrentUser)
            return yield* answered(yield* chat.answer(request))
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
        .handle("approve", (call) => decided("approved", call))
        .handle("decline", (call) => decided("declined", call))
    })
  )
