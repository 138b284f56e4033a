/** A page's side: what the AI SDK's `useChat` needs to talk to the service, as in `useChat({ transport: transport(me) })`. */
import { type ChatTransport, DefaultChatTransport, type UIMessage } from "ai"

/** What comes with every answer, and with every message that `history` reads. */
export interface Metadata {
  readonly turn_id: string
  readonly conversation_id: number
  /** The id of the message that began the turn. */
  readonly user_message_id?: number
  /** From here on only once the turn is over. */
  readonly status?: "completed" | "failed" | "timed_out" | "cancelled" | "interrupted"
  readonly message_id?: number
  readonly timestamp?: string
  /** In an answer that was streamed. */
  readonly usage?: { readonly input_tokens: number; readonly output_tokens: number }
  readonly error?: { readonly code: string; readonly detail: string }
}

export type Message = UIMessage<Metadata>

export interface Me {
  /** The address of the service, without a slash at its end. */
  readonly baseUrl: string
  readonly token: string
  /** The token's user, if absent. */
  readonly user?: number
  readonly fetch?: typeof globalThis.fetch
}

const address = ({ baseUrl, user }: Me) => `${baseUrl}/api/${user ?? "me"}`

const authorization = ({ token }: Me) => ({ authorization: `Bearer ${token}` })

/**
 * Sends what is new to the service, which keeps the conversation, and goes on with that of the messages before. With
 * `sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses` it sends what the user says to calls that wait.
 */
export const transport = (me: Me): ChatTransport<Message> =>
  new Transport({
    api: `${address(me)}/chat/stream`,
    headers: { accept: 'text/event-stream; profile="ai-sdk-v1"', ...authorization(me) },
    ...(me.fetch && { fetch: me.fetch }),
    prepareSendMessagesRequest: ({ headers, messages }) => {
      const last = messages.at(-1)
      const conversation = messages.findLast(({ metadata }) => metadata !== undefined)?.metadata?.conversation_id
      const decision = decisionOf(last)
      return decision === undefined
        ? {
            ...(headers && { headers }),
            body: {
              message: textOf(last),
              conversation_id: conversation ?? null,
              time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone
            }
          }
        : // Which calls it is about is known to the service alone.
          { ...(headers && { headers }), api: `${address(me)}/turns/${last?.metadata?.turn_id}/${decision}`, body: {} }
    },
    prepareReconnectToStreamRequest: ({ headers, requestMetadata }) => ({
      ...(headers && { headers }),
      // The SDK leaves the type of this to the application; it is what `resumeStream` was given.
      api: `${address(me)}/turns/${(requestMetadata as Metadata).turn_id}/events`
    })
  })

class Transport extends DefaultChatTransport<Message> {
  /** `resumeStream({ metadata })` reads that turn again, from its start; without a turn there is nothing to read. */
  override async reconnectToStream(options: Parameters<ChatTransport<Message>["reconnectToStream"]>[0]) {
    return isMetadata(options.metadata) ? super.reconnectToStream(options) : null
  }
}

const isMetadata = (value: unknown): value is Metadata =>
  typeof value === "object" && value !== null && "turn_id" in value

/** The user's decision on the waiting calls of an answer: all are approved, or none. */
const decisionOf = (message: Message | undefined) => {
  const approvals = (message?.parts ?? []).flatMap((part) =>
    part.type === "dynamic-tool" && part.state === "approval-responded" ? [part.approval] : []
  )
  if (message?.role !== "assistant" || approvals.length === 0) return undefined
  return approvals.every(({ approved }) => approved) ? "approve" : "decline"
}

const textOf = (message: Message | undefined) =>
  (message?.parts ?? []).map((part) => (part.type === "text" ? part.text : "")).join("")

/** Stops the turn of an answer, which `stop` of `useChat` only ceases to read. */
export const cancel = (me: Me, { turn_id }: Pick<Metadata, "turn_id">) =>
  (me.fetch ?? fetch)(`${address(me)}/turns/${turn_id}/cancel`, { method: "POST", headers: authorization(me) })

/**
 * The last messages of a conversation, 1,000 at most, in order, with text and tools as they came. Rejects with an `Error`
 * whose message is the problem document if the service refuses.
 */
export const history = async (me: Me, conversationId: number): Promise<Array<Message>> => {
  const query = `include=parts&before=${Number.MAX_SAFE_INTEGER}`
  const url = `${address(me)}/conversations/${conversationId}/messages?${query}`
  const response = await (me.fetch ?? fetch)(url, { headers: authorization(me) })
  if (!response.ok) throw new Error(await response.text())
  // The service's answer has this form: its document says so.
  const { messages } = (await response.json()) as { readonly messages: ReadonlyArray<Kept> }
  const asked = new Map(messages.flatMap(({ id, role, turn_id }) => (role === "user" ? [[turn_id, id] as const] : [])))
  return messages.map((message) => {
    const { id, role, turn_id } = message
    const userMessageId = asked.get(turn_id)
    const turn = {
      turn_id,
      conversation_id: conversationId,
      ...(userMessageId !== undefined && { user_message_id: userMessageId })
    }
    return role === "user"
      ? { id: String(id), role, parts: [{ type: "text", text: message.content }], metadata: turn }
      : {
          // As in a stream, so that a turn which is read again takes the place of its message.
          id: turn_id,
          role,
          parts: partsOf(message),
          metadata: { ...turn, status: message.status, message_id: id, timestamp: message.created_at }
        }
  })
}

/**
 * What `resumeStream` takes to read a turn that has no answer yet: that of the last message, if the user said it. If all
 * is answered it is undefined, and `resumeStream` does nothing.
 */
export const unanswered = (messages: ReadonlyArray<Message>): { readonly metadata: Metadata } | undefined => {
  const last = messages.at(-1)
  return last?.role === "user" && last.metadata !== undefined ? { metadata: last.metadata } : undefined
}

interface Kept {
  readonly id: number
  readonly role: "user" | "assistant"
  readonly content: string
  readonly tool_calls: ReadonlyArray<{
    readonly id: string
    readonly tool: string
    readonly parameters: unknown
    readonly result: { readonly status: "success" | "error"; readonly error?: string }
  }> | null
  /** Only where calls wait for approval. */
  readonly awaiting?: ReadonlyArray<{ readonly id: string; readonly tool: string; readonly parameters: unknown }>
  readonly parts: ReadonlyArray<
    { readonly type: "text"; readonly text: string } | { readonly type: "tool_call"; readonly id: string }
  >
  readonly status: NonNullable<Metadata["status"]>
  readonly created_at: string
  readonly turn_id: string
}

/** As they would be streamed: words after a call begin a step, and the empty lines before them are left out. */
const partsOf = ({ awaiting = [], parts, tool_calls }: Kept) => {
  const calls = new Map((tool_calls ?? []).map((call) => [call.id, call]))
  const shown: Message["parts"] = []
  let isStep = false
  for (const part of parts) {
    const text = part.type === "text" ? part.text.replace(/^\n+/, "") : undefined
    if (text === "") continue
    if (!isStep || (text !== undefined && shown.at(-1)?.type === "dynamic-tool")) shown.push({ type: "step-start" })
    isStep = true
    if (text !== undefined) shown.push({ type: "text", text, state: "done" })
    const call = part.type === "tool_call" ? calls.get(part.id) : undefined
    if (call === undefined) continue
    const { id, parameters, result, tool } = call
    const about = { type: "dynamic-tool", toolName: tool, toolCallId: id, input: parameters } as const
    shown.push(
      result.status === "success"
        ? { ...about, providerExecuted: true, state: "output-available", output: result }
        : { ...about, providerExecuted: true, state: "output-error", errorText: result.error ?? "" }
    )
  }
  if (awaiting.length > 0 && shown.at(-1)?.type !== "text") shown.push({ type: "step-start" })
  for (const { id, parameters, tool } of awaiting) {
    const about = { type: "dynamic-tool", toolName: tool, toolCallId: id, input: parameters } as const
    shown.push({ ...about, providerExecuted: true, state: "approval-requested", approval: { id } })
  }
  return shown
}
