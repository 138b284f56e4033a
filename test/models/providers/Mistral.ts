import {
  calls,
  chunk,
  created,
  events,
  messagesIn,
  type Provider,
  plain,
  refusal,
  says,
  tokens
} from "../../support/ModelCases.ts"

/** Mistral's rules for the order of roles and the ids of calls. */
const strict = (request: Parameters<typeof messagesIn>[0], then: ReturnType<typeof plain>) => {
  const messages = messagesIn(request)
  const isInOrder = messages.every(({ role }, i) => role !== "user" || messages[i - 1]?.["role"] !== "tool")
  const ids = messages.flatMap(({ tool_call_id }) => (typeof tool_call_id === "string" ? [tool_call_id] : []))
  return isInOrder && ids.every((id) => /^[A-Za-z0-9]{9}$/.test(id)) ? then : refusal(400, { code: 3230 })
}

export const provider: Provider = {
  name: "Mistral",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=https://api.mistral.ai/v1`",
  notes: "Requires an assistant message after tool results, and ids of exactly 9 letters and digits.",
  cases: [
    {
      name: "a turn after a silent turn, and ids that follow Mistral's rules",
      feature: "tools",
      turns: [
        {
          replies: (request, n) =>
            strict(
              request,
              n < 1
                ? events(calls("call_1234567890", "silent"), chunk({}, "tool_calls"), "[DONE]")
                : events(chunk({}, "stop"), "[DONE]")
            ),
          expected: { text: "", calls: [created("silent")], requests: 2 }
        },
        { replies: (request) => strict(request, plain("Hello.")), expected: { text: "Hello.", requests: 1 } }
      ]
    },
    {
      name: "text in parts, some with reasoning",
      feature: "thinking",
      turns: [
        {
          replies: [
            events(
              chunk({ content: [{ type: "thinking", thinking: [{ type: "text", text: "secret" }] }] }),
              chunk({ content: [{ type: "text", text: "Hello." }] }),
              chunk({}, "stop"),
              tokens(3, 1),
              "[DONE]"
            )
          ],
          expected: { text: "Hello.", usage: [3, 1] }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "an answer that reaches the context length of the model",
      feature: "text",
      turns: [
        {
          replies: [events(says("And so", "model_length"), "[DONE]")],
          expected: { text: "And so", error: "agent_failed", requests: 1 }
        }
      ]
    }
  ]
}
