import * as Http from "node:http"
import * as Net from "node:net"
import {
  HttpApp,
  HttpMiddleware,
  HttpServer,
  type HttpServerError,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, type Layer, Option, type Scope, Stream, Tracer } from "effect"
import * as JsonBody from "../../src/runtime/JsonBody.ts"
import * as Pull from "../../src/runtime/Pull.ts"
import * as Server from "../../src/server/Server.ts"

/** What an app is served with makes no difference to it. */
const servers: Record<string, Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError>> = {
  "our listener": Server.layer({ host: "127.0.0.1", port: 0 }),
  "our listener, traced": Server.layer({ host: "127.0.0.1", port: 0 }),
  "the platform's": NodeHttpServer.layer(Http.createServer, { host: "127.0.0.1", port: 0 })
}

const serve = <E>(app: HttpApp.Default<E, Scope.Scope>, isTraced = false) =>
  Effect.gen(function* () {
    const server = yield* HttpServer.HttpServer
    yield* Effect.withTracerEnabled(server.serve(app), isTraced)
    return server.address._tag === "TcpAddress" ? server.address.port : 0
  })

/** All that a connection brings in answer to these pieces, each sent by itself, until the server closes it. */
const exchange = (port: number, ...pieces: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const socket = Net.connect(port, "127.0.0.1").setNoDelay()
    const closed = new Promise((resolve) => socket.on("close", resolve))
    let received = ""
    socket.on("data", (data) => {
      received += data.toString()
    })
    for (const piece of pieces) {
      socket.write(piece)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await closed
    return received
  })

const last = "Host: a\r\nConnection: close\r\n"

const echo = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
  Effect.match(JsonBody.json(request), {
    onFailure: ({ about }) => HttpServerResponse.empty({ status: about.status }),
    onSuccess: (body) => HttpServerResponse.unsafeJson(body)
  })
)

/** Pieces without an end, as fast as they are taken. */
const endless = (pulled: { pieces: number }, closed: Deferred.Deferred<void>) =>
  Pull.toStream(() => ({
    pull: Effect.zipRight(
      Effect.yieldNow(),
      Effect.sync(() => {
        pulled.pieces++
        return Chunk.of(new Uint8Array(64 * 1024))
      })
    ),
    close: () => Effect.asVoid(Deferred.succeed(closed, undefined))
  }))

describe.each(Object.entries(servers))("%s", (name, layer) => {
  const isTraced = name.endsWith("traced")
  const fact = <E>(name: string, test: Effect.Effect<void, E, HttpServer.HttpServer | Scope.Scope>) =>
    it.scopedLive(name, () => Effect.provide(test, layer))

  fact(
    "reads a body in pieces, declared or in chunks",
    Effect.gen(function* () {
      const port = yield* serve(echo, isTraced)
      const declared = yield* exchange(port, `POST / HTTP/1.1\r\n${last}Content-Length: 10\r\n\r\n`, '{"a":', '"é"}')
      assert.include(declared, '{"a":"é"}')
      const head = `POST / HTTP/1.1\r\n${last}Transfer-Encoding: chunked\r\n\r\n`
      const chunked = yield* exchange(port, head, '5\r\n{"a":\r\n', "2\r\n1}\r\n", "0\r\n\r\n")
      assert.include(chunked, '{"a":1}')
    })
  )

  fact(
    "answers a body that is too long after reading it, and a body that is not JSON",
    Effect.gen(function* () {
      const port = yield* serve(echo, isTraced)
      const size = 256 * 1024 + 1
      const long = yield* exchange(port, `POST / HTTP/1.1\r\n${last}Content-Length: ${size}\r\n\r\n${" ".repeat(size)}`)
      assert.match(long, /^HTTP\/1.1 413 /)
      const none = yield* exchange(port, `POST / HTTP/1.1\r\n${last}Content-Length: 1\r\n\r\n{`)
      assert.match(none, /^HTTP\/1.1 400 /)
    })
  )

  fact(
    "answers HEAD without a body, and requests on one connection in order",
    Effect.gen(function* () {
      const app = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) =>
        HttpServerResponse.text(`this is ${url}`)
      )
      const port = yield* serve(app, isTraced)
      const head = yield* exchange(port, `HEAD /1 HTTP/1.1\r\n${last}\r\n`)
      assert.match(head, /content-length: 10/i)
      assert.notInclude(head, "this is")
      const several = yield* exchange(port, `GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n${last}\r\n`)
      assert.deepStrictEqual(several.match(/this is \/[12]/g), ["this is /1", "this is /2"])
    })
  )

  fact(
    "lets handlers change any response, and closes the request's scope",
    Effect.gen(function* () {
      const closed = yield* Deferred.make<void>()
      const mark = HttpApp.appendPreResponseHandler((_, response) =>
        Effect.succeed(HttpServerResponse.setHeader(response, "x-mark", "here"))
      )
      const finalized = Effect.addFinalizer(() => Deferred.succeed(closed, undefined))
      const port = yield* serve(Effect.zipRight(mark, Effect.zipRight(finalized, Effect.fail("no"))), isTraced)
      const answer = yield* exchange(port, `GET / HTTP/1.1\r\n${last}\r\n`)
      assert.match(answer, /^HTTP\/1.1 500 /)
      assert.match(answer, /x-mark: here/i)
      yield* Deferred.await(closed)
    })
  )

  fact(
    "runs a middleware around the app, and answers with the middleware's own response or failure",
    Effect.gen(function* () {
      const server = yield* HttpServer.HttpServer
      const middleware = HttpMiddleware.make((app) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => {
          if (url === "/own") return Effect.succeed(HttpServerResponse.empty({ status: 418 }))
          return url === "/failed" ? Effect.die("no") : app
        })
      )
      yield* Effect.withTracerEnabled(
        server.serve(Effect.succeed(HttpServerResponse.text("app")), middleware),
        isTraced
      )
      const port = server.address._tag === "TcpAddress" ? server.address.port : 0
      const ask = (path: string) => exchange(port, `GET ${path} HTTP/1.1\r\n${last}\r\n`)
      assert.match(yield* ask("/own"), /^HTTP\/1.1 418 /)
      assert.match(yield* ask("/failed"), /^HTTP\/1.1 500 /)
      assert.match(yield* ask("/"), /^HTTP\/1.1 200 .*app$/s)
    })
  )

  fact(
    "writes streams of any kind, and text, to their end",
    Effect.gen(function* () {
      const bytes = (text: string) => new TextEncoder().encode(text)
      const bodies: Record<string, HttpServerResponse.HttpServerResponse> = {
        "/stream": HttpServerResponse.stream(Stream.map(Stream.make("one ", "two"), bytes)),
        "/source": HttpServerResponse.stream(
          Pull.toStream(() => {
            const left = ["one ", "two"]
            const next = Effect.suspend(() => {
              const text = left.shift()
              return text === undefined ? Effect.fail(Option.none<never>()) : Effect.succeed(Chunk.of(bytes(text)))
            })
            return { pull: next, close: () => Effect.void }
          })
        ),
        "/raw": HttpServerResponse.raw("one two", { contentLength: 7 })
      }
      const app = Effect.map(
        HttpServerRequest.HttpServerRequest,
        ({ url }) => bodies[url] ?? HttpServerResponse.empty({ status: 404 })
      )
      const port = yield* serve(app, isTraced)
      for (const path of Object.keys(bodies)) {
        const answer = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}${path}`).then((got) => got.text()))
        assert.strictEqual(answer, "one two")
      }
    })
  )

  fact(
    "pauses for a slow reader, and closes the stream when the client disconnects",
    Effect.gen(function* () {
      const closed = yield* Deferred.make<void>()
      const pulled = { pieces: 0 }
      const port = yield* serve(
        Effect.sync(() => HttpServerResponse.stream(endless(pulled, closed))),
        isTraced
      )
      const socket = Net.connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
      socket.pause()
      yield* Effect.sleep("300 millis")
      const before = pulled.pieces
      assert.isAbove(before, 0)
      yield* Effect.sleep("300 millis")
      assert.strictEqual(pulled.pieces, before)
      socket.destroy()
      yield* Deferred.await(closed)
    })
  )

  fact(
    "ends an answer whose stream cannot be opened",
    Effect.gen(function* () {
      const broken = Pull.toStream((): Pull.Source<Uint8Array, never> => {
        throw new Error("broken")
      })
      const port = yield* serve(
        Effect.sync(() => HttpServerResponse.stream(broken)),
        isTraced
      )
      assert.match(yield* exchange(port, `GET / HTTP/1.1\r\n${last}\r\n`), /^HTTP\/1.1 200 /)
    })
  )

  fact(
    "interrupts the handler when its client disconnects",
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const left = yield* Deferred.make<void>()
      const work = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
      const app = Effect.onInterrupt(Effect.interruptible(work), () => Deferred.succeed(left, undefined))
      const port = yield* serve(app, isTraced)
      const socket = Net.connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
      yield* Deferred.await(begun)
      socket.destroy()
      yield* Deferred.await(left)
    })
  )
})

describe("a span of the listener", () => {
  it.scopedLive("records that the client left its stream", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<unknown>()
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (name, parent, context, links, startTime, kind) => {
          const attributes = new Map<string, unknown>()
          return {
            _tag: "Span",
            name,
            spanId: "1",
            traceId: "1",
            sampled: true,
            status: { _tag: "Started", startTime },
            parent,
            context,
            links,
            kind,
            attributes,
            attribute: (name, value) => attributes.set(name, value),
            event: () => {},
            addLinks: () => {},
            end: () => Deferred.unsafeDone(ended, Effect.succeed(attributes.get("http.response.status_code")))
          }
        }
      })
      const server = yield* HttpServer.HttpServer
      const closed = yield* Deferred.make<void>()
      const app = Effect.sync(() => HttpServerResponse.stream(endless({ pieces: 0 }, closed)))
      yield* Effect.withTracer(server.serve(app), tracer)
      const port = server.address._tag === "TcpAddress" ? server.address.port : 0
      const socket = Net.connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
      socket.once("data", () => socket.destroy())
      yield* Deferred.await(closed)
      assert.strictEqual(yield* Deferred.await(ended), 499)
    }).pipe(Effect.provide(Server.layer({ host: "127.0.0.1", port: 0 })))
  )
})
