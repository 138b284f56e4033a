import { createServer, IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http"
import { Server as TcpServer } from "node:net"
import type { Duplex } from "node:stream"
import { type Headers, type HttpApp, HttpServerRequest } from "@effect/platform"
import * as Platform from "@effect/platform/HttpServer"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Schedule } from "effect"
import { type AnyProblem, contentType, documentOf } from "../domain/Problem.ts"
import { HeadersTooLarge, InvalidRequest, MethodNotAllowed, RequestTimeout } from "../domain/Request.ts"
import { Draining } from "../http/Draining.ts"
import { exchange } from "../http/Exchange.ts"
import * as HttpServer from "../runtime/HttpServer.ts"
import { Chat } from "../services/turns/Chat.ts"

export interface ServerOptions {
  readonly host: string
  readonly port: number
}

/** The Node.js server, for a graceful shutdown. */
export class Listener extends Context.Tag("taskchat/server/Listener")<Listener, Server>() {}

/** Answers a request that Node.js could not parse, and closes the connection. */
const refuse = (socket: Duplex, problem: AnyProblem) => {
  const { status } = problem.about
  const requestId = crypto.randomUUID()
  const body = JSON.stringify(documentOf(problem, requestId))
  const fields = {
    "Content-Type": contentType,
    "X-Request-Id": requestId,
    "X-Content-Type-Options": "nosniff",
    ...problem.headers,
    "Content-Length": Buffer.byteLength(body),
    Connection: "close"
  }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join("")}\r\n${body}`)
}

const unreadable = new InvalidRequest({
  detail: "The request could not be read.",
  errors: [{ path: "", message: "the request is not valid HTTP/1.1" }]
})

/** The problem for each error code of Node.js. */
const problems: Readonly<Record<string, AnyProblem>> = {
  HPE_HEADER_OVERFLOW: new HeadersTooLarge(),
  ERR_HTTP_REQUEST_TIMEOUT: new RequestTimeout()
}

const wrongHost = new InvalidRequest({
  errors: [{ path: "host", message: "must be one host name or address, with or without a port" }]
})

/** A host name, an IPv4 address, or an IPv6 address in brackets, with an optional port. */
const isHost = (host: string) => /^([\w.-]{1,255}|\[[\da-f:.]{2,45}\])(:\d{1,5})?$/i.test(host)

/** Node.js joins several `Host` fields with commas, which `isHost` refuses. HTTP/1.0 needs no `Host`. */
const isAddressed = ({ host }: Headers.Headers, version: string) =>
  host === undefined ? version === "1.0" : isHost(host)

/** Accepts only requests that a proxy and this service read in the same way, for the same host. */
const addressed = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, source }) => {
    const version = source instanceof IncomingMessage ? source.httpVersion : "1.1"
    if (!/^1\./.test(version)) return exchange(unreadable, "*")
    return isAddressed(headers, version) ? app : exchange(wrongHost, "*")
  })

const listener = Layer.sync(Listener, () => {
  const server = createServer({
    // An incomplete request must not keep a connection open. There is no limit for responses, which may be streams.
    headersTimeout: 15_000,
    requestTimeout: 30_000,
    // Longer than a proxy's timeout, so that the proxy never uses a connection that the service has closed.
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: 5_000,
    // Join duplicates instead of picking one: a proxy may have checked the other token or content type.
    joinDuplicateHeaders: true,
    // `wrongHost` has a body that explains the error.
    requireHostHeader: false
  })
  // No limit on the count: Node.js would drop headers after the 2,000th, which a proxy may have read. The size is
  // limited.
  server.maxHeadersCount = 0
  /** The response to the last request of each connection. */
  const answers = new WeakMap<Duplex, ServerResponse>()
  server.on("request", ({ socket }, response) => void answers.set(socket, response))
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return socket.destroy()
    // Ignore data after the last request of a connection.
    if (error.code === "HPE_CLOSED_CONNECTION") return
    const problem = problems[error.code ?? ""] ?? unreadable
    const before = answers.get(socket)
    if (before === undefined || !before.req.complete || before.writableFinished) return refuse(socket, problem)
    // First complete the responses to the earlier requests.
    before.once("close", () => {
      if (socket.writable) refuse(socket, problem)
    })
  })
  server.on("connect", (_, socket) => {
    // The client may reset the connection. That is not an error.
    socket.on("error", () => socket.destroy())
    refuse(socket, new MethodNotAllowed({ headers: { allow: "" } }))
  })
  // Handle a request with another `Expect` than "100-continue" as any other request.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response))
  // The server listens before its request handler is set. Requests in between wait for the handler.
  const early: Array<[IncomingMessage, ServerResponse]> = []
  const hold = (request: IncomingMessage, response: ServerResponse) => void early.push([request, response])
  server.on("request", hold)
  server.on("newListener", (event) => {
    if (event !== "request") return
    server.off("request", hold)
    process.nextTick(() => {
      for (const exchange of early.splice(0)) server.emit("request", ...exchange)
    })
  })
  return server
})

/** Listens on `host` and `port`. Port 0 means any free port. */
export const layer = (options: ServerOptions) =>
  Layer.scoped(
    Platform.HttpServer,
    Effect.map(
      Effect.flatMap(Listener, (server) => HttpServer.make(server, options)),
      ({ address, serve }) =>
        Platform.make({
          address,
          serve: (app, middleware) =>
            middleware === undefined ? serve(addressed(app)) : serve(addressed(app), middleware)
        })
    )
  ).pipe(Layer.provideMerge(Layer.merge(listener, draining)))

const draining = Layer.sync(Draining, () => ({ isDraining: false }))

export interface DrainOptions {
  /** How long the node is not ready but still serves, so that load balancers notice. */
  readonly delay: Duration.Duration
  /** How long running turns may continue. */
  readonly grace: Duration.Duration
}

/** Completes on the second stop signal. The first one closes the scope of this layer. */
const secondSignal = Effect.gen(function* () {
  const second = yield* Deferred.make<void>()
  let signals = 0
  const onSignal = () => {
    signals++
    if (signals === 2) Deferred.unsafeDone(second, Effect.void)
  }
  // Listen until the scope closes: a signal without a listener ends the process at once.
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, onSignal)
    }),
    () =>
      Effect.sync(() => {
        for (const signal of ["SIGTERM", "SIGINT"] as const) process.off(signal, onSignal)
      })
  )
  return Deferred.await(second)
})

/**
 * Shuts down in order when the scope closes. For `delay`, the node is not ready but still serves. For `grace`, it
 * accepts no new turns while the running ones continue. Then it accepts no new requests and completes the open ones.
 * The services are released last. A second signal ends both waits. From the start of the shutdown, every response
 * closes its connection, so that no proxy reuses it. This must be the outermost layer, so that it is released first.
 */
export const drained = ({ delay, grace }: DrainOptions) =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const server = yield* Listener
      const chat = yield* Chat
      const node = yield* Draining
      const stopNow = yield* secondSignal
      let open = 0
      server.prependListener("request", (_, response: ServerResponse) => {
        if (node.isDraining) response.setHeader("connection", "close")
        open++
        response.once("close", () => {
          open--
        })
      })
      const answered = Effect.suspend(() => {
        server.closeIdleConnections()
        return Effect.succeed(open === 0)
      })
      const drain = Effect.gen(function* () {
        Object.assign(node, { isDraining: true })
        yield* Effect.raceFirst(Effect.zipRight(Effect.sleep(delay), chat.drain(grace)), stopNow)
        yield* chat.drain(Duration.zero)
        // Accept no more connections, but keep the new ones: their clients are about to send a request. `close` of an
        // HTTP server would close them as idle.
        TcpServer.prototype.close.call(server)
        yield* Effect.sleep("500 millis")
        yield* answered.pipe(
          Effect.repeat({ until: (isDone) => isDone, schedule: Schedule.spaced("20 millis") }),
          Effect.timeoutOption("5 seconds")
        )
        server.closeAllConnections()
      })
      // Timeouts need an interruptible fiber. The fiber that closes the scope is not one.
      yield* Effect.addFinalizer(() => Effect.flatMap(Effect.forkDaemon(Effect.interruptible(drain)), Fiber.await))
    })
  )
