import { chunk, created, events, type Provider, piece, plain, reset, says, tokens } from "../../support/ModelCases.ts"

export const provider: Provider = {
  name: "SGLang",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:30000/v1`",
  notes: "An empty text stands where there is no end yet.",
  cases: [
    {
      name: "half an answer with empty ends is half an answer",
      feature: "stream",
      turns: [
        {
          replies: [reset(events(says("Take the blue pill,", ""), says(" but", "")))],
          expected: { text: "Take the blue pill, but", error: "agent_unreachable", requests: 1 }
        }
      ]
    },
    {
      name: "the reason and the counts in either order",
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
      name: "the name comes with every piece of a call",
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
