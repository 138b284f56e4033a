import { type LanguageModel, type Prompt, Tool } from "@effect/ai"
import type { AnthropicLanguageModel } from "@effect/ai-anthropic"
import type * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Context, Effect, type Layer, Option, Redacted } from "effect"
import { defaultMaxOutputTokens } from "../domain/Agent.ts"
import { answerTool, wire } from "./AnthropicWire.ts"
import * as Echo from "./Echo.ts"
import type { Options } from "./Endpoint.ts"
import { isFields } from "./Fields.ts"
import * as Messages from "./Messages.ts"
import * as Model from "./Model.ts"
import * as ToolCalls from "./ToolCalls.ts"

/** The tag by its key, without an import: the package and its tokenizer take longer to load than the whole service. */
const Config = Context.GenericTag<AnthropicLanguageModel.Config, AnthropicLanguageModel.Config.Service>(
  "@effect/ai-anthropic/AnthropicLanguageModel/Config"
)

/**
 * Anthropic's models through the Messages API. `AnthropicLanguageModel.withConfigOverride` is supported. The rest of
 * `@effect/ai-anthropic` is not used: its client accepts an answer without an end as complete, loses failures within a
 * stream, and dies on calls that cannot be run. Thinking is not part of the answer. It is sent back, with its
 * signature, together with the calls that followed it.
 */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, never, NodeHttpClient.Dispatcher> =>
  Model.layer(
    {
      provider: "anthropic",
      module: "Anthropic",
      path: "/messages",
      headers: {
        "anthropic-version": "2023-06-01",
        ...(options.apiKey !== undefined && { "x-api-key": Redacted.value(options.apiKey) })
      },
      wire,
      optional: ["temperature", "tool_choice", "thinking"]
    },
    options,
    ({ prompt, responseFormat, toolChoice, tools }, origin) =>
      Effect.gen(function* () {
        const { disableParallelToolCalls, ...overrides } =
          Option.getOrUndefined(yield* Effect.serviceOption(Config)) ?? {}
        const messages = yield* Messages.textOnly("Anthropic", prompt)
        const system = messages.flatMap((message) => (message.role === "system" ? [message.content] : []))
        const choice =
          tools.length === 0
            ? undefined
            : { ...choiceOf(toolChoice), ...(disableParallelToolCalls === true && { disable_parallel_tool_use: true }) }
        return (without) => {
          const optional = { temperature: options.temperature, ...(choice && { tool_choice: choice }), ...overrides }
          const request = {
            model: options.model,
            // Required by the API.
            max_tokens: options.maxOutputTokens ?? defaultMaxOutputTokens,
            ...Object.fromEntries(Object.entries(optional).filter(([name]) => !without.has(name))),
            stream: true,
            ...(system.length > 0 && { system: system.join("\n\n") }),
            messages: messages.flatMap((message) => messageOf(message, without.has("thinking") ? "" : origin))
          }
          if (responseFormat.type === "text") {
            return ToolCalls.withTools(request, tools.length > 0 ? functionsOf(tools) : undefined)
          }
          // A JSON answer is requested as the arguments of a tool.
          const schema = Tool.getJsonSchemaFromSchemaAst(responseFormat.schema.ast)
          const description = `Gives the answer: ${responseFormat.objectName}`
          return JSON.stringify({
            ...request,
            tools: [{ name: answerTool, description, input_schema: schema }],
            tool_choice: { type: "tool", name: answerTool }
          })
        }
      })
  )

const messageOf = (message: Prompt.Message, origin: string): ReadonlyArray<unknown> => {
  switch (message.role) {
    case "system":
      return []
    case "user":
      return [{ role: "user", content: Messages.userText(message) }]
    case "assistant": {
      const kept: unknown = Echo.stateOf(origin, message)
      const thinking = isFields<"thinking">(kept) && Array.isArray(kept.thinking) ? kept.thinking : []
      const content = message.content.flatMap(blockOf)
      return content.length === 0 ? [] : [{ role: "assistant", content: [...thinking, ...content] }]
    }
    case "tool":
      return [
        {
          role: "user",
          content: message.content.map((part) => ({
            type: "tool_result",
            tool_use_id: part.id,
            content: Messages.resultText(part),
            ...(part.isFailure && { is_error: true })
          }))
        }
      ]
  }
}

const blockOf = (part: Prompt.AssistantMessagePart): ReadonlyArray<unknown> => {
  // The API refuses text that is only white space.
  if (part.type === "text" && part.text.trim() !== "") return [{ type: "text", text: part.text.trimEnd() }]
  if (part.type !== "tool-call" || part.providerExecuted) return []
  const input: unknown = JSON.parse(Messages.callArguments(part.params))
  return [{ type: "tool_use", id: part.id, name: Messages.callName(part.name), input }]
}

const functionsOf = ToolCalls.describe(({ parameters, ...tool }) => ({ ...tool, input_schema: parameters }))

const choiceOf = (choice: LanguageModel.ProviderOptions["toolChoice"]) => {
  if (typeof choice === "string") return { type: choice === "required" ? "any" : choice }
  if ("tool" in choice) return { type: "tool", name: choice.tool }
  return { type: choice.mode === "required" ? "any" : "auto" }
}
