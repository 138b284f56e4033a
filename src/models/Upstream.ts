import { AiError } from "@effect/ai"
import { HttpClient, HttpClientRequest, type HttpClientResponse } from "@effect/platform"
import { Cause, Chunk, Duration, Effect, Exit, Option, type Redacted, Scope, Stream } from "effect"
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
   * What `reader` makes of the answer to `body`. A chunk of the network stays one chunk. The connection is closed at
   * once when the stream is left early; after a complete answer it is kept for the next request.
   */
  readonly answer: <A>(body: unknown, reader: AnswerReader<A>) => Stream.Stream<A, AiError.AiError>
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
): Effect.Effect<Upstream, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    // The ids of our traces are nobody else's business.
    const http = HttpClient.withScope(HttpClient.withTracerPropagation(client, false))
    const url = endpoint(options.apiUrl, path)
    const idle = Duration.toMillis(options.idleTimeout ?? "15 seconds")
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

    const send = (body: unknown) =>
      url === undefined
        ? Effect.fail(
            new AiError.HttpRequestError({ ...where, reason: "InvalidUrl", description: "not an http(s) address" })
          )
        : HttpClientRequest.post(url).pipe(
            HttpClientRequest.bodyUnsafeJson(body),
            HttpClientRequest.setHeader("accept", "text/event-stream"),
            options.apiKey === undefined ? (bare) => bare : HttpClientRequest.bearerToken(options.apiKey),
            http.execute,
            Effect.mapError(
              (error) =>
                new AiError.HttpRequestError({ ...where, reason: "Transport", description: networkCode(error) })
            )
          )

    /** Fails unless what follows the response's headers can be an answer. */
    const accept = (response: HttpClientResponse.HttpClientResponse, bytes: Pull) => {
      const { headers, status } = response
      if (status >= 400) {
        return Effect.flatMap(readError(bytes), (error) =>
          Effect.fail(responseFailed(status, retryHeaders(headers), error))
        )
      }
      if (status < 200 || status >= 300) return Effect.fail(malformed(`status ${status} instead of an answer`))
      return headers["content-type"]?.startsWith("text/html")
        ? Effect.fail(malformed("a web page instead of an answer"))
        : Effect.void
    }

    const answer: Upstream["answer"] = <A>(body: unknown, reader: AnswerReader<A>) =>
      Stream.unwrapScoped(
        Effect.gen(function* () {
          const clock = yield* Effect.clock
          // Closing the first aborts the request, and so fails whoever waits for it; the second belongs to the reader.
          const connection = yield* Scope.make()
          const reading = yield* Scope.make()
          const abort = Scope.close(connection, Exit.void)
          const close = Effect.zipRight(Scope.close(reading, Exit.void), abort)
          let bytes: Pull | undefined
          let complete = false
          yield* Effect.addFinalizer(() =>
            complete && bytes !== undefined
              ? // Read to its end, the connection can serve the next request; nobody waits for that.
                // Finalizers are uninterruptible, and a time limit works by interruption.
                Effect.forkDaemon(
                  Effect.ensuring(Effect.interruptible(Effect.timeoutOption(drain(bytes), "1 second")), close)
                )
              : close
          )

          // One timer for the request rather than one for each wait: it looks how long the present wait has lasted.
          let waitingSince: number | undefined = clock.unsafeCurrentTimeMillis()
          let silent = false
          const watch: Effect.Effect<void> = Effect.suspend(() => {
            const left = waitingSince === undefined ? idle : waitingSince + idle - clock.unsafeCurrentTimeMillis()
            if (left > 0) return Effect.zipRight(Effect.sleep(left), watch)
            silent = true
            return abort
          })
          if (Number.isFinite(idle)) yield* Effect.forkScoped(watch)
          const lost = (description: string) =>
            new AiError.HttpRequestError({
              ...where,
              reason: "Transport",
              ...(silent
                ? { description: "fell silent", cause: new Cause.TimeoutException("fell silent") }
                : { description })
            })

          const response = yield* send(body).pipe(
            Scope.extend(connection),
            Effect.mapError((error) => (silent ? lost("") : error))
          )
          const pull = yield* Scope.extend(Stream.toPull(response.stream), reading)
          bytes = pull
          yield* accept(response, pull)

          const events = new EventReader(maxLength)
          let over = false
          let failure: AiError.AiError | undefined
          const end = (error: AiError.AiError, out: Array<A>) => {
            over = true
            failure = reader.onEnd(error, out)
            complete = failure === undefined
          }
          const onData = (received: ReadonlyArray<ServerSentEvent>, out: Array<A>) => {
            for (const { data: text } of received) {
              if (text === "[DONE]") return end(malformed("the answer has no end"), out)
              const event = parse(text)
              const outcome = event === undefined ? malformed("an event is not JSON") : reader.onEvent(event, out)
              if (outcome === undefined) continue
              over = true
              if (outcome === "complete") complete = true
              else failure = outcome
              return
            }
          }
          const onBytes = (chunk: Chunk.Chunk<Uint8Array>) => {
            waitingSince = undefined
            const received: Array<ServerSentEvent> = []
            let fits = true
            for (const piece of chunk) fits = fits && events.read(piece, received)
            const out: Array<A> = []
            onData(received, out)
            if (!fits && !over) {
              over = true
              failure = malformed("an event is too large")
            }
            return out.length === 0 ? next : Effect.succeed(Chunk.unsafeFromArray(out))
          }
          const onClose = (error: Option.Option<unknown>) => {
            const out: Array<A> = []
            if (Option.isSome(error)) end(lost(networkCode(error.value)), out)
            else {
              const received: Array<ServerSentEvent> = []
              events.end(received)
              onData(received, out)
              if (!over) end(malformed("the answer has no end"), out)
            }
            return out.length === 0 ? next : Effect.succeed(Chunk.unsafeFromArray(out))
          }
          const next: Effect.Effect<Chunk.Chunk<A>, Option.Option<AiError.AiError>> = Effect.suspend(() => {
            if (over) return Effect.fail(Option.fromNullable(failure))
            waitingSince = clock.unsafeCurrentTimeMillis()
            return Effect.matchEffect(pull, { onSuccess: onBytes, onFailure: onClose })
          })
          return Stream.repeatEffectChunkOption(next)
        })
      )

    return { answer, malformed, reported: (error) => responseFailed(statusOf(error), {}, error) }
  })

type Pull = Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<unknown>>

const drain = (bytes: Pull) => Effect.ignore(Effect.forever(bytes))

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
const retryHeaders = (headers: Readonly<Record<string, string | undefined>>) => {
  const kept: Record<string, string> = {}
  for (const name of ["date", "retry-after", "retry-after-ms"]) {
    const value = headers[name]
    if (value !== undefined) kept[name] = value
  }
  return kept
}

/** The error in a body, as far as its first 64 KiB and one second tell. */
const readError = (bytes: Pull): Effect.Effect<unknown> =>
  Effect.suspend(() => {
    const decoder = new TextDecoder()
    let text = ""
    const read: Effect.Effect<void, Option.Option<unknown>> = Effect.flatMap(bytes, (chunk) => {
      for (const piece of chunk) text += decoder.decode(piece, { stream: true })
      return text.length > 64 * 1024 ? Effect.void : read
    })
    return read.pipe(
      Effect.ignore,
      Effect.timeoutOption("1 second"),
      Effect.map(() => {
        const body = parse(text)
        const first: unknown = Array.isArray(body) ? body[0] : body
        return isFields<"error">(first) && first.error !== undefined ? first.error : first
      })
    )
  })

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
