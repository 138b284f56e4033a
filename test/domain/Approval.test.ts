import { assert, describe, it } from "@effect/vitest"
import { isApproval } from "../../src/domain/Approval.ts"

describe("an approving message", () => {
  it("is one word of the list, in any case and with any space around it", () => {
    for (const word of ["yes", "YES", " Yes\n", "y", "ok", "Okay", "sure", "approve", "confirm", "ja", "oui", "SÍ"]) {
      assert.isTrue(isApproval(word), word)
    }
  })

  it("is nothing else", () => {
    const others = [
      "",
      "yes please",
      "yes.",
      "yes!",
      "no",
      "yesyes",
      "y e s",
      "o k",
      "“yes”",
      "'yes'",
      "yes\u200b",
      "ｙｅｓ"
    ]
    for (const word of [...others, "Approve it", "not ok", "👍", "yes ".repeat(1000), "constructor", "__proto__"]) {
      assert.isFalse(isApproval(word), word)
    }
  })
})
