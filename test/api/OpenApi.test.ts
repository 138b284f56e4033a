import { assert, describe, expect, it, layer } from "@effect/vitest"
import { Array as Arr, Effect, Predicate, Schema } from "effect"
import { Api } from "../../src/api/Api.ts"
import { openApi } from "../../src/api/OpenApi.ts"
import { example, StreamEvent } from "../../src/api/StreamEvent.ts"
import * as UiMessageChunk from "../../src/api/UiMessageChunk.ts"
import * as ScriptedModel from "../../src/testing/ScriptedModel.ts"
import { faults, operationOf, operations, surprises } from "../support/ApiDocument.ts"
import { files } from "../support/Repository.ts"
import * as Server from "../support/Server.ts"
import { answersIn, newUser, raw, send, stream } from "../support/Server.ts"

const cases = operations.map((operation) => ({ name: `${operation.method} ${operation.path}`, operation }))

const isAbout = Schema.is(Schema.Struct({ codes: Schema.Array(Schema.String) }))

const decodeEvent = Schema.decodeUnknownSync(StreamEvent)

describe("the OpenAPI document", () => {
  // `npm run docs:openapi` brings the file up to date.
  it("equals docs/openapi.json", async () => {
    await expect(`${JSON.stringify(openApi(), null, 2)}\n`).toMatchFileSnapshot("../../docs/openapi.json")
  })

  it("has every endpoint of the API", () => {
    const endpoints = Object.values(Api.groups).flatMap((group) =>
      Object.values(group.endpoints).map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`)
    )
    assert.includeMembers(
      Arr.map(cases, ({ name }) => name),
      endpoints
    )
  })

  it.each(cases)("$name has a summary, a description and an operationId", ({ operation }) => {
    assert.match(operation.summary, /\w/)
    assert.match(operation.description, /\w/)
    assert.match(operation.operationId, /^[a-z][A-Za-z]+$/)
  })

  it("gives every operation a unique operationId", () => {
    const ids = operations.map(({ operationId }) => operationId)
    assert.isNotEmpty(ids)
    assert.lengthOf(new Set(ids), ids.length)
  })

  it.each(cases)("$name has valid examples of its requests and responses", ({ operation }) => {
    const { body, parameters, responses } = operation
    const all = [...parameters, ...body, ...responses.flatMap(({ content, headers }) => [...content, ...headers])]
    for (const one of all) {
      assert.isNotEmpty(one.examples, one.at)
      for (const example of one.examples) assert.deepStrictEqual(faults(one, example), [], one.at)
    }
  })

  it.each(cases)("$name describes its parameters", ({ operation }) => {
    for (const { at, description } of operation.parameters) assert.match(description ?? "", /\w/, at)
  })

  it.each(cases)("$name has problem documents with named codes as errors", ({ operation }) => {
    const refusals = operation.responses.filter(({ status }) => Number(status[0]) >= 4)
    assert.isNotEmpty(refusals)
    for (const { codes, content, description } of refusals) {
      assert.deepStrictEqual(
        content.map(({ type }) => type),
        ["application/problem+json"]
      )
      assert.isNotEmpty(codes)
      for (const code of codes) assert.include(description, `\`${code}\``)
    }
  })

  it("has every code of a problem", async () => {
    const modules = await Promise.all(
      files("src/domain").map((file): Promise<object> => import(/* @vite-ignore */ `../../${file}`))
    )
    const known = modules
      .flatMap((module) => Object.values(module))
      .map((it) => (Predicate.hasProperty(it, "about") ? it.about : undefined))
      .flatMap((about) => (isAbout(about) ? about.codes : []))
    const documented = operations.flatMap(({ responses }) => responses.flatMap(({ codes }) => codes))
    assert.includeMembers(known, ["invalid_request", "agent_timeout"])
    assert.deepStrictEqual(Arr.dedupe(documented).sort(), Arr.dedupe(known).sort())
  })

  it("has an example of a stream with valid events", () => {
    const frames = example.split("\n\n").filter((frame) => /^data: /m.test(frame))
    const events = frames.map((frame) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(frame)?.[1]
      return decodeEvent({ event: field("event") ?? "message", data: field("data") })
    })
    assert.deepStrictEqual(
      events.map(({ _tag, done }) => [_tag, done]),
      [
        ["Turn", false],
        ["CallBegun", false],
        ["CallEnded", false],
        ["Text", false],
        ["Text", false],
        ["Completed", true]
      ]
    )
  })
})

layer(Server.layer({ hasErasure: true }))("the server", (it) => {
  /** Asks, and gives back the answer, which is as the document says. */
  const ask = (method: string, path: string, message: Server.Message = {}) =>
    Effect.map(send(method, path, message), (answer) => {
      assert.deepStrictEqual(
        surprises(operationOf(method, path), answer),
        [],
        `${method} ${path} ${answer.text.slice(0, 300)}`
      )
      return answer
    })

  it.effect("answers about tasks as the document says", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const tasks = `/api/${user}/tasks`
      const key = { "Idempotency-Key": "k" }
      const body = { title: "Call the bank", due_at: "2026-02-01T09:00:00+01:00", labels: ["a"], priority: "high" }
      const created = yield* ask("POST", tasks, { user, body, headers: key })
      const task = created.headers["location"] ?? ""
      const statuses = [
        created,
        yield* ask("POST", tasks, { user, body, headers: key }),
        yield* ask("POST", tasks, { user, body: { title: "Other" }, headers: key }),
        yield* ask("POST", tasks, { user, body: { title: "" } }),
        yield* ask("POST", tasks, { user, body: "title", headers: { "Content-Type": "text/plain" } }),
        yield* ask("POST", tasks, { user, body: { title: "x".repeat(300_000) } }),
        yield* ask("GET", `${tasks}?limit=1&status=pending&q=bank`, { user }),
        yield* ask("GET", `${tasks}?cursor=nonsense`, { user }),
        yield* ask("GET", task, { user }),
        yield* ask("GET", `${tasks}/9007199254740991`, { user }),
        yield* ask("PATCH", task, { user, body: { completed: true, due_date: null } }),
        yield* ask("PATCH", task, { user, body: { completed: false }, headers: { "If-Match": '"1"' } }),
        yield* ask("GET", `${task}/history`, { user }),
        yield* ask("DELETE", task, { user, headers: { "If-Match": '"1"' } }),
        yield* ask("DELETE", task, { user }),
        yield* ask("GET", tasks),
        yield* ask("GET", tasks, { headers: { Authorization: "Bearer nonsense" } }),
        yield* ask("GET", tasks, { user: yield* newUser })
      ].map(({ status }) => status)
      assert.deepStrictEqual(
        statuses,
        [201, 201, 422, 400, 415, 413, 200, 400, 200, 404, 200, 412, 200, 412, 204, 401, 401, 403]
      )
    })
  )

  it.effect("answers about chat, turns and conversations as the document says", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { plays } = yield* Server.Server
      yield* plays("Add milk", [ScriptedModel.call("create_task", { title: "Milk" })], "Added.")
      yield* plays("Break", ["So far", ScriptedModel.fail(ScriptedModel.faults.cutOff)])
      const chat = `/api/${user}/chat`
      const answer = yield* ask("POST", chat, { user, body: { message: "Add milk" } })
      const { conversation_id, message_id, turn_id } = answer.json
      const conversations = `/api/${user}/conversations`
      const turn = `/api/${user}/turns/${String(turn_id)}`
      const conversation = `${conversations}/${String(conversation_id)}`
      const nobodys = { message: "Hi", conversation_id: 9_007_199_254_740_991 }
      const statuses = [
        answer,
        yield* ask("POST", chat, { user, body: { message: "Break" } }),
        yield* ask("POST", chat, { user, body: { message: " " } }),
        yield* ask("POST", chat, { user, body: nobodys }),
        yield* ask("POST", `${chat}/stream`, { user, body: nobodys }),
        yield* ask("POST", chat, { user: yield* newUser, body: { message: "Hi" } }),
        yield* ask("GET", turn, { user }),
        yield* ask("GET", `${turn}/events`, { user }),
        yield* ask("GET", `${turn}/events`, { user, headers: { Accept: UiMessageChunk.contentType } }),
        yield* ask("GET", `${turn}/events`, { user, headers: { "Last-Event-ID": "nonsense" } }),
        yield* ask("GET", `${turn}/events`, { user, headers: { "Last-Event-ID": "end" } }),
        yield* ask("POST", `${turn}/cancel`, { user }),
        yield* ask("POST", `${turn}/undo`, { user }),
        yield* ask("GET", `/api/${user}/turns/0197b3c2-7d5e-7cc3-98c4-dc0c0c07398f`, { user }),
        yield* ask("GET", `${conversations}?limit=1`, { user }),
        yield* ask("GET", conversation, { user }),
        yield* ask("PATCH", conversation, { user, body: { title: "Milk" } }),
        yield* ask("GET", `${conversation}/messages`, { user }),
        yield* ask("DELETE", `${conversation}/messages/${String(message_id)}`, { user }),
        yield* ask("DELETE", `${conversation}/messages/${String(message_id)}`, { user }),
        yield* ask("GET", turn, { user }),
        yield* ask("GET", `${turn}/events`, { user }),
        yield* ask("DELETE", conversation, { user }),
        yield* ask("GET", conversation, { user })
      ].map(({ status }) => status)
      assert.deepStrictEqual(
        statuses,
        [
          200, 500, 400, 404, 404, 403, 200, 200, 200, 400, 204, 200, 200, 404, 200, 200, 200, 200, 204, 404, 200, 404,
          204, 404
        ]
      )
    })
  )

  it.effect("answers MCP clients as the document says", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const list = { jsonrpc: "2.0", id: 1, method: "tools/list" }
      const version = { Accept: "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25" }
      const meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
        "io.modelcontextprotocol/clientCapabilities": {}
      }
      const newest = { ...version, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list" }
      const ping = (headers: Readonly<Record<string, string>>, as?: typeof user) =>
        ask("POST", "/mcp", { body: list, headers: { ...version, ...headers }, ...(as && { user: as }) })
      const statuses = [
        yield* ping({}, user),
        yield* ask("POST", "/mcp", { user, body: { ...list, params: { _meta: meta } }, headers: newest }),
        yield* ask("POST", "/mcp", {
          user,
          body: { ...list, id: undefined, method: "notifications/initialized" },
          headers: version
        }),
        yield* ping({}),
        yield* ping({ Origin: "https://evil.example.com" }, user),
        yield* ping({ "Time-Zone": "Mars" }, user),
        yield* ask("POST", "/mcp", { user, body: "{}", headers: { ...version, "Content-Type": "text/plain" } }),
        yield* ask("GET", "/.well-known/oauth-protected-resource"),
        yield* ask("GET", "/.well-known/oauth-protected-resource/mcp")
      ].map(({ status }) => status)
      assert.deepStrictEqual(statuses, [200, 200, 202, 401, 403, 400, 415, 200, 200])
    })
  )

  it.effect("refuses requests that are too long as the document says", () =>
    Effect.gen(function* () {
      const [answer] = answersIn(yield* raw(`GET /health HTTP/1.1\r\nHost: a\r\nA: ${"b".repeat(20_000)}\r\n\r\n`))
      assert.strictEqual(answer?.json["code"], "headers_too_large")
      assert.deepStrictEqual(answer && surprises(operationOf("GET", "/health"), answer), [])
    })
  )

  it.effect("answers operators and readers of the documentation as the document says", () =>
    Effect.forEach(["/health", "/ready", "/metrics", "/openapi.json", "/docs"], (path) =>
      Effect.map(ask("GET", path), ({ status }) => assert.strictEqual(status, 200, path))
    )
  )

  it.scoped("streams events as the document says", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { plays } = yield* Server.Server
      yield* plays("Add milk", ["I add it. ", ScriptedModel.call("create_task", { title: "Milk" })], "Done.")
      yield* plays("Break", ["So far", ScriptedModel.fail(ScriptedModel.faults.cutOff)])
      const tagsOf = Effect.fn(function* (message: string) {
        const frames = yield* (yield* stream(user, message)).rest
        const events = frames.map(({ data, event = "message" }) => decodeEvent({ event, data: JSON.stringify(data) }))
        assert.deepStrictEqual(
          events.map(({ done }) => done),
          events.map((_, i) => i === events.length - 1)
        )
        return Arr.dedupe(events.map(({ _tag }) => _tag))
      })
      assert.deepStrictEqual(yield* tagsOf("Add milk"), ["Turn", "Text", "CallBegun", "CallEnded", "Completed"])
      assert.deepStrictEqual(yield* tagsOf("Break"), ["Turn", "Text", "Failed"])
    })
  )

  it.effect("shows the same document everywhere, on a page that loads nothing from other hosts", () =>
    Effect.gen(function* () {
      const { headers, text } = yield* send("GET", "/docs")
      const [, spec = ""] = /<script id="swagger-spec" type="application\/json">(.*?)<\/script>/s.exec(text) ?? []
      const served = yield* send("GET", "/openapi.json")
      const document: unknown = JSON.parse(JSON.stringify(openApi()))
      assert.deepStrictEqual(JSON.parse(spec), document)
      assert.deepStrictEqual(served.json, document)
      const [head = ""] = text.split("<script>")
      assert.notMatch(head, /\b(src|href)=/)
      const policy = headers["content-security-policy"] ?? ""
      assert.match(policy, /^default-src 'none';/)
      assert.notMatch(policy, /https?:|\*/)
    })
  )
})
