import { chunk, created, events, type Provider, piece, plain, refusal, says, tokens } from "../../support/ModelCases.ts"

export const provider: Provider = {
  name: "Cohere",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=https://api.cohere.ai/compatibility/v1`",
  notes: "Some models send the finish reason in capitals.",
  cases: [
    {
      name: "an answer that ends with COMPLETE",
      feature: "stream",
      turns: [
        {
          replies: [events(says("Hello."), chunk({}, "COMPLETE"), tokens(4, 1), "[DONE]")],
          expected: { text: "Hello.", usage: [4, 1] }
        }
      ]
    },
    {
      name: "two calls, one piece after the other",
      feature: "parallel calls",
      turns: [
        {
          replies: [
            events(
              chunk(piece({ index: 0, id: "create_task_a", type: "function" }, { name: "create_task", arguments: "" })),
              chunk(piece({ index: 0 }, { arguments: '{"title":"one"}' })),
              chunk(piece({ index: 1, id: "create_task_b", type: "function" }, { name: "create_task", arguments: "" })),
              chunk(piece({ index: 1 }, { arguments: '{"title":"two"}' })),
              chunk({}, "TOOL_CALL"),
              "[DONE]"
            ),
            plain("Done.")
          ],
          expected: { text: "Done.", calls: [created("one"), created("two")] }
        }
      ]
    },
    {
      name: "a toxic answer fails",
      feature: "errors",
      turns: [
        {
          replies: [events(says("Well"), chunk({}, "ERROR_TOXIC"), "[DONE]")],
          expected: { text: "Well", error: "agent_content_refused", requests: 1 }
        }
      ]
    },
    {
      name: "an unknown model is a configuration error",
      feature: "errors",
      turns: [
        {
          replies: [refusal(404, { code: "model_not_found" })],
          expected: {
            error: "agent_misconfigured",
            requests: 1,
            log: { model_status: 404, model_code: "model_not_found" }
          }
        }
      ]
    }
  ]
}
