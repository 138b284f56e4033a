import type { AiError } from "@effect/ai"
import type * as Undici from "@effect/platform-node/Undici"
import { Chunk, type Clock, Effect, Exit, Option } from "effect"
import type { Lifetime } from "../domain/ProviderState.ts"
import type { Headers } from "../domain/RetryDelay.ts"
import type * as Pull from "../runtime/Pull.ts"
import type { Part } from "../runtime/StreamText.ts"
import { elapsed, type Timeout, type Timeouts } from "../runtime/Timeouts.ts"
import * as Decompression from "./Decompression.ts"
import * as Echo from "./Echo.ts"
import { EventReader, type ServerSentEvent } from "./EventReader.ts"
import type { Failure, Failures } from "./Failures.ts"
import { isFields } from "./Fields.ts"
import { type Fault, malformed, noEnd, reported, type Wire, type WireState } from "./Wire.ts"

/** The part that all requests to one endpoint share. */
export interface Client {
  readonly dispatcher: Undici.Dispatcher
  readonly target: Omit<Undici.Dispatcher.DispatchOptions, "body">
  readonly failures: Failures
  /** Base URL and model. Identifies the provider for `Echo`. */
  readonly origin: string
  readonly echoes: Lifetime
  /** The longest silence in milliseconds. If it is infinite, `idleTimeouts` is undefined. */
  readonly idle: number
  readonly idleTimeouts: Timeouts | undefined
  /** Timeouts of `endTimeout` for the ends of answers, errors and connections. */
  readonly endTimeouts: Timeouts
}

/**
 * Milliseconds until an answer must end after its finish reason, an error must be complete, or a connection must end.
 */
export const endTimeout = 1000

export interface Outcome {
  /** Called when the first part of an answer arrives. */
  readonly onBegin: () => void
  /** Returns the failure, or the parts of another request. */
  readonly onFailure: (failure: Failure, hasBegun: boolean) => Taken
}

export type Taken = Effect.Effect<Chunk.Chunk<Part>, Option.Option<AiError.AiError>>

/** The most buffered parts. Above this, reading from the network pauses. */
const maxWaiting = 1024
/** The most characters of one event. */
const maxEvent = 1024 * 1024
/** The most bytes of an answer, after decompression. */
const maxAnswer = 16 * 1024 * 1024
/** The most characters of an answer without a stream, and of an error's body. */
const maxJson = 4 * 1024 * 1024
const maxError = 64 * 1024

/**
 * A request and its answer. It is a handler of undici, so a token costs a few calls and resumes the waiting fiber, if
 * there is one. Through `HttpClient` and its byte stream, a request takes ten times as long.
 */
export class Exchange<State extends WireState> implements Pull.Source<Part, AiError.AiError> {
  readonly #client: Client
  #body: string
  readonly #wire: Wire<State>
  #state: State
  readonly #outcome: Outcome
  readonly #events = new EventReader(maxEvent)
  #controller: Undici.Dispatcher.DispatchController | undefined
  #decompression: Decompression.Decompression | undefined
  #waiting: Array<Part> = []
  #wake: ((taken: Taken) => void) | undefined
  #clock: Clock.Clock | undefined
  /** When the current wait began. Reset by each arrival. */
  #waitingSince: number | undefined
  #idleTimeout: Timeout | undefined
  #endTimeout: Timeout | undefined
  #lastEventAt = 0
  #status = 0
  #headers: Headers = {}
  #size = 0
  /** A body that is not read event by event: an error, or JSON instead of a stream. */
  #text: { readonly decoder: InstanceType<typeof TextDecoder>; value: string } | undefined
  #isRead = false
  #hasBegun = false
  #isOver = false
  #failure: Failure | undefined
  /** True if the connection has finished this request. */
  #isClosed = false
  #isAborted = false

  constructor(client: Client, body: string, wire: Wire<State>, outcome: Outcome) {
    this.#client = client
    this.#body = body
    this.#wire = wire
    this.#state = wire.start
    this.#outcome = outcome
  }

  readonly pull: Taken = Effect.clockWith((clock) => {
    if (this.#clock !== undefined) return this.#take(clock)
    this.#clock = clock
    const begun = Effect.suspend(() => {
      const { dispatcher, target } = this.#client
      dispatcher.dispatch({ ...target, body: this.#body }, this)
      // Free the body, which is several kilobytes.
      this.#body = ""
      return this.#take(clock)
    })
    const { idleTimeouts } = this.#client
    return idleTimeouts === undefined ? begun : Effect.zipRight(this.#limitIdle(idleTimeouts, clock), begun)
  })

  readonly close = (): Effect.Effect<void> => {
    this.#idleTimeout?.cancel()
    this.#endTimeout?.cancel()
    if (this.#isClosed) return Effect.void
    if (!this.#isOver || this.#failure !== undefined) {
      this.#abort()
      return Effect.void
    }
    // Let the connection read to the end, so that it can be reused. This happens in the background.
    return this.#client.endTimeouts.schedule(() => {
      this.#abort()
      return undefined
    })
  }

  /** The buffered parts, or the next parts. */
  #take(clock: Clock.Clock): Taken {
    const taken = this.#taken()
    if (taken !== undefined) return taken
    const next: Taken = Effect.async((resume) => {
      this.#waitingSince = elapsed(clock)
      // No canceller: resuming an interrupted fiber has no effect, and a canceller would triple the time of a wait.
      this.#wake = resume
    })
    return this.#isEnding && this.#endTimeout === undefined ? Effect.zipRight(this.#waitForEnd(clock), next) : next
  }

  #taken(): Taken | undefined {
    if (this.#waiting.length > 0) {
      const taken = this.#waiting
      this.#waiting = []
      if (this.#decompression !== undefined) this.#decompression.resume()
      else if (this.#controller?.paused === true) this.#controller.resume()
      return Effect.succeed(Chunk.unsafeFromArray(taken))
    }
    if (!this.#isOver) return undefined
    return this.#failure === undefined ? over : this.#outcome.onFailure(this.#failure, this.#hasBegun)
  }

  /** True while the rest of an error's body, or of an answer after its finish reason, has a short timeout. */
  get #isEnding() {
    return this.#status >= 400 || this.#state.stage === "ending"
  }

  #waitForEnd(clock: Clock.Clock): Effect.Effect<void> {
    this.#lastEventAt = elapsed(clock)
    const onTimeout = () => {
      const left = this.#lastEventAt + endTimeout - elapsed(clock)
      if (left > 0) return Math.min(left, endTimeout)
      this.#close()
      this.#abort()
      return undefined
    }
    return this.#client.endTimeouts.schedule(onTimeout, (timeout) => {
      this.#endTimeout = timeout
    })
  }

  /** Sets one idle timeout per request instead of one per wait. */
  #limitIdle(idleTimeouts: Timeouts, clock: Clock.Clock): Effect.Effect<void> {
    const { idle } = this.#client
    const onTimeout = () => {
      const left = this.#waitingSince === undefined ? idle : this.#waitingSince + idle - elapsed(clock)
      if (left > 0) return left
      this.#end(this.#client.failures.silent)
      this.#abort()
      return undefined
    }
    return idleTimeouts.schedule(onTimeout, (timeout) => {
      this.#idleTimeout = timeout
    })
  }

  onRequestStart(controller: Undici.Dispatcher.DispatchController) {
    this.#controller = controller
    if (this.#isAborted) this.#abort()
  }

  onResponseStart(
    controller: Undici.Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  ) {
    if (status < 200) return
    this.#status = status
    this.#headers = flat(headers)
    if (status >= 300 && status < 400) {
      const { failures } = this.#client
      this.#end(failures.refused(status, this.#headers, undefined, "the address redirects to another one"))
    }
    if (status >= 400) this.#text = { decoder: new TextDecoder(), value: "" }
    const encoding = (this.#headers["content-encoding"] ?? "identity").trim().toLowerCase()
    if (encoding !== "identity" && encoding !== "") {
      this.#decompression = Decompression.make(encoding, {
        onData: (bytes) => this.#onBytes(bytes, controller),
        onDrain: () => controller.resume(),
        onEnd: () => this.#close(),
        onError: () => this.#close(this.#client.failures.lost({ code: "BAD_COMPRESSION" }))
      })
      if (this.#decompression === undefined) this.#end(this.#client.failures.malformed("an unknown content encoding"))
    }
    this.#arrived()
  }

  onResponseData(controller: Undici.Dispatcher.DispatchController, bytes: Uint8Array) {
    if (this.#isOver) return
    if (this.#decompression === undefined) this.#onBytes(bytes, controller)
    else if (!this.#decompression.write(bytes)) controller.pause()
    this.#arrived()
  }

  #onBytes(bytes: Uint8Array, controller: Undici.Dispatcher.DispatchController) {
    if (this.#isOver) return
    try {
      this.#read(bytes, controller)
    } catch {
      this.#unreadable()
    }
  }

  /**
   * JSON that is nested too deeply throws when it is written again. Thrown on, the answer would have no end, and a
   * decompressor would end the process.
   */
  #unreadable() {
    this.#end(this.#client.failures.malformed("the answer cannot be read"))
  }

  #read(bytes: Uint8Array, controller: Undici.Dispatcher.DispatchController) {
    this.#size += bytes.length
    if (this.#size > maxAnswer) return this.#end(this.#client.failures.malformed("the answer is too large"))
    const from = this.#isRead ? 0 : this.#begin(bytes)
    if (!this.#isRead) return
    if (this.#text !== undefined) {
      this.#text.value += this.#text.decoder.decode(from === 0 ? bytes : bytes.subarray(from), { stream: true })
      if (this.#status >= 400 ? this.#text.value.length > maxError : this.#text.value.length > maxJson) this.#close()
      return
    }
    const received: Array<ServerSentEvent> = []
    const fits = this.#events.read(from === 0 ? bytes : bytes.subarray(from), received)
    this.#onEvents(received)
    if (!fits) this.#end(this.#client.failures.malformed("an event is too large"))
    if (this.#waiting.length > maxWaiting) (this.#decompression ?? controller).pause()
    this.#arrived()
  }

  /** The first byte shows whether the body is an event stream, JSON or a web page. `Content-Type` is less reliable. */
  #begin(bytes: Uint8Array): number {
    const from = bytes.findIndex((byte) => !skipped.has(byte))
    if (from < 0) return 0
    this.#isRead = true
    const first = String.fromCharCode(bytes[from] ?? 0)
    if (this.#text !== undefined) return from
    if (first === "{" || first === "[") this.#text = { decoder: new TextDecoder(), value: "" }
    else if (first === "<") this.#end(this.#client.failures.malformed("a web page instead of an answer"))
    return from
  }

  onResponseEnd() {
    this.#isClosed = true
    if (this.#decompression === undefined) this.#close()
    else this.#decompression.end()
  }

  onResponseError(_: unknown, error: unknown) {
    this.#isClosed = true
    this.#decompression?.destroy()
    this.#close(this.#client.failures.lost(error))
  }

  #onEvents(received: ReadonlyArray<ServerSentEvent>) {
    for (const { data, event: name } of received) {
      if (this.#isOver) return
      if (data === "[DONE]") return this.#conclude()
      // Some servers send comments as data.
      if (data.startsWith(":")) continue
      const event = parse(data)
      if (event !== undefined) this.#onEvent(named(name, event))
      else this.#fault(name === "error" ? reported(data) : malformed("an event is not JSON"))
    }
    if (this.#isEnding && this.#clock !== undefined) this.#lastEventAt = elapsed(this.#clock)
  }

  #onEvent(event: unknown) {
    const [state, parts, fault] = this.#wire.next(this.#state, event)
    this.#state = state
    this.#add(parts)
    if (fault !== undefined) this.#fault(fault)
    else if (state.stage === "complete") this.#conclude()
  }

  #add(parts: ReadonlyArray<Part>) {
    for (const part of parts) {
      this.#waiting.push(part.type === "finish" ? this.#withEcho(part) : part)
      if (!this.#hasBegun && part.type !== "response-metadata") {
        this.#hasBegun = true
        this.#outcome.onBegin()
      }
    }
  }

  #withEcho(part: Part): Part {
    const { echoes, origin } = this.#client
    const metadata = Echo.metadataOf(origin, echoes, this.#wire.echo(this.#state))
    return Object.keys(metadata).length === 0 ? part : { ...part, metadata }
  }

  /** Ends the answer. If it has no end, the failure is `reason` or a malformed answer. */
  #conclude(reason?: Failure) {
    const [parts, fault] = this.#wire.finish(this.#state)
    this.#add(parts)
    if (fault === undefined) this.#end()
    else if (fault === noEnd && reason !== undefined) this.#end(reason)
    else this.#fault(fault)
  }

  #fault(fault: Fault) {
    this.#end(this.#client.failures.faulty(fault, this.#headers))
  }

  /** Called after the last byte. `reason` is set if the connection broke. */
  #close(reason?: Failure) {
    if (this.#isOver) return
    try {
      this.#readEnd(reason)
    } catch {
      this.#unreadable()
    }
    this.#arrived()
  }

  #readEnd(reason: Failure | undefined) {
    const { failures } = this.#client
    if (this.#status >= 400)
      this.#end(failures.refused(this.#status, this.#headers, errorBody(this.#text?.value ?? "")))
    else if (this.#text !== undefined) this.#onWhole(this.#text.value, reason)
    else {
      const received: Array<ServerSentEvent> = []
      if (reason === undefined) this.#events.end(received)
      this.#onEvents(received)
      if (!this.#isOver) this.#conclude(reason)
    }
  }

  /** JSON instead of a stream. */
  #onWhole(text: string, reason: Failure | undefined) {
    const body = parse(text)
    if (body === undefined) return this.#end(reason ?? this.#client.failures.malformed("the answer is not JSON"))
    this.#onEvent(Array.isArray(body) ? body[0] : body)
    if (!this.#isOver) this.#conclude()
  }

  #end(failure?: Failure) {
    if (this.#isOver) return
    this.#isOver = true
    this.#failure = failure
    this.#endTimeout?.cancel()
    this.#arrived()
  }

  #arrived() {
    const wake = this.#wake
    if (wake === undefined) return
    // If the end timeout must be set, resume the waiting fiber with an effect that sets it.
    const taken = this.#taken() ?? (this.#isEnding && this.#endTimeout === undefined ? this.pull : undefined)
    this.#waitingSince = taken === undefined && this.#clock !== undefined ? elapsed(this.#clock) : undefined
    if (taken === undefined) return
    this.#wake = undefined
    wake(taken)
  }

  #abort() {
    this.#isAborted = true
    this.#decompression?.destroy()
    if (!this.#isClosed) this.#controller?.abort(new Error("left"))
  }
}

const over: Taken = Exit.fail(Option.none())

/** White space and the byte order mark. */
const skipped: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0d, 0x20, 0xef, 0xbb, 0xbf])

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const errorBody = (text: string): unknown => parse(text) ?? text

/** Adds the name of the event as its `type` if it has none. */
const named = (name: string, event: unknown): unknown => {
  if (name === "message" || !isFields<"error" | "type">(event) || event.type !== undefined) return event
  return name === "error" && event.error === undefined ? { type: name, error: event } : { ...event, type: name }
}

const flat = (headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>): Headers => {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) out[name.toLowerCase()] = String(value)
  return out
}
