import { assert, layer } from "@effect/vitest"
import { Array as Arr, Deferred, Duration, Effect, Fiber, Option, TestClock } from "effect"
import type { UserId } from "../../../src/domain/Id.ts"
import { Listener } from "../../../src/server/Server.ts"
import { Chat } from "../../../src/services/turns/Chat.ts"
import { call, fail, faults, type Answer as Script, silence, wait } from "../../../src/testing/ScriptedModel.ts"
import * as Server from "../../support/Server.ts"
import { contentOf, type Events, type Frame, fieldsOf, newUser, open, say, send, stream } from "../../support/Server.ts"

const plays = (...answers: ReadonlyArray<Script>) =>
  Effect.gen(function* () {
    const server = yield* Server.Server
    const message = `Message ${crypto.randomUUID()}`
    yield* server.plays(message, ...answers)
    return message
  })

const turnPath = (user: UserId, frame: Frame) => `/api/${user}/turns/${frame.data["turn_id"]}`

/** Real time, independent of the test clock. */
const moment = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 10)))

const until = <E, R>(isSo: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(isSo, (is) => (is ? Effect.void : Effect.zipRight(moment, until(isSo))))

/** Runs an effect while the test clock advances. */
const passing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* until(
      Effect.zipRight(
        TestClock.adjust("500 millis"),
        Effect.map(Fiber.poll(fiber), (exit) => exit._tag === "Some")
      )
    )
    return yield* Fiber.join(fiber)
  })

/** Reads until this text arrives. */
const readTo = (events: Events, text: string): Effect.Effect<ReadonlyArray<Frame>> =>
  Effect.gen(function* () {
    const frames: Array<Frame> = []
    while (!contentOf(frames).includes(text)) frames.push(yield* events.event)
    return frames
  })

const messagesOf = (user: UserId, conversation: unknown) =>
  Effect.map(send("GET", `/api/${user}/conversations/${conversation}/messages`, { user }), ({ json }) => {
    const { messages } = json
    return Array.isArray(messages) ? messages.map(fieldsOf) : []
  })

const turnOf = (user: UserId, turn: unknown) =>
  Effect.map(send("GET", `/api/${user}/turns/${turn}`, { user }), ({ json }) => json)

const last = (frames: ReadonlyArray<Frame>) => frames.at(-1)?.data ?? {}

/** The requirements for every stream. */
const assertStream = (frames: ReadonlyArray<Frame>) => {
  assert.deepStrictEqual(
    frames.map(({ data }) => data["done"]),
    frames.map((_, i) => i === frames.length - 1)
  )
  const ids = frames.map(({ id }) => id)
  assert.deepStrictEqual(ids, Arr.dedupe(ids))
  for (const { raw } of frames) assert.match(raw, /^id: \S+\n(event: [a-z_]+\n)?data: \{.*\}$/)
}

const toolTurn = [
  ["Let me ", "see. ", call("create_task", { title: "Buy milk" }), call("list_tasks", {})],
  ["I've ", "added 🥛 ", "“Buy milk”."]
]

layer(Server.layer())("Sse", (it) => {
  it.scoped("a stream has the headers, events and members of the contract, in order", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const events = yield* stream(user, yield* plays(...toolTurn))
      assert.strictEqual(events.status, 200)
      assert.strictEqual(events.headers["content-type"], "text/event-stream")
      assert.strictEqual(events.headers["cache-control"], "no-cache, no-transform")
      assert.strictEqual(events.headers["x-accel-buffering"], "no")
      assert.notProperty(events.headers, "idempotent-replayed")
      assert.notProperty(events.headers, "content-length")
      const first = Option.getOrThrow(yield* events.next)
      assert.isDefined(first.comment)
      const frames = yield* events.rest
      assertStream(frames)
      const members = frames.map(({ data, event }) => [event, ...Object.keys(data)].join(" "))
      assert.deepStrictEqual(Arr.dedupeAdjacent(members), [
        "turn turn_id conversation_id user_message_id done",
        " content done",
        "tool_call tool_call done",
        "tool_result tool_call done",
        "tool_call tool_call done",
        "tool_result tool_call done",
        " content done",
        " done conversation_id message_id tool_calls awaiting timestamp turn_id usage"
      ])
      const of = (name: string) =>
        frames.filter(({ event }) => event === name).map(({ data }) => fieldsOf(data["tool_call"]))
      assert.deepStrictEqual(
        of("tool_call").map((call) => Object.keys(call)),
        [
          ["id", "tool", "parameters"],
          ["id", "tool", "parameters"]
        ]
      )
      assert.deepStrictEqual(last(frames)["tool_calls"], of("tool_result"))
      assert.deepStrictEqual(Object.keys(of("tool_result")[0] ?? {}), [
        "id",
        "tool",
        "parameters",
        "result",
        "duration_ms"
      ])
    })
  )

  it.scoped("the joined pieces are the stored message, and the last event matches a JSON answer", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const message = yield* plays(...toolTurn)
      const frames = yield* Effect.flatMap(stream(user, message), ({ rest }) => rest)
      const end = last(frames)
      const [asked, answered] = yield* messagesOf(user, end["conversation_id"])
      assert.deepStrictEqual([asked?.["content"], asked?.["id"]], [message, frames[0]?.data["user_message_id"]])
      assert.strictEqual(contentOf(frames), answered?.["content"])
      assert.deepStrictEqual(
        [end["message_id"], end["timestamp"], end["tool_calls"], end["turn_id"]],
        [answered?.["id"], answered?.["created_at"], answered?.["tool_calls"], answered?.["turn_id"]]
      )
      const { json } = yield* say(user, yield* plays(...toolTurn))
      assert.strictEqual(json["assistant_message"], contentOf(frames))
      assert.sameMembers(Object.keys(json), [
        ...Object.keys(end).filter((name) => name !== "done"),
        "assistant_message"
      ])
    })
  )

  it.scoped("a piece of text reaches the client before the model produces the next one", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const receipts = yield* Effect.all(Arr.makeBy(5, () => Deferred.make<void>()))
      const message = yield* plays(receipts.flatMap((receipt, i) => [`piece ${i} `, wait(Deferred.await(receipt))]))
      const events = yield* stream(user, message)
      yield* events.event
      for (const [i, receipt] of receipts.entries()) {
        assert.strictEqual((yield* events.event).data["content"], `piece ${i} `)
        yield* Deferred.succeed(receipt, undefined)
      }
      assert.strictEqual((yield* events.event).data["done"], true)
      assert.isTrue(Option.isNone(yield* events.next))
    })
  )

  it.scoped("a failure after the first byte is the last event, with its code, the turn and its calls", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const created = call("create_task", { title: "Kept" })
      for (const [code, script] of [
        [
          "agent_failed",
          [
            ["Well, ", created],
            ["and ", fail(faults.status(400))]
          ]
        ],
        [
          "agent_busy",
          [
            ["Well, ", created],
            ["and ", fail(faults.busy(7))]
          ]
        ],
        [
          "agent_misconfigured",
          [
            ["Well, ", created],
            ["and ", fail(faults.status(401))]
          ]
        ],
        [
          "agent_slow",
          [
            ["Well, ", created],
            ["and ", fail(faults.silent)]
          ]
        ],
        [
          "agent_unreachable",
          [
            ["Well, ", created],
            ["and ", fail(faults.unreachable)]
          ]
        ],
        [
          "agent_timeout",
          [
            ["Well, ", created],
            ["and ", silence]
          ]
        ]
      ] as const) {
        const events = yield* stream(user, yield* plays(...script))
        const frames = yield* passing(events.rest)
        assertStream(frames)
        const end = last(frames)
        assert.deepStrictEqual(Object.keys(end), ["error", "code", "done", "turn_id", "tool_calls"])
        assert.deepStrictEqual([end["code"], end["turn_id"]], [code, frames[0]?.data["turn_id"]])
        assert.isNotEmpty(end["error"])
        const turn = yield* turnOf(user, end["turn_id"])
        assert.strictEqual(turn["status"], code === "agent_timeout" ? "timed_out" : "failed")
        assert.deepStrictEqual(turn["error"], { code, detail: end["error"] })
        assert.deepStrictEqual(turn["tool_calls"], end["tool_calls"])
        assert.strictEqual(Array.isArray(end["tool_calls"]) ? end["tool_calls"].length : 0, 1)
        const [, kept] = yield* messagesOf(user, turn["conversation_id"])
        assert.deepStrictEqual([kept?.["content"], kept?.["status"]], [contentOf(frames), turn["status"]])
      }
    })
  )

  it.scoped("the same failures are HTTP statuses of a JSON answer", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const created = call("create_task", { title: "Kept" })
      for (const [status, code, piece] of [
        [500, "agent_failed", fail(faults.status(400))],
        [500, "agent_busy", fail(faults.busy(7))],
        [504, "agent_timeout", silence]
      ] as const) {
        const { headers, json, status: given } = yield* passing(say(user, yield* plays([created], ["and ", piece])))
        assert.deepStrictEqual([given, json["code"]], [status, code])
        assert.sameMembers(Object.keys(json), [
          ...["type", "title", "status", "detail", "code", "request_id"],
          ...["turn_id", "tool_calls"]
        ])
        assert.strictEqual(Array.isArray(json["tool_calls"]) ? json["tool_calls"].length : 0, 1)
        assert.strictEqual(headers["retry-after"], code === "agent_busy" ? "7" : undefined)
        if (code === "agent_timeout") assert.include(json["detail"], "30 seconds")
      }
    })
  )

  it.scoped("comments fill long silences", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const gate = yield* Deferred.make<void>()
      const events = yield* stream(user, yield* plays(["One ", wait(Deferred.await(gate)), "two."]))
      yield* readTo(events, "One ")
      for (let i = 0; i < 2; i++) {
        const next = yield* Effect.fork(events.next)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(Option.getOrThrow(yield* Fiber.join(next)).comment, "keep-alive")
      }
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(contentOf(yield* events.rest), "two.")
    })
  )

  it.scoped("the turn continues when its client disconnects", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const gate = yield* Deferred.make<void>()
      const events = yield* stream(
        user,
        yield* plays(["One ", wait(Deferred.await(gate)), call("create_task", { title: "Done" })], ["two."])
      )
      const [begun] = yield* readTo(events, "One ")
      yield* events.leave
      yield* Deferred.succeed(gate, undefined)
      const turn = begun?.data["turn_id"]
      yield* until(Effect.map(turnOf(user, turn), ({ status }) => status !== "running"))
      const { status, tool_calls } = yield* turnOf(user, turn)
      assert.deepStrictEqual([status, Array.isArray(tool_calls) && tool_calls.length], ["completed", 1])
      const [, kept] = yield* messagesOf(user, begun?.data["conversation_id"])
      assert.match(String(kept?.["content"]), /^One\s+two\.$/)
      assert.strictEqual((yield* send("GET", `/api/${user}/tasks`, { user })).json["total"], 1)
    })
  )

  it.scoped(
    "a reader that does not read blocks neither its turn nor others, and takes little memory",
    () =>
      Effect.gen(function* () {
        const listener = yield* Listener
        const waiting = new Set<{ readonly writableLength: number }>()
        const track = (socket: { readonly writableLength: number }) => waiting.add(socket)
        listener.on("connection", track)
        yield* Effect.addFinalizer(() => Effect.sync(() => listener.off("connection", track)))
        const user = yield* newUser
        const piece = "x".repeat(100_000)
        const events = yield* stream(user, yield* plays(Arr.replicate(piece, 100)))
        const turn = (yield* events.event).data["turn_id"]
        let most = 0
        yield* until(
          Effect.map(turnOf(user, turn), ({ status }) => {
            most = Math.max(most, ...Array.from(waiting, ({ writableLength }) => writableLength))
            return status !== "running"
          })
        )
        assert.strictEqual((yield* say(user, "Hi")).status, 200)
        most = Math.max(most, ...Array.from(waiting, ({ writableLength }) => writableLength))
        assert.isAbove(most, 0)
        assert.isBelow(most, 1_000_000)
        const frames = yield* events.rest
        assertStream(frames)
        assert.strictEqual(contentOf(frames).length, 100 * piece.length)
        const again = yield* Effect.flatMap(
          open("GET", `/api/${user}/turns/${turn}/events`, { user }),
          ({ rest }) => rest
        )
        assertStream(again)
        assert.strictEqual(contentOf(again), contentOf(frames))
      }),
    60_000
  )

  it.scoped(
    "five hundred concurrent streams are all complete",
    () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const message = yield* plays(["One ", wait(Deferred.await(gate)), "two."])
        const begun = yield* Effect.forEach(
          Arr.range(1, 50),
          () =>
            Effect.gen(function* () {
              const user = yield* newUser
              const events = yield* stream(user, message)
              const [first] = yield* readTo(events, "One ")
              const path = `/api/${user}/turns/${first?.data["turn_id"]}/events`
              const others = yield* Effect.forEach(Arr.range(1, 9), () => open("GET", path, { user }))
              yield* Effect.forEach(others, (other) => readTo(other, "One "), { discard: true })
              return [events, ...others]
            }),
          { concurrency: 5 }
        )
        const all = begun.flat()
        assert.strictEqual(all.length, 500)
        yield* Deferred.succeed(gate, undefined)
        const rests = yield* Effect.forEach(all, ({ rest }) => rest, { concurrency: "unbounded" })
        assert.deepStrictEqual(Arr.dedupe(rests.map(contentOf)), ["two."])
        assert.isTrue(rests.every((frames) => last(frames)["done"] === true))
      }),
    120_000
  )

  const readOn = (user: UserId, turn: unknown, id?: string) =>
    open("GET", `/api/${user}/turns/${turn}/events`, { user, headers: id === undefined ? {} : { "last-event-id": id } })

  it.scoped("an ended turn can be read after any of its events or from the start, and is 204 after the last", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const frames = yield* Effect.flatMap(stream(user, yield* plays(...toolTurn)), ({ rest }) => rest)
      const turn = frames[0]?.data["turn_id"]
      const shape = (frames: ReadonlyArray<Frame>) => [
        contentOf(frames),
        ...frames.filter(({ data }) => !("content" in data)).map(({ data }) => data)
      ]
      assert.deepStrictEqual(shape(yield* Effect.flatMap(readOn(user, turn), ({ rest }) => rest)), shape(frames))
      for (const [k, { id }] of frames.entries()) {
        const events = yield* readOn(user, turn, id)
        if (k === frames.length - 1) {
          assert.deepStrictEqual([events.status, yield* events.rest], [204, []])
        } else {
          const rest = yield* events.rest
          assertStream(rest)
          assert.deepStrictEqual(shape(rest), shape(frames.slice(k + 1)))
        }
      }
    })
  )

  it.scoped("a running turn can be read after any of its events", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const gate = yield* Deferred.make<void>()
      const events = yield* stream(
        user,
        yield* plays(["a ", "b ", call("list_tasks", {})], ["c ", wait(Deferred.await(gate)), "d ", "e"])
      )
      const seen = yield* readTo(events, "c ")
      const turn = seen[0]?.data["turn_id"]
      const readers = yield* Effect.forEach(seen, ({ id }) => readOn(user, turn, id))
      assert.strictEqual((yield* readOn(user, turn, "end")).status, 400)
      yield* Deferred.succeed(gate, undefined)
      const after = yield* events.rest
      for (const [k, reader] of readers.entries()) {
        const frames = yield* reader.rest
        assertStream(frames)
        assert.strictEqual(contentOf(frames), contentOf([...seen.slice(k + 1), ...after]))
      }
    })
  )

  it.scoped("an invalid cursor is 400", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const frames = yield* Effect.flatMap(stream(user, yield* plays(["Hello ", "there"])), ({ rest }) => rest)
      const turn = frames[0]?.data["turn_id"]
      for (const id of [
        "x",
        "-1.0",
        "0.999",
        "1.0",
        "0s.99",
        "5s.0",
        "0.0.0",
        "0.-1",
        "0.1e1",
        "",
        " ",
        "END",
        "9".repeat(400),
        "null"
      ]) {
        const answer = yield* send("GET", `/api/${user}/turns/${turn}/events`, {
          user,
          headers: { "last-event-id": id }
        })
        assert.deepStrictEqual([id, answer.status, answer.json["code"]], [id, 400, "invalid_request"])
        assert.deepStrictEqual(answer.headers["content-type"], "application/problem+json")
      }
    })
  )

  it.scoped("a turn's id may be in capitals, and answers have it as it is", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const frames = yield* Effect.flatMap(stream(user, yield* plays(["Hello"])), ({ rest }) => rest)
      const id = String(frames[0]?.data["turn_id"])
      const path = `/api/${user}/turns/${id.toUpperCase()}`
      assert.strictEqual((yield* send("GET", path, { user })).json["turn_id"], id)
      assert.strictEqual((yield* send("POST", `${path}/cancel`, { user })).json["turn_id"], id)
      assert.strictEqual((yield* send("POST", `${path}/undo`, { user })).json["turn_id"], id)
      const events = yield* send("GET", `${path}/events`, { user })
      assert.include(events.text, id)
      assert.notInclude(events.text, id.toUpperCase())
      const refused = yield* send("GET", `/api/${user}/turns/x`, { user })
      assert.deepStrictEqual(refused.json["errors"], [{ path: "turn_id", message: "must be a turn's id, a UUID" }])
    })
  )

  it.scoped("all readers of a cancelled turn are told; the cancel is 202 while it runs, then 200", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const message = yield* plays(["Well ", silence])
      const events = yield* stream(user, message)
      const seen = yield* readTo(events, "Well ")
      const [begun] = seen
      const path = `/api/${user}/turns/${begun?.data["turn_id"]}`
      const cancelled = yield* send("POST", `${path}/cancel`, { user })
      assert.strictEqual(cancelled.status, 202)
      const frames = yield* events.rest
      assert.deepStrictEqual([last(frames)["code"], last(frames)["tool_calls"]], ["turn_cancelled", null])
      const again = yield* send("POST", `${path}/cancel`, { user })
      const turn = yield* send("GET", path, { user })
      assert.deepStrictEqual([again.status, again.json, turn.json["status"]], [200, turn.json, "cancelled"])
      assert.deepStrictEqual(Object.keys(turn.json), [
        "turn_id",
        "conversation_id",
        "status",
        "user_message_id",
        "message_id",
        "tool_calls",
        "awaiting",
        "model",
        "usage",
        "steps",
        "error",
        "started_at",
        "finished_at"
      ])
      const other = yield* newUser
      const theirs = yield* send("POST", `/api/${other}/turns/${begun?.data["turn_id"]}/cancel`, { user: other })
      assert.deepStrictEqual([theirs.status, theirs.json["code"]], [404, "turn_not_found"])

      const waiting = yield* Effect.fork(say(user, yield* plays(["Well ", silence])))
      const list = send("GET", `/api/${user}/conversations`, { user })
      yield* until(Effect.map(list, ({ json }) => json["total"] === 2))
      const { conversations } = (yield* list).json
      const [newest] = Array.isArray(conversations) ? conversations.map(fieldsOf) : []
      const [asked] = yield* messagesOf(user, newest?.["id"])
      yield* send("POST", `/api/${user}/turns/${asked?.["turn_id"]}/cancel`, { user })
      const answer = yield* Fiber.join(waiting)
      assert.deepStrictEqual(
        [answer.status, answer.json["code"], answer.json["turn_id"]],
        [409, "turn_cancelled", asked?.["turn_id"]]
      )
    })
  )

  it.scoped("an undo reverts an ended turn once; not a running turn, and not over later changes", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const gate = yield* Deferred.make<void>()
      const adds = (title: string) => [[call("create_task", { title })], ["Added."]]
      const events = yield* stream(
        user,
        yield* plays([call("create_task", { title: "One" })], [wait(Deferred.await(gate)), "Ok."])
      )
      const begun = yield* events.event
      const early = yield* send("POST", `${turnPath(user, begun)}/undo`, { user })
      assert.deepStrictEqual([early.status, early.json["code"]], [409, "turn_in_progress"])
      yield* Deferred.succeed(gate, undefined)
      yield* events.rest
      const first = yield* send("POST", `${turnPath(user, begun)}/undo`, { user })
      const again = yield* send("POST", `${turnPath(user, begun)}/undo`, { user })
      assert.deepStrictEqual([first.status, first.json], [200, again.json])
      const { reverted } = first.json
      const [only] = Array.isArray(reverted) ? reverted.map(fieldsOf) : []
      assert.deepStrictEqual(Object.keys(only ?? {}), ["tool_call_id", "tool", "task_id"])
      assert.strictEqual((yield* send("GET", `/api/${user}/tasks`, { user })).json["total"], 0)

      const { turn_id } = (yield* say(user, yield* plays(...adds("Two")))).json
      const { tasks } = (yield* send("GET", `/api/${user}/tasks`, { user })).json
      const [task] = Array.isArray(tasks) ? tasks.map(fieldsOf) : []
      yield* send("PATCH", `/api/${user}/tasks/${task?.["id"]}`, { user, body: { title: "Mine" } })
      const conflict = yield* send("POST", `/api/${user}/turns/${turn_id}/undo`, { user })
      assert.deepStrictEqual(
        [conflict.status, conflict.json["code"], conflict.json["tasks"]],
        [409, "undo_conflict", [{ id: task?.["id"], title: "Mine" }]]
      )
    })
  )

  it.scoped(
    "a repeated JSON request with its key returns the first answer, also a failure, and runs nothing twice",
    () =>
      Effect.gen(function* () {
        const user = yield* newUser
        const chat = (body: string, key: string) =>
          send("POST", `/api/${user}/chat`, {
            user,
            body,
            headers: { "content-type": "application/json", "idempotency-key": key }
          })
        const message = yield* plays([call("create_task", { title: "Once" })], ["Added."])
        const first = yield* chat(JSON.stringify({ message, time_zone: "UTC" }), "k-1")
        const again = yield* chat(`{ "time_zone": "UTC", "message": ${JSON.stringify(message)} }`, '"k-1"')
        assert.deepStrictEqual([first.status, again.status, again.json], [200, 200, first.json])
        assert.deepStrictEqual(
          [first.headers["idempotent-replayed"], again.headers["idempotent-replayed"]],
          [undefined, "true"]
        )
        assert.strictEqual((yield* send("GET", `/api/${user}/tasks`, { user })).json["total"], 1)
        const other = yield* chat(JSON.stringify({ message: "Other" }), "k-1")
        assert.deepStrictEqual([other.status, other.json["code"]], [422, "idempotency_key_reused"])

        const failing = JSON.stringify({ message: yield* plays(["Well ", fail(faults.status(400))]) })
        const failed = yield* chat(failing, "k-2")
        const failedAgain = yield* chat(failing, "k-2")
        assert.deepStrictEqual([failed.status, failedAgain.status], [500, 500])
        assert.deepStrictEqual(
          [failedAgain.json["turn_id"], failedAgain.json["code"], failedAgain.headers["idempotent-replayed"]],
          [failed.json["turn_id"], "agent_failed", "true"]
        )

        const missing = JSON.stringify({ message: "Hi", conversation_id: Number.MAX_SAFE_INTEGER })
        assert.strictEqual((yield* chat(missing, "k-3")).status, 404)
        assert.strictEqual((yield* chat(JSON.stringify({ message: "Hi" }), "k-3")).status, 200)
        const elsewhere = yield* send("POST", `/api/${user}/chat/stream`, {
          user,
          body: { message },
          headers: { "idempotency-key": "k-1" }
        })
        assert.deepStrictEqual([elsewhere.status, elsewhere.headers["idempotent-replayed"]], [200, undefined])
        for (const key of ["", '""', "x".repeat(256), "a b", "é", '"a']) {
          assert.deepStrictEqual([key, (yield* chat(failing, key)).status], [key, 400])
        }
      })
  )

  it.scoped("a repeated stream is the same turn from its start: live while it runs, then replayed", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const gate = yield* Deferred.make<void>()
      const message = yield* plays(["One ", wait(Deferred.await(gate)), "two."])
      const key = { "idempotency-key": "k" }
      const first = yield* stream(user, message, {}, key)
      const [begun] = yield* readTo(first, "One ")
      const joined = yield* stream(user, message, {}, key)
      assert.strictEqual(joined.headers["idempotent-replayed"], "true")
      const [also] = yield* readTo(joined, "One ")
      assert.deepStrictEqual(also, begun)
      const json = { "idempotency-key": "j" }
      const waiting = yield* Effect.fork(say(user, message, {}, json))
      const list = send("GET", `/api/${user}/conversations`, { user })
      yield* until(Effect.map(list, ({ json }) => json["total"] === 2))
      const early = yield* say(user, message, {}, json)
      assert.deepStrictEqual([early.status, early.json["code"]], [409, "idempotency_in_progress"])
      assert.match(String(early.json["turn_id"]), /^[0-9a-f-]{36}$/)
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(waiting)).json["turn_id"], early.json["turn_id"])
      const rest = yield* first.rest
      assert.deepStrictEqual([contentOf(yield* joined.rest), last(rest)["done"]], ["two.", true])
      const replayed = yield* stream(user, message, {}, key)
      const all = yield* replayed.rest
      assertStream(all)
      assert.deepStrictEqual([contentOf(all), last(all), all[0]?.data], ["One two.", last(rest), begun?.data])
      const other = yield* stream(user, "Other", {}, key)
      assert.strictEqual(other.status, 422)
    })
  )
})

layer(Server.layer())("Sse, shutting down", (it) => {
  it.scoped("when the node stops, open streams end with `turn_interrupted`", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const events = yield* stream(user, yield* plays(["Well ", silence]))
      yield* readTo(events, "Well ")
      const draining = yield* Effect.fork(Effect.flatMap(Chat, ({ drain }) => drain(Duration.seconds(1))))
      const frames = yield* passing(events.rest)
      assert.deepStrictEqual(last(frames)["code"], "turn_interrupted")
      yield* passing(Fiber.join(draining))
    })
  )
})
