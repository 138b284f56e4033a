import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { ApprovalClosed, Awaiting, approvalLifetime } from "../domain/Approval.ts"
import { ConversationForbidden, ConversationNotFound, MessageNotFound } from "../domain/Conversation.ts"
import { ConversationId, fromPath, MessageId, TurnId, TurnIdFromPath, UserId } from "../domain/Id.ts"
import { key, Time } from "../domain/Json.ts"
import { wire } from "../domain/Problem.ts"
import { PayloadTooLarge, TimeZone, Unavailable, UnsupportedMediaType } from "../domain/Request.ts"
import { TaskChanged } from "../domain/Task.ts"
import { ToolCalls } from "../domain/ToolCall.ts"
import {
  BudgetExhausted,
  IdempotencyInProgress,
  IdempotencyKeyReused,
  keyLifetime,
  TooManyTurns,
  TurnCancelled,
  TurnFailed,
  TurnInProgress,
  TurnInterrupted,
  TurnNotFound,
  TurnRefused,
  TurnTimedOut,
  Usage
} from "../domain/Turn.ts"
import { Authentication, ChatRateLimit } from "./Authentication.ts"
import * as Example from "./Example.ts"

const example = {
  conversation_id: 12,
  message_id: 34,
  assistant_message: "I've added “Buy milk”.",
  tool_calls: [Example.ended],
  awaiting: null,
  timestamp: "2026-01-31T12:00:00.000Z",
  turn_id: Example.turnId,
  usage: { input_tokens: 412, output_tokens: 38 }
}

export class ChatRequest extends Schema.Class<ChatRequest>("ChatRequest")(
  {
    message: Schema.String.annotations({
      description: "The user's message: not blank, at most 4000 characters unless the service has another limit"
    }),
    conversationId: Schema.optional(Schema.NullOr(ConversationId))
      .annotations({ description: "The conversation to continue; without it a new one begins" })
      .pipe(Schema.fromKey("conversation_id")),
    timeZone: Schema.optional(TimeZone)
      .annotations({
        description: "IANA name of the user's time zone, for dates such as “tomorrow”; UTC when absent"
      })
      .pipe(Schema.fromKey("time_zone"))
  },
  [
    undefined,
    {
      identifier: "ChatRequest",
      jsonSchema: { examples: [{ message: "Add buy milk", time_zone: "Europe/Berlin" }] }
    }
  ]
) {}

export class ChatAnswer extends Schema.Class<ChatAnswer>("ChatAnswer")(
  {
    conversationId: ConversationId.pipe(key("conversation_id")),
    messageId: MessageId.pipe(key("message_id")).annotations({ description: "The id of the assistant message" }),
    assistantMessage: Schema.String.annotations({ description: "The agent's text" }).pipe(key("assistant_message")),
    toolCalls: ToolCalls.pipe(key("tool_calls")),
    awaiting: Awaiting,
    timestamp: Schema.propertySignature(Time).annotations({ description: "The time of the assistant message" }),
    turnId: TurnId.pipe(key("turn_id")),
    usage: Usage
  },
  [undefined, { identifier: "ChatAnswer", description: "The agent's answer", jsonSchema: { examples: [example] } }]
) {}

/** Bare or quoted, 1 to 255 visible ASCII characters. */
const IdempotencyKey = Schema.String.pipe(
  Schema.pattern(/^("[\x20-\x21\x23-\x7e]{1,255}"|[\x21\x23-\x7e][\x21-\x7e]{0,254})$/, {
    message: () => "must have 1 to 255 visible ASCII characters"
  }),
  Schema.annotations({
    identifier: "IdempotencyKey",
    jsonSchema: {
      type: "string",
      minLength: 1,
      maxLength: 257,
      description: `Makes the request safe to repeat: for ${keyLifetime} the same key with the same body returns the first answer again, and nothing runs twice. 1 to 255 visible ASCII characters, bare or quoted.`,
      examples: ["5e6ad2f4-5d0c-4a63-b1fb-6b1b6f0a5a5e"]
    }
  })
)

/** The key itself, without quotes. */
export const unquoted = (key: string) => (key.startsWith('"') ? key.slice(1, -1) : key)

export const IdempotencyHeaders = Schema.Struct({ "idempotency-key": Schema.optional(IdempotencyKey) })

/** The user of a URL, who must be the token's user. */
export const UserPath = Schema.Struct({ user_id: fromPath(UserId) })

export const TurnPath = Schema.Struct({ user_id: fromPath(UserId), turn_id: TurnIdFromPath })

/** Server-sent events. `StreamEvent.ts` defines them, and `UiMessageChunk.ts` defines those of the AI SDK. */
export const EventStream = HttpApiSchema.Text({ contentType: "text/event-stream" }).annotations({
  description:
    'Server-sent events: `turn`, pieces of text, `tool_call`, `tool_result`, and a last one with `done: true`. Each has its own opaque `id`; send it as `Last-Event-ID` to read the rest. Comments fill long silences. With `Accept: text/event-stream; profile="ai-sdk-v1"` it is a UI message stream, which the AI SDK\'s `useChat` reads.'
})

/** Errors before a turn begins. */
const refusals = Schema.Union(
  wire(TurnInProgress),
  wire(TaskChanged),
  wire(TooManyTurns),
  wire(BudgetExhausted),
  wire(IdempotencyKeyReused),
  wire(MessageNotFound),
  wire(Unavailable)
)

/** Errors of a request that waits for the answer. */
const unanswered = Schema.Union(
  wire(IdempotencyInProgress),
  wire(TurnCancelled),
  wire(TurnInterrupted),
  wire(TurnFailed),
  wire(TurnRefused),
  wire(TurnTimedOut)
)

const say = <Name extends string>(name: Name, path: `/${string}`) =>
  HttpApiEndpoint.post(name, path)
    .setPath(UserPath)
    .setHeaders(IdempotencyHeaders)
    .setPayload(ChatRequest)
    .addError(wire(ConversationNotFound))
    .addError(wire(ConversationForbidden))
    .addError(wire(PayloadTooLarge))
    .addError(wire(UnsupportedMediaType))
    .addError(refusals)

const decide = <Name extends "approve" | "decline">(name: Name) =>
  HttpApiEndpoint.post(name, `/api/:user_id/turns/:turn_id/${name}`)
    .setPath(TurnPath)
    .setHeaders(IdempotencyHeaders)
    .addSuccess(ChatAnswer)
    .addSuccess(EventStream)
    .addError(wire(TurnNotFound))
    .addError(wire(ApprovalClosed))
    .addError(refusals)
    .addError(unanswered)

export class ChatApi extends HttpApiGroup.make("chat")
  .add(
    say("send", "/api/:user_id/chat")
      .addSuccess(ChatAnswer)
      .addError(unanswered)
      .annotate(OpenApi.Identifier, "chat")
      .annotate(OpenApi.Summary, "Send a message and get the whole answer")
      .annotate(
        OpenApi.Description,
        "Begins a turn, in a new conversation unless one is given, and answers when the turn ends. The turn does not depend on the connection: it runs on if the client leaves."
      )
  )
  .add(
    say("stream", "/api/:user_id/chat/stream")
      .addSuccess(EventStream)
      .annotate(OpenApi.Identifier, "chatStream")
      .annotate(OpenApi.Summary, "Send a message and read the answer as it is made")
      .annotate(
        OpenApi.Description,
        "A refusal is an HTTP status; a later failure is the last event. A stream that ends without an event with `done: true` was cut: read on at `/turns/{turn_id}/events` with `Last-Event-ID`."
      )
  )
  .add(
    decide("approve")
      .annotate(OpenApi.Identifier, "approveTurn")
      .annotate(OpenApi.Summary, "Approve a turn's waiting calls")
      .annotate(
        OpenApi.Description,
        `Begins a turn that runs the waiting calls unchanged, and lets the agent go on. The answer is that of a chat message, or its stream with \`Accept: text/event-stream\`. The turn's user message is “Approve”. It works once, within ${approvalLifetime}; after that it is 409 \`approval_closed\`. If one of the calls' tasks has changed meanwhile, none of them runs: 412 \`task_changed\`. There is no body.`
      )
  )
  .add(
    decide("decline")
      .annotate(OpenApi.Identifier, "declineTurn")
      .annotate(OpenApi.Summary, "Decline a turn's waiting calls")
      .annotate(
        OpenApi.Description,
        "Like approving, but none of the calls runs; the agent learns this and goes on. The turn's user message is “Decline”. Any other message to the conversation also declines the calls, unless it is a single word of approval such as `yes` or `ok`."
      )
  )
  .middleware(ChatRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "Conversations with the agent") {}
