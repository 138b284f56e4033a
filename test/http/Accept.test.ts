import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { prefersProfile } from "../../src/http/Accept.ts"

const prefers = (accept: string | undefined) => prefersProfile(accept, "text/event-stream", "ai-sdk-v1")

const named = `text/event-stream; profile="ai-sdk-v1"`

describe("Accept", () => {
  it.each([
    named,
    "text/event-stream;profile=ai-sdk-v1",
    `TEXT/Event-Stream ; Profile = "ai-sdk-v1" ; Q = 0.3`,
    `text/event-stream; profile="ai\\-sdk-v1"`,
    `text/html, application/json;q=0.9, ${named}`,
    `text/event-stream, ${named}`,
    `*/*;q=0.1, ${named};q=0.1`,
    `text/*, text/event-stream;q=0.5, ${named};q=0.7`,
    `application/x; note="a, b; ${"\\"}" c", ${named}`,
    `text/event-stream;charset=utf-8;q=1, ${named};q=0.2`
  ])("%s asks for the profile", (accept) => {
    assert.isTrue(prefers(accept))
  })

  it.each([
    undefined,
    "",
    "*/*",
    "text/event-stream",
    "text/event-stream; profile=other",
    "text/event-stream; profile",
    "text/event-stream; profile=AI-SDK-V1",
    `text/plain; profile="ai-sdk-v1"`,
    `${named}; q=0`,
    `${named}; q=2`,
    `${named}; q=much`,
    `text/event-stream, ${named};q=0.9`,
    `text/*;q=0.5, ${named};q=0.4`,
    `*/*, ${named};q=0.9`,
    `application/x; note="${named.replaceAll('"', '\\"')}"`
  ])("%s does not", (accept) => {
    assert.isFalse(prefers(accept))
  })

  it("accepts any field value, and finds the profile after any well-formed media types", () => {
    fc.assert(fc.property(fc.string(), (accept) => assert.isFalse(prefers(accept))))
    const word = fc.stringMatching(/^[a-z+.-]{1,8}$/)
    const quoted = fc.string().map((text) => `"${text.replace(/["\\]/g, "\\$&")}"`)
    const range = fc
      .tuple(word, word, fc.array(fc.tuple(word, fc.oneof(word, quoted)), { maxLength: 3 }))
      .map(([type, subtype, parameters]) =>
        [`x${type}/${subtype}`, ...parameters.map((pair) => pair.join("="))].join(";")
      )
    fc.assert(
      fc.property(fc.array(range), fc.array(range), (before, after) =>
        assert.isTrue(prefers([...before, named, ...after].join(", ")))
      )
    )
  })
})
