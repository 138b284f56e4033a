import { HttpClient, HttpClientRequest, HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  PROTOCOL_VERSION_META_KEY
} from "@modelcontextprotocol/server"
import { Array as Arr, DateTime, Effect, Either, Layer, Predicate, Schema, TestClock } from "effect"
import { resolve } from "../../../src/dates/Dates.ts"
import { UserId } from "../../../src/domain/Id.ts"
import * as Mount from "../../../src/http/Mount.ts"
import * as Mcp from "../../../src/http/mcp/Mcp.ts"
import { RateLimits } from "../../../src/services/access/RateLimits.ts"
import { Tokens } from "../../../src/services/access/Tokens.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import * as TaskTools from "../../../src/services/tasks/TaskTools.ts"
import * as Database from "../../support/Database.ts"

const limit = 50
const issuer = "https://login.example.com"
const server = HttpLayerRouter.serve(
  Layer.merge(
    Mcp.layer({ origins: ["https://app.example.com"], issuer }),
    Mcp.layer({ origins: [], issuer }).pipe(Mount.under("/assistant"))
  ),
  { disableListenLog: true, disableLogger: true }
).pipe(
  Layer.provide(TaskTools.layer),
  Layer.provideMerge(Tasks.layer),
  Layer.provide(Database.layer),
  Layer.provide(RateLimits.layerMemory({ api: { limit }, chat: { limit } })),
  Layer.provideMerge(Tokens.layerTest),
  Layer.provideMerge(NodeHttpServer.layerTest)
)

const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

type Fields = Readonly<Record<string, unknown>>
const fieldsOf = (value: unknown): Fields =>
  Predicate.isRecord(value) ? value : assert.fail(`no object: ${String(value)}`)

/** The JSON-RPC message in an answer, as JSON or as the only event of a stream. */
const messageIn = (type: string | undefined, text: string) => {
  if (text === "") return undefined
  const [, data] = type?.startsWith("text/event-stream") ? (/^data: (.+)$/m.exec(text) ?? []) : ["", text]
  return fieldsOf(JSON.parse(data ?? ""))
}

const versions = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] as const
type Version = (typeof versions)[number]

/**
 * The members that clients of a revision add to a request. The newest revision sends the client info in each request.
 */
const envelope = (version: Version, method: string, params: Fields) =>
  version === "2026-07-28"
    ? {
        headers: {
          "mcp-method": method,
          ...(typeof params["name"] === "string" && { "mcp-name": params["name"] }),
          ...(typeof params["uri"] === "string" && { "mcp-name": params["uri"] })
        },
        params: {
          ...params,
          _meta: {
            [PROTOCOL_VERSION_META_KEY]: version,
            [CLIENT_INFO_META_KEY]: { name: "test", version: "1" },
            [CLIENT_CAPABILITIES_META_KEY]: {}
          }
        }
      }
    : { headers: {}, params }

const post = (body: string, headers: Readonly<Record<string, string>>, path = "/mcp") =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const response = yield* HttpClientRequest.post(path).pipe(
      HttpClientRequest.setHeaders({ accept: "application/json, text/event-stream", ...headers }),
      HttpClientRequest.bodyText(body, headers["content-type"] ?? "application/json"),
      client.execute
    )
    const { headers: fields, status } = response
    const type = fields["content-type"]
    const message = messageIn(type, yield* response.text)
    return { status, headers: fields, message }
  })

/** A client of one user. */
const clientOf = (user: UserId, version: Version = "2025-11-25", more: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function* () {
    const token = yield* Effect.flatMap(Tokens, (tokens) => tokens.issue(user, "1 hour"))
    const authorization = `Bearer ${token}`
    const request = (method: string, given: Fields = {}, id: unknown = 1) => {
      const { headers, params } = envelope(version, method, given)
      return post(JSON.stringify({ jsonrpc: "2.0", id, method, params }), {
        authorization,
        "mcp-protocol-version": version,
        ...headers,
        ...more
      })
    }
    const result = (method: string, params: Fields = {}) =>
      Effect.map(request(method, params), ({ message }) => fieldsOf(message?.["result"]))
    const call = (name: string, args?: Fields) =>
      Effect.map(result("tools/call", { name, ...(args && { arguments: args }) }), (answer) => {
        const { content, isError, structuredContent } = answer
        const [text] = Array.isArray(content) ? content.map(fieldsOf) : []
        assert.deepStrictEqual(JSON.parse(String(text?.["text"])), structuredContent)
        const structured = fieldsOf(structuredContent)
        assert.strictEqual(isError, structured["status"] === "error")
        return structured
      })
    return { authorization, request, result, call }
  })

const codeOf = (message: Fields | undefined) => fieldsOf(message?.["error"])["code"]
const named = (list: unknown) => (Array.isArray(list) ? list.map((item) => fieldsOf(item)["name"]) : [])
const idOf = ({ task }: Fields) => Schema.decodeUnknownSync(Schema.Int)(fieldsOf(task)["id"])

layer(server)("Mcp", (it) => {
  it.effect.each(versions)("a client of %s lists the tools, calls them, and reads the tasks", (version) =>
    Effect.gen(function* () {
      const { call, result } = yield* clientOf(yield* newUser, version)
      const { tools } = yield* result("tools/list")
      assert.deepStrictEqual(named(tools), Object.keys(TaskTools.TaskTools.tools))
      const task_id = idOf(yield* call("create_task", { title: "Buy milk" }))
      assert.strictEqual(fieldsOf((yield* call("mark_complete", { task_id }))["task"])["completed"], true)
      assert.strictEqual((yield* call("list_tasks"))["total"], 1)
      const { contents } = yield* result("resources/read", { uri: `tasks://${task_id}` })
      assert.include(JSON.stringify(contents), "Buy milk")
      assert.deepStrictEqual(yield* call("get_task", { task_id: task_id + 1 }), {
        status: "error",
        error: "Task not found"
      })
    })
  )

  it.effect("clients of the 2025 revisions may initialize, and get the capabilities", () =>
    Effect.gen(function* () {
      for (const version of versions.slice(0, 3)) {
        const { authorization, result } = yield* clientOf(yield* newUser, version)
        const clientInfo = { name: "test", version: "1" }
        const hello = yield* result("initialize", { protocolVersion: version, capabilities: {}, clientInfo })
        assert.strictEqual(hello["protocolVersion"], version)
        assert.deepStrictEqual(Object.keys(fieldsOf(hello["capabilities"])).sort(), ["prompts", "resources", "tools"])
        const note = JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" })
        assert.strictEqual((yield* post(note, { authorization })).status, 202)
        assert.deepStrictEqual(yield* result("ping"), {})
      }
    })
  )

  it.effect("each tool has schemas and hints, and optional parameters are not required", () =>
    Effect.gen(function* () {
      const { result } = yield* clientOf(yield* newUser)
      const { tools } = yield* result("tools/list")
      for (const tool of Array.isArray(tools) ? tools.map(fieldsOf) : assert.fail("no tools")) {
        const { annotations, description, inputSchema, outputSchema, title } = tool
        assert.match(`${String(title)}: ${String(description)}`, /\w: \w/)
        assert.deepStrictEqual([fieldsOf(inputSchema)["type"], fieldsOf(outputSchema)["type"]], ["object", "object"])
        assert.deepStrictEqual(Object.keys(fieldsOf(annotations)).sort(), [
          "destructiveHint",
          "idempotentHint",
          "openWorldHint",
          "readOnlyHint"
        ])
        if (tool["name"] === "create_task") assert.deepStrictEqual(fieldsOf(inputSchema)["required"], ["title"])
      }
    })
  )

  it.effect("errors that the model can fix are results, other errors are protocol errors", () =>
    Effect.gen(function* () {
      const { call, request } = yield* clientOf(yield* newUser)
      const wrong = yield* call("create_task", { title: 7 })
      assert.deepStrictEqual(wrong, {
        status: "error",
        error: "The arguments do not fit the tool: title must be text."
      })
      assert.strictEqual((yield* call("create_task", { title: "t", due: "someday" }))["status"], "error")
      assert.strictEqual(codeOf((yield* request("tools/call", { name: "drop_tables" })).message), -32602)
      assert.strictEqual(codeOf((yield* request("resources/read", { uri: "tasks://0" })).message), -32602)
      assert.strictEqual(codeOf((yield* request("resources/read", { uri: "file:///etc/passwd" })).message), -32602)
      assert.strictEqual(codeOf((yield* request("prompts/get", { name: "nothing" })).message), -32602)
      assert.strictEqual(codeOf((yield* request("no/such")).message), -32601)
      assert.strictEqual((yield* request("ping", {}, "a string")).message?.["id"], "a string")
    })
  )

  it.effect("prompts and resources can be listed and read", () =>
    Effect.gen(function* () {
      const { call, result } = yield* clientOf(yield* newUser)
      yield* call("create_tasks", { tasks: [{ title: "done" }, { title: "pending" }] })
      const { tasks } = yield* call("list_tasks", { query: "done" })
      const [done] = Array.isArray(tasks) ? tasks.map(fieldsOf) : []
      yield* call("mark_complete", { task_id: done?.["id"] })
      const { prompts } = yield* result("prompts/list")
      assert.deepStrictEqual(named(prompts), ["plan_day", "weekly_review"])
      for (const name of named(prompts)) assert.isArray((yield* result("prompts/get", { name }))["messages"])
      assert.deepStrictEqual(named((yield* result("resources/list"))["resources"]), ["tasks"])
      assert.deepStrictEqual(named((yield* result("resources/templates/list"))["resourceTemplates"]), ["task"])
      const list = JSON.stringify((yield* result("resources/read", { uri: "tasks://list" }))["contents"])
      assert.include(list, "pending")
      assert.notInclude(list, '\\"done\\"')
    })
  )

  it.effect("concurrent users never see each other's tasks", () =>
    Effect.gen(function* () {
      const users = yield* Effect.all(Arr.makeBy(4, () => newUser))
      const seen = yield* Effect.forEach(
        Arr.cartesian(users, Arr.range(1, 6)),
        ([user, n]) =>
          Effect.gen(function* () {
            const { call } = yield* clientOf(user, versions[n % 4])
            const made = yield* call("create_task", { title: `of ${user}` })
            const { tasks } = yield* call("list_tasks")
            return { user, text: JSON.stringify([made, tasks]) }
          }),
        { concurrency: "unbounded" }
      )
      for (const { text, user } of seen) {
        for (const other of users) assert.strictEqual(text.includes(`of ${other}`), other === user)
      }
    })
  )

  it.effect("a change over MCP is recorded with its request id", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { call } = yield* clientOf(user, "2025-11-25", { "x-request-id": "mcp-1" })
      yield* call("create_task", { title: "t" })
      const tasks = yield* Tasks
      const [made] = (yield* tasks.list(user, {})).tasks
      const { changes } = yield* tasks.history(user, made?.id ?? assert.fail("there is one"), {})
      assert.deepStrictEqual(
        changes.map(({ cause }) => ({ ...cause })),
        [{ _tag: "Mcp", requestId: "mcp-1" }]
      )
    })
  )

  it.effect("dates are read in the zone of the `Time-Zone` header, else in UTC", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(DateTime.unsafeMake("2026-01-31T12:00:00Z").epochMillis)
      const user = yield* newUser
      const timed = { title: "t", due: "tomorrow 9am" }
      const dueOf = (result: Fields) => [result["time_zone"], fieldsOf(result["task"])["due_at"]]
      const utc = yield* clientOf(user)
      assert.deepStrictEqual(dueOf(yield* utc.call("create_task", timed)), ["UTC", "2026-02-01T09:00:00.000Z"])
      const tokyo = yield* clientOf(user, "2026-07-28", { "time-zone": "Asia/Tokyo" })
      assert.deepStrictEqual(dueOf(yield* tokyo.call("create_task", timed)), ["Asia/Tokyo", "2026-02-01T00:00:00.000Z"])
      for (const name of ["GMT", "gmt0", "Etc/GMT", "Greenwich"]) {
        const gmt = yield* clientOf(user, "2025-11-25", { "time-zone": name })
        assert.deepStrictEqual(dueOf(yield* gmt.call("create_task", timed)), [name, "2026-02-01T09:00:00.000Z"])
      }
      const mars = yield* clientOf(user, "2025-11-25", { "time-zone": "Mars/Olympus" })
      const refused = yield* mars.request("ping")
      assert.deepStrictEqual([refused.status, refused.message?.["code"]], [400, "invalid_request"])
    })
  )

  it.effect("everyday phrases for dates are read in that zone", () =>
    Effect.gen(function* () {
      const now = DateTime.unsafeMake("2026-11-29T23:30:00Z")
      yield* TestClock.setTime(now.epochMillis)
      const user = yield* newUser
      for (const name of ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]) {
        const client = yield* clientOf(user, "2026-07-28", { "time-zone": name })
        for (const due of [
          "tomorrow at 5:30",
          "in the evening on wednesday",
          "tuesday next week",
          "tonight at 12",
          "march 2 next year",
          "tomorrow at 7 in the evening",
          "last day of february",
          "in thirty minutes"
        ]) {
          const { dueAt, dueDate } = Either.getOrThrow(resolve(due, now, DateTime.zoneUnsafeMakeNamed(name)))
          const task = fieldsOf((yield* client.call("create_task", { title: "t", due }))["task"])
          assert.deepStrictEqual([task["due_date"], task["due_at"]], [dueDate, dueAt && DateTime.formatIso(dueAt)], due)
        }
      }
      const client = yield* clientOf(user, "2026-07-28", { "time-zone": "Europe/Berlin" })
      const made = yield* client.call("create_task", { title: "t", repeat: "every monday at 9" })
      // There it is already Monday, 0:30.
      assert.deepStrictEqual(fieldsOf(made["task"])["due_at"], "2026-11-30T08:00:00.000Z")
      const task_id = fieldsOf(made["task"])["id"]
      for (const _ of [1, 2]) {
        const done = yield* client.call("mark_complete", { task_id })
        assert.strictEqual(done["due"], "Monday, 2026-12-07, 09:00")
      }
    })
  )

  it.effect("401 has the metadata URL, and the metadata names the resource and the issuer", () =>
    Effect.gen(function* () {
      const ping = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" })
      for (const [authorization, code] of [
        [undefined, "missing_token"],
        ["Bearer nonsense", "invalid_token"]
      ] as const) {
        const refused = yield* post(ping, authorization === undefined ? {} : { authorization })
        assert.deepStrictEqual([refused.status, refused.message?.["code"]], [401, code])
        assert.match(
          refused.headers["www-authenticate"] ?? "",
          /^Bearer .*resource_metadata="https?:\/\/[^"]+\/\.well-known\/oauth-protected-resource\/mcp"/
        )
      }
      const client = yield* HttpClient.HttpClient
      for (const path of ["", "/mcp"]) {
        const response = yield* client.get(`/.well-known/oauth-protected-resource${path}`)
        const { resource, ...metadata } = fieldsOf(yield* response.json)
        assert.match(String(resource), /^http:\/\/[^/]+\/mcp$/)
        assert.deepStrictEqual(metadata, {
          resource_name: "taskchat",
          bearer_methods_supported: ["header"],
          authorization_servers: ["https://login.example.com"]
        })
      }
    })
  )

  it.effect("under a prefix of an app, the metadata is at the app's root", () =>
    Effect.gen(function* () {
      const { authorization } = yield* clientOf(yield* newUser)
      const ping = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" })
      const answer = yield* post(ping, { authorization }, "/assistant/mcp")
      assert.deepStrictEqual([answer.status, answer.message?.["result"]], [200, {}])
      const { headers, status } = yield* post(ping, {}, "/assistant/mcp")
      const [, path = ""] = /resource_metadata="https?:\/\/[^/]+([^"]+)"/.exec(headers["www-authenticate"] ?? "") ?? []
      assert.deepStrictEqual([status, path], [401, "/.well-known/oauth-protected-resource/assistant/mcp"])
      const client = yield* HttpClient.HttpClient
      const { authorization_servers, resource } = fieldsOf(yield* (yield* client.get(path)).json)
      assert.match(String(resource), /^http:\/\/[^/]+\/assistant\/mcp$/)
      assert.deepStrictEqual(authorization_servers, [issuer])
    })
  )

  it.effect("pages of foreign origins are refused; configured and local origins and other programs are not", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const [origin, status] of [
        ["https://evil.example.com", 403],
        ["https://app.example.com.evil.com", 403],
        ["http://app.example.com", 403],
        ["null", 403],
        ["https://app.example.com", 200],
        ["http://localhost:6274", 200],
        ["http://[::1]:3000", 200]
      ] as const) {
        const { request } = yield* clientOf(user, "2025-11-25", { origin })
        const { message, status: actual } = yield* request("ping")
        assert.deepStrictEqual([origin, actual], [origin, status])
        if (status === 403) assert.strictEqual(message?.["code"], "origin_forbidden")
      }
    })
  )

  it.effect("invalid messages, unknown revisions and other methods are refused without a 5xx", () =>
    Effect.gen(function* () {
      const { authorization } = yield* clientOf(yield* newUser)
      const client = yield* HttpClient.HttpClient
      for (const [body, status] of [
        ["{", 400],
        ["", 400],
        ["7", 400],
        ["null", 400],
        ["[]", 400],
        ['{"jsonrpc":"1.0","id":1,"method":"ping"}', 400],
        ["[".repeat(1000), 400],
        [JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping", params: "x".repeat(300_000) }), 413]
      ] as const) {
        assert.deepStrictEqual(
          [body.slice(0, 50), (yield* post(body, { authorization })).status],
          [body.slice(0, 50), status]
        )
      }
      const broken = yield* post("{", { authorization })
      assert.strictEqual(codeOf(broken.message), -32700)
      const ping = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" })
      assert.strictEqual((yield* post(ping, { authorization, "mcp-protocol-version": "1999-01-01" })).status, 400)
      assert.strictEqual((yield* post(ping, { authorization, "content-type": "text/plain" })).status, 415)
      for (const method of ["GET", "DELETE"] as const) {
        const response = yield* client.execute(
          HttpClientRequest.make(method)("/mcp").pipe(
            HttpClientRequest.setHeaders({ authorization, accept: "text/event-stream" })
          )
        )
        assert.strictEqual(response.status, 405)
      }
    })
  )

  it.effect("a subscription is acknowledged and ended at once", () =>
    Effect.gen(function* () {
      const { request } = yield* clientOf(yield* newUser, "2026-07-28")
      const { message, status } = yield* request("subscriptions/listen", { notifications: { toolsListChanged: true } })
      assert.deepStrictEqual([status, message?.["method"]], [200, "notifications/subscriptions/acknowledged"])
      assert.deepStrictEqual(fieldsOf(message?.["params"])["notifications"], {})
    })
  )

  it.effect("over the rate limit, the answer is 429 with Retry-After", () =>
    Effect.gen(function* () {
      const { request } = yield* clientOf(yield* newUser)
      const answers = yield* Effect.forEach(Arr.range(1, limit + 1), () => request("ping"))
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [...Arr.replicate(200, limit), 429]
      )
      const last = answers.at(-1)
      assert.strictEqual(last?.message?.["code"], "rate_limited")
      assert.match(last?.headers["retry-after"] ?? "", /^[1-9]\d*$/)
      assert.strictEqual(last?.headers["x-ratelimit-remaining"], "0")
    })
  )
})
