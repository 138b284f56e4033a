import { AbstractChat, type ChatInit, type ChatState } from "ai"
import { Effect } from "effect"
import { type Me, type Message, transport } from "../../src/ai-sdk.ts"

/** `useChat` without React state. */
export class SdkChat extends AbstractChat<Message> {
  constructor(me: Me, messages: Array<Message> = [], options: Pick<ChatInit<Message>, "sendAutomaticallyWhen"> = {}) {
    const state: ChatState<Message> = {
      status: "ready",
      error: undefined,
      messages,
      pushMessage: (message) => {
        state.messages = [...state.messages, message]
      },
      popMessage: () => {
        state.messages = state.messages.slice(0, -1)
      },
      replaceMessage: (index, message) => {
        state.messages = state.messages.with(index, structuredClone(message))
      },
      snapshot: (thing) => structuredClone(thing)
    }
    super({ ...options, transport: transport(me), state })
  }

  /** Sends a message and waits for the whole answer. */
  says(text: string) {
    return Effect.promise(() => this.sendMessage({ text }))
  }

  /** The text of the last answer. */
  get text() {
    const { parts = [], role } = this.lastMessage ?? {}
    return role === "assistant" ? parts.map((part) => (part.type === "text" ? part.text : "")).join("") : ""
  }
}
