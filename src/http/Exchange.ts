import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Cause, Clock, Effect, FiberRef, Metric, MetricBoundaries } from "effect"
import { isProblem } from "../domain/Problem.ts"
import { RequestId } from "../domain/Request.ts"
import { withBody } from "./Body.ts"
import { problemOf, respond } from "./Problems.ts"

const requests = Metric.counter("taskchat_http_requests_total", {
  description: "Answered requests, by route and status",
  incremental: true
})
const seconds = Metric.histogram(
  "taskchat_http_request_duration_seconds",
  MetricBoundaries.fromIterable([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]),
  "Until the answer's head was ready; of JSON answers, its body too"
)

/** The caller's, if it is 1 to 128 visible ASCII characters, else a fresh one. */
const requestIdOf = (request: HttpServerRequest.HttpServerRequest) => {
  const given = request.headers["x-request-id"]
  return given !== undefined && /^[\x21-\x7e]{1,128}$/.test(given) ? given : crypto.randomUUID()
}

const currentFacts = FiberRef.unsafeMake<Readonly<Record<string, string | number>>>({})

/** Has the request's log line name these: ids, never what anyone wrote. */
export const note = (facts: Readonly<Record<string, string | number>>) =>
  FiberRef.update(currentFacts, (all) => ({ ...all, ...facts }))

/**
 * One request and its answer: gives it its id, reads its body within limits, turns whatever fails into a problem, counts
 * it and writes its log line. `route` is the path's template, which names nobody.
 */
export const exchange = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  route: string
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const requestId = requestIdOf(request)

    const answer = handler.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, withBody(request)),
      Effect.provideService(RequestId, requestId),
      Effect.catchAllCause((cause) => {
        // The client has gone, so there is nobody to answer.
        if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
        const problem = problemOf(cause)
        const response = Effect.succeed(respond(problem, requestId))
        return problem.about.status < 500 || isProblem(Cause.squash(cause))
          ? response
          : Effect.zipRight(Effect.logError(problem.about.title, cause), response)
      })
    )

    const record = (response: HttpServerResponse.HttpServerResponse, millis: number) =>
      Effect.gen(function* () {
        const status = String(response.status)
        yield* Metric.update(requests.pipe(Metric.tagged("route", route), Metric.tagged("status", status)), 1)
        yield* Metric.update(seconds, millis / 1000)
        const facts = yield* FiberRef.get(currentFacts)
        yield* Effect.logInfo("Request").pipe(
          Effect.annotateLogs({ method: request.method, route, status: response.status, duration_ms: millis, ...facts })
        )
      })

    return Clock.currentTimeMillis.pipe(
      Effect.flatMap((from) =>
        Effect.tap(answer, (response) => Effect.flatMap(Clock.currentTimeMillis, (to) => record(response, to - from)))
      ),
      Effect.map(HttpServerResponse.setHeader("x-request-id", requestId)),
      Effect.annotateLogs("request_id", requestId),
      Effect.annotateSpans("request.id", requestId),
      // The platform's span has the whole URL, and so what people look for with `q`.
      Effect.zipLeft(
        Effect.annotateCurrentSpan({ "request.id": requestId, "url.full": route, "url.path": route, "url.query": "" })
      ),
      Effect.locally(currentFacts, {})
    )
  })

/** Has every route it is provided to answer so. */
export const middleware = HttpLayerRouter.middleware(
  <E, R>(
    handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ): Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    E,
    R | HttpServerRequest.HttpServerRequest | HttpLayerRouter.RouteContext
  > => Effect.flatMap(HttpLayerRouter.RouteContext, ({ route }) => exchange(handler, route.path))
)
