import { assert, layer } from "@effect/vitest"
import { Effect, Record } from "effect"
import { type Case, chunk, events, named, type Provider, piece, type Reply } from "../support/ModelCases.ts"
import { ProviderServer, services } from "../support/ProviderServer.ts"
import { fieldsOf, newUser, say, send } from "../support/Server.ts"

/** For each wire: an answer that calls a tool with each of these arguments, and a text answer. */
const asking: Readonly<
  Record<Provider["wire"], readonly [call: (...all: ReadonlyArray<string>) => Reply, words: Reply]>
> = {
  "chat-completions": [
    (...all) =>
      events(
        ...all.map((text, index) =>
          chunk(piece({ index, id: `c${index}`, type: "function" }, { name: "create_task", arguments: text }))
        ),
        chunk({}, "tool_calls"),
        "[DONE]"
      ),
    events(chunk({ content: "Sorry." }), chunk({}, "stop"), "[DONE]")
  ],
  responses: [
    (...all) => {
      const items = all.map((text, index) => ({
        id: `fc_${index}`,
        type: "function_call",
        call_id: `c${index}`,
        name: "create_task",
        arguments: text
      }))
      return named(...items.map((item, output_index) => ({ type: "response.output_item.done", output_index, item })), {
        type: "response.completed",
        response: { id: "r", status: "completed", output: items }
      })
    },
    named({
      type: "response.completed",
      response: {
        id: "r",
        status: "completed",
        output: [{ id: "m", type: "message", role: "assistant", content: [{ type: "output_text", text: "Sorry." }] }]
      }
    })
  ],
  messages: [
    (...all) =>
      named(
        { type: "message_start", message: { id: "m", role: "assistant", content: [], usage: {} } },
        ...all.flatMap((text, index) => [
          {
            type: "content_block_start",
            index,
            content_block: { type: "tool_use", id: `c${index}`, name: "create_task", input: {} }
          },
          { type: "content_block_delta", index, delta: { type: "input_json_delta", partial_json: text } },
          { type: "content_block_stop", index }
        ]),
        { type: "message_delta", delta: { stop_reason: "tool_use" }, usage: {} },
        { type: "message_stop" }
      ),
    named(
      { type: "message_start", message: { id: "m", role: "assistant", content: [], usage: {} } },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "Sorry." } },
      { type: "content_block_stop", index: 0 },
      { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: {} },
      { type: "message_stop" }
    )
  ]
}

layer(services)("Providers, whatever a model writes", (it) => {
  const deep = `{"title":${"[".repeat(3000)}${"]".repeat(3000)}}`
  const wide = JSON.stringify({ title: Array.from({ length: 90_000 }, () => ({})) })
  const long = JSON.stringify({ title: "a".repeat(300 * 1024) })

  for (const [wire, [call, words]] of Record.toEntries(asking)) {
    it.effect(
      `arguments that are too deep or too large are refused and not stored, and the turn continues: ${wire}`,
      () =>
        Effect.gen(function* () {
          const server = yield* ProviderServer
          const one: Case = {
            name: "arguments beyond the bounds",
            feature: "tools",
            turns: [{ replies: [call(deep, wide, long, '{"title":"Milk"}'), words], expected: {} }]
          }
          const key = yield* server.play({ name: wire, wire, settings: "", notes: "", cases: [one] }, one)
          const owner = yield* newUser
          const answer = yield* say(owner, `${key} 0`)
          assert.deepStrictEqual([answer.status, answer.json["assistant_message"]], [200, "Sorry."])
          const calls = answer.json["tool_calls"]
          assert.deepStrictEqual(
            (Array.isArray(calls) ? calls.map(fieldsOf) : []).map(({ parameters, result }) => [
              parameters,
              fieldsOf(result)["status"]
            ]),
            [...[deep, wide, long].map(() => [{}, "error"]), [{ title: "Milk" }, "success"]]
          )
          assert.isBelow(answer.text.length, 10_000)
          const messages = yield* send(
            "GET",
            `/api/${owner}/conversations/${answer.json["conversation_id"]}/messages`,
            {
              user: owner
            }
          )
          assert.isBelow(messages.text.length, 10_000)
          // The next request to the model does not contain them.
          const [, second] = yield* server.requests(key)
          assert.isBelow(second?.text.length ?? Infinity, 100_000)
        })
    )
  }
})
