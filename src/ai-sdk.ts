/** A page's side: what the AI SDK's `useChat` needs to talk to the service, as in `useChat({ transport: transport(me) })`. */
import { DefaultChatTransport, type UIMessage } from "ai"

/** What comes with every answer. */
export interface Metadata {
  readonly turn_id: string
  readonly conversation_id: number
  readonly user_message_id: number
  /** From here on only once the turn is over. */
  readonly status?: "completed" | "failed" | "timed_out" | "cancelled" | "interrupted"
  readonly message_id?: number
  readonly timestamp?: string
  readonly usage?: { readonly input_tokens: number; readonly output_tokens: number }
  readonly error?: { readonly code: string; readonly detail: string }
}

export type Message = UIMessage<Metadata>

export interface Me {
  /** Of the service, without a slash at its end. */
  readonly baseUrl: string
  readonly user: number
  readonly token: string
  readonly fetch?: typeof globalThis.fetch
}

export const transport = ({ baseUrl, fetch, token, user }: Me) =>
  new DefaultChatTransport<Message>({
    api: `${baseUrl}/api/${user}/chat/stream`,
    headers: { accept: 'text/event-stream; profile="ai-sdk-v1"', authorization: `Bearer ${token}` },
    ...(fetch && { fetch }),
    // The service keeps the conversation: it is sent what is new, and told with which one to go on.
    prepareSendMessagesRequest: ({ headers, messages }) => ({
      ...(headers && { headers }),
      body: {
        message: textOf(messages.at(-1)),
        conversation_id: messages.findLast(({ metadata }) => metadata !== undefined)?.metadata?.conversation_id ?? null,
        time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone
      }
    }),
    // `resumeStream({ metadata: messages.at(-1).metadata })` reads that turn again, from its start.
    prepareReconnectToStreamRequest: ({ headers, requestMetadata }) => ({
      ...(headers && { headers }),
      api: `${baseUrl}/api/${user}/turns/${(requestMetadata as Metadata).turn_id}/events`
    })
  })

const textOf = (message: Message | undefined) =>
  (message?.parts ?? []).map((part) => (part.type === "text" ? part.text : "")).join("")

/** Stops the turn of an answer, which `stop` of `useChat` only ceases to read. */
export const cancel = ({ baseUrl, fetch = globalThis.fetch, token, user }: Me, { turn_id }: Metadata) =>
  fetch(`${baseUrl}/api/${user}/turns/${turn_id}/cancel`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` }
  })
