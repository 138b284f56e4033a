import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { EventReader, type ServerSentEvent } from "../../src/models/EventReader.ts"

const dataOf = (events: ReadonlyArray<ServerSentEvent>) => events.map(({ data }) => data)

/** The events of `bytes`, which arrive in pieces that end at `cuts`. */
const read = (bytes: Uint8Array, cuts: ReadonlyArray<number>, limit = 1000) => {
  const reader = new EventReader(limit)
  const out: Array<ServerSentEvent> = []
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  let from = 0
  let fits = true
  for (const end of ends) {
    fits = reader.read(bytes.subarray(from, end), out) && fits
    from = end
  }
  reader.end(out)
  return { out: dataOf(out), events: out, fits }
}

const encode = (text: string) => new TextEncoder().encode(text)
const whole = (text: string) => read(encode(text), []).out

const line = fc
  .oneof(fc.constantFrom("", "é", "👋🏽", " x", "data", ":", "{}"), fc.string({ unit: "grapheme", maxLength: 8 }))
  .map((text) => text.replace(/[\r\n]/g, "."))
const event = fc.array(line, { minLength: 1, maxLength: 4 })
const ending = fc.constantFrom("\n", "\r\n", "\r")

describe("EventReader", () => {
  it("reads the same events for any cuts, line endings and other fields", () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 6 }),
        ending,
        fc.constantFrom("", ": comment", "event: e", "id: 1", "retry: 5", "dataset: no", "other"),
        fc.array(fc.nat(), { maxLength: 30 }),
        (events, end, noise, cuts) => {
          const text = events
            .map(
              (lines) =>
                `${noise === "" ? "" : noise + end}${lines.map((data) => `data: ${data}${end}`).join("")}${end}`
            )
            .join("")
          const expected = events.map((lines) => lines.join("\n")).filter((data) => data !== "")
          assert.deepStrictEqual(read(encode(text), cuts).out, expected)
        }
      )
    )
  })

  it("reads invalid UTF-8 as TextDecoder does, for any cuts", () => {
    // The first bytes of characters of each length, with valid and invalid bytes after them.
    const byte = fc.constantFrom(
      0x41,
      0x80,
      0xbf,
      0xc3,
      0xe2,
      0x82,
      0xac,
      0xed,
      0xa0,
      0xf0,
      0x9f,
      0x91,
      0x8b,
      0xf8,
      0xff
    )
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 12 }), (data, cuts) => {
        const bytes = new Uint8Array([...encode("data: ."), ...data, ...encode(".\n\n")])
        assert.deepStrictEqual(read(bytes, cuts).out, [new TextDecoder().decode(bytes).slice("data: ".length, -2)])
      })
    )
  })

  it("removes one space after the colon", () => {
    assert.deepStrictEqual(whole("data:a\n\ndata: b\n\ndata:  c\n\n"), ["a", "b", " c"])
  })

  it("joins several lines of data", () => {
    assert.deepStrictEqual(whole("data: {\r\ndata\r\ndata: }\r\n\r\n"), ["{\n\n}"])
  })

  it("ignores a byte order mark and events without data", () => {
    assert.deepStrictEqual(whole("\uFEFFdata: a\n\nevent: ping\n\n: comment\n\ndata:\n\n"), ["a"])
  })

  it("an event has its name and the last id", () => {
    const { events } = read(
      encode("id: 1\nevent: turn\ndata: a\n\ndata: b\n\nid:2\nevent: lost\n\ndata: c\n\nid: 3\0\ndata: d\nid\n\n"),
      [5, 9, 20]
    )
    assert.deepStrictEqual(events, [
      { event: "turn", id: "1", data: "a" },
      { event: "message", id: "1", data: "b" },
      { event: "message", id: "2", data: "c" },
      { event: "message", id: "2", data: "d" }
    ])
  })

  it("accepts a last event without an empty line after it", () => {
    assert.deepStrictEqual(whole("data: a\n\ndata: b"), ["a", "b"])
  })

  it("emits an event when its last line ends, even between CR and LF", () => {
    const reader = new EventReader(1000)
    const out: Array<ServerSentEvent> = []
    reader.read(encode("data: a\r\n\r"), out)
    assert.deepStrictEqual(dataOf(out), ["a"])
    reader.read(encode("\ndata: b\r\n\r\n"), out)
    assert.deepStrictEqual(dataOf(out), ["a", "b"])
  })

  it("reports an event over the limit: in one line, in many, or without an end", () => {
    const fits = (text: string) => read(encode(text), [3, 20], 10).fits
    assert.isTrue(fits(`data: ${"x".repeat(4)}\n\n`))
    assert.isFalse(fits(`data: ${"x".repeat(11)}\n\n`))
    assert.isFalse(fits("data: xxxx\n".repeat(3)))
    assert.isFalse(fits("x".repeat(11)))
    assert.isTrue(fits("data: xxxx\n\n".repeat(30)))
  })
})
