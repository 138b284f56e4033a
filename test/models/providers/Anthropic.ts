import { created, messagesIn, named, type Provider, refusal, reply } from "../../support/ModelCases.ts"

const begin = {
  type: "message_start",
  message: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "m",
    content: [],
    stop_reason: null,
    usage: { input_tokens: 7, output_tokens: 1 }
  }
}
const block = (index: number, content_block: object) => ({ type: "content_block_start", index, content_block })
const delta = (index: number, given: object) => ({ type: "content_block_delta", index, delta: given })
const stop = (index: number) => ({ type: "content_block_stop", index })
const end = (stop_reason: string) => [
  { type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 5 } },
  { type: "message_stop" }
]
const text = (index: number, ...pieces: ReadonlyArray<string>) => [
  block(index, { type: "text", text: "" }),
  ...pieces.map((piece) => delta(index, { type: "text_delta", text: piece })),
  stop(index)
]
const call = (index: number, title: string, id = `toolu_${title}`) => [
  block(index, { type: "tool_use", id, name: "create_task", input: {} }),
  delta(index, { type: "input_json_delta", partial_json: '{"tit' }),
  delta(index, { type: "input_json_delta", partial_json: `le":"${title}"}` }),
  stop(index)
]
const says = (words: string) => named(begin, ...text(0, words), ...end("end_turn"))

export const provider: Provider = {
  name: "Anthropic",
  wire: "messages",
  settings: "`MODEL_PROVIDER=anthropic`, `ANTHROPIC_API_KEY`",
  notes: "Expects the signed reasoning before its calls back, within the turn.",
  echoes: "turn",
  cases: [
    {
      name: "an answer in pieces, with pings",
      feature: "stream",
      turns: [
        {
          replies: [named(begin, { type: "ping" }, ...text(0, "Hel", "lo."), ...end("end_turn"))],
          expected: { text: "Hello.", usage: [7, 5] }
        }
      ]
    },
    {
      name: "two calls after text",
      feature: "parallel calls",
      turns: [
        {
          replies: [
            named(begin, ...text(0, "Well."), ...call(1, "one"), ...call(2, "two"), ...end("tool_use")),
            says("Done.")
          ],
          expected: { text: "Well.\n\nDone.", calls: [created("one"), created("two")], usage: [14, 10] }
        }
      ]
    },
    {
      name: "signed reasoning goes back with its calls, and nobody sees it",
      feature: "thinking",
      turns: [
        {
          replies: [
            named(
              begin,
              block(0, { type: "thinking", thinking: "", signature: "" }),
              delta(0, { type: "thinking_delta", thinking: "secret" }),
              delta(0, { type: "signature_delta", signature: "sig" }),
              stop(0),
              ...call(1, "one"),
              ...end("tool_use")
            ),
            says("Done.")
          ],
          expected: {
            text: "Done.",
            calls: [created("one")],
            sent: [
              () => true,
              (request) =>
                JSON.stringify(messagesIn(request)).includes(
                  '[{"type":"thinking","thinking":"secret","signature":"sig"},{"type":"tool_use"'
                )
            ]
          }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "a message instead of a stream",
      feature: "text",
      turns: [
        {
          replies: [
            reply(200, {
              type: "message",
              id: "msg_1",
              role: "assistant",
              model: "m",
              content: [{ type: "text", text: "Hello." }],
              stop_reason: "end_turn",
              usage: { input_tokens: 7, output_tokens: 5 }
            })
          ],
          expected: { text: "Hello.", usage: [7, 5] }
        }
      ]
    },
    {
      name: "an overload error within the stream, and before it",
      feature: "errors",
      turns: [
        {
          replies: [
            named(begin, ...text(0, "Half"), {
              type: "error",
              error: { type: "overloaded_error", message: "Overloaded" }
            })
          ],
          expected: {
            text: "Half",
            error: "agent_busy",
            requests: 1,
            log: { model_status: 529, model_code: "overloaded_error" }
          }
        },
        {
          replies: [
            reply(529, { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }),
            says("Hello.")
          ],
          expected: { text: "Hello.", requests: 2 }
        }
      ]
    },
    {
      name: "an answer that reaches its limit, is refused, or pauses",
      feature: "errors",
      turns: [
        {
          replies: [named(begin, ...text(0, "And so"), ...end("max_tokens"))],
          expected: { text: "And so", error: "agent_failed", requests: 1 }
        },
        {
          replies: [named(begin, ...text(0, "No."), ...end("refusal"))],
          expected: { text: "No.", error: "agent_content_refused", requests: 1 }
        },
        {
          replies: [named(begin, ...text(0, "Wait"), ...end("pause_turn"))],
          expected: { text: "Wait", error: "agent_failed", requests: 1 }
        }
      ]
    },
    {
      name: "the key is refused",
      feature: "errors",
      turns: [
        {
          replies: [
            reply(
              401,
              { type: "error", error: { type: "authentication_error", message: "invalid x-api-key" } },
              { "request-id": "req_9" }
            )
          ],
          expected: {
            error: "agent_misconfigured",
            requests: 1,
            log: { model_status: 401, model_code: "authentication_error", model_request_id: "req_9" }
          }
        }
      ]
    },
    {
      name: "a prompt that is too long, according to the error message",
      feature: "errors",
      turns: [
        {
          replies: [
            refusal(400, {
              type: "invalid_request_error",
              message: "prompt is too long: 210000 tokens > 200000 maximum"
            })
          ],
          expected: { error: "agent_context_too_long", requests: 1 }
        }
      ]
    }
  ]
}
