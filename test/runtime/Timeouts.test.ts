import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { Timeouts } from "../../src/runtime/Timeouts.ts"

const recorder = () => {
  const ended: Array<string> = []
  return { ended, record: (name: string) => () => void ended.push(name) }
}

describe("Timeouts", () => {
  it.scoped("call back when their time is up, unless they are cancelled", () =>
    Effect.gen(function* () {
      const timeouts = yield* Timeouts.make(1000)
      const { record, ended } = recorder()
      yield* timeouts.schedule(record("first"))
      yield* TestClock.adjust(400)
      let cancelFirst = () => {}
      yield* timeouts.schedule(record("cancelled"), ({ cancel }) => {
        cancelFirst = cancel
      })
      yield* timeouts.schedule(record("last"))
      yield* TestClock.adjust(599)
      assert.deepStrictEqual(ended, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(ended, ["first"])
      cancelFirst()
      yield* TestClock.adjust(399)
      assert.deepStrictEqual(ended, ["first"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(ended, ["first", "last"])
      // The fiber ended with the last timeout. The next timeout starts it again.
      yield* timeouts.schedule(record("again"))
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(ended, ["first", "last", "again"])
    })
  )

  it.scoped("may cancel others in a callback, earlier and later ones", () =>
    Effect.gen(function* () {
      const timeouts = yield* Timeouts.make(1000)
      const { record, ended } = recorder()
      const cancels: Array<() => void> = []
      const set = (name: string, also = () => {}) =>
        timeouts.schedule(
          () => {
            also()
            record(name)()
            return undefined
          },
          ({ cancel }) => cancels.push(cancel)
        )
      yield* set("first")
      yield* set("second", () => {
        for (const i of [0, 1, 2, 4]) cancels[i]?.()
      })
      yield* set("third")
      yield* set("fourth")
      yield* set("fifth")
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(ended, ["first", "second", "fourth"])
      yield* set("sixth")
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(ended, ["first", "second", "fourth", "sixth"])
    })
  )

  it.scoped("call back again after the time that a callback returns", () =>
    Effect.gen(function* () {
      const timeouts = yield* Timeouts.make(1000)
      const left = [300, 200]
      const ended: Array<number> = []
      yield* timeouts.schedule(() => {
        ended.push(left.length)
        return left.shift()
      })
      yield* TestClock.adjust(1299)
      assert.deepStrictEqual(ended, [2])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(ended, [2, 1])
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(ended, [2, 1, 0])
      yield* TestClock.adjust(5000)
      assert.deepStrictEqual(ended, [2, 1, 0])
    })
  )

  it.scoped("go on when a callback throws", () =>
    Effect.gen(function* () {
      const timeouts = yield* Timeouts.make(1000)
      const { record, ended } = recorder()
      yield* timeouts.schedule(() => {
        throw new Error("broken")
      })
      yield* timeouts.schedule(record("next"))
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(ended, ["next"])
      yield* timeouts.schedule(record("later"))
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(ended, ["next", "later"])
    })
  )

  it.effect("are cancelled when their scope closes", () =>
    Effect.gen(function* () {
      const { record, ended } = recorder()
      yield* Effect.scoped(
        Effect.flatMap(Timeouts.make(1000), (timeouts) => Effect.uninterruptible(timeouts.schedule(record("late"))))
      )
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(ended, [])
    })
  )
})
