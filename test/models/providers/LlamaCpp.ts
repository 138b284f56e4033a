import { calls, chunk, created, events, type Provider, plain, reply, says } from "../../support/ModelCases.ts"

const tooLong = reply(400, {
  error: { code: 400, message: "the request exceeds the available context size", type: "exceed_context_size_error" }
})

export const provider: Provider = {
  name: "llama.cpp",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:8080/v1`",
  notes: "Its context is small; proxies in front of it redirect.",
  cases: [
    {
      name: "a redirect is a wrong address",
      feature: "errors",
      turns: [
        {
          replies: [reply(308, "", { location: "/v1/chat/completions/" })],
          expected: { error: "agent_misconfigured", requests: 1, log: { model_status: 308 } }
        }
      ]
    },
    {
      name: "a model that is still being loaded",
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
      name: "a history that is too long is cut, and the conversation goes on",
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
      name: "a message that is too long by itself says so, and blocks nothing",
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
      name: "an answer that reaches its limit is cut off, and says so",
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
