import { HttpLayerRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import type { Page } from "playwright-core"
import { RateLimits, Services, UserId } from "taskchat"
import { ScriptedModel } from "taskchat/testing"
import * as Mounted from "../../examples/mounted.ts"
import { Sessions } from "../../examples/users.ts"
import { Browser, hasBrowser, open } from "../support/Browser.ts"
import * as Database from "../support/Database.ts"
import * as Server from "../support/Server.ts"
import { newUser, tokenOf } from "../support/Server.ts"

const embedded = HttpLayerRouter.serve(Mounted.app, { disableListenLog: true, disableLogger: true }).pipe(
  Layer.provide(
    Services.layer().pipe(
      Layer.provide(ScriptedModel.layer(() => "Hello.")),
      Layer.provideMerge(Database.layer),
      Layer.merge(RateLimits.layerTest),
      Layer.merge(
        Layer.succeed(Sessions, {
          userOf: (session) => Effect.succeed(session === "mine" ? Option.some(UserId.make(1)) : Option.none())
        })
      )
    )
  ),
  Layer.provideMerge(NodeHttpServer.layerTest)
)

const authorize = async (page: Page, token: string) => {
  await page.getByRole("button", { name: "Authorize" }).first().click()
  const dialog = page.locator(".modal-ux")
  await dialog.locator("input").fill(token)
  await dialog.getByRole("button", { name: "Apply credentials" }).click()
  await dialog.locator("button.btn-done").click()
}

/** Tries out `GET …/api/me` on the page, and gives back what it shows of the answer. */
const tryOut = async (page: Page) => {
  const operation = page.locator("#operations-users-getMe, [id^='operations-users-']").first()
  await operation.locator("button").first().click()
  await operation.getByRole("button", { name: "Try it out" }).click()
  await operation.getByRole("button", { name: "Execute" }).click()
  const answer = operation.locator(".live-responses-table")
  await answer.waitFor()
  return { answer: (await answer.textContent()) ?? "", url: await operation.locator(".request-url").textContent() }
}

describe.skipIf(!hasBrowser)("/docs, tried out", () => {
  layer(Layer.merge(Server.layer(), Browser.layer), { timeout: "3 minutes" })((it) => {
    it.scoped("sends requests with the given token", () =>
      Effect.gen(function* () {
        const page = yield* open()
        const { port } = yield* Server.Server
        const user = yield* newUser
        const token = yield* tokenOf(user)
        const { answer } = yield* Effect.promise(async () => {
          await page.goto(`http://127.0.0.1:${port}/docs`)
          await authorize(page, token)
          return await tryOut(page)
        })
        assert.include(answer, `"user_id": ${user}`)
      })
    )

    it.scoped("shows the events of a stream as they arrive", () =>
      Effect.gen(function* () {
        const { plays, port } = yield* Server.Server
        const { resume } = yield* ScriptedModel.ScriptedModel
        yield* plays("Count", ["One, ", ScriptedModel.pause, "two."])
        const page = yield* open()
        const user = yield* newUser
        const token = yield* tokenOf(user)
        yield* Effect.promise(async () => {
          await page.goto(`http://127.0.0.1:${port}/docs`)
          await authorize(page, token)
          const operation = page.locator(".opblock", { hasText: "/chat/stream" })
          await operation.locator(".opblock-summary-control").click()
          await operation.getByRole("button", { name: "Try it out" }).click()
          await operation.getByPlaceholder("user_id").fill(String(user))
          await operation.getByRole("textbox").last().fill(`{ "message": "Count" }`)
          await operation.getByRole("button", { name: "Execute" }).click()
          const answer = operation.locator(".live-responses-table")
          await answer.getByText(`{"content":"One, ","done":false}`).waitFor()
          assert.strictEqual(await answer.getByText("two.").count(), 0)
          await Effect.runPromise(resume)
          await answer.getByText(`{"content":"two.","done":false}`).waitFor()
          await answer.getByText(`"done":true`).waitFor()
        })
      })
    )
  })

  layer(Layer.merge(embedded, Browser.layer), { timeout: "3 minutes" })((it) => {
    it.scoped("sends requests under the prefix, with the app's own cookie", () =>
      Effect.gen(function* () {
        const page = yield* open()
        const origin = yield* HttpServer.addressFormattedWith(Effect.succeed)
        const { answer, url } = yield* Effect.promise(async () => {
          await page.context().addCookies([{ name: "session", value: "mine", url: origin }])
          await page.goto(`${origin}/assistant/docs`)
          return await tryOut(page)
        })
        assert.include(url, "/assistant/api/me")
        assert.include(answer, '"user_id": 1')
      })
    )
  })
})
