import assert from "node:assert/strict"
import { Array as Arr, Context, DateTime, Effect, Either, FastCheck as fc, Option, Order } from "effect"
import { ConversationId, MessageId, UserId } from "../../domain/Id.ts"
import { type ConversationQuery, Conversations, type MessageQuery } from "../../services/Conversations.ts"
import { type Fact, gather } from "./Contract.ts"

/** Creates the data that the contract reads. `Conversations` does not write messages, turns do. */
export class ConversationSeeds extends Context.Tag("taskchat/testing/ConversationSeeds")<
  ConversationSeeds,
  {
    /** Conversations with the title "Seeded", one for each time of the last activity, with ascending ids. */
    readonly conversations: (
      owner: UserId,
      times: ReadonlyArray<DateTime.Utc>
    ) => Effect.Effect<ReadonlyArray<ConversationId>>
    /** `count` messages in an empty conversation, alternately of the user and the assistant, numbered from 1. */
    readonly messages: (owner: UserId, id: ConversationId, count: number) => Effect.Effect<ReadonlyArray<MessageId>>
    /** Sets the time of the last activity to now. */
    readonly touch: (owner: UserId, id: ConversationId) => Effect.Effect<void>
  }
>() {}

/** A user without data. */
const newUser = Effect.sync(() => UserId.make(1 + Math.floor(Math.random() * 1e12)))

const seedConversations = (owner: UserId, times: ReadonlyArray<DateTime.Utc>) =>
  Effect.flatMap(ConversationSeeds, (seeds) => seeds.conversations(owner, times))
const seedConversation = (owner: UserId) =>
  Effect.flatMap(DateTime.now, (now) => Effect.map(seedConversations(owner, [now]), Arr.head)).pipe(
    Effect.flatten,
    Effect.orDie
  )
const seedMessages = (owner: UserId, id: ConversationId, count: number) =>
  Effect.flatMap(ConversationSeeds, (seeds) => seeds.messages(owner, id, count))
const touch = (owner: UserId, id: ConversationId) =>
  Effect.flatMap(ConversationSeeds, (seeds) => seeds.touch(owner, id))

const at = (millis: number) => DateTime.unsafeMake(1_700_000_000_000 + millis)
const nobody = ConversationId.make(Number.MAX_SAFE_INTEGER)
const conversationIds = (page: { readonly conversations: ReadonlyArray<{ readonly id: ConversationId }> }) =>
  page.conversations.map(({ id }) => id)
const numbers = (page: { readonly messages: ReadonlyArray<{ readonly sequenceNumber: number }> }) =>
  page.messages.map(({ sequenceNumber }) => sequenceNumber)

/** The ids of all pages. `between` runs after each page. */
const walk = <E, R>(owner: UserId, limit: number, between: (page: number) => Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const seen: Array<ConversationId> = []
    let cursor: ConversationQuery["cursor"] | null
    for (let n = 0; cursor !== null; n++) {
      const page = yield* conversations.list(owner, { limit, cursor })
      assert.ok(page.conversations.length <= limit)
      seen.push(...conversationIds(page))
      cursor = page.nextCursor
      yield* between(n)
    }
    return seen
  })

/** A change between two pages: a conversation is added, or an existing one is touched or removed. */
const disturbance = fc.record({ kind: fc.constantFrom("add", "touch", "remove"), at: fc.nat() })

const failure = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(Effect.either(effect), Either.getLeft)

/** The errors of all methods for a conversation that does not exist. */
const refusals = (owner: UserId, id: ConversationId, message: MessageId) =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    return yield* Effect.forEach(
      [
        conversations.get(owner, id),
        conversations.rename(owner, id, "Mine"),
        conversations.messages(owner, id, {}),
        conversations.removeMessage(owner, id, message),
        conversations.remove(owner, id)
      ],
      (attempt) => Effect.map(Effect.flip(attempt), ({ _tag }) => _tag)
    )
  })
const everywhere = Arr.replicate("ConversationNotFound" as const, 5)

const expected = (left: ReadonlyArray<number>, { after, before, limit = 1000 }: MessageQuery) => {
  const matching = left.filter((n) => (after === undefined || n > after) && (before === undefined || n < before))
  const found = before !== undefined && after === undefined ? matching.slice(-limit) : matching.slice(0, limit)
  return { found, matching }
}

const { facts, it } = gather<Conversations | ConversationSeeds>()

/** The contract of `Conversations`. */
export const contract: ReadonlyArray<Fact<Conversations | ConversationSeeds>> = facts

it.effect("conversations are listed by the time of their last activity, then by id", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    const [a, b, c, d] = yield* seedConversations(owner, [at(2), at(1), at(2), at(0.4)])
    const { conversations: found, nextCursor, total } = yield* conversations.list(owner, {})
    assert.deepStrictEqual(
      found.map(({ id }) => id),
      [c, a, b, d].filter((id) => id !== undefined)
    )
    assert.deepStrictEqual(
      found.map(({ title, updatedAt }) => [title, updatedAt.epochMillis]),
      [at(2), at(2), at(1), at(0)].map(({ epochMillis }) => ["Seeded", epochMillis])
    )
    assert.strictEqual(total, 4)
    assert.strictEqual(nextCursor, null)
  })
)

it.effect("a user without conversations has an empty list", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    assert.deepStrictEqual(yield* conversations.list(yield* newUser, {}), {
      conversations: [],
      total: 0,
      nextCursor: null
    })
  })
)

it.effect("a page has 50 conversations by default, and `total` counts all pages", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    yield* seedConversations(owner, Arr.makeBy(101, at))
    const sizes = yield* Effect.forEach([{}, { limit: 1 }, { limit: 100 }], (query) =>
      Effect.map(conversations.list(owner, query), (page) => [page.conversations.length, page.total])
    )
    assert.deepStrictEqual(sizes, [
      [50, 101],
      [1, 101],
      [100, 101]
    ])
  })
)

it.effect.prop(
  "pages neither repeat nor skip an unchanged conversation while others change",
  [
    fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 12 }),
    fc.integer({ min: 1, max: 5 }),
    fc.array(fc.array(disturbance, { maxLength: 3 }), { maxLength: 12 })
  ],
  ([times, limit, disturbances]) =>
    Effect.gen(function* () {
      const conversations = yield* Conversations
      const owner = yield* newUser
      const there = yield* seedConversations(owner, times.map(at))
      const order = conversationIds(yield* conversations.list(owner, { limit: 100 }))
      assert.deepStrictEqual(Arr.sort(order, Order.number), Arr.sort(there, Order.number))
      const disturbed = new Set<ConversationId>()
      const disturb = ({ at, kind }: { readonly at: number; readonly kind: string }) => {
        const id = there[at % there.length]
        if (kind === "add" || id === undefined) return seedConversation(owner)
        disturbed.add(id)
        return kind === "touch" ? touch(owner, id) : Effect.ignore(conversations.remove(owner, id))
      }
      const seen = yield* walk(owner, limit, (page) =>
        Effect.forEach(disturbances[page] ?? [], disturb, { concurrency: "unbounded" })
      )
      assert.strictEqual(new Set(seen).size, seen.length)
      const isUndisturbed = (id: ConversationId) => there.includes(id) && !disturbed.has(id)
      assert.deepStrictEqual(seen.filter(isUndisturbed), order.filter(isUndisturbed))
    }),
  { fastCheck: { numRuns: 40 } }
)

it.effect("a cursor stays valid after its conversation is removed", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    const there = yield* seedConversations(
      owner,
      Arr.makeBy(5, () => at(0))
    )
    const first = yield* conversations.list(owner, { limit: 2 })
    yield* Effect.forEach(conversationIds(first), (id) => conversations.remove(owner, id))
    const { conversations: rest, total } = yield* conversations.list(owner, {
      cursor: first.nextCursor ?? assert.fail("There is no next page")
    })
    assert.deepStrictEqual(
      rest.map(({ id }) => id),
      Arr.reverse(there).slice(2)
    )
    assert.strictEqual(total, 3)
  })
)

it.effect("renaming a conversation or removing its title does not move it in the list", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    const [older = nobody, newer] = yield* seedConversations(owner, [at(0), at(1)])
    const before = yield* conversations.get(owner, older)
    const renamed = yield* conversations.rename(owner, older, "😀".repeat(200))
    assert.deepStrictEqual({ ...renamed }, { ...before, title: "😀".repeat(200) })
    assert.deepStrictEqual(yield* conversations.get(owner, older), renamed)
    assert.strictEqual((yield* conversations.rename(owner, older, null)).title, null)
    assert.deepStrictEqual(conversationIds(yield* conversations.list(owner, {})), [newer, older])
  })
)

it.effect("a removed conversation is not found by any method", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    const [id = nobody, other = nobody] = yield* seedConversations(owner, [at(1), at(0)])
    const [message = MessageId.make(1)] = yield* seedMessages(owner, id, 2)
    yield* conversations.remove(owner, id)
    assert.deepStrictEqual(yield* refusals(owner, id, message), everywhere)
    const { conversations: found, total } = yield* conversations.list(owner, {})
    assert.deepStrictEqual([found.map((c) => c.id), total], [[other], 1])
  })
)

it.effect(
  "another user's conversation is not found by any method, like one that never existed, and does not change",
  () =>
    Effect.gen(function* () {
      const conversations = yield* Conversations
      const owner = yield* newUser
      const stranger = yield* newUser
      const id = yield* seedConversation(owner)
      const [message = MessageId.make(1)] = yield* seedMessages(owner, id, 2)
      const before = [yield* conversations.get(owner, id), yield* conversations.messages(owner, id, {})]
      assert.deepStrictEqual(yield* refusals(stranger, id, message), everywhere)
      assert.deepStrictEqual(yield* refusals(stranger, nobody, message), everywhere)
      assert.strictEqual((yield* conversations.list(stranger, {})).total, 0)
      const own = yield* seedConversation(stranger)
      assert.strictEqual(
        Option.getOrUndefined(yield* failure(conversations.removeMessage(stranger, own, message)))?._tag,
        "MessageNotFound"
      )
      assert.deepStrictEqual(
        [yield* conversations.get(owner, id), yield* conversations.messages(owner, id, {})],
        before
      )
    })
)

it.effect("a conversation without messages has an empty page", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    const conversationId = yield* seedConversation(owner)
    assert.deepStrictEqual(yield* conversations.messages(owner, conversationId, {}), {
      conversationId,
      messages: [],
      total: 0,
      hasMore: false
    })
  })
)

it.effect.prop(
  "a page of messages matches its query, in order, without removed messages",
  [
    fc.integer({ min: 0, max: 12 }),
    fc.uniqueArray(fc.integer({ min: 1, max: 12 })),
    fc.array(
      fc.record(
        {
          limit: fc.integer({ min: 1, max: 13 }),
          before: fc.oneof(fc.integer({ min: 0, max: 14 }), fc.constant(Number.MAX_SAFE_INTEGER)),
          after: fc.oneof(fc.integer({ min: 0, max: 14 }), fc.constant(Number.MAX_SAFE_INTEGER))
        },
        { requiredKeys: [] }
      ),
      { minLength: 10, maxLength: 10 }
    )
  ],
  ([count, deleted, queries]) =>
    Effect.gen(function* () {
      const conversations = yield* Conversations
      const owner = yield* newUser
      const id = yield* seedConversation(owner)
      const messages = yield* seedMessages(owner, id, count)
      for (const number of deleted) {
        const message = messages[number - 1]
        if (message !== undefined) yield* conversations.removeMessage(owner, id, message)
      }
      const left = Array.from({ length: count }, (_, n) => n + 1).filter((n) => !deleted.includes(n))
      for (const query of queries) {
        const page = yield* conversations.messages(owner, id, query)
        const { found, matching } = expected(left, query)
        assert.deepStrictEqual(numbers(page), found)
        assert.strictEqual(page.total, left.length)
        assert.strictEqual(page.hasMore, matching.length > found.length)
      }
    }),
  { fastCheck: { numRuns: 30 } }
)

it.effect("a page has 1,000 messages by default", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    const id = yield* seedConversation(owner)
    yield* seedMessages(owner, id, 1001)
    const first = yield* conversations.messages(owner, id, {})
    assert.deepStrictEqual(
      numbers(first),
      Arr.makeBy(1000, (n) => n + 1)
    )
    assert.deepStrictEqual([first.total, first.hasMore], [1001, true])
    const last = yield* conversations.messages(owner, id, { after: 1000 })
    assert.deepStrictEqual([numbers(last), last.total, last.hasMore], [[1001], 1001, false])
  })
)

it.effect("a message is removed once, and only from its own conversation", () =>
  Effect.gen(function* () {
    const conversations = yield* Conversations
    const owner = yield* newUser
    const id = yield* seedConversation(owner)
    const other = yield* seedConversation(owner)
    const [first = MessageId.make(1)] = yield* seedMessages(owner, id, 3)
    const remove = (conversation: ConversationId) =>
      Effect.either(conversations.removeMessage(owner, conversation, first))
    assert.strictEqual(Either.getOrThrow(Either.flip(yield* remove(other)))._tag, "MessageNotFound")
    const outcomes = yield* Effect.replicateEffect(remove(id), 10, { concurrency: "unbounded" })
    assert.strictEqual(outcomes.filter(Either.isRight).length, 1)
    assert.deepStrictEqual([...new Set(Arr.getLefts(outcomes).map(({ _tag }) => _tag))], ["MessageNotFound"])
    const page = yield* conversations.messages(owner, id, {})
    assert.deepStrictEqual([numbers(page), page.total], [[2, 3], 2])
  })
)
