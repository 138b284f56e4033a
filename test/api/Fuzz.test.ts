import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { fuzz } from "../support/Fuzz.ts"
import * as Server from "../support/Server.ts"

layer(Server.layer({ hasErasure: true }))("fuzz", (it) => {
  it.effect(
    "valid and invalid requests are answered as the document says, none with a 5xx",
    () => Effect.map(fuzz("sample", 500), (wrong) => assert.deepStrictEqual(wrong, [])),
    120_000
  )
})
