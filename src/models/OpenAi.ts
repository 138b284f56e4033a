import { type LanguageModel, type Prompt, Tool } from "@effect/ai"
import type { OpenAiLanguageModel } from "@effect/ai-openai"
import type * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Context, Effect, type Layer, Option, Redacted } from "effect"
import * as Echo from "./Echo.ts"
import type { Options } from "./Endpoint.ts"
import { isFields } from "./Fields.ts"
import * as Messages from "./Messages.ts"
import * as Model from "./Model.ts"
import { wire } from "./ResponsesWire.ts"
import * as Strict from "./Strict.ts"
import * as ToolCalls from "./ToolCalls.ts"

/** The tag by its key, without an import: the package and its tokenizer take longer to load than the whole service. */
const Config = Context.GenericTag<OpenAiLanguageModel.Config, OpenAiLanguageModel.Config.Service>(
  "@effect/ai-openai/OpenAiLanguageModel/Config"
)

/**
 * OpenAI's models through the Responses API, with `store: false`. `OpenAiLanguageModel.withConfigOverride` is
 * supported. The rest of `@effect/ai-openai` is not used: its client accepts an answer without an end as complete,
 * loses failures within a stream, dies on calls that cannot be run, and its errors contain the key. Reasoning is not
 * part of the answer. It is sent back, encrypted, with the calls that followed it.
 */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, never, NodeHttpClient.Dispatcher> =>
  Model.layer(
    {
      provider: "openai",
      module: "OpenAi",
      path: "/responses",
      headers: options.apiKey === undefined ? {} : { authorization: `Bearer ${Redacted.value(options.apiKey)}` },
      wire,
      optional: ["temperature", "max_output_tokens", "tool_choice", "include", "store", "reasoning", "strict"]
    },
    options,
    ({ prompt, responseFormat, toolChoice, tools }, origin) =>
      Effect.gen(function* () {
        const {
          fileIdPrefixes: _,
          strict: __,
          ...overrides
        } = Option.getOrUndefined(yield* Effect.serviceOption(Config)) ?? {}
        const messages = yield* Messages.textOnly("OpenAi", prompt)
        return (without) => {
          const optional = {
            store: false,
            temperature: options.temperature,
            max_output_tokens: options.maxOutputTokens,
            ...(isReasoning(options.model) && { include: ["reasoning.encrypted_content"] }),
            ...(tools.length > 0 && { tool_choice: choiceOf(toolChoice) }),
            ...overrides
          }
          const request = {
            model: options.model,
            ...Object.fromEntries(Object.entries(optional).filter(([name]) => !without.has(name))),
            stream: true,
            input: messages.flatMap((message) => inputOf(message, without.has("reasoning") ? "" : origin)),
            ...(responseFormat.type === "json" && {
              text: {
                format: {
                  type: "json_schema",
                  name: responseFormat.objectName,
                  schema: Tool.getJsonSchemaFromSchemaAst(responseFormat.schema.ast),
                  strict: true
                }
              }
            })
          }
          const describe = without.has("strict") ? functionsOf : strictFunctionsOf
          return ToolCalls.withTools(request, tools.length > 0 ? describe(tools) : undefined)
        }
      })
  )

/** Other models refuse `include` for reasoning. */
const isReasoning = (model: string) => /^(o\d|gpt-5|codex-)/.test(model)

/** A message as input items. */
const inputOf = (message: Prompt.Message, origin: string): ReadonlyArray<unknown> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: Messages.userText(message) }]
    case "assistant": {
      const kept: unknown = Echo.stateOf(origin, message)
      const reasoning = isFields<"reasoning">(kept) && Array.isArray(kept.reasoning) ? kept.reasoning : []
      return [...reasoning, ...message.content.flatMap(outputOf)]
    }
    case "tool":
      return message.content.map((part) => ({
        type: "function_call_output",
        call_id: part.id,
        output: Messages.resultText(part)
      }))
  }
}

/**
 * Without the ids of earlier output, because OpenAI has not stored it.
 */
const outputOf = (part: Prompt.AssistantMessagePart): ReadonlyArray<unknown> => {
  if (part.type === "text" && part.text !== "") {
    return [{ role: "assistant", content: [{ type: "output_text", text: part.text }] }]
  }
  if (part.type !== "tool-call" || part.providerExecuted) return []
  const { id, name, params } = part
  return [
    { type: "function_call", call_id: id, name: Messages.callName(name), arguments: Messages.callArguments(params) }
  ]
}

const strictFunctionsOf = ToolCalls.describe(({ parameters, ...tool }) => ({
  type: "function",
  ...tool,
  ...Strict.offer(parameters)
}))

/** For servers without strict mode. */
const functionsOf = ToolCalls.describe((tool) => ({ type: "function", ...tool }))

const choiceOf = (choice: LanguageModel.ProviderOptions["toolChoice"]) => {
  if (typeof choice === "string") return choice
  return "tool" in choice ? { type: "function", name: choice.tool } : (choice.mode ?? "auto")
}
