import { createServer, IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http"
import { Server as TcpServer } from "node:net"
import type { Duplex } from "node:stream"
import { type Headers, type HttpApp, HttpServerRequest } from "@effect/platform"
import * as Platform from "@effect/platform/HttpServer"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Schedule } from "effect"
import { type AnyProblem, contentType, documentOf } from "../domain/Problem.ts"
import { HeadersTooLarge, InvalidRequest, MethodNotAllowed, RequestTimeout } from "../domain/Request.ts"
import { exchange } from "../http/Exchange.ts"
import { Leaving } from "../http/Leaving.ts"
import * as HttpServer from "../runtime/HttpServer.ts"
import { Chat } from "../services/turns/Chat.ts"

export interface ServerOptions {
  readonly host: string
  readonly port: number
}

/** The listener itself, for whoever has to close it with care. */
export class Listener extends Context.Tag("taskchat/server/Listener")<Listener, Server>() {}

/** Answers what is no request to anyone else, and closes the connection. */
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

/** What is told of what Node.js could not read, by its code for that. */
const problems: Readonly<Record<string, AnyProblem>> = {
  HPE_HEADER_OVERFLOW: new HeadersTooLarge(),
  ERR_HTTP_REQUEST_TIMEOUT: new RequestTimeout()
}

const wrongHost = new InvalidRequest({
  errors: [{ path: "host", message: "must be one host name or address, with or without a port" }]
})

/** A name or an IPv4 address, or an IPv6 address in brackets. */
const isHost = (host: string) => /^([\w.-]{1,255}|\[[\da-f:.]{2,45}\])(:\d{1,5})?$/i.test(host)

/** Several `Host` fields come joined by commas. HTTP/1.0 needs none. */
const isAddressed = ({ host }: Headers.Headers, version: string) =>
  host === undefined ? version === "1.0" : isHost(host)

/** Passes on only what a proxy and this service take to be the same request, meant for the same host. */
const addressed = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, source }) => {
    const version = source instanceof IncomingMessage ? source.httpVersion : "1.1"
    if (!/^1\./.test(version)) return exchange(unreadable, "*")
    return isAddressed(headers, version) ? app : exchange(wrongHost, "*")
  })

const listener = Layer.sync(Listener, () => {
  const server = createServer({
    // Half a request must not hold a connection for ever; an answer, SSE included, may take its time.
    headersTimeout: 15_000,
    requestTimeout: 30_000,
    // Longer than a proxy's own, so that it is never the proxy who finds its connection closed.
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: 5_000,
    // Of two tokens, or two types of one body, none is to be picked where a proxy may have looked at the other.
    joinDuplicateHeaders: true,
    // Ours has a body that says what is wrong.
    requireHostHeader: false
  })
  // Node.js would leave out those past the 2,000th, which a proxy may have looked at. Their size is bounded.
  server.maxHeadersCount = 0
  /** By connection, the answer to its last request. */
  const answers = new WeakMap<Duplex, ServerResponse>()
  server.on("request", ({ socket }, response) => void answers.set(socket, response))
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return socket.destroy()
    // Whatever follows the last request of a connection is read past.
    if (error.code === "HPE_CLOSED_CONNECTION") return
    const problem = problems[error.code ?? ""] ?? unreadable
    const before = answers.get(socket)
    if (before === undefined || !before.req.complete || before.writableFinished) return refuse(socket, problem)
    // The answers to the requests before it come first, and whole.
    before.once("close", () => {
      if (socket.writable) refuse(socket, problem)
    })
  })
  server.on("connect", (_, socket) => {
    // Its client may reset it, which nobody has to hear of.
    socket.on("error", () => socket.destroy())
    refuse(socket, new MethodNotAllowed({ headers: { allow: "" } }))
  })
  // Whatever else is expected of us than "100-continue", the answer says what came of it.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response))
  // It listens a moment before there is anyone to answer: who comes meanwhile waits, and is not left without an answer.
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

/** Listens on `host` and `port`; 0 takes a free one. */
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
  ).pipe(Layer.provideMerge(Layer.merge(listener, leaving)))

/** A node's own; all of a layer's uses share it. */
const leaving = Layer.sync(Leaving, () => ({ isLeaving: false }))

export interface DrainOptions {
  /** For balancers to see that the node is not ready, while it serves as ever. */
  readonly delay: Duration.Duration
  /** For running turns to end. */
  readonly grace: Duration.Duration
}

/** Completes when the process is told to stop a second time; the first time closes this layer's scope. */
const secondSignal = Effect.gen(function* () {
  const told = yield* Deferred.make<void>()
  let signals = 0
  const onSignal = () => {
    signals++
    if (signals === 2) Deferred.unsafeDone(told, Effect.void)
  }
  // For as long as the process runs: a signal that nobody listens to would end it at once.
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, onSignal)
    }),
    () =>
      Effect.sync(() => {
        for (const signal of ["SIGTERM", "SIGINT"] as const) process.off(signal, onSignal)
      })
  )
  return Deferred.await(told)
})

/**
 * Ends the service in order, when the scope closes: it is not ready but serves for `delay`, then takes no new turns while the
 * running ones get `grace` to end, then no new requests while the open ones are answered, and only then everything that they
 * need goes. A second signal cuts both times short. From the first moment every answer closes its connection, so that no
 * proxy uses one that is being closed. It has to be the outermost layer, so that it is closed first.
 */
export const drained = ({ delay, grace }: DrainOptions) =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const server = yield* Listener
      const chat = yield* Chat
      const node = yield* Leaving
      const toldAgain = yield* secondSignal
      let open = 0
      server.prependListener("request", (_, response: ServerResponse) => {
        if (node.isLeaving) response.setHeader("connection", "close")
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
        Object.assign(node, { isLeaving: true })
        yield* Effect.raceFirst(Effect.zipRight(Effect.sleep(delay), chat.drain(grace)), toldAgain)
        yield* chat.drain(Duration.zero)
        // No more connections; but whoever has just made one is about to send a request over it and shall get an answer.
        // An HTTP server's own `close` would cut it off for being idle.
        TcpServer.prototype.close.call(server)
        yield* Effect.sleep("500 millis")
        yield* answered.pipe(
          Effect.repeat({ until: (isDone) => isDone, schedule: Schedule.spaced("20 millis") }),
          Effect.timeoutOption("5 seconds")
        )
        server.closeAllConnections()
      })
      // Timeouts need a fiber that may be interrupted, and the one that closes the scope already is.
      yield* Effect.addFinalizer(() => Effect.flatMap(Effect.forkDaemon(Effect.interruptible(drain)), Fiber.await))
    })
  )
