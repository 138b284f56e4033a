import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, FiberRef, Option } from "effect"
import * as FiberContext from "../../src/runtime/FiberContext.ts"
import * as FiberState from "../../src/runtime/FiberState.ts"
import * as Span from "../../src/runtime/Span.ts"

class Name extends Context.Reference<Name>()("test/Name", { defaultValue: () => "nobody" }) {}

/** Ours, and what they stand for. */
const pieces = {
  ours: FiberContext,
  "the library's": {
    mapInputContext: Effect.mapInputContext,
    provideService: Effect.provideService
  } as typeof FiberContext
}

describe.each(Object.entries(pieces))("services for an effect, %s", (_, { mapInputContext, provideService }) => {
  const named = provideService(Name, "Ada")

  it.effect("apply only to that effect, whether it succeeds or fails", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* named(Name), "Ada")
      assert.strictEqual(yield* Name, "nobody")
      assert.strictEqual(yield* Effect.flip(named(Effect.flatMap(Name, Effect.fail))), "Ada")
      assert.strictEqual(yield* Name, "nobody")
      assert.deepStrictEqual(yield* Effect.exit(named(Effect.die("no"))), Exit.die("no"))
      assert.strictEqual(yield* Name, "nobody")
    })
  )

  it.effect("are made from the surrounding ones, when nested and in forked fibers", () =>
    Effect.gen(function* () {
      const twice = mapInputContext((context: Context.Context<never>) =>
        Context.add(context, Name, `${Context.get(context, Name)} and ${Context.get(context, Name)}`)
      )
      const forked = Effect.flatMap(Effect.fork(Name), Fiber.join)
      assert.strictEqual(yield* named(Effect.zipLeft(twice(forked), Name)), "Ada and Ada")
      assert.strictEqual(yield* named(Effect.zipRight(twice(Name), Name)), "Ada")
    })
  )

  it.scoped("keep the other references that the effect sets", () =>
    Effect.gen(function* () {
      const level = yield* FiberRef.make(1)
      yield* named(FiberRef.set(level, 2))
      assert.strictEqual(yield* FiberRef.get(level), 2)
      assert.strictEqual(yield* Name, "nobody")
      yield* Effect.flatMap(Effect.fork(named(FiberRef.set(level, 3))), Fiber.join)
      assert.strictEqual(yield* FiberRef.get(level), 3)
    })
  )
})

describe("a fiber's state", () => {
  it.effect("holds services and annotations until the fiber forgets them", () =>
    Effect.gen(function* () {
      const seen = yield* Effect.flatMap(
        Effect.fork(
          Effect.gen(function* () {
            const inside = yield* FiberState.provide(Context.make(Name, "Ada"))(Name)
            const after = yield* Name
            yield* FiberState.forget
            return [inside, after, yield* Name]
          })
        ),
        Fiber.join
      )
      assert.deepStrictEqual(seen, ["Ada", "Ada", "nobody"])
    })
  )
})

describe("spans", () => {
  it.effect("are nested, end with their effect, and have its attributes", () =>
    Effect.gen(function* () {
      const current = Effect.map(Effect.currentSpan, ({ name, parent }) => [
        name,
        Option.getOrUndefined(Option.map(parent, (outer) => (outer._tag === "Span" ? outer.name : outer.spanId)))
      ])
      const [outer, inner, statement] = yield* Span.withSpan("outer")(
        Effect.all([current, Span.withSpan("inner")(current), Span.useSpan("statement")(current)])
      )
      assert.deepStrictEqual(
        [outer, inner, statement],
        [
          ["outer", undefined],
          ["inner", "outer"],
          ["outer", undefined]
        ]
      )
      const span = yield* Span.withSpan("told")(Span.annotate({ id: 7 })(Effect.currentSpan))
      assert.strictEqual(span.attributes.get("id"), 7)
      assert.strictEqual(span.status._tag, "Ended")
      const failed = yield* Effect.flip(Span.withSpan("failed")(Effect.flatMap(Effect.currentSpan, Effect.fail)))
      assert.isTrue("status" in failed && failed.status._tag === "Ended")
    })
  )
})
