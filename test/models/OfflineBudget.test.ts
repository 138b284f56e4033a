import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, FastCheck } from "effect"
import { vi } from "vitest"
import { readRepeat } from "../../src/dates/Repeats.ts"
import { dateSpans } from "../../src/dates/Spans.ts"
import { Cursor, tokensOf } from "../../src/dates/Tokens.ts"
import { Budget, longest, mostSteps } from "../../src/models/offline/Budget.ts"
import { parse } from "../../src/models/offline/Messages.ts"
import { stepsOf as patternStepsOf } from "../support/Backtracking.ts"
import { makeChat, offline } from "../support/OfflineChat.ts"

const present = {
  now: DateTime.unsafeMake("2026-01-30T13:05:00Z"),
  zone: DateTime.zoneUnsafeMakeNamed("Europe/Berlin")
}

const stepsOf = (message: string) => {
  const budget = new Budget()
  const commands = parse(message, { ...present, budget })
  return { commands, steps: budget.steps }
}

/** Texts that took a long time to read when they were repeated. */
const piece = FastCheck.constantFrom(
  ...[", ", "a next 3 jan 4 feb\n", "a on by on by ", "delete a and b, ", "((((", '"', "'a ", "\n", "... ", "; add a"],
  ...[
    "add ",
    "remind me to ",
    "every monday ",
    "a day after ",
    "on the ",
    "in 2 days and a week ",
    "no later than ",
    "done ",
    "and ",
    "tagged a, ",
    " to ",
    "due ",
    "- a\n"
  ]
)
const hostile = FastCheck.tuple(
  FastCheck.constantFrom("", "add ", "add tasks:\n", "delete ", "done", "remind me ", "move ", "label "),
  FastCheck.array(piece, { minLength: 1, maxLength: 3 })
).map(([head, pieces]) => (head + pieces.join("").repeat(4000)).slice(0, 4000))

/** How often `read` peeks at a token. */
const peeksOf = (read: () => void) => {
  const peek = vi.spyOn(Cursor.prototype, "peek")
  try {
    read()
    return peek.mock.calls.length
  } finally {
    peek.mockRestore()
  }
}

describe("The offline model's budget", () => {
  it.prop(
    "the steps are at most proportional to the length of any message",
    [hostile],
    ([message]) => {
      assert.isAtMost(stepsOf(message).steps, 100 * message.length)
    },
    { fastCheck: { numRuns: 40, seed: 11 } }
  )

  it.prop(
    "backtracking of every pattern takes a bounded number of steps per character",
    [hostile, FastCheck.constantFrom(longest, 4 * longest)],
    ([message, length]) => {
      const text = message.slice(0, length)
      patternStepsOf(() => parse(text, { ...present, budget: new Budget() }), 1000 * text.length)
    },
    {
      fastCheck: {
        numRuns: 12,
        seed: 11,
        examples: ["(", ", ", '"', "a on by "].map(
          (piece): [string, number] => [`add ${piece.repeat(longest)}`, longest] as [string, number]
        )
      }
    }
  )

  it("a message that exceeds the budget is not understood", () => {
    const budget = new Budget()
    budget.spend(mostSteps)
    assert.deepStrictEqual(
      parse("add buy milk", { ...present, budget }).map(({ _tag }) => _tag),
      ["Unsupported"]
    )
  })

  it("a request or a line of a list that is too long is refused after a few steps", () => {
    for (const message of [
      `add ${"x".repeat(longest)}`,
      `add tasks:\na\nb\n${"x ".repeat(longest)}`,
      "done\n".repeat(800)
    ]) {
      const { commands, steps } = stepsOf(message)
      assert.deepStrictEqual(
        commands.map(({ _tag }) => _tag),
        ["Unsupported"]
      )
      assert.isAtMost(steps, 100 * longest)
    }
  })

  it("a long list is read line by line", () => {
    const tasks = Array.from({ length: 20 }, (_, i) => `water plant number ${i} of the big green house`)
    const { commands } = stepsOf(`add tasks:\n- ${tasks.join("\n- ")}`)
    const [command] = commands
    assert.strictEqual(command?._tag === "Add" ? command.tasks.length : 0, 20)
  })

  it.effect("a message is read once per turn, even if the turn has many steps", () =>
    Effect.gen(function* () {
      const message = "move milk to friday at 5pm and call the bank to tomorrow"
      const once = peeksOf(() => parse(message, { ...present, budget: new Budget() }))
      assert.isAbove(once, 0)
      const chat = makeChat({ tasks: [{ title: "Buy milk" }, { title: "Call the bank" }] })
      const { peeks, steps } = yield* Effect.acquireUseRelease(
        Effect.sync(() => vi.spyOn(Cursor.prototype, "peek")),
        ({ mock }) => Effect.map(chat.say(message.toUpperCase()), ({ steps }) => ({ steps, peeks: mock.calls.length })),
        (peek) => Effect.sync(() => peek.mockRestore())
      )
      assert.isAtLeast(steps, 3)
      assert.strictEqual(peeks, once)
    }).pipe(Effect.provide(offline))
  )

  it.prop(
    "the grammar of dates peeks at each token a bounded number of times",
    [hostile],
    ([message]) => {
      const words = tokensOf(message).length
      assert.isAtMost(
        peeksOf(() => dateSpans(message)),
        300 * words
      )
      assert.isAtMost(
        peeksOf(() => readRepeat(message.slice(0, 200), present.now, present.zone)),
        300 * words
      )
    },
    { fastCheck: { numRuns: 40, seed: 11 } }
  )
})
