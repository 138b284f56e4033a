import { chunk, created, events, type Provider, piece, plain, reply, says } from "../../support/ModelCases.ts"

export const provider: Provider = {
  name: "LM Studio",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:1234/v1`",
  notes: "Sends errors as events with the name `error`.",
  cases: [
    {
      name: "an answer that ends with `end`",
      feature: "stream",
      turns: [{ replies: [events(says("Hello."), chunk({}, "end"), "[DONE]")], expected: { text: "Hello." } }]
    },
    {
      name: "an error event in the stream",
      feature: "errors",
      turns: [
        {
          replies: [
            reply(
              200,
              `event: error\ndata: {"message":"Trying to keep the first 9000 tokens when context overflows.","code":"context_length_exceeded"}\n\n`,
              {
                "content-type": "text/event-stream"
              }
            )
          ],
          expected: {
            error: "agent_context_too_long",
            requests: 1,
            log: { model_status: 400, model_code: "context_length_exceeded" }
          }
        }
      ]
    },
    {
      name: "a call with an index in the first piece only",
      feature: "tools",
      turns: [
        {
          replies: [
            events(
              chunk(piece({ index: 0, id: "365174485", type: "function" }, { name: "create_task", arguments: "" })),
              chunk(piece({ type: "function" }, { arguments: '{"title":' })),
              chunk(piece({ type: "function" }, { arguments: '"one"}' })),
              chunk({}, "tool_calls"),
              "[DONE]"
            ),
            plain("Done.")
          ],
          expected: { text: "Done.", calls: [created("one")] }
        }
      ]
    }
  ]
}
