import { DateTime, Schema } from "effect"
import type { CallBegun, CallEnded, Completed, Failed, Text, Turn } from "../../api/StreamEvent.ts"
import { Awaiting } from "../../domain/Approval.ts"
import { ToolCall, ToolCalls } from "../../domain/ToolCall.ts"
import { Usage } from "../../domain/Turn.ts"
import { type Cursor, cursorId, type Ended, endId, start } from "../../domain/TurnEvent.ts"
import type { Reading } from "../../services/turns/Chat.ts"
import type { Positioned } from "../../services/turns/TurnOutput.ts"
import type { Encoding } from "./Sse.ts"

const encodeCall = Schema.encodeSync(ToolCall)
const encodeCalls = Schema.encodeSync(ToolCalls)
const encodeAwaiting = Schema.encodeSync(Awaiting)
const encodeUsage = Schema.encodeSync(Usage)

/** A turn in this service's own events, after `cursor` or from its start. */
export const encoding = (reading: Reading, cursor?: Cursor): Encoding => ({
  headers: { "content-type": "text/event-stream" },
  from: cursor ?? start,
  head: cursor === undefined ? begun(reading) : "",
  frame
})

const begun = ({ conversationId, turnId, userMessageId }: Reading) =>
  named(cursorId(start), "turn", {
    turn_id: turnId,
    conversation_id: conversationId,
    user_message_id: userMessageId,
    done: false
  } satisfies typeof Turn.Encoded)

const frame = ({ after, event }: Positioned): string => {
  const id = cursorId(after)
  switch (event._tag) {
    case "Text":
      return data(id, { content: event.text, done: false } satisfies typeof Text.Encoded)
    case "ToolCallStarted":
      return named(id, "tool_call", { tool_call: event.call, done: false } satisfies typeof CallBegun.Encoded)
    case "ToolCallEnded":
      return named(id, "tool_result", {
        tool_call: encodeCall(event.call),
        done: false
      } satisfies typeof CallEnded.Encoded)
    case "Ended":
      return data(endId, ended(event.end))
  }
}

// Written by hand: a schema would take longer for a piece of text than the model.
const ended = ({
  awaiting,
  conversationId,
  error,
  message,
  status,
  toolCalls,
  turnId,
  usage
}: Ended): typeof Completed.Encoded | typeof Failed.Encoded =>
  status === "completed" && message !== null
    ? {
        done: true,
        conversation_id: conversationId,
        message_id: message.id,
        tool_calls: encodeCalls(toolCalls),
        awaiting: encodeAwaiting(awaiting),
        timestamp: DateTime.formatIso(message.createdAt),
        turn_id: turnId,
        usage: encodeUsage(usage)
      }
    : {
        error: error?.detail ?? "The turn did not complete.",
        code: error?.code ?? "internal_error",
        done: true,
        turn_id: turnId,
        tool_calls: encodeCalls(toolCalls)
      }

const data = (id: string, value: unknown) => `id: ${id}\ndata: ${JSON.stringify(value)}\n\n`
const named = (id: string, event: string, value: unknown) =>
  `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(value)}\n\n`
