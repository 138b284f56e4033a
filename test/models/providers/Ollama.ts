import { calls, chunk, created, events, type Provider, plain, reply, says } from "../../support/ModelCases.ts"

export const provider: Provider = {
  name: "Ollama",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:11434/v1`",
  notes: "Some models leave their thoughts in the text. No key is needed.",
  cases: [
    {
      name: "thoughts in the text are no part of it",
      feature: "thinking",
      turns: [
        {
          replies: [
            events(says("<think>secret plan"), says("</think>\n\nHel"), says("lo"), chunk({}, "stop"), "[DONE]")
          ],
          expected: { text: "Hello" }
        }
      ],
      secrets: ["secret plan"]
    },
    {
      name: "a tag that someone asked about stays",
      feature: "thinking",
      turns: [
        {
          replies: [events(says("Use <think> "), says("and </think>."), chunk({}, "stop"), "[DONE]")],
          expected: { text: "Use <think> and </think>." }
        }
      ]
    },
    {
      name: "an answer that thinks to its end has no words",
      feature: "thinking",
      turns: [
        {
          replies: [events(says("<think>secret plan"), chunk({}, "stop"), "[DONE]")],
          expected: { error: "agent_failed", requests: 1 }
        },
        {
          replies: [events(says("<think>secret plan"), chunk({}, "length"), "[DONE]")],
          expected: { error: "agent_failed", requests: 1, log: { model_error: "the answer ended early: length" } }
        }
      ],
      secrets: ["secret plan"]
    },
    {
      name: "calls without an index, each whole",
      feature: "parallel calls",
      turns: [
        {
          replies: [
            events(calls("call_a", "one", undefined), calls("call_b", "two", undefined), chunk({}, "stop"), "[DONE]"),
            plain("Done.")
          ],
          expected: { text: "Done.", calls: [created("one"), created("two")] }
        }
      ]
    },
    {
      name: "an error in words alone",
      feature: "errors",
      turns: [
        {
          replies: [
            reply(404, {
              error: {
                message: 'model "m" not found, try pulling it first',
                type: "api_error",
                param: null,
                code: null
              }
            })
          ],
          expected: { error: "agent_misconfigured", requests: 1, log: { model_status: 404, model_code: "api_error" } }
        }
      ]
    }
  ]
}
