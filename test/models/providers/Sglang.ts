import { chunk, created, events, type Provider, piece, plain, reset, says, tokens } from "../../support/ModelCases.ts"

export const provider: Provider = {
  name: "SGLang",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:30000/v1`",
  notes: "Sends an empty finish reason before the end.",
  cases: [
    {
      name: "an incomplete answer with empty finish reasons fails",
      feature: "stream",
      turns: [
        {
          replies: [reset(events(says("Take the blue pill,", ""), says(" but", "")))],
          expected: { text: "Take the blue pill, but", error: "agent_unreachable", requests: 1 }
        }
      ]
    },
    {
      name: "finish reason and usage in either order",
      feature: "usage",
      turns: [
        {
          replies: [events(says("Counted."), tokens(6, 2), chunk({}, "stop"), "[DONE]")],
          expected: { text: "Counted.", usage: [6, 2] }
        },
        {
          replies: [events(says("Counted."), chunk({}, "stop"), tokens(6, 2))],
          expected: { text: "Counted.", usage: [6, 2] }
        }
      ]
    },
    {
      name: "every piece of a call has the name",
      feature: "tools",
      turns: [
        {
          replies: [
            events(
              chunk(piece({ index: 0, id: "a" }, { name: "create_task", arguments: '{"ti' })),
              chunk(piece({ index: 0, id: "a" }, { name: "create_task", arguments: 'tle":"one"}' })),
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
