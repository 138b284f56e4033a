/** Another model: Anthropic's, in place of `OpenAi.layer`. Any `LanguageModel` will do. */
import { AnthropicClient, AnthropicLanguageModel } from "@effect/ai-anthropic"
import { Config, Layer } from "effect"
import { Services } from "taskchat"

const model = AnthropicLanguageModel.layer({
  model: "claude-sonnet-4-5",
  config: { max_tokens: 4096 }
}).pipe(Layer.provide(AnthropicClient.layerConfig({ apiKey: Config.redacted("ANTHROPIC_API_KEY") })))

/** Needs an `HttpClient` and a database. */
export const services = Services.layer({ timeout: "1 minute" }).pipe(Layer.provide(model))
