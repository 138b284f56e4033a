import { Response } from "@effect/ai"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, FastCheck as fc } from "effect"
import { AgentEvent } from "../../../src/domain/Agent.ts"
import { type Answer, addPart, addParts, emptyAnswer, type Part } from "../../../src/services/agent/ModelAnswer.ts"

/** A part of an answer, or a text that can be cut anywhere. */
type Piece =
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Params"; readonly id: string; readonly text: string; readonly isComplete: boolean }
  | { readonly _tag: "Finish"; readonly usage: readonly [number | undefined, number | undefined] }

const part = <const Fields extends object>(fields: Fields) =>
  ({ [Response.PartTypeId]: Response.PartTypeId, metadata: {}, ...fields }) as const

const text = (delta: string): Part => part({ type: "text-delta", id: "1", delta })
const paramsDelta = (id: string, delta: string): Part => part({ type: "tool-params-delta", id, delta })

/** The parts of an answer, with each text split by `cut`. */
const partsOf = (pieces: ReadonlyArray<Piece>, cut: (text: string) => ReadonlyArray<string>): ReadonlyArray<Part> =>
  pieces.flatMap((piece): ReadonlyArray<Part> => {
    switch (piece._tag) {
      case "Text":
        return cut(piece.text).map(text)
      case "Params": {
        const { id, isComplete } = piece
        // Safe: the parameters are read as unknown.
        const params = { text: piece.text } as never
        return [
          part({ type: "tool-params-start", id, name: "echo", providerExecuted: false }),
          ...cut(piece.text).map((delta) => paramsDelta(id, delta)),
          ...(isComplete ? [part({ type: "tool-call", id, name: "echo", params, providerExecuted: false })] : [])
        ]
      }
      case "Finish": {
        const [inputTokens, outputTokens] = piece.usage
        const usage = new Response.Usage({ inputTokens, outputTokens, totalTokens: undefined })
        return [part({ type: "finish", reason: "stop", usage })]
      }
    }
  })

const joined = (events: ReadonlyArray<AgentEvent>) => {
  const out: Array<AgentEvent> = []
  for (const event of events) {
    const last = out.at(-1)
    if (event._tag !== "Text" || last?._tag !== "Text") out.push(event)
    else out[out.length - 1] = AgentEvent.Text({ text: last.text + event.text })
  }
  return out
}

const texts = fc.string({
  unit: fc.oneof(fc.constantFrom("a", " ", "\n", "\0", "😀", "\ud83d", "\ude00", "é"), fc.string({ unit: "binary" })),
  maxLength: 12
})

const pieces: fc.Arbitrary<ReadonlyArray<Piece>> = fc
  .tuple(
    fc.array(
      fc.oneof(
        fc.record({ _tag: fc.constant("Text" as const), text: texts }),
        fc.record({
          _tag: fc.constant("Params" as const),
          id: fc.constantFrom("a", "b", "c"),
          text: texts,
          isComplete: fc.boolean()
        })
      ),
      { maxLength: 8 }
    ),
    fc.option(fc.tuple(fc.option(fc.integer(), { nil: undefined }), fc.option(fc.integer(), { nil: undefined })))
  )
  .map(([pieces, usage]) => (usage === null ? pieces : [...pieces, { _tag: "Finish", usage }]))

/** Cuts each text into pieces of these lengths, in turn. */
const cutBy = (lengths: ReadonlyArray<number>) => {
  let i = 0
  return (text: string): ReadonlyArray<string> => {
    const out: Array<string> = []
    for (let from = 0; from < text.length; ) {
      const length = lengths[i++ % lengths.length] ?? 1
      out.push(text.slice(from, from + length))
      from += length
    }
    return out
  }
}

const cuts = fc.array(fc.nat(3), { minLength: 1, maxLength: 12 }).map((lengths) => [...lengths, 1])

const read = (parts: ReadonlyArray<Part>, followsText: boolean) => addParts(emptyAnswer(followsText), parts)

const plain = (answer: Answer) => ({ ...answer, partialCalls: Object.fromEntries(answer.partialCalls) })

describe("ModelAnswer", () => {
  it.prop(
    "cuts do not change the answer or its events",
    [pieces, cuts, fc.boolean()],
    ([pieces, lengths, followsText]) => {
      const [answer, events] = read(
        partsOf(pieces, (text) => [text]),
        followsText
      )
      const [cutAnswer, cutEvents] = read(partsOf(pieces, cutBy(lengths)), followsText)
      assert.deepStrictEqual(joined(cutEvents), joined(events))
      assert.deepStrictEqual(plain(cutAnswer), plain(answer))
    }
  )

  it.prop(
    "parts in one chunk are read like parts in separate chunks",
    [pieces, cuts, fc.boolean()],
    ([pieces, lengths, followsText]) => {
      const parts = partsOf(pieces, cutBy(lengths))
      const [answer, events] = read(parts, followsText)
      const [last, one] = Arr.mapAccum(parts, emptyAnswer(followsText), addPart)
      assert.deepStrictEqual(plain(last), plain(answer))
      assert.deepStrictEqual(one.flat(), events)
    }
  )

  it.prop(
    "the emitted text is the text of the answer, without split characters",
    [pieces, fc.boolean()],
    ([pieces, followsText]) => {
      const [answer, events] = read(
        partsOf(pieces, (text) => [text]),
        followsText
      )
      const told = events.map((event) => (event._tag === "Text" ? event.text : ""))
      assert.strictEqual(told.join(""), answer.text)
      for (const piece of told) assert.isTrue(piece !== "" && piece.isWellFormed() && !piece.includes("\0"))
    }
  )
})
