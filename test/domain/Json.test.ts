import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import { length, readText } from "../../src/domain/Json.ts"
import { parseJson } from "../../src/domain/JsonText.ts"

const max = 50
const controls = /(?![\t\n])\p{Cc}/gu

describe("readText", () => {
  const pieces = FastCheck.constantFrom(
    "a",
    "é",
    "e\u0301",
    "\u0315",
    "\u0300",
    "\0",
    "\n",
    " ",
    "\ud800",
    "👩‍👧",
    "각",
    "\u0344"
  )
  const texts = FastCheck.array(pieces, { maxLength: 60 }).map((some) => some.join(""))

  it.prop("accepted text is normalised, within its bounds, and unchanged when read again", [texts], ([given]) => {
    const read = readText(given, 1, max)
    if (Either.isLeft(read)) return
    assert.strictEqual(read.right, read.right.normalize("NFC").trim())
    assert.isTrue(read.right.isWellFormed() && length(read.right) <= max && read.right !== "")
    assert.notMatch(read.right, controls)
    assert.deepStrictEqual(readText(read.right, 1, max), read)
  })

  it.prop("accepts every text that fits and has no long run of marks", [texts], ([given]) => {
    const n = length(given.toWellFormed().replace(controls, "").normalize("NFC").trim())
    const isPlain = given.length <= 4 * max && !/\p{M}{31}/u.test(given.replace(controls, ""))
    assert.strictEqual(Either.isRight(readText(given, 0, max)), n <= max && isPlain)
  })

  it("control characters do not divide a run of marks", () => {
    const marks = "\u0300".repeat(16)
    assert.isTrue(Either.isRight(readText(`a${marks}`, 1, max)))
    assert.isTrue(Either.isLeft(readText(`a${marks}\u0001${marks}`, 1, max)))
  })
})

describe("parseJson", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth)
  const many = (values: number) => `[${"1,".repeat(values - 2)}1]`

  it("accepts at most 64 levels and 5,000 values", () => {
    assert.isTrue(Either.isRight(parseJson(nested(64))))
    assert.deepStrictEqual(parseJson(nested(65)), Either.left("is nested too deeply"))
    assert.isTrue(Either.isRight(parseJson(many(5000))))
    assert.deepStrictEqual(parseJson(many(5001)), Either.left("has more than 5000 values"))
    assert.deepStrictEqual(parseJson("{"), Either.left("is not valid JSON"))
  })

  it.prop(
    "counts the values of the JSON, and nothing in its strings",
    [FastCheck.jsonValue({ maxDepth: 6 })],
    ([value]) => {
      assert.deepStrictEqual(parseJson(JSON.stringify(value)), Either.right(JSON.parse(JSON.stringify(value))))
      assert.isTrue(Either.isRight(parseJson(JSON.stringify('[{,\\"'.repeat(5000)))))
    }
  )
})
