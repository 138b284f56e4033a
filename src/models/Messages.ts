import { AiError, type Prompt } from "@effect/ai"
import { Effect } from "effect"
import { isFields } from "./Fields.ts"

/**
 * Prompts as JSON, each message as `f` words it. Files are refused rather than left out. Each step of a turn asks with what
 * the last one asked and a little more: what has been written is kept for as long as the prompt's first message, and only
 * the rest is added.
 */
export const writer = (module: string, f: (message: Prompt.Message) => ReadonlyArray<unknown>) => {
  const known = new WeakMap<Prompt.Message, Written>()
  return ({ content }: Prompt.Prompt): Effect.Effect<string, AiError.MalformedInput> => {
    if (content.some(hasFile)) {
      return new AiError.MalformedInput({ module, method: "streamText", description: "only text can be sent" })
    }
    const [first] = content
    const before = first && known.get(first)
    const { messages, text } = before !== undefined && isBeginning(before.messages, content) ? before : nothing
    const more = JSON.stringify(content.slice(messages.length).flatMap(f)).slice(1, -1)
    const whole = text === "" || more === "" ? text + more : `${text},${more}`
    if (first !== undefined) known.set(first, { messages: content, text: whole })
    return Effect.succeed(`[${whole}]`)
  }
}

interface Written {
  readonly messages: ReadonlyArray<Prompt.Message>
  /** Without the brackets around it. */
  readonly text: string
}

const nothing: Written = { messages: [], text: "" }

const isBeginning = (part: ReadonlyArray<Prompt.Message>, of: ReadonlyArray<Prompt.Message>) =>
  part.length <= of.length && part.every((message, i) => message === of[i])

const hasFile = (message: Prompt.Message) =>
  message.role === "user" && message.content.some((part) => part.type === "file")

/** What a user said. */
export const userText = ({ content }: Prompt.UserMessage): string =>
  content.map((part) => (part.type === "text" ? part.text : "")).join("")

/** What came back from a tool. */
export const resultText = ({ result }: Prompt.ToolResultPart): string =>
  typeof result === "string" ? result : (JSON.stringify(result) ?? "null")

/** A name providers accept in the history of calls, where any name may stand that a model has come up with. */
export const callName = (name: string) => (/^[A-Za-z0-9_-]{1,64}$/.test(name) ? name : "unknown")

/** A call's arguments as many servers insist on them: a JSON object, even if the model wrote something else. */
export const callArguments = (params: unknown): string =>
  JSON.stringify(isFields(params) ? params : { invalid_arguments: params })
