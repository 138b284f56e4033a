import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { Clock, Context, type Duration, Effect, Layer, Runtime, type Scope } from "effect"
import { type Api, isRefusal, type ModelRequest, type Refusal, read } from "./ModelRequests.ts"
import * as Wire from "./ModelWire.ts"

export type { ModelRequest } from "./ModelRequests.ts"

/**
 * A fake provider of language models on a real socket, with OpenAI's Responses API, chat completions and Anthropic's
 * Messages API. It sends the same sequences of events as the real APIs and refuses the same requests. Scripts define
 * the answers.
 */
export class ModelServer extends Context.Tag("taskchat/testing/ModelServer")<
  ModelServer,
  {
    /** The `apiUrl` for a model. */
    readonly url: string
    /** A similar URL without a server. */
    readonly nowhere: string
    /** Each of the next requests gets one script, in order. */
    readonly enqueue: (...scripts: ReadonlyArray<Script>) => Effect.Effect<void>
    /** `rule` answers all other requests. It should be pure, because requests may be concurrent. */
    readonly answer: (rule: Rule) => Effect.Effect<void>
    /** The last 1,000 requests that were not refused, oldest first. */
    readonly requests: Effect.Effect<ReadonlyArray<ModelRequest>>
    readonly counts: Effect.Effect<Counts>
    /** Waits until the counts satisfy the predicate. */
    readonly until: (so: (counts: Counts) => boolean) => Effect.Effect<void>
  }
>() {
  static readonly layer = (options: Options = {}): Layer.Layer<ModelServer> => Layer.scoped(ModelServer, make(options))
}

export interface Options {
  /** The default answer. Unset: "OK". */
  readonly rule?: Rule
  /** Requests without it are refused with 401. */
  readonly apiKey?: string
  /** Default: a free port. */
  readonly port?: number
}

export type Rule = (request: ModelRequest) => Script

export interface Counts {
  readonly requests: number
  /** Requests refused as by the real API. */
  readonly refused: number
  /** Answers in progress. */
  readonly open: number
  /** Answers that the client closed before their end. */
  readonly abandoned: number
  /** TCP connections since the start. */
  readonly connections: number
}

/**
 * The answer to one request, step by step. The first step that writes also sends the headers and the first event. If no
 * step ends the answer, `finish()` ends it.
 */
export type Script = ReadonlyArray<Step>

export type Step =
  | { readonly _tag: "Write"; readonly write: (wire: Wire.Wire) => ReadonlyArray<string>; readonly tokens: number }
  | { readonly _tag: "Call"; readonly id: string | undefined; readonly name: string; readonly pieces: Pieces }
  | { readonly _tag: "Raw"; readonly bytes: string | Uint8Array }
  | { readonly _tag: "Wait"; readonly until: Effect.Effect<unknown> }
  | { readonly _tag: "Finish"; readonly reason: Wire.FinishReason; readonly tokens: Partial<Wire.Tokens> }
  | { readonly _tag: "End" }
  | { readonly _tag: "Cut" }
  | { readonly _tag: "Answer"; readonly status: number; readonly headers: Headers; readonly body: string }

type Pieces = ReadonlyArray<string>
type Headers = Readonly<Record<string, string>>

const write = (pieces: Pieces, f: (wire: Wire.Wire, piece: string) => string): Step => ({
  _tag: "Write",
  write: (wire) => pieces.map((piece) => f(wire, piece)),
  tokens: pieces.length
})

/** Text, one event for each piece. */
export const say = (...pieces: Pieces): Step => write(pieces, (wire, piece) => wire.text(piece))
/** A refusal text, which the APIs separate from normal text. */
export const refuse = (...pieces: Pieces): Step => write(pieces, (wire, piece) => wire.refusal(piece))
/** Reasoning before the text. */
export const think = (...pieces: Pieces): Step => write(pieces, (wire, piece) => wire.reasoning(piece))
/**
 * A tool call with a unique id. A string is sent unchanged, even if it is not JSON. `pieces` is the number of pieces.
 */
export const call = (
  name: string,
  parameters: unknown,
  options: { readonly id?: string; readonly pieces?: number } = {}
): Step => {
  const text = typeof parameters === "string" ? parameters : JSON.stringify(parameters)
  const size = Math.max(1, Math.ceil(text.length / (options.pieces ?? 2)))
  return { _tag: "Call", id: options.id, name, pieces: text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [] }
}
/** The headers and the first event. */
export const open: Step = write([], () => "")
/** Sends bytes unchanged. */
export const raw = (bytes: string | Uint8Array): Step => ({ _tag: "Raw", bytes })
/** A comment that keeps the connection alive. */
export const comment: Step = raw(": keep-alive\n\n")
/** Waits for `until`, for example until a test has seen the last piece. */
export const wait = (until: Effect.Effect<unknown>): Step => ({ _tag: "Wait", until })
/** Waits by the `Clock` of the layer. */
export const delay = (time: Duration.DurationInput): Step => wait(Effect.sleep(time))
/** Sends nothing more. As the first step, it sends no headers either. */
export const stall: Step = wait(Effect.never)
/** Ends the answer. The default usage is one token per item of the request and per piece. */
export const finish = (reason: Wire.FinishReason = "stop", tokens: Partial<Wire.Tokens> = {}): Step => ({
  _tag: "Finish",
  reason,
  tokens
})
/** Fails the answer (`response.failed` or an error chunk), after the headers. */
export const failed = (error: Wire.ApiError): Script => [write([""], (wire) => wire.failed(error)), end]
/** Fails the stream (`error` or an error chunk), after the headers. */
export const error = (error: Wire.ApiError): Script => [write([""], (wire) => wire.error(error)), end]
/** Closes the connection normally, even if the answer is incomplete. */
export const end: Step = { _tag: "End" }
/** Resets the connection. As the first step, it sends no headers. */
export const cut: Step = { _tag: "Cut" }
/** An answer without a stream. */
export const respond = (status: number, body: string, headers: Headers = {}): Step => ({
  _tag: "Answer",
  status,
  headers,
  body
})
/** An error before the stream. */
export const deny = (status: number, error: Partial<Wire.ApiError> = {}, headers: Headers = {}): Step =>
  respond(
    status,
    JSON.stringify({
      error: { message: `Status ${status}.`, type: "invalid_request_error", param: null, code: null, ...error }
    }),
    { "content-type": "application/json", ...headers }
  )

const make = (options: Options): Effect.Effect<typeof ModelServer.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    let rule: Rule = options.rule ?? (() => [say("OK")])
    let counts: Counts = { requests: 0, refused: 0, open: 0, abandoned: 0, connections: 0 }
    const queue: Array<Script> = []
    const requests: Array<ModelRequest> = []
    const watchers = new Set<() => void>()
    const add = (changes: Partial<Counts>) => {
      const { abandoned = 0, connections = 0, open = 0, refused = 0, requests = 0 } = changes
      counts = {
        requests: counts.requests + requests,
        refused: counts.refused + refused,
        open: counts.open + open,
        abandoned: counts.abandoned + abandoned,
        connections: counts.connections + connections
      }
      for (const watcher of watchers) watcher()
    }

    const onRequest = (request: ModelRequest | Refusal): [Script, ModelRequest | undefined] => {
      if (isRefusal(request)) {
        add({ refused: 1 })
        const { status, ...error } = request
        return [[deny(status, error)], undefined]
      }
      requests.push(request)
      if (requests.length > 1000) requests.shift()
      return [queue.shift() ?? rule(request), request]
    }

    const server = createServer((incoming, outgoing) => {
      add({ requests: 1, open: 1 })
      const exchange = { broken: false, outgoing }
      const play = Effect.flatMap(receive(incoming, options.apiKey), (received) => {
        const [script, request] = onRequest(received)
        return perform(exchange, script, request)
      })
      const fiber = fork(Effect.catchAllDefect(play, () => perform(exchange, [deny(500, { code: "bad_script" })])))
      outgoing.on("close", () => {
        add({ open: -1, abandoned: outgoing.writableFinished || exchange.broken ? 0 : 1 })
        fiber.unsafeInterruptAsFork(fiber.id())
      })
    })
    server.on("connection", () => add({ connections: 1 }))
    const listen = (port: number) =>
      Effect.async<number>((resume) => {
        server.listen(port, "127.0.0.1", () => resume(Effect.succeed(portOf(server.address()))))
      })
    const port = yield* Effect.acquireRelease(listen(options.port ?? 0), () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
    )

    return {
      url: `http://127.0.0.1:${port}/v1`,
      nowhere: `http://127.0.0.1:${yield* freePort}/v1`,
      enqueue: (...scripts) => Effect.sync(() => void queue.push(...scripts)),
      answer: (next) =>
        Effect.sync(() => {
          rule = next
        }),
      requests: Effect.sync(() => requests.slice()),
      counts: Effect.sync(() => counts),
      until: (so) =>
        Effect.async<void>((resume) => {
          const watcher = () => {
            if (!so(counts)) return
            watchers.delete(watcher)
            resume(Effect.void)
          }
          watchers.add(watcher)
          watcher()
          return Effect.sync(() => watchers.delete(watcher))
        })
    }
  })

interface Exchange {
  /** True if the script ended the answer, not the client. */
  broken: boolean
  readonly outgoing: ServerResponse
}

const perform = (exchange: Exchange, script: Script, request?: ModelRequest): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { outgoing } = exchange
    const id = crypto.randomUUID().replaceAll("-", "").slice(0, 20)
    const created = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const wire = Wire.make(request?.api ?? "responses", id, request?.model ?? "", created)
    let begun = false
    let finished = false
    let calls = 0
    let produced = 0

    const send = (bytes: string | Uint8Array): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (!outgoing.headersSent) {
          outgoing.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" })
          outgoing.flushHeaders()
        }
        if (bytes.length === 0 || outgoing.write(bytes)) return Effect.void
        return Effect.async<void>((resume) => void outgoing.once("drain", () => resume(Effect.void)))
      })
    const begin = Effect.suspend(() => {
      if (begun) return Effect.void
      begun = true
      return send(wire.begin())
    })
    const sendAll = (texts: ReadonlyArray<string>) => Effect.forEach(texts, send, { discard: true })

    for (const step of script) {
      switch (step._tag) {
        case "Write":
          yield* begin
          produced += step.tokens
          yield* sendAll(step.write(wire))
          break
        case "Call": {
          yield* begin
          produced += step.pieces.length
          yield* send(wire.callBegin(step.id ?? `call_${id}${calls++}`, step.name))
          yield* sendAll(step.pieces.map((piece) => wire.callDelta(piece)))
          yield* send(wire.callEnd())
          break
        }
        case "Raw":
          yield* send(step.bytes)
          break
        case "Wait":
          yield* step.until
          break
        case "Finish":
          yield* begin
          finished = true
          yield* send(wire.finish(step.reason, { input: request?.items.length ?? 0, output: produced, ...step.tokens }))
          break
        case "End":
          yield* send("")
          outgoing.end()
          return
        case "Cut":
          exchange.broken = true
          // Flush the written data first.
          yield* Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
          outgoing.destroy()
          return
        case "Answer":
          outgoing.writeHead(step.status, step.headers)
          outgoing.end(step.body)
          return
      }
    }
    if (!finished) {
      yield* begin
      yield* send(wire.finish("stop", { input: request?.items.length ?? 0, output: produced }))
    }
    outgoing.end()
  })

const receive = (incoming: IncomingMessage, apiKey: string | undefined): Effect.Effect<ModelRequest | Refusal> =>
  Effect.async((resume) => {
    const pieces: Array<Buffer> = []
    incoming.on("data", (piece: Buffer) => pieces.push(piece))
    incoming.on("end", () => {
      const path = incoming.url?.split("?")[0]
      const headers: Record<string, string> = {}
      for (const [name, value] of Object.entries(incoming.headers)) headers[name] = String(value)
      const api = path === undefined ? undefined : apis.get(path)
      const given = api === "messages" ? headers["x-api-key"] : headers["authorization"]?.slice("Bearer ".length)
      if (apiKey !== undefined && given !== apiKey) {
        const message = `Incorrect API key provided: ${given}.`
        return resume(Effect.succeed({ status: 401, message, code: "invalid_api_key" }))
      }
      if (api === undefined || incoming.method !== "POST") {
        return resume(Effect.succeed({ status: 404, message: `Invalid URL (${incoming.method} ${path})` }))
      }
      resume(Effect.succeed(read(api, headers, Buffer.concat(pieces).toString())))
    })
  })

const apis: ReadonlyMap<string, Api> = new Map([
  ["/v1/responses", "responses"],
  ["/v1/chat/completions", "chat-completions"],
  ["/v1/messages", "messages"]
])

const portOf = (address: ReturnType<Server["address"]>) =>
  typeof address === "object" && address !== null ? address.port : 0

/** A port without a server, free when it was chosen. */
const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const port = portOf(server.address())
    server.close(() => resume(Effect.succeed(port)))
  })
})
