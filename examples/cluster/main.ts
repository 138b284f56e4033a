import { randomBytes } from "node:crypto"
import { Cause, Config, Console, Effect, Exit, Redacted } from "effect"
import { SignJWT } from "jose"
import * as Cluster from "./Cluster.ts"

/** Three nodes and nginx on one PostgreSQL and Redis, until Ctrl-C. All other variables reach the nodes as they are. */
const main = Effect.gen(function* () {
  const databaseUrl = yield* Config.withDefault(Config.string("DATABASE_URL"), "postgres://127.0.0.1:5432/postgres")
  const redisUrl = yield* Config.withDefault(Config.string("REDIS_URL"), "redis://127.0.0.1:6379")
  const made = Redacted.make(randomBytes(32).toString("base64url"))
  const secret = Redacted.value(yield* Config.withDefault(Config.redacted("JWT_SECRET"), made))
  const port = yield* Config.withDefault(Config.port("PORT"), 8080)
  const inherited = Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))

  const { folder, nodes, url } = yield* Cluster.make({
    environment: {
      ...Object.fromEntries(inherited),
      DATABASE_URL: databaseUrl,
      REDIS_URL: redisUrl,
      JWT_SECRET: secret
    },
    ports: [3001, 3002, 3003],
    port
  })

  const token = yield* Effect.promise(() =>
    new SignJWT({ user_id: 1 })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime("1 day")
      .sign(new TextEncoder().encode(secret))
  )
  yield* Console.log(`
nginx    ${url}
nodes    ${nodes.map(({ url }) => url).join("  ")}
logs     ${folder}

export TASKCHAT=${url} TOKEN=${token}
curl -sN $TASKCHAT/api/1/chat/stream -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"message":"add buy milk"}'

Ctrl-C ends them all.`)
  return yield* Effect.never
})

const fiber = Effect.runFork(Effect.scoped(main))
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => fiber.unsafeInterruptAsFork(fiber.id()))
fiber.addObserver((exit) => {
  if (Exit.isInterrupted(exit)) return
  process.exitCode = 1
  if (Exit.isFailure(exit)) console.error(Cause.pretty(exit.cause))
})
