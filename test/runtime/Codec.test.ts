import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Array as Arr, DateTime, Either, FastCheck as fc, Option, Schema } from "effect"
import { ChatRequest } from "../../src/api/ChatApi.ts"
import { Conversation, Message } from "../../src/domain/Conversation.ts"
import { NewTaskBody, TaskPatchBody } from "../../src/domain/NewTask.ts"
import { Task } from "../../src/domain/Task.ts"
import { TaskChange } from "../../src/domain/TaskChange.ts"
import { ToolCall } from "../../src/domain/ToolCall.ts"
import { Turn } from "../../src/domain/Turn.ts"
import * as Codec from "../../src/runtime/Codec.ts"
import * as JsonList from "../../src/runtime/JsonList.ts"

/** Constructs that the domain has none of, or few. */
const Mixed = Schema.Struct({
  optional: Schema.optional(Schema.NumberFromString),
  defaulted: Schema.optionalWith(Schema.Number, { default: () => 1 }),
  option: Schema.OptionFromNullOr(Schema.DateTimeUtc),
  tuple: Schema.Tuple(Schema.NumberFromString, Schema.String),
  record: Schema.Record({ key: Schema.String, value: Schema.NumberFromString }),
  either: Schema.Union(Schema.Struct({ a: Schema.NumberFromString }), Schema.Struct({ b: Schema.Trim })),
  refined: Schema.Array(Schema.NumberFromString.pipe(Schema.int(), Schema.brand("n"))).pipe(Schema.maxItems(3)),
  composed: Schema.compose(Schema.NumberFromString, Schema.Int),
  dates: Schema.Array(Schema.DateFromString),
  nothing: Schema.Undefined,
  anything: Schema.Struct({})
})

/** Schema takes a member of this name for the prototype. */
const isKept = (value: unknown) => !(JSON.stringify(value) ?? "").includes("__proto__")

/** What of a value goes out: members that cannot be enumerated do not, and Schema drops some of them. */
const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

const text = (json: string | Uint8Array) => (typeof json === "string" ? json : new TextDecoder().decode(json))

const check = <A, I>(name: string, schema: Schema.Schema<A, I>) =>
  describe(name, () => {
    const value = Arbitrary.make(schema).filter(isKept)
    const encode = Schema.encodeSync(schema)
    const decode = Schema.decodeUnknownEither(schema)
    const reason = Either.mapLeft(String)

    it.prop("is encoded as Schema encodes it", [value], ([value]) => {
      assert.deepStrictEqual(json(Codec.encode(schema)(value)), json(encode(value)))
    })

    it.prop("is written as the JSON of its encoded form", [value], ([value]) => {
      assert.strictEqual(text(Codec.encodeJson(schema)(value)), JSON.stringify(Codec.encode(schema)(value)))
    })

    it.prop("is decoded as Schema decodes it", [value], ([value]) => {
      const encoded = encode(value)
      assert.deepStrictEqual(Codec.decodeUnknown(schema)(encoded), decode(encoded))
    })

    // One member of it, or all of it, is something else.
    const broken = fc
      .tuple(value, fc.nat(), fc.oneof(fc.constant(undefined), fc.anything({ withDate: true })), fc.boolean())
      .map(([value, at, other, isWhole]): unknown => {
        const members = Object.entries(encode(value) as object)
        return isWhole
          ? other
          : Object.fromEntries(members.map(([key, member], i) => [key, i === at % members.length ? other : member]))
      })
      .filter(isKept)
    it.prop("is refused if Schema refuses it, for the same reason", [broken], ([broken]) => {
      assert.deepStrictEqual(reason(Codec.decodeUnknown(schema)(broken)), reason(decode(broken)))
    })
  })

check("Conversation", Conversation)
check("Message", Message)
check("Task", Task)
check("TaskChange", TaskChange)
check("ToolCall", ToolCall)
check("Turn", Turn)
check("a schema of many kinds", Mixed)

const anything = fc.oneof(
  fc.constantFrom<unknown>(
    "a",
    "",
    "2026-01-31",
    "2026-01-31T09:00:00Z",
    "UTC",
    "high",
    null,
    true,
    7,
    ["a"],
    [""],
    {}
  ),
  fc.anything()
)
const members = ["title", "description", "priority", "labels", "due_date", "due_at", "time_zone", "repeat", "completed"]
const body = fc
  .record(Object.fromEntries([...members, "message", "conversation_id"].map((name) => [name, anything])), {
    requiredKeys: []
  })
  .filter(isKept)

const checkBody = <A, I>(name: string, schema: Schema.Schema<A, I>) =>
  it.prop(`${name} is accepted or refused as by Schema, for the same reason`, [body], ([body]) => {
    const bySchema = Schema.decodeUnknownEither(schema)(body)
    const byCodec = Codec.decodeUnknown(schema)(body)
    assert.deepStrictEqual(Either.mapLeft(byCodec, String), Either.mapLeft(bySchema, String))
  })

checkBody("NewTaskBody", NewTaskBody)
checkBody("TaskPatchBody", TaskPatchBody)
checkBody("ChatRequest", ChatRequest)

describe("a refused value", () => {
  it("is decoded once, up to its first failure", () => {
    const decoded: Array<string> = []
    const Counted = Schema.transform(Schema.String, Schema.String, {
      strict: true,
      decode: (text) => {
        decoded.push(text)
        return text
      },
      encode: (text) => text
    })
    const Each = Schema.Array(Schema.NullOr(Schema.compose(Counted, Schema.NumberFromString))).pipe(Schema.maxItems(9))
    const decode = Codec.decodeUnknown(Schema.Struct({ before: Counted, each: Each, after: Counted }))
    assert.isTrue(Either.isLeft(decode({ before: "a", each: ["1", null, "b", "c"], after: "d" })))
    assert.deepStrictEqual(decoded, ["a", "1", "b"])
  })
})

const Stamped = Schema.Struct({ text: Schema.DateTimeUtc, date: Schema.DateTimeUtcFromDate })
check("times", Stamped)

describe("a time", () => {
  const day = fc.date({ noInvalidDate: true })
  it.prop(
    "is written as Date writes it, in any year and after any other time",
    [day, fc.array(fc.nat(200_000_000))],
    ([day, offsets]) => {
      const times = [0, ...offsets].map((offset) => DateTime.make(day.getTime() - offset)).flatMap(Option.toArray)
      assert.deepStrictEqual(
        Codec.encode(Schema.Array(Schema.DateTimeUtc))(times),
        times.map(({ epochMillis }) => new Date(epochMillis).toISOString())
      )
    }
  )

  it("is refused if it is invalid", () => {
    const none = { text: "2026-01-31T12:00:00.000Z", date: new Date(Number.NaN) }
    assert.isTrue(Either.isLeft(Codec.decodeUnknown(Stamped)(none)))
  })
})

describe("encodeJson", () => {
  const Lists = Schema.Struct({
    first: Schema.Array(Schema.String),
    missing: Schema.optional(Schema.Array(Schema.Int)),
    between: Schema.NullOr(Schema.DateTimeUtc),
    last: Schema.Array(Schema.Struct({ n: Schema.Int }))
  })

  it.each([0, 1, 25, 26, 250, 1000])("writes lists of %i as one text", (length) => {
    const lists = {
      first: Arr.makeBy(length, (n) => `ä€😀 "${n}"`),
      between: null,
      last: length === 0 ? [] : Arr.makeBy(length, (n) => ({ n }))
    }
    assert.strictEqual(text(Codec.encodeJson(Lists)(lists)), JSON.stringify(Codec.encode(Lists)(lists)))
  })
})

describe("a member __proto__", () => {
  it("is kept like any other member", () => {
    const call = JSON.parse(
      `{"id":"1","tool":"t","parameters":{},"result":{"status":"success","__proto__":{"a":1}},"duration_ms":1}`
    )
    const decoded = Either.getOrThrow(Codec.decodeUnknown(ToolCall)(call))
    assert.strictEqual(JSON.stringify(Codec.encode(ToolCall)(decoded)), JSON.stringify(call))
  })
})

describe("encode", () => {
  it("leaves out members that the schema does not name", () => {
    const task = { task: { secret: 1, title: "a" }, secret: 2 }
    const schema = Schema.Struct({ task: Schema.Struct({ title: Schema.String }) })
    assert.deepStrictEqual(Codec.encode(schema)(task), { task: { title: "a" } })
  })
})

describe("a list that came as JSON", () => {
  const Page = Schema.Struct({ before: Schema.Int, tasks: Schema.Array(Task), after: Schema.NullOr(Schema.Int) })
  const encode = Schema.encodeSync(Task)
  const listOf = JsonList.make(Task)
  const items = (tasks: ReadonlyArray<Task>) => tasks.map((task) => JSON.stringify(encode(task)))
  const tasks = fc.array(Arbitrary.make(Task).filter(isKept), { maxLength: 3 })

  it.prop("equals the decoded list", [tasks], ([tasks]) => {
    const decoded = Schema.decodeUnknownSync(Schema.Array(Task))(json(tasks.map((task) => encode(task))))
    const list = listOf(items(tasks))
    assert.strictEqual(list.length, tasks.length)
    assert.deepStrictEqual(list, decoded)
    assert.deepStrictEqual([...list], decoded)
  })

  it.prop("is written as the JSON of its items", [tasks], ([tasks]) => {
    const page = { before: 1, tasks, after: null }
    const written = text(Codec.encodeJson(Page)({ ...page, tasks: listOf(items(tasks)) }))
    assert.deepStrictEqual(JSON.parse(written), json(Codec.encode(Page)(page)))
  })

  it.each([1, 26, 20_000])("is passed on as it came, in a list of %i", (length) => {
    const items = Arr.makeBy(length, () => ' "ä€😀" ')
    assert.strictEqual(
      text(Codec.encodeJson(Page)({ before: 1, tasks: listOf(items), after: null })),
      `{"before":1,"tasks":[${items.join()}],"after":null}`
    )
  })

  it("is encoded item by item by another schema, and when nested", () => {
    const Titles = Schema.Array(Schema.Struct({ title: Schema.String }))
    const list = JsonList.make(Schema.Struct({ title: Schema.String, secret: Schema.Int }))([
      '{"title":"a","secret":1}'
    ])
    assert.strictEqual(text(Codec.encodeJson(Schema.Struct({ list: Titles }))({ list })), '{"list":[{"title":"a"}]}')
    assert.deepStrictEqual(Codec.encode(Titles)(list), [{ title: "a" }])
    const Nested = Schema.Struct({ page: Page })
    const page = { before: 1, tasks: listOf([]), after: null }
    assert.strictEqual(text(Codec.encodeJson(Nested)({ page })), '{"page":{"before":1,"tasks":[],"after":null}}')
  })

  it("is refused on reading if it does not match its schema", () => {
    assert.throws(() => listOf(['{"id":0}']).length, "id")
  })
})
