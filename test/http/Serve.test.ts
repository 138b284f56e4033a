import { createServer } from "node:http"
import { HttpLayerRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger } from "effect"
import * as Routes from "../../src/http/Routes.ts"
import { freePort } from "../support/Ports.ts"

it.scopedLive("Routes.serve listens once the routes are there, and writes no line of its own for a request", () =>
  Effect.gen(function* () {
    const port = yield* freePort
    const [building, isReady] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const server = createServer()
    /** Routes that take time to build, as when they wait for a database. */
    const routes = Layer.unwrapEffect(
      Effect.gen(function* () {
        yield* Deferred.succeed(building, undefined)
        yield* Deferred.await(isReady)
        return HttpLayerRouter.add("GET", "/", HttpServerResponse.text("Here."))
      })
    )
    const lines: Array<unknown> = []
    const log = Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ message }) => lines.push(message))
    )
    const built = yield* Effect.forkScoped(
      Layer.build(
        Layer.provide(
          Routes.serve(
            routes,
            NodeHttpServer.layer(() => server, { port, host: "127.0.0.1" })
          ),
          log
        )
      )
    )
    yield* Deferred.await(building)
    assert.isFalse(server.listening)
    yield* Deferred.succeed(isReady, undefined)
    const context = yield* built
    assert.isTrue(server.listening)
    const address = yield* Effect.provide(HttpServer.addressFormattedWith(Effect.succeed), context)
    assert.strictEqual(address, `http://127.0.0.1:${port}`)
    const text = yield* Effect.promise(() => fetch(address).then((response) => response.text()))
    assert.strictEqual(text, "Here.")
    assert.deepStrictEqual(lines, [])
  })
)
