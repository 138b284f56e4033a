import { monitorEventLoopDelay } from "node:perf_hooks"
import { assert, layer } from "@effect/vitest"
import { Console, Effect } from "effect"
import { fuzz } from "../support/Fuzz.ts"
import * as Server from "../support/Server.ts"

/** `npm run fuzz` sends 20,000. */
const requests = Number(process.env["FUZZ"] ?? 400)
const seed = process.env["FUZZ_SEED"] ?? "sample"

layer(Server.layer())("fuzz", (it) => {
  it.effect(
    "requests, valid or not, are answered as the document says, none with a 5xx",
    () =>
      Effect.gen(function* () {
        const delay = monitorEventLoopDelay({ resolution: 1 })
        delay.enable()
        const wrong = yield* fuzz(seed, requests)
        delay.disable()
        if (process.env["FUZZ"] !== undefined) {
          yield* Console.log(`${requests} requests; the event loop was blocked for ${delay.max / 1e6} ms at most`)
        }
        assert.deepStrictEqual(wrong, [])
      }),
    1_200_000
  )
})
