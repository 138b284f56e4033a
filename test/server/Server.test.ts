import { HttpServer, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Server from "../../src/server/Server.ts"

describe("the listener", () => {
  it.scopedLive("answers requests that arrive before its handler is set", () =>
    Effect.gen(function* () {
      const server = yield* HttpServer.HttpServer
      const listener = yield* Server.Listener
      const url = HttpServer.formatAddress(server.address)
      const arrived = Effect.async<void>((resume) => void listener.once("connection", () => resume(Effect.void)))
      const asking = yield* Effect.fork(Effect.promise(() => fetch(url).then((response) => response.text())))
      yield* arrived
      yield* Effect.sleep("50 millis")
      yield* server.serve(HttpServerResponse.text("here"))
      assert.strictEqual(yield* Fiber.join(asking), "here")
    }).pipe(Effect.provide(Server.layer({ host: "127.0.0.1", port: 0 })))
  )
})
