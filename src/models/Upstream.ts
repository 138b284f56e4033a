import { AiError } from "@effect/ai"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as Undici from "@effect/platform-node/Undici"
import { Cause, Chunk, type Clock, Duration, Effect, Exit, Option, Redacted, type Scope } from "effect"
import * as Pull from "../runtime/Pull.ts"
import { type Alarm, Alarms, elapsed } from "../runtime/Timeouts.ts"
import { EventReader, type ServerSentEvent } from "./EventReader.ts"
import { isFields } from "./Fields.ts"

/** What every model behind an HTTP API is told. */
export interface Options {
  /** Sent as a Bearer token; a server of one's own may want none. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** With the version, as in `https://api.openai.com/v1`. */
  readonly apiUrl: string
  readonly model: string
  readonly temperature?: number | undefined
  readonly maxOutputTokens?: number | undefined
  /**
   * A request is given up after this much silence, before the headers or between two bytes; 15 seconds unless given.
   * It fails with an `HttpRequestError` whose cause is a `TimeoutException`.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
}

/** Makes the parts of one answer out of its events, in order. */
export interface AnswerReader<A> {
  /** Appends what `event` (JSON, unchecked) amounts to. `"complete"`: whatever may follow does not matter. */
  readonly onEvent: (event: unknown, out: Array<A>) => AiError.AiError | "complete" | undefined
  /** The events are over. Gives `failure`, unless the answer is complete without a last event. */
  readonly onEnd: (failure: AiError.AiError, out: Array<A>) => AiError.AiError | undefined
}

/** An endpoint that answers a POST with server-sent events. */
export interface Upstream {
  /**
   * What `reader` makes of the answer to `body`, which is JSON. What has come meanwhile is one chunk. The connection is closed at once
   * when the answer is left early; after a complete answer it is kept for the next request.
   */
  readonly answer: <A>(body: string, reader: AnswerReader<A>) => Pull.Source<A, AiError.AiError>
  /** The answer makes no sense. `description` says why in our words, never in the provider's. */
  readonly malformed: (description: string) => AiError.MalformedOutput
  /** A failure that the provider reports within a stream, as the HTTP failure that means the same. */
  readonly reported: (error: unknown) => AiError.HttpResponseError
}

/** Characters that one event, and the arguments of the calls in one answer, may have. */
export const maxLength = 1024 * 1024

/** `module` names the model in errors; `path` is appended to the URL of `options`. */
export const make = (
  module: string,
  path: string,
  options: Options
): Effect.Effect<Upstream, never, NodeHttpClient.Dispatcher | Scope.Scope> =>
  Effect.gen(function* () {
    const dispatcher = yield* NodeHttpClient.Dispatcher
    const idle = Duration.toMillis(options.idleTimeout ?? "15 seconds")
    const silences = Number.isFinite(idle) ? yield* Alarms.make(idle) : undefined
    const ends = yield* Alarms.make(Duration.toMillis(patience))
    const url = endpoint(options.apiUrl, path)
    const where = {
      module,
      method: "streamText",
      // Errors travel into logs: no header, query or user info of the request goes with them.
      request: {
        method: "POST" as const,
        url: url === undefined ? "" : `${url.origin}${url.pathname}`,
        urlParams: [],
        hash: Option.none(),
        headers: {}
      }
    }
    const responseFailed = (status: number, headers: Record<string, string>, error: unknown) =>
      new AiError.HttpResponseError({
        ...where,
        reason: "StatusCode",
        response: { status, headers },
        body: JSON.stringify({ error: codesOf(error) })
      })
    const malformed = (description: string) => new AiError.MalformedOutput({ ...where, description })
    const invalidUrl = new AiError.HttpRequestError({
      ...where,
      reason: "InvalidUrl",
      description: "not an http(s) address"
    })
    const lost = (description: string, cause?: unknown) =>
      new AiError.HttpRequestError({
        ...where,
        reason: "Transport",
        description,
        ...(cause !== undefined && { cause })
      })

    const target = url && {
      method: "POST" as const,
      origin: url.origin,
      path: url.pathname + url.search,
      headers: {
        "content-type": "application/json",
        accept: "text/event-stream",
        ...(options.apiKey !== undefined && { authorization: `Bearer ${Redacted.value(options.apiKey)}` })
      },
      // How long is too long is decided here.
      headersTimeout: 0,
      bodyTimeout: 0
    }

    const client = target && { dispatcher, target, idle, silences, ends, lost, malformed, responseFailed }

    const answer: Upstream["answer"] = (body, reader) =>
      client === undefined ? Pull.fail(invalidUrl) : new Answer(client, body, reader)

    return { answer, malformed, reported: (error) => responseFailed(statusOf(error), {}, error) }
  })

/** What all requests to one endpoint have in common. */
interface Client {
  readonly dispatcher: Undici.Dispatcher
  readonly target: Omit<Undici.Dispatcher.DispatchOptions, "body">
  /** Milliseconds; infinite, there are no `silences`. */
  readonly idle: number
  readonly silences: Alarms | undefined
  /** Of connections that may still end by themselves. */
  readonly ends: Alarms
  readonly lost: (description: string, cause?: unknown) => AiError.AiError
  readonly malformed: (description: string) => AiError.AiError
  readonly responseFailed: (status: number, headers: Record<string, string>, error: unknown) => AiError.AiError
}

interface Refusal {
  readonly status: number
  readonly headers: Record<string, string>
  readonly decoder: InstanceType<typeof TextDecoder>
  text: string
}

type Taken<A> = Effect.Effect<Chunk.Chunk<A>, Option.Option<AiError.AiError>>

/** Of what waits to be taken; more stays in the network. */
const maxWaiting = 1024

/** How long a connection may take to end after what counted has come, be it an answer or an error. */
const patience = "1 second"

/**
 * A request and its answer. It is handed what comes as undici reads it, so that a token costs a few calls and wakes
 * whoever waits, if anyone does: through `HttpClient` and its stream of bytes a request takes ten times the time.
 */
class Answer<A> implements Pull.Source<A, AiError.AiError>, Undici.Dispatcher.DispatchHandler {
  readonly #client: Client
  #body: string
  readonly #reader: AnswerReader<A>
  readonly #events = new EventReader(maxLength)
  #controller: Undici.Dispatcher.DispatchController | undefined
  #waiting: Array<A> = []
  #wake: ((taken: Taken<A>) => void) | undefined
  #clock: Clock.Clock | undefined
  /** Since when someone waits and nothing has come. */
  #waitingSince: number | undefined
  #silence: Alarm | undefined
  /** What came with a status that is no answer's. */
  #refusal: Refusal | undefined
  #over = false
  #failure: AiError.AiError | undefined
  #isComplete = false
  /** The connection is done with this request. */
  #isClosed = false
  #isAborted = false

  constructor(client: Client, body: string, reader: AnswerReader<A>) {
    this.#client = client
    this.#body = body
    this.#reader = reader
  }

  readonly pull: Taken<A> = Effect.clockWith((clock) => {
    if (this.#clock !== undefined) return this.#take(clock)
    this.#clock = clock
    const begun = Effect.suspend(() => {
      const { dispatcher, target } = this.#client
      dispatcher.dispatch({ ...target, body: this.#body }, this)
      // Kilobytes that nobody needs for as long as the answer takes.
      this.#body = ""
      return this.#take(clock)
    })
    const { silences } = this.#client
    return silences === undefined ? begun : Effect.zipRight(this.#listenTo(silences, clock), begun)
  })

  readonly close = (): Effect.Effect<void> => {
    this.#silence?.off()
    if (this.#isClosed) return Effect.void
    if (!this.#isComplete) {
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
  #take(clock: Clock.Clock): Taken<A> {
    const taken = this.#taken()
    if (taken !== undefined) return taken
    if (this.#refusal !== undefined) return this.#refused(clock)
    return Effect.async((resume) => {
      this.#waitingSince = elapsed(clock)
      // What is resumed after it was interrupted takes no notice, and without a canceller a wait takes a third of the time.
      this.#wake = resume
    })
  }

  #taken(): Taken<A> | undefined {
    if (this.#waiting.length > 0) {
      const taken = this.#waiting
      this.#waiting = []
      if (this.#controller?.paused === true) this.#controller.resume()
      return Effect.succeed(Chunk.unsafeFromArray(taken))
    }
    return this.#over ? Exit.fail(Option.fromNullable(this.#failure)) : undefined
  }

  /** The error in the body, as far as its beginning tells. */
  #refused(clock: Clock.Clock): Taken<A> {
    const come = Effect.async<void>((resume) => {
      this.#wake = () => resume(Effect.void)
      return Effect.sync(() => {
        this.#wake = undefined
      })
    })
    return Effect.flatMap(Effect.timeoutOption(come, patience), () => {
      if (!this.#over) this.#endRefused()
      return this.#take(clock)
    })
  }

  /** One look for the request at how long the present wait has lasted, rather than one for each wait. */
  #listenTo(silences: Alarms, clock: Clock.Clock): Effect.Effect<void> {
    const { idle } = this.#client
    const ring = () => {
      const left = this.#waitingSince === undefined ? idle : this.#waitingSince + idle - elapsed(clock)
      if (left > 0) return left
      const silent = "fell silent"
      this.#end(this.#client.lost(silent, new Cause.TimeoutException(silent)))
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
    _: Undici.Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  ) {
    if (status < 200) return
    if (status >= 400) {
      this.#refusal = { status, headers: retryHeaders(headers), text: "", decoder: new TextDecoder() }
    } else if (status >= 300) this.#end(this.#client.malformed(`status ${status} instead of an answer`))
    else if (String(headers["content-type"]).startsWith("text/html")) {
      this.#end(this.#client.malformed("a web page instead of an answer"))
    }
    this.#arrived()
  }

  onResponseData(controller: Undici.Dispatcher.DispatchController, bytes: Uint8Array) {
    if (this.#over) return
    if (this.#refusal !== undefined) {
      this.#refusal.text += this.#refusal.decoder.decode(bytes, { stream: true })
      if (this.#refusal.text.length > maxError) this.#endRefused()
      return
    }
    const received: Array<ServerSentEvent> = []
    const fits = this.#events.read(bytes, received)
    this.#onEvents(received)
    if (!fits) this.#end(this.#client.malformed("an event is too large"))
    if (this.#waiting.length > maxWaiting) controller.pause()
    this.#arrived()
  }

  onResponseEnd() {
    this.#isClosed = true
    if (this.#over) return
    if (this.#refusal !== undefined) return this.#endRefused()
    const received: Array<ServerSentEvent> = []
    this.#events.end(received)
    this.#onEvents(received)
    this.#onLast(this.#client.malformed("the answer has no end"))
    this.#arrived()
  }

  onResponseError(_: unknown, error: unknown) {
    this.#isClosed = true
    if (this.#refusal !== undefined && !this.#over) return this.#endRefused()
    this.#onLast(this.#client.lost(networkCode(error)))
    this.#arrived()
  }

  #onEvents(received: ReadonlyArray<ServerSentEvent>) {
    for (const { data: text } of received) {
      if (this.#over) return
      if (text === "[DONE]") return this.#onLast(this.#client.malformed("the answer has no end"))
      const event = parse(text)
      const outcome =
        event === undefined
          ? this.#client.malformed("an event is not JSON")
          : this.#reader.onEvent(event, this.#waiting)
      if (outcome === "complete") this.#end(undefined)
      else if (outcome !== undefined) this.#end(outcome)
    }
  }

  #onLast(failure: AiError.AiError) {
    if (!this.#over) this.#end(this.#reader.onEnd(failure, this.#waiting))
  }

  #endRefused() {
    if (this.#refusal === undefined) return
    const { headers, status, text } = this.#refusal
    this.#end(this.#client.responseFailed(status, headers, errorIn(text)))
    this.#arrived()
  }

  #end(failure: AiError.AiError | undefined) {
    if (this.#over) return
    this.#over = true
    this.#failure = failure
    this.#isComplete = failure === undefined
    this.#arrived()
  }

  #arrived() {
    const wake = this.#wake
    if (wake === undefined) return
    const taken = this.#taken() ?? (this.#refusal === undefined ? undefined : this.pull)
    this.#waitingSince = taken === undefined && this.#clock !== undefined ? elapsed(this.#clock) : undefined
    if (taken === undefined) return
    this.#wake = undefined
    wake(taken)
  }

  #abort() {
    this.#isAborted = true
    if (!this.#isClosed) this.#controller?.abort(new Error("left"))
  }
}

/** `undefined` for what is no address of a web service. */
const endpoint = (apiUrl: string, path: string): URL | undefined => {
  if (!URL.canParse(apiUrl)) return undefined
  const url = new URL(apiUrl)
  if (url.protocol !== "https:" && url.protocol !== "http:") return undefined
  url.pathname = url.pathname.replace(/\/*$/, path)
  return url
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What says when to come back; `date` is what a date in it counts from. */
const retryHeaders = (headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>) => {
  const kept: Record<string, string> = {}
  for (const name of ["date", "retry-after", "retry-after-ms"]) {
    const value = headers[name]
    if (typeof value === "string") kept[name] = value
  }
  return kept
}

/** Characters of an error's body that are read. */
const maxError = 64 * 1024

const errorIn = (text: string): unknown => {
  const body = parse(text)
  const first: unknown = Array.isArray(body) ? body[0] : body
  return isFields<"error">(first) && first.error !== undefined ? first.error : first
}

/** The machine-readable part of a provider's error. Its message stays out: it may quote the prompt or the key. */
const codesOf = (error: unknown) => {
  if (!isFields<"code" | "type" | "param">(error)) return {}
  const kept: Record<string, string | number> = {}
  const { code, param, type } = error
  for (const [name, value] of Object.entries({ code, param, type })) {
    if (typeof value === "number" || (typeof value === "string" && /^[\w.[\]-]{1,80}$/.test(value))) kept[name] = value
  }
  return kept
}

/** The HTTP status that an error within a stream would have had, had it come before. */
const statusOf = (error: unknown): number => {
  if (!isFields<"code" | "type">(error)) return 500
  for (const code of [error.code, error.type]) {
    const status = typeof code === "string" && /^\d{3}$/.test(code) ? Number(code) : code
    if (typeof status === "number" && status >= 400 && status <= 599) return status
    const known = typeof code === "string" ? statuses.get(code) : undefined
    if (known !== undefined) return known
  }
  return 500
}

const statuses: ReadonlyMap<string, number> = new Map([
  ["invalid_request_error", 400],
  ["invalid_prompt", 400],
  ["invalid_api_key", 401],
  ["authentication_error", 401],
  ["permission_error", 403],
  ["model_not_found", 404],
  ["not_found_error", 404],
  ["rate_limit_exceeded", 429],
  ["rate_limit_error", 429],
  ["insufficient_quota", 429],
  ["slow_down", 503],
  ["service_unavailable", 503],
  ["overloaded_error", 529]
])

/** The system's name for what went wrong on the network, such as `ECONNREFUSED`, from as deep as it lies. */
const networkCode = (error: unknown): string => {
  let at = error
  for (let depth = 0; depth < 5 && isFields<"cause" | "code">(at); depth++) {
    if (typeof at.code === "string" && /^[A-Z][A-Z0-9_]{1,40}$/.test(at.code)) return at.code
    at = at.cause
  }
  return "connection lost"
}
