import type { AiError } from "@effect/ai"
import type * as Undici from "@effect/platform-node/Undici"
import { Chunk, type Clock, Effect, Exit, Option } from "effect"
import type { Lifetime } from "../domain/ProviderState.ts"
import type { Headers } from "../domain/RetryDelay.ts"
import type * as Pull from "../runtime/Pull.ts"
import type { Part } from "../runtime/StreamText.ts"
import { type Alarm, type Alarms, elapsed } from "../runtime/Timeouts.ts"
import * as Decompression from "./Decompression.ts"
import * as Echo from "./Echo.ts"
import { EventReader, type ServerSentEvent } from "./EventReader.ts"
import type { Failure, Failures } from "./Failures.ts"
import { isFields } from "./Fields.ts"
import { type Fault, malformed, noEnd, reported, type Standing, type Wire } from "./Wire.ts"

/** What all requests to one endpoint have in common. */
export interface Client {
  readonly dispatcher: Undici.Dispatcher
  readonly target: Omit<Undici.Dispatcher.DispatchOptions, "body">
  readonly failures: Failures
  /** Base URL and model: whom what a provider wants back goes to. */
  readonly origin: string
  readonly echoes: Lifetime
  /** Milliseconds; infinite, there are no `silences`. */
  readonly idle: number
  readonly silences: Alarms | undefined
  /** Of answers, errors and connections that may still end by themselves, `patience` each. */
  readonly ends: Alarms
}

/** Milliseconds that an answer may take to end once the reason was given, an error to come whole, a connection to end. */
export const patience = 1000

export interface Outcome {
  /** The first part of an answer has come. */
  readonly onBegin: () => void
  /** What comes of a failure: itself, or another request's parts. */
  readonly onFailure: (failure: Failure, hasBegun: boolean) => Taken
}

export type Taken = Effect.Effect<Chunk.Chunk<Part>, Option.Option<AiError.AiError>>

/** Of what waits to be taken; more stays in the network. */
const maxWaiting = 1024
/** Characters of one event. */
const maxEvent = 1024 * 1024
/** Bytes of an answer, after decompression. */
const maxAnswer = 16 * 1024 * 1024
/** Characters of an answer that is no stream, and of an error's body that are read. */
const maxJson = 4 * 1024 * 1024
const maxError = 64 * 1024

/**
 * A request and its answer. It is handed what comes as undici reads it, so that a token costs a few calls and wakes
 * whoever waits, if anyone does: through `HttpClient` and its stream of bytes a request takes ten times the time.
 */
export class Exchange<State extends Standing> implements Pull.Source<Part, AiError.AiError> {
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
  /** Since when someone waits and nothing has come. */
  #waitingSince: number | undefined
  #silence: Alarm | undefined
  #grace: Alarm | undefined
  #lastEventAt = 0
  #status = 0
  #headers: Headers = {}
  #size = 0
  /** What is not read event by event: an error's body, or JSON in place of a stream. */
  #text: { readonly decoder: InstanceType<typeof TextDecoder>; value: string } | undefined
  #isRead = false
  #hasBegun = false
  #isOver = false
  #failure: Failure | undefined
  /** The connection is done with this request. */
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
      // Kilobytes that are not needed while the answer comes.
      this.#body = ""
      return this.#take(clock)
    })
    const { silences } = this.#client
    return silences === undefined ? begun : Effect.zipRight(this.#listenTo(silences, clock), begun)
  })

  readonly close = (): Effect.Effect<void> => {
    this.#silence?.off()
    this.#grace?.off()
    if (this.#isClosed) return Effect.void
    if (!this.#isOver || this.#failure !== undefined) {
      this.#abort()
      return Effect.void
    }
    // Read to its end, the connection can serve the next request; nobody waits for that.
    return this.#client.ends.set(() => {
      this.#abort()
      return undefined
    })
  }

  /** What has come, else what comes next. */
  #take(clock: Clock.Clock): Taken {
    const taken = this.#taken()
    if (taken !== undefined) return taken
    const next: Taken = Effect.async((resume) => {
      this.#waitingSince = elapsed(clock)
      // What is resumed after it was interrupted takes no notice, and without a canceller a wait takes a third of the time.
      this.#wake = resume
    })
    return this.#isEnding && this.#grace === undefined ? Effect.zipRight(this.#waitForEnd(clock), next) : next
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

  /** An error's body, and what follows the reason of an answer's end, may take a moment, but not for ever. */
  get #isEnding() {
    return this.#status >= 400 || this.#state.stage === "ending"
  }

  #waitForEnd(clock: Clock.Clock): Effect.Effect<void> {
    this.#lastEventAt = elapsed(clock)
    const ring = () => {
      const left = this.#lastEventAt + patience - elapsed(clock)
      if (left > 0) return Math.min(left, patience)
      this.#close()
      this.#abort()
      return undefined
    }
    return this.#client.ends.set(ring, (alarm) => {
      this.#grace = alarm
    })
  }

  /** One look for the request at how long the present wait has lasted, rather than one for each wait. */
  #listenTo(silences: Alarms, clock: Clock.Clock): Effect.Effect<void> {
    const { idle } = this.#client
    const ring = () => {
      const left = this.#waitingSince === undefined ? idle : this.#waitingSince + idle - elapsed(clock)
      if (left > 0) return left
      this.#end(this.#client.failures.silent)
      this.#abort()
      return undefined
    }
    return silences.set(ring, (alarm) => {
      this.#silence = alarm
    })
  }

  // --- what comes

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

  /** The first byte tells whether the body is a stream of events, JSON or a page, more reliably than `Content-Type`. */
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
      // A comment that was wrapped as data.
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

  /** The answer is over, and either complete or not. */
  #conclude(otherwise?: Failure) {
    const [parts, fault] = this.#wire.finish(this.#state)
    this.#add(parts)
    if (fault === undefined) this.#end()
    else if (fault === noEnd && otherwise !== undefined) this.#end(otherwise)
    else this.#fault(fault)
  }

  #fault(fault: Fault) {
    this.#end(this.#client.failures.faulty(fault, this.#headers))
  }

  /** Nothing more comes, for `reason` if it broke off. */
  #close(reason?: Failure) {
    if (this.#isOver) return
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
    this.#arrived()
  }

  /** JSON in place of a stream. */
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
    this.#grace?.off()
    this.#arrived()
  }

  #arrived() {
    const wake = this.#wake
    if (wake === undefined) return
    // Whoever waits has to wait for an end from now on, which takes an effect.
    const taken = this.#taken() ?? (this.#isEnding && this.#grace === undefined ? this.pull : undefined)
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

/** White space, and the bytes of a byte order mark. */
const skipped: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0d, 0x20, 0xef, 0xbb, 0xbf])

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const errorBody = (text: string): unknown => parse(text) ?? text

/** An event whose kind is only in the event's name. */
const named = (name: string, event: unknown): unknown => {
  if (name === "message" || !isFields<"error" | "type">(event) || event.type !== undefined) return event
  return name === "error" && event.error === undefined ? { type: name, error: event } : { ...event, type: name }
}

const flat = (headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>): Headers => {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) out[name.toLowerCase()] = String(value)
  return out
}
