import { Effect } from "effect"
import { Api } from "../api/Api.ts"
import type { ConversationId } from "../domain/Id.ts"
import { CurrentUser } from "../domain/Request.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { Conversations } from "../services/Conversations.ts"
import { annotateRequestLog } from "./Exchange.ts"

/** The user; also adds the conversation to the request's log line. */
const ownerOf = (path: { readonly conversation_id: ConversationId }) =>
  Effect.zipRight(
    annotateRequestLog({ conversation_id: path.conversation_id }),
    Effect.map(CurrentUser, ({ id }) => id)
  )

export const layer = HttpApiRoutes.group(Api, "conversations", (handlers) =>
  Effect.map(Conversations, (conversations) =>
    handlers
      .handle("list", ({ urlParams }) => Effect.flatMap(CurrentUser, ({ id }) => conversations.list(id, urlParams)))
      .handle("get", ({ path }) =>
        Effect.flatMap(ownerOf(path), (owner) => conversations.get(owner, path.conversation_id))
      )
      .handle("rename", ({ path, payload }) =>
        Effect.flatMap(ownerOf(path), (owner) => conversations.rename(owner, path.conversation_id, payload.title))
      )
      .handle("remove", ({ path }) =>
        Effect.flatMap(ownerOf(path), (owner) => conversations.remove(owner, path.conversation_id))
      )
      .handle("messages", ({ path, urlParams }) =>
        Effect.flatMap(ownerOf(path), (owner) => conversations.messages(owner, path.conversation_id, urlParams))
      )
      .handle("removeMessage", ({ path }) =>
        Effect.flatMap(ownerOf(path), (owner) =>
          conversations.removeMessage(owner, path.conversation_id, path.message_id)
        )
      )
  )
)
