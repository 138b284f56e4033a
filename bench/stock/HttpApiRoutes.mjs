import { HttpApiBuilder, HttpLayerRouter, HttpServer, HttpServerError } from "@effect/platform"
import { Context, Effect, Layer } from "effect"
import { InvalidRequest } from "../../dist/domain/Request.js"

export const group = HttpApiBuilder.group

/**
 * `HttpLayerRouter.addHttpApi` without its own answers to failures: they are passed on, as ours are.
 *
 * @param {any} api
 */
export const mount = (api) => {
  const paths = new Set(
    Object.values(api.groups).flatMap(({ endpoints }) =>
      Object.values(endpoints).map(({ method, path }) => `${method} ${path}`)
    )
  )
  return HttpApiBuilder.Router.unwrap(({ routes }) =>
    HttpLayerRouter.use((router) =>
      Effect.contextWithEffect((context) =>
        router.addAll(
          [...routes]
            .filter(({ method, path }) => paths.has(`${method} ${path}`))
            .map(({ handler, method, path, uninterruptible }) =>
              HttpLayerRouter.route(
                /** @type {any} */ (method),
                path,
                Effect.mapInputContext(refusingBodies(handler), (input) => Context.merge(context, input)),
                { uninterruptible }
              )
            )
        )
      )
    )
  ).pipe(Layer.provide(HttpServer.layerContext))
}

/** A body that is not JSON is a defect in the library, which it answers with 400. */
const refusingBodies = (handler) =>
  Effect.catchAllDefect(handler, (defect) =>
    defect instanceof HttpServerError.RequestError
      ? new InvalidRequest({ errors: [{ path: "", message: "the body is not JSON" }] })
      : Effect.die(defect)
  )
