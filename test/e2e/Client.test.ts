import { FetchHttpClient } from "@effect/platform"
import { assert, it, layer } from "@effect/vitest"
import { Chunk, Effect, Fiber, Redacted, Stream, TestClock } from "effect"
import * as Client from "../../src/client.ts"
import { TurnId, UserId } from "../../src/domain/Id.ts"
import { ScriptedModel, TestServer, tokenOf } from "../../src/testing.ts"
import * as Database from "../support/Database.ts"
import { packages } from "../support/Imports.ts"
import { read } from "../support/Repository.ts"

const user = UserId.make(1)

/** The fault of the network for each answer, or none. */
type Fault = "refused" | "unavailable" | "lost" | { readonly cutAfter: number } | undefined

/** A client whose connections have these faults, and its requests. */
const faulty = (faults: ReadonlyArray<Fault>, options: Partial<Client.ClientOptions> = {}) =>
  Effect.gen(function* () {
    const server = yield* TestServer
    const token = yield* tokenOf(user)
    const sent: Array<Request> = []
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const request = new Request(input, init)
      sent.push(request.clone())
      const fault = faults[sent.length - 1]
      if (fault === "refused") throw new TypeError("fetch failed")
      if (fault === "unavailable")
        return new Response("<html>", { status: 502, headers: { "content-type": "text/html" } })
      const response = await server.fetch(request)
      if (fault === "lost") {
        await response.body?.cancel()
        throw new TypeError("fetch failed")
      }
      return fault === undefined ? response : cut(response, fault.cutAfter)
    }
    const client = yield* Client.make({ baseUrl: "http://taskchat.test", token, ...options }).pipe(
      Effect.provide(FetchHttpClient.layer),
      Effect.provideService(FetchHttpClient.Fetch, fetch)
    )
    return { client, sent }
  })

/** The first bytes of a body, then an error. */
const cut = (response: Response, bytes: number) => {
  let left = bytes
  return new Response(
    response.body?.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          controller.enqueue(chunk.subarray(0, left))
          left -= chunk.length
          if (left <= 0) controller.error(new Error("reset"))
        }
      })
    ) ?? null,
    response
  )
}

const collect = <E>(stream: Stream.Stream<Client.Received, E>) =>
  Effect.map(Stream.runCollect(stream), Chunk.toReadonlyArray)

/** Shortens pauses, but leaves a turn some seconds before its time limit on a busy machine. */
const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* Effect.raceFirst(
      Fiber.await(fiber),
      Effect.forever(
        Effect.zipRight(
          Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5))),
          TestClock.adjust("100 millis")
        )
      )
    )
    return yield* Fiber.join(fiber)
  })

const text = (events: ReadonlyArray<Client.Received>) =>
  events.map((event) => (event._tag === "Text" ? event.content : "")).join("")

const script: ScriptedModel.Script = ({ results }) =>
  results.length === 0 ? ["One ", ScriptedModel.call("create_task", { title: "Milk" })] : ["two ", "three."]

const said = "One \n\ntwo three."

it("the client needs only fetch and Effect, no modules of Node.js", () => {
  assert.deepStrictEqual(packages("src/client.ts", read), ["@effect/platform", "effect"])
})

layer(TestServer.layer({ script, database: Database.layer }))("the client's stream", (it) => {
  it.effect("has every event of a turn with its id, up to the last one", () =>
    Effect.gen(function* () {
      const { client } = yield* faulty([])
      const events = yield* collect(client.stream({ user, message: "Hello", timeZone: "Europe/Berlin" }))
      assert.deepStrictEqual(
        events.filter(({ _tag }) => _tag !== "Text").map(({ _tag }) => _tag),
        ["Turn", "CallBegun", "CallEnded", "Completed"]
      )
      assert.strictEqual(text(events), said)
      assert.lengthOf(new Set(events.map(({ id }) => id)), events.length)
      assert.deepInclude(events.at(-1), {
        done: true,
        toolCalls: events.flatMap((event) => (event._tag === "CallEnded" ? [event.toolCall] : []))
      })
    })
  )

  it.effect("continues after a cut at any position, without gaps or repeats", () =>
    Effect.gen(function* () {
      for (const cutAfter of [150, 240, 300, 500, 700]) {
        const { client, sent } = yield* faulty([{ cutAfter }, "refused", "unavailable", { cutAfter: 120 }])
        const events = yield* patiently(collect(client.stream({ user, message: "Hello" })))
        assert.strictEqual(text(events), said)
        assert.lengthOf(new Set(events.map(({ id }) => id)), events.length)
        assert.strictEqual(events.at(-1)?._tag, "Completed")
        assert.deepStrictEqual(
          sent.map(({ method }) => method),
          ["POST", ...Array.from(sent.slice(1), () => "GET")]
        )
        assert.isAbove(sent.length, 3)
      }
    })
  )

  it.effect("with an Idempotency-Key, a message that is sent several times runs once", () =>
    Effect.gen(function* () {
      const model = yield* ScriptedModel.ScriptedModel
      const { client, sent } = yield* faulty(["refused", "lost", { cutAfter: 4 }])
      const events = yield* patiently(collect(client.stream({ user, message: "Just once", idempotencyKey: "a-key" })))
      assert.strictEqual(text(events), said)
      assert.deepStrictEqual(
        sent.map(({ method }) => method),
        ["POST", "POST", "POST", "POST"]
      )
      assert.lengthOf(
        (yield* model.asked).filter(({ message, results }) => message === "Just once" && results.length === 0),
        1
      )
    })
  )

  it.effect("without a key, a message that may have arrived is not sent again", () =>
    Effect.gen(function* () {
      const { client, sent } = yield* faulty(["lost"])
      const error = yield* Effect.flip(collect(client.stream({ user, message: "Hello" })))
      assert.deepInclude(error, { _tag: "StreamCut" })
      assert.lengthOf(sent, 1)
    })
  )

  it.effect("fails after the maximum number of attempts without an event, with the last event id", () =>
    Effect.gen(function* () {
      const { client, sent } = yield* faulty(
        [{ cutAfter: 150 }, ...Array.from({ length: 9 }, () => "refused" as const)],
        {
          retries: 3
        }
      )
      const seen: Array<Client.Received> = []
      const error = yield* patiently(
        client.stream({ user, message: "Hello" }).pipe(
          Stream.runForEach((event) => Effect.sync(() => seen.push(event))),
          Effect.flip
        )
      )
      if (error._tag !== "StreamCut") return assert.fail(error._tag)
      assert.lengthOf(sent, 4)
      assert.strictEqual(error.lastEventId, seen.at(-1)?.id)
      const [turn] = seen
      assert.strictEqual(turn?._tag === "Turn" ? turn.turnId : undefined, error.turnId)
      const { turnId } = error
      if (turnId === undefined) return assert.fail("no turn")
      const rest = yield* collect(
        (yield* faulty([])).client.events({ user, turnId, lastEventId: error.lastEventId ?? "" })
      )
      assert.strictEqual(text([...seen, ...rest]), said)
    })
  )

  it.effect("fails with the problems of the service", () =>
    Effect.gen(function* () {
      const { client } = yield* faulty([])
      const tags = yield* Effect.forEach(
        [
          client.stream({ user, message: " " }),
          client.stream({ user: UserId.make(2), message: "Hello" }),
          client.events({ user, turnId: TurnId.make("0197b3c2-7d5e-7cc3-98c4-dc0c0c07398f") })
        ],
        (stream) => Effect.map(Effect.flip(collect<{ readonly _tag: string }>(stream)), ({ _tag }) => _tag)
      )
      assert.deepStrictEqual(tags, ["InvalidRequest", "UserMismatch", "TurnNotFound"])
      const stranger = yield* faulty([], { token: Redacted.make("nonsense") })
      const refusal = yield* Effect.flip(collect(stranger.client.stream({ user, message: "Hello" })))
      assert.strictEqual(refusal._tag, "InvalidToken")
    })
  )

  it.effect("gets a token before each request", () =>
    Effect.gen(function* () {
      let asked = 0
      const token = yield* tokenOf(user)
      const { client, sent } = yield* faulty([{ cutAfter: 150 }], {
        token: Effect.sync(() => {
          asked++
          return token
        })
      })
      yield* patiently(collect(client.stream({ user, message: "Hello" })))
      assert.strictEqual(asked, sent.length)
      assert.isAbove(asked, 1)
    })
  )

  it.effect("that is silent for too long counts as cut", () =>
    Effect.gen(function* () {
      const model = yield* ScriptedModel.ScriptedModel
      const { client, sent } = yield* faulty([], { idleTimeout: "10 seconds" })
      const fiber = yield* Effect.fork(collect(client.stream({ user, message: "Hello" })))
      yield* model.untilAsked(1)
      yield* patiently(
        Effect.promise(
          () =>
            new Promise<void>((resolve) => {
              const look = () => (sent.length > 1 ? resolve() : setTimeout(look, 5))
              look()
            })
        )
      )
      yield* model.resume
      assert.strictEqual(text(yield* patiently(Fiber.join(fiber))), "One two")
    }).pipe(
      Effect.provide(TestServer.layer({ database: Database.layer, script: [["One ", ScriptedModel.pause, "two"]] }))
    )
  )

  it.effect("after the last event of a turn is empty", () =>
    Effect.gen(function* () {
      const { client } = yield* faulty([])
      const events = yield* collect(client.stream({ user, message: "Hello" }))
      const last = events.at(-1)
      if (last?._tag !== "Completed") return assert.fail("not completed")
      assert.deepStrictEqual(yield* collect(client.events({ user, turnId: last.turnId, lastEventId: last.id })), [])
      assert.strictEqual(text(yield* collect(client.events({ user, turnId: last.turnId }))), said)
    })
  )
})
