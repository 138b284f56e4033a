import {
  calls,
  chunk,
  created,
  events,
  messagesIn,
  type Provider,
  plain,
  refusal,
  type Sent,
  says,
  tokens
} from "../../support/ModelCases.ts"

const isOptional = ({ body }: { readonly body: Readonly<Record<string, unknown>> }) => {
  const tools: ReadonlyArray<{ readonly function?: { readonly name?: string; readonly parameters?: object } }> =
    Array.isArray(body["tools"]) ? body["tools"] : []
  const tool = tools.find((tool) => tool.function?.name === "create_task")
  return JSON.stringify(Reflect.get(tool?.function?.parameters ?? {}, "required")) === '["title"]'
}

const failed = {
  type: "invalid_request_error",
  code: "tool_use_failed",
  failed_generation: '<function=create_task>{"title": 5}</function>'
}

const takesNoThoughts = (request: Sent, then: ReturnType<typeof plain>) =>
  messagesIn(request).some((message) => "reasoning" in message)
    ? refusal(400, {
        type: "invalid_request_error",
        message:
          "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning' is unsupported)]"
      })
    : then

export const provider: Provider = {
  name: "Groq",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=https://api.groq.com/openai/v1`",
  notes: "Refuses calls that do not match their schema, and unnecessary members.",
  cases: [
    {
      name: "usage in a separate member",
      feature: "stream",
      turns: [
        {
          replies: [
            events(says("Hel"), says("lo."), chunk({}, "stop", { x_groq: { id: "req_1" } }), tokens(7, 3), "[DONE]")
          ],
          expected: { text: "Hello.", usage: [7, 3] }
        }
      ]
    },
    {
      name: "a call matches its schema",
      feature: "tools",
      turns: [
        {
          replies: (request, n) =>
            n > 0
              ? plain("Done.")
              : isOptional(request)
                ? events(calls("call_a", "one"), chunk({}, "tool_calls"), "[DONE]")
                : refusal(400, failed),
          expected: { text: "Done.", calls: [created("one")], requests: 2 }
        }
      ]
    },
    {
      name: "the model is told about a refused call, and the turn continues",
      feature: "tools",
      turns: [
        {
          replies: [
            refusal(400, failed),
            events(calls("call_a", "one"), chunk({}, "tool_calls"), "[DONE]"),
            plain("Done.")
          ],
          expected: {
            text: "Done.",
            calls: [created("one")],
            requests: 3,
            sent: [() => true, ({ text }) => text.includes("tool call was refused")],
            log: { model_status: 400, model_code: "tool_use_failed", model_try: 1 }
          }
        }
      ],
      secrets: ["function=create_task"]
    },
    {
      name: "reasoning that the provider refuses is left out of this and later requests",
      feature: "thinking",
      turns: [
        {
          replies: (request, n) =>
            n < 1
              ? events(chunk({ reasoning: "secret" }), calls("call_a", "one"), chunk({}, "tool_calls"), "[DONE]")
              : takesNoThoughts(request, plain("Done.")),
          expected: {
            text: "Done.",
            calls: [created("one")],
            requests: 3,
            log: { model_status: 400, model_members: "reasoning" }
          }
        },
        {
          replies: (request, n) =>
            n < 1
              ? events(chunk({ reasoning: "secret" }), calls("call_b", "two"), chunk({}, "tool_calls"), "[DONE]")
              : takesNoThoughts(request, plain("Again.")),
          expected: { text: "Again.", calls: [created("two")], requests: 2 }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "a retry delay in the error message is passed on",
      feature: "errors",
      turns: [
        {
          replies: () =>
            refusal(429, {
              type: "tokens",
              code: "rate_limit_exceeded",
              message: "Rate limit reached for model `m` in organization `org_x`. Please try again in 7m12s. Visit us."
            }),
          expected: { error: "agent_busy", requests: 1, log: { model_status: 429, model_code: "rate_limit_exceeded" } }
        }
      ],
      secrets: ["org_x"]
    }
  ]
}
