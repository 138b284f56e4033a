import { brotliCompressSync, deflateRawSync, deflateSync } from "node:zlib"
import {
  calls,
  chunk,
  counts,
  created,
  events,
  type Provider,
  piece,
  plain,
  reply,
  reset,
  says,
  tokens
} from "../../support/ModelCases.ts"

const streamed = { "content-type": "text/event-stream" }
const compressed = (encoding: string, body: Uint8Array) => ({
  replies: [reply(200, body, { ...streamed, "content-encoding": encoding })],
  expected: { text: "Hello.", usage: [5, 2] as const }
})
const hello = plain("Hello.").body
const whole = (message: object, finish_reason: string) =>
  reply(200, {
    id: "c",
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason }],
    ...counts(9, 3)
  })

export const provider: Provider = {
  name: "Gateways",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=…`",
  notes: "Proxies in front of a provider, which change its answers.",
  cases: [
    {
      name: "arguments before the name",
      feature: "tools",
      turns: [
        {
          replies: [
            events(
              chunk(piece({ index: 0, id: "a" }, { arguments: '{"tit' })),
              chunk(piece({ index: 0, id: "a" }, { name: "create_task", arguments: 'le":"one"}' })),
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
      name: "a finish reason and usage before the call",
      feature: "tools",
      turns: [
        {
          replies: [
            events(
              chunk({ reasoning_content: "secret" }, "stop", counts(4, 1)),
              chunk(calls("a", "one").choices[0]?.delta ?? {}, "stop", counts(4, 6)),
              "[DONE]"
            ),
            plain("Done.")
          ],
          expected: { text: "Done.", calls: [created("one")], usage: [9, 8] }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "the text null is not a finish reason",
      feature: "stream",
      turns: [
        {
          replies: [reset(events(says("Half an ", "null"), says("answer", "null")))],
          expected: { text: "Half an answer", error: "agent_unreachable", requests: 1 }
        }
      ]
    },
    {
      name: "a stream that ends without a finish reason",
      feature: "stream",
      turns: [
        {
          replies: [events(says("Half an "), says("answer"))],
          expected: {
            text: "Half an answer",
            error: "agent_failed",
            requests: 1,
            log: { model_error: "the answer has no end" }
          }
        },
        {
          replies: [events(says("Half an "), says("answer"), "[DONE]")],
          expected: { text: "Half an answer", error: "agent_failed", requests: 1 }
        }
      ]
    },
    {
      name: "JSON instead of a stream",
      feature: "text",
      turns: [
        { replies: [whole({ content: "Hello." }, "stop")], expected: { text: "Hello.", usage: [9, 3] } },
        {
          replies: [
            whole(
              {
                content: null,
                tool_calls: [
                  { id: "a", type: "function", function: { name: "create_task", arguments: '{"title":"one"}' } }
                ]
              },
              "tool_calls"
            ),
            whole({ content: "Done." }, "stop")
          ],
          expected: { text: "Done.", calls: [created("one")], usage: [18, 6] }
        }
      ]
    },
    {
      name: "every documented compression",
      feature: "text",
      turns: [
        compressed("deflate", deflateSync(hello)),
        compressed("deflate", deflateRawSync(hello)),
        compressed("br", brotliCompressSync(hello))
      ]
    },
    {
      name: "an unknown compression, and one that breaks off",
      feature: "errors",
      turns: [
        {
          replies: [reply(200, hello, { ...streamed, "content-encoding": "zstd" })],
          expected: { error: "agent_failed", requests: 1 }
        },
        {
          replies: () => reply(200, "no gzip", { ...streamed, "content-encoding": "gzip" }),
          expected: { error: "agent_unreachable" }
        }
      ]
    },
    {
      name: "a web page instead of an answer",
      feature: "errors",
      turns: [
        {
          replies: [reply(200, "<!doctype html><title>Login</title>", { "content-type": "text/html" })],
          expected: { error: "agent_failed", requests: 1, log: { model_error: "a web page instead of an answer" } }
        }
      ]
    },
    {
      name: "a second choice is ignored",
      feature: "stream",
      turns: [
        {
          replies: [
            events(
              says("Hello."),
              { ...says("Other."), choices: [{ index: 1, delta: { content: "Other." }, finish_reason: "stop" }] },
              chunk({}, "stop"),
              tokens(2, 2),
              "[DONE]"
            )
          ],
          expected: { text: "Hello.", usage: [2, 2] }
        }
      ]
    }
  ]
}
