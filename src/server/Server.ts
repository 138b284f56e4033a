import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeader,
  type OutgoingHttpHeaders,
  type Server,
  ServerResponse,
  STATUS_CODES
} from "node:http"
import { Server as TcpServer } from "node:net"
import type { Duplex } from "node:stream"
import * as Platform from "@effect/platform/HttpServer"
import { Context, type Duration, Effect, Layer, Schedule } from "effect"
import { type AnyProblem, contentType, documentOf } from "../domain/Problem.ts"
import { HeadersTooLarge, InvalidRequest, MethodNotAllowed, RequestTimeout } from "../domain/Request.ts"
import { Leaving } from "../http/Leaving.ts"
import * as HttpServer from "../runtime/HttpServer.ts"
import { Chat } from "../services/turns/Chat.ts"

export interface ServerOptions {
  readonly host: string
  readonly port: number
}

/** The listener itself, for whoever has to close it with care. */
export class Listener extends Context.Tag("taskchat/server/Listener")<Listener, Server>() {}

/** What Node.js answers by itself, such as to a request without `Host`, is to have an id as every answer has. */
class Response<Request extends IncomingMessage> extends ServerResponse<Request> {
  override writeHead(status: number, reason?: string | Fields, fields?: Fields): this {
    const given = typeof reason === "string" ? fields : reason
    if (given === undefined || !("x-request-id" in given)) this.setHeader("x-request-id", crypto.randomUUID())
    return typeof reason === "string" ? super.writeHead(status, reason, fields) : super.writeHead(status, reason)
  }
}

type Fields = OutgoingHttpHeaders | Array<OutgoingHttpHeader>

/** Answers what is no request to anyone else, and closes the connection. */
const refuse = (socket: Duplex, problem: AnyProblem) => {
  const { status } = problem.about
  const requestId = crypto.randomUUID()
  const body = JSON.stringify(documentOf(problem, requestId))
  const fields = {
    "Content-Type": contentType,
    "X-Request-Id": requestId,
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

const listener = Layer.sync(Listener, () => {
  const server = createServer({
    ServerResponse: Response,
    // Half a request must not hold a connection for ever; an answer, SSE included, may take its time.
    headersTimeout: 15_000,
    requestTimeout: 30_000,
    // Longer than a proxy's own, so that it is never the proxy who finds its connection closed.
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: 5_000,
    // Of two tokens, or two types of one body, none is to be picked where a proxy may have looked at the other.
    joinDuplicateHeaders: true
  })
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return socket.destroy()
    switch (error.code) {
      case "HPE_HEADER_OVERFLOW":
        return refuse(socket, new HeadersTooLarge())
      case "ERR_HTTP_REQUEST_TIMEOUT":
        return refuse(socket, new RequestTimeout())
      default:
        return refuse(socket, unreadable)
    }
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
    Effect.flatMap(Listener, (server) => HttpServer.make(server, options))
  ).pipe(Layer.provideMerge(Layer.merge(listener, leaving)))

/** A node's own; all of a layer's uses share it. */
const leaving = Layer.sync(Leaving, () => ({ isLeaving: false }))

export interface DrainOptions {
  /** For balancers to see that the node is not ready, while it serves as ever. */
  readonly delay: Duration.Duration
  /** For running turns to end. */
  readonly grace: Duration.Duration
}

/**
 * Ends the service in order, when the scope closes: it is not ready but serves for `delay`, then takes no new turns while the
 * running ones get `grace` to end, then no new requests while the open ones are answered, and only then everything that they
 * need goes. From the first moment every answer closes its connection, so that no proxy uses one that is being closed. It has
 * to be the outermost layer, so that it is closed first.
 */
export const drained = ({ delay, grace }: DrainOptions) =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const server = yield* Listener
      const chat = yield* Chat
      const node = yield* Leaving
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
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          Object.assign(node, { isLeaving: true })
          yield* Effect.sleep(delay)
          yield* chat.drain(grace)
          // No more connections; but whoever has just made one is about to send a request over it and shall get an answer.
          // An HTTP server's own `close` would cut it off for being idle.
          TcpServer.prototype.close.call(server)
          yield* Effect.sleep("500 millis")
          yield* answered.pipe(
            Effect.repeat({ until: (isDone) => isDone, schedule: Schedule.spaced("20 millis") }),
            Effect.timeoutOption("5 seconds")
          )
          server.closeAllConnections()
        }).pipe(Effect.interruptible)
      )
    })
  )
