import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Cause, Context, Effect, Metric, MetricBoundaries, MetricLabel, Option } from "effect"
import { RequestId } from "../domain/Problem.ts"
import * as FiberState from "../runtime/FiberState.ts"
import * as Memo from "../runtime/Memo.ts"
import * as Span from "../runtime/Span.ts"
import { isFailure, problemOf, problemOfDefect, respond } from "./Problems.ts"

const requests = Metric.counter("taskchat_http_requests_total", {
  description: "Answered requests, by route and status",
  incremental: true
})
const seconds = Metric.histogram(
  "taskchat_http_request_duration_seconds",
  MetricBoundaries.fromIterable([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]),
  "Until the answer's head was ready, by route; of JSON answers, its body too"
)

/** The caller's id, if it has 1 to 128 visible ASCII characters, else a new one. */
const requestIdOf = (request: HttpServerRequest.HttpServerRequest) => {
  const given = request.headers["x-request-id"]
  return given !== undefined && /^[\x21-\x7e]{1,128}$/.test(given) ? given : crypto.randomUUID()
}

/** Browsers must not guess another type than `Content-Type`. */
const onEvery = { "x-content-type-options": "nosniff" }

/** What handlers add to the request's log line and to its response, whether it succeeds or fails. */
export class Additions extends Context.Reference<Additions>()("taskchat/http/Exchange/Additions", {
  defaultValue: () => new AddedFields({})
}) {}

class AddedFields {
  readonly logged: Record<string, string | number> = {}
  readonly headers: Record<string, string>

  constructor(headers: Record<string, string>) {
    this.headers = headers
  }

  /** Ids, never what anyone wrote. */
  log(fields: Readonly<Record<string, string | number>>) {
    Object.assign(this.logged, fields)
  }

  setHeaders(fields: Readonly<Record<string, string>>) {
    Object.assign(this.headers, fields)
  }
}

/** Adds fields to the request's log line: ids, never what anyone wrote. */
export const annotateRequestLog = (fields: Readonly<Record<string, string | number>>): Effect.Effect<void> =>
  Effect.map(Additions, (additions) => additions.log(fields))

/** Sets header fields of the response, whether the request succeeds or fails. */
export const setResponseHeaders = (headers: Readonly<Record<string, string>>): Effect.Effect<void> =>
  Effect.map(Additions, (additions) => additions.setHeaders(headers))

/**
 * The counter of a route's responses with one status. Both labels are set at once: with two tags every update would build a
 * new key.
 */
const responsesOf = Memo.byText((route) =>
  Memo.byText((status) =>
    Metric.taggedWithLabels(requests, [MetricLabel.make("route", route), MetricLabel.make("status", status)])
  )
)

const secondsOf = Memo.byText((route) => Metric.tagged(seconds, "route", route))

/**
 * Handles one request and its response: gives the request its id, turns every failure into a problem, counts the response
 * and writes its log line. `route` is the path's template, without ids.
 */
export const exchange = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  route: string
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    Effect.clockWith((clock) => {
      const from = clock.unsafeCurrentTimeMillis()
      const requestId = requestIdOf(request)
      const additions = new AddedFields({ ...onEvery, "x-request-id": requestId })
      return handler.pipe(
        Effect.catchAllCause((cause) => answerTo(cause, requestId)),
        Effect.flatMap((response) => {
          const { status } = response
          const duration_ms = clock.unsafeCurrentTimeMillis() - from
          responsesOf(route)(String(status)).unsafeUpdate(1, [])
          secondsOf(route).unsafeUpdate(duration_ms / 1000, [])
          const line = { method: request.method, route, status, duration_ms, ...additions.logged }
          return Effect.as(
            FiberState.annotateLogs(line)(Effect.logInfo("Request")),
            withHeaders(response, additions.headers)
          )
        }),
        FiberState.provide(Context.make(RequestId, requestId).pipe(Context.add(Additions, additions))),
        FiberState.annotateLogs({ request_id: requestId }),
        annotateSpans(requestId, route)
      )
    })
  )

/** The caller gets the reason of a refusal; of a defect only that there was one. */
const answerTo = (cause: Cause.Cause<unknown>, requestId: string) => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  if (isFailure(failure)) return Effect.succeed(respond(problemOf(failure), requestId))
  // The client has gone, so there is nobody to answer.
  if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
  const defect = failure === undefined ? cause : Cause.die(failure)
  const problem = problemOfDefect(defect)
  return Effect.as(Effect.logError(problem.about.title, defect), respond(problem, requestId))
}

/** Adds header fields. The response's own `Cache-Control` stays; `Vary` is extended. */
export const withHeaders = (
  response: HttpServerResponse.HttpServerResponse,
  headers: Readonly<Record<string, string>>
) => {
  const { "cache-control": caching, vary } = response.headers
  return HttpServerResponse.setHeaders(response, {
    ...headers,
    ...(caching !== undefined && { "cache-control": caching }),
    ...(vary !== undefined && headers["vary"] !== undefined && { vary: `${vary}, ${headers["vary"]}` })
  })
}

/**
 * Adds the request's id to all of its spans. Replaces the whole URL in the platform's span, as `q` may hold text from
 * people.
 */
const annotateSpans =
  (requestId: string, route: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    self.pipe(
      FiberState.annotateSpans({ "request.id": requestId }),
      Span.annotate({ "request.id": requestId, "url.full": route, "url.path": route, "url.query": "" })
    )

/** Applies `exchange` to every route that it is provided to. */
export const middleware = HttpLayerRouter.middleware(
  <E, R>(
    handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ): Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    E,
    R | HttpServerRequest.HttpServerRequest | HttpLayerRouter.RouteContext
  > => Effect.flatMap(HttpLayerRouter.RouteContext, ({ route }) => exchange(handler, route.path))
)
