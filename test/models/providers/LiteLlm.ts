import {
  chunk,
  counts,
  created,
  events,
  type Provider,
  piece,
  plain,
  reply,
  type Sent,
  says,
  tokens
} from "../../support/ModelCases.ts"

export const provider: Provider = {
  name: "LiteLLM",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:4000/v1`",
  notes: "A proxy for other providers. Some errors have status 200, and some usage is empty.",
  cases: [
    {
      name: "interleaved calls with ids only",
      feature: "parallel calls",
      turns: [
        {
          replies: [
            events(
              chunk(piece({ id: "a", type: "function" }, { name: "create_task" })),
              chunk(piece({ id: "b", type: "function" }, { name: "create_task" })),
              chunk(piece({ id: "a" }, { arguments: '{"title":"of a"}' })),
              chunk(piece({ id: "b" }, { arguments: '{"title":"of b"}' })),
              chunk({}, "tool_calls"),
              "[DONE]"
            ),
            plain("Done.")
          ],
          expected: { text: "Done.", calls: [created("of a"), created("of b")] }
        }
      ]
    },
    {
      name: "empty usage with the finish reason, and the real usage after it",
      feature: "usage",
      turns: [
        {
          replies: [events(says("Counted."), chunk({}, "stop", { usage: {} }), tokens(11, 4), "[DONE]")],
          expected: { text: "Counted.", usage: [11, 4] }
        },
        {
          replies: [events(says("Counted."), chunk({}, "stop", counts(0, 0)), tokens(11, 4), "[DONE]")],
          expected: { text: "Counted.", usage: [11, 4] }
        }
      ]
    },
    {
      name: "refusals of a member, the history and the message: four requests in total",
      feature: "errors",
      turns: [
        { replies: [plain("One.")], expected: { text: "One." } },
        { replies: [plain("Two.")], expected: { text: "Two." } },
        {
          replies: ({ body }) =>
            reply(400, { error: { message: "No.", ...("stream_options" in body && { param: "stream_options" }) } }),
          expected: {
            error: "agent_content_refused",
            requests: 4,
            sent: [true, false, false, false].map(
              (has) =>
                ({ body }: Sent) =>
                  "stream_options" in body === has
            )
          }
        }
      ]
    },
    {
      name: "a 401 error in a 200 response",
      feature: "errors",
      turns: [
        {
          replies: [
            reply(200, {
              error: { message: "Authentication Error, sk-123", type: "auth_error", param: "None", code: "401" }
            })
          ],
          expected: { error: "agent_misconfigured", requests: 1, log: { model_status: 401, model_code: "auth_error" } }
        }
      ],
      secrets: ["sk-123"]
    },
    {
      name: "the name of an exception as the type of an error",
      feature: "errors",
      turns: [
        {
          replies: [
            reply(400, {
              error: {
                message: "litellm.ContextWindowExceededError: prompt is too long",
                type: null,
                param: null,
                code: "400"
              }
            })
          ],
          expected: { error: "agent_context_too_long", requests: 1, log: { model_status: 400 } }
        }
      ]
    }
  ]
}
