import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import {
  Cause,
  Clock,
  Context,
  Effect,
  type Fiber,
  FiberRef,
  HashMap,
  Metric,
  MetricBoundaries,
  MetricLabel,
  Tracer
} from "effect"
import { isProblem } from "../domain/Problem.ts"
import { RequestId } from "../domain/Request.ts"
import * as FiberState from "../runtime/FiberState.ts"
import * as Memo from "../runtime/Memo.ts"
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

/** What comes together for one answer while it is made. */
class Gathered extends Context.Reference<Gathered>()("taskchat/http/Exchange/Gathered", {
  defaultValue: (): {
    readonly facts: Record<string, string | number>
    readonly headers: Record<string, string>
  } => ({ facts: {}, headers: {} })
}) {}

const gatheredBy = (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Context.get(fiber.currentContext, Gathered)

/** As `note`, for whoever has the request's fiber at hand. */
export const noteOn = (fiber: Fiber.RuntimeFiber<unknown, unknown>, facts: Readonly<Record<string, string | number>>) =>
  void Object.assign(gatheredBy(fiber).facts, facts)

/** As `announce`, for whoever has the request's fiber at hand. */
export const announceOn = (fiber: Fiber.RuntimeFiber<unknown, unknown>, headers: Readonly<Record<string, string>>) =>
  void Object.assign(gatheredBy(fiber).headers, headers)

/** Has the request's log line name these: ids, never what anyone wrote. */
export const note = (facts: Readonly<Record<string, string | number>>): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    noteOn(fiber, facts)
    return Effect.void
  })

/** Gives the request's answer these header fields, whatever answer it will be. */
export const announce = (headers: Readonly<Record<string, string>>): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    announceOn(fiber, headers)
    return Effect.void
  })

/** The counter of a route's answers of one status. With both labels at once: of two tags, every update makes a key anew. */
const answersOf = Memo.byText((route) =>
  Memo.byText((status) =>
    Metric.taggedWithLabels(requests, [MetricLabel.make("route", route), MetricLabel.make("status", status)])
  )
)

const logged = Effect.logInfo("Request")

/**
 * One request and its answer: gives it its id, turns whatever fails into a problem, counts it and writes its log line.
 * `route` is the path's template, which names nobody.
 */
export const exchange = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  route: string
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest.HttpServerRequest> =>
  Effect.withFiberRuntime((fiber) => {
    const { currentContext: given } = fiber
    const request = Context.unsafeGet(given, HttpServerRequest.HttpServerRequest)
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const from = clock.unsafeCurrentTimeMillis()
    const requestId = requestIdOf(request)
    const gathered = { facts: {}, headers: { "x-request-id": requestId } }
    // What has the request in it was made for it alone; a copy for two more services takes as long as all else here.
    given.unsafeMap.set(RequestId.key, requestId).set(Gathered.key, gathered)

    const answer = Effect.catchAllCause(handler, (cause) => {
      // The client has gone, so there is nobody to answer.
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const problem = problemOf(cause)
      const response = Effect.succeed(respond(problem, requestId))
      return problem.about.status < 500 || isProblem(Cause.squash(cause))
        ? response
        : Effect.zipRight(Effect.logError(problem.about.title, cause), response)
    })
    const told = Effect.flatMap(answer, (response) => {
      const { status } = response
      const duration_ms = clock.unsafeCurrentTimeMillis() - from
      answersOf(route)(String(status)).unsafeUpdate(1, [])
      seconds.unsafeUpdate(duration_ms / 1000, [])
      const line = { method: request.method, route, status, duration_ms, ...gathered.facts }
      return FiberState.annotate(line).pipe(
        Effect.zipRight(logged),
        Effect.as(HttpServerResponse.setHeaders(response, gathered.headers))
      )
    })
    return FiberState.annotate({ request_id: requestId }).pipe(
      Effect.zipRight(fiber.getFiberRef(FiberRef.currentTracerEnabled) ? trace(given, requestId, route) : Effect.void),
      Effect.zipRight(told)
    )
  })

/** Every span of the request names it. */
const trace = (context: Context.Context<never>, requestId: string, route: string) => {
  const span = Context.getOption(context, Tracer.ParentSpan)
  if (span._tag === "Some" && span.value._tag === "Span") {
    // The platform's span has the whole URL, and so what people look for with `q`.
    const about = { "request.id": requestId, "url.full": route, "url.path": route, "url.query": "" }
    for (const [name, value] of Object.entries(about)) span.value.attribute(name, value)
  }
  return FiberRef.update(FiberRef.currentTracerSpanAnnotations, HashMap.set<string, unknown>("request.id", requestId))
}

/** Has every route it is provided to answer so. */
export const middleware = HttpLayerRouter.middleware(
  <E, R>(
    handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ): Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    E,
    R | HttpServerRequest.HttpServerRequest | HttpLayerRouter.RouteContext
  > =>
    Effect.withFiberRuntime((fiber) => {
      const { route } = Context.unsafeGet(fiber.currentContext, HttpLayerRouter.RouteContext)
      return exchange(handler, route.path)
    })
)
