import { assert, describe, it } from "@effect/vitest"
import { refusedIn } from "../../src/models/OptionalMembers.ts"

const members = ["stream_options", "temperature", "tool_choice", "reasoning_content"]

const error = (message: string, rest: object = {}) => ({ error: { message, ...rest } })

const table: ReadonlyArray<readonly [string, unknown, ReadonlyArray<string>]> = [
  ["a param", error("No.", { param: "temperature" }), ["temperature"]],
  ["a `loc`", { detail: [{ loc: ["body", "stream_options"], msg: "Extra inputs" }] }, ["stream_options"]],
  ["a quoted name", error("Unsupported value: 'temperature' does not support 0.5."), ["temperature"]],
  ["a name that is not an English word", error("Unknown field stream_options"), ["stream_options"]],
  ["two names", error("unsupported: tool_choice, stream_options"), ["stream_options", "tool_choice"]],
  ["a word of the prompt", error("Invalid prompt: what is the temperature outside?"), []],
  ["a missing member", error("The reasoning_content must be passed back to the API. It is not optional."), []],
  ["a name without a complaint", error("stream_options"), []],
  ["nothing", undefined, []]
]

describe("OptionalMembers", () => {
  for (const [what, body, names] of table) {
    it(`${what}: ${names.join() || "none"}`, () => {
      assert.deepStrictEqual(refusedIn(body, members), names)
    })
  }
})
