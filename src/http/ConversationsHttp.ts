import { HttpApiBuilder, HttpServerResponse } from "@effect/platform"
import { Effect, type Schema } from "effect"
import { Api } from "../api/Api.ts"
import { ConversationList, MessageList } from "../api/ConversationsApi.ts"
import * as Codec from "../domain/Codec.ts"
import type { ConversationId } from "../domain/Id.ts"
import { CurrentUser } from "../domain/Request.ts"
import { Conversations } from "../services/Conversations.ts"
import { note } from "./Exchange.ts"

const answer = <A, I>(schema: Schema.Schema<A, I>) => {
  const encode = Codec.encodeJson(schema)
  return (value: A) => HttpServerResponse.uint8Array(encode(value), { contentType: "application/json" })
}

const listAnswer = answer(ConversationList)
const messagesAnswer = answer(MessageList)

/** Who asks, while the request's log line names the conversation. */
const ownerOf = (path: { readonly conversation_id: ConversationId }) =>
  Effect.zipRight(
    note({ conversation_id: path.conversation_id }),
    Effect.map(CurrentUser, ({ id }) => id)
  )

export const layer = HttpApiBuilder.group(Api, "conversations", (handlers) =>
  Effect.map(Conversations, (conversations) =>
    handlers
      .handleRaw("list", ({ urlParams }) =>
        CurrentUser.pipe(
          Effect.flatMap(({ id }) => conversations.list(id, urlParams)),
          Effect.map(listAnswer)
        )
      )
      .handle("get", ({ path }) =>
        Effect.flatMap(ownerOf(path), (owner) => conversations.get(owner, path.conversation_id))
      )
      .handle("rename", ({ path, payload }) =>
        Effect.flatMap(ownerOf(path), (owner) => conversations.rename(owner, path.conversation_id, payload.title))
      )
      .handle("remove", ({ path }) =>
        Effect.flatMap(ownerOf(path), (owner) => conversations.remove(owner, path.conversation_id))
      )
      .handleRaw("messages", ({ path, urlParams }) =>
        ownerOf(path).pipe(
          Effect.flatMap((owner) => conversations.messages(owner, path.conversation_id, urlParams)),
          Effect.map(messagesAnswer)
        )
      )
      .handle("removeMessage", ({ path }) =>
        Effect.flatMap(ownerOf(path), (owner) =>
          conversations.removeMessage(owner, path.conversation_id, path.message_id)
        )
      )
  )
)
