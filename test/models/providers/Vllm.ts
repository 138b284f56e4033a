import {
  calls,
  chunk,
  counts,
  created,
  events,
  messagesIn,
  type Provider,
  plain,
  refusal,
  reply,
  says
} from "../../support/ModelCases.ts"

/** Refuses requests with duplicate ids or with results without a call. */
const strict = (request: Parameters<typeof messagesIn>[0], then: ReturnType<typeof plain>) => {
  const ids = messagesIn(request).flatMap(({ tool_calls }) =>
    Array.isArray(tool_calls) ? tool_calls.map(({ id }: { readonly id: string }) => id) : []
  )
  return new Set(ids).size === ids.length ? then : refusal(400, { code: "duplicate_id" })
}

const step = (title: string) => events(calls("functions.create_task:0", title), chunk({}, "tool_calls"), "[DONE]")

export const provider: Provider = {
  name: "vLLM",
  wire: "chat-completions",
  settings: "`OPENAI_BASE_URL=http://127.0.0.1:8000/v1`",
  notes: "Can send usage in every chunk. Call ids may repeat in every step.",
  cases: [
    {
      name: "usage in every chunk and an empty finish reason do not end the answer",
      feature: "usage",
      turns: [
        {
          replies: [
            events(
              says("One ", "", counts(3, 1)),
              says("two ", "", counts(3, 2)),
              says("three.", "", counts(3, 3)),
              chunk({}, "stop", counts(3, 4)),
              "[DONE]"
            )
          ],
          expected: { text: "One two three.", usage: [3, 4] }
        }
      ]
    },
    {
      name: "ids that repeat in every step and turn",
      feature: "tools",
      turns: [
        {
          replies: (request, n) => strict(request, n < 2 ? step(`step ${n}`) : plain("Done.")),
          expected: { text: "Done.", calls: [created("step 0"), created("step 1")], requests: 3 }
        },
        {
          replies: (request, n) => strict(request, n < 1 ? step("later") : plain("Again.")),
          expected: { text: "Again.", calls: [created("later")], requests: 2 }
        }
      ]
    },
    {
      name: "an error object in the stream",
      feature: "errors",
      turns: [
        {
          replies: [
            events({ object: "error", message: "bad", type: "BadRequestError", param: null, code: 400 }, "[DONE]")
          ],
          expected: { error: "agent_failed", requests: 1, log: { model_status: 400, model_code: "BadRequestError" } }
        }
      ]
    },
    {
      name: "an error in FastAPI's form",
      feature: "errors",
      turns: [
        {
          replies: (request) =>
            "stream_options" in request.body
              ? reply(422, {
                  detail: [
                    { type: "extra_forbidden", loc: ["body", "stream_options"], msg: "Extra inputs are not permitted" }
                  ]
                })
              : plain("Hello."),
          expected: { text: "Hello.", requests: 2 }
        }
      ]
    },
    {
      name: "an aborted answer fails",
      feature: "errors",
      turns: [
        {
          replies: [events(says("Half"), chunk({}, "abort"), "[DONE]")],
          expected: { text: "Half", error: "agent_failed", requests: 1 }
        }
      ]
    }
  ]
}
