import { createHash } from "node:crypto"
import { METHODS } from "node:http"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, Duration, Effect, Exit, FastCheck, Layer, Scope } from "effect"
import { SignJWT } from "jose"
import type { UserId } from "../../src/domain/Id.ts"
import { maxBody } from "../../src/runtime/JsonBody.ts"
import { Chat } from "../../src/services/turns/Chat.ts"
import { silence } from "../../src/testing/ScriptedModel.ts"
import * as Database from "../support/Database.ts"
import * as Server from "../support/Server.ts"
import { type Answer, answersIn, fieldsOf, newUser, raw, say, send, stream, tokenOf } from "../support/Server.ts"

/** Asserts that the answer is this problem document. */
const assertProblem = (answer: Answer, status: number, code: string, ...members: ReadonlyArray<string>) => {
  assert.deepStrictEqual([answer.status, answer.json["code"]], [status, code])
  assert.strictEqual(answer.headers["content-type"], "application/problem+json")
  assert.deepStrictEqual(Object.keys(answer.json), [
    ...["type", "title", "status", "detail", "code", "request_id"],
    ...members,
    ...(code === "invalid_request" ? ["errors"] : [])
  ])
  assert.strictEqual(answer.json["type"], `/problems/${code}`)
  assert.strictEqual(answer.json["status"], status)
  assert.strictEqual(answer.json["request_id"], answer.headers["x-request-id"])
  assert.strictEqual("x-error-details" in answer.headers, status === 403 || status === 404)
  if (status === 403 || status === 404) assert.strictEqual(answer.headers["x-error-details"], answer.json["detail"])
  assert.strictEqual("www-authenticate" in answer.headers, status === 401)
  return answer
}

/** The paths of the errors in a 400 answer. */
const pathsIn = (answer: Answer) => {
  assertProblem(answer, 400, "invalid_request")
  const { errors } = answer.json
  return Array.isArray(errors) ? errors.map((error) => fieldsOf(error)["path"]) : []
}

const limitHeaders = [
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-ratelimit-reset",
  "ratelimit",
  "ratelimit-policy"
]

const remaining = (answer: Answer) => Number(answer.headers["x-ratelimit-remaining"])

const json = { "content-type": "application/json" }

const isAlive = Effect.map(send("GET", "/health"), ({ status }) => assert.strictEqual(status, 200))

/** The messages of a conversation, in order. */
const contents = (user: UserId, conversation: unknown) =>
  Effect.gen(function* () {
    const page = yield* send("GET", `/api/${user}/conversations/${conversation}/messages`, { user })
    const { messages } = page.json
    return Array.isArray(messages) ? messages.map((message) => fieldsOf(message)["content"]) : []
  })

layer(Server.layer())("Http", (it) => {
  it.effect("a chat answer has exactly the members of the contract, and `tool_calls` is null without calls", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { headers, json, status } = yield* say(user, "Hi")
      assert.deepStrictEqual([status, headers["content-type"]], [200, "application/json"])
      assert.deepStrictEqual(Object.keys(json), [
        "conversation_id",
        "message_id",
        "assistant_message",
        "tool_calls",
        "awaiting",
        "timestamp",
        "turn_id",
        "usage"
      ])
      const { assistant_message, awaiting, tool_calls } = json
      assert.deepStrictEqual([assistant_message, tool_calls, awaiting], ["Hello.", null, null])
      assert.match(String(json["timestamp"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.deepStrictEqual(Object.keys(fieldsOf(json["usage"])), ["input_tokens", "output_tokens"])
    })
  )

  it.effect("the caller's request id is returned if it is 1 to 128 visible ASCII characters, else a new one", () =>
    Effect.gen(function* () {
      for (const id of ["x", "~".repeat(128), 'a"<b>\\']) {
        assert.strictEqual(
          (yield* send("GET", "/health", { headers: { "x-request-id": id } })).headers["x-request-id"],
          id
        )
      }
      for (const id of ["", "a b", "~".repeat(129), "é", "a\tb"]) {
        const { headers } = yield* send("GET", "/health", { headers: { "x-request-id": id } })
        assert.match(headers["x-request-id"] ?? "", /^[0-9a-f-]{36}$/)
      }
      const twice = [["X-Request-Id", "a"] as const, ["X-Request-Id", "b"] as const]
      assert.match((yield* send("GET", "/health", { headers: twice })).headers["x-request-id"] ?? "", /^[0-9a-f-]{36}$/)
    })
  )

  it.effect("every kind of answer has the request id", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { turn_id } = (yield* say(user, "Hi")).json
      const headers = { "x-request-id": "mine" }
      const chat = `/api/${user}/chat`
      for (const [status, method, path, message] of [
        [200, "GET", "/health", {}],
        [200, "GET", "/metrics", {}],
        [200, "GET", "/docs", {}],
        [200, "GET", "/openapi.json", {}],
        [404, "GET", "/nothing", {}],
        [405, "PUT", "/health", {}],
        [401, "GET", `/api/${user}/tasks`, {}],
        [401, "POST", "/mcp", {}],
        [403, "GET", "/api/1/tasks", { user }],
        [404, "GET", `/api/${user}/nothing`, { user }],
        [405, "GET", chat, { user }],
        [405, "OPTIONS", chat, { user }],
        [413, "POST", chat, { user, body: "x".repeat(maxBody + 1) }],
        [415, "POST", chat, { user, body: "x", headers: { "content-type": "text/plain" } }],
        [400, "POST", chat, { user, body: "x" }],
        [200, "POST", chat, { user, body: { message: "Hi" } }],
        [200, "POST", `${chat}/stream`, { user, body: { message: "Hi" } }],
        [200, "GET", `/api/${user}/turns/${turn_id}/events`, { user }],
        [200, "HEAD", `/api/${user}/tasks`, { user }]
      ] as const) {
        const given = yield* send(method, path, {
          ...message,
          headers: { ...("headers" in message && message.headers), ...headers }
        })
        assert.deepStrictEqual(
          [method, path, given.status, given.headers["x-request-id"]],
          [method, path, status, "mine"]
        )
        const fresh = yield* send(method, path, message)
        assert.match(fresh.headers["x-request-id"] ?? "", /^[0-9a-f-]{36}$/, `${method} ${path}`)
        assert.deepStrictEqual(
          limitHeaders.filter((name) => !(name in fresh.headers)),
          "user" in message ? [] : limitHeaders,
          `${method} ${path}`
        )
      }
    })
  )

  it.effect("an invalid request gets a problem with an id, and closes only its own connection", () =>
    Effect.gen(function* () {
      for (const [status, bytes] of [
        [400, "nonsense\r\n\r\n"],
        [400, "FOO / HTTP/1.1\r\nHost: a\r\n\r\n"],
        [400, "GET ?x HTTP/1.1\r\nHost: a\r\n\r\n"],
        [400, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"],
        [400, "GET / HTTP/1.1\r\nHost: a\r\nA: \u0000\r\n\r\n"],
        [400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
        [400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"],
        [400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        [405, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"],
        [431, `GET /${"x".repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
        [431, `GET / HTTP/1.1\r\nHost: a\r\n${`A: ${"b".repeat(50)}\r\n`.repeat(500)}\r\n`],
        [431, `GET / HTTP/1.1\r\nHost: a\r\nA: ${"b".repeat(100_000)}\r\n\r\n`]
      ] as const) {
        const answers = answersIn(yield* raw(bytes))
        assert.deepStrictEqual(
          [bytes.slice(0, 40), ...answers.map(({ status }) => status)],
          [bytes.slice(0, 40), status]
        )
        for (const { headers, json } of answers) {
          assert.strictEqual(headers["content-type"], "application/problem+json")
          assert.strictEqual(json["request_id"], headers["x-request-id"])
          assert.strictEqual(headers["x-content-type-options"], "nosniff")
        }
      }
      yield* isAlive
    })
  )

  it.effect("without a token, everything under /api and /mcp is 401", () =>
    Effect.gen(function* () {
      for (const path of [
        "/api",
        "/api/",
        "/api/1",
        "/api/1/tasks",
        "/API/1/x",
        "/%61pi/1/x",
        "//api//1",
        "/api/%ff",
        "/mcp",
        "/mcp/x",
        "/api?x"
      ]) {
        for (const method of ["GET", "POST", "PUT", "OPTIONS"]) {
          const answer = yield* send(method, path, { body: "x".repeat(300_000) })
          assertProblem(answer, 401, "missing_token")
          assert.isTrue(answer.headers["www-authenticate"]?.startsWith('Bearer realm="taskchat"'))
          assert.notInclude(answer.headers["www-authenticate"], "error=")
        }
      }
    })
  )

  it.effect(
    "the scheme of a token is case-insensitive; an invalid token is 401, which names at most the invalid user claim",
    () =>
      Effect.gen(function* () {
        const user = yield* newUser
        const token = yield* tokenOf(user)
        const ask = (headers: Server.Head) => send("GET", `/api/${user}/tasks`, { headers })
        for (const scheme of ["Bearer", "bearer", "BEARER", "Bearer  "]) {
          assert.strictEqual((yield* ask([["Authorization", `${scheme} ${token}`]])).status, 200)
        }
        const [header, claims, signature] = token.split(".")
        const sign = (claims: Server.Fields, secret = "this secret is public and only for tests", alg = "HS256") =>
          Effect.promise(() => new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret)))
        const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
        const none = `${part({ alg: "none" })}.${claims}.`
        const exp = 3600
        const noUser = (claim: string) =>
          `The token's claim ${claim} is no user id: a whole number from 1 to 9007199254740991.`
        const wrong: ReadonlyArray<readonly [name: string, token: string, detail?: string]> = [
          ["alg none", none],
          ["alg none with the signature", `${none}${signature}`],
          ["no signature", `${header}.${claims}.`],
          ["another key", yield* sign({ user_id: user, exp }, "another secret that has enough bytes")],
          ["another algorithm", yield* sign({ user_id: user, exp }, undefined, "HS512")],
          ["expired", yield* sign({ user_id: user, exp: -31 })],
          ["not yet", yield* sign({ user_id: user, exp, nbf: 31 })],
          ["without exp", yield* sign({ user_id: user })],
          ["exp as text", yield* sign({ user_id: user, exp: "3600" })],
          ["a string user", yield* sign({ user_id: String(user), exp }), noUser("user_id")],
          ["a string user beside a good sub", yield* sign({ user_id: "x", sub: String(user), exp }), noUser("user_id")],
          ["user 0", yield* sign({ user_id: 0, exp }), noUser("user_id")],
          ["user -1", yield* sign({ user_id: -1, exp }), noUser("user_id")],
          ["user 1.5", yield* sign({ user_id: 1.5, exp }), noUser("user_id")],
          ["user 2^53", yield* sign({ user_id: 2 ** 53, exp }), noUser("user_id")],
          ["sub in words", yield* sign({ sub: "me", exp }), noUser("sub")],
          ["no user", yield* sign({ exp }), "The token has neither a claim user_id nor a claim sub."],
          ["10 KB", yield* sign({ user_id: user, exp, pad: "x".repeat(10_000) })],
          ["nonsense", "nonsense"],
          ["two dots", ".."],
          ["claims that are no object", `${header}.${Buffer.from("7").toString("base64url")}.${signature}`],
          ["two in one", `${token}, Bearer ${token}`],
          ["bytes", "\u00ff\u00fe"]
        ]
        for (const [name, token, detail = "The token is not valid."] of wrong) {
          const answer = yield* ask([["Authorization", `Bearer ${token}`]])
          assert.deepStrictEqual([name, answer.status, answer.json["detail"]], [name, 401, detail])
          assertProblem(answer, 401, "invalid_token")
          assert.include(answer.headers["www-authenticate"], 'error="invalid_token"')
        }
        const twice = yield* ask([
          ["Authorization", `Bearer ${token}`],
          ["Authorization", `Bearer ${token}`]
        ])
        assertProblem(twice, 401, "invalid_token")
        for (const value of ["", "Bearer", "Bearer ", token, `Basic ${token}`, `Bearer:${token}`]) {
          assertProblem(yield* ask([["Authorization", value]]), 401, "missing_token")
        }
        for (const sub of [String(user)]) {
          assert.strictEqual((yield* ask([["Authorization", `Bearer ${yield* sign({ sub, exp })}`]])).status, 200)
        }
        assert.strictEqual(
          (yield* ask([["Authorization", `Bearer ${yield* sign({ user_id: user, exp: -29 })}`]])).status,
          200
        )
      })
  )

  it.effect("any URL of another user is 403, with the rate limit headers", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const before = remaining(yield* send("GET", `/api/${user}/tasks`, { user }))
      for (const path of [
        "/api/1/tasks",
        "/api/1/chat",
        "/api/1/nothing",
        "/api/0/tasks",
        `/api/0${user}/tasks`,
        "/api/1"
      ]) {
        for (const method of ["GET", "POST", "DELETE"]) {
          const answer = assertProblem(yield* send(method, path, { user, body: "x" }), 403, "user_mismatch")
          assert.strictEqual(answer.json["detail"], "Permission denied")
          assert.deepStrictEqual(
            limitHeaders.filter((name) => !(name in answer.headers)),
            []
          )
        }
      }
      assert.strictEqual(remaining(yield* send("GET", `/api/${user}/tasks`, { user })), before - 1)
    })
  )

  it.effect("a wrong method is 405 with `Allow`, and an unknown path is 404", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const [path, allow] of [
        ["/health", "GET, HEAD"],
        ["/ready", "GET, HEAD"],
        ["/metrics", "GET, HEAD"],
        ["/docs", "GET, HEAD"],
        ["/openapi.json", "GET, HEAD"],
        [`/api/${user}/chat`, "POST"],
        [`/API/${user}/chat/`, "POST"],
        [`//api/${user}//chat`, "POST"],
        [`/api/${user}/chat/stream`, "POST"],
        [`/api/${user}/tasks`, "GET, POST, HEAD"],
        [`/api/${user}/tasks/1`, "GET, PATCH, DELETE, HEAD"],
        [`/api/${user}/conversations/1`, "GET, PATCH, DELETE, HEAD"],
        [`/api/${user}/turns/x/cancel`, "POST"]
      ] as const) {
        const answer = assertProblem(yield* send("PUT", path, { user }), 405, "method_not_allowed")
        assert.deepStrictEqual([path, answer.headers["allow"]], [path, allow])
      }
      for (const path of ["/", "//", "///", "/x/../health", "/%2e%2e/health", "/%ff", "/%", "*", "http://", "/\\"]) {
        assertProblem(yield* send("GET", path, { user }), 404, "not_found")
      }
      for (const path of [`/api/${user}/x`, `/api/${user}`, `/api/${user}/%ff`, `/api/${user}/tasks/1/x`]) {
        assertProblem(yield* send("GET", path, { user }), 404, "not_found")
      }
    })
  )

  it.effect("HEAD is GET without the body", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const { conversation_id, turn_id } = (yield* say(user, "Hi")).json
      for (const path of [
        "/health",
        "/ready",
        "/docs",
        "/openapi.json",
        `/api/${user}/tasks`,
        `/api/${user}/tasks/1`,
        `/api/${user}/conversations`,
        `/api/${user}/conversations/${conversation_id}/messages`,
        `/api/${user}/turns/${turn_id}`,
        `/api/${user}/turns/${turn_id}/events`
      ]) {
        const get = yield* send("GET", path, { user })
        const head = yield* send("HEAD", path, { user })
        const about = ({ headers, status }: Answer) => [
          path,
          status,
          headers["content-type"],
          headers["content-length"]
        ]
        assert.deepStrictEqual(about(head), about(get))
        assert.strictEqual(head.text, "")
      }
    })
  )

  it.effect("pipelined requests on one connection are answered in order", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const token = yield* tokenOf(user)
      const body = JSON.stringify({ message: "Hi" })
      const head = `Host: a\r\nAuthorization: Bearer ${token}\r\n`
      const received = yield* raw(
        `POST /api/${user}/chat HTTP/1.1\r\n${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        `GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /api/${user}/conversations HTTP/1.1\r\n${head}Connection: close\r\n\r\n`
      )
      const answers = answersIn(received)
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [200, 404, 200]
      )
      assert.deepStrictEqual(
        answers.map(({ json }) => json["assistant_message"] ?? json["code"] ?? json["next_cursor"]),
        ["Hello.", "not_found", null]
      )
    })
  )

  it.effect("a request with `Upgrade` or `Expect` is answered normally", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const upgrade = {
        connection: "Upgrade, HTTP2-Settings",
        upgrade: "h2c",
        "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA"
      }
      const answer = yield* send("POST", `/api/${user}/chat`, { user, body: { message: "Hi" }, headers: upgrade })
      assert.deepStrictEqual([answer.status, answer.json["assistant_message"]], [200, "Hello."])
      const socket = {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="
      }
      assert.strictEqual((yield* send("GET", "/health", { headers: socket })).status, 200)
      const expecting = { user, body: { message: "Hi" }, headers: { expect: "100-continue" } }
      assert.strictEqual((yield* send("POST", `/api/${user}/chat`, expecting)).status, 200)
      assert.strictEqual((yield* send("GET", "/health", { headers: { expect: "nonsense" } })).status, 200)
    })
  )

  it.effect("a body may have at most 256 KiB, with a length or in chunks", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const sized = (size: number) => {
        const start = JSON.stringify({ message: "Hi" }).slice(0, -1)
        return `${start},"pad":"${"x".repeat(size - start.length - 10)}"}`
      }
      assert.strictEqual(sized(100).length, 100)
      for (const [size, status] of [
        [maxBody - 1, 200],
        [maxBody, 200],
        [maxBody + 1, 413],
        [5_000_000, 413],
        [9_000_000, 413]
      ] as const) {
        const body = sized(size)
        const declared = yield* send("POST", `/api/${user}/chat`, { user, body, headers: json })
        const chunks = Arr.map(
          Arr.chunksOf(
            Array.from({ length: Math.ceil(size / 60_000) }, (_, i) => i),
            1
          ),
          ([i = 0]) => body.slice(i * 60_000, (i + 1) * 60_000)
        )
        const chunked = yield* send("POST", `/api/${user}/chat`, { user, chunks, headers: json })
        const streamed = yield* send("POST", `/api/${user}/chat/stream`, { user, chunks, headers: json })
        assert.deepStrictEqual([declared.status, chunked.status, streamed.status], [status, status, status])
        if (status === 413)
          for (const answer of [declared, chunked, streamed]) assertProblem(answer, 413, "payload_too_large")
      }
    })
  )

  it.effect("a body with another content type than JSON is 415", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const ask = (headers: Server.Head) =>
        send("POST", `/api/${user}/chat`, { user, body: JSON.stringify({ message: "Hi" }), headers })
      for (const type of [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/octet-stream",
        "application/xml",
        "text/event-stream",
        "nonsense"
      ]) {
        assertProblem(yield* ask([["Content-Type", type]]), 415, "unsupported_media_type")
      }
      const twice = [["Content-Type", "application/json"] as const, ["Content-Type", "text/plain"] as const]
      assertProblem(yield* ask(twice), 415, "unsupported_media_type")
      assertProblem(
        yield* ask([
          ["Content-Type", "application/json"],
          ["Content-Encoding", "gzip"]
        ]),
        415,
        "unsupported_media_type"
      )
      for (const type of [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        " application/json ;x"
      ]) {
        assert.strictEqual((yield* ask([["Content-Type", type]])).status, 200)
      }
      assert.strictEqual((yield* ask([])).status, 200)
    })
  )

  it.effect("a body that is not valid JSON or does not match the schema is 400", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const body of [
        "",
        "{",
        '{"message":"Hi"',
        '{"message":"Hi"}}',
        "{'message':'Hi'}",
        '{"message":"Hi",}',
        '{"message":"a\nb"}',
        '{"message":"\\x"}',
        '{"message":"\\ud800',
        "null",
        "7",
        '"Hi"',
        "[]",
        '[{"message":"Hi"}]',
        "{}",
        "NaN",
        "[".repeat(100_000),
        `{"message":"Hi","x":${"[".repeat(100)}${"]".repeat(100)}}`,
        `${'{"message":'.repeat(20_000)}1${"}".repeat(20_000)}`,
        Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
        Buffer.concat([Buffer.from('{"message":"a'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
        Buffer.concat([Buffer.from('{"message":"Hi"}'), Buffer.from([0xe2, 0x82])]),
        Buffer.from("\ufeff{}", "utf16le")
      ]) {
        const answers = [
          yield* send("POST", `/api/${user}/chat`, { user, body, headers: json }),
          yield* send("POST", `/api/${user}/chat/stream`, { user, body, headers: json }),
          yield* send("POST", `/api/${user}/tasks`, { user, body, headers: json })
        ]
        for (const answer of answers) assertProblem(answer, 400, "invalid_request")
      }
      assert.strictEqual((yield* send("GET", `/api/${user}/conversations`, { user })).json["total"], 0)
    })
  )

  it.effect("an error says in plain words what is expected, with every choice and no name of the code", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const conversation = (yield* say(user, "Hi")).json["conversation_id"]
      const id = "must be an integer from 1 to 9007199254740991"
      const refused = [
        ["POST", "tasks", "null", "", "must be an object"],
        ["POST", "tasks", "[]", "", "must be an object"],
        ["POST", "chat", "7", "", "must be an object"],
        ["PATCH", `conversations/${conversation}`, "null", "", "must be an object"],
        ["POST", "tasks", "{}", "title", "is missing"],
        ["POST", "tasks", '{"title":7}', "title", "must be text"],
        ["POST", "tasks", '{"title":null}', "title", "must be text"],
        ["POST", "tasks", '{"title":"x","priority":"High"}', "priority", "must be low, medium or high"],
        ["POST", "tasks", '{"title":"x","labels":"home"}', "labels", "must be a list"],
        ["POST", "tasks", '{"title":"x","labels":["a",7]}', "labels.1", "must be text"],
        ["PATCH", "tasks/1", '{"completed":"yes"}', "completed", "must be true or false"],
        ["POST", "chat", '{"message":"Hi","conversation_id":1.5}', "conversation_id", id],
        ["POST", "chat", '{"message":"Hi","conversation_id":"1"}', "conversation_id", "must be a number"],
        ["GET", "tasks/9007199254740992", undefined, "task_id", id],
        ["GET", "tasks?status=done", undefined, "status", "must be all, pending or completed"],
        ["GET", "tasks?priority=none", undefined, "priority", "must be low, medium or high"],
        ["GET", "tasks?sort=x", undefined, "sort", "must be created, due or priority"],
        ["GET", "tasks?due=x", undefined, "due", "must be none"],
        ["GET", `conversations/${conversation}/messages?include=x`, undefined, "include", "must be parts"]
      ] as const
      for (const [method, path, body, member, message] of refused) {
        const sent = body === undefined ? {} : { body, headers: json }
        const answer = yield* send(method, `/api/${user}/${path}`, { user, ...sent })
        assert.deepStrictEqual([path, body, answer.json["errors"]], [path, body, [{ path: member, message }]])
      }
    })
  )

  it.effect("a byte order mark and unknown members are ignored, and the last of duplicate members counts", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const body = '\ufeff {"message":"first","message":"last","__proto__":{"message":"x"},"constructor":1,"x":[{}]}'
      const { json: answer, status } = yield* send("POST", `/api/${user}/chat?x=1`, { user, body, headers: json })
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(yield* contents(user, answer["conversation_id"]), ["last", "Hello."])
    })
  )

  it.effect("an id is an integer from 1 to 2^53 − 1, in bodies, paths and queries", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const chat = (id: string) =>
        send("POST", `/api/${user}/chat`, { user, headers: json, body: `{"message":"Hi","conversation_id":${id}}` })
      for (const id of [
        "0",
        "-1",
        "9007199254740992",
        "9223372036854775808",
        `1${"0".repeat(30)}`,
        "1.5",
        '"7"',
        "true",
        "[]",
        "{}",
        "1e400"
      ]) {
        assert.deepStrictEqual(pathsIn(yield* chat(id)), ["conversation_id"])
      }
      for (const id of ["0x10", "01", "+1", "1_000", ".5", "NaN", "Infinity"])
        assert.deepStrictEqual(pathsIn(yield* chat(id)), [""])
      assertProblem(yield* chat("9007199254740991"), 404, "conversation_not_found")
      assertProblem(yield* chat("1e3"), 404, "conversation_not_found")
      assert.strictEqual((yield* chat("null")).status, 200)

      for (const id of [
        "0",
        "-1",
        "9007199254740992",
        "9223372036854775808",
        `1${"0".repeat(30)}`,
        "1.5",
        "7a",
        "%227%22",
        "1e3",
        "0x10",
        "+1",
        "%201",
        "%00",
        "%EF%BC%91",
        "null",
        "1".repeat(200)
      ]) {
        for (const [path, name] of [
          [`tasks/${id}`, "task_id"],
          [`conversations/${id}`, "conversation_id"],
          [`conversations/${id}/messages`, "conversation_id"]
        ]) {
          assert.deepStrictEqual(pathsIn(yield* send("GET", `/api/${user}/${path}`, { user })), [name])
        }
        const message = yield* send("DELETE", `/api/${user}/conversations/1/messages/${id}`, { user })
        assert.deepStrictEqual(pathsIn(message), ["message_id"])
        assert.deepStrictEqual(pathsIn(yield* send("GET", `/api/${user}/turns/${id}`, { user })), ["turn_id"])
        for (const query of ["conversations?limit", "conversations/1/messages?limit", "tasks?limit"]) {
          if (id === "1e3" || !id.startsWith("+")) {
            assert.deepStrictEqual(pathsIn(yield* send("GET", `/api/${user}/${query}=${id}`, { user })), ["limit"])
          }
        }
      }
      assertProblem(yield* send("GET", `/api/${user}/tasks/9007199254740991`, { user }), 404, "task_not_found")
      assert.deepStrictEqual(pathsIn(yield* send("GET", "/api/abc/tasks", { user })), ["user_id"])
    })
  )

  it.effect("invalid query values are 400, and unknown or malformed parameters are ignored", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const ask = (query: string) => send("GET", `/api/${user}/conversations?${query}`, { user })
      for (const query of [
        "limit=0",
        "limit=101",
        "limit=",
        "limit=1&limit=2",
        "cursor=x",
        "cursor=%ff",
        "cursor=%00",
        "cursor="
      ]) {
        assertProblem(yield* ask(query), 400, "invalid_request")
      }
      for (const query of ["", "&&&", "=", "x=%ff", "%=1", "__proto__=1", "x[]=1&x[]=2"]) {
        assert.deepStrictEqual([query, (yield* ask(query)).status], [query, 200])
      }
    })
  )

  it.effect("a message is stored as NFC, trimmed, without control characters except tab and newline", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const [sent, kept] of [
        ['"Hi\\u0000!"', "Hi!"],
        ['"\\ud800Hi\\udc00"', "\ufffdHi\ufffd"],
        ['"e\\u0301"', "é"],
        ['" \\t\\n a\\tb\\nc\\r\\n \\u00a0"', "a\tb\nc"],
        ['"a\\u0007\\u001b[31mb\\u007f\\u0085"', "a[31mb"],
        ['"\\ud83d\\ude00"', "😀"]
      ] as const) {
        const { json: answer, status } = yield* send("POST", `/api/${user}/chat`, {
          user,
          headers: json,
          body: `{"message":${sent}}`
        })
        assert.deepStrictEqual([sent, status], [sent, 200])
        assert.deepStrictEqual(yield* contents(user, answer["conversation_id"]), [kept, "Hello."])
      }
      assert.deepStrictEqual(
        pathsIn(yield* send("POST", `/api/${user}/chat`, { user, headers: json, body: '{"message":"a\u0000"}' })),
        [""]
      )
      for (const blank of ["", " ", "\n\t", "\u0000", "\u0007 \u001b", "\u00a0", "\ufeff"]) {
        assert.deepStrictEqual(pathsIn(yield* say(user, blank)), ["message"])
      }
      for (const wrong of [null, 7, [], {}, true]) {
        const answer = yield* send("POST", `/api/${user}/chat`, { user, body: { message: wrong } })
        assert.deepStrictEqual(pathsIn(answer), ["message"])
      }
    })
  )

  it.effect("the length limit of a message counts the code points of the stored text", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const [message, status] of [
        ["x".repeat(4000), 200],
        ["x".repeat(4001), 400],
        ["😀".repeat(4000), 200],
        ["😀".repeat(4001), 400],
        [` ${"e\u0301".repeat(4000)}\u0000 `, 200]
      ] as const) {
        const answer = yield* say(user, message)
        assert.strictEqual(answer.status, status)
        if (status === 400) assert.deepStrictEqual(pathsIn(answer), ["message"])
      }
    })
  )

  it.effect("a conversation gets its title from its first message and continues across requests", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const long = `${"word ".repeat(11)}wordandword ${"more ".repeat(20)}`
      const first = yield* say(user, long)
      const { conversation_id } = first.json
      const second = yield* say(user, "And?", { conversation_id })
      assert.strictEqual(second.json["conversation_id"], conversation_id)
      assert.deepStrictEqual(yield* contents(user, conversation_id), [long.trim(), "Hello.", "And?", "Hello."])
      const { title } = (yield* send("GET", `/api/${user}/conversations/${conversation_id}`, { user })).json
      assert.isAtMost(String(title).length, 60)
      assert.match(String(title), /^(word )+word/)
      const families = yield* say(user, "👩‍👩‍👧‍👦".repeat(20))
      const found = yield* send("GET", `/api/${user}/conversations/${families.json["conversation_id"]}`, { user })
      assert.strictEqual(found.json["title"], `${"👩‍👩‍👧‍👦".repeat(8)}…`)
    })
  )

  it.effect("a time zone is an IANA name, and anything else is 400", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const time_zone of ["Europe/Berlin", "UTC", "asia/tokyo", "America/Argentina/Buenos_Aires", "GMT", "GMT0"]) {
        assert.strictEqual((yield* say(user, "Hi", { time_zone })).status, 200)
      }
      for (const time_zone of ["", "Mars/Olympus", "+01:00", 1, null, "x".repeat(1000), "\u0000", "../etc"]) {
        assert.deepStrictEqual(pathsIn(yield* say(user, "Hi", { time_zone })), ["time_zone"])
      }
    })
  )

  it.effect("another user's conversation is 403 for chat and 404 for reading; a missing one is 404", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const other = yield* newUser
      const { conversation_id, turn_id } = (yield* say(other, "Hi")).json
      for (const path of ["chat", "chat/stream"]) {
        const chat = (id: unknown) =>
          send("POST", `/api/${user}/${path}`, { user, body: { message: "Hi", conversation_id: id } })
        const forbidden = assertProblem(yield* chat(conversation_id), 403, "conversation_forbidden")
        assert.strictEqual(forbidden.json["detail"], "Permission denied")
        const missing = assertProblem(yield* chat(Number.MAX_SAFE_INTEGER), 404, "conversation_not_found")
        assert.strictEqual(missing.json["detail"], "Conversation not found")
      }
      const get = (path: string) => send("GET", `/api/${user}/${path}`, { user })
      assertProblem(yield* get(`conversations/${conversation_id}`), 404, "conversation_not_found")
      assertProblem(yield* get(`turns/${turn_id}`), 404, "turn_not_found")
      assertProblem(yield* get(`turns/${turn_id}/events`), 404, "turn_not_found")
    })
  )

  it.effect("a connection that breaks within its request leaves no data", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const head = `POST /api/${user}/chat HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer ${yield* tokenOf(user)}\r\n`
      for (const part of [
        `${head}Content-Length: 100\r\n\r\n{"message":"Hi"}`,
        `${head}Transfer-Encoding: chunked\r\n\r\n10\r\n{"message":"Hi"}\r\n`,
        `${head}Transfer-Encoding: chunked\r\n\r\n10\r\n{"mess`,
        head
      ]) {
        yield* Server.breakOff(part)
      }
      const [answer] = answersIn(yield* raw(`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`))
      assert.strictEqual(answer?.status, 400)
      yield* isAlive
      assert.strictEqual((yield* send("GET", `/api/${user}/conversations`, { user })).json["total"], 0)
    })
  )

  it.effect("metrics have Prometheus' text format, without duplicate samples or user ids", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      yield* say(user, "Hi")
      const { headers, text } = yield* send("GET", "/metrics")
      assert.strictEqual(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      assert.isTrue(text.endsWith("\n"))
      const lines = text.trimEnd().split("\n")
      for (const line of lines) {
        assert.match(
          line,
          /^(# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))|[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? [0-9.e+-]+)$/
        )
      }
      const samples = lines.filter((line) => !line.startsWith("#")).map((line) => line.replace(/ \S+$/, ""))
      assert.deepStrictEqual(samples, Arr.dedupe(samples))
      assert.deepStrictEqual(Arr.dedupe(text.match(/le="[^0-9][^"]*"/g) ?? []), ['le="+Inf"'])
      assert.include(text, 'taskchat_http_requests_total{route="/api/:user_id/chat",status="200"}')
      assert.notInclude(text, String(user))
    })
  )

  it.effect("the documentation needs no token", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* send("GET", "/openapi.json")).json["openapi"], "3.1.0")
      const docs = yield* send("GET", "/docs")
      assert.include(docs.headers["content-type"], "text/html")
      assert.notMatch(docs.text, /<(script|link|img)[^>]+(src|href)="(https?:)?\/\//)
      const scripts = Array.from(docs.text.matchAll(/<script>(.*?)<\/script>/gs), ([, script = ""]) => script)
      const [, allowed] = /script-src ([^;]+);/.exec(docs.headers["content-security-policy"] ?? "") ?? []
      const hashes = scripts.map((script) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`)
      assert.strictEqual(allowed, hashes.join(" "))
    })
  )

  it.effect("CORS is off", () =>
    Effect.gen(function* () {
      const origin = { origin: "https://app.example.com", "access-control-request-method": "POST" }
      const answers = [
        yield* send("GET", "/health", { headers: origin }),
        yield* send("OPTIONS", "/health", { headers: origin })
      ]
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [200, 405]
      )
      for (const { headers } of answers) {
        assert.deepStrictEqual(
          Object.keys(headers).filter((name) => name.startsWith("access-control") || name === "vary"),
          []
        )
      }
    })
  )

  const piece = FastCheck.oneof(
    FastCheck.constantFrom(
      "0",
      "1",
      "-1",
      "%ff",
      "%00",
      "..",
      "%2e%2e",
      "",
      "9007199254740992",
      "chat",
      "tasks",
      "'",
      ";",
      "null"
    ),
    FastCheck.string({ maxLength: 20 }).map(encodeURIComponent),
    FastCheck.webSegment()
  )
  const path = FastCheck.tuple(
    FastCheck.constantFrom(
      "/api/U/chat",
      "/api/U/chat/stream",
      "/api/U/tasks",
      "/api/U/tasks/P",
      "/api/U/tasks/P/history",
      "/api/U/conversations",
      "/api/U/conversations/P",
      "/api/U/conversations/P/messages?after=P&before=P",
      "/api/U/conversations/P/messages/P",
      "/api/U/turns/P",
      "/api/U/turns/P/events",
      "/api/U/turns/P/cancel",
      "/api/U/turns/P/undo",
      "/api/U/tasks?q=P&status=P&label=P&limit=P&cursor=P&due_before=P",
      "/api/U/conversations?limit=P&cursor=P",
      "/api/P/tasks",
      "/api/P",
      "/mcp",
      "/P/P",
      "P",
      "//P"
    ),
    piece,
    piece
  ).map(([path, first, second]) => path.replace("P", first).replaceAll("P", second))
  const headers = FastCheck.array(
    FastCheck.tuple(
      FastCheck.constantFrom(
        "X-Request-Id",
        "Content-Type",
        "Idempotency-Key",
        "If-Match",
        "Last-Event-ID",
        "Origin",
        "Accept",
        "Time-Zone",
        "MCP-Protocol-Version",
        "traceparent",
        "Cookie",
        "X-Forwarded-Proto",
        "Content-Encoding",
        "Range"
      ),
      FastCheck.oneof(
        FastCheck.constantFrom("application/json", "*", '"1"', "0.0", "end", "null", "text/plain", "", "a=b; a"),
        FastCheck.string({ maxLength: 30 }),
        FastCheck.string({
          maxLength: 10,
          unit: FastCheck.integer({ min: 0x20, max: 0xff }).map((c) => String.fromCharCode(c))
        })
      ).map((value) => value.replaceAll(/[\u007f\r\n]/g, ""))
    ),
    { maxLength: 4 }
  )
  const member = FastCheck.constantFrom(
    ...[
      "message",
      "conversation_id",
      "time_zone",
      "title",
      "description",
      "priority",
      "labels",
      "due_date",
      "due_at",
      "completed",
      "jsonrpc",
      "method",
      "id",
      "params"
    ]
  )
  const value = FastCheck.oneof(
    FastCheck.constantFrom<unknown>(
      "Hi",
      "2.0",
      "tools/list",
      "2026-02-30",
      "\u0000",
      "\ud800",
      "UTC",
      0,
      1,
      -1,
      2 ** 53,
      1e300,
      null
    ),
    FastCheck.jsonValue({ maxDepth: 3 }),
    FastCheck.string({ unit: "binary" })
  )
  const body = FastCheck.oneof(
    FastCheck.dictionary(member, value).map((fields) => JSON.stringify(fields)),
    FastCheck.json(),
    FastCheck.string(),
    FastCheck.uint8Array()
  )

  it.effect.prop(
    "no request, however broken, yields a 5xx or goes without an answer",
    [
      FastCheck.constantFrom(...METHODS, "GET", "POST", "POST", "PATCH", "DELETE"),
      path,
      headers,
      body,
      FastCheck.boolean(),
      FastCheck.boolean()
    ],
    ([method, path, headers, body, isKnown, isChunked]) =>
      Effect.gen(function* () {
        const user = yield* newUser
        const answer = yield* send(method, path.replace("U", String(user)) || "/", {
          headers,
          ...(isChunked ? { chunks: [body] } : { body }),
          ...(isKnown && { user })
        })
        assert.isBelow(answer.status, 500)
        assert.isNotEmpty(answer.headers["x-request-id"])
        // Over MCP, errors have the form of JSON-RPC.
        if (answer.status >= 400 && method !== "HEAD" && !path.startsWith("/mcp")) {
          assert.strictEqual(answer.headers["content-type"], "application/problem+json")
          assert.notProperty(answer.json, "_tag")
        }
      }),
    { fastCheck: { numRuns: 300 } }
  )
})

layer(Server.layer({ limits: { chat: { limit: 3 }, api: { limit: 3 } } }))("Http, few requests a minute", (it) => {
  it.effect("the order of refusals is 401, 403, 429, then all other errors", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const huge = { body: "x".repeat(300_000), headers: { "content-type": "text/plain" } }
      for (let i = 0; i < 3; i++) {
        assertProblem(yield* send("POST", `/api/${user}/chat`, { user, body: "{" }), 400, "invalid_request")
      }
      assertProblem(yield* send("POST", "/api/1/chat", huge), 401, "missing_token")
      assertProblem(yield* send("POST", "/api/1/chat", { user, ...huge }), 403, "user_mismatch")
      assertProblem(yield* send("POST", `/api/${user}/chat`, { user, ...huge }), 429, "rate_limited")
      assertProblem(yield* send("POST", `/api/${user}/chat/stream`, { user, ...huge }), 429, "rate_limited")
      const theirs = (yield* say(yield* newUser, "Hi")).json["conversation_id"]
      const fresh = yield* newUser
      assertProblem(yield* say(fresh, "", { conversation_id: theirs }), 400, "invalid_request")
      assertProblem(yield* say(fresh, "Hi", { conversation_id: theirs }), 403, "conversation_forbidden")
    })
  )

  it.effect("each user has rate limits per minute, with headers for the rest", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const kinds = [
        ["chat", () => say(user, "Hi")],
        ["api", () => send("GET", `/api/${user}/tasks`, { user })]
      ] as const
      for (const [policy, ask] of kinds) {
        for (const left of [2, 1, 0]) {
          const { headers, status } = yield* ask()
          assert.deepStrictEqual(
            [status, headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]],
            [200, "3", String(left)]
          )
          assert.match(headers["ratelimit"] ?? "", new RegExp(`^"${policy}";r=${left};t=(60|59|5[0-9])$`))
          assert.strictEqual(headers["ratelimit-policy"], `"${policy}";q=3;w=60`)
          assert.match(headers["x-ratelimit-reset"] ?? "", /^[0-9]+$/)
        }
        const refused = assertProblem(yield* ask(), 429, "rate_limited")
        const seconds = Number(refused.headers["retry-after"])
        assert.isTrue(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60)
        assert.strictEqual(refused.headers["ratelimit"], `"${policy}";r=0;t=${seconds}`)
      }
      assertProblem(yield* send("POST", "/mcp", { user, body: {} }), 429, "rate_limited")
      assert.strictEqual((yield* say(yield* newUser, "Hi")).status, 200)
    })
  )

  it.effect("401 and 403 do not count against the rate limit; 404 and 405 under /api do", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (let i = 0; i < 5; i++) {
        yield* send("GET", "/api/1/tasks", { user })
        yield* send("GET", `/api/${user}/tasks`, { headers: { authorization: "Bearer x" } })
      }
      const left = [
        yield* send("GET", `/api/${user}/nothing`, { user }),
        yield* send("PUT", `/api/${user}/tasks`, { user }),
        yield* send("GET", `/api/${user}/tasks`, { user })
      ]
      assert.deepStrictEqual(left.map(remaining), [2, 1, 0])
      assertProblem(yield* send("GET", `/api/${user}/nothing`, { user }), 429, "rate_limited")
    })
  )
})

layer(Server.layer({ maxRunning: 2, maxRunningPerUser: 1 }))("Http, room for few turns", (it) => {
  it.scoped(
    "a running turn in the conversation is 409, then too many turns of the user 429, then a full node 503",
    () =>
      Effect.gen(function* () {
        const { plays } = yield* Server.Server
        yield* plays("hold", silence)
        const user = yield* newUser
        const { conversation_id, turn_id } = (yield* Effect.flatMap(stream(user, "hold"), ({ event }) => event)).data
        for (const path of ["chat", "chat/stream"]) {
          const ask = (user: UserId, fields: Server.Fields = {}) =>
            send("POST", `/api/${user}/${path}`, { user, body: { message: "Hi", ...fields } })
          const busy = assertProblem(yield* ask(user, { conversation_id }), 409, "turn_in_progress", "turn_id")
          assert.strictEqual(busy.json["turn_id"], turn_id)
          assert.match(busy.headers["retry-after"] ?? "", /^[1-9][0-9]*$/)
          const enough = assertProblem(yield* ask(user), 429, "too_many_turns")
          assert.match(enough.headers["retry-after"] ?? "", /^[1-9][0-9]*$/)
          const other = yield* newUser
          assert.strictEqual((yield* ask(other)).status, 200)
        }
        yield* stream(yield* newUser, "hold")
        const full = assertProblem(yield* say(yield* newUser, "Hi"), 503, "unavailable")
        assert.match(full.headers["retry-after"] ?? "", /^[1-9][0-9]*$/)
      })
  )
})

layer(Server.layer())("Http, shutting down", (it) => {
  it.scoped("a draining node is not ready and accepts no turns, but serves other requests", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      assert.deepStrictEqual((yield* send("GET", "/ready")).json, { status: "ok" })
      const { turn_id } = (yield* say(user, "Hi")).json
      const chat = yield* Chat
      yield* chat.drain(Duration.zero)
      assert.match(
        assertProblem(yield* send("GET", "/ready"), 503, "unavailable").headers["retry-after"] ?? "",
        /^[1-9]/
      )
      assertProblem(yield* say(user, "Hi"), 503, "unavailable")
      assertProblem(
        yield* send("POST", `/api/${user}/chat/stream`, { user, body: { message: "Hi" } }),
        503,
        "unavailable"
      )
      assert.strictEqual((yield* send("GET", "/health")).status, 200)
      assert.strictEqual((yield* send("GET", `/api/${user}/turns/${turn_id}`, { user })).status, 200)
    })
  )
})

layer(Layer.empty)("Http, without its database", (it) => {
  it.scoped("without its database, a service is alive, not ready, and answers 503 with Retry-After", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const database = yield* Layer.buildWithScope(Database.layer, scope)
      const context = yield* Layer.build(Server.layer({ database: Layer.succeedContext(database) }))
      yield* Effect.gen(function* () {
        const user = yield* newUser
        assert.strictEqual((yield* say(user, "Hi")).status, 200)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* send("GET", "/health")).status, 200)
        assert.strictEqual((yield* send("GET", "/metrics")).status, 200)
        for (const answer of [
          yield* send("GET", "/ready"),
          yield* say(user, "Hi"),
          yield* send("POST", `/api/${user}/chat/stream`, { user, body: { message: "Hi" } }),
          yield* send("GET", `/api/${user}/tasks`, { user }),
          yield* send("GET", `/api/${user}/conversations`, { user })
        ]) {
          assertProblem(answer, 503, "unavailable")
          assert.match(answer.headers["retry-after"] ?? "", /^[1-9][0-9]*$/)
        }
        assertProblem(yield* say(user, ""), 400, "invalid_request")
        assertProblem(yield* send("GET", `/api/${user}/tasks`), 401, "missing_token")
      }).pipe(Effect.provide(context))
    })
  )
})

const page = "https://app.example.com"

layer(Server.layer({ origins: [page, "https://other.example.com"] }))("Http, for pages", (it) => {
  it.effect("pages of the configured origins may read every answer, also errors, and their headers", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const headers = { origin: page }
      const open = [
        yield* send("GET", "/health", { headers }),
        yield* send("GET", "/nothing", { headers }),
        yield* send("PUT", "/health", { headers })
      ]
      const own = [
        yield* send("GET", "/api/1/tasks", { headers }),
        yield* send("GET", "/api/1/tasks", { headers, user }),
        yield* send("POST", `/api/${user}/chat`, { headers, user, body: "x".repeat(300_000) }),
        yield* say(user, "", {}, headers),
        yield* say(user, "Hi", {}, headers),
        yield* send("POST", `/api/${user}/chat/stream`, { headers, user, body: { message: "Hi" } })
      ]
      const varies = (answers: ReadonlyArray<Answer>) => Arr.dedupe(answers.map(({ headers }) => headers["vary"]))
      assert.deepStrictEqual([varies(open), varies(own)], [["Origin"], ["Authorization, Origin"]])
      for (const answer of [...open, ...own]) {
        assert.strictEqual(answer.headers["access-control-allow-origin"], page)
        const exposed = answer.headers["access-control-expose-headers"]?.split(", ") ?? []
        for (const name of [
          ...limitHeaders,
          "x-request-id",
          "retry-after",
          "idempotent-replayed",
          "etag",
          "location"
        ]) {
          assert.include(
            exposed.map((name) => name.toLowerCase()),
            name
          )
        }
        assert.notProperty(answer.headers, "access-control-allow-credentials")
      }
    })
  )

  it.effect("a preflight needs no token, and allows the existing methods and headers", () =>
    Effect.gen(function* () {
      const headers = {
        origin: page,
        "access-control-request-method": "POST",
        // Browsers ask for `Accept` if it contains quotes.
        "access-control-request-headers":
          "accept, authorization, content-type, idempotency-key, last-event-id, if-match, mcp-session-id, mcp-protocol-version"
      }
      const answer = yield* send("OPTIONS", "/api/1/chat", { headers })
      assert.deepStrictEqual([answer.status, answer.text, answer.headers["vary"]], [204, "", "Origin"])
      assert.strictEqual(answer.headers["access-control-allow-origin"], page)
      assert.match(answer.headers["x-request-id"] ?? "", /^[0-9a-f-]{36}$/)
      const allowed = answer.headers["access-control-allow-headers"]?.toLowerCase() ?? ""
      assert.includeMembers(allowed.split(", "), headers["access-control-request-headers"].split(", "))
      for (const method of ["GET", "POST", "PATCH", "DELETE"]) {
        assert.include(answer.headers["access-control-allow-methods"], method)
      }
    })
  )

  it.effect("other origins get no CORS headers, and OPTIONS without a preflight is handled as any method", () =>
    Effect.gen(function* () {
      for (const origin of ["https://evil.example.com", "null", `${page}.evil.com`, "https://APP.example.com", ""]) {
        const headers = { origin, "access-control-request-method": "POST" }
        for (const answer of [
          yield* send("OPTIONS", "/api/1/chat", { headers }),
          yield* send("GET", "/health", { headers })
        ]) {
          assert.strictEqual(answer.headers["vary"], "Origin")
          assert.deepStrictEqual(
            Object.keys(answer.headers).filter((name) => name.startsWith("access-control")),
            []
          )
        }
      }
      assertProblem(yield* send("OPTIONS", "/api/1/chat"), 401, "missing_token")
      assertProblem(yield* send("OPTIONS", "/health", { headers: { origin: page } }), 405, "method_not_allowed")
    })
  )
})
