import * as Http from "node:http"
import * as Net from "node:net"
import * as Util from "node:util"
import type { LanguageModel } from "@effect/ai"
import { HttpLayerRouter, HttpServer } from "@effect/platform"
import * as NodeContext from "@effect/platform-node/NodeContext"
import type { SqlClient } from "@effect/sql"
import { Array as Arr, Context, Effect, Layer, Option, Predicate, type Scope } from "effect"
import type { Confirm } from "../../src/domain/Approval.ts"
import { UserId } from "../../src/domain/Id.ts"
import * as Authentication from "../../src/http/Authentication.ts"
import * as Cors from "../../src/http/Cors.ts"
import * as Fallback from "../../src/http/Fallback.ts"
import * as Hosts from "../../src/http/Hosts.ts"
import { PublicUrl } from "../../src/http/Mount.ts"
import * as Mcp from "../../src/http/mcp/Mcp.ts"
import * as Page from "../../src/http/page/Page.ts"
import * as Routes from "../../src/http/Routes.ts"
import * as Listener from "../../src/server/Server.ts"
import { Budgets } from "../../src/services/access/Budgets.ts"
import { type Limits, RateLimits } from "../../src/services/access/RateLimits.ts"
import { Tokens } from "../../src/services/access/Tokens.ts"
import * as Services from "../../src/services/Services.ts"
import * as TaskTools from "../../src/services/tasks/TaskTools.ts"
import type { Signals } from "../../src/sql/Signals.ts"
import * as ScriptedModel from "../../src/testing/ScriptedModel.ts"
import * as Database from "./Database.ts"

export interface Options {
  /** In code points. */
  readonly messageMaxLength?: number
  readonly limits?: Limits
  /** Origins whose pages may call the API. */
  readonly origins?: ReadonlyArray<string> | "loopback"
  /** The host names of the service. Default: any name. */
  readonly hosts?: Hosts.HostsOptions
  /** The model that the page shows. Without it, there is no page. */
  readonly pageModel?: string
  /** The public URL in answers. */
  readonly publicUrl?: string
  readonly maxRunning?: number
  /** Which calls need the user's approval. */
  readonly confirm?: Confirm
  readonly maxRunningPerUser?: number
  /** Tokens per user and day. Default: no limit. */
  readonly tokensPerDay?: number
  /** Default: a new database. */
  readonly database?: Layer.Layer<SqlClient.SqlClient | Signals>
  /** Enables spans. */
  readonly isTraced?: boolean
  /** Enables the erase endpoint. */
  readonly hasErasure?: boolean
  /** Replaces the scripted model. */
  readonly model?: Layer.Layer<LanguageModel.LanguageModel>
}

/** The whole service on a free port, and its scripted model. */
export class Server extends Context.Tag("taskchat/testing/Server")<
  Server,
  {
    readonly port: number
    /** Defines the answers of the model to this message, step by step. The default answer is "Hello.". */
    readonly plays: (message: string, ...answers: ReadonlyArray<ScriptedModel.Answer>) => Effect.Effect<void>
  }
>() {}

const plenty = { limit: 1_000_000 }

/** The whole service, with a scripted model, a test secret and a new database. */
export const layer = (options: Options = {}) =>
  Layer.unwrapEffect(
    Effect.sync(() => {
      const scripts = new Map<string, ReadonlyArray<ScriptedModel.Answer>>()
      const model = ScriptedModel.layer(({ message, prompt }) => {
        const said = prompt.length - 1 - prompt.findLastIndex(({ role }) => role === "user")
        return scripts.get(message)?.[Math.ceil(said / 2)] ?? "Hello."
      })
      const services = Services.layer({
        maxRunning: options.maxRunning,
        confirm: options.confirm,
        maxRunningPerUser: options.maxRunningPerUser ?? 1000
      }).pipe(
        Layer.provide(
          options.tokensPerDay === undefined ? Layer.empty : Budgets.layer({ tokensPerDay: options.tokensPerDay })
        ),
        Layer.provideMerge(
          Layer.mergeAll(
            options.model === undefined ? model : Layer.merge(model, options.model),
            Tokens.layerTest,
            RateLimits.layerMemory(options.limits ?? { api: plenty, chat: plenty }),
            options.database ?? Database.layer
          )
        )
      )
      const origins = options.origins === "loopback" ? [] : (options.origins ?? [])
      const routes = Layer.mergeAll(
        Routes.layer({ messageMaxLength: options.messageMaxLength ?? 4000 }),
        Layer.provide(Mcp.layer({ origins }), TaskTools.layer),
        options.pageModel === undefined
          ? Layer.empty
          : Layer.provide(Page.layer({ model: options.pageModel }), NodeContext.layer),
        Fallback.layer,
        options.hasErasure ? Layer.provide(Routes.erasure, Authentication.layer) : Layer.empty,
        options.origins === "loopback" ? Cors.layerLoopback : Cors.layer(origins)
      ).pipe(Layer.provide(options.hosts === undefined ? Layer.empty : Hosts.layer(options.hosts)))
      const self = Layer.effect(
        Server,
        HttpServer.addressWith((address) =>
          Effect.succeed(
            Server.of({
              port: address._tag === "TcpAddress" ? address.port : 0,
              plays: (message, ...answers) => Effect.sync(() => scripts.set(message, answers))
            })
          )
        )
      )
      return HttpLayerRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(services),
        Layer.provideMerge(self),
        Layer.provideMerge(Listener.layer({ host: "127.0.0.1", port: 0 })),
        Layer.provide(
          Layer.succeed(
            PublicUrl,
            Option.map(Option.fromNullable(options.publicUrl), (url) => new URL(url))
          )
        ),
        Layer.provide(Layer.setTracerEnabled(options.isTraced ?? false))
      )
    })
  )

export const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

export type Fields = Readonly<Record<string, unknown>>

export const fieldsOf = (value: unknown): Fields => {
  if (!Predicate.isRecord(value)) throw new Error(`not an object: ${JSON.stringify(value)}`)
  return value
}

/** The text of a value at all depths, with the messages of errors. */
export const inspect = (value: unknown) =>
  Util.inspect(value, { depth: 12, maxStringLength: null, maxArrayLength: null })

/** One response. */
export interface Answer {
  readonly status: number
  /** By lower-case name. Repeated headers are joined. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The body if it is a JSON object, else empty. */
  readonly json: Fields
}

/** Header fields in the sent order. */
export type Head = ReadonlyArray<readonly [name: string, value: string]>

export interface Message {
  readonly headers?: Readonly<Record<string, string>> | Head
  /** An object is sent as JSON with `Content-Type`, other values unchanged. */
  readonly body?: object | string | Uint8Array
  /** Sent in chunks, without `Content-Length`. */
  readonly chunks?: ReadonlyArray<string | Uint8Array>
  readonly user?: UserId
}

export const tokenOf = (user: UserId) => Effect.flatMap(Tokens, (tokens) => Effect.orDie(tokens.issue(user, "1 hour")))

const isHead = (headers: Message["headers"]): headers is Head => Array.isArray(headers)

const headersOf = (message: Message) =>
  Effect.gen(function* () {
    const given: Head = isHead(message.headers) ? message.headers : Object.entries(message.headers ?? {})
    const isJson = Predicate.isObject(message.body) && !(message.body instanceof Uint8Array)
    const names = given.map(([name]) => name.toLowerCase())
    return [
      ...(message.user === undefined ? [] : [["Authorization", `Bearer ${yield* tokenOf(message.user)}`] as const]),
      ...(isJson && !names.includes("content-type") ? [["Content-Type", "application/json"] as const] : []),
      ...given
    ]
  })

const bytesOf = (part: string | Uint8Array) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))

const bodyOf = ({ body, chunks }: Message) => {
  if (chunks !== undefined) {
    const framed = chunks.flatMap((chunk) => {
      const bytes = bytesOf(chunk)
      return [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]
    })
    return { field: "Transfer-Encoding: chunked\r\n", bytes: Buffer.concat([...framed, Buffer.from("0\r\n\r\n")]) }
  }
  if (body === undefined) return { field: "", bytes: Buffer.alloc(0) }
  const bytes = bytesOf(typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body))
  return { field: `Content-Length: ${bytes.length}\r\n`, bytes }
}

/** Sends these pieces over a new connection, and returns all received bytes until it is closed. */
export const raw = (...pieces: ReadonlyArray<string | Uint8Array>) =>
  Effect.flatMap(Server, ({ port }) =>
    Effect.async<Buffer>((resume) => {
      const received: Array<Buffer> = []
      const socket = Net.connect(port, "127.0.0.1", () => {
        for (const piece of pieces) socket.write(piece)
      })
      const over = () => resume(Effect.succeed(Buffer.concat(received)))
      socket.on("data", (data) => received.push(data))
      // A server may close the connection before it has received everything.
      socket.on("error", () => {})
      socket.on("close", over)
      socket.on("end", () => socket.end())
      return Effect.sync(() => socket.destroy())
    })
  )

/** Sends these bytes and then resets the connection. */
export const breakOff = (bytes: string) =>
  Effect.flatMap(Server, ({ port }) =>
    Effect.async<void>((resume) => {
      const socket = Net.connect(port, "127.0.0.1", () => {
        socket.write(bytes, () => socket.resetAndDestroy())
      })
      socket.on("error", () => {})
      socket.on("close", () => resume(Effect.void))
    })
  )

/** The responses of a connection, in order. `methods` are the methods of the requests. */
export const answersIn = (received: Buffer, methods: ReadonlyArray<string> = []): ReadonlyArray<Answer> => {
  const answers: Array<Answer> = []
  let at = 0
  while (at < received.length) {
    const end = received.indexOf("\r\n\r\n", at)
    if (end < 0) throw new Error(`not a response: ${received.subarray(at, at + 200)}`)
    const [line = "", ...fields] = received.toString("latin1", at, end).split("\r\n")
    const [, digits] = /^HTTP\/1\.1 ([1-5][0-9][0-9])/.exec(line) ?? []
    if (digits === undefined) throw new Error(`not a status line: ${line}`)
    const status = Number(digits)
    const headers: Record<string, string> = {}
    for (const field of fields) {
      const colon = field.indexOf(":")
      const name = field.slice(0, colon).toLowerCase()
      const value = field.slice(colon + 1).trim()
      headers[name] = name in headers ? `${headers[name]}, ${value}` : value
    }
    at = end + 4
    let body: Uint8Array = Buffer.alloc(0)
    const method = methods[answers.filter(({ status }) => status >= 200).length]
    // A request that could not be parsed was not answered as HEAD.
    const isWithout = method === "HEAD" && "date" in headers
    if (isWithout || status < 200 || status === 204) {
      // Without a body.
    } else if (headers["transfer-encoding"] === "chunked") {
      const parts: Array<Buffer> = []
      for (;;) {
        const lineEnd = received.indexOf("\r\n", at)
        if (lineEnd < 0) throw new Error("cut within a chunked body")
        const size = Number.parseInt(received.toString("latin1", at, lineEnd), 16)
        parts.push(received.subarray(lineEnd + 2, lineEnd + 2 + size))
        at = lineEnd + 2 + size + 2
        if (size === 0) break
      }
      body = Buffer.concat(parts)
    } else {
      const length = Number(headers["content-length"] ?? received.length - at)
      body = received.subarray(at, at + length)
      at += length
    }
    const text = Buffer.from(body).toString()
    answers.push({ status, headers, text, json: jsonIn(text) })
  }
  return answers
}

const jsonIn = (text: string): Fields => {
  if (!text.startsWith("{")) return {}
  try {
    return fieldsOf(JSON.parse(text))
  } catch {
    return {}
  }
}

/** The last response to one request on a new connection. Path and fields are sent unchanged. */
export const send = (method: string, path: string, message: Message = {}) =>
  Effect.gen(function* () {
    const headers = yield* headersOf(message)
    const hasHost = headers.some(([name]) => name.toLowerCase() === "host")
    const { bytes, field } = bodyOf(message)
    const head = [
      `${method} ${path} HTTP/1.1\r\n`,
      ...(hasHost ? [] : ["Host: localhost\r\n"]),
      ...headers.map(([name, value]) => `${name}: ${value}\r\n`),
      `${field}Connection: close\r\n\r\n`
    ].join("")
    const received = yield* raw(Buffer.from(head, "latin1"), bytes)
    const answer = answersIn(received, [method]).at(-1)
    return answer ?? (yield* Effect.dieMessage(`${method} ${path} was not answered`))
  })

/** Sends a message to the agent, in a given or a new conversation. */
export const say = (
  user: UserId,
  message: string,
  fields: Fields = {},
  headers: Readonly<Record<string, string>> = {}
) => send("POST", `/api/${user}/chat`, { user, body: { message, ...fields }, headers })

/** One part of an event stream: an event up to its empty line, or a comment. */
export interface Frame {
  readonly raw: string
  readonly comment: string | undefined
  readonly id: string | undefined
  readonly event: string | undefined
  readonly data: Fields
}

const frameOf = (raw: string): Frame => {
  const field = (name: string) =>
    raw
      .split("\n")
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2)
  const data = field("data")
  return {
    raw,
    comment: raw.startsWith(":") ? raw.slice(1).trim() : undefined,
    id: field("id"),
    event: field("event"),
    data: data === undefined ? {} : fieldsOf(JSON.parse(data))
  }
}

/** An event stream that the test reads frame by frame. */
export interface Events {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The next frame, including comments. None at the end of the stream. */
  readonly next: Effect.Effect<Option.Option<Frame>>
  /** The next event. */
  readonly event: Effect.Effect<Frame>
  /** All events to the end. */
  readonly rest: Effect.Effect<ReadonlyArray<Frame>>
  readonly leave: Effect.Effect<void>
}

/** Opens an event stream, until the scope closes. */
export const open = (
  method: string,
  path: string,
  message: Message = {}
): Effect.Effect<Events, never, Scope.Scope | Server | Tokens> =>
  Effect.gen(function* () {
    const { port } = yield* Server
    const headers = Object.fromEntries(yield* headersOf(message))
    const body = message.body === undefined ? "" : JSON.stringify(message.body)
    const [request, response] = yield* Effect.acquireRelease(
      Effect.async<readonly [Http.ClientRequest, Http.IncomingMessage]>((resume) => {
        const request = Http.request({ port, host: "127.0.0.1", method, path, headers, agent: false })
        request.on("response", (response) => resume(Effect.succeed([request, response])))
        request.on("error", (error) => resume(Effect.die(error)))
        request.end(body)
      }),
      ([request]) => Effect.sync(() => request.destroy())
    )
    const frames = framesOf(response)
    const next = Effect.map(
      Effect.promise(() => frames.next()),
      (step) => (step.done ? Option.none() : Option.some(step.value))
    )
    const event: Effect.Effect<Frame> = Effect.flatMap(
      next,
      Option.match({
        onNone: () => Effect.dieMessage("The stream is over"),
        onSome: (frame) => (frame.comment === undefined ? Effect.succeed(frame) : event)
      })
    )
    const rest: Effect.Effect<ReadonlyArray<Frame>> = Effect.flatMap(
      next,
      Option.match({
        onNone: () => Effect.succeed([]),
        onSome: (frame) => Effect.map(rest, (more) => (frame.comment === undefined ? [frame, ...more] : more))
      })
    )
    return {
      status: response.statusCode ?? 0,
      headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, value?.toString()])),
      next,
      event,
      rest,
      leave: Effect.sync(() => request.destroy())
    }
  })

async function* framesOf(response: Http.IncomingMessage): AsyncGenerator<Frame, void> {
  let text = ""
  const decoder = new TextDecoder("utf-8", { fatal: true })
  for await (const chunk of response) {
    text += decoder.decode(Buffer.from(chunk), { stream: true })
    for (;;) {
      const mark = text.startsWith(":") ? "\n" : "\n\n"
      const end = text.indexOf(mark)
      if (end < 0) break
      yield frameOf(text.slice(0, end))
      text = text.slice(end + mark.length)
    }
  }
  if (text !== "") throw new Error(`cut within a frame: ${text}`)
}

/** Opens a turn's stream. */
export const stream = (
  user: UserId,
  message: string,
  fields: Fields = {},
  headers: Readonly<Record<string, string>> = {}
) => open("POST", `/api/${user}/chat/stream`, { user, body: { message, ...fields }, headers })

/** The joined text of a stream. */
export const contentOf = (frames: ReadonlyArray<Frame>) =>
  Arr.filterMap(frames, ({ data }) => Option.liftPredicate(data["content"], Predicate.isString)).join("")
