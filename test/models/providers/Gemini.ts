import {
  chunk,
  created,
  events,
  messagesIn,
  type Provider,
  piece,
  plain,
  reply,
  says,
  tokens
} from "../../support/ModelCases.ts"

const signature = { google: { thought_signature: "secret" } }
const signed = chunk(
  piece(
    { index: 0, id: "", type: "function", extra_content: signature },
    { name: "create_task", arguments: '{"title":"one"}' }
  )
)

/** Refuses a request with a call that has no signature. */
const strict = (request: Parameters<typeof messagesIn>[0], then: ReturnType<typeof plain>) => {
  const calls = messagesIn(request).flatMap(
    ({ tool_calls }): ReadonlyArray<object> => (Array.isArray(tool_calls) ? tool_calls : [])
  )
  return calls.every((call) => JSON.stringify(Reflect.get(call, "extra_content")) === JSON.stringify(signature))
    ? then
    : reply(400, [
        { error: { code: 400, message: "Function call is missing a thought_signature", status: "INVALID_ARGUMENT" } }
      ])
}

export const provider: Provider = {
  name: "Gemini",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=https://generativelanguage.googleapis.com/v1beta/openai`",
  notes: "Signs its calls and expects the signatures back. Sends errors in a list.",
  echoes: "conversation",
  cases: [
    {
      name: "signatures go back with their calls, also in later turns",
      feature: "thinking",
      turns: [
        {
          replies: (request, n) =>
            strict(request, n < 1 ? events(signed, chunk({}, "stop"), "[DONE]") : plain("Done.")),
          expected: { text: "Done.", calls: [created("one")], requests: 2 }
        },
        { replies: (request) => strict(request, plain("Hello.")), expected: { text: "Hello.", requests: 1 } }
      ],
      secrets: ["secret"]
    },
    {
      name: "reasoning in the text is removed",
      feature: "thinking",
      turns: [
        {
          replies: [
            events(says("<thought>secret"), says("</thought>Hello."), chunk({}, "stop"), tokens(8, 2), "[DONE]")
          ],
          expected: { text: "Hello.", usage: [8, 2] }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "an error in a list has a retry delay",
      feature: "errors",
      turns: [
        {
          replies: () =>
            reply(429, [
              {
                error: {
                  code: 429,
                  message: "Quota exceeded for metric x",
                  status: "RESOURCE_EXHAUSTED",
                  details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "340s" }]
                }
              }
            ]),
          expected: { error: "agent_busy", requests: 1, log: { model_status: 429, model_code: "RESOURCE_EXHAUSTED" } }
        }
      ]
    },
    {
      name: "the model is told about a malformed call",
      feature: "tools",
      turns: [
        {
          replies: [
            events(chunk({}, "function_call_filter: MALFORMED_FUNCTION_CALL"), "[DONE]"),
            events(signed, chunk({}, "tool_calls"), "[DONE]"),
            plain("Done.")
          ],
          expected: {
            text: "Done.",
            calls: [created("one")],
            requests: 3,
            log: { model_code: "malformed_function_call" }
          }
        }
      ]
    }
  ]
}
