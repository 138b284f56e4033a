import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Cause, Clock, Context, Effect, FiberRef, HashMap, Metric, MetricBoundaries, Tracer } from "effect"
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

/** Of the request that the fiber answers; each has a record of its own. */
const currentFacts = FiberRef.unsafeMake<Record<string, string | number>>({})

const annotate = (annotations: Readonly<Record<string, unknown>>) =>
  FiberRef.update(FiberRef.currentLogAnnotations, HashMap.union(HashMap.fromIterable(Object.entries(annotations))))

/** Has the request's log line name these: ids, never what anyone wrote. */
export const note = (facts: Readonly<Record<string, string | number>>) =>
  Effect.map(FiberRef.get(currentFacts), (all) => void Object.assign(all, facts))

/** The counter of a route's answers of one status, found once. */
const answersOf = (() => {
  const known = new Map<string, typeof requests>()
  return (route: string, status: number) => {
    const key = `${status} ${route}`
    const found = known.get(key)
    if (found !== undefined) return found
    const made = requests.pipe(Metric.tagged("route", route), Metric.tagged("status", String(status)))
    known.set(key, made)
    return made
  }
})()

/**
 * One request and its answer: gives it its id, reads its body within limits, turns whatever fails into a problem, counts
 * it and writes its log line. `route` is the path's template, which names nobody.
 */
export const exchange = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  route: string
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest.HttpServerRequest> =>
  Effect.withFiberRuntime((fiber) => {
    const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const requestId = requestIdOf(request)
    const facts: Record<string, string | number> = {}

    // Set, not set for a while: a request's fiber ends with it.
    const prepare = FiberRef.set(currentFacts, facts).pipe(
      Effect.zipRight(annotate({ request_id: requestId })),
      Effect.zipRight(
        FiberRef.update(FiberRef.currentTracerSpanAnnotations, HashMap.set<string, unknown>("request.id", requestId))
      )
    )
    const span = Context.getOption(fiber.currentContext, Tracer.ParentSpan)
    if (span._tag === "Some" && span.value._tag === "Span") {
      // The platform's span has the whole URL, and so what people look for with `q`.
      const about = { "request.id": requestId, "url.full": route, "url.path": route, "url.query": "" }
      for (const [name, value] of Object.entries(about)) span.value.attribute(name, value)
    }

    const answer = handler.pipe(
      Effect.mapInputContext((context: Context.Context<R | HttpServerRequest.HttpServerRequest>) =>
        context.pipe(
          Context.add(HttpServerRequest.HttpServerRequest, withBody(request)),
          Context.add(RequestId, requestId)
        )
      ),
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

    const from = clock.unsafeCurrentTimeMillis()
    return Effect.flatMap(Effect.zipRight(prepare, answer), (response) => {
      const { method } = request
      const { status } = response
      const duration_ms = clock.unsafeCurrentTimeMillis() - from
      answersOf(route, status).unsafeUpdate(1, [])
      seconds.unsafeUpdate(duration_ms / 1000, [])
      return annotate({ method, route, status, duration_ms, ...facts }).pipe(
        Effect.zipRight(Effect.logInfo("Request")),
        Effect.as(HttpServerResponse.setHeader(response, "x-request-id", requestId))
      )
    })
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
