import { type LanguageModel, type Prompt, Tool } from "@effect/ai"
import type * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Effect, type Layer, Redacted } from "effect"
import type * as StreamText from "../runtime/StreamText.ts"
import { wire } from "./ChatCompletionsWire.ts"
import * as Echo from "./Echo.ts"
import type { Options } from "./Endpoint.ts"
import { isFields } from "./Fields.ts"
import * as Messages from "./Messages.ts"
import * as Model from "./Model.ts"
import * as ToolCalls from "./ToolCalls.ts"

/**
 * A model behind any endpoint that is compatible with OpenAI's `/chat/completions`: Cohere, Groq, Ollama, OpenRouter,
 * vLLM …. It always streams. It supports text and tools. Reasoning is not part of the answer. It is sent back to the
 * same model with its calls, as several providers require.
 */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, never, NodeHttpClient.Dispatcher> =>
  Model.layer(
    {
      provider: "chat-completions",
      module: "ChatCompletions",
      path: "/chat/completions",
      headers: options.apiKey === undefined ? {} : { authorization: `Bearer ${Redacted.value(options.apiKey)}` },
      wire,
      optional: ["stream_options", "temperature", "tool_choice", ...limits, ...echoed]
    },
    options,
    (request, origin) =>
      Effect.map(
        Messages.textOnly("ChatCompletions", request.prompt),
        (messages) => (without) => requestOf(options, request, messages, origin, without)
      )
  )

/**
 * The names of the limit. If a server refuses one, the other is used. OpenAI's reasoning models refuse `max_tokens`.
 */
const limits = ["max_tokens", "max_completion_tokens"] as const
const isReasoning = (model: string) => /^(o\d|gpt-5)/.test(model)

/** Members of an answer that some providers expect back. */
const echoed = ["reasoning_content", "reasoning", "reasoning_details", "extra_content"] as const

const requestOf = (
  { maxOutputTokens, model, temperature }: Options,
  { responseFormat, toolChoice, tools }: StreamText.Request,
  messages: ReadonlyArray<Prompt.Message>,
  origin: string,
  without: ReadonlySet<string>
): string => {
  const names = isReasoning(model) ? limits.toReversed() : limits
  const limit = names.find((name) => !without.has(name))
  const optional = {
    stream_options: { include_usage: true },
    temperature,
    ...(tools.length > 0 && { tool_choice: choiceOf(toolChoice) }),
    ...(limit !== undefined && { [limit]: maxOutputTokens })
  }
  const request = {
    model,
    messages: messages.flatMap((message) => messagesOf(message, origin, without)),
    stream: true,
    ...Object.fromEntries(Object.entries(optional).filter(([name]) => !without.has(name))),
    ...(responseFormat.type === "json" && {
      response_format: {
        type: "json_schema",
        json_schema: {
          name: responseFormat.objectName,
          schema: Tool.getJsonSchemaFromSchemaAst(responseFormat.schema.ast),
          strict: true
        }
      }
    })
  }
  return ToolCalls.withTools(request, tools.length > 0 ? functionsOf(tools) : undefined)
}

const messagesOf = (message: Prompt.Message, origin: string, without: ReadonlySet<string>): ReadonlyArray<unknown> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: Messages.userText(message) }]
    case "assistant": {
      const text = message.content.map((part) => (part.type === "text" ? part.text : "")).join("")
      const kept: unknown = Echo.stateOf(origin, message)
      const echo = isFields<(typeof echoed)[number] | "calls">(kept) ? kept : {}
      const signed: ReadonlyArray<unknown> =
        Array.isArray(echo.calls) && !without.has("extra_content") ? echo.calls : []
      const calls = message.content
        .filter((part) => part.type === "tool-call")
        .map((part, position) => callOf(part, signed[position]))
      // Providers refuse an empty message.
      if (text === "" && calls.length === 0) return []
      const back = echoed.filter((name) => echo[name] !== undefined && !without.has(name))
      return [
        {
          role: "assistant",
          content: text === "" ? null : text,
          ...Object.fromEntries(back.map((name) => [name, echo[name]])),
          ...(calls.length > 0 && { tool_calls: calls })
        }
      ]
    }
    case "tool":
      return message.content.map((part) => ({
        role: "tool",
        tool_call_id: part.id,
        content: Messages.resultText(part)
      }))
  }
}

const callOf = ({ id, name, params }: Prompt.ToolCallPart, extra: unknown) => ({
  id,
  type: "function",
  function: { name: Messages.callName(name), arguments: Messages.callArguments(params) },
  ...(isFields(extra) && { extra_content: extra })
})

const functionsOf = ToolCalls.describe((tool) => ({ type: "function", function: tool }))

const choiceOf = (choice: LanguageModel.ProviderOptions["toolChoice"]) => {
  // "auto" is the default. Leave it out, because some servers do not know the member.
  if (typeof choice === "string") return choice === "auto" ? undefined : choice
  if ("tool" in choice) return { type: "function", function: { name: choice.tool } }
  return choice.mode === "required" ? choice.mode : undefined
}
