import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http"
import { Server as TcpServer } from "node:net"
import type { Duplex } from "node:stream"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Context, type Duration, Effect, Layer, Schedule } from "effect"
import { Chat } from "../services/Chat.ts"

export interface ServerOptions {
  readonly host: string
  readonly port: number
}

/** The listener itself, for whoever has to close it with care. */
export class Listener extends Context.Tag("taskchat/server/Listener")<Listener, Server>() {}

/** What Node.js answers by itself, such as to a request without `Host`, is to have an id as every answer has. */
class Response<Request extends IncomingMessage> extends ServerResponse<Request> {
  constructor(request: Request) {
    super(request)
    this.setHeader("x-request-id", crypto.randomUUID())
  }
}

/** Answers what is no request to anyone else, and closes the connection. */
const refuse = (socket: Duplex, status: number, code: string, title: string, headers = "") => {
  const requestId = crypto.randomUUID()
  const body = JSON.stringify({
    type: `/problems/${code}`,
    title,
    status,
    detail: "The request could not be read.",
    code,
    request_id: requestId
  })
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: application/problem+json\r\nX-Request-Id: ${requestId}\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
  )
}

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
        return refuse(socket, 431, "headers_too_large", "Request Header Fields Too Large")
      case "ERR_HTTP_REQUEST_TIMEOUT":
        return refuse(socket, 408, "request_timeout", "Request Timeout")
      default:
        return refuse(socket, 400, "invalid_request", "Bad Request")
    }
  })
  server.on("connect", (_, socket) => {
    // Its client may reset it, which nobody has to hear of.
    socket.on("error", () => socket.destroy())
    refuse(socket, 405, "method_not_allowed", "Method Not Allowed", "Allow: \r\n")
  })
  // Whatever else is expected of us than "100-continue", the answer says what came of it.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response))
  // Many a client of HTTP/2 asks for that with its first request and goes on in HTTP/1.1 if nobody minds. While someone
  // listens for upgrades, Node.js leaves that request without its body.
  server.on("newListener", (event, listen) => {
    if (event === "upgrade") process.nextTick(() => server.off("upgrade", listen))
  })
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
  Layer.unwrapEffect(Effect.map(Listener, (server) => NodeHttpServer.layer(() => server, options))).pipe(
    Layer.provideMerge(listener)
  )

/**
 * Ends the service in order, when the scope closes: no new turns while the running ones get `grace` to end, then no new
 * requests while the open ones are answered, and only then everything that they need. It has to be the outermost layer,
 * so that it is closed first.
 */
export const drained = (grace: Duration.Duration) =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const server = yield* Listener
      const chat = yield* Chat
      const open = new Set<ServerResponse>()
      let isDraining = false
      server.prependListener("request", (_, response: ServerResponse) => {
        if (isDraining) response.setHeader("connection", "close")
        open.add(response)
        response.once("close", () => open.delete(response))
      })
      const answered = Effect.suspend(() => {
        server.closeIdleConnections()
        return Effect.succeed(open.size === 0)
      })
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          isDraining = true
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
