import {
  type Headers,
  HttpApp,
  type HttpMiddleware,
  HttpServerError,
  HttpServerRequest,
  type HttpServerResponse,
  HttpTraceContext
} from "@effect/platform"
import { Cause, Context, Effect, type Exit, FiberRef, Option, Scope, Tracer } from "effect"
import * as FiberState from "./FiberState.ts"
import * as Span from "./Span.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

/**
 * Handles one request to its end, as the last effect of a fiber. Stands for `HttpApp.toHandled`; `HttpServer.ts` needs it.
 * It provides the request, its scope and its span in one step, where the library changes the fiber's context for each.
 * Spans have only headers that reveal nothing about the sender. `respond` may be called again after an answer.
 */
export const toHandled = (
  app: HttpApp.Default<unknown, Scope.Scope>,
  request: Request,
  respond: (response: Response) => Effect.Effect<void, HttpServerError.ResponseError>,
  middleware?: HttpMiddleware.HttpMiddleware
): Effect.Effect<void, unknown> => {
  const answer = (response: Response): Effect.Effect<Response, HttpServerError.ResponseError> =>
    Effect.flatMap(FiberRef.get(HttpApp.currentPreResponseHandlers), (handlers) =>
      Option.isNone(handlers)
        ? Effect.as(respond(response), response)
        : Effect.tap(handlers.value(request, response), respond)
    )
  const answered = Effect.catchAllCause(Effect.flatMap(app, answer), (cause) =>
    Effect.flatMap(HttpServerError.causeResponse(cause), ([response, rest]) =>
      Cause.isEmptyType(rest) ? answer(response) : Effect.zipRight(answer(response), Effect.failCause(rest))
    )
  )
  // A middleware's own answer is not sent yet.
  const handled: HttpApp.Default<unknown, Scope.Scope> =
    middleware === undefined
      ? answered
      : Effect.matchCauseEffect(middleware(answered), {
          onFailure: (cause) =>
            Effect.flatMap(HttpServerError.causeResponse(cause), ([response]) =>
              Effect.as(respond(response), response)
            ),
          onSuccess: (response) => Effect.as(respond(response), response)
        })
  return Effect.uninterruptible(
    Effect.flatMap(Scope.make(), (scope) =>
      Effect.flatMap(spanOf(request), (span) =>
        Effect.exit(handled).pipe(
          Effect.flatMap((exit) => {
            tellResponse(span, exit)
            return Effect.zipRight(Scope.close(scope, exit), Effect.zipRight(Span.end(span, exit), exit))
          }),
          FiberState.provide(servicesOf(request, scope, span))
        )
      )
    )
  )
}

const servicesOf = (request: Request, scope: Scope.Scope, span: Tracer.Span | undefined) => {
  const services = Context.make(HttpServerRequest.HttpServerRequest, request).pipe(Context.add(Scope.Scope, scope))
  // Safe: nothing requires a span by its type.
  return span === undefined ? services : Context.add(services, Tracer.ParentSpan, span)
}

const spanOf = (request: Request) =>
  Effect.map(
    Span.make(`http.server ${request.method}`, {
      kind: "server",
      parent: Option.getOrUndefined(HttpTraceContext.fromHeaders(request.headers))
    }),
    (span) => {
      tellRequest(span, request)
      return span
    }
  )

/** Headers that reveal nothing about the sender. */
const headerNames = ["content-length", "content-type", "retry-after"]

const tellHeaders = (span: Tracer.Span, of: "request" | "response", headers: Headers.Headers) => {
  for (const name of headerNames) {
    if (headers[name] !== undefined) span.attribute(`http.${of}.header.${name}`, headers[name])
  }
}

const tellRequest = (span: Tracer.Span | undefined, { headers, method, remoteAddress }: Request) => {
  if (span === undefined) return
  span.attribute("http.request.method", method)
  if (headers["user-agent"] !== undefined) span.attribute("user_agent.original", headers["user-agent"])
  if (Option.isSome(remoteAddress)) span.attribute("client.address", remoteAddress.value)
  tellHeaders(span, "request", headers)
}

const tellResponse = (span: Tracer.Span | undefined, exit: Exit.Exit<Response, unknown>) => {
  if (span === undefined) return
  const { headers, status } = HttpServerError.exitResponse(exit)
  span.attribute("http.response.status_code", status)
  tellHeaders(span, "response", headers)
}
