import { Schema } from "effect"
import { Awaiting, type Decision, type HeldCall } from "./Approval.ts"
import { ConversationId, MessageId, TurnId } from "./Id.ts"
import { key, length, Time, text } from "./Json.ts"
import { Problem } from "./Problem.ts"
import type { ProviderState } from "./ProviderState.ts"
import { beginning } from "./Text.ts"
import { type Place, type ToolCall, ToolCalls } from "./ToolCall.ts"
import { TurnEnd, type TurnStatus } from "./Turn.ts"

export class Conversation extends Schema.Class<Conversation>("Conversation")(
  {
    id: ConversationId,
    title: Schema.NullOr(Schema.String.annotations({ examples: ["Buy milk"] })).annotations({
      description: "Derived from the first message, or set by the user; up to 200 characters"
    }),
    createdAt: Time.pipe(key("created_at")),
    updatedAt: Time.pipe(key("updated_at")).annotations({
      description: "The time of the last message or turn; renaming does not count"
    })
  },
  // The name of its JSON in the docs.
  [undefined, { identifier: "Conversation", description: "An ordered list of messages" }]
) {}

export const ConversationTitle = text(1, 200, "ConversationTitle", "Buy milk")

export const Role = Schema.Literal("user", "assistant").annotations({ description: "The author" })
export type Role = typeof Role.Type

/** A part of an answer: a piece of its text, or the id of one of its tool calls. */
export const MessagePart = Schema.Union(
  Schema.Struct({ type: Schema.Literal("text"), text: Schema.String.annotations({ examples: ["I've added it."] }) }),
  Schema.Struct({
    type: Schema.Literal("tool_call"),
    id: Schema.String.annotations({ description: "Of a call in `tool_calls`", examples: ["k3Xb9QzT7"] })
  })
).annotations({ identifier: "MessagePart", description: "A piece of the message's text, or one of its tool calls" })
export type MessagePart = typeof MessagePart.Type

/** One message. `status` is `completed`, or the end of the turn for an unfinished answer. */
export class Message extends Schema.Class<Message>("Message")(
  {
    id: MessageId,
    sequenceNumber: Schema.Int.annotations({ description: "1, 2, 3 … within the conversation", examples: [1] }).pipe(
      key("sequence_number")
    ),
    role: Role,
    content: Schema.String.annotations({ examples: ["Add buy milk"] }),
    toolCalls: ToolCalls.pipe(key("tool_calls")),
    status: TurnEnd,
    createdAt: Time.pipe(key("created_at")),
    turnId: TurnId.pipe(key("turn_id")),
    parts: Schema.optional(
      Schema.Array(MessagePart).annotations({
        description: "Only with `include=parts`: text and tool calls in order; the texts joined are `content`"
      })
    ),
    awaiting: Schema.optional(Awaiting).annotations({
      description: "Only with `include=parts`, and only as long as calls wait for the user's approval"
    })
  },
  [undefined, { identifier: "Message", description: "One message" }]
) {}

/**
 * A message's text and tool calls in order. Calls without a recorded position come first; the joined texts are always
 * the content.
 */
export const partsOf = (
  { content, toolCalls }: Pick<Message, "content" | "toolCalls">,
  places: ReadonlyArray<Pick<Place, "offset">>
): ReadonlyArray<MessagePart> => {
  const parts: Array<MessagePart> = []
  let from = 0
  const addText = (to: number) => {
    if (to > from) parts.push({ type: "text", text: content.slice(from, to) })
    from = Math.max(from, to)
  }
  for (const [i, { id }] of (toolCalls ?? []).entries()) {
    addText(Math.min(places[i]?.offset ?? 0, content.length))
    parts.push({ type: "tool_call", id })
  }
  addText(content.length)
  return parts
}

/** A message of the history that the agent gets. */
export interface HistoryMessage {
  readonly sequenceNumber: number
  readonly role: Role
  readonly content: string
  readonly toolCalls: ReadonlyArray<ToolCall> | null
  readonly places: ReadonlyArray<Place> | null
  /** Assistant messages: the provider state to send back with the steps. */
  readonly states?: ReadonlyArray<ProviderState> | null | undefined
  /** Assistant messages: the calls that were held back for the user's approval. */
  readonly held?: ReadonlyArray<HeldCall> | null | undefined
  /** The provider state to send back with the message's steps if its held calls are decided on. */
  readonly heldStates?: ReadonlyArray<ProviderState> | null | undefined
  /** User messages: the decision on the calls that the message before it held back. */
  readonly decision?: Decision | null | undefined
  /** How the message's turn ended. `refused`: the provider refused this message even without history. */
  readonly turnStatus: TurnStatus | "refused"
}

/** The title for a first message: its first words, at most 60 characters, cut at a word. */
export const titleFrom = (message: string): string => {
  const line = message.replace(/\s+/g, " ")
  if (length(line) <= 60) return line
  const cut = beginning(line, 59)
  const space = line[cut.length] === " " ? cut.length : cut.lastIndexOf(" ")
  return `${(space > 0 ? cut.slice(0, space) : cut).trimEnd()}…`
}

/** It does not exist, was deleted, or (when reading) is another user's. */
export class ConversationNotFound extends Problem("ConversationNotFound", {
  status: 404,
  codes: ["conversation_not_found"],
  title: "Conversation not found",
  detail: "Conversation not found"
}) {}

/** Chat into another user's conversation. */
export class ConversationForbidden extends Problem("ConversationForbidden", {
  status: 403,
  codes: ["conversation_forbidden"],
  title: "Forbidden",
  detail: "Permission denied"
}) {}

export class MessageNotFound extends Problem("MessageNotFound", {
  status: 404,
  codes: ["message_not_found"],
  title: "Message not found",
  detail: "Message not found"
}) {}
