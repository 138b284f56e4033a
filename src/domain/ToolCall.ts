import { Schema } from "effect"
import { key } from "./Json.ts"

/** The result of a tool: `status` is `success` or `error`; the other members depend on the tool. */
export const ToolResult = Schema.Union(
  Schema.Struct({ status: Schema.Literal("success") }, { key: Schema.String, value: Schema.Unknown }).annotations({
    examples: [{ status: "success", task: { id: 7, title: "Buy milk", completed: false } }]
  }),
  Schema.Struct(
    { status: Schema.Literal("error"), error: Schema.String },
    { key: Schema.String, value: Schema.Unknown }
  ).annotations({ examples: [{ status: "error", error: "Task not found" }] })
).annotations({
  identifier: "ToolResult",
  description: "`status` is `success` or `error`; the other members depend on the tool"
})
export type ToolResult = typeof ToolResult.Type

const call = {
  id: Schema.String.annotations({ description: "Unique in its conversation", examples: ["k3Xb9QzT7"] }),
  tool: Schema.String.annotations({ examples: ["create_task"] }),
  parameters: Schema.Unknown.annotations({
    description: "The arguments, as the model gave them",
    examples: [{ title: "Buy milk" }]
  })
}

/** A call that has begun. */
export const ToolCallStarted = Schema.Struct(call).annotations({
  identifier: "ToolCallStarted",
  description: "A call that has begun"
})
export type ToolCallStarted = typeof ToolCallStarted.Type

/** A call that has ended: parameters, result and duration. */
export const ToolCall = Schema.Struct({
  ...call,
  result: ToolResult,
  durationMs: Schema.Int.annotations({ description: "Milliseconds", examples: [4] }).pipe(key("duration_ms"))
}).annotations({
  identifier: "ToolCall",
  description: "A call that has ended: parameters, result and duration"
})
export type ToolCall = typeof ToolCall.Type

/** Of a turn or its message, in order. */
export const ToolCalls = Schema.NullOr(Schema.Array(ToolCall)).annotations({
  description: "In order; null when there were none"
})

/**
 * The position of a call in its turn: the step that asked for it, and the length of the text before it (UTF-16 units).
 */
export interface Place {
  readonly step: number
  readonly offset: number
  /** The provider's id of the call, sent back only to that provider. */
  readonly providerCallId?: string | undefined
}

/** The most tool calls in one step. Further calls are dropped. */
export const maxCallsPerStep = 32

/** The most changes of tasks in one turn. */
export const maxChangesPerTurn = 100
