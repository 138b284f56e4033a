import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { Alarms } from "../../src/runtime/Timeouts.ts"

const bell = () => {
  const rung: Array<string> = []
  return { rung, ring: (name: string) => () => void rung.push(name) }
}

describe("Alarms", () => {
  it.scoped("ring when their time is up, unless they are off by then", () =>
    Effect.gen(function* () {
      const alarms = yield* Alarms.make(1000)
      const { ring, rung } = bell()
      yield* alarms.set(ring("first"))
      yield* TestClock.adjust(400)
      let isOff = () => {}
      yield* alarms.set(ring("off"), ({ off }) => {
        isOff = off
      })
      yield* alarms.set(ring("last"))
      yield* TestClock.adjust(599)
      assert.deepStrictEqual(rung, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(rung, ["first"])
      isOff()
      yield* TestClock.adjust(399)
      assert.deepStrictEqual(rung, ["first"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(rung, ["first", "last"])
      // None was left, so nobody slept: the next one is noticed all the same.
      yield* alarms.set(ring("again"))
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(rung, ["first", "last", "again"])
    })
  )

  it.scoped("may put off others as they ring, before them and behind them", () =>
    Effect.gen(function* () {
      const alarms = yield* Alarms.make(1000)
      const { ring, rung } = bell()
      const offs: Array<() => void> = []
      const set = (name: string, also = () => {}) =>
        alarms.set(
          () => {
            also()
            ring(name)()
            return undefined
          },
          ({ off }) => offs.push(off)
        )
      yield* set("first")
      yield* set("second", () => {
        for (const i of [0, 1, 2, 4]) offs[i]?.()
      })
      yield* set("third")
      yield* set("fourth")
      yield* set("fifth")
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(rung, ["first", "second", "fourth"])
      yield* set("sixth")
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(rung, ["first", "second", "fourth", "sixth"])
    })
  )

  it.scoped("ring again after as long as they ask for", () =>
    Effect.gen(function* () {
      const alarms = yield* Alarms.make(1000)
      const left = [300, 200]
      const rung: Array<number> = []
      yield* alarms.set(() => {
        rung.push(left.length)
        return left.shift()
      })
      yield* TestClock.adjust(1299)
      assert.deepStrictEqual(rung, [2])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(rung, [2, 1])
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(rung, [2, 1, 0])
      yield* TestClock.adjust(5000)
      assert.deepStrictEqual(rung, [2, 1, 0])
    })
  )

  it.scoped("ring on when one of them failed", () =>
    Effect.gen(function* () {
      const alarms = yield* Alarms.make(1000)
      const { ring, rung } = bell()
      yield* alarms.set(() => {
        throw new Error("broken")
      })
      yield* alarms.set(ring("next"))
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(rung, ["next"])
      yield* alarms.set(ring("later"))
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(rung, ["next", "later"])
    })
  )

  it.effect("let their scope close, whoever set them", () =>
    Effect.gen(function* () {
      const { ring, rung } = bell()
      yield* Effect.scoped(
        Effect.flatMap(Alarms.make(1000), (alarms) => Effect.uninterruptible(alarms.set(ring("late"))))
      )
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(rung, [])
    })
  )
})
