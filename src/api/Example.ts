import type { ToolCall, ToolCallStarted } from "../domain/ToolCall.ts"

/** The turn in all examples of the document. */
export const turnId = "0197b3c2-7d5e-7cc3-98c4-dc0c0c07398f"

export const call: typeof ToolCallStarted.Encoded = {
  id: "k3Xb9QzT7",
  tool: "create_task",
  parameters: { title: "Buy milk" }
}

export const ended: typeof ToolCall.Encoded = {
  ...call,
  result: { status: "success", task: { id: 7, title: "Buy milk", completed: false } },
  duration_ms: 4
}
