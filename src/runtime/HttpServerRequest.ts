import type { IncomingMessage } from "node:http"
import {
  Cookies,
  type Headers,
  HttpIncomingMessage,
  type HttpMethod,
  HttpServerError,
  HttpServerRequest,
  UrlParams
} from "@effect/platform"
import { Chunk, Effect, Inspectable, Option, Stream } from "effect"
import { joined } from "./Bytes.ts"
import * as Pull from "./Pull.ts"

interface Modified {
  readonly url?: string
  readonly headers?: Headers.Headers
  readonly remoteAddress?: string
}

/** A request of Node.js, for `HttpServer.ts`. Its body can be read once. It supports neither forms nor upgrades. */
export class ServerRequest extends Inspectable.Class implements HttpServerRequest.HttpServerRequest {
  readonly [HttpServerRequest.TypeId]: HttpServerRequest.TypeId = HttpServerRequest.TypeId
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly source: IncomingMessage
  private readonly modified: Modified

  constructor(source: IncomingMessage, modified: Modified = {}) {
    super()
    this.source = source
    this.modified = modified
  }

  modify(modified: Modified) {
    return new ServerRequest(this.source, { ...this.modified, ...modified })
  }

  get method() {
    // Node.js only parses known methods, in upper case.
    return this.source.method as HttpMethod.HttpMethod
  }

  get originalUrl() {
    return this.source.url ?? "/"
  }

  get url() {
    return this.modified.url ?? this.originalUrl
  }

  get headers() {
    // Names are in lower case with one value each, except `set-cookie`, which requests do not have.
    return this.modified.headers ?? (this.source.headers as Headers.Headers)
  }

  get cookies() {
    return Cookies.parseHeader(this.headers["cookie"] ?? "")
  }

  get remoteAddress() {
    return Option.fromNullable(this.modified.remoteAddress ?? this.source.socket.remoteAddress)
  }

  /** The whole body, of any length: the caller must check the length first. */
  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpServerError.RequestError> {
    return Effect.async((resume) => {
      const { source } = this
      const pieces: Array<Buffer> = []
      const broken = (cause?: unknown) => resume(Effect.fail(this.failure(cause)))
      source.on("data", (piece) => pieces.push(piece))
      source.once("end", () => {
        source.off("error", broken)
        source.off("close", broken)
        resume(Effect.succeed(joined(pieces).buffer))
      })
      source.once("error", broken)
      source.once("close", broken)
    })
  }

  get stream(): Stream.Stream<Uint8Array, HttpServerError.RequestError> {
    return Pull.toStream(() => {
      const pieces: AsyncIterator<Uint8Array> = this.source[Symbol.asyncIterator]()
      const next = Effect.tryPromise({
        try: () => pieces.next(),
        catch: (cause) => Option.some(this.failure(cause))
      })
      return {
        pull: Effect.flatMap(next, ({ done, value }) =>
          done ? Effect.fail(Option.none()) : Effect.succeed(Chunk.of(value))
        ),
        // Node.js discards the rest, so that the connection stays usable.
        close: () => Effect.void
      }
    })
  }

  get text() {
    return Effect.map(this.arrayBuffer, (bytes) => new TextDecoder().decode(bytes))
  }

  get json(): Effect.Effect<unknown, HttpServerError.RequestError> {
    return Effect.flatMap(this.text, (text) =>
      Effect.try({ try: (): unknown => JSON.parse(text), catch: (cause) => this.failure(cause) })
    )
  }

  get urlParamsBody() {
    return Effect.map(this.text, (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }

  get multipart(): Effect.Effect<never> {
    return Effect.die(this.failure(undefined, "Forms are not read here"))
  }

  get multipartStream(): Stream.Stream<never> {
    return Stream.die(this.failure(undefined, "Forms are not read here"))
  }

  get upgrade(): Effect.Effect<never, HttpServerError.RequestError> {
    return Effect.fail(this.failure(undefined, "There is nothing to upgrade to"))
  }

  private failure(cause: unknown, description?: string): HttpServerError.RequestError {
    return new HttpServerError.RequestError({
      request: this,
      reason: "Decode",
      cause,
      ...(description !== undefined && { description })
    })
  }

  override toString() {
    return `ServerRequest(${this.method} ${this.url})`
  }

  toJSON() {
    return HttpIncomingMessage.inspect(this, {
      _id: "@effect/platform/HttpServerRequest",
      method: this.method,
      url: this.originalUrl
    })
  }
}
