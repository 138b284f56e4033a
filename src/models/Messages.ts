import { AiError, type Prompt } from "@effect/ai"
import { Effect } from "effect"
import { isFields } from "./Fields.ts"

/** The messages of a prompt, if there is nothing but text in them. Files are refused rather than left out. */
export const textOnly = (
  module: string,
  { content }: Prompt.Prompt
): Effect.Effect<ReadonlyArray<Prompt.Message>, AiError.MalformedInput> =>
  content.some((message) => message.role === "user" && message.content.some((part) => part.type === "file"))
    ? Effect.fail(new AiError.MalformedInput({ module, method: "streamText", description: "only text can be sent" }))
    : Effect.succeed(content)

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
