import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { assert, layer } from "@effect/vitest"
import { EventStreamContentType, fetchEventSource } from "@microsoft/fetch-event-source"
import { Array as Arr, Deferred, Effect } from "effect"
import { type EventSourceMessage, EventSourceParserStream } from "eventsource-parser/stream"
import * as EventSource from "../../examples/event-source.ts"
import { cancel, history, type Me, type Message, unanswered } from "../../src/ai-sdk.ts"
import { call, fail, faults, wait } from "../../src/testing/ScriptedModel.ts"
import { programs } from "../support/ClientPrograms.ts"
import { cuttable } from "../support/Cuttable.ts"
import { SdkChat } from "../support/SdkChat.ts"
import * as Server from "../support/Server.ts"
import { type Fields, fieldsOf, newUser, send, tokenOf } from "../support/Server.ts"

const me = Effect.gen(function* () {
  const { port } = yield* Server.Server
  const user = yield* newUser
  return { baseUrl: `http://127.0.0.1:${port}`, user, token: yield* tokenOf(user) } satisfies Me
})

/** Pieces of text, each sent only after the previous one was received. */
const pieces = ["One, ", "two, ", "three."]

const oneByOne = Effect.gen(function* () {
  const { plays } = yield* Server.Server
  const receipts = yield* Effect.all(Arr.makeBy(pieces.length, () => Deferred.make<void>()))
  const message = `Count ${crypto.randomUUID()}`
  yield* plays(
    message,
    pieces.flatMap((piece, i) => [piece, wait(receipts[i] ?? Effect.void)])
  )
  /** Call with all received text whenever there is more. */
  const received = (content: string) => {
    for (const [i, receipt] of receipts.entries()) {
      if (content.includes(pieces[i] ?? "")) Deferred.unsafeDone(receipt, Effect.void)
    }
  }
  return { message, received }
})

const toolTurn = Effect.gen(function* () {
  const { plays } = yield* Server.Server
  const message = `Add ${crypto.randomUUID()}`
  yield* plays(
    message,
    ["Let me see. ", call("create_task", { title: "Milk" }), call("get_task", { task_id: 1e9 })],
    "Done."
  )
  return message
})

const post = ({ token }: Me, message: string, headers: Fields = {}) => ({
  method: "POST",
  headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
  body: JSON.stringify({ message })
})

const contentOf = (events: ReadonlyArray<Fields>) => events.map(({ content = "" }) => content).join("")

const until = (isSo: () => boolean) =>
  Effect.promise(async () => {
    while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5))
  })

layer(Server.layer())("clients", (it) => {
  it.scoped.skipIf(spawnSync("curl", ["--version"]).error !== undefined)(
    "curl -N receives each piece before the next one is sent, and ends with the last event",
    () =>
      Effect.gen(function* () {
        const { baseUrl, token, user } = yield* me
        const { message, received } = yield* oneByOne
        const curl = spawn(
          "curl",
          [
            ...["-sSN", `${baseUrl}/api/${user}/chat/stream`],
            ...["-H", `Authorization: Bearer ${token}`],
            ...["-H", "Content-Type: application/json"],
            ...["-d", JSON.stringify({ message })]
          ],
          { stdio: ["ignore", "pipe", "pipe"] }
        )
        yield* Effect.addFinalizer(() => Effect.sync(() => curl.kill()))
        let text = ""
        const events = () =>
          Array.from(text.matchAll(/^data: ([^\n]*)$/gm), ([, data = ""]) => fieldsOf(JSON.parse(data)))
        curl.stdout.setEncoding("utf8").on("data", (more: string) => {
          text += more
          received(contentOf(events()))
        })
        const [code] = yield* Effect.promise(() => once(curl, "close"))
        assert.strictEqual(code, 0)
        assert.deepStrictEqual(
          events().flatMap(({ content }) => content ?? []),
          pieces
        )
        assert.strictEqual(events().at(-1)?.["done"], true)
      })
  )

  it.scoped("eventsource-parser reads events and ids, each piece before the next one is sent", () =>
    Effect.gen(function* () {
      const caller = yield* me
      const { message, received } = yield* oneByOne
      const messages: Array<EventSourceMessage> = []
      const events = () => messages.map(({ data }) => fieldsOf(JSON.parse(data)))
      yield* Effect.promise(async () => {
        const { body } = await fetch(`${caller.baseUrl}/api/${caller.user}/chat/stream`, post(caller, message))
        const stream = body?.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
        for await (const next of stream ?? []) {
          messages.push(next)
          received(contentOf(events()))
        }
      })
      assert.deepStrictEqual(
        events().flatMap(({ content }) => content ?? []),
        pieces
      )
      assert.strictEqual(messages[0]?.event, "turn")
      assert.strictEqual(events().at(-1)?.["done"], true)
      assert.lengthOf(Arr.dedupe(messages.map(({ id }) => id)), messages.length)
    })
  )

  it.scoped("@microsoft/fetch-event-source continues after a cut, and stops at the end", () =>
    Effect.gen(function* () {
      const { baseUrl, token, user } = yield* me
      const message = yield* toolTurn
      const { json } = yield* send("POST", `/api/${user}/chat`, { user, body: { message } })
      const events = `${baseUrl}/api/${user}/turns/${json["turn_id"]}/events`
      // It needs the globals of a page.
      const page = { window: globalThis, document: new EventTarget() }
      Object.assign(globalThis, page)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          for (const name of Object.keys(page)) Reflect.deleteProperty(globalThis, name)
        })
      )
      const whole = yield* Effect.promise(async () =>
        (await fetch(events, { headers: { authorization: `Bearer ${token}` } })).text()
      )
      const read = (cutAfter: ReadonlyArray<number>) =>
        Effect.promise(async () => {
          const statuses: Array<number> = []
          const messages: Array<{ readonly id: string; readonly data: string }> = []
          const over = new AbortController()
          await fetchEventSource(events, {
            headers: { authorization: `Bearer ${token}` },
            signal: over.signal,
            // It reports a comment with an empty line after it as an event without JSON.
            onmessage: ({ data, id }) => messages.push({ id, data: JSON.stringify(JSON.parse(data)) }),
            onopen: async ({ headers, status }) => {
              statuses.push(status)
              if (status === 204) over.abort()
              else assert.strictEqual(headers.get("content-type"), EventStreamContentType)
            },
            onerror: (error) => {
              if (!(error instanceof TypeError)) throw error
              return 1
            },
            // It would continue after an id whose event was cut.
            fetch: async (input, init) => {
              const headers = new Headers(init?.headers)
              headers.delete("last-event-id")
              const last = messages.at(-1)
              if (last !== undefined) headers.set("last-event-id", last.id)
              return cut(await fetch(input, { ...init, headers }), cutAfter[statuses.length])
            }
          })
          return { messages, statuses }
        })
      const all = yield* read([])
      assert.deepStrictEqual(all.statuses, [200])
      assert.strictEqual(
        contentOf(all.messages.map(({ data }) => fieldsOf(JSON.parse(data)))),
        json["assistant_message"]
      )
      // Within an event, in the first remaining one, and after the last one.
      const inParts = yield* read([whole.indexOf("event: tool_call"), 40, whole.length])
      assert.deepStrictEqual(inParts.messages, all.messages)
      assert.deepStrictEqual(inParts.statuses, [200, 200, 200, 204])
    })
  )

  it.scoped("eventsource sends a message, continues after a cut, and reports a refusal", () =>
    Effect.gen(function* () {
      const { plays, port } = yield* Server.Server
      const gate = yield* Deferred.make<void>()
      yield* plays("Count up", ["One, ", wait(Deferred.await(gate)), "two."])
      const way = yield* cuttable(port)
      const { token } = yield* me
      let text = ""
      const said = EventSource.say({ baseUrl: `http://127.0.0.1:${way.port}`, token }, "Count up", (piece) => {
        text += piece
      })
      yield* until(() => text === "One, ")
      way.cut()
      yield* Deferred.succeed(gate, undefined)
      const last = yield* Effect.promise(() => said)
      assert.deepStrictEqual([text, last["done"]], ["One, two.", true])
      const refusal = EventSource.say({ baseUrl: `http://127.0.0.1:${port}`, token }, " ", () => {})
      assert.strictEqual(yield* Effect.promise(() => refusal.catch(String)), "Error: The service refused with 400")
    })
  )

  it.scoped(
    "openapi-typescript with openapi-fetch, and @hey-api/openapi-ts: what they generate compiles and works",
    () =>
      Effect.gen(function* () {
        const { plays } = yield* Server.Server
        yield* plays("Add milk", call("create_task", { title: "Milk" }), "Added.")
        const { complaints, run } = yield* programs
        assert.deepStrictEqual(complaints, [])
        for (const name of ["openapi-fetch", "hey-api"] as const) {
          assert.deepStrictEqual(yield* run(name, yield* me), {
            said: "Added.",
            tools: ["create_task"],
            titles: [["Call the bank", "high"]],
            changed: 412,
            invalid: [["title", "must have 1 to 200 characters"]],
            missing: "task_not_found",
            streamed: "Hello."
          })
        }
      }),
    { timeout: 300_000 }
  )

  it.scoped("the AI SDK's chat shows text, tool calls and results, and continues the conversation", () =>
    Effect.gen(function* () {
      const caller = yield* me
      const chat = new SdkChat(caller)
      const message = yield* toolTurn
      yield* chat.says(message)
      assert.deepStrictEqual([chat.status, chat.error], ["ready", undefined])
      const parts = chat.lastMessage?.parts ?? []
      assert.deepStrictEqual(
        parts.map((part) => {
          switch (part.type) {
            case "text":
              return part.text
            case "dynamic-tool":
              return [part.toolName, part.input, part.state, part.errorText]
            default:
              return part.type
          }
        }),
        [
          "step-start",
          "Let me see. ",
          ["create_task", { title: "Milk" }, "output-available", undefined],
          ["get_task", { task_id: 1e9 }, "output-error", "Task not found"],
          "step-start",
          "Done."
        ]
      )
      const made = parts.find((part) => part.type === "dynamic-tool")
      assert.deepInclude(fieldsOf(fieldsOf(made?.output)["task"]), { title: "Milk", completed: false })
      const first = chat.lastMessage
      assert.strictEqual(first?.id, first?.metadata?.turn_id)
      assert.deepInclude(first?.metadata, { status: "completed" })
      yield* chat.says("Hello")
      assert.lengthOf(chat.messages, 4)
      assert.strictEqual(chat.lastMessage?.metadata?.conversation_id, first?.metadata?.conversation_id)
      assert.strictEqual(unanswered(chat.messages), undefined)

      const kept = yield* Effect.promise(() => history(caller, first?.metadata?.conversation_id ?? 0))
      const answers = (messages: ReadonlyArray<Message>) =>
        messages.flatMap(({ id, metadata, parts, role }) => {
          if (role === "user") return []
          const { usage: _, ...about } = { ...metadata }
          return [{ id, parts: parts.map((part) => JSON.parse(JSON.stringify(part))), about }]
        })
      // Equal, except for the state that the SDK adds to streamed parts.
      assert.deepStrictEqual(answers(kept), answers(chat.messages))
      assert.deepStrictEqual(
        kept.map(({ role }) => role),
        ["user", "assistant", "user", "assistant"]
      )
      assert.deepStrictEqual(kept[0]?.parts, [{ type: "text", text: message }])
      const error = yield* Effect.promise(() => history(caller, 1e9).then(() => undefined, String))
      assert.include(error, "conversation_not_found")
    })
  )

  it.scoped("the AI SDK's chat resumes a running turn of its history", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      const gate = yield* Deferred.make<void>()
      yield* plays("Slowly again", ["One, ", wait(Deferred.await(gate)), "two."])
      const caller = yield* me
      const before = new SdkChat(caller)
      const asked = before.sendMessage({ text: "Slowly again" })
      yield* until(() => before.text === "One, ")
      yield* Effect.promise(() => before.stop())
      yield* Effect.promise(() => asked)
      const messages = yield* Effect.promise(() => history(caller, before.lastMessage?.metadata?.conversation_id ?? 0))
      assert.lengthOf(messages, 1)
      const after = new SdkChat(caller, messages)
      const resumed = after.resumeStream(unanswered(messages))
      yield* until(() => after.text === "One, ")
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.promise(() => resumed)
      assert.deepStrictEqual([after.status, after.text, after.messages.length], ["ready", "One, two.", 2])
      yield* Effect.promise(() => after.resumeStream(unanswered(after.messages)))
      assert.deepStrictEqual([after.status, after.messages.length], ["ready", 2])
    })
  )

  it.scoped("the AI SDK's chat reports a failure as its error and in the metadata, and a refusal as its problem", () =>
    Effect.gen(function* () {
      const caller = yield* me
      const { plays } = yield* Server.Server
      yield* plays("Break", ["So far ", fail(faults.status(400))])
      const chat = new SdkChat(caller)
      yield* chat.says("Break")
      assert.deepStrictEqual(
        [chat.status, chat.error?.message, chat.text],
        ["error", "The assistant failed to answer. Please try again.", "So far "]
      )
      assert.deepStrictEqual(chat.lastMessage?.metadata?.error, {
        code: "agent_failed",
        detail: chat.error?.message ?? ""
      })
      const stranger = new SdkChat({ ...caller, user: caller.user + 1 })
      yield* stranger.says("Hello")
      assert.deepInclude(JSON.parse(stranger.error?.message ?? "{}"), { status: 403, code: "user_mismatch" })
    })
  )

  it.scoped("the AI SDK's chat stops reading, and resumes the whole turn, running or ended", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      const gate = yield* Deferred.make<void>()
      yield* plays("Slowly", ["One, ", wait(Deferred.await(gate)), "two."])
      const chat = new SdkChat(yield* me)
      const asked = chat.sendMessage({ text: "Slowly" })
      yield* until(() => chat.text === "One, ")
      yield* Effect.promise(() => chat.stop())
      yield* Effect.promise(() => asked)
      assert.deepStrictEqual([chat.status, chat.text], ["ready", "One, "])
      const metadata = { ...chat.lastMessage?.metadata }
      const resumed = chat.resumeStream({ metadata })
      yield* until(() => chat.status === "streaming" && chat.text === "One, ")
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.promise(() => resumed)
      assert.deepStrictEqual([chat.status, chat.text, chat.messages.length], ["ready", "One, two.", 2])
      assert.strictEqual(chat.lastMessage?.metadata?.status, "completed")
      yield* Effect.promise(() => chat.resumeStream({ metadata }))
      assert.deepStrictEqual([chat.status, chat.text, chat.messages.length], ["ready", "One, two.", 2])
    })
  )

  it.scoped("the AI SDK's chat is told that its turn was cancelled", () =>
    Effect.gen(function* () {
      const caller = yield* me
      const { plays } = yield* Server.Server
      yield* plays("Forever", ["One, ", wait(Effect.never)])
      const chat = new SdkChat(caller)
      const asked = chat.sendMessage({ text: "Forever" })
      yield* until(() => chat.text === "One, ")
      const { metadata } = chat.lastMessage ?? {}
      if (metadata === undefined) return assert.fail("no metadata")
      assert.strictEqual((yield* Effect.promise(() => cancel(caller, metadata))).status, 202)
      yield* Effect.promise(() => asked)
      assert.deepStrictEqual([chat.status, chat.text], ["ready", "One, "])
      assert.strictEqual(chat.lastMessage?.metadata?.status, "cancelled")
    })
  )

  it.scoped("the AI SDK's format is sent only for its `Accept`, has the same refusals, and can be resumed", () =>
    Effect.gen(function* () {
      const { user } = yield* me
      const message = yield* toolTurn
      const accept = 'text/event-stream; profile="ai-sdk-v1"'
      const key = { "idempotency-key": "one" }
      const ask = (headers: Readonly<Record<string, string>>, body: object = { message }) =>
        send("POST", `/api/${user}/chat/stream`, { user, body, headers: { ...key, ...headers } })
      const { headers, status, text } = yield* ask({ accept })
      assert.deepStrictEqual(
        [status, headers["content-type"], headers["x-vercel-ai-ui-message-stream"], headers["idempotent-replayed"]],
        [200, accept, "v1", undefined]
      )
      const again = yield* ask({ accept: `text/html, ${accept};q=0.8, */*;q=0.1` })
      assert.deepStrictEqual([again.text, again.headers["idempotent-replayed"]], [text, "true"])
      const plain = yield* ask({ accept: `${accept};q=0.5, text/event-stream` })
      assert.deepStrictEqual(
        [plain.headers["content-type"], plain.headers["x-vercel-ai-ui-message-stream"]],
        ["text/event-stream", undefined]
      )
      const refused = yield* ask({ accept }, { message: " " })
      assert.deepStrictEqual([refused.status, refused.headers["content-type"]], [400, "application/problem+json"])

      const turn = /"turn_id":"([^"]+)"/.exec(text)?.[1]
      const readOn = (id: string) =>
        send("GET", `/api/${user}/turns/${turn}/events`, { user, headers: { accept, "last-event-id": id } })
      const ids = Array.from(text.matchAll(/^id: ([^\n]*)$/gm), ([, id = ""]) => id)
      assert.deepStrictEqual(
        ids,
        Array.from(plain.text.matchAll(/^id: ([^\n]*)$/gm), ([, id = ""]) => id)
      )
      for (const id of ids.slice(0, -1)) {
        const [before = "", after = ""] = (yield* readOn(id)).text.split(": ok\n")
        assert.strictEqual(before, "")
        assert.isTrue(text.endsWith(after))
        assert.match(text.slice(0, -after.length), new RegExp(`id: ${id}\ndata: .*\n\n$`))
      }
      assert.strictEqual((yield* readOn("end")).status, 204)
      assert.strictEqual((yield* readOn("9.9")).status, 400)
    })
  )
})

/** A response whose body breaks after a number of characters. */
const cut = (response: Response, after: number | undefined) => {
  if (after === undefined || response.body === null) return response
  let left = after
  const breaking = new TransformStream<Uint8Array, Uint8Array>({
    transform: (bytes, controller) => {
      controller.enqueue(bytes.subarray(0, left))
      left -= bytes.length
      if (left < 0) controller.error(new TypeError("network error"))
    },
    flush: (controller) => controller.error(new TypeError("network error"))
  })
  return new Response(response.body.pipeThrough(breaking), response)
}
