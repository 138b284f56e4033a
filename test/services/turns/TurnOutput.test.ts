import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, FastCheck as fc, Stream } from "effect"
import { ConversationId, TurnId } from "../../../src/domain/Id.ts"
import type { ToolCall } from "../../../src/domain/ToolCall.ts"
import {
  type Cursor,
  cursorId,
  type Ended,
  endId,
  parseCursor,
  start,
  TurnEvent
} from "../../../src/domain/TurnEvent.ts"
import { type Positioned, type Silence, TurnOutput } from "../../../src/services/turns/TurnOutput.ts"

const end: Ended = {
  turnId: TurnId.make("01970000-0000-7000-8000-000000000000"),
  conversationId: ConversationId.make(1),
  status: "completed",
  content: "",
  toolCalls: null,
  awaiting: null,
  model: "custom",
  usage: { inputTokens: 0, outputTokens: 0 },
  message: null,
  error: null,
  retryAfter: null
}

const callNamed = (id: string): ToolCall => ({
  id,
  tool: "create_task",
  parameters: {},
  result: { status: "success" },
  durationMs: 1
})

/** A text, a call that begins and ends, or a call that the end of the turn interrupts. */
type Write = { readonly text: string } | { readonly call: string; readonly isKnownBefore: boolean }

const writes = fc.array(
  fc.oneof(
    fc.record({ text: fc.string({ unit: "binary", minLength: 1, maxLength: 5 }).map((text) => text.toWellFormed()) }),
    fc.record({ call: fc.string({ maxLength: 3 }), isKnownBefore: fc.boolean() })
  ),
  { maxLength: 12 }
)

/** The single writes. The beginning of a call is a separate write. */
const actions = (all: ReadonlyArray<Write>): ReadonlyArray<(output: TurnOutput) => void> =>
  all.flatMap((write, step) => {
    if ("text" in write) return [(output: TurnOutput) => output.addText(write.text)]
    const call = callNamed(write.call)
    return [
      ...(write.isKnownBefore ? [(output: TurnOutput) => output.callStarted(call, step)] : []),
      (output: TurnOutput) => output.callEnded(call, { step, offset: output.text.length })
    ]
  })

const outputOf = (all: ReadonlyArray<Write>, isOver = true) => {
  const output = new TurnOutput()
  for (const act of actions(all)) act(output)
  if (isOver) output.end(end)
  return output
}

const isEvent = (item: Positioned | Silence): item is Positioned => !("_tag" in item)

const collect = (output: TurnOutput, cursor: Cursor) =>
  output.events(cursor).pipe(Stream.filter(isEvent), Stream.runCollect, Effect.map(Chunk.toReadonlyArray))

/** Every written event, without joining texts. */
const everyEvent = (all: ReadonlyArray<Write>) =>
  Effect.gen(function* () {
    const output = new TurnOutput()
    const read: Array<Positioned> = []
    const reader = yield* output.events(start).pipe(
      Stream.filter(isEvent),
      Stream.runForEach((item) => Effect.sync(() => read.push(item))),
      Effect.fork
    )
    for (const act of [...actions(all), (output: TurnOutput) => output.end(end)]) {
      yield* settled
      act(output)
    }
    yield* Fiber.join(reader)
    return { output, read }
  })

/** Yields until no other fiber can run. */
const settled = Effect.repeatN(Effect.yieldNow(), 20)

const textOf = (items: ReadonlyArray<Positioned>) =>
  items.map(({ event }) => (event._tag === "Text" ? event.text : "")).join("")

const othersOf = (items: ReadonlyArray<Positioned>) =>
  items.flatMap(({ event }) => (event._tag === "Text" ? [] : [event]))

const idOf = ({ after, event }: Positioned) => (event._tag === "Ended" ? endId : cursorId(after))

describe("TurnOutput", () => {
  it.effect.prop("resuming after any event returns the rest without gaps or repeats", [writes], ([all]) =>
    Effect.gen(function* () {
      const { output, read } = yield* everyEvent(all)
      for (const [k, item] of read.entries()) {
        if (item.event._tag === "Ended") continue
        const cursor = yield* parseCursor(idOf(item))
        assert.isDefined(cursor)
        assert.isTrue(output.hasReached(cursor ?? start))
        const rest = yield* collect(output, cursor ?? start)
        assert.strictEqual(textOf(rest), textOf(read.slice(k + 1)))
        assert.deepStrictEqual(othersOf(rest), othersOf(read.slice(k + 1)))
      }
    })
  )

  it.effect.prop("the ids of a turn's events all differ, and exactly one event ends it", [writes], ([all]) =>
    Effect.gen(function* () {
      const { read } = yield* everyEvent(all)
      assert.strictEqual(new Set(read.map(idOf)).size, read.length)
      assert.deepStrictEqual(
        read.flatMap(({ event }, k) => (event._tag === "Ended" ? [k] : [])),
        [read.length - 1]
      )
    })
  )

  it.effect.prop(
    "a replayed turn can be resumed within a piece of text, but not within a character",
    [writes],
    ([all]) =>
      Effect.gen(function* () {
        const output = outputOf(all)
        const whole = yield* collect(output, start)
        for (const { after, event } of whole) {
          if (event._tag !== "Text") continue
          for (let i = 1; i < event.text.length; i++) {
            const cursor = { ...after, text: after.text - i }
            const isSplit = !output.text.slice(0, cursor.text).isWellFormed()
            assert.strictEqual(output.hasReached(cursor), !isSplit)
            assert.strictEqual(textOf(yield* collect(output, cursor)), output.text.slice(cursor.text))
          }
        }
      })
  )

  it.effect.prop(
    "valid cursors are between two events or within a piece of text",
    [writes, fc.nat(6), fc.boolean(), fc.nat(30), fc.boolean()],
    ([all, calls, begun, text, isOver]) =>
      Effect.gen(function* () {
        const output = outputOf(all, isOver)
        const { read } = yield* everyEvent(all)
        const cursor = { calls, begun, text }
        const places = [start, ...read.map(({ after }) => after)]
        const isPlace = places.some((place, k) => {
          const from = places[k - 1] ?? start
          return (
            place.calls === calls &&
            place.begun === begun &&
            (place.text === text ||
              (from.text < text && text < place.text && output.text.slice(0, text).isWellFormed()))
          )
        })
        const last = places.at(-1) ?? start
        // One more call may have begun before the end. It is not stored.
        const isCut = isOver && begun && last.calls === calls && last.text === text
        assert.strictEqual(output.hasReached(cursor), isPlace || isCut)
      })
  )

  it.effect("a reader ahead of the known output gets the output after its cursor", () =>
    Effect.gen(function* () {
      const output = new TurnOutput()
      output.addText("abc")
      const reader = yield* Effect.fork(collect(output, { calls: 0, begun: false, text: 5 }))
      yield* settled
      output.addText("defg")
      output.callEnded(callNamed("1"), { step: 1, offset: 7 })
      output.end(end)
      const read = yield* Fiber.join(reader)
      assert.strictEqual(textOf(read), "fg")
      assert.deepStrictEqual(
        read.map(({ event }) => event._tag),
        ["Text", "ToolCallStarted", "ToolCallEnded", "Ended"]
      )
    })
  )

  it.effect("a reader ahead of the stored output of a lost turn gets the end", () =>
    Effect.gen(function* () {
      const output = outputOf([{ text: "abc" }])
      const read = yield* collect(output, { calls: 2, begun: true, text: 90 })
      assert.deepStrictEqual(
        read.map(({ event }) => event._tag),
        ["Ended"]
      )
    })
  )

  it.effect.prop(
    "many readers of different speeds read the same",
    [writes, fc.array(fc.array(fc.nat(4), { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 8 })],
    ([all, paces]) =>
      Effect.gen(function* () {
        const output = new TurnOutput()
        const readers = yield* Effect.forEach(paces, (pace) => {
          let n = 0
          return output.events(start).pipe(
            Stream.filter(isEvent),
            Stream.tap(() => Effect.repeatN(Effect.yieldNow(), (pace[n++ % pace.length] ?? 0) * 10)),
            Stream.runCollect,
            Effect.map(Chunk.toReadonlyArray),
            Effect.fork
          )
        })
        for (const act of [...actions(all), (output: TurnOutput) => output.end(end)]) {
          act(output)
          yield* Effect.yieldNow()
        }
        const expected = yield* collect(outputOf(all), start)
        for (const read of yield* Effect.forEach(readers, Fiber.join)) {
          assert.strictEqual(textOf(read), textOf(expected))
          assert.deepStrictEqual(othersOf(read), othersOf(expected))
        }
      })
  )

  it.effect("a slow reader gets the waiting text as one piece", () =>
    Effect.gen(function* () {
      const output = new TurnOutput()
      const gate = yield* Deferred.make<void>()
      const reader = yield* output.events(start).pipe(
        Stream.filter(isEvent),
        Stream.tap(() => Deferred.await(gate)),
        Stream.runCollect,
        Effect.map(Chunk.toReadonlyArray),
        Effect.fork
      )
      output.addText("a")
      yield* settled
      for (let i = 0; i < 1000; i++) output.addText("b")
      output.end(end)
      yield* Deferred.succeed(gate, undefined)
      const read = yield* Fiber.join(reader)
      assert.deepStrictEqual(
        read.map(({ event }) => (event._tag === "Text" ? event.text.length : event._tag)),
        [1, 1000, "Ended"]
      )
    })
  )

  it.effect("each piece reaches a waiting reader before the next is written", () =>
    Effect.gen(function* () {
      const output = new TurnOutput()
      const read: Array<TurnEvent> = []
      yield* Effect.fork(
        Stream.runForEach(Stream.filter(output.events(start), isEvent), ({ event }) =>
          Effect.sync(() => read.push(event))
        )
      )
      for (const text of ["a", "b", "c"]) {
        yield* settled
        output.addText(text)
        yield* settled
        assert.deepStrictEqual(read.at(-1), TurnEvent.Text({ text }))
      }
      assert.strictEqual(read.length, 3)
    })
  )

  it.effect("a reader after the end gets everything, or only the end", () =>
    Effect.gen(function* () {
      const output = outputOf([{ text: "a" }, { call: "1", isKnownBefore: true }, { text: "b" }])
      assert.deepStrictEqual(
        (yield* collect(output, start)).map(({ event }) => event._tag),
        ["Text", "ToolCallStarted", "ToolCallEnded", "Text", "Ended"]
      )
      assert.deepStrictEqual(yield* collect(output, { calls: 1, begun: false, text: 2 }), [
        { event: TurnEvent.Ended({ end }), after: { calls: 1, begun: false, text: 2 } }
      ])
      assert.deepStrictEqual(yield* output.awaitEnd, end)
    })
  )

  it.effect("a reader can resume after a call that the end of the turn interrupted", () =>
    Effect.gen(function* () {
      const output = outputOf([{ text: "a" }])
      const read = yield* collect(output, { calls: 0, begun: true, text: 1 })
      assert.deepStrictEqual(
        read.map(({ event }) => event._tag),
        ["Ended"]
      )
    })
  )

  it.effect("a waiting reader gets one keep-alive per wake-up", () =>
    Effect.gen(function* () {
      const output = new TurnOutput()
      const tags: Array<string> = []
      // The second one waits for text ahead of the known output.
      for (const cursor of [start, { ...start, text: 9 }]) {
        yield* Effect.fork(
          Stream.runForEach(output.events(cursor), (item) =>
            Effect.sync(() => tags.push(isEvent(item) ? item.event._tag : item._tag))
          )
        )
      }
      yield* settled
      output.wake()
      yield* settled
      assert.deepStrictEqual(tags, ["Silence", "Silence"])
      output.addText("a")
      yield* settled
      assert.deepStrictEqual(tags, ["Silence", "Silence", "Text"])
      output.wake()
      yield* settled
      assert.deepStrictEqual(tags, ["Silence", "Silence", "Text", "Silence", "Silence"])
      output.end(end)
      yield* settled
      assert.deepStrictEqual(tags.slice(5), ["Ended", "Ended"])
    })
  )

  it("an invalid event id is refused", () => {
    for (const id of ["", "1", "1.", ".1", "1.2.3", "-1.2", "s.2", "1e3.2", "1.2 ", "1234567890.1", "END"]) {
      assert.strictEqual(parseCursor(id)._tag, "Left")
    }
  })
})
