import { FetchHttpClient, HttpClient, HttpClientRequest, HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Array as Arr, ConfigProvider, Effect, Layer, Option } from "effect"
import { Chat, type ConversationId, MissingToken, RateLimits, Routes, Services, Tasks, UserId } from "taskchat"
import { ScriptedModel } from "taskchat/testing"
import * as AgentOnly from "../../examples/agent.ts"
import * as Anthropic from "../../examples/anthropic.ts"
import * as OwnModel from "../../examples/model.ts"
import * as Mounted from "../../examples/mounted.ts"
import * as Tools from "../../examples/tools.ts"
import { authentication, Sessions } from "../../examples/users.ts"
import * as Database from "../support/Database.ts"

const user = UserId.make(1)

const say = (message: string, conversationId: ConversationId | null = null) =>
  Effect.flatMap(Chat, (chat) => chat.answer({ user, conversationId, message, timeZone: "UTC", key: null })).pipe(
    Effect.map(({ end }) => end)
  )

const sse = (events: ReadonlyArray<object & { readonly type: string }>) =>
  new Response(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(""), {
    headers: { "content-type": "text/event-stream" }
  })

type Block = ReadonlyArray<readonly [start: object, delta: object]>

const words = (text: string): Block => [
  [
    { type: "text", text: "", citations: null },
    { type: "text_delta", text }
  ]
]

const toolUse = (...calls: ReadonlyArray<readonly [name: string, input: string]>): Block =>
  calls.map(([name, input], i) => [
    { type: "tool_use", id: `toolu_${i}`, name, input: {} },
    { type: "input_json_delta", partial_json: input }
  ])

/** Anthropic's API, which gives these answers, each of some blocks. */
const anthropic = (...answers: ReadonlyArray<ReadonlyArray<Block>>) => {
  const asked: Array<string> = []
  const usage = { input_tokens: 3, output_tokens: 2, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
  const begin = {
    type: "message_start",
    message: {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "claude-sonnet-4-5",
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { ...usage, cache_creation: null, server_tool_use: null, service_tier: "standard" },
      container: null
    }
  }
  const end = [
    {
      type: "message_delta",
      delta: { stop_reason: "end_turn", stop_sequence: null, container: null },
      usage: { ...usage, server_tool_use: null }
    },
    { type: "message_stop" }
  ]
  const eventsOf = (blocks: ReadonlyArray<Block>) =>
    blocks.flat().flatMap(([content_block, delta], index) => [
      { type: "content_block_start", index, content_block },
      { type: "content_block_delta", index, delta },
      { type: "content_block_stop", index }
    ])
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    assert.strictEqual(request.headers.get("x-api-key"), "a key")
    asked.push(await request.text())
    return sse([begin, ...eventsOf(answers[asked.length - 1] ?? []), ...end])
  }
  const layer = Anthropic.services.pipe(
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)),
    Layer.provide(Database.layer),
    Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["ANTHROPIC_API_KEY", "a key"]]))))
  )
  return { asked, layer }
}

describe("examples/", () => {
  it.live("model.ts: a custom model answers", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* say("Hello")).content, "Ask me again later.")
    }).pipe(Effect.provide(Layer.provide(OwnModel.services, Database.layer)))
  )

  it.live("anthropic.ts: Anthropic's model gets the tools, and its calls run", () => {
    const { asked, layer } = anthropic([toolUse(["create_task", '{"title":"Milk"}'])], [words("Added.")])
    return Effect.gen(function* () {
      const { content, toolCalls } = yield* say("Add milk")
      assert.strictEqual(content, "Added.")
      assert.deepStrictEqual(
        toolCalls?.map(({ result, tool }) => [tool, result.status]),
        [["create_task", "success"]]
      )
      assert.lengthOf(asked, 2)
      assert.include(asked[0], '"list_tasks"')
      assert.include(asked[1], `"tool_use_id":"${toolCalls?.[0]?.id}"`)
    }).pipe(Effect.provide(layer))
  })

  it.live("anthropic.ts: the model gets errors for calls that cannot run, and continues", () => {
    const { asked, layer } = anthropic(
      [words("Let me see."), toolUse(["create_task", '{"title":7}'], ["list_tasks", '{"status":"pending"}'])],
      [words("Then so."), toolUse(["add_milk", '{"litres":1}'])],
      [toolUse(["create_task", '{"title":"Mil'])],
      [words("I cannot do it.")]
    )
    return Effect.gen(function* () {
      const { content, status, toolCalls } = yield* say("Add milk")
      assert.strictEqual(status, "completed")
      assert.strictEqual(content, "Let me see.\n\nThen so.\n\nI cannot do it.")
      assert.deepStrictEqual(
        toolCalls?.map(({ parameters, tool }) => [tool, parameters]),
        [
          ["create_task", { title: 7 }],
          ["list_tasks", { status: "pending" }],
          ["add_milk", { litres: 1 }],
          ["create_task", { arguments: '{"title":"Mil' }]
        ]
      )
      const [off, list, unknown, broken] = toolCalls?.map(({ result }) => result) ?? []
      assert.include(off, { status: "error", error: "The arguments do not fit the tool: title must be text." })
      assert.include(list, { status: "success" })
      assert.match(String(unknown?.["error"]), /^There is no such tool. The tools are: list_tasks, create_task,/)
      assert.include(broken, { status: "error", error: "The arguments are not valid JSON, or no object." })
      assert.lengthOf(asked, 4)
      assert.notInclude(asked[0], "invalid")
    }).pipe(Effect.provide(layer))
  })

  it.live("tools.ts: the agent has a tool of the embedding app, which gets the turn's user", () =>
    Effect.gen(function* () {
      const { toolCalls } = yield* say("What is left?")
      assert.deepStrictEqual(
        toolCalls?.map(({ result }) => result),
        [{ status: "success", result: { left: 10 } }]
      )
    }).pipe(
      Effect.provide(
        Tools.services.pipe(
          Layer.provide(ScriptedModel.layer([ScriptedModel.call("get_budget", { month: "2026-01" }), "Ten euros."])),
          Layer.provide(Layer.succeed(Tools.Budgets, { left: (id) => Effect.succeed(10 * id) })),
          Layer.provide(Database.layer)
        )
      )
    )
  )

  it.live("agent.ts: the agent works without HTTP", () =>
    Effect.gen(function* () {
      const said = yield* AgentOnly.ask(AgentOnly.me, "Add buy milk")
      assert.include(said, "milk")
      const { tasks } = yield* (yield* Tasks).list(AgentOnly.me, {})
      assert.deepStrictEqual(
        Arr.map(tasks, ({ title }) => title),
        ["Buy milk"]
      )
    }).pipe(Effect.provide(Layer.provide(AgentOnly.layer, Database.layer)))
  )

  const services = Services.layer().pipe(
    Layer.provide(ScriptedModel.layer(() => "Hello.")),
    Layer.provideMerge(Database.layer),
    Layer.merge(RateLimits.layerTest),
    Layer.merge(
      Layer.succeed(Sessions, {
        userOf: (session) => Effect.succeed(session === "mine" ? Option.some(user) : Option.none())
      })
    )
  )
  const request = (request: HttpClientRequest.HttpClientRequest, session?: string) =>
    HttpClient.execute(
      session === undefined ? request : HttpClientRequest.setHeader(request, "cookie", `session=${session}`)
    ).pipe(
      Effect.flatMap((response) =>
        Effect.map(response.text, (text) => ({ status: response.status, headers: response.headers, text }))
      )
    )

  const alsoThere = Routes.tasks.pipe(Layer.provide(authentication), Routes.under("/also"), Routes.under("/there"))

  /** How its users say who they are is not told. */
  const some = Layer.merge(Routes.tasks, Routes.docs).pipe(
    Layer.provide(Routes.authentication(Effect.succeed(Effect.fail(new MissingToken())))),
    Routes.under("/some")
  )

  layer(
    HttpLayerRouter.serve(Layer.mergeAll(Mounted.app, Mounted.tasksOnly, alsoThere, some), {
      disableListenLog: true
    }).pipe(Layer.provide(services), Layer.provideMerge(NodeHttpServer.layerTest))
  )((it) => {
    it.effect("mounted.ts and users.ts: the API works in another app, for that app's users", () =>
      Effect.gen(function* () {
        const chat = HttpClientRequest.post("/assistant/api/1/chat").pipe(
          HttpClientRequest.bodyUnsafeJson({ message: "Hi" })
        )
        assert.strictEqual((yield* request(HttpClientRequest.get("/"))).text, "The app's own page")
        const answer = yield* request(chat, "mine")
        assert.strictEqual(answer.status, 200)
        assert.include(answer.text, '"assistant_message":"Hello."')
        const stranger = yield* request(chat)
        assert.strictEqual(stranger.status, 401)
        assert.include(stranger.text, "Log in first.")
        assert.include((yield* request(chat, "old")).text, "The session has ended.")
        const other = HttpClientRequest.get("/assistant/api/2/tasks")
        assert.strictEqual((yield* request(other, "mine")).status, 403)
        const created = yield* request(
          HttpClientRequest.post("/assistant/api/1/tasks").pipe(HttpClientRequest.bodyUnsafeJson({ title: "Milk" })),
          "mine"
        )
        const { location = "" } = created.headers
        assert.match(location, /^\/assistant\/api\/1\/tasks\/\d+$/)
        assert.strictEqual((yield* request(HttpClientRequest.get(location), "mine")).status, 200)
        assert.strictEqual((yield* request(HttpClientRequest.get("/assistant/openapi.json"))).status, 200)
      })
    )

    it.effect("mounted.ts: MCP serves that app's users, without a token", () =>
      Effect.gen(function* () {
        const call = HttpClientRequest.post("/assistant/mcp").pipe(
          HttpClientRequest.bodyUnsafeJson({
            jsonrpc: "2.0",
            id: 1,
            method: "tools/call",
            params: { name: "create_task", arguments: { title: "By MCP" } }
          })
        )
        const stranger = yield* request(call)
        assert.strictEqual(stranger.status, 401)
        assert.include(stranger.text, "Log in first.")
        const answer = yield* request(call, "mine")
        assert.strictEqual(answer.status, 200, answer.text)
        assert.include(answer.text, "By MCP")
        const tasks = yield* request(HttpClientRequest.get("/assistant/api/1/tasks?q=By%20MCP"), "mine")
        assert.strictEqual(JSON.parse(tasks.text).total, 1)
      })
    )

    it.effect("mounted.ts: the documentation describes the mounted routes, their paths and credentials", () =>
      Effect.gen(function* () {
        const { text } = yield* request(HttpClientRequest.get("/assistant/openapi.json"))
        const document = JSON.parse(text)
        assert.deepStrictEqual(document.servers, [{ url: "/assistant" }])
        assert.deepStrictEqual(document.components.securitySchemes, {
          app: { type: "apiKey", in: "cookie", name: "session" }
        })
        assert.deepStrictEqual(document.paths["/api/{user_id}/chat"].post.security, [{ app: [] }])
        assert.deepStrictEqual(document.paths["/health"].get.security, [])
        assert.deepStrictEqual(document.paths["/mcp"].post.security, [{ app: [] }])
        // It is at the root, wherever the rest is.
        const metadata = "/.well-known/oauth-protected-resource/assistant/mcp"
        assert.deepStrictEqual(document.paths[metadata].servers, [{ url: "/" }])
        assert.strictEqual((yield* request(HttpClientRequest.get(metadata))).status, 200)
        const page = yield* request(HttpClientRequest.get("/assistant/docs"))
        const [, shown = ""] = /<script id="swagger-spec"[^>]*>(.*?)<\/script>/s.exec(page.text) ?? []
        assert.deepStrictEqual(JSON.parse(shown), document)

        const partial = JSON.parse((yield* request(HttpClientRequest.get("/some/openapi.json"))).text)
        assert.deepStrictEqual(partial.servers, [{ url: "/some" }])
        assert.deepStrictEqual(
          partial.tags.map(({ name }: { readonly name: string }) => name),
          ["tasks", "docs"]
        )
        assert.notProperty(partial.paths, "/mcp")
        assert.notProperty(partial.paths, "/api/{user_id}/chat")
        assert.deepStrictEqual(partial.components.securitySchemes, {})
      })
    )

    it.effect("mounted.ts: the API answers unknown paths under its prefix, and none of the app's", () =>
      Effect.gen(function* () {
        const asked = (method: "GET" | "HEAD" | "PUT", path: string, session?: string) =>
          Effect.map(request(HttpClientRequest.make(method)(path), session), ({ headers, status, text }) => [
            status,
            headers["allow"] ?? "",
            text === "" ? "" : JSON.parse(text).code
          ])
        assert.deepStrictEqual(yield* asked("GET", "/assistant/api/1/nothing"), [401, "", "missing_token"])
        assert.deepStrictEqual(yield* asked("GET", "/assistant/api/1/nothing", "mine"), [404, "", "not_found"])
        assert.deepStrictEqual(yield* asked("GET", "/Assistant//api/2/nothing", "mine"), [403, "", "user_mismatch"])
        assert.deepStrictEqual(yield* asked("HEAD", "/assistant/api/1/nothing", "mine"), [404, "", ""])
        assert.deepStrictEqual(yield* asked("PUT", "/assistant/api/1/tasks", "mine"), [
          405,
          "GET, POST, HEAD",
          "method_not_allowed"
        ])
        assert.deepStrictEqual(yield* asked("PUT", "/assistant/docs"), [405, "GET, HEAD", "method_not_allowed"])
        assert.deepStrictEqual(yield* asked("GET", "/assistant/nothing"), [404, "", "not_found"])
        assert.deepStrictEqual(yield* asked("GET", "/assistants"), [404, "", ""])
        assert.deepStrictEqual(yield* asked("GET", "/api/1/tasks", "mine"), [404, "", ""])
      })
    )

    it.effect("mounted.ts: a single group can be mounted alone, and in several places", () =>
      Effect.gen(function* () {
        for (const prefix of ["/todo", "/there/also"]) {
          assert.strictEqual((yield* request(HttpClientRequest.get(`${prefix}/api/1/tasks`), "mine")).status, 200)
          assert.strictEqual((yield* request(HttpClientRequest.get(`${prefix}/api/1/turns`), "mine")).status, 404)
        }
      })
    )
  })
})
