/** Connects the AI SDK's `useChat` to the service: `useChat({ transport: transport(me) })`. */
import { type ChatTransport, DefaultChatTransport, type UIMessage } from "ai"

/** The metadata of answers, and of messages from `history`. */
export interface Metadata {
  readonly turn_id: string
  readonly conversation_id: number
  /** The id of the message that began the turn. */
  readonly user_message_id?: number
  /** This member and the following are set when the turn has ended. */
  readonly status?: "completed" | "failed" | "timed_out" | "cancelled" | "interrupted"
  readonly message_id?: number
  readonly timestamp?: string
  /** Only in a streamed answer. */
  readonly usage?: { readonly input_tokens: number; readonly output_tokens: number }
  readonly error?: { readonly code: string; readonly detail: string }
}

export type Message = UIMessage<Metadata>

export interface Me {
  /** The URL of the service, without a slash at its end. */
  readonly baseUrl: string
  readonly token: string
  /** Default: the token's user. */
  readonly user?: number
  readonly fetch?: typeof globalThis.fetch
}

const address = ({ baseUrl, user }: Me) => `${baseUrl}/api/${user ?? "me"}`

const authorization = ({ token }: Me) => ({ authorization: `Bearer ${token}` })

/**
 * Sends the last message to the service, which stores the conversation. The earlier messages determine the conversation
 * to continue. With `sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses` it also sends the
 * user's decision on awaiting calls.
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
        : // The service knows the awaiting calls.
          { ...(headers && { headers }), api: `${address(me)}/turns/${last?.metadata?.turn_id}/${decision}`, body: {} }
    },
    prepareReconnectToStreamRequest: ({ headers, requestMetadata }) => ({
      ...(headers && { headers }),
      // The SDK does not type this value. It is the `metadata` passed to `resumeStream`.
      api: `${address(me)}/turns/${(requestMetadata as Metadata).turn_id}/events`
    })
  })

class Transport extends DefaultChatTransport<Message> {
  /** `resumeStream({ metadata })` reads that turn from its start. Without a turn it does nothing. */
  override async reconnectToStream(options: Parameters<ChatTransport<Message>["reconnectToStream"]>[0]) {
    return isMetadata(options.metadata) ? super.reconnectToStream(options) : null
  }
}

const isMetadata = (value: unknown): value is Metadata =>
  typeof value === "object" && value !== null && "turn_id" in value

/** The user's decision on the awaiting calls of an answer. It approves all calls or declines all. */
const decisionOf = (message: Message | undefined) => {
  const approvals = (message?.parts ?? []).flatMap((part) =>
    part.type === "dynamic-tool" && part.state === "approval-responded" ? [part.approval] : []
  )
  if (message?.role !== "assistant" || approvals.length === 0) return undefined
  return approvals.every(({ approved }) => approved) ? "approve" : "decline"
}

const textOf = (message: Message | undefined) =>
  (message?.parts ?? []).map((part) => (part.type === "text" ? part.text : "")).join("")

/** Cancels the turn of an answer. `stop` of `useChat` only stops reading it. */
export const cancel = (me: Me, { turn_id }: Pick<Metadata, "turn_id">) =>
  (me.fetch ?? fetch)(`${address(me)}/turns/${turn_id}/cancel`, { method: "POST", headers: authorization(me) })

/**
 * The last messages of a conversation, at most 1,000, in order, with text and tool calls in order. If the service
 * refuses, it rejects with an `Error` whose message is the problem document.
 */
export const history = async (me: Me, conversationId: number): Promise<Array<Message>> => {
  const query = `include=parts&before=${Number.MAX_SAFE_INTEGER}`
  const url = `${address(me)}/conversations/${conversationId}/messages?${query}`
  const response = await (me.fetch ?? fetch)(url, { headers: authorization(me) })
  if (!response.ok) throw new Error(await response.text())
  // The OpenAPI document defines this form.
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
          // The same id as in a stream, so that `resumeStream` replaces the message of its turn.
          id: turn_id,
          role,
          parts: partsOf(message),
          metadata: { ...turn, status: message.status, message_id: id, timestamp: message.created_at }
        }
  })
}

/**
 * The options of `resumeStream` to read the turn of the last message if it has no answer yet. Otherwise undefined, and
 * `resumeStream` does nothing.
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
  /** Only if calls await approval. */
  readonly awaiting?: ReadonlyArray<{ readonly id: string; readonly tool: string; readonly parameters: unknown }>
  readonly parts: ReadonlyArray<
    { readonly type: "text"; readonly text: string } | { readonly type: "tool_call"; readonly id: string }
  >
  readonly status: NonNullable<Metadata["status"]>
  readonly created_at: string
  readonly turn_id: string
}

/** The same parts as in a stream: text after a call begins a step, without empty lines before it. */
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
