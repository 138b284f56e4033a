import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { RateLimits, Routes, Services, Sql } from "taskchat"
import { ScriptedModel } from "taskchat/testing"
import { vi } from "vitest"
import { routes } from "../src/App.ts"
import { Sessions } from "../src/Users.ts"

// Vitest gives a test 5 seconds, and what comes before it 10: too little for a database on a busy machine.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

/** The app on a free port, with a model that adds milk to every list, and one database for all tests. */
const app = Routes.serve(routes, NodeHttpServer.layerTest).pipe(
  Layer.provide(Services.layer()),
  Layer.provide([
    ScriptedModel.layer(({ results }) =>
      results.length === 0 ? ScriptedModel.call("create_task", { title: "Milk" }) : "It is on your list."
    ),
    Sql.layerTest,
    Sessions.layerExample,
    RateLimits.layerTest
  ])
)

const chat = HttpClientRequest.post("/assistant/api/me/chat").pipe(
  HttpClientRequest.bodyUnsafeJson({ message: "Add milk" })
)
const signedIn = HttpClientRequest.setHeader("cookie", "session=ada")

layer(app)("the app", (it) => {
  it.effect("has its own page beside the assistant", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Effect.flatMap(HttpClient.get("/"), ({ text }) => text), "The app's own page")
    })
  )

  it.effect("answers those who are signed in, and nobody else", () =>
    Effect.gen(function* () {
      const answer = yield* HttpClient.execute(signedIn(chat))
      assert.strictEqual(answer.status, 200)
      assert.include(yield* answer.text, "It is on your list.")
      const tasks = yield* HttpClient.execute(signedIn(HttpClientRequest.get("/assistant/api/me/tasks")))
      assert.include(yield* tasks.text, "Milk")
      const stranger = yield* HttpClient.execute(chat)
      assert.strictEqual(stranger.status, 401)
      assert.include(yield* stranger.text, "Sign in first.")
    })
  )
})
