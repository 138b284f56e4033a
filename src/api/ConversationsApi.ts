import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import {
  Conversation,
  ConversationNotFound,
  ConversationTitle,
  Message,
  MessageNotFound
} from "../domain/Conversation.ts"
import { cursorOf } from "../domain/Cursor.ts"
import { ConversationId, fromPath, MessageId, UserId } from "../domain/Id.ts"
import { key } from "../domain/Json.ts"
import { wire } from "../domain/Problem.ts"
import { PayloadTooLarge, UnsupportedMediaType } from "../domain/Request.ts"
import { ApiRateLimit, Authentication } from "./Authentication.ts"
import * as Example from "./Example.ts"
import * as Paging from "./Paging.ts"

const conversation = {
  id: 12,
  title: "Buy milk",
  created_at: "2026-01-31T12:00:00.000Z",
  updated_at: "2026-01-31T12:00:02.000Z"
}

const turn_id = Example.turnId

const messages = [
  {
    id: 33,
    sequence_number: 1,
    role: "user",
    content: "Buy milk",
    tool_calls: null,
    status: "completed",
    created_at: "2026-01-31T12:00:00.000Z",
    turn_id
  },
  {
    id: 34,
    sequence_number: 2,
    role: "assistant",
    content: "I've added “Buy milk”.",
    tool_calls: [Example.ended],
    status: "completed",
    created_at: "2026-01-31T12:00:02.000Z",
    turn_id
  }
]

const cursor = cursorOf("conversation")

const total = Paging.total("How many there are, whatever the page")

export const ConversationList = Schema.Struct({
  conversations: Schema.Array(Conversation),
  total,
  nextCursor: Paging.nextCursorOf(cursor)
}).annotations({
  identifier: "ConversationList",
  description: "A page of conversations, the latest activity first",
  jsonSchema: { examples: [{ conversations: [conversation], total: 1, next_cursor: null }] }
})

export const MessageList = Schema.Struct({
  conversationId: ConversationId.pipe(key("conversation_id")),
  messages: Schema.Array(Message),
  total,
  hasMore: Schema.Boolean.annotations({
    description: "Whether there are more messages beyond this page, in the requested direction"
  }).pipe(key("has_more"))
}).annotations({
  identifier: "MessageList",
  description: "Messages of a conversation, in order",
  jsonSchema: { examples: [{ conversation_id: 12, messages, total: 2, has_more: false }] }
})

export class ConversationPatch extends Schema.Class<ConversationPatch>("ConversationPatch")(
  {
    title: Schema.optional(
      Schema.NullOr(ConversationTitle).annotations({ description: "Null removes the title; when absent it stays" })
    )
  },
  [undefined, { identifier: "ConversationPatch", jsonSchema: { examples: [{ title: "Groceries" }] } }]
) {}

const path = "/api/:user_id/conversations"

const ConversationPath = Schema.Struct({ user_id: fromPath(UserId), conversation_id: fromPath(ConversationId) })

const sequenceNumber = (description: string) =>
  Schema.optional(Paging.integer(0, Number.MAX_SAFE_INTEGER, { description, examples: [20] }))

export class ConversationsApi extends HttpApiGroup.make("conversations")
  .add(
    HttpApiEndpoint.get("list", path)
      .setPath(Schema.Struct({ user_id: fromPath(UserId) }))
      .setUrlParams(
        Schema.Struct({
          limit: Paging.limit(100, 50),
          cursor: Schema.optional(cursor)
        })
      )
      .addSuccess(ConversationList)
      .annotate(OpenApi.Identifier, "listConversations")
      .annotate(OpenApi.Summary, "List conversations, the latest activity first")
      .annotate(
        OpenApi.Description,
        "In pages. While others are added, no unchanged conversation is missed or comes twice."
      )
  )
  .add(
    HttpApiEndpoint.get("get", `${path}/:conversation_id`)
      .setPath(ConversationPath)
      .addSuccess(Conversation)
      .addError(wire(ConversationNotFound))
      .annotate(OpenApi.Identifier, "getConversation")
      .annotate(OpenApi.Summary, "Read a conversation")
      .annotate(OpenApi.Description, "Without its messages, which have their own address.")
  )
  .add(
    HttpApiEndpoint.patch("rename", `${path}/:conversation_id`)
      .setPath(ConversationPath)
      .setPayload(ConversationPatch)
      .addSuccess(Conversation)
      .addError(wire(ConversationNotFound))
      .addError(wire(PayloadTooLarge))
      .addError(wire(UnsupportedMediaType))
      .annotate(OpenApi.Identifier, "renameConversation")
      .annotate(OpenApi.Summary, "Rename a conversation")
      .annotate(OpenApi.Description, "It keeps its place in the list.")
  )
  .add(
    HttpApiEndpoint.del("remove", `${path}/:conversation_id`)
      .setPath(ConversationPath)
      .addError(wire(ConversationNotFound))
      .annotate(OpenApi.Identifier, "deleteConversation")
      .annotate(OpenApi.Summary, "Delete a conversation")
      .annotate(OpenApi.Description, "Its messages and turns are deleted too; the tasks stay.")
  )
  .add(
    HttpApiEndpoint.get("messages", `${path}/:conversation_id/messages`)
      .setPath(ConversationPath)
      .setUrlParams(
        Schema.Struct({
          limit: Paging.limit(1000, 1000),
          before: sequenceNumber("Only messages before this sequence number; alone: the last ones before it"),
          after: sequenceNumber("Only messages after this sequence number, the first ones"),
          include: Schema.optional(
            Schema.Literal("parts").annotations({
              description: "`parts`: text and tool calls of each message, in order",
              message: () => "must be parts"
            })
          )
        })
      )
      .addSuccess(MessageList)
      .addError(wire(ConversationNotFound))
      .annotate(OpenApi.Identifier, "listMessages")
      .annotate(OpenApi.Summary, "List the messages of a conversation, in order")
      .annotate(
        OpenApi.Description,
        "The first messages, those after a sequence number, the last ones before one, or those between two."
      )
  )
  .add(
    HttpApiEndpoint.del("removeMessage", `${path}/:conversation_id/messages/:message_id`)
      .setPath(Schema.Struct({ ...ConversationPath.fields, message_id: fromPath(MessageId) }))
      .addError(wire(ConversationNotFound))
      .addError(wire(MessageNotFound))
      .annotate(OpenApi.Identifier, "deleteMessage")
      .annotate(OpenApi.Summary, "Delete a message")
      .annotate(OpenApi.Description, "The agent no longer sees it. The others keep their sequence numbers.")
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "Conversations and their messages") {}
