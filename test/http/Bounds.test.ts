import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { UserId } from "../../src/domain/Id.ts"
import * as ScriptedModel from "../../src/testing/ScriptedModel.ts"
import { countSteps } from "../support/Backtracking.ts"
import * as Server from "../support/Server.ts"
import { fieldsOf, newUser, say, send } from "../support/Server.ts"

/** The long texts that `effect` normalises. NFC takes quadratic time for a run of combining marks. */
const normalised = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const { normalize } = String.prototype
      const texts: Array<string> = []
      String.prototype.normalize = function (form?: string) {
        texts.push(String(this))
        return normalize.call(this, form)
      }
      return { normalize, texts }
    }),
    ({ texts }) => Effect.map(effect, (value) => ({ value, texts })),
    ({ normalize }) =>
      Effect.sync(() => {
        String.prototype.normalize = normalize
      })
  )

type Sending = Effect.Effect.Context<ReturnType<typeof send>>

const marks = (n: number) => `a${"\u0315".repeat(n)}${"\u0300".repeat(n)}`

/** True if the tool refused its arguments. */
const isRefused = (user: UserId, name: string, args: object) =>
  Effect.map(
    send("POST", "/mcp", {
      user,
      headers: { accept: "application/json, text/event-stream" },
      body: { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } }
    }),
    ({ text }) => fieldsOf(JSON.parse(/^data: (.+)$/m.exec(text)?.[1] ?? text).result)["isError"] === true
  )

layer(Server.layer())("Bounds", (it) => {
  for (const [kind, long] of [
    ["too long", marks(20_000)],
    ["of long runs", marks(31)]
  ] as const) {
    it.effect(`a text that is ${kind} is refused by every endpoint and tool before it is normalised`, () =>
      Effect.gen(function* () {
        const user = yield* newUser
        const task = (yield* send("POST", `/api/${user}/tasks`, { user, body: { title: "Milk" } })).json["id"]
        const conversation = (yield* say(user, "Hi")).json["conversation_id"]
        yield* Server.Server.pipe(
          Effect.flatMap(({ plays }) =>
            plays(`Add ${kind}`, [
              ScriptedModel.call("create_task", { title: long }),
              ScriptedModel.call("create_task", { title: "a", labels: [long] }),
              ScriptedModel.call("create_task", { title: "a", due: long }),
              ScriptedModel.call("list_tasks", { query: long }),
              ScriptedModel.call("list_tasks", { label: long })
            ])
          )
        )
        const { texts } = yield* normalised(
          Effect.gen(function* () {
            const refused = function* (method: string, path: string, body: object) {
              const answer = yield* send(method, path, { user, body })
              assert.strictEqual(answer.status, 400, path)
              assert.notInclude(answer.text, "\u0300\u0300")
            }
            yield* refused("POST", `/api/${user}/chat`, { message: long })
            yield* refused("POST", `/api/${user}/chat/stream`, { message: long })
            yield* refused("PATCH", `/api/${user}/conversations/${conversation}`, { title: long })
            for (const fields of [{ title: long }, { title: "a", description: long }, { title: "a", labels: [long] }]) {
              yield* refused("POST", `/api/${user}/tasks`, fields)
              yield* refused("PATCH", `/api/${user}/tasks/${task}`, fields)
            }
            const inUrl = encodeURIComponent(marks(31))
            for (const name of ["q", "label"]) yield* refused("GET", `/api/${user}/tasks?${name}=${inUrl}`, {})
            for (const [name, args] of [
              ["create_task", { title: long }],
              ["create_task", { title: "a", description: long }],
              ["create_task", { title: "a", labels: [long] }],
              ["create_task", { title: "a", due: long }],
              ["update_task", { task_id: task, title: long }],
              ["list_tasks", { query: long }],
              ["list_tasks", { label: long }],
              ["list_tasks", { due_before: long }]
            ] as const) {
              assert.isTrue(yield* isRefused(user, name, args), name)
            }
            const answer = yield* say(user, `Add ${kind}`)
            const calls = answer.json["tool_calls"]
            assert.lengthOf(Array.isArray(calls) ? calls : [], 5)
            for (const call of Array.isArray(calls) ? calls : []) {
              assert.strictEqual(fieldsOf(fieldsOf(call)["result"])["status"], "error")
            }
          })
        )
        assert.isNotEmpty(texts)
        assert.deepStrictEqual(
          texts.filter((text) => text.length > 16_000 || /\p{M}{31}/u.test(text)),
          []
        )
        const { json } = yield* send("GET", `/api/${user}/tasks`, { user })
        assert.strictEqual(json["total"], 1)
      })
    )
  }

  it.effect("a list that is too long is refused before its items are decoded", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const labels = Array.from({ length: 4000 }, () => "a")
      const { texts, value } = yield* normalised(
        send("POST", `/api/${user}/tasks`, { user, body: { title: "Milk", labels } })
      )
      assert.deepStrictEqual(value.json["errors"], [{ path: "labels", message: "must have at most 10 labels" }])
      // The title.
      assert.lengthOf(texts, 1)
    })
  )

  it.effect("every pattern takes a bounded number of steps per character of a request", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const task = (yield* send("POST", `/api/${user}/tasks`, { user, body: { title: "Milk" } })).json["id"]
      const turn = (yield* say(user, "Hi")).json["turn_id"]
      const tasks = `/api/${user}/tasks`
      const mcp = { accept: "application/json" }
      const tool = (name: string, args: object) => ({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: { name, arguments: args }
      })
      const doors: Record<string, (text: string) => Effect.Effect<Server.Answer, never, Sending>> = {
        ...Object.fromEntries(
          ["accept", "last-event-id", "authorization", "origin", "x-request-id", "time-zone"].map((name) => [
            name,
            (text: string) => send("GET", `/api/${user}/turns/${turn}/events`, { user, headers: { [name]: text } })
          ])
        ),
        "if-match": (text) => send("PATCH", `${tasks}/${task}`, { user, body: {}, headers: { "if-match": text } }),
        "idempotency-key": (text) =>
          send("POST", tasks, { user, body: { title: "a" }, headers: { "idempotency-key": text } }),
        "content-type": (text) => send("POST", tasks, { user, body: "{}", headers: { "content-type": text } }),
        "a host": (text) => send("GET", tasks, { user, headers: { host: text } }),
        "a path": (text) => send("GET", `/api/${encodeURIComponent(text.slice(0, 1000))}`, { user }),
        ...Object.fromEntries(
          ["q", "label", "cursor", "limit", "due_before", "sort"].map((name) => [
            `?${name}`,
            (text: string) => send("GET", `${tasks}?${new URLSearchParams({ [name]: text.slice(0, 2000) })}`, { user })
          ])
        ),
        ...Object.fromEntries(
          ["title", "description", "priority", "due_date", "due_at", "time_zone", "repeat"].map((name) => [
            name,
            (text: string) => send("POST", tasks, { user, body: { title: "a", [name]: text } })
          ])
        ),
        ...Object.fromEntries(
          ["due", "labels", "repeat", "priority", "unknown"].map((name) => [
            `tool's ${name}`,
            (text: string) =>
              send("POST", "/mcp", { user, headers: mcp, body: tool("create_task", { title: "a", [name]: text }) })
          ])
        ),
        "a tool's name": (text) => send("POST", "/mcp", { user, headers: mcp, body: tool(text, {}) }),
        "an argument's name": (text) =>
          send("POST", "/mcp", { user, headers: mcp, body: tool("create_task", { title: "a", [text]: 1 }) }),
        "mcp's accept": (text) => send("POST", "/mcp", { user, headers: { accept: text }, body: tool("get_task", {}) })
      }
      const pieces = [" ", ",", '"1", ', "a/b;q=1,", ';="\\', "a on by ", "a day after ", "1", "(("]
      for (const [door, ask] of Object.entries(doors)) {
        for (const piece of pieces) {
          const text = piece.repeat(3000).slice(0, 3000)
          const counting = countSteps(400 * text.length)
          const { status } = yield* ask(text)
          assert.isBelow(status, 500, `${door}: ${piece}`)
          counting.stop()
        }
      }
    })
  )

  it.effect("a body with too many values is refused before it is decoded", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const objects = Array.from({ length: 80_000 }, () => ({}))
      for (const [path, body] of [
        [`/api/${user}/tasks`, { title: "Milk", labels: objects }],
        [`/api/${user}/chat`, { message: "Hi", unknown: objects }]
      ] as const) {
        const { json, status } = yield* send("POST", path, { user, body })
        assert.deepStrictEqual(
          [status, json["errors"]],
          [400, [{ path: "", message: "the body has more than 5000 values" }]]
        )
      }
    })
  )
})
