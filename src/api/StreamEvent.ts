import { Schema } from "effect"
import { Awaiting } from "../domain/Approval.ts"
import { ConversationId, MessageId, TurnId } from "../domain/Id.ts"
import { key, Time } from "../domain/Json.ts"
import { ToolCall, ToolCallStarted, ToolCalls } from "../domain/ToolCall.ts"
import { TurnError, Usage } from "../domain/Turn.ts"
import { cursorId, endId, start } from "../domain/TurnEvent.ts"
import * as Example from "./Example.ts"

const more = { done: Schema.Literal(false) }
const last = { done: Schema.Literal(true) }

const turnId = { turnId: TurnId.pipe(key("turn_id")) }
const conversationId = { conversationId: ConversationId.pipe(key("conversation_id")) }

/** The `data` of an event. In TypeScript, a tag names the event. */
const dataOf = <const Tag extends string, Fields extends Schema.Struct.Fields>(
  tag: Tag,
  fields: Fields,
  description: string
) =>
  Schema.Struct(fields).pipe(
    Schema.attachPropertySignature("_tag", tag),
    Schema.annotations({ identifier: `Stream${tag}`, description })
  )

export const Turn = dataOf(
  "Turn",
  { ...turnId, ...conversationId, userMessageId: MessageId.pipe(key("user_message_id")), ...more },
  "The first event: which turn this is, and where its messages go"
)

export const Text = dataOf(
  "Text",
  {
    content: Schema.String.annotations({
      description: "The next piece of text; all pieces joined are the assistant message"
    }),
    ...more
  },
  "A piece of the answer"
)

export const CallBegun = dataOf(
  "CallBegun",
  { toolCall: ToolCallStarted.pipe(key("tool_call")), ...more },
  "A tool call has begun"
)

export const CallEnded = dataOf(
  "CallEnded",
  { toolCall: ToolCall.pipe(key("tool_call")), ...more },
  "A tool call has ended"
)

export const Completed = dataOf(
  "Completed",
  {
    ...last,
    ...conversationId,
    messageId: MessageId.pipe(key("message_id")),
    toolCalls: ToolCalls.pipe(key("tool_calls")),
    awaiting: Awaiting,
    timestamp: Time,
    ...turnId,
    usage: Usage
  },
  "The last event of a turn that completed: what a JSON answer says, less the text"
)

export const Failed = dataOf(
  "Failed",
  {
    error: TurnError.fields.detail,
    code: TurnError.fields.code,
    ...last,
    ...turnId,
    toolCalls: ToolCalls.pipe(key("tool_calls")).annotations({
      description: "The calls that ran; null when there were none"
    })
  },
  "The last event of a turn that failed, ran out of time, was cancelled or was interrupted"
)

/** A frame has a name and JSON; without a name it is a `message`, as in the SSE standard. */
const frame = <const Name extends string, A, I>(event: Name, data: Schema.Schema<A, I>) =>
  Schema.transform(
    Schema.Struct({ event: Schema.Literal(event), data: Schema.parseJson(data) }),
    Schema.typeSchema(data),
    { strict: true, decode: ({ data }) => data, encode: (data) => ({ event, data }) }
  )

/** One event of a stream, from its name and data. Exactly one has `done: true`, and it is the last. */
export const StreamEvent = Schema.Union(
  frame("message", Schema.Union(Text, Completed, Failed)),
  frame("turn", Turn),
  frame("tool_call", CallBegun),
  frame("tool_result", CallEnded)
).annotations({
  identifier: "StreamEvent",
  description: "One event; `message` means a frame without an `event` field"
})
export type StreamEvent = typeof StreamEvent.Type

const begun: typeof Turn.Encoded = { turn_id: Example.turnId, conversation_id: 12, user_message_id: 33, done: false }
const completed: typeof Completed.Encoded = {
  done: true,
  conversation_id: 12,
  message_id: 34,
  tool_calls: [Example.ended],
  awaiting: null,
  timestamp: "2026-01-31T12:00:00.000Z",
  turn_id: Example.turnId,
  usage: { input_tokens: 412, output_tokens: 38 }
}
const piece = (content: string): typeof Text.Encoded => ({ content, done: false })

const at = (calls: number, begun: boolean, text: number) => cursorId({ calls, begun, text })

/** The bytes of a whole stream. */
export const example = [
  `: ok\nid: ${cursorId(start)}\nevent: turn\ndata: ${JSON.stringify(begun)}`,
  `id: ${at(0, true, 0)}\nevent: tool_call\ndata: ${JSON.stringify({ tool_call: Example.call, done: false })}`,
  `id: ${at(1, false, 0)}\nevent: tool_result\ndata: ${JSON.stringify({ tool_call: Example.ended, done: false })}`,
  `id: ${at(1, false, 10)}\ndata: ${JSON.stringify(piece("I've added"))}`,
  `id: ${at(1, false, 22)}\ndata: ${JSON.stringify(piece(" “Buy milk”."))}`,
  `id: ${endId}\ndata: ${JSON.stringify(completed)}`
]
  .map((event) => `${event}\n\n`)
  .join("")
