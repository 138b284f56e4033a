import { assert, describe, it } from "@effect/vitest"
import { readUIMessageStream, type UIMessage, type UIMessageChunk, uiMessageChunkSchema } from "ai"
import { Array as Arr, Chunk, DateTime, Effect, FastCheck as fc, Schema, Stream } from "effect"
import { example, UiMessageChunk } from "../../../src/api/UiMessageChunk.ts"
import { ConversationId, MessageId, TurnId } from "../../../src/domain/Id.ts"
import { cursorId, type Ended, endId, parseCursor, start, TurnEvent } from "../../../src/domain/TurnEvent.ts"
import { encoding } from "../../../src/http/sse/UiMessages.ts"
import type { Reading } from "../../../src/services/turns/Chat.ts"
import { type Positioned, TurnOutput } from "../../../src/services/turns/TurnOutput.ts"

const turnId = TurnId.make("01970000-0000-7000-8000-000000000000")

const completed: Ended = {
  turnId,
  conversationId: ConversationId.make(12),
  status: "completed",
  content: "",
  toolCalls: null,
  awaiting: null,
  model: "custom",
  usage: { inputTokens: 3, outputTokens: 4 },
  message: { id: MessageId.make(34), createdAt: DateTime.unsafeMake("2026-01-31T12:00:00Z") },
  error: null,
  retryAfter: null
}

const failed: Ended = {
  ...completed,
  status: "failed",
  message: null,
  error: { code: "agent_failed", detail: "It failed." }
}

const cancelled: Ended = {
  ...failed,
  status: "cancelled",
  error: { code: "turn_cancelled", detail: "The turn was cancelled." }
}

/** One step of the agent: its text and its calls, each with its outcome. */
interface Step {
  readonly texts: ReadonlyArray<string>
  readonly calls: ReadonlyArray<boolean>
}

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.record({
    texts: fc.array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 4 }), { maxLength: 3 }),
    calls: fc.array(fc.boolean(), { maxLength: 3 })
  }),
  { maxLength: 4 }
)

/** Some models number calls per step, and some give all calls the same id. */
const callOf = (position: number, isSuccess: boolean) => ({
  id: `call_${position % 2}`,
  tool: "create_task",
  parameters: { title: `Task ${position}` },
  result: isSuccess ? { status: "success" as const, position } : { status: "error" as const, error: "It failed" },
  durationMs: 1
})

const outputOf = (steps: ReadonlyArray<Step>, end: Ended, cutOff = false): TurnOutput => {
  const output = new TurnOutput()
  for (const [step, { calls, texts }] of steps.entries()) {
    for (const text of texts) output.addText(text)
    for (const [position, isSuccess] of calls.entries()) {
      output.callEnded(callOf(position, isSuccess), { step, offset: output.text.length })
    }
  }
  if (cutOff) output.callStarted({ id: "cut", tool: "create_task", parameters: {} }, steps.length)
  output.end(end)
  return output
}

const readingOf = (output: TurnOutput): Reading => ({
  turnId,
  conversationId: completed.conversationId,
  userMessageId: MessageId.make(33),
  output,
  isElsewhere: false,
  isReplay: false
})

const itemsOf = (output: TurnOutput): ReadonlyArray<Positioned> =>
  output.events(start).pipe(
    Stream.filter((item): item is Positioned => !("_tag" in item)),
    Stream.runCollect,
    Effect.map(Chunk.toReadonlyArray),
    Effect.runSync
  )

/** The same, with one event per UTF-16 unit of text. */
const apart = (items: ReadonlyArray<Positioned>): ReadonlyArray<Positioned> =>
  items.flatMap(({ after, event }): ReadonlyArray<Positioned> => {
    if (event._tag !== "Text") return [{ event, after }]
    const from = after.text - event.text.length
    return event.text
      .split("")
      .map((text, i) => ({ event: TurnEvent.Text({ text }), after: { ...after, text: from + i + 1 } }))
  })

interface Frame {
  readonly id: string | undefined
  readonly data: string
}

const framesOf = (wire: string): ReadonlyArray<Frame> =>
  Array.from(wire.matchAll(/(?:id: ([^\n]*)\n)?data: ([^\n]*)\n\n/g), ([, id, data = ""]) => ({ id, data }))

const write = (output: TurnOutput, items: ReadonlyArray<Positioned>, cursor?: typeof start): ReadonlyArray<Frame> => {
  const { frame, head } = encoding(readingOf(output), cursor)
  return framesOf(head + items.map(frame).join(""))
}

const decode = Schema.decodeUnknownSync(UiMessageChunk, { onExcessProperty: "error" })

/** The message that the AI SDK builds from the chunks. Fails if they do not match its schema. */
const read = async (frames: ReadonlyArray<Frame>) => {
  assert.strictEqual(frames.at(-1)?.data, "[DONE]")
  const chunks: Array<UIMessageChunk> = []
  for (const { data } of frames.slice(0, -1)) {
    decode(JSON.parse(data))
    const checked = await uiMessageChunkSchema().validate?.(JSON.parse(data))
    if (checked?.success !== true) throw new Error(`${data}: ${checked?.error}`)
    chunks.push(checked.value)
  }
  const errors: Array<unknown> = []
  let message: UIMessage | undefined
  const stream = new ReadableStream<UIMessageChunk>({
    start: (controller) => {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    }
  })
  for await (const next of readUIMessageStream({ stream, onError: (error) => errors.push(error) })) message = next
  return { chunks, errors: errors.map(String), message }
}

/** The texts of the steps: the text after a call or at the start, without empty lines before it. */
const spoken = (steps: ReadonlyArray<Step>) => {
  let isPartOpen = false
  let said = ""
  for (const { calls, texts } of steps) {
    const text = texts.join("")
    said += isPartOpen ? text : text.replace(/^\n+/, "")
    isPartOpen = calls.length === 0 && (isPartOpen || /[^\n]/.test(text))
  }
  return said
}

const textsOf = (message: UIMessage | undefined) =>
  (message?.parts ?? []).flatMap((part) => (part.type === "text" ? [part] : []))

const toolsOf = (message: UIMessage | undefined) =>
  (message?.parts ?? []).flatMap((part) => (part.type === "dynamic-tool" ? [part] : []))

describe("a turn as a UI message stream", () => {
  it("is a message of the AI SDK with all text, steps, calls and results", () =>
    fc.assert(
      fc.asyncProperty(steps, fc.boolean(), async (steps, isApart) => {
        const output = outputOf(steps, completed)
        const items = itemsOf(output)
        const { chunks, errors, message } = await read(write(output, isApart ? apart(items) : items))
        assert.deepStrictEqual(errors, [])
        assert.strictEqual(message?.id, turnId)
        assert.deepStrictEqual(message?.metadata, {
          turn_id: turnId,
          conversation_id: 12,
          user_message_id: 33,
          status: "completed",
          message_id: 34,
          timestamp: "2026-01-31T12:00:00.000Z",
          usage: { input_tokens: 3, output_tokens: 4 }
        })
        assert.strictEqual(
          textsOf(message)
            .map(({ state, text }) => (state === "done" ? text : ""))
            .join(""),
          spoken(steps)
        )
        assert.deepStrictEqual(
          toolsOf(message).map(({ errorText, input, output, toolCallId }) => [
            toolCallId.replace(/#.*/, ""),
            input,
            output,
            errorText
          ]),
          steps.flatMap(({ calls }) =>
            calls.map((isSuccess, position) => {
              const { id, parameters, result } = callOf(position, isSuccess)
              return [id, parameters, ...(isSuccess ? [result, undefined] : [undefined, "It failed"])]
            })
          )
        )
        const ids = toolsOf(message).map(({ toolCallId }) => toolCallId)
        assert.deepStrictEqual(Arr.dedupe(ids), ids)
        const types = chunks.map(({ type }) => type)
        assert.deepStrictEqual([types[0], types.at(-1)], ["start", "finish"])
        // Text without calls in between is one step.
        const expected = steps.reduce(
          ({ count, isOpen }, { calls, texts }) =>
            calls.length === 0 && !(isOpen ? texts.length > 0 : /[^\n]/.test(texts.join("")))
              ? { count, isOpen }
              : { count: count + (isOpen ? 0 : 1), isOpen: calls.length === 0 },
          { count: 0, isOpen: false }
        )
        for (const type of ["start-step", "finish-step"]) {
          assert.lengthOf(
            types.filter((other) => other === type),
            expected.count
          )
        }
      }),
      {
        numRuns: 40,
        examples: [
          [
            [
              { texts: ["\n", "\nOne"], calls: [true] },
              { texts: ["\n\n"], calls: [true] },
              { texts: ["\n\nTwo\n\n"], calls: [] }
            ],
            true
          ]
        ]
      }
    ))

  it("can be read after any of its ids, without gaps or repeats", () =>
    fc.assert(
      fc.asyncProperty(steps, async (steps) => {
        const output = outputOf(steps, completed)
        const items = itemsOf(output)
        const whole = await read(write(output, items))
        const frames = write(output, apart(items))
        for (const [at, { id }] of frames.entries()) {
          if (id === undefined || id === endId) continue
          const cursor = Effect.runSync(parseCursor(id))
          const rest = write(output, items, cursor)
          const { errors, message } = await read([...frames.slice(0, at + 1), ...rest])
          assert.deepStrictEqual(errors, [])
          assert.deepStrictEqual(message, whole.message)
        }
      }),
      {
        numRuns: 15,
        // A line separator that does not end a line of the stream.
        examples: [[[{ texts: ["\u2028 "], calls: [] }]]]
      }
    ))

  it("has a different id for each event of the turn, the same as in the default format", () => {
    const output = outputOf([{ texts: ["One "], calls: [true] }], completed)
    const ids = write(output, itemsOf(output)).flatMap(({ id }) => id ?? [])
    assert.deepStrictEqual(ids, [
      cursorId(start),
      ...itemsOf(output).map(({ after, event }) => (event._tag === "Ended" ? endId : cursorId(after)))
    ])
  })

  it("of a failed turn ends with its metadata and an error", async () => {
    const output = outputOf([{ texts: ["One "], calls: [true] }], failed, true)
    const { chunks, errors, message } = await read(write(output, itemsOf(output)))
    assert.deepStrictEqual(errors, ["Error: It failed."])
    assert.deepStrictEqual(
      chunks.slice(-3).map(({ type }) => type),
      ["message-metadata", "error", "finish"]
    )
    assert.deepInclude(message?.metadata, {
      status: "failed",
      error: { code: "agent_failed", detail: "It failed." }
    })
    assert.deepStrictEqual(
      toolsOf(message).map(({ state, toolCallId }) => [toolCallId, state]),
      [
        ["call_0", "output-available"],
        ["cut", "output-error"]
      ]
    )
  })

  it("of a cancelled turn ends with an abort", async () => {
    const output = outputOf([{ texts: ["One "], calls: [] }], cancelled)
    const { chunks, errors, message } = await read(write(output, itemsOf(output)))
    assert.deepStrictEqual(errors, [])
    assert.strictEqual(chunks.at(-1)?.type, "abort")
    assert.deepInclude(message?.metadata, { status: "cancelled" })
  })

  it("is what the API documentation shows", async () => {
    const { errors, message } = await read(framesOf(example))
    assert.deepStrictEqual(errors, [])
    assert.lengthOf(toolsOf(message), 1)
    assert.lengthOf(textsOf(message), 1)
  })
})
