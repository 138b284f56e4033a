import {
  calls,
  chunk,
  created,
  events,
  messagesIn,
  type Provider,
  plain,
  reply,
  says,
  tokens
} from "../../support/ModelCases.ts"

const detail = (text: string) => ({ reasoning: text, reasoning_details: [{ type: "reasoning.text", index: 0, text }] })

export const provider: Provider = {
  name: "OpenRouter",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=https://openrouter.ai/api/v1`",
  notes:
    "Sends comments while it waits, errors within a stream, and reasoning in two members. It expects both members back.",
  echoes: "turn",
  cases: [
    {
      name: "comments are ignored, also those sent as data",
      feature: "stream",
      turns: [
        {
          replies: [
            reply(
              200,
              `: OPENROUTER PROCESSING\n\ndata: : OPENROUTER PROCESSING\n\n${events(says("Hello."), chunk({}, "stop"), tokens(3, 1), "[DONE]").body}`,
              { "content-type": "text/event-stream" }
            )
          ],
          expected: { text: "Hello.", usage: [3, 1] }
        }
      ]
    },
    {
      name: "reasoning goes back with its calls, and nobody sees it",
      feature: "thinking",
      turns: [
        {
          replies: [
            events(
              chunk(detail("sec")),
              chunk(detail("ret")),
              calls("call_a", "one"),
              chunk({}, "tool_calls"),
              "[DONE]"
            ),
            plain("Done.")
          ],
          expected: {
            text: "Done.",
            calls: [created("one")],
            sent: [
              () => true,
              (request) => {
                const [message] = messagesIn(request).filter(({ tool_calls }) => tool_calls !== undefined)
                return (
                  message?.["reasoning"] === "secret" &&
                  JSON.stringify(message["reasoning_details"]) ===
                    '[{"type":"reasoning.text","index":0,"text":"secret"}]'
                )
              }
            ]
          }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "an error of the upstream provider, in a choice",
      feature: "errors",
      turns: [
        {
          replies: [
            events(says("Half"), {
              id: "gen-1",
              choices: [
                { index: 0, delta: { content: "" }, finish_reason: "error", error: { code: 502, message: "Up" } }
              ]
            })
          ],
          expected: { text: "Half", error: "agent_failed", requests: 1, log: { model_status: 502, model_try: 1 } }
        }
      ]
    },
    {
      name: "an error within an error: the provider is busy",
      feature: "errors",
      turns: [
        {
          replies: () =>
            reply(429, {
              error: {
                code: 429,
                message: "Provider returned error",
                metadata: { raw: '{"error":{"code":"rate_limit_exceeded","retry_after":600}}', provider_name: "x" }
              }
            }),
          expected: { error: "agent_busy", requests: 1, log: { model_status: 429, model_code: "rate_limit_exceeded" } }
        }
      ]
    },
    {
      name: "the credit is used up",
      feature: "errors",
      turns: [
        {
          replies: [reply(402, { error: { code: 402, message: "Insufficient credits" } })],
          expected: { error: "agent_misconfigured", requests: 1 }
        }
      ]
    }
  ]
}
