import { assert, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { length } from "../../src/domain/Json.ts"
import { beginning } from "../../src/domain/Text.ts"

const grapheme = fc.constantFrom("a", " ", "é", "e\u0301", "😀", "👩‍👩‍👧‍👦", "🇩🇪", "한", "👍🏽")

it.prop(
  "a beginning is as long as allowed and ends between visible characters",
  [fc.array(grapheme), fc.nat({ max: 30 })],
  ([parts, max]) => {
    const cut = beginning(parts.join(""), max)
    const kept = parts.findIndex((_, n) => parts.slice(0, n + 1).join("").length > cut.length)
    assert.strictEqual(cut, parts.slice(0, kept < 0 ? parts.length : kept).join(""))
    assert.isAtMost(length(cut), max)
    if (kept >= 0) assert.isAbove(length(parts.slice(0, kept + 1).join("")), max)
  }
)
