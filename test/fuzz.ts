import { parseArgs } from "node:util"
import { Clock, Config, Console, Effect, Redacted } from "effect"
import { Tokens } from "../src/services/access/Tokens.ts"
import { type Around, describe, fuzz } from "./support/Fuzz.ts"
import * as Server from "./support/Server.ts"
import { type EventLoop, secret, serve } from "./support/Service.ts"

/**
 * A longer run of test/api/Fuzz.test.ts. The service is a separate process, so that the client does not block its event
 * loop. Exits with 1 if an answer is wrong or a request costs too much. `--seed` repeats a run.
 */
const { values } = parseArgs({
  options: { seed: { type: "string" }, requests: { type: "string", default: "20000" } }
})
const requests = Number(values.requests)

/** The most milliseconds of CPU to refuse a request, and to handle one. */
const bounds = { refused: 50, handled: 250 }

/** The cheapest of this many tries counts, to leave out garbage collection and compilation. */
const tries = 4

interface Costly extends EventLoop {
  readonly what: string
}

const none: Costly = { what: "none", cpu: 0, blocked: 0 }

const play = Effect.gen(function* () {
  const seed = values.seed ?? String(yield* Clock.currentTimeMillis)
  yield* Console.log(`--seed ${seed} --requests ${requests}`)
  const database = yield* Config.string("DATABASE_URL").pipe(Config.withDefault(""))
  const service = yield* serve(
    {
      ...(database !== "" && { DATABASE_URL: database }),
      JWT_SECRET: secret,
      RATE_LIMIT_API: "1000000",
      RATE_LIMIT_CHAT: "1000000",
      MODEL_PROVIDER: "offline"
    },
    undefined,
    true
  )
  const statuses = new Map<string, number>()
  const costly: Array<string> = []
  let [mostCpu, longestBlock] = [none, none]

  const around: Around = (attempt, send) =>
    Effect.gen(function* () {
      const once = Effect.gen(function* () {
        yield* service.eventLoop
        const answer = yield* send
        return { answer, ...(yield* service.eventLoop) }
      })
      const first = yield* once
      const { status } = first.answer
      const bound = status >= 400 ? bounds.refused : bounds.handled
      let cost: EventLoop = first
      for (let n = 1; n < tries && cost.cpu > bound; n++) {
        const again = yield* once
        if (again.cpu < cost.cpu) cost = again
      }
      const label = `${attempt.operation.operationId} ${status}`
      statuses.set(label, (statuses.get(label) ?? 0) + 1)
      const costs = { what: describe(attempt), cpu: cost.cpu, blocked: cost.blocked }
      if (cost.cpu > bound) costly.push(`${told(costs)}, more than ${bound} ms`)
      if (costs.cpu > mostCpu.cpu) mostCpu = costs
      if (costs.blocked > longestBlock.blocked) longestBlock = costs
      return first.answer
    })

  const target = Server.Server.of({ port: Number(new URL(service.url).port), plays: () => Effect.void })
  const wrong = yield* fuzz(seed, requests, around).pipe(
    Effect.provideService(Server.Server, target),
    Effect.provide(Tokens.layer({ keys: { secret: Redacted.make(secret) } }))
  )
  for (const [what, n] of Array.from(statuses).sort()) yield* Console.log(`${String(n).padStart(8)} ${what}`)
  yield* Console.log(`\nmost CPU: ${told(mostCpu)}`)
  yield* Console.log(`longest block of the event loop: ${told(longestBlock)}`)
  for (const what of [...wrong, ...costly]) yield* Console.log(`wrong: ${what}`)
  yield* Console.log(`${requests} requests, ${wrong.length + costly.length} wrong`)
  return wrong.length + costly.length
})

const told = ({ blocked, cpu, what }: Costly) =>
  `${cpu.toFixed(1)} ms of CPU, blocked for ${blocked.toFixed(1)} ms: ${what}`

process.exitCode = (await Effect.runPromise(Effect.scoped(play))) === 0 ? 0 : 1
