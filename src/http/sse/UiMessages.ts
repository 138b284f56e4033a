import { DateTime, Schema } from "effect"
import { contentType, done, frames, protocol, type UiMessageChunk } from "../../api/UiMessageChunk.ts"
import type { ToolCall, ToolCallStarted } from "../../domain/ToolCall.ts"
import { Usage } from "../../domain/Turn.ts"
import { type Cursor, cursorId, type Ended, endId, isBehind, start, TurnEvent } from "../../domain/TurnEvent.ts"
import type { Reading } from "../../services/turns/Chat.ts"
import type { Encoding } from "./Sse.ts"

const encodeUsage = Schema.encodeSync(Usage)

/** A turn that decided on waiting calls, and continues the message that has them. */
export interface Continued {
  /** The ids of the calls that were declined. */
  readonly declined: ReadonlyArray<string>
}

/**
 * A turn as a UI message stream, after `cursor` or from its start. The turn is always read from its start: the events
 * before a piece determine its part.
 */
export const encoding = (reading: Reading, cursor?: Cursor, continued?: Continued): Encoding => {
  const message = new UiMessage(continued !== undefined)
  const seen = cursor ?? start
  return {
    headers: { "content-type": contentType, ...protocol },
    from: start,
    head: cursor === undefined ? frames(begun(reading, continued), cursorId(start)) : "",
    frame: ({ after, event }) => {
      if (event._tag === "Ended") return frames(message.add(event), endId) + done
      if (!isBehind(after, seen)) {
        message.add(event)
        return ""
      }
      const known = event._tag === "Text" ? seen.text - (after.text - event.text.length) : 0
      if (event._tag !== "Text" || known <= 0) return frames(message.add(event), cursorId(after))
      message.add(TurnEvent.Text({ text: event.text.slice(0, known) }))
      return frames(message.add(TurnEvent.Text({ text: event.text.slice(known) })), cursorId(after))
    }
  }
}

const begun = (
  { conversationId, turnId, userMessageId }: Reading,
  continued: Continued | undefined
): ReadonlyArray<UiMessageChunk> => {
  const messageMetadata = { turn_id: turnId, conversation_id: conversationId, user_message_id: userMessageId }
  return continued === undefined
    ? [{ type: "start", messageId: turnId, messageMetadata }]
    : [
        { type: "start", messageMetadata },
        ...continued.declined.map((toolCallId) => ({ type: "tool-output-denied" as const, toolCallId }))
      ]
}

/** The service runs the tools, not the page, and their names are not known beforehand. */
const ours = { providerExecuted: true, dynamic: true } as const

/** Builds a message: maps each event of the turn to chunks. */
class UiMessage {
  /** Whether it continues a message that already has the calls of the turn's first step. */
  private readonly isContinued: boolean
  private chunks: Array<UiMessageChunk> = []
  private isInStep = false
  /** The agent's step that asked for the calls of the open step, if it has any. */
  private calling: number | undefined
  private texts = 0
  private isSpeaking = false
  private calls = 0
  private readonly ids = new Set<string>()
  /** The id of the call that has begun and not ended. */
  private running: string | undefined

  constructor(isContinued: boolean) {
    this.isContinued = isContinued
  }

  add(event: TurnEvent): ReadonlyArray<UiMessageChunk> {
    this.chunks = []
    switch (event._tag) {
      case "Text":
        this.say(event.text)
        break
      case "ToolCallStarted":
        this.call(event.call, event.step)
        break
      case "ToolCallEnded":
        this.answer(event.call)
        break
      case "Ended":
        this.end(event.end)
    }
    return this.chunks
  }

  private say(piece: string) {
    // The empty line between two steps' texts would be a gap at the start of a part.
    const text = this.isSpeaking ? piece : piece.replace(/^\n+/, "")
    if (text === "") return
    if (!this.isSpeaking) {
      // Within a step the text comes first.
      if (this.calling !== undefined) this.leaveStep()
      this.enterStep()
      this.isSpeaking = true
      this.texts++
      this.chunks.push({ type: "text-start", id: String(this.texts) })
    }
    this.chunks.push({ type: "text-delta", id: String(this.texts), delta: text })
  }

  private call({ id, parameters, tool }: ToolCallStarted, step: number) {
    if (this.isContinued && step === 1) {
      this.running = this.own(id)
      return
    }
    if (this.calling !== undefined && this.calling !== step) this.leaveStep()
    this.enterStep()
    this.hush()
    this.calling = step
    const toolCallId = this.own(id)
    this.running = toolCallId
    this.chunks.push({ type: "tool-input-available", toolCallId, toolName: tool, input: parameters, ...ours })
  }

  /** The call's id, unless another call of the message has it: some models restart their count in every step. */
  private own(id: string) {
    this.calls++
    const own = this.ids.has(id) ? `${id}#${this.calls}` : id
    this.ids.add(own)
    return own
  }

  private answer({ id, result }: ToolCall) {
    const toolCallId = this.running ?? id
    this.running = undefined
    this.chunks.push(
      result.status === "success"
        ? { type: "tool-output-available", toolCallId, output: result, ...ours }
        : { type: "tool-output-error", toolCallId, errorText: String(result["error"]), ...ours }
    )
  }

  /** Waiting calls are a step of their own, which readers treat as the last one. */
  private wait(awaiting: NonNullable<Ended["awaiting"]>) {
    if (this.calling !== undefined) this.leaveStep()
    this.enterStep()
    this.hush()
    for (const { id, parameters, tool } of awaiting) {
      const toolCallId = this.own(id)
      this.chunks.push({ type: "tool-input-available", toolCallId, toolName: tool, input: parameters, ...ours })
      this.chunks.push({ type: "tool-approval-request", approvalId: id, toolCallId })
    }
  }

  private end(end: Ended) {
    if (this.running !== undefined) {
      const errorText = "The turn ended before this was done."
      this.chunks.push({ type: "tool-output-error", toolCallId: this.running, errorText, ...ours })
    }
    if (end.awaiting !== null) this.wait(end.awaiting)
    if (this.isInStep) this.leaveStep()
    const { error, message, status, usage } = end
    const messageMetadata = {
      status,
      ...(message !== null && { message_id: message.id, timestamp: DateTime.formatIso(message.createdAt) }),
      usage: encodeUsage(usage),
      ...(error !== null && { error })
    }
    if (status === "completed") {
      this.chunks.push({ type: "finish", finishReason: "stop", messageMetadata })
      return
    }
    // Before the error, since readers stop there.
    this.chunks.push({ type: "message-metadata", messageMetadata })
    if (status === "cancelled") this.chunks.push({ type: "abort" })
    else {
      this.chunks.push({ type: "error", errorText: error?.detail ?? "The turn did not complete." })
      this.chunks.push({ type: "finish", finishReason: "error" })
    }
  }

  private enterStep() {
    if (!this.isInStep) this.chunks.push({ type: "start-step" })
    this.isInStep = true
  }

  private leaveStep() {
    this.hush()
    this.chunks.push({ type: "finish-step" })
    this.isInStep = false
    this.calling = undefined
  }

  private hush() {
    if (this.isSpeaking) this.chunks.push({ type: "text-end", id: String(this.texts) })
    this.isSpeaking = false
  }
}
