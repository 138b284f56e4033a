import { assert, describe, it } from "@effect/vitest"
import { metadataOf, stateOf } from "../../src/models/Echo.ts"
import { assistant } from "../../src/services/agent/AgentPrompt.ts"

const origin = "https://models.test/v1/chat/completions a"

describe("Echo", () => {
  it("returns the state only to the base URL and the model that it came from", () => {
    const message = assistant("Hi", [], metadataOf(origin, "turn", { reasoning_content: "Hm" }))
    assert.deepStrictEqual(stateOf(origin, message), { reasoning_content: "Hm" })
    for (const other of ["https://models.test/v1/chat/completions b", "https://other.test/v1/chat/completions a", ""]) {
      assert.isUndefined(stateOf(other, message))
    }
  })

  it("keeps up to 64 KiB of an answer, and drops larger state", () => {
    const around = JSON.stringify({ reasoning: "" }).length
    const most = { reasoning: "x".repeat(64 * 1024 - around) }
    assert.notDeepEqual(metadataOf(origin, "turn", most), {})
    assert.deepStrictEqual(metadataOf(origin, "turn", { reasoning: `${most.reasoning}x` }), {})
    assert.deepStrictEqual(metadataOf(origin, "turn", { reasoning: "ä".repeat(33 * 1024) }), {})
  })

  it("keeps nothing without state", () => {
    assert.deepStrictEqual(metadataOf(origin, "turn", {}), {})
    assert.deepStrictEqual(metadataOf(origin, "turn", undefined), {})
  })
})
