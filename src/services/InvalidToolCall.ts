import { Tool } from "@effect/ai"
import { Schema } from "effect"

/**
 * Stands in an answer for a call that cannot be run: there is no such tool, or its arguments are not JSON or not what
 * the tool takes. It is no tool of the model's and never sent to one; an agent that has it among its tools can tell
 * the model what was wrong instead of failing with the whole answer. `arguments` is the model's own text.
 */
export const InvalidToolCall = Tool.make("_invalid_tool_call", {
  parameters: { tool: Schema.String, arguments: Schema.String, reason: Schema.String },
  success: Schema.Void,
  failure: Schema.Struct({ status: Schema.Literal("error"), error: Schema.String }),
  failureMode: "return"
})
