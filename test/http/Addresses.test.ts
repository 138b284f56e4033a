import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Server from "../support/Server.ts"
import { type Answer, answersIn, newUser, raw, send, tokenOf } from "../support/Server.ts"

const metadata = "/.well-known/oauth-protected-resource"

/** The metadata URL in the 401 answer of `/mcp`. */
const pointerOf = (answer: Answer) => {
  assert.strictEqual(answer.status, 401)
  return /resource_metadata="([^"]+)"/.exec(answer.headers["www-authenticate"] ?? "")?.[1]
}

layer(Server.layer())("Addresses", (it) => {
  it.effect("`Location` of a created task is built from its ids, for any request target", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const target of [
        `//api/${user}/tasks`,
        `/api//${user}/tasks/`,
        `/API/${user}/tasks?x=//evil.example`,
        `http://evil.example/api/${user}/tasks`
      ]) {
        const { headers, json, status } = yield* send("POST", target, { user, body: { title: "Milk" } })
        assert.deepStrictEqual([target, status], [target, 201])
        assert.match(headers["location"] ?? "", new RegExp(`^/api/${user}/tasks/${json["id"]}$`, "i"))
      }
    })
  )

  it.effect("only a loopback `Host` is trusted", () =>
    Effect.gen(function* () {
      for (const host of ["localhost", "localhost:3000", "127.0.0.1:80", "[::1]:3000"]) {
        const headers = { host, "x-forwarded-proto": "https", "x-forwarded-host": "evil.example" }
        const pointer = pointerOf(yield* send("POST", "/mcp", { headers }))
        assert.strictEqual(pointer, `http://${host}${metadata}/mcp`.replace("127.0.0.1:80", "127.0.0.1"))
        const { json, status } = yield* send("GET", `${metadata}/mcp`, { headers })
        assert.deepStrictEqual([status, new URL(String(json["resource"])).pathname], [200, "/mcp"])
      }
      for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"]) {
        const stranger = yield* send("POST", "/mcp", { headers: { host } })
        assert.strictEqual(pointerOf(stranger), undefined)
        assert.notInclude(stranger.text + JSON.stringify(stranger.headers), host)
        assert.strictEqual((yield* send("GET", `${metadata}/mcp`, { headers: { host } })).status, 404)
      }
    })
  )

  it.effect("an invalid, duplicate or missing `Host` in HTTP/1.1 is refused with a problem", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const rest = `Authorization: Bearer ${yield* tokenOf(user)}\r\nConnection: close\r\n\r\n`
      const get = (version: string, hosts: ReadonlyArray<string>) =>
        Effect.map(
          raw(`GET /api/${user}/tasks HTTP/${version}\r\n${hosts.map((host) => `Host: ${host}\r\n`).join("")}${rest}`),
          (received) => answersIn(received)
        )
      for (const hosts of [
        [],
        [""],
        ["a", "b"],
        ["a", "a"],
        ["a, b"],
        ['a"b'],
        ["a b"],
        ["a/b"],
        ["user@a"],
        ["a:port"],
        ["[::1"],
        ["a".repeat(300)]
      ]) {
        const [answer, ...more] = yield* get("1.1", hosts)
        assert.deepStrictEqual([hosts, answer?.status, more.length], [hosts, 400, 0])
        assert.strictEqual(answer?.headers["content-type"], "application/problem+json")
        assert.strictEqual(answer?.json["request_id"], answer?.headers["x-request-id"])
        assert.deepInclude(answer?.json["errors"], {
          path: "host",
          message: "must be one host name or address, with or without a port"
        })
      }
      for (const hosts of [["a"], ["a_b.example:8080"], ["[2001:db8::1]:80"]]) {
        assert.strictEqual((yield* get("1.1", hosts))[0]?.status, 200)
      }
      assert.strictEqual((yield* get("1.0", []))[0]?.status, 200)
    })
  )

  it.effect("every answer has `X-Content-Type-Options: nosniff`", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const [method, path, message] of [
        ["GET", "/health", {}],
        ["GET", "/docs", {}],
        ["GET", "/openapi.json", {}],
        ["GET", "/nothing", {}],
        ["OPTIONS", "/health", {}],
        ["GET", `/api/${user}/tasks`, {}],
        ["GET", `/api/${user}/tasks`, { user }],
        ["DELETE", `/api/${user}/tasks/1`, { user }],
        ["POST", `/api/${user}/chat/stream`, { user, body: { message: "Hi" } }],
        ["POST", "/mcp", { user, body: { jsonrpc: "2.0", id: 1, method: "ping" } }],
        ["POST", "/mcp", { user, body: [] }],
        ["GET", "/health", { headers: { host: "a b" } }]
      ] as const) {
        const { headers } = yield* send(method, path, message)
        assert.deepStrictEqual([path, headers["x-content-type-options"]], [path, "nosniff"])
      }
    })
  )
})

layer(Server.layer({ publicUrl: "https://tasks.example.com/service/" }))("Addresses with PUBLIC_URL", (it) => {
  it.effect("URLs in answers use PUBLIC_URL, not the request", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      for (const headers of [{ host: "evil.example" }, { host: "localhost" }]) {
        const created = yield* send("POST", `/api/${user}/tasks`, { user, headers, body: { title: "Milk" } })
        assert.strictEqual(
          created.headers["location"],
          `https://tasks.example.com/service/api/${user}/tasks/${created.json["id"]}`
        )
        assert.strictEqual(
          pointerOf(yield* send("POST", "/mcp", { headers })),
          `https://tasks.example.com${metadata}/service/mcp`
        )
        const { json } = yield* send("GET", metadata, { headers })
        assert.strictEqual(json["resource"], "https://tasks.example.com/service/mcp")
      }
      assert.deepStrictEqual((yield* send("GET", "/openapi.json")).json["servers"], [{ url: "/service" }])
    })
  )
})
