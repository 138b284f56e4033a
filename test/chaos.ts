import { parseArgs } from "node:util"
import { Cause, Clock, Config, Console, Effect, Exit, Random } from "effect"
import { build } from "./support/Build.ts"
import * as Scenarios from "./support/ClusterScenarios.ts"

/**
 * A longer run of test/e2e/Cluster.test.ts. Prints how often each event happened, and exits with 1 after an error.
 * `--seed` repeats a run as far as the timing of processes allows. `--only` selects scenarios.
 */
const { values } = parseArgs({ options: { seed: { type: "string" }, only: { type: "string", multiple: true } } })

const scenarios = {
  crowd: Scenarios.crowd(64),
  "same-key": Scenarios.sameKey(50),
  places: Scenarios.places(50, 5),
  leavers: Scenarios.leavers(100),
  resumers: Scenarios.resumers(50),
  cancels: Scenarios.cancels(20),
  rolling: Scenarios.rolling(15, 4, 3),
  proxied: Scenarios.proxied(10_000, 100),
  outage: Scenarios.outage(20, 5, "5 seconds"),
  freeze: Scenarios.freeze,
  kills: Scenarios.kills(20, 10, 10)
}

const play = Effect.gen(function* () {
  const seed = values.seed ?? String(yield* Clock.currentTimeMillis)
  yield* Console.log(`--seed ${seed}`)
  let failures = 0
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (values.only?.includes(name) === false) continue
    const { counts, wrong } = yield* Effect.withRandom(scenario, Random.make(`${seed} ${name}`))
    failures += wrong.length
    yield* Console.log(`\n${name}: ${wrong.length === 0 ? "nothing wrong" : `${wrong.length} wrong`}`)
    for (const [what, n] of counts) yield* Console.log(`${String(n).padStart(8)} ${what}`)
    for (const what of wrong) yield* Console.log(`   wrong: ${what}`)
  }
  return failures
})

const main = Effect.gen(function* () {
  yield* build
  const databaseUrl = Effect.orDie(Config.string("DATABASE_URL"))
  return yield* Effect.provide(play, Scenarios.layer(databaseUrl))
})

const fiber = Effect.runFork(main)
// End all started processes before this one.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => fiber.unsafeInterruptAsFork(fiber.id()))
fiber.addObserver((exit) => {
  if (Exit.isFailure(exit)) console.error(Cause.pretty(exit.cause))
  process.exitCode = Exit.isSuccess(exit) && exit.value === 0 ? 0 : 1
})
