import { AiError, type Prompt } from "@effect/ai"
import { Effect } from "effect"
import { isFields } from "./Fields.ts"

/** The messages of a prompt. Fails if they contain files. */
export const textOnly = (
  module: string,
  { content }: Prompt.Prompt
): Effect.Effect<ReadonlyArray<Prompt.Message>, AiError.MalformedInput> =>
  content.some((message) => message.role === "user" && message.content.some((part) => part.type === "file"))
    ? Effect.fail(new AiError.MalformedInput({ module, method: "streamText", description: "only text can be sent" }))
    : Effect.succeed(content)

/** The text of a user message. */
export const userText = ({ content }: Prompt.UserMessage): string =>
  content.map((part) => (part.type === "text" ? part.text : "")).join("")

/** The text of a tool result. */
export const resultText = ({ result }: Prompt.ToolResultPart): string =>
  typeof result === "string" ? result : (JSON.stringify(result) ?? "null")

/** A name that providers accept. A model may have invented the name of a call in the history. */
export const callName = (name: string) => (/^[A-Za-z0-9_-]{1,64}$/.test(name) ? name : "unknown")

/** A call's arguments as a JSON object, which many servers require, even if the model wrote something else. */
export const callArguments = (params: unknown): string =>
  JSON.stringify(isFields(params) ? params : { invalid_arguments: params })
