/** Tests as an embedder writes them, with the kit of the build in `dist`. Tells what they took, to whoever started it. */
import { Effect, Logger } from "effect"
import { Sql, UserId } from "../dist/index.js"
import { ScriptedModel, TestServer } from "../dist/testing.js"

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1e6
}

const test = (n) =>
  Effect.gen(function* () {
    const user = UserId.make(n)
    const client = yield* (yield* TestServer).client(user)
    const path = { user_id: user }
    const answer = yield* client.chat.send({ path, headers: {}, payload: { message: "Add milk" } })
    const { total } = yield* client.tasks.list({ path, urlParams: {} })
    if (answer.assistantMessage !== "Done." || total !== 1) throw new Error("A test failed")
    return cpu()
  }).pipe(
    Effect.provide(TestServer.layerOpen({ script: [ScriptedModel.call("create_task", { title: "Milk" }), "Done."] }))
  )

const further = 10

const tests = Effect.gen(function* () {
  const first = yield* test(1)
  let last = first
  for (let n = 0; n < further; n++) last = yield* test(2 + n)
  return { first, further: (last - first) / further }
}).pipe(Effect.provide(Sql.layerTest), Effect.provide(Logger.remove(Logger.defaultLogger)))

process.send(await Effect.runPromise(tests), () => process.exit())
