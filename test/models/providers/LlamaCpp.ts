import {
  calls,
  chunk,
  created,
  events,
  type Provider,
  piece,
  plain,
  refusal,
  reply,
  says
} from "../../support/ModelCases.ts"

const tooLong = reply(400, {
  error: { code: 400, message: "the request exceeds the available context size", type: "exceed_context_size_error" }
})

export const provider: Provider = {
  name: "llama.cpp",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:8080/v1`",
  notes: "Its context is small. Proxies in front of it may redirect.",
  cases: [
    {
      name: "a redirect is a configuration error",
      feature: "errors",
      turns: [
        {
          replies: [reply(308, "", { location: "/v1/chat/completions/" })],
          expected: { error: "agent_misconfigured", requests: 1, log: { model_status: 308 } }
        }
      ]
    },
    {
      name: "a model that is still loading",
      feature: "errors",
      turns: [
        {
          replies: (_, n) =>
            n < 1
              ? reply(503, { error: { code: 503, message: "Loading model", type: "unavailable_error" } })
              : plain("Hello."),
          expected: { text: "Hello.", requests: 2 }
        }
      ]
    },
    {
      name: "a history that is too long is shortened, and the conversation continues",
      feature: "errors",
      turns: [
        { replies: [plain("One.")], expected: { text: "One." } },
        { replies: [plain("Two.")], expected: { text: "Two." } },
        {
          replies: ({ text }) => (text.includes("One.") ? tooLong : plain("Three.")),
          expected: { text: "Three.", requests: 2 }
        },
        {
          replies: ({ text }) => (/One\.|Two\.|Three\./.test(text) ? tooLong : plain("Four.")),
          expected: { text: "Four.", requests: 3 }
        }
      ]
    },
    {
      name: "a large result does not block the turns after it",
      feature: "tools",
      tasks: Array.from({ length: 40 }, (_, n) => ({ title: `task ${n}`, description: "x".repeat(1900) })),
      turns: Array.from({ length: 6 }, (_, turn) => ({
        replies: ({ text }: { readonly text: string }, n: number) => {
          if (text.length > 60_000) return refusal(400, { code: "context_length_exceeded" })
          if (turn > 0 || n > 0) return plain("Well.")
          const list = { name: "list_tasks", arguments: '{"descriptions":true}' }
          return events(chunk(piece({ index: 0, id: "a" }, list)), chunk({}, "tool_calls"), "[DONE]")
        },
        expected: {
          text: "Well.",
          ...(turn === 0 && { calls: [["list_tasks", { descriptions: true }, "success"]] as const }),
          sent:
            turn === 0
              ? [() => true, ({ text }: { readonly text: string }) => text.includes("[Cut off: this result has")]
              : []
        }
      }))
    },
    {
      name: "a message that is too long fails and does not block later messages",
      feature: "errors",
      turns: [
        {
          replies: [tooLong],
          expected: { error: "agent_context_too_long", requests: 1, log: { model_code: "exceed_context_size_error" } }
        },
        {
          replies: (request) =>
            JSON.stringify(request.body["messages"] ?? []).match(/"role":"user"/g)?.length === 1
              ? plain("Hello.")
              : tooLong,
          expected: { text: "Hello.", requests: 1 }
        }
      ]
    },
    {
      name: "arguments as an object",
      feature: "tools",
      turns: [
        {
          replies: [
            events(
              chunk({
                tool_calls: [{ index: 0, id: "a", function: { name: "create_task", arguments: { title: "one" } } }]
              }),
              chunk({}, "tool_calls"),
              "[DONE]"
            ),
            plain("Done.")
          ],
          expected: { text: "Done.", calls: [created("one")] }
        }
      ]
    },
    {
      name: "an answer that reaches its limit is reported as cut off",
      feature: "text",
      turns: [
        {
          replies: [events(says("And so"), calls("a", "one"), chunk({}, "length"), "[DONE]")],
          expected: {
            text: "And so",
            error: "agent_failed",
            requests: 1,
            log: { model_error: "the answer ended early: length" }
          }
        }
      ]
    }
  ]
}
