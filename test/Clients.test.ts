import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { call } from "../src/testing/ScriptedModel.ts"
import { programs } from "./support/ClientPrograms.ts"
import * as Server from "./support/Server.ts"
import { newUser, tokenOf } from "./support/Server.ts"

layer(Server.layer())("clients", (it) => {
  it.scoped(
    "openapi-typescript with openapi-fetch, and @hey-api/openapi-ts: what they generate compiles and works",
    () =>
      Effect.gen(function* () {
        const { port, plays } = yield* Server.Server
        yield* plays("Add milk", call("create_task", { title: "Milk" }), "Added.")
        const { complaints, run } = yield* programs
        assert.deepStrictEqual(complaints, [])
        for (const name of ["openapi-fetch", "hey-api"] as const) {
          const user = yield* newUser
          const report = yield* run(name, {
            baseUrl: `http://127.0.0.1:${port}`,
            token: yield* tokenOf(user),
            user
          })
          assert.deepStrictEqual(report, {
            said: "Added.",
            tools: ["create_task"],
            titles: [["Call the bank", "high"]],
            changed: 412,
            invalid: [["title", "must have 1 to 200 characters"]],
            missing: "task_not_found",
            streamed: "Hello."
          })
        }
      })
  )
})
