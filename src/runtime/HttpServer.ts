import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from "node:http"
import type { ListenOptions, Socket } from "node:net"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import {
  type HttpApp as App,
  Cookies,
  type HttpMiddleware,
  HttpServer,
  HttpServerError,
  HttpServerResponse
} from "@effect/platform"
import { Effect, FiberRef, Option, Runtime, type Scope, type Stream } from "effect"
import * as FiberState from "./FiberState.ts"
import * as HttpApp from "./HttpApp.ts"
import { ServerRequest } from "./HttpServerRequest.ts"
import { maxWait } from "./JsonBody.ts"
import * as Pull from "./Pull.ts"

/**
 * Serves over a listener of Node.js. Stands for `NodeHttpServer.make`. Writes a stream directly from its source
 * (`Pull.ts`), and text together with the headers in one write. Handles the requests of a connection one after another, so
 * that thousands in one packet do not delay others.
 * Saves: `npm run bench -- --only json,tokens --servers taskchat,stock-HttpServer`.
 * Delete when: that row shows less than 5 %.
 */
export const make = (server: Server, options: ListenOptions) =>
  Effect.gen(function* () {
    yield* Effect.acquireRelease(listen(server, options), () => close(server))
    const address = server.address()
    return HttpServer.make({
      address:
        typeof address === "object" && address !== null
          ? { _tag: "TcpAddress", hostname: address.address === "::" ? "0.0.0.0" : address.address, port: address.port }
          : { _tag: "UnixAddress", path: address ?? "" },
      serve: (app, middleware) =>
        Effect.flatMap(Effect.runtime<never>(), (runtime) => {
          const handle = handler(runtime, app, middleware)
          return Effect.acquireRelease(
            Effect.sync(() => server.on("request", handle)),
            () => Effect.sync(() => server.off("request", handle))
          )
        })
    })
  })

const listen = (server: Server, options: ListenOptions) =>
  Effect.async<void, HttpServerError.ServeError>((resume) => {
    const failed = (cause: Error) => resume(new HttpServerError.ServeError({ cause }))
    server.once("error", failed)
    server.listen(options, () => {
      server.off("error", failed)
      resume(Effect.void)
    })
  })

const close = (server: Server) =>
  Effect.async<void>((resume) => {
    if (!server.listening) return resume(Effect.void)
    server.close((error) => resume(error === undefined ? Effect.void : Effect.die(error)))
  })

const handler = (
  runtime: Runtime.Runtime<never>,
  app: App.Default<unknown, Scope.Scope>,
  middleware?: HttpMiddleware.HttpMiddleware
) => {
  const fork = Runtime.runFork(runtime)
  return inTurn((incoming, outgoing) => {
    const request = new ServerRequest(incoming)
    const answer = (response: HttpServerResponse.HttpServerResponse) =>
      isCutShort(incoming, outgoing)
        ? Effect.zipRight(readPast(incoming), write(outgoing, request, response, runtime))
        : write(outgoing, request, response, runtime)
    const fiber = fork(Effect.zipRight(HttpApp.toHandled(app, request, answer, middleware), FiberState.forget))
    outgoing.once("close", () => {
      if (!outgoing.writableEnded) fiber.unsafeInterruptAsFork(HttpServerError.clientAbortFiberId)
    })
  })
}

type Handle = (incoming: IncomingMessage, outgoing: ServerResponse) => void

/** Requests of a connection that wait for the one before them. */
const maxWaiting = 100

/** Handles a request after those before it on its connection, and lets other connections run in between. */
const inTurn = (handle: Handle): Handle => {
  const waiting = new WeakMap<Socket, Array<readonly [IncomingMessage, ServerResponse]>>()
  const begin: Handle = (incoming, outgoing) => {
    const { socket } = incoming
    outgoing.once("close", () => {
      const next = waiting.get(socket)?.shift()
      if (next === undefined || socket.destroyed) waiting.delete(socket)
      else setImmediate(begin, ...next)
    })
    handle(incoming, outgoing)
  }
  return (incoming, outgoing) => {
    const before = waiting.get(incoming.socket)
    if (before === undefined) {
      waiting.set(incoming.socket, [])
      begin(incoming, outgoing)
    } else if (before.length < maxWaiting) before.push([incoming, outgoing])
    else {
      // The client repeats requests without an answer when the connection closes (RFC 9112, section 9.3.2).
      const last = before.at(-1)
      if (last !== undefined) last[1].shouldKeepAlive = false
    }
  }
}

/**
 * Whether the client is still sending an unread body over a connection that closes after the answer. Closing it then would
 * reset it, and the client might not see the answer. On other connections Node.js discards the rest of the body.
 */
const isCutShort = (incoming: IncomingMessage, outgoing: ServerResponse) =>
  !incoming.complete &&
  !outgoing.shouldKeepAlive &&
  (incoming.headers["transfer-encoding"] !== undefined || Number(incoming.headers["content-length"]) <= maxWait)

/** Waits for the end of a body, or of its first `maxWait` bytes. */
const readPast = (incoming: IncomingMessage) =>
  Effect.async<void>((resume) => {
    let size = 0
    const over = () => {
      incoming.off("data", count)
      resume(Effect.void)
    }
    const count = (piece: Buffer) => {
      size += piece.length
      if (size > maxWait) over()
    }
    incoming.on("data", count).once("end", over).once("close", over)
  })

/** Writes an answer, unless one was sent already or the client has left. */
const write = (
  outgoing: ServerResponse,
  request: ServerRequest,
  response: HttpServerResponse.HttpServerResponse,
  runtime: Runtime.Runtime<never>
): Effect.Effect<void, HttpServerError.ResponseError> =>
  Effect.suspend(() => {
    if (outgoing.headersSent || outgoing.destroyed) return Effect.void
    const { body, status } = response
    outgoing.writeHead(status, headersOf(response))
    if (request.method === "HEAD") {
      outgoing.end()
      return Effect.void
    }
    switch (body._tag) {
      case "Empty":
        outgoing.end()
        return Effect.void
      case "Uint8Array":
        outgoing.end(body.body)
        return Effect.void
      case "Stream":
        // There are many long streams: keep nothing of the request for them.
        return Effect.locally(pump(outgoing, body.stream), FiberRef.currentContext, runtime.context)
      default: {
        if (body._tag === "Raw" && typeof body.body === "string") {
          outgoing.end(body.body)
          return Effect.void
        }
        // Files and forms, which the web types can read.
        const web = HttpServerResponse.toWeb(response, { runtime })
        return Effect.tryPromise({
          try: (signal) => pipeline(web.body === null ? [] : Readable.fromWeb(web.body), outgoing, { signal }),
          catch: (cause) => new HttpServerError.ResponseError({ request, response, reason: "Decode", cause })
        }).pipe(Effect.interruptible)
      }
    }
  })

const headersOf = ({ cookies, headers }: HttpServerResponse.HttpServerResponse): OutgoingHttpHeaders =>
  Cookies.isEmpty(cookies) ? headers : { ...headers, "set-cookie": Cookies.toSetCookieHeaders(cookies) }

/** Writes a stream piece by piece, with backpressure. */
const pump = <E>(outgoing: ServerResponse, stream: Stream.Stream<Uint8Array, E>): Effect.Effect<void> =>
  Effect.suspend(() => {
    let source: Pull.Source<Uint8Array, E> | undefined
    const pumped = Effect.suspend(() => {
      source = Pull.fromStream(stream)
      const next: Effect.Effect<never, Option.Option<E>> = Effect.flatMap(source.pull, (pieces) => {
        let isTaken = true
        for (const piece of pieces) isTaken = outgoing.write(piece)
        return isTaken ? next : Effect.zipRight(drained(outgoing), next)
      })
      return next
    })
    return Effect.interruptible(pumped).pipe(
      Effect.catchAll((end) => (Option.isNone(end) ? Effect.void : Effect.die(end.value))),
      Effect.onExit((exit) => {
        outgoing.end()
        return source?.close(exit) ?? Effect.void
      })
    )
  })

const drained = (outgoing: ServerResponse) =>
  Effect.async<void>((resume) => {
    outgoing.once("drain", () => resume(Effect.void))
  })
