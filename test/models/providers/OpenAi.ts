import { created, named, type Provider, refusal, reply, reset, type Sent } from "../../support/ModelCases.ts"

const response = (rest: object = {}) => ({
  id: "resp_1",
  object: "response",
  created_at: 1700000000,
  model: "m",
  ...rest
})
const begin = { type: "response.created", response: response({ status: "in_progress", output: [] }) }
const usage = { input_tokens: 8, output_tokens: 3 }
const end = (...output: ReadonlyArray<object>) => ({
  type: "response.completed",
  response: response({ status: "completed", output, usage })
})
const message = (text: string, id = "msg_1") => ({
  id,
  type: "message",
  role: "assistant",
  content: [{ type: "output_text", text }]
})
const call = (title: string, id = "call_1", item = `fc_${title}`) => ({
  id: item,
  type: "function_call",
  call_id: id,
  name: "create_task",
  arguments: JSON.stringify({ title })
})
const delta = (text: string) => ({
  type: "response.output_text.delta",
  output_index: 0,
  item_id: "msg_1",
  content_index: 0,
  delta: text
})
const done = (item: object, output_index = 0) => ({ type: "response.output_item.done", output_index, item })
const says = (text: string) => named(begin, delta(text), done(message(text)), end(message(text)))

/** The input items of a request. */
const inputOf = ({ body }: Sent): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  Array.isArray(body["input"]) ? body["input"] : []
const strict = (request: Sent, then: ReturnType<typeof says>) => {
  const ids = inputOf(request).flatMap(({ call_id, type }) => (type === "function_call" ? [call_id] : []))
  return new Set(ids).size === ids.length ? then : refusal(400, { code: "duplicate_call_id" })
}

export const provider: Provider = {
  name: "OpenAI",
  wire: "responses",
  settings: "`OPENAI_API_KEY`, or `OPENAI_BASE_URL` of another server with the Responses API",
  notes:
    "Sends each output three times: in pieces, as items, and in the last event. Compatible servers leave out one or two of them.",
  echoes: "turn",
  cases: [
    {
      name: "an answer in pieces",
      feature: "stream",
      turns: [
        {
          replies: [named(begin, delta("Hel"), delta("lo."), done(message("Hello.")), end(message("Hello.")))],
          expected: { text: "Hello.", usage: [8, 3] }
        }
      ]
    },
    {
      name: "a response instead of a stream",
      feature: "text",
      turns: [
        { replies: [reply(200, end(message("Hello.")).response)], expected: { text: "Hello.", usage: [8, 3] } },
        {
          replies: [reply(200, end(call("one")).response), says("Done.")],
          expected: { text: "Done.", calls: [created("one")], usage: [16, 6] }
        },
        {
          replies: [reply(200, { error: { code: "invalid_api_key", message: "x" } })],
          expected: {
            error: "agent_misconfigured",
            requests: 1,
            log: { model_status: 401, model_code: "invalid_api_key" }
          }
        }
      ]
    },
    {
      name: "text only in the done item",
      feature: "text",
      turns: [{ replies: [named(begin, done(message("Hello.")), end())], expected: { text: "Hello." } }]
    },
    {
      name: "text only in the last event",
      feature: "text",
      turns: [{ replies: [named(begin, end(message("Hello.")))], expected: { text: "Hello." } }]
    },
    {
      name: "the rest of a text in the last event",
      feature: "text",
      turns: [
        { replies: [named(begin, delta("Hel"), end(message("Hello.", "msg_other")))], expected: { text: "Hello." } }
      ]
    },
    {
      name: "arguments only in their done event",
      feature: "tools",
      turns: [
        {
          replies: [
            named(
              begin,
              { type: "response.output_item.added", output_index: 0, item: { ...call("one"), arguments: "" } },
              {
                type: "response.function_call_arguments.done",
                output_index: 0,
                item_id: "fc_one",
                arguments: '{"title":"one"}'
              },
              done({ ...call("one"), arguments: "" }),
              end()
            ),
            says("Done.")
          ],
          expected: { text: "Done.", calls: [created("one")] }
        }
      ]
    },
    {
      name: "a call only in the last event",
      feature: "tools",
      turns: [
        {
          replies: [named(begin, end(call("one"))), says("Done.")],
          expected: { text: "Done.", calls: [created("one")] }
        }
      ]
    },
    {
      name: "one of two calls only in the last event, with the same ids",
      feature: "parallel calls",
      turns: [
        {
          replies: [
            named(begin, done(call("one", "call_1")), end(call("one", "call_1"), call("two", "call_1"))),
            says("Done.")
          ],
          expected: { text: "Done.", calls: [created("one"), created("two")] }
        }
      ]
    },
    {
      name: "an item with a different id in each event",
      feature: "tools",
      turns: [
        {
          replies: [
            named(
              begin,
              {
                type: "response.output_item.added",
                output_index: 0,
                item: { ...call("one", "call_1", "x1"), arguments: "" }
              },
              {
                type: "response.function_call_arguments.delta",
                output_index: 0,
                item_id: "x2",
                delta: '{"title":"one"}'
              },
              done(call("one", "call_1", "x3")),
              end(call("one", "call_1", "x4"))
            ),
            says("Done.")
          ],
          expected: { text: "Done.", calls: [created("one")] }
        }
      ]
    },
    {
      name: "ids that repeat across turns",
      feature: "tools",
      turns: [
        {
          replies: (request, n) =>
            strict(request, n < 1 ? named(begin, done(call("turn 0", "terminal:0")), end()) : says("Done.")),
          expected: { text: "Done.", calls: [created("turn 0")] }
        },
        {
          replies: (request, n) =>
            strict(request, n < 1 ? named(begin, done(call("turn 1", "terminal:0")), end()) : says("Done.")),
          expected: { text: "Done.", calls: [created("turn 1")] }
        }
      ]
    },
    {
      name: "a server without strict mode gets optional parameters as optional",
      feature: "tools",
      turns: [
        {
          replies: (request, n) => {
            const tools = JSON.stringify(request.body["tools"] ?? [])
            if (tools.includes('"strict"')) {
              return refusal(400, { param: "tools[0].strict", message: "Unknown parameter: 'tools[0].strict'." })
            }
            if (!tools.includes('"required":["title"]')) return refusal(400, {})
            return n < 2 ? named(begin, done(call("one")), end()) : says("Done.")
          },
          expected: {
            text: "Done.",
            calls: [created("one")],
            requests: 3,
            log: { model_status: 400, model_members: "strict" }
          }
        }
      ]
    },
    {
      name: "encrypted reasoning goes back with its calls",
      feature: "thinking",
      turns: [
        {
          replies: [
            named(
              begin,
              done({ id: "rs_1", type: "reasoning", summary: [], encrypted_content: "secret" }),
              done(call("one"), 1),
              end()
            ),
            says("Done.")
          ],
          expected: {
            text: "Done.",
            calls: [created("one")],
            sent: [
              () => true,
              (request) =>
                inputOf(request).some(
                  ({ encrypted_content, type }) => type === "reasoning" && encrypted_content === "secret"
                )
            ]
          }
        }
      ],
      secrets: ["secret"]
    },
    {
      name: "a failed answer, and a failed stream",
      feature: "errors",
      turns: [
        {
          replies: [
            named(begin, {
              type: "response.failed",
              response: response({ status: "failed", error: { code: "invalid_prompt", message: "x" } })
            })
          ],
          expected: { error: "agent_content_refused", requests: 1, log: { model_code: "invalid_prompt" } }
        },
        {
          replies: [
            named(begin, delta("Half"), { type: "error", code: "server_error", message: "x" } as {
              readonly type: string
            })
          ],
          expected: {
            text: "Half",
            error: "agent_failed",
            requests: 1,
            log: { model_status: 500, model_code: "server_error" }
          }
        }
      ]
    },
    {
      name: "an answer that is cut off, filtered, refused or broken",
      feature: "errors",
      turns: [
        {
          replies: [
            named(begin, delta("And so"), {
              type: "response.incomplete",
              response: response({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } })
            })
          ],
          expected: { text: "And so", error: "agent_failed", requests: 1 }
        },
        {
          replies: [
            named(begin, delta("Well"), {
              type: "response.incomplete",
              response: response({ status: "incomplete", incomplete_details: { reason: "content_filter" } })
            })
          ],
          expected: { text: "Well", error: "agent_content_refused", requests: 1 }
        },
        {
          replies: [
            named(
              begin,
              { type: "response.refusal.delta", output_index: 0, item_id: "msg_1", content_index: 0, delta: "No." },
              end()
            )
          ],
          expected: { text: "No.", error: "agent_content_refused", requests: 1 }
        },
        {
          replies: [reset(named(begin, delta("Half")))],
          expected: { text: "Half", error: "agent_unreachable", requests: 1 }
        }
      ]
    }
  ]
}
