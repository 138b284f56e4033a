import { LanguageModel, Tool, Toolkit } from "@effect/ai"
import { assert, describe, it } from "@effect/vitest"
import {
  Array as Arr,
  Context,
  DateTime,
  Duration,
  Effect,
  Exit,
  Fiber,
  FastCheck as fc,
  Layer,
  Logger,
  Option,
  Predicate,
  Ref,
  Schema,
  Stream,
  TestClock
} from "effect"
import type { AgentEvent } from "../../../src/domain/Agent.ts"
import type { Confirm } from "../../../src/domain/Approval.ts"
import type { HistoryMessage } from "../../../src/domain/Conversation.ts"
import { TurnId, UserId } from "../../../src/domain/Id.ts"
import type { ToolCall } from "../../../src/domain/ToolCall.ts"
import { TurnLost } from "../../../src/domain/Turn.ts"
import { Agent, type AgentOptions, type AgentTurn } from "../../../src/services/agent/Agent.ts"
import { FallbackModel, ModelName } from "../../../src/services/agent/Models.ts"
import { Changes } from "../../../src/services/agent/ToolParameters.ts"
import { ToolContext } from "../../../src/services/tasks/TaskTools.ts"
import * as ScriptedModel from "../../../src/testing/ScriptedModel.ts"
import { call, cut, delay, fail, faults, silence, textOf, used } from "../../../src/testing/ScriptedModel.ts"

const failure = Schema.Struct({ status: Schema.Literal("error"), error: Schema.String })
const success = Schema.Struct({ status: Schema.Literal("success"), said: Schema.String })

/** `echo` returns its text and the user, `refuse` fails, and `crash` has a defect. */
const Tools = Toolkit.make(
  Tool.make("echo", {
    parameters: { text: Schema.String },
    success,
    failure,
    failureMode: "return",
    dependencies: [ToolContext]
  }),
  Tool.make("refuse", { parameters: {}, success, failure, failureMode: "return" }),
  Tool.make("crash", { parameters: {}, success, failure, failureMode: "return" }),
  Tool.make("wait", { parameters: { seconds: Schema.Number }, success, failure, failureMode: "return" })
)

const tools = Tools.toLayer({
  echo: ({ text }) =>
    Effect.map(ToolContext, ({ cause, user }) => ({
      status: "success" as const,
      said: cause._tag === "Turn" ? `${text} (${user}, ${cause.step}.${cause.position})` : text
    })),
  refuse: () => Effect.fail({ status: "error" as const, error: "Refused" }),
  crash: () => Effect.dieMessage("a secret of the database"),
  wait: ({ seconds }) =>
    Effect.as(Effect.sleep(Duration.seconds(seconds)), { status: "success" as const, said: `${seconds}` })
})

const agent = (script: ScriptedModel.Script, options: Partial<AgentOptions> = {}) =>
  Agent.layer(Tools, { maxSteps: 8, ...options }).pipe(
    Layer.provide(tools),
    Layer.provideMerge(ScriptedModel.layer(script))
  )

const turnOf = (fields: Partial<AgentTurn> = {}): AgentTurn => ({
  id: TurnId.make("01970000-0000-7000-8000-000000000000"),
  user: UserId.make(7),
  timeZone: "UTC",
  message: "Hello",
  history: [],
  record: (_, run) => run,
  ...fields
})

interface Ran {
  readonly events: ReadonlyArray<AgentEvent>
  readonly exit: Exit.Exit<void, unknown>
  readonly text: string
  readonly calls: ReadonlyArray<ToolCall>
  readonly results: ReadonlyArray<ToolCall["result"]>
}

/** All events of a turn and its exit. */
const run = (fields: Partial<AgentTurn> = {}): Effect.Effect<Ran, never, Agent> =>
  Effect.gen(function* () {
    const { run } = yield* Agent
    const events: Array<AgentEvent> = []
    const exit = yield* Effect.exit(
      Stream.runForEach(run(turnOf(fields)), (event) => Effect.sync(() => void events.push(event)))
    )
    const calls = events.flatMap((event) => (event._tag === "ToolCallEnded" ? [event.call] : []))
    return {
      events,
      exit,
      calls,
      text: events.map((event) => (event._tag === "Text" ? event.text : "")).join(""),
      results: calls.map(({ result }) => result)
    }
  })

const failureOf = ({ exit }: Ran) => {
  return Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined
}

const codeOf = (ran: Ran) => {
  const error = failureOf(ran)
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined
}

const tags = (events: ReadonlyArray<AgentEvent>) => events.map(({ _tag }) => _tag)

const scripted = <A, E>(
  script: ScriptedModel.Script,
  effect: Effect.Effect<A, E, Agent | ScriptedModel.ScriptedModel>,
  options?: Partial<AgentOptions>
) => Effect.provide(effect, agent(script, options))

const asked = Effect.flatMap(ScriptedModel.ScriptedModel, ({ asked }) => asked)

/** The last prompt as roles and texts. Calls and results are shown by their ids. */
const lastPrompt = Effect.map(asked, (all) =>
  (all.at(-1)?.prompt ?? []).map((message) => {
    if (message.role === "system") return "system"
    const parts: ReadonlyArray<{ readonly type: string; readonly id?: string }> = message.content
    const ids = parts.flatMap(({ id, type }) => (type === "tool-call" || type === "tool-result" ? [`#${id}`] : []))
    return [message.role, textOf(message), ...ids].filter((part) => part !== "").join(" ")
  })
)

const message = (fields: Partial<HistoryMessage>): HistoryMessage => ({
  sequenceNumber: 1,
  role: "user",
  content: "",
  toolCalls: null,
  places: null,
  turnStatus: "completed",
  ...fields
})

const said = (content: string, turnStatus: HistoryMessage["turnStatus"] = "completed") =>
  message({ content, turnStatus })
const answered = (content: string, fields: Partial<HistoryMessage> = {}) =>
  message({ role: "assistant", content, ...fields })

const callNamed = (id: string): ToolCall => ({
  id,
  tool: "echo",
  parameters: { text: id },
  result: { status: "success" },
  durationMs: 0
})

describe("Agent", () => {
  it.effect("a text answer arrives piece by piece", () =>
    scripted(
      [["Hel", "lo ", "there", used(10, 3)]],
      Effect.gen(function* () {
        const { events, exit } = yield* run()
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(events, [
          { _tag: "ModelChosen", model: "custom" },
          { _tag: "Text", text: "Hel" },
          { _tag: "Text", text: "lo " },
          { _tag: "Text", text: "there" },
          { _tag: "StepEnded", usage: { inputTokens: 10, outputTokens: 3 } }
        ])
      })
    )
  )

  it.effect("each piece is emitted before the next one is pulled", () =>
    scripted(
      [["a", ScriptedModel.pause, "b", ScriptedModel.pause, "c"]],
      Effect.gen(function* () {
        const { run } = yield* Agent
        const model = yield* ScriptedModel.ScriptedModel
        const seen: Array<string> = []
        const reader = yield* run(turnOf()).pipe(
          Stream.runForEach((event) => Effect.sync(() => event._tag === "Text" && seen.push(event.text))),
          Effect.fork
        )
        for (const expected of [["a"], ["a", "b"]]) {
          yield* settled
          assert.deepStrictEqual(seen, expected)
          yield* model.resume
        }
        yield* Fiber.join(reader)
        assert.deepStrictEqual(seen, ["a", "b", "c"])
      })
    )
  )

  it.effect("the instructions contain the date and time in the turn's zone", () =>
    scripted(
      ["Hi", "Hi"],
      Effect.gen(function* () {
        yield* TestClock.setTime(Date.parse("2026-01-30T13:05:00Z"))
        yield* run({ timeZone: "Europe/Berlin" })
        yield* run({ timeZone: "Pacific/Auckland" })
        const [berlin, auckland] = (yield* asked).map(({ instructions }) => instructions)
        assert.match(berlin ?? "", /\nToday is Friday, 2026-01-30, 14:05 in Europe\/Berlin\.$/)
        assert.match(auckland ?? "", /\nToday is Saturday, 2026-01-31, 02:05 in Pacific\/Auckland\.$/)
      })
    )
  )

  it.effect("custom instructions replace the default ones, except the date", () =>
    scripted(
      ["Hi"],
      Effect.gen(function* () {
        yield* run()
        const [first] = yield* asked
        assert.match(first?.instructions ?? "", /^You are a pirate\.\nToday is Thursday, 1970-01-01, 00:00 in UTC\.$/)
      }),
      { instructions: "You are a pirate." }
    )
  )

  it.effect("tool calls run in order, and the next step sends their results", () =>
    scripted(
      [
        ["Let me see.", call("echo", { text: "a" }), call("echo", { text: "b" })],
        ["Both ", "done."]
      ],
      Effect.gen(function* () {
        const { calls, events, text } = yield* run({ message: "Do it" })
        assert.deepStrictEqual(tags(events), [
          "ModelChosen",
          "Text",
          "StepEnded",
          "ToolCallStarted",
          "ToolCallEnded",
          "ToolCallStarted",
          "ToolCallEnded",
          "Text",
          "Text",
          "StepEnded"
        ])
        const [first = "", second = ""] = calls.map(({ id }) => id)
        assert.deepStrictEqual(calls, [
          {
            id: first,
            tool: "echo",
            parameters: { text: "a" },
            result: { status: "success", said: "a (7, 1.0)" },
            durationMs: 0
          },
          {
            id: second,
            tool: "echo",
            parameters: { text: "b" },
            result: { status: "success", said: "b (7, 1.1)" },
            durationMs: 0
          }
        ])
        assert.strictEqual(text, "Let me see.\n\nBoth done.")
        assert.deepStrictEqual(yield* lastPrompt, [
          "system",
          "user Do it",
          `assistant Let me see. #${first} #${second}`,
          `tool #${first} #${second}`
        ])
        assert.deepStrictEqual(
          (yield* asked).at(-1)?.results.map(({ result }) => result),
          calls.map(({ result }) => result)
        )
      })
    )
  )

  it.effect("the duration of a call is in whole milliseconds", () =>
    scripted(
      [call("wait", { seconds: 2.9996 }), "Done"],
      Effect.gen(function* () {
        const running = yield* Effect.fork(run())
        yield* TestClock.adjust("3 seconds")
        const { calls } = yield* Fiber.join(running)
        assert.deepStrictEqual(
          calls.map(({ durationMs }) => durationMs),
          [3000]
        )
      })
    )
  )

  it.effect("text after calls without earlier text does not begin with an empty paragraph", () =>
    scripted(
      [call("echo", { text: "a" }), call("echo", { text: "b" }), ["\n\n", " Done."], "unused"],
      Effect.map(run(), ({ text }) => assert.strictEqual(text, "Done."))
    )
  )

  it.effect.prop(
    "a text arrives complete for any cuts, without split characters",
    [fc.string({ unit: "binary", minLength: 1 }), fc.array(fc.nat(6), { minLength: 1, maxLength: 20 })],
    ([text, lengths]) => {
      const pieces: Array<string> = []
      for (let from = 0, i = 0; from < text.length; i++) {
        const length = lengths[i % lengths.length] ?? 1
        pieces.push(text.slice(from, from + length))
        from += length === 0 && i > 30 ? 1 : length
      }
      const whole = pieces.join("")
      return scripted(
        [["Say: ", ...pieces]],
        Effect.map(run(), (ran) => {
          assert.strictEqual(ran.text, `Say: ${whole.replaceAll("\0", "").toWellFormed()}`)
          for (const event of ran.events) {
            if (event._tag !== "Text") continue
            assert.isTrue(event.text.isWellFormed())
            assert.notStrictEqual(event.text, "")
          }
        })
      )
    },
    { fastCheck: { numRuns: 20 } }
  )

  it.effect("half a character at the very end is replaced, not lost", () =>
    scripted(
      [["Say: ", "\ud800"]],
      Effect.map(run(), (ran) => assert.strictEqual(ran.text, "Say: \ufffd"))
    )
  )

  it.effect("NUL and lone surrogates from the model are removed from text, arguments, ids and results", () =>
    scripted(
      [["a\0", "\0", "\uD83D", "\uDE00b", call("echo", { text: "x\0\uD800" }, "id\0")], "Done"],
      Effect.gen(function* () {
        const providerIds: Array<string | undefined> = []
        const { calls, events } = yield* run({
          record: ({ providerCallId }, run) => {
            providerIds.push(providerCallId)
            return run
          }
        })
        assert.deepStrictEqual(
          events.flatMap((event) => (event._tag === "Text" ? [event.text] : [])),
          ["a", "😀b", "\n\nDone"]
        )
        assert.deepStrictEqual(calls[0]?.parameters, { text: "x\uFFFD" })
        assert.deepStrictEqual(providerIds, ["id"])
        assert.deepStrictEqual(calls[0]?.result, { status: "success", said: "x\uFFFD (7, 1.0)" })
      })
    )
  )

  it.effect(
    "wrong arguments, unknown tools, failures and defects are results for the model, and the turn continues",
    () =>
      Effect.gen(function* () {
        const logged: Array<string> = []
        const logger = Logger.replace(
          Logger.defaultLogger,
          Logger.map(Logger.jsonLogger, (line) => logged.push(line))
        )
        yield* scripted(
          [
            [
              call("echo", { text: 1 }),
              call("echo", "{broken"),
              call("nothing", { a: 1 }),
              call("refuse"),
              call("crash"),
              call("echo", { text: "fine" })
            ],
            "Sorry."
          ],
          Effect.gen(function* () {
            const { calls, exit, results } = yield* run()
            assert.isTrue(Exit.isSuccess(exit))
            assert.deepStrictEqual(
              calls.map(({ parameters, tool }) => [tool, parameters]),
              [
                ["echo", { text: 1 }],
                ["echo", { arguments: "{broken" }],
                ["nothing", { a: 1 }],
                ["refuse", {}],
                ["crash", {}],
                ["echo", { text: "fine" }]
              ]
            )
            const errors = results.map((result) => (result.status === "error" ? result.error : result.status))
            assert.match(errors[0] ?? "", /text/)
            assert.match(errors[1] ?? "", /not valid JSON/)
            assert.match(errors[2] ?? "", /no such tool.*echo, refuse/)
            assert.deepStrictEqual(errors.slice(3), ["Refused", "The tool failed unexpectedly.", "success"])
            assert.deepStrictEqual(
              (yield* asked).at(-1)?.results.map(({ result }) => result),
              [...results]
            )
          })
        ).pipe(Effect.provide(logger))
        assert.match(logged.join("\n"), /Tool failed/)
      })
  )

  it.effect("a tool gets decoded arguments, and the record has the model's arguments", () => {
    const Later = Toolkit.make(
      Tool.make("later", { parameters: { minutes: Schema.NumberFromString }, success: Schema.Number })
    )
    return run().pipe(
      Effect.map(({ calls, results }) => {
        assert.deepStrictEqual(calls[0]?.parameters, { minutes: "5" })
        assert.deepStrictEqual(results, [{ status: "success", result: 6 }])
      }),
      Effect.provide(
        Agent.layer(Later, { maxSteps: 2 }).pipe(
          Layer.provide(Later.toLayer({ later: ({ minutes }) => Effect.succeed(minutes + 1) })),
          Layer.provide(ScriptedModel.layer([call("later", { minutes: "5" }), "Done"]))
        )
      )
    )
  })

  it.effect("every call is recorded at its position, also after a defect", () =>
    scripted(
      [[call("echo", { text: "a" }), call("crash"), call("nothing")], call("refuse"), "Done"],
      Effect.gen(function* () {
        const places: Array<string> = []
        yield* run({
          record: ({ position, step }, run) =>
            Effect.tap(run, ({ result }) => Effect.sync(() => places.push(`${step}.${position} ${result.status}`)))
        })
        assert.deepStrictEqual(places, ["1.0 success", "1.1 error", "1.2 error", "2.0 error"])
      })
    )
  )

  it.effect("a record that is refused ends the turn", () =>
    scripted(
      [[call("echo", { text: "a" }), call("echo", { text: "b" })], "never"],
      Effect.gen(function* () {
        const ran = yield* run({ record: () => new TurnLost() })
        assert.instanceOf(failureOf(ran), TurnLost)
        assert.deepStrictEqual(tags(ran.events), ["ModelChosen", "StepEnded", "ToolCallStarted"])
        assert.lengthOf(yield* asked, 1)
      })
    )
  )

  it.effect("a turn has a maximum number of steps, and the last one must be a text answer", () =>
    scripted(
      ({ mayCallTools, results }) =>
        mayCallTools ? call("echo", { text: `${results.length}` }) : "I have to stop here.",
      Effect.gen(function* () {
        const { calls, exit, text } = yield* run()
        assert.isTrue(Exit.isSuccess(exit))
        assert.lengthOf(calls, 3)
        assert.strictEqual(text, "I have to stop here.")
        assert.deepStrictEqual(
          (yield* asked).map(({ mayCallTools }) => mayCallTools),
          [true, true, true, false]
        )
      }),
      { maxSteps: 4 }
    )
  )

  it.effect("a turn fails if the model calls tools in the last step, and these calls do not run", () =>
    scripted(
      () => call("echo", { text: "again" }),
      Effect.gen(function* () {
        const ran = yield* run()
        assert.strictEqual(codeOf(ran), "agent_failed")
        assert.lengthOf(ran.calls, 2)
        assert.lengthOf(yield* asked, 3)
      }),
      { maxSteps: 3 }
    )
  )

  it.effect("calls after the 32nd of a step are dropped, and the last result has their number", () =>
    scripted(
      [Arr.makeBy(1000, (n) => call("echo", { text: `${n}` })), "Done"],
      Effect.gen(function* () {
        const { calls, events, exit, results } = yield* run()
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(
          calls.map(({ parameters }) => parameters),
          Arr.makeBy(32, (n) => ({ text: `${n}` }))
        )
        assert.lengthOf(
          events.filter(({ _tag }) => _tag === "ToolCallStarted"),
          32
        )
        const notices = results.map((result) => result["notice"])
        assert.deepStrictEqual(notices.slice(0, 31), Arr.replicate(undefined, 31))
        assert.match(String(notices[31]), /^968 more tool calls/)
        const asks = yield* asked
        assert.lengthOf(asks.at(-1)?.results ?? [], 32)
        const sent = asks.at(-1)?.prompt.flatMap((message) => (message.role === "assistant" ? message.content : []))
        assert.lengthOf(sent ?? [], 32)
      })
    )
  )

  it.effect("every call gets a unique id of 9 letters and digits, independent of the provider's id", () =>
    scripted(
      [[call("echo", { text: "a" }, "same"), call("echo", { text: "b" }, "same")], call("refuse", {}, "same"), "Done"],
      Effect.gen(function* () {
        const recorded: Array<string | undefined> = []
        const { calls, events } = yield* run({
          record: ({ providerCallId }, run) => Effect.tap(run, () => Effect.sync(() => recorded.push(providerCallId)))
        })
        const ids = calls.map(({ id }) => id)
        for (const id of ids) assert.match(id, /^[A-Za-z0-9]{9}$/)
        assert.lengthOf(Arr.dedupe(ids), 3)
        assert.deepStrictEqual(recorded, ["same", "same", "same"])
        assert.deepStrictEqual(
          events.flatMap((event) => (event._tag === "ToolCallStarted" ? [event.call.id] : [])),
          ids
        )
      })
    )
  )

  it.effect("arguments that are too deep or too large are refused and not stored, and the turn continues", () => {
    const deep = `{"text":${"[".repeat(3000)}${"]".repeat(3000)}}`
    const wide = JSON.stringify({ text: Arr.replicate({}, 90_000) })
    const long = JSON.stringify({ text: "a".repeat(300 * 1024) })
    const fits = { text: "a".repeat(200 * 1024) }
    return scripted(
      [[...[deep, wide, long].map((text) => call("echo", text)), call("echo", fits)], "Sorry."],
      Effect.gen(function* () {
        const { calls, exit, results } = yield* run()
        assert.isTrue(Exit.isSuccess(exit))
        for (const result of results.slice(0, 3)) assert.match(String(result["error"]), /too deeply, or too large/)
        assert.deepStrictEqual(
          calls.map(({ parameters }) => parameters),
          [{}, {}, {}, fits]
        )
        assert.strictEqual(results[3]?.status, "success")
      })
    )
  })

  it.effect("a turn makes at most 100 changes; a call that would exceed them is refused", () => {
    const Many = Toolkit.make(
      Tool.make("change", { parameters: { count: Schema.Number }, success: Schema.Number }).annotate(Changes, (given) =>
        Number(Predicate.hasProperty(given, "count") ? given.count : 0)
      )
    )
    const change = (count: number) => call("change", { count })
    return Effect.gen(function* () {
      const changed: Array<number> = []
      const { results } = yield* run().pipe(
        Effect.provide(
          Agent.layer(Many, { maxSteps: 8 }).pipe(
            Layer.provide(Many.toLayer({ change: ({ count }) => Effect.sync(() => changed.push(count)) })),
            Layer.provide(ScriptedModel.layer([[change(60), change(41)], [change(40), change(0)], change(1), "Done"]))
          )
        )
      )
      assert.deepStrictEqual(changed, [60, 40, 0])
      assert.deepStrictEqual(
        results.map(({ status }) => status),
        ["success", "error", "success", "success", "error"]
      )
      assert.match(String(results[1]?.["error"]), /Nothing was changed.*at most 100.*has changed 60.*41 more/)
    })
  })

  it.effect("every step has usage", () =>
    scripted(
      [
        [call("echo", { text: "a" }), used(10, 2)],
        ["Done", used(20, 3.5)]
      ],
      Effect.map(run(), ({ events }) =>
        assert.deepStrictEqual(
          events.flatMap((event) => (event._tag === "StepEnded" ? [event.usage] : [])),
          [
            { inputTokens: 10, outputTokens: 2 },
            { inputTokens: 20, outputTokens: 3 }
          ]
        )
      )
    )
  )

  it.effect("an incomplete, empty or malformed answer fails the turn", () =>
    Effect.forEach(
      [
        [cut],
        ["Hel", cut],
        [call("echo", { text: "a" }), cut],
        [],
        [""],
        [" ", "\n"],
        ["\0"],
        [fail(faults.malformed)],
        ["Hel", fail(faults.malformed)]
      ],
      (answer) =>
        scripted(
          [answer],
          Effect.gen(function* () {
            const ran = yield* run()
            assert.strictEqual(codeOf(ran), "agent_failed")
            assert.lengthOf(ran.calls, 0)
            assert.lengthOf(yield* asked, 1)
          })
        )
    )
  )

  it.effect("an empty answer after tool calls is valid", () =>
    scripted(
      [["Doing it.", call("echo", { text: "a" })], []],
      Effect.map(run(), ({ exit, text }) => {
        assert.isTrue(Exit.isSuccess(exit))
        assert.strictEqual(text, "Doing it.")
      })
    )
  )

  it.effect("each failure of the provider is mapped to its error", () =>
    Effect.forEach(
      [
        [faults.status(401), "agent_misconfigured"],
        [faults.status(429, {}, '{"error":{"code":"insufficient_quota"}}'), "agent_misconfigured"],
        [faults.status(400), "agent_failed"],
        [faults.silent, "agent_slow"],
        [faults.busy(600), "agent_busy"]
      ] as const,
      ([fault, code]) =>
        scripted(
          [fail(fault)],
          Effect.gen(function* () {
            const ran = yield* run()
            assert.strictEqual(codeOf(ran), code)
            assert.lengthOf(yield* asked, 1)
          })
        )
    )
  )

  it.effect("a transient failure before any output is retried, and the first attempt leaves nothing", () =>
    scripted(
      [
        [fail(faults.busy())],
        [call("echo", { text: "lost" }), "\uD83D", fail(faults.cutOff)],
        [call("echo", { text: "kept" })],
        "Done"
      ],
      Effect.gen(function* () {
        const running = yield* Effect.fork(run())
        yield* TestClock.adjust("10 seconds")
        const { calls, exit, text } = yield* Fiber.join(running)
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(
          calls.map(({ parameters }) => parameters),
          [{ text: "kept" }]
        )
        assert.strictEqual(text, "Done")
        assert.lengthOf(yield* asked, 4)
      })
    )
  )

  it.effect("after three attempts the last failure is returned", () =>
    scripted(
      [fail(faults.unreachable), fail(faults.unreachable), fail(faults.busy(2)), "never"],
      Effect.gen(function* () {
        const running = yield* Effect.fork(run())
        yield* TestClock.adjust("30 seconds")
        const ran = yield* Fiber.join(running)
        assert.strictEqual(codeOf(ran), "agent_busy")
        assert.deepInclude(failureOf(ran), { retryAfter: 2 })
        assert.lengthOf(yield* asked, 3)
      })
    )
  )

  describe("a fallback model", () => {
    /** Runs a turn with two models. Returns the requests to each. */
    const withFallback = (first: ScriptedModel.Script, second: ScriptedModel.Script) =>
      Effect.scoped(
        Effect.gen(function* () {
          const one = yield* Layer.build(ScriptedModel.layer(first))
          const two = yield* Layer.build(ScriptedModel.layer(second))
          const fallback = Option.some({ name: "two:b", model: Context.get(two, LanguageModel.LanguageModel) })
          const named = Layer.merge(Layer.succeed(ModelName, "one:a"), Layer.succeed(FallbackModel, fallback))
          const running = yield* run().pipe(
            Effect.provide(
              Agent.layer(Tools, { maxSteps: 8 }).pipe(Layer.provide([tools, Layer.succeedContext(one), named]))
            ),
            Effect.fork
          )
          yield* TestClock.adjust("10 seconds")
          const ran = yield* Fiber.join(running)
          const asked = yield* Effect.all(
            [one, two].map((built) => Context.get(built, ScriptedModel.ScriptedModel).asked)
          )
          const models = ran.events.flatMap((event) => (event._tag === "ModelChosen" ? [event.model] : []))
          return { ran, models, asked: asked.map(({ length }) => length) }
        })
      )

    const takesOver: ReadonlyArray<readonly [string, ScriptedModel.Script, number]> = [
      ["is unreachable twice", [fail(faults.unreachable), fail(faults.unreachable)], 2],
      ["is busy and asks to wait", [fail(faults.busy(5))], 1],
      ["cannot be reached for a while", [[delay("3 seconds"), fail(faults.unreachable)]], 1],
      ["breaks off within a call", [fail(faults.unreachable), [call("echo", { text: "lost" }), fail(faults.cutOff)]], 2]
    ]
    for (const [what, first, times] of takesOver) {
      it.effect(`answers the whole turn if the first one ${what}`, () =>
        Effect.gen(function* () {
          const { asked, models, ran } = yield* withFallback(first, [call("echo", { text: "a" }), "Done"])
          assert.strictEqual(ran.text, "Done")
          assert.lengthOf(ran.calls, 1)
          assert.deepStrictEqual(models, ["two:b"])
          assert.deepStrictEqual(asked, [times, 2])
        })
      )
    }

    const staysOut: ReadonlyArray<readonly [string, ScriptedModel.Script, string | undefined, ReadonlyArray<string>]> =
      [
        ["recovers", [fail(faults.unreachable), "Done"], undefined, ["one:a"]],
        ["has said a word", [["Hel", fail(faults.unreachable)]], "agent_unreachable", ["one:a"]],
        ["is away in a later step", [call("echo", { text: "a" }), fail(faults.busy(5))], "agent_busy", ["one:a"]],
        ["is silent", [fail(faults.silent)], "agent_slow", []],
        ["refuses the key", [fail(faults.status(401))], "agent_misconfigured", []],
        ["answers nonsense", [fail(faults.malformed)], "agent_failed", []]
      ]
    for (const [what, first, code, chosen] of staysOut) {
      it.effect(`is not asked if the first one ${what}`, () =>
        Effect.gen(function* () {
          const { asked, models, ran } = yield* withFallback(first, [])
          assert.strictEqual(codeOf(ran), code)
          assert.deepStrictEqual(models, chosen)
          assert.deepStrictEqual(asked, [first.length, 0])
        })
      )
    }

    it.effect("shares the limit of requests with the first one, and its failure is returned", () =>
      Effect.gen(function* () {
        const away = [fail(faults.unreachable), fail(faults.unreachable)]
        const { asked, ran } = yield* withFallback(away, [fail(faults.busy()), fail(faults.busy(3)), "never"])
        assert.strictEqual(codeOf(ran), "agent_busy")
        assert.deepStrictEqual(asked, [2, 2])
      })
    )
  })

  it.effect("requests that are refused are sent again at most three times in a step", () =>
    scripted(
      Array.from({ length: 6 }, () => fail(faults.status(400, {}, '{"error":{"code":"tool_use_failed"}}'))),
      Effect.gen(function* () {
        assert.strictEqual(codeOf(yield* run()), "agent_failed")
        assert.lengthOf(yield* asked, 4)
      })
    )
  )

  it.effect("a retry waits for Retry-After", () =>
    scripted(
      [fail(faults.busy(5)), "Done"],
      Effect.gen(function* () {
        const running = yield* Effect.fork(run())
        yield* TestClock.adjust(Duration.millis(4999))
        assert.lengthOf(yield* asked, 1)
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual((yield* Fiber.join(running)).text, "Done")
      })
    )
  )

  it.effect("a Retry-After longer than the rest of the turn fails it at once, and is passed on", () =>
    Effect.forEach(
      [
        [2, "agent_busy", 1],
        [4, undefined, 2]
      ] as const,
      ([left, code, asks]) =>
        scripted(
          [fail(faults.busy(3)), "Done"],
          Effect.gen(function* () {
            const deadline = DateTime.add(yield* DateTime.now, { seconds: left })
            const running = yield* Effect.fork(run({ deadline }))
            yield* TestClock.adjust(code === undefined ? "4 seconds" : "1 millis")
            const ran = yield* Fiber.join(running)
            assert.strictEqual(codeOf(ran), code)
            if (code !== undefined) assert.deepInclude(failureOf(ran), { retryAfter: 3 })
            assert.lengthOf(yield* asked, asks)
          })
        )
    )
  )

  it.effect("after the first output nothing is retried", () =>
    Effect.forEach(
      [
        [["Hel", fail(faults.unreachable)]],
        [["Let me see.", call("echo", { text: "a" })], fail(faults.unreachable)],
        [call("echo", { text: "a" }), fail(faults.busy())]
      ],
      (script) =>
        scripted(
          [...script, "never"],
          Effect.gen(function* () {
            const running = yield* Effect.fork(run())
            yield* TestClock.adjust("30 seconds")
            assert.isTrue(Exit.isFailure((yield* Fiber.join(running)).exit))
            assert.lengthOf(yield* asked, script.length)
          })
        )
    )
  )

  it.effect("stopping a turn interrupts the model's answer and a running tool", () =>
    scripted(
      [["Hel", silence], call("wait", { seconds: 60 })],
      Effect.gen(function* () {
        const model = yield* ScriptedModel.ScriptedModel
        const talking = yield* Effect.fork(run())
        yield* settled
        assert.strictEqual(yield* model.open, 1)
        yield* Fiber.interrupt(talking)
        assert.deepStrictEqual([yield* model.open, yield* model.interrupted], [0, 1])
        const stopped = yield* Ref.make(false)
        const working = yield* Effect.fork(
          run({ record: (_, run) => Effect.onInterrupt(run, () => Ref.set(stopped, true)) })
        )
        yield* settled
        yield* Fiber.interrupt(working)
        assert.isTrue(yield* Ref.get(stopped))
      })
    )
  )

  it.effect("the history consists of whole turns, in order", () =>
    scripted(
      ["Hi"],
      Effect.gen(function* () {
        yield* run({
          message: "And now?",
          history: [
            answered("An answer whose question is not here."),
            said("One?"),
            answered("1"),
            said("Two?"),
            answered("2")
          ]
        })
        assert.deepStrictEqual(yield* lastPrompt, [
          "system",
          "user One?",
          "assistant 1",
          "user Two?",
          "assistant 2",
          "user And now?"
        ])
      })
    )
  )

  it.effect("a history with only a part of a turn is left out", () =>
    scripted(
      ["Hi"],
      Effect.gen(function* () {
        yield* run({ message: "And now?", history: [answered("1")] })
        assert.deepStrictEqual(yield* lastPrompt, ["system", "user And now?"])
      })
    )
  )

  it.effect("an earlier answer is sent as its steps, each call with its result", () =>
    scripted(
      ["Hi"],
      Effect.gen(function* () {
        yield* run({
          message: "And now?",
          history: [
            said("Do it"),
            answered("First.\n\nThen.\n\nDone.", {
              toolCalls: ["a", "b", "c", "d"].map(callNamed),
              places: [
                { step: 1, offset: 6 },
                { step: 1, offset: 6 },
                { step: 2, offset: 13 },
                { step: 3, offset: 13 }
              ]
            })
          ]
        })
        assert.deepStrictEqual(yield* lastPrompt, [
          "system",
          "user Do it",
          "assistant First. #a #b",
          "tool #a #b",
          "assistant Then. #c",
          "tool #c",
          "assistant #d",
          "tool #d",
          "assistant Done.",
          "user And now?"
        ])
      })
    )
  )

  it.effect("`confirm` holds back deletions, all changes, or nothing", () =>
    Effect.gen(function* () {
      const Mixed = Toolkit.make(
        Tool.make("read").annotate(Tool.Readonly, true),
        Tool.make("write").annotate(Tool.Destructive, false),
        Tool.make("wipe")
      )
      const none = () => Effect.void
      const handlers = Mixed.toLayer({ read: none, write: none, wipe: none })
      const held = (confirm: Confirm | undefined, ...names: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          const ran = yield* Effect.provide(
            run(),
            Agent.layer(Mixed, { maxSteps: 8, ...(confirm !== undefined && { confirm }) }).pipe(
              Layer.provide(handlers),
              Layer.provide(ScriptedModel.layer([names.map((name) => call(name)), "Done."]))
            )
          )
          assert.isTrue(Exit.isSuccess(ran.exit))
          const waiting = ran.events.flatMap((event) =>
            event._tag === "CallsHeld"
              ? event.calls.map(({ needsApproval, tool }) => `${tool} ${needsApproval ? "waits" : "is left out"}`)
              : []
          )
          return [ran.calls.map(({ tool }) => `${tool} runs`), waiting].flat()
        })
      assert.deepStrictEqual(yield* held("deletions", "read", "write", "wipe", "read", "wipe"), [
        ...["read runs", "write runs", "wipe waits", "read is left out", "wipe waits"]
      ])
      assert.deepStrictEqual(yield* held("changes", "read", "write", "read"), [
        ...["read runs", "write waits", "read is left out"]
      ])
      for (const confirm of ["off", undefined] as const) {
        assert.deepStrictEqual(yield* held(confirm, "wipe", "write"), ["wipe runs", "write runs"])
      }
      assert.deepStrictEqual(yield* held("changes", "read", "unknown"), ["read runs", "unknown runs"])
    })
  )

  it.effect("after a decision the prompt has the model's call and the provider's state", () =>
    scripted(
      ["Done."],
      Effect.gen(function* () {
        const held = { id: "b", tool: "echo", parameters: {}, step: 2, needsApproval: true }
        const state = { origin: "https://models.test a", state: "{}" }
        const ran = yield* run({
          message: "Approve",
          history: [
            said("Do it"),
            answered("First.", {
              toolCalls: ["a"].map(callNamed),
              places: [{ step: 1, offset: 6 }],
              held: [held, { ...held, id: "c", needsApproval: false }],
              heldStates: [
                { step: 1, ...state },
                { step: 2, ...state }
              ]
            })
          ],
          decided: { decision: "approved", calls: [callNamed("b")] }
        })
        assert.deepStrictEqual(yield* lastPrompt, [
          ...["system", "user Do it", "assistant First. #a", "tool #a", "assistant #b #c", "tool #b #c"]
        ])
        const [, , first, , second] = (yield* asked).at(-1)?.prompt ?? []
        assert.deepStrictEqual([first?.options["taskchat"], second?.options["taskchat"]], [state, state])
        assert.deepStrictEqual(tags(ran.events).slice(0, 2), ["ToolCallStarted", "ToolCallEnded"])
      })
    )
  )

  it.effect("every call has a result, even if messages around a decision were deleted", () =>
    Effect.gen(function* () {
      const held = { id: "a", tool: "echo", parameters: {}, step: 1, needsApproval: true }
      const whole = [
        said("Do it"),
        answered("Shall I?", { held: [held] }),
        { ...said("Approve"), decision: "approved" as const },
        answered("Did it.", { toolCalls: [callNamed("a")], places: [{ step: 1, offset: 0 }] })
      ]
      const shown = (...deleted: ReadonlyArray<number>) =>
        scripted(
          ["Fine."],
          Effect.gen(function* () {
            yield* run({ message: "And now?", history: whole.filter((_, i) => !deleted.includes(i)) })
            return (yield* lastPrompt).slice(1, -1)
          })
        )
      assert.deepStrictEqual(yield* shown(), ["user Do it", "assistant Shall I? #a", "tool #a", "assistant Did it."])
      assert.deepStrictEqual(yield* shown(0), ["user Approve", "assistant #a", "tool #a", "assistant Did it."])
      assert.deepStrictEqual(yield* shown(1), [
        ...["user Do it", "assistant [No answer was given.]", "user Approve", "assistant #a", "tool #a"],
        "assistant Did it."
      ])
      assert.deepStrictEqual(yield* shown(2), yield* shown())
      assert.deepStrictEqual(yield* shown(3), [
        ...["user Do it", "assistant Shall I? #a", "tool #a", "assistant [No answer was given.]"]
      ])
    })
  )

  it.effect("declined calls have such results, before the next message", () =>
    scripted(
      ["Fine."],
      Effect.gen(function* () {
        const held = { id: "a", tool: "echo", parameters: {}, step: 1, needsApproval: true }
        yield* run({ message: "And now?", history: [said("Do it"), answered("Shall I?", { held: [held] })] })
        assert.deepStrictEqual(yield* lastPrompt, [
          ...[
            "system",
            "user Do it",
            "assistant Shall I? #a",
            "tool #a",
            "assistant This was not done.",
            "user And now?"
          ]
        ])
        const results = (yield* asked)
          .at(-1)
          ?.prompt.flatMap((message) =>
            message.role === "tool" ? message.content.map(({ isFailure, result }) => [isFailure, result]) : []
          )
        assert.deepStrictEqual(results, [[true, { status: "error", error: "Not run: the user did not approve it." }]])
      })
    )
  )

  it.effect("the prompt says how earlier turns ended", () =>
    scripted(
      ["Hi"],
      Effect.gen(function* () {
        yield* run({
          message: "And now?",
          history: [
            said("One", "cancelled"),
            answered("So f", { turnStatus: "cancelled" }),
            said("Two", "timed_out"),
            answered("", {
              turnStatus: "timed_out",
              toolCalls: [callNamed("a")],
              places: [{ step: 1, offset: 0 }]
            }),
            said("Three", "cancelled"),
            said("Four", "interrupted"),
            said("Five", "failed")
          ]
        })
        assert.deepStrictEqual(yield* lastPrompt, [
          "system",
          "user One",
          "assistant So f\n[The user stopped this answer before it was finished.]",
          "user Two",
          "assistant #a",
          "tool #a",
          "assistant [This answer took too long and was cut off.]",
          "user Three",
          "assistant [The user stopped this answer before it was finished.]",
          "user Four",
          "assistant [This answer failed before it was finished.]",
          "user Five",
          "assistant [This answer failed before it was finished.]",
          "user And now?"
        ])
      })
    )
  )
})

/** Yields until no other fiber can run. */
const settled = Effect.repeatN(Effect.yieldNow(), 200)
