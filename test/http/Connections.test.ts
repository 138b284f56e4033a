import * as Net from "node:net"
import { HttpServer, HttpServerResponse } from "@effect/platform"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Listener from "../../src/server/Server.ts"
import * as Server from "../support/Server.ts"
import { answersIn, newUser, raw, tokenOf } from "../support/Server.ts"

const host = "Host: localhost\r\n"
const close = "Connection: close\r\n"
const post = (fields: string, body = "") => `POST /api/1/tasks HTTP/1.1\r\n${host}${fields}\r\n${body}`
const get = (fields: string, target = "/health", version = "HTTP/1.1") => `GET ${target} ${version}\r\n${fields}\r\n`

const inner = get(host, "/nowhere")

/** Ambiguous or invalid requests, which must not reach a handler. */
const unreadable: Readonly<Record<string, string>> = {
  "a length and chunks": post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
  "two lengths": post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
  "a length twice": post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
  "a list of lengths": post("Content-Length: 5, 5\r\n", "hello"),
  "a length with a sign": post("Content-Length: +5\r\n", "hello"),
  "a hexadecimal length": post("Content-Length: 0x5\r\n", "hello"),
  "an empty length": post("Content-Length: \r\n", "hello"),
  "a length that is too large": post("Content-Length: 99999999999999999999\r\n", "hello"),
  "chunks that are not the last coding": post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
  "chunks twice": post("Transfer-Encoding: chunked,chunked\r\n", "0\r\n\r\n"),
  "a space before a colon": post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
  "a folded field": post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
  "lines that end with LF alone": "GET /health HTTP/1.1\nHost: a\n\n",
  "one line that ends with LF alone": get(`${host}X: a\nY: b\r\n`),
  "a CR within a field": get(`${host}X: a\rb\r\n`),
  "NUL within a field": get(`${host}X: a\0b\r\n`),
  "a field without a name": get(`${host}: a\r\n`),
  "a name that is not a token": get(`${host}a(b: a\r\n`),
  "bytes in the target": get(host, "/\u00c3\u00a9"),
  "no target": "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
  "another version": get(host, "/health", "HTTP/1.2"),
  "its preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "an unknown method": `BREW /health HTTP/1.1\r\n${host}\r\n`,
  "a TLS greeting": "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
  "another Host behind 2,500 fields": get(`${host}${"a:\r\n".repeat(2500)}Host: b\r\n${close}`)
}

/** Invalid bodies, which a handler may have begun to read. The rest must not be read as a second request. */
const broken: Readonly<Record<string, string>> = {
  "an unknown coding": post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
  "a size that is too large": post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n"),
  "a negative size": post("Transfer-Encoding: chunked\r\n", "-1\r\n"),
  "a size with a prefix": post("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"),
  "a chunk that is longer than its size": post("Transfer-Encoding: chunked\r\n", "5\r\nhelloXX0\r\n\r\n"),
  "chunks that end with LF alone": post("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"),
  "an extension without end": post("Transfer-Encoding: chunked\r\n", `5;${"a".repeat(20_000)}\r\nhello\r\n0\r\n\r\n`)
}

/** Unusual but valid requests. */
const odd: ReadonlyArray<readonly [what: string, request: string, ...statuses: ReadonlyArray<number>]> = [
  ["empty lines before it", `${"\r\n".repeat(1000)}${get(host + close)}`, 200],
  [
    "a body of GET that looks like a request",
    `${get(`${host}Content-Length: ${inner.length}\r\n`)}${inner}${get(host + close, "/ready")}`,
    200,
    200
  ],
  [
    "a refused body that looks like a request",
    `${post(`Content-Length: ${inner.length}\r\n`, inner)}${get(host + close)}`,
    401,
    200
  ],
  ["something behind the last request", `${get(host + close)}${get(host)}GARBAGE`, 200],
  ["what is no request behind two", `${get(host)}${get(host, "/ready")}GARBAGE`, 200, 200, 400],
  ["the next version", get(host + close, "/health", "HTTP/2.0"), 400],
  [
    "trailers that name a user",
    post(`Transfer-Encoding: chunked\r\n${close}`, "0\r\nAuthorization: Bearer a\r\n\r\n"),
    401
  ],
  [
    "trailers without end",
    post(`Transfer-Encoding: chunked\r\n${close}`, `0\r\n${"X: aaaaaaaaaa\r\n".repeat(2200)}\r\n`),
    431
  ],
  ["headers without end", get(`${host}X: ${"a".repeat(20_000)}\r\n`), 431],
  ["a target without end", get(host, `/${"a".repeat(20_000)}`), 431],
  ["HTTP/1.0 without a Host", get("", "/health", "HTTP/1.0"), 200],
  ["a Host behind 2,500 fields", get(`${"a:\r\n".repeat(2500)}${host}${close}`), 200],
  ["a target with another host", get(host + close, "http://evil.example/health"), 200],
  ["a target of another scheme", get(host + close, "ftp://evil.example/health"), 404],
  ["the target *", get(host + close, "*"), 404],
  ["an escape that is none", get(host + close, "/%zz"), 404],
  ["TRACE", `TRACE /health HTTP/1.1\r\n${host}Cookie: a\r\n${close}\r\n`, 405],
  ["CONNECT", `CONNECT evil.example:443 HTTP/1.1\r\n${host}\r\n`, 405]
]

layer(Server.layer())("A connection", (it) => {
  it.effect("an invalid request gets 400 and closes the connection", () =>
    Effect.gen(function* () {
      for (const [what, bytes] of Object.entries(unreadable)) {
        const answers = answersIn(yield* raw(Buffer.from(bytes, "latin1"), get(host)))
        assert.deepStrictEqual(
          answers.map(({ headers, json, status }) => [status, json["code"], headers["connection"]]),
          [[400, "invalid_request", "close"]],
          what
        )
      }
    })
  )

  it.effect("an invalid body closes the connection", () =>
    Effect.gen(function* () {
      for (const [what, bytes] of Object.entries(broken)) {
        const statuses = answersIn(yield* raw(bytes, get(host))).map(({ status }) => status)
        assert.include([[400], [401, 400]].map(String), String(statuses), what)
      }
    })
  )

  it.effect("an unusual but valid request is answered normally", () =>
    Effect.gen(function* () {
      for (const [what, bytes, ...statuses] of odd) {
        const answers = answersIn(yield* raw(bytes))
        assert.deepStrictEqual(
          answers.map(({ status }) => status),
          statuses,
          what
        )
      }
    })
  )

  it.effect("a client that reads only after sending its body receives the refusal", () =>
    Effect.gen(function* () {
      const { port } = yield* Server.Server
      const token = yield* tokenOf(yield* newUser)
      for (const [fields, status] of [
        ["", 401],
        [`Authorization: Bearer ${token}\r\n`, 403]
      ] as const) {
        const received = yield* Effect.async<string>((resume) => {
          let text = ""
          const socket = Net.connect(port, "127.0.0.1", () => {
            socket.pause()
            socket.write(post(`${fields}${close}Content-Length: 5000000\r\n`))
            socket.write("a".repeat(5_000_000), () => socket.resume())
          })
          socket.on("data", (data) => {
            text += data
          })
          socket.on("error", () => {})
          socket.on("close", () => resume(Effect.succeed(text)))
        })
        assert.match(received, new RegExp(`^HTTP/1.1 ${status} `))
      }
    })
  )
})

describe("Requests in one packet", () => {
  it.scopedLive("are handled in sequence, and the connection is closed after a hundred", () =>
    Effect.gen(function* () {
      const server = yield* HttpServer.HttpServer
      let [now, most] = [0, 0]
      yield* server.serve(
        Effect.acquireUseRelease(
          Effect.sync(() => {
            most = Math.max(most, ++now)
          }),
          () => Effect.as(Effect.sleep("1 millis"), HttpServerResponse.text("done")),
          () => Effect.sync(() => now--)
        )
      )
      const port = server.address._tag === "TcpAddress" ? server.address.port : 0
      const target = Server.Server.of({ port, plays: () => Effect.void })
      const received = yield* Effect.provideService(raw(get(host).repeat(1000)), Server.Server, target)
      const answers = answersIn(received)
      assert.strictEqual(most, 1)
      assert.lengthOf(answers, 101)
      assert.deepStrictEqual(new Set(answers.map(({ text }) => text)), new Set(["done"]))
      assert.strictEqual(answers.at(-1)?.headers["connection"], "close")
    }).pipe(Effect.provide(Listener.layer({ host: "127.0.0.1", port: 0 })))
  )
})
