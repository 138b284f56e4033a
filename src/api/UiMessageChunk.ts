import { Schema } from "effect"
import { ConversationId, MessageId, TurnId } from "../domain/Id.ts"
import { Time } from "../domain/Json.ts"
import { TurnEnd, TurnError, Usage } from "../domain/Turn.ts"
import { cursorId, endId, start } from "../domain/TurnEvent.ts"

export const mediaType = "text/event-stream"

/** The profile of the stream that `useChat` of Vercel's AI SDK reads. */
export const profile = "ai-sdk-v1"

/** The media type, in `Accept` and in the answer. */
export const contentType = `${mediaType}; profile="${profile}"`

/** A response header that the AI SDK's own servers send. */
export const protocol = { "x-vercel-ai-ui-message-stream": "v1" }

// The names are those of the AI SDK. Members that it leaves to the application are in snake_case.
const chunk = <const Type extends string, Fields extends Schema.Struct.Fields>(
  type: Type,
  fields: Fields,
  description: string
) =>
  Schema.Struct({ type: Schema.Literal(type), ...fields }).annotations({
    identifier: `Ui${type.replaceAll(/(?:^|-)(\w)/g, (_, first: string) => first.toUpperCase())}`,
    description
  })

const id = { id: Schema.String.annotations({ description: "The id of the text part", examples: ["1"] }) }

const toolCallId = { toolCallId: Schema.String.annotations({ examples: ["k3Xb9QzT7"] }) }

/** `dynamic`: the SDK does not know the tools. `providerExecuted`: the service runs them, not the page. */
const ours = { providerExecuted: Schema.Literal(true), dynamic: Schema.Literal(true) }

/** Metadata at the start. */
const Begun = Schema.Struct({
  turn_id: TurnId,
  conversation_id: ConversationId,
  user_message_id: MessageId
}).annotations({ identifier: "UiTurnBegun", description: "The turn and its conversation" })

/** Metadata at the end. */
const Over = Schema.Struct({
  status: TurnEnd,
  message_id: Schema.optional(MessageId),
  timestamp: Schema.optional(Schema.encodedSchema(Time)).annotations({
    description: "The id of the assistant message, if there is one"
  }),
  usage: Schema.encodedSchema(Usage),
  error: Schema.optional(TurnError)
}).annotations({ identifier: "UiTurnEnded", description: "How the turn ended" })

/** One chunk of a turn as a UI message stream. */
export const UiMessageChunk = Schema.Union(
  chunk(
    "start",
    { messageId: Schema.optional(TurnId), messageMetadata: Begun },
    "First. The message goes by its turn's id, as its own is not known yet; without one it goes on with the message before"
  ),
  chunk("start-step", {}, "The model is asked"),
  chunk("text-start", id, "A part of text begins"),
  chunk(
    "text-delta",
    { ...id, delta: Schema.String },
    "The next piece; those of all parts joined are exactly the assistant message"
  ),
  chunk("text-end", id, "The part of text is over"),
  chunk(
    "tool-input-available",
    {
      ...toolCallId,
      toolName: Schema.String.annotations({ examples: ["create_task"] }),
      input: Schema.Unknown.annotations({ description: "The arguments, as the model gave them" }),
      ...ours
    },
    "A tool call has begun"
  ),
  chunk(
    "tool-output-available",
    { ...toolCallId, output: Schema.Unknown.annotations({ description: "A `ToolResult`" }), ...ours },
    "A tool call has succeeded, and its effect is kept"
  ),
  chunk(
    "tool-approval-request",
    { approvalId: Schema.String.annotations({ description: "The call's id", examples: ["k3Xb9QzT7"] }), ...toolCallId },
    "A tool call waits for the user's approval"
  ),
  chunk("tool-output-denied", toolCallId, "The user has declined the call"),
  chunk("tool-output-error", { ...toolCallId, errorText: Schema.String, ...ours }, "A tool call has come to nothing"),
  chunk("finish-step", {}, "The step is over"),
  chunk("message-metadata", { messageMetadata: Over }, "How a turn ended that did not complete"),
  chunk("error", { errorText: TurnError.fields.detail }, "The turn failed, ran out of time or was interrupted"),
  chunk("abort", {}, "Last, when the turn was cancelled"),
  chunk(
    "finish",
    { finishReason: Schema.Literal("stop", "error"), messageMetadata: Schema.optional(Over) },
    "Last, when it was not"
  )
).annotations({
  identifier: "UiMessageChunk",
  description: "The data of an event of a UI message stream. After the last one comes `[DONE]`, which is not JSON"
})
export type UiMessageChunk = typeof UiMessageChunk.Encoded

/** A frame. The last chunk of an event of the turn has that event's id. */
export const frames = (chunks: ReadonlyArray<UiMessageChunk>, id: string) =>
  chunks.map((chunk, i) => `${i === chunks.length - 1 ? `id: ${id}\n` : ""}data: ${JSON.stringify(chunk)}\n\n`).join("")

/** After the last chunk. */
export const done = "data: [DONE]\n\n"

const turn_id = "0197b3c2-7d5e-7cc3-98c4-dc0c0c07398f"
const call = { toolCallId: "k3Xb9QzT7", providerExecuted: true, dynamic: true } as const

/** A whole stream. */
export const example = [
  ": ok\n",
  frames(
    [
      {
        type: "start",
        messageId: turn_id,
        messageMetadata: { turn_id, conversation_id: 12, user_message_id: 33 }
      }
    ],
    cursorId(start)
  ),
  frames(
    [
      { type: "start-step" },
      { type: "tool-input-available", ...call, toolName: "create_task", input: { title: "Buy milk" } }
    ],
    cursorId({ calls: 0, begun: true, text: 0 })
  ),
  frames(
    [
      {
        type: "tool-output-available",
        ...call,
        output: { status: "success", task: { id: 7, title: "Buy milk", completed: false } }
      }
    ],
    cursorId({ calls: 1, begun: false, text: 0 })
  ),
  frames(
    [
      { type: "finish-step" },
      { type: "start-step" },
      { type: "text-start", id: "1" },
      { type: "text-delta", id: "1", delta: "I've added “Buy milk”." }
    ],
    cursorId({ calls: 1, begun: false, text: 22 })
  ),
  frames(
    [
      { type: "text-end", id: "1" },
      { type: "finish-step" },
      {
        type: "finish",
        finishReason: "stop",
        messageMetadata: {
          status: "completed",
          message_id: 34,
          timestamp: "2026-01-31T12:00:00.000Z",
          usage: { input_tokens: 412, output_tokens: 38 }
        }
      }
    ],
    endId
  ),
  done
].join("")
