import { spawnSync } from "node:child_process"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Random, Redacted } from "effect"
import { build } from "../support/Build.ts"
import * as Scenarios from "../support/ClusterScenarios.ts"
import * as Database from "../support/Database.ts"
import * as PostgresServer from "../support/PostgresServer.ts"

const seed = process.env["SEED"] ?? "taskchat"

const hasNginx = spawnSync("nginx", ["-v"], { env: { PATH: `${process.env["PATH"]}:/usr/sbin` } }).status === 0

const stage = Layer.unwrapEffect(
  Effect.as(build, Scenarios.layer(Effect.map(Database.freshUrl, (url) => Redacted.value(url))))
)

const findsNothing = (
  scenario: Effect.Effect<Scenarios.Findings, never, Layer.Layer.Success<ReturnType<typeof Scenarios.layer>>>
) =>
  Effect.gen(function* () {
    const { counts, wrong } = yield* Effect.withRandom(scenario, Random.make(seed))
    assert.deepStrictEqual(wrong, [], `SEED=${seed} ${JSON.stringify(Object.fromEntries(counts))}`)
  })

// Several processes, which cannot share the embedded database.
describe.runIf(Database.isRealPostgres && hasNginx)("three nodes and nginx, as processes", { timeout: 120_000 }, () => {
  layer(stage, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("answer one of 64 concurrent messages in a conversation", () => findsNothing(Scenarios.crowd(64)))

    it.effect("run one turn for 50 requests with one key", () => findsNothing(Scenarios.sameKey(50)))

    it.effect("limit a user's running turns exactly", () => findsNothing(Scenarios.places(20, 5)))

    it.effect("complete the turns of clients that disconnect", () => findsNothing(Scenarios.leavers(10)))

    it.effect("let readers continue on other nodes repeatedly", () => findsNothing(Scenarios.resumers(6)))

    it.effect("cancel a turn from any node", () => findsNothing(Scenarios.cancels(3)))

    it.effect("restart in sequence without a failed request", () => findsNothing(Scenarios.rolling(6, 2, 1)))

    it.effect.runIf(PostgresServer.isInstalled)("answer all while the database is away, and lose no turn", () =>
      findsNothing(Scenarios.outage(6, 2, "5 seconds"))
    )

    it.effect("do not write to a turn whose lease lapsed while the node was frozen", () =>
      findsNothing(Scenarios.freeze)
    )

    it.effect("lose nothing and repeat nothing when killed", () => findsNothing(Scenarios.kills(5, 4, 2)))
  })
})
