import { PassThrough } from "node:stream"
import { FetchHttpClient } from "@effect/platform"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { Client } from "../../src/client.ts"
import * as ChatTerminal from "../../src/server/ChatTerminal.ts"
import * as ScriptedModel from "../../src/testing/ScriptedModel.ts"
import * as Server from "../support/Server.ts"
import { newUser, tokenOf } from "../support/Server.ts"

const { call, fail, faults, pause } = ScriptedModel

/** A conversation of a new user, with the text written to the terminal. */
const terminal = (isInteractive: boolean) =>
  Effect.gen(function* () {
    const user = yield* newUser
    const { port } = yield* Server.Server
    const token = Redacted.make(yield* tokenOf(user))
    const stdin = new PassThrough()
    const stdout = new PassThrough()
    let written = ""
    stdout.setEncoding("utf8").on("data", (text: string) => {
      written += text
    })
    const fiber = yield* Effect.forkScoped(
      ChatTerminal.run({ stdin, stdout, isInteractive }).pipe(
        Effect.provide(
          Layer.provide(Client.layer({ baseUrl: `http://127.0.0.1:${port}`, token }), FetchHttpClient.layer)
        )
      )
    )
    return {
      user,
      type: (text: string) => Effect.sync(() => void stdin.write(text)),
      close: Effect.sync(() => void stdin.end()),
      sees: (text: string) =>
        Effect.async<void>((resume) => {
          const look = () => {
            if (!written.includes(text)) return
            stdout.off("data", look)
            resume(Effect.void)
          }
          stdout.on("data", look)
          look()
        }),
      ended: Effect.map(Fiber.join(fiber), (isWell) => ({ isWell, written }))
    }
  })

layer(Server.layer({ confirm: "deletions" }), { excludeTestServices: true })("a conversation in a terminal", (it) => {
  it.scoped("in a pipe, each line is a message, and answers are plain text", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      yield* plays("add milk", ["Right. ", call("create_task", { title: "Milk" })], "It is on your list.")
      const { close, ended, type } = yield* terminal(false)
      yield* type("add milk\n/tasks\n/undo\n/tasks\n/what\nHi")
      yield* close
      const { isWell, written } = yield* ended
      assert.isTrue(isWell)
      assert.match(
        written,
        /^Right\. \n✓ create task: “Milk”\nIt is on your list\.\n#\d+ Milk\nUndone: 1 change\.\nThere are no open tasks\.\nUnknown command: \/what\n[\s\S]*\nHello\.\n$/
      )
    })
  )

  it.scoped("the result is false after a failed answer in a pipe", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      yield* plays("break", fail(faults.malformed))
      const { close, ended, type } = yield* terminal(false)
      yield* type("break\n")
      yield* close
      const { isWell, written } = yield* ended
      assert.deepStrictEqual([isWell, written], [false, "The assistant failed to answer. Please try again.\n"])
    })
  )

  it.scoped("streams an answer. Ctrl+C stops the answer, or quits at the prompt", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      yield* plays("talk", ["Well, ", pause, "never said"])
      const { ended, sees, type } = yield* terminal(true)
      yield* sees("› ")
      yield* type("talk\n")
      yield* sees("Well, ")
      yield* type("\u0003")
      yield* sees("The turn was cancelled.")
      yield* type("\u0003")
      const { isWell, written } = yield* ended
      assert.isTrue(isWell)
      assert.notInclude(written, "never said")
    })
  )

  it.scoped('shows the call that awaits approval, and "yes" runs it', () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      yield* plays("add milk too", [call("create_task", { title: "Milk" })], "It is on your list.")
      const { close, ended, sees, type, user } = yield* terminal(false)
      yield* type("add milk too\n")
      yield* sees("your list.\n")
      const { json } = yield* Server.send("GET", `/api/${user}/tasks`, { user })
      const [task] = Array.isArray(json["tasks"]) ? json["tasks"].map(Server.fieldsOf) : []
      yield* plays("delete milk", ["Shall I? ", call("delete_task", { task_id: task?.["id"] })], "It is gone.")
      yield* type("delete milk\nyes\n/tasks\n")
      yield* close
      const { isWell, written } = yield* ended
      assert.isTrue(isWell)
      assert.include(
        written,
        "Shall I? \n? delete task: “Milk”\nAnswer yes to run it. Any other answer declines it.\n✓ delete task: “Milk”\nIt is gone.\nThere are no open tasks.\n"
      )
    })
  )

  it.scoped("messages belong to one conversation until /new", () =>
    Effect.gen(function* () {
      const model = yield* ScriptedModel.ScriptedModel
      const { close, ended, type } = yield* terminal(false)
      const before = (yield* model.asked).length
      yield* type("one\ntwo\n/new\nthree\n")
      yield* close
      yield* ended
      const asked = (yield* model.asked).slice(before)
      assert.deepStrictEqual(
        asked.map(({ prompt }) => prompt.filter(({ role }) => role === "user").length),
        [1, 2, 1]
      )
    })
  )
})
