import {
  calls,
  chunk,
  counts,
  created,
  events,
  messagesIn,
  type Provider,
  plain,
  refusal,
  says
} from "../../support/ModelCases.ts"

/** Refuses a request with a call that has no reasoning. */
const strict = (request: Parameters<typeof messagesIn>[0], then: ReturnType<typeof plain>) =>
  messagesIn(request).every(
    ({ reasoning_content, tool_calls }) => tool_calls === undefined || reasoning_content === "secret"
  )
    ? then
    : refusal(400, { code: "invalid_request_error", message: "The reasoning_content must be passed back to the API." })

export const provider: Provider = {
  name: "DeepSeek",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=https://api.deepseek.com/v1`",
  notes: "Expects the reasoning of a turn with calls back, also in later turns.",
  echoes: "conversation",
  cases: [
    {
      name: "reasoning goes back with its calls, also in later turns",
      feature: "thinking",
      turns: [
        {
          replies: (request, n) =>
            strict(
              request,
              n < 1
                ? events(
                    chunk({ reasoning_content: "sec" }),
                    chunk({ reasoning_content: "ret" }),
                    calls("call_00_a", "thought"),
                    chunk({}, "tool_calls"),
                    "[DONE]"
                  )
                : events(chunk({ reasoning_content: "secret end" }), says("Done."), chunk({}, "stop"), "[DONE]")
            ),
          expected: { text: "Done.", calls: [created("thought")], requests: 2 }
        },
        {
          replies: (request) => strict(request, plain("Hello.")),
          expected: {
            text: "Hello.",
            requests: 1,
            // All reasoning of a turn with calls.
            sent: [({ text }) => text.includes('"content":"Done.","reasoning_content":"secret end"')]
          }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "reasoning before text",
      feature: "stream",
      turns: [
        {
          replies: [
            events(
              chunk({ reasoning_content: "secret", content: null }),
              says("Hello."),
              chunk({}, "stop", counts(9, 4)),
              "[DONE]"
            )
          ],
          expected: { text: "Hello.", usage: [9, 4] }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "the balance is used up",
      feature: "errors",
      turns: [
        {
          replies: [refusal(402, { type: "unknown_error", code: "invalid_request_error" })],
          expected: { error: "agent_misconfigured", requests: 1 }
        }
      ]
    },
    {
      name: "it runs out of resources within an answer",
      feature: "errors",
      turns: [
        {
          replies: [events(says("Half"), chunk({}, "insufficient_system_resource"), "[DONE]")],
          expected: { text: "Half", error: "agent_busy", requests: 1 }
        }
      ]
    }
  ]
}
