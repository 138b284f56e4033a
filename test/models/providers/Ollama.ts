import { calls, chunk, created, events, type Provider, plain, reply, says } from "../../support/ModelCases.ts"

export const provider: Provider = {
  name: "Ollama",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:11434/v1`",
  notes: "Some models send reasoning in the text. No key is needed.",
  cases: [
    {
      name: "reasoning in the text is removed",
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
      name: "a tag that the user asked about stays",
      feature: "thinking",
      turns: [
        {
          replies: [events(says("Use <think> "), says("and </think>."), chunk({}, "stop"), "[DONE]")],
          expected: { text: "Use <think> and </think>." }
        }
      ]
    },
    {
      name: "an answer with reasoning only has no text",
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
      name: "whole calls without an index",
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
      name: "an error with a text only",
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
