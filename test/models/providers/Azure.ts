import { gzipSync } from "node:zlib"
import {
  calls,
  chunk,
  created,
  events,
  messagesIn,
  type Provider,
  plain,
  refusal,
  reply,
  says,
  tokens
} from "../../support/ModelCases.ts"

const streamed = { "content-type": "text/event-stream" }
const long = `call_${"x".repeat(40)}`

/** True if a request contains the message of a turn. */
const isAsked = (text: string, turn: number) => new RegExp(`"case-\\d+ ${turn}"`).test(text)

export const provider: Provider = {
  name: "Azure OpenAI",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=https://NAME.openai.azure.com/openai/v1`",
  notes: "Filters messages and answers. Its first chunk has no choice.",
  cases: [
    {
      name: "a first chunk without a choice",
      feature: "stream",
      turns: [
        {
          replies: [
            events(
              { choices: [], prompt_filter_results: [] },
              says("Hello."),
              chunk({}, "stop"),
              tokens(5, 1),
              "[DONE]"
            )
          ],
          expected: { text: "Hello.", usage: [5, 1] }
        }
      ]
    },
    {
      name: "a filtered message is refused and does not block later messages",
      feature: "errors",
      turns: [
        {
          replies: [
            refusal(400, {
              code: "content_filter",
              param: "prompt",
              innererror: { code: "ResponsibleAIPolicyViolation" },
              message: "The response was filtered"
            })
          ],
          expected: {
            error: "agent_content_refused",
            requests: 1,
            log: { model_status: 400, model_code: "content_filter" }
          }
        },
        {
          replies: (request) =>
            messagesIn(request).filter(({ role }) => role === "user").length === 1
              ? plain("Hello.")
              : refusal(400, { code: "content_filter" }),
          expected: { text: "Hello.", requests: 1 }
        }
      ]
    },
    {
      name: "a filtered answer fails",
      feature: "errors",
      turns: [
        {
          replies: [events(says("Well"), chunk({}, "content_filter"), "[DONE]")],
          expected: { text: "Well", error: "agent_content_refused", requests: 1 }
        },
        {
          replies: [events(chunk({}, "content_filter"), "[DONE]")],
          expected: { error: "agent_content_refused", requests: 1 }
        },
        // The answer was filtered, not the message, so both stay in the history.
        {
          replies: ({ text }) => (isAsked(text, 0) && text.includes("Well") ? plain("Hello.") : refusal(400, {})),
          expected: { text: "Hello.", requests: 1 }
        }
      ]
    },
    {
      name: "a message that is refused without a reason is left out if earlier messages were answered",
      feature: "errors",
      turns: [
        { replies: [plain("One.")], expected: { text: "One." } },
        { replies: [plain("Two.")], expected: { text: "Two." } },
        {
          replies: () => refusal(400, {}),
          // With the whole history, with half of it, and without it.
          expected: { error: "agent_content_refused", requests: 3, log: { model_status: 400, model_try: 3 } }
        },
        {
          replies: ({ text }) => (isAsked(text, 2) ? refusal(400, {}) : plain("Four.")),
          expected: { text: "Four.", requests: 1, sent: [({ text }) => isAsked(text, 0) && isAsked(text, 1)] }
        }
      ]
    },
    {
      name: "a refused tool result: the turn and its changes stay in the history",
      feature: "errors",
      turns: [
        {
          replies: (_, n) =>
            n < 1
              ? events(calls("a", "one"), chunk({}, "tool_calls"), "[DONE]")
              : refusal(400, { code: "content_filter" }),
          expected: { error: "agent_content_refused", calls: [created("one")], requests: 2 }
        },
        {
          replies: ({ text }) =>
            isAsked(text, 0) && text.includes("create_task") ? plain("Hello.") : refusal(400, {}),
          expected: { text: "Hello.", requests: 1 }
        }
      ]
    },
    {
      name: "an unknown member is left out, and the log names it",
      feature: "usage",
      turns: [
        {
          replies: (request) =>
            "stream_options" in request.body
              ? refusal(400, {
                  code: "unsupported_parameter",
                  param: "stream_options",
                  message: "Unsupported parameter"
                })
              : events(says("Hello."), chunk({}, "stop"), "[DONE]"),
          expected: {
            text: "Hello.",
            usage: [0, 0],
            requests: 2,
            log: { model_status: 400, model_code: "unsupported_parameter", model_members: "stream_options" }
          }
        },
        {
          replies: (request) => ("stream_options" in request.body ? refusal(400, {}) : plain("Again.")),
          expected: { text: "Again.", requests: 1 }
        }
      ]
    },
    {
      name: "ids over 40 characters, two of them equal",
      feature: "parallel calls",
      turns: [
        {
          replies: (request, n) => {
            if (n < 1)
              return events(calls(long, "forty a", 0), calls(long, "forty b", 1), chunk({}, "tool_calls"), "[DONE]")
            const isShort = messagesIn(request).every(
              ({ tool_call_id: id }) => typeof id !== "string" || id.length <= 40
            )
            return isShort ? plain("Done.") : refusal(400, { code: "string_above_max_length" })
          },
          expected: { text: "Done.", calls: [created("forty a"), created("forty b")], requests: 2 }
        }
      ]
    },
    {
      name: "a compressed answer without `Accept-Encoding`",
      feature: "text",
      turns: [
        {
          replies: [reply(200, gzipSync(plain("Hello.").body), { ...streamed, "content-encoding": "gzip" })],
          expected: { text: "Hello.", usage: [5, 2] }
        }
      ]
    },
    {
      name: "a refusal text is kept, and the turn fails",
      feature: "text",
      turns: [
        {
          replies: [
            events(chunk({ refusal: "I cannot " }), chunk({ refusal: "do that." }), chunk({}, "stop"), "[DONE]")
          ],
          expected: { text: "I cannot do that.", error: "agent_content_refused", requests: 1 }
        }
      ]
    },
    {
      name: "an error with status 400 only",
      feature: "errors",
      turns: [
        {
          replies: [reply(400, "", { "x-request-id": "req-77" })],
          expected: {
            error: "agent_failed",
            requests: 1,
            log: { model_status: 400, model_request_id: "req-77", model_try: 1 }
          }
        },
        {
          replies: ({ text }) => (isAsked(text, 0) ? refusal(400, {}) : plain("Hello.")),
          expected: { text: "Hello.", requests: 1 }
        }
      ]
    }
  ]
}
