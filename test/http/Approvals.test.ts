import { FetchHttpClient } from "@effect/platform"
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { lastAssistantMessageIsCompleteWithApprovalResponses } from "ai"
import { Array as Arr, Effect, Order, Redacted } from "effect"
import { history, type Me, type Message } from "../../src/ai-sdk.ts"
import * as Client from "../../src/client.ts"
import { TurnId, type UserId } from "../../src/domain/Id.ts"
import { call, pause, type Answer as Script, ScriptedModel } from "../../src/testing/ScriptedModel.ts"
import { SdkChat } from "../support/SdkChat.ts"
import * as Server from "../support/Server.ts"
import { type Answer, type Fields, fieldsOf, newUser, open, say, send, stream } from "../support/Server.ts"

const plays = (...answers: ReadonlyArray<Script>) =>
  Effect.gen(function* () {
    const server = yield* Server.Server
    const message = `Message ${crypto.randomUUID()}`
    yield* server.plays(message, ...answers)
    return message
  })

const moment = () => new Promise<void>((resolve) => setTimeout(resolve, 5))

const listOf = (value: unknown): ReadonlyArray<Fields> => (Array.isArray(value) ? value.map(fieldsOf) : [])

const codeOf = ({ json, status }: Answer) => [status, json["code"]]

const newTask = (user: UserId, title = "Milk") =>
  Effect.map(send("POST", `/api/${user}/tasks`, { user, body: { title } }), ({ json }) => Number(json["id"]))

const rename = (user: UserId, task: number, title: string) =>
  send("PATCH", `/api/${user}/tasks/${task}`, { user, body: { title } })

const titleOf = (user: UserId, task: number) =>
  Effect.map(send("GET", `/api/${user}/tasks/${task}`, { user }), ({ json, status }) =>
    status === 200 ? json["title"] : null
  )

/** A conversation in which the deletion of a task, or another call, awaits approval. */
const asking = (...calls: ReadonlyArray<Parameters<typeof call>>) =>
  Effect.gen(function* () {
    const user = yield* newUser
    const task = yield* newTask(user)
    const asked = calls.length === 0 ? [call("delete_task", { task_id: task })] : calls.map((one) => call(...one))
    const message = yield* plays(["I delete it.", ...asked], "It is gone.")
    const { json, status } = yield* say(user, message)
    assert.strictEqual(status, 200)
    const turn = String(json["turn_id"])
    return { user, task, json, turn, message, conversation: json["conversation_id"] }
  })

type Asking = Effect.Effect.Success<ReturnType<typeof asking>>

const decide = (
  { turn, user }: Pick<Asking, "turn" | "user">,
  decision: "approve" | "decline",
  message: Server.Message = {}
) => send("POST", `/api/${user}/turns/${turn}/${decision}`, { user, ...message })

const approve = (asked: Pick<Asking, "turn" | "user">, message: Server.Message = {}) =>
  decide(asked, "approve", message)

const messagesOf = ({ conversation, user }: Asking) =>
  Effect.map(send("GET", `/api/${user}/conversations/${conversation}/messages?include=parts`, { user }), ({ json }) =>
    listOf(json["messages"])
  )

const turnOf = (user: UserId, turn: unknown) =>
  Effect.map(send("GET", `/api/${user}/turns/${turn}`, { user }), ({ json }) => json)

const callsIn = (json: Fields) => listOf(json["tool_calls"])

layer(Server.layer({ confirm: "changes" }))("approvals", (it) => {
  it.effect("a call with a change waits; earlier calls run, and later calls do not", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const task = yield* newTask(user)
      const message = yield* plays([
        "One moment.",
        call("get_task", { task_id: task }),
        call("delete_task", { task_id: task }),
        call("list_tasks"),
        call("update_task", { task_id: task, title: "Bread" })
      ])
      const before = Date.now()
      const { json, status } = yield* say(user, message)
      assert.strictEqual(status, 200)
      assert.strictEqual(json["assistant_message"], "One moment.")
      assert.deepStrictEqual(
        callsIn(json).map(({ tool }) => tool),
        ["get_task"]
      )
      const awaiting = listOf(json["awaiting"])
      assert.deepStrictEqual(
        awaiting.map(({ parameters, tool }) => [tool, parameters]),
        [
          ["delete_task", { task_id: task }],
          ["update_task", { task_id: task, title: "Bread" }]
        ]
      )
      for (const { expires_at, id } of awaiting) {
        assert.match(String(id), /^[0-9A-Za-z]{9}$/)
        const minutes = (Date.parse(String(expires_at)) - before) / 60_000
        assert.isTrue(minutes > 9 && minutes < 11, String(expires_at))
      }
      const turn = yield* turnOf(user, json["turn_id"])
      assert.strictEqual(turn["status"], "completed")
      assert.deepStrictEqual(turn["awaiting"], json["awaiting"])
      assert.strictEqual(yield* titleOf(user, task), "Milk")
    })
  )

  it.scoped("the last event of a stream lists the awaiting calls, and so does the message while they wait", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const task = yield* newTask(user)
      const message = yield* plays([call("delete_task", { task_id: task })], "Gone.")
      const events = yield* stream(user, message)
      const frames = yield* events.rest
      assert.deepStrictEqual(
        frames.map(({ event }) => event),
        ["turn", undefined]
      )
      const last = frames.at(-1)?.data ?? {}
      const turn = String(last["turn_id"])
      assert.strictEqual(last["tool_calls"], null)
      assert.deepStrictEqual(
        listOf(last["awaiting"]).map(({ parameters, tool }) => [tool, parameters]),
        [["delete_task", { task_id: task }]]
      )
      const again = yield* open("GET", `/api/${user}/turns/${turn}/events`, { user })
      assert.deepStrictEqual((yield* again.rest).at(-1)?.data, last)
      const asked = { user, task, json: last, turn, message, conversation: last["conversation_id"] }
      assert.deepStrictEqual(
        (yield* messagesOf(asked)).map(({ awaiting }) => awaiting),
        [undefined, last["awaiting"]]
      )
      yield* decide(asked, "decline")
      assert.isTrue((yield* messagesOf(asked)).every((message) => !("awaiting" in message)))
      assert.strictEqual((yield* turnOf(user, turn))["awaiting"], null)
    })
  )

  it.effect("an approval runs exactly the awaiting calls in a new turn, which has their records and undo", () =>
    Effect.gen(function* () {
      const asked = yield* asking()
      const { conversation, json, task, turn, user } = asked
      const approved = yield* approve(asked)
      assert.strictEqual(approved.status, 200)
      const [waited] = listOf(json["awaiting"])
      const [ran] = callsIn(approved.json)
      assert.deepStrictEqual(
        [ran?.["id"], ran?.["tool"], ran?.["parameters"]],
        [waited?.["id"], "delete_task", { task_id: task }]
      )
      assert.strictEqual(fieldsOf(ran?.["result"])["status"], "success")
      assert.strictEqual(approved.json["assistant_message"], "It is gone.")
      assert.strictEqual(approved.json["awaiting"], null)
      assert.strictEqual(approved.json["conversation_id"], conversation)
      assert.notStrictEqual(approved.json["turn_id"], turn)
      assert.deepStrictEqual(
        (yield* messagesOf(asked)).map(({ content, role, sequence_number }) => [sequence_number, role, content]),
        [
          [1, "user", asked.message],
          [2, "assistant", "I delete it."],
          [3, "user", "Approve"],
          [4, "assistant", "It is gone."]
        ]
      )
      assert.strictEqual(yield* titleOf(user, task), null)
      const { json: history } = yield* send("GET", `/api/${user}/tasks/${task}/history`, { user })
      assert.strictEqual(fieldsOf(listOf(history["changes"])[0]?.["cause"])["turn_id"], approved.json["turn_id"])
      const undone = yield* send("POST", `/api/${user}/turns/${approved.json["turn_id"]}/undo`, { user })
      assert.deepStrictEqual(undone.json["reverted"], [
        { tool_call_id: waited?.["id"], tool: "delete_task", task_id: task }
      ])
      assert.strictEqual(yield* titleOf(user, task), "Milk")
    })
  )

  it.scoped("the stream of an approval begins with the approved calls", () =>
    Effect.gen(function* () {
      const asked = yield* asking()
      const events = yield* open("POST", `/api/${asked.user}/turns/${asked.turn}/approve`, {
        user: asked.user,
        headers: { accept: "text/event-stream" }
      })
      assert.strictEqual(events.status, 200)
      const frames = yield* events.rest
      assert.deepStrictEqual(
        frames.slice(0, 3).map(({ event }) => event),
        ["turn", "tool_call", "tool_result"]
      )
      assert.strictEqual(Server.contentOf(frames), "It is gone.")
      const last = frames.at(-1)?.data ?? {}
      assert.strictEqual(last["awaiting"], null)
      const again = yield* open("GET", `/api/${asked.user}/turns/${last["turn_id"]}/events`, { user: asked.user })
      assert.deepStrictEqual((yield* again.rest).at(-1)?.data, last)
    })
  )

  it.effect("a decline runs nothing, and the agent is told", () =>
    Effect.gen(function* () {
      const asked = yield* asking()
      const declined = yield* decide(asked, "decline")
      assert.deepStrictEqual([declined.status, declined.json["tool_calls"]], [200, null])
      assert.strictEqual(yield* titleOf(asked.user, asked.task), "Milk")
      const model = yield* ScriptedModel
      const told = (yield* model.asked).findLast(({ message }) => message === asked.message)
      assert.deepStrictEqual(
        told?.results.map(({ result }) => result),
        [{ status: "error", error: "Not run: the user did not approve it." }]
      )
    })
  )

  it.effect("the model continues as if it had not been stopped, and later sees one turn", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const task = yield* newTask(user)
      const other = yield* newTask(user, "Bread")
      const message = yield* plays(
        [call("get_task", { task_id: task }), call("delete_task", { task_id: task }), call("list_tasks")],
        [call("delete_task", { task_id: other })],
        "Both are gone."
      )
      const first = yield* say(user, message)
      const second = yield* approve({ user, turn: String(first.json["turn_id"]) })
      assert.strictEqual(listOf(second.json["awaiting"]).length, 1)
      const third = yield* approve({ user, turn: String(second.json["turn_id"]) })
      assert.strictEqual(third.json["assistant_message"], "Both are gone.")
      const next = yield* plays("Fine.")
      yield* say(user, next, { conversation_id: first.json["conversation_id"] })
      const model = yield* ScriptedModel
      const asked = (yield* model.asked).findLast((asked) => asked.message === next)
      const shown = (asked?.prompt ?? []).slice(1).map(({ content, role }) => [
        role,
        ...(typeof content === "string"
          ? [content]
          : content.map((part) => {
              if (part.type === "text") return part.text
              if (part.type === "tool-call") return part.name
              return part.type === "tool-result" ? [part.name, part.isFailure] : part.type
            }))
      ])
      assert.deepStrictEqual(shown, [
        ["user", message],
        ["assistant", "get_task", "delete_task", "list_tasks"],
        ["tool", ["get_task", false], ["delete_task", false], ["list_tasks", true]],
        ["assistant", "delete_task"],
        ["tool", ["delete_task", false]],
        ["assistant", "Both are gone."],
        ["user", next]
      ])
    })
  )

  it.effect("an approving word as the next message approves, and any other message declines", () =>
    Effect.gen(function* () {
      for (const word of ["yes", " OK\n"]) {
        const { conversation, task, user } = yield* asking()
        const { json } = yield* say(user, word, { conversation_id: conversation })
        assert.strictEqual(callsIn(json).length, 1, word)
        assert.strictEqual(yield* titleOf(user, task), null, word)
      }
      for (const word of ["yes please", "no"]) {
        const asked = yield* asking()
        const { json } = yield* say(asked.user, word, { conversation_id: asked.conversation })
        assert.deepStrictEqual([json["assistant_message"], json["tool_calls"]], ["Hello.", null], word)
        assert.strictEqual(yield* titleOf(asked.user, asked.task), "Milk", word)
        assert.deepStrictEqual(codeOf(yield* approve(asked)), [409, "approval_closed"])
        // The approving word is too late.
        const late = yield* say(asked.user, "yes", { conversation_id: asked.conversation })
        assert.strictEqual(late.json["tool_calls"], null)
      }
    })
  )

  it.effect("an approving word has no effect on other conversations and users", () =>
    Effect.gen(function* () {
      const { conversation, task, user } = yield* asking()
      assert.strictEqual((yield* say(user, "yes")).json["tool_calls"], null)
      const stranger = yield* newUser
      assert.deepStrictEqual(codeOf(yield* say(stranger, "yes", { conversation_id: conversation })), [
        403,
        "conversation_forbidden"
      ])
      assert.strictEqual(yield* titleOf(user, task), "Milk")
    })
  )

  it.effect("has the order of refusals and the rate limit of a chat message", () =>
    Effect.gen(function* () {
      const asked = yield* asking()
      const { turn, user } = asked
      const stranger = yield* newUser
      const path = `/api/${user}/turns/${turn}/approve`
      assert.deepStrictEqual(codeOf(yield* send("POST", path)), [401, "missing_token"])
      const foreign = yield* send("POST", path, { user: stranger })
      assert.deepStrictEqual(codeOf(foreign), [403, "user_mismatch"])
      assert.match(foreign.headers["ratelimit-policy"] ?? "", /^"chat"/)
      assert.deepStrictEqual(codeOf(yield* approve({ user: stranger, turn })), [404, "turn_not_found"])
      const unknown = "01970000-0000-7000-8000-000000000000"
      assert.deepStrictEqual(codeOf(yield* approve({ user, turn: unknown })), [404, "turn_not_found"])
      assert.deepStrictEqual(codeOf(yield* approve({ user, turn: "1" })), [400, "invalid_request"])
      const headers = { "idempotency-key": "é" }
      assert.deepStrictEqual(codeOf(yield* approve(asked, { headers })), [400, "invalid_request"])
      const answered = yield* approve(asked)
      assert.match(answered.headers["ratelimit-policy"] ?? "", /^"chat"/)
      assert.strictEqual(answered.status, 200)
    })
  )

  it.scoped(
    "a turn without calls, a running or expired turn, and a turn with a deleted answer have no awaiting calls",
    () =>
      Effect.gen(function* () {
        const user = yield* newUser
        const plain = yield* say(user, "Hello")
        const nothing = yield* approve({ user, turn: String(plain.json["turn_id"]) })
        assert.deepStrictEqual(codeOf(nothing), [409, "approval_closed"])

        const events = yield* stream(user, yield* plays([pause, "Done."]))
        const running = { user, turn: String((yield* events.event).data["turn_id"]) }
        const early = yield* approve(running)
        assert.deepStrictEqual([...codeOf(early), early.json["turn_id"]], [409, "turn_in_progress", running.turn])
        yield* (yield* ScriptedModel).resume
        yield* events.rest

        const sql = yield* SqlClient.SqlClient
        const expired = yield* asking()
        yield* sql`UPDATE messages SET approval_expires_at = now() WHERE user_id = ${expired.user} AND awaiting IS NOT NULL`
        assert.deepStrictEqual(codeOf(yield* approve(expired)), [409, "approval_closed"])
        assert.strictEqual((yield* turnOf(expired.user, expired.turn))["awaiting"], null)
        const { conversation } = expired
        assert.strictEqual(
          (yield* say(expired.user, "yes", { conversation_id: conversation })).json["tool_calls"],
          null
        )

        const deleted = yield* asking()
        const at = `/api/${deleted.user}/conversations/${deleted.conversation}`
        yield* send("DELETE", `${at}/messages/${deleted.json["message_id"]}`, { user: deleted.user })
        assert.deepStrictEqual(codeOf(yield* approve(deleted)), [409, "approval_closed"])
        yield* send("DELETE", at, { user: deleted.user })
        assert.deepStrictEqual(codeOf(yield* approve(deleted)), [404, "turn_not_found"])
      })
  )

  it.effect("if a task has changed since, an approval is refused, and a decline is still possible", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const [milk, bread] = [yield* newTask(user), yield* newTask(user, "Bread")]
      const message = yield* plays([
        call("create_task", { title: "Eggs" }),
        call("delete_task", { task_id: milk }),
        call("mark_complete", { task_ids: [bread] })
      ])
      const { json } = yield* say(user, message)
      const asked = { user, turn: String(json["turn_id"]) }
      assert.strictEqual(listOf(json["awaiting"]).length, 3)
      yield* rename(user, bread, "Rolls")
      for (const headers of [{}, { accept: "text/event-stream" }]) {
        assert.deepStrictEqual(codeOf(yield* approve(asked, { headers })), [412, "task_changed"])
      }
      const word = yield* say(user, "yes", { conversation_id: json["conversation_id"] })
      assert.deepStrictEqual(codeOf(word), [412, "task_changed"])
      const tasks = listOf((yield* send("GET", `/api/${user}/tasks`, { user })).json["tasks"])
      assert.deepStrictEqual(
        tasks.map(({ completed, title }) => [title, completed]),
        [
          ["Rolls", false],
          ["Milk", false]
        ]
      )
      const page = yield* send("GET", `/api/${user}/conversations/${json["conversation_id"]}/messages`, { user })
      assert.strictEqual(page.json["total"], 2)
      assert.strictEqual((yield* decide(asked, "decline")).status, 200)
    })
  )

  it.effect("a call that cannot run does not wait, and the agent is told if an approved call fails", () =>
    Effect.gen(function* () {
      const broken = yield* asking(["delete_task", { task_id: "seven" }])
      assert.strictEqual(broken.json["awaiting"], null)
      assert.strictEqual(callsIn(broken.json).length, 1)
      const missing = yield* asking(["delete_task", { task_id: 9_007_199_254_740_990 }])
      const approved = yield* approve(missing)
      assert.deepStrictEqual(callsIn(approved.json)[0]?.["result"], { status: "error", error: "Task not found" })
      assert.strictEqual(approved.json["assistant_message"], "It is gone.")
    })
  )

  it.scoped("an Idempotency-Key returns the first answer again, as JSON and as a stream", () =>
    Effect.gen(function* () {
      const asked = yield* asking()
      const headers = { "idempotency-key": "once" }
      const first = yield* approve(asked, { headers })
      const second = yield* approve(asked, { headers })
      assert.deepStrictEqual(second.json, first.json)
      assert.strictEqual(second.headers["idempotent-replayed"], "true")
      const events = yield* open("POST", `/api/${asked.user}/turns/${asked.turn}/approve`, {
        user: asked.user,
        headers: { ...headers, accept: "text/event-stream" }
      })
      assert.strictEqual(events.headers["idempotent-replayed"], "true")
      assert.strictEqual((yield* events.rest).at(-1)?.data["turn_id"], first.json["turn_id"])
      // A key belongs to its path.
      assert.deepStrictEqual(codeOf(yield* decide(asked, "decline", { headers })), [409, "approval_closed"])
      const word = yield* asking()
      const says = say(word.user, "yes", { conversation_id: word.conversation }, headers)
      const said = yield* says
      assert.strictEqual(callsIn(said.json).length, 1)
      assert.deepStrictEqual((yield* says).json, said.json)
      // The awaiting calls are returned again unchanged.
      const user = yield* newUser
      const task = yield* newTask(user)
      const asks = say(user, yield* plays([call("delete_task", { task_id: task })]), {}, headers)
      const told = yield* asks
      yield* decide({ user, turn: String(told.json["turn_id"]) }, "decline")
      assert.deepStrictEqual((yield* asks).json, told.json)
    })
  )

  it.effect("the AI SDK's chat asks for approval, and continues its answer after an approval or a decline", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const task = yield* newTask(user)
      const message = yield* plays(
        ["I delete it.", call("get_task", { task_id: task }), call("delete_task", { task_id: task })],
        "That is that."
      )
      const { port } = yield* Server.Server
      const me: Me = { baseUrl: `http://127.0.0.1:${port}`, token: yield* Server.tokenOf(user) }
      const toolsIn = (message: Message | undefined) =>
        (message?.parts ?? []).flatMap((part) => (part.type === "dynamic-tool" ? [[part.toolName, part.state]] : []))
      const decided = (approved: boolean) =>
        Effect.gen(function* () {
          const asking = new SdkChat(me)
          yield* asking.says(message)
          assert.deepStrictEqual(toolsIn(asking.lastMessage), [
            ["get_task", "output-available"],
            ["delete_task", "approval-requested"]
          ])
          const conversation = asking.lastMessage?.metadata?.conversation_id ?? 0
          const before = yield* Effect.promise(() => history(me, conversation))
          const plain = (message: Message | undefined) => JSON.parse(JSON.stringify(message?.parts ?? []))
          assert.deepStrictEqual(plain(before.at(-1)), plain(asking.lastMessage))
          // As after a reload of the page.
          const sendAutomaticallyWhen = lastAssistantMessageIsCompleteWithApprovalResponses
          const chat = new SdkChat(me, before, { sendAutomaticallyWhen })
          const part = chat.lastMessage?.parts.findLast((part) => part.type === "dynamic-tool")
          if (part?.state !== "approval-requested") return assert.fail("nothing waits")
          const { id } = part.approval
          yield* Effect.promise(async () => {
            await chat.addToolApprovalResponse({ id, approved })
            while (chat.lastMessage?.metadata?.turn_id === asking.lastMessage?.metadata?.turn_id) await moment()
            while (chat.status !== "ready") await moment()
          })
          assert.strictEqual(chat.error, undefined)
          assert.lengthOf(chat.messages, 2)
          assert.deepStrictEqual(toolsIn(chat.lastMessage), [
            ["get_task", "output-available"],
            ["delete_task", approved ? "output-available" : "output-denied"]
          ])
          assert.strictEqual(chat.text, "I delete it.That is that.")
          assert.strictEqual(chat.lastMessage?.metadata?.status, "completed")
          assert.strictEqual(yield* titleOf(user, task), approved ? null : "Milk")
        })
      yield* decided(false)
      yield* decided(true)
    })
  )

  it.effect("the typed client approves and declines", () =>
    Effect.gen(function* () {
      const { port } = yield* Server.Server
      const asked = yield* asking()
      const token = Redacted.make(yield* Server.tokenOf(asked.user))
      const client = yield* Effect.provide(
        Client.make({ baseUrl: `http://127.0.0.1:${port}`, token }),
        FetchHttpClient.layer
      )
      const path = { user_id: asked.user, turn_id: TurnId.make(asked.turn) }
      const answer = yield* client.chat.approve({ path, headers: {} })
      assert.strictEqual(typeof answer === "string" ? undefined : answer.toolCalls?.[0]?.tool, "delete_task")
      const closed = yield* Effect.flip(client.chat.decline({ path, headers: {} }))
      assert.strictEqual(closed._tag, "ApprovalClosed")
    })
  )

  it.effect("a forged approval can run only the stored calls", () =>
    Effect.gen(function* () {
      const asked = yield* asking()
      const { conversation, json, task, turn, user } = asked
      const [stranger, other] = [yield* newUser, yield* newTask(user, "Bread")]
      const id = String(listOf(json["awaiting"])[0]?.["id"])
      const forged = { id, tool: "delete_task", parameters: { task_id: other } }
      const bodies = [
        { awaiting: [forged] },
        { tool_calls: [forged] },
        { parameters: { task_id: other } },
        { approved: true, approval: { id, approved: true } },
        [forged]
      ]
      const strange = Arr.flatMap(["approve", "decline"] as const, (decision) => [
        decide({ user: stranger, turn }, decision),
        send("POST", `/api/me/turns/${turn}/${decision}`, { user: stranger }),
        send("POST", `/api/${user}/turns/${turn}/${decision}`, { user: stranger }),
        send("POST", `/api/${user}/turns/${turn}/${decision}`),
        send("GET", `/api/${user}/turns/${turn}/${decision}`, { user }),
        send("PUT", `/api/${user}/turns/${turn}/${decision}`, { user, body: {} }),
        send("POST", `/api/${user}/turns/${turn}/${decision}/${id}`, { user }),
        send("POST", `/api/${user}/turns/${id}/${decision}`, { user }),
        send("POST", `/api/${user}/conversations/${conversation}/${decision}`, { user }),
        send("POST", `/api/${user}/turns/${turn}/${decision}`, { headers: { authorization: "Bearer e30.e30." } })
      ])
      const said = bodies.map((body) => say(user, JSON.stringify(body), { ...fieldsOf({ ...body }) }))
      for (const { status } of yield* Effect.all([...strange])) assert.isTrue(status >= 400, String(status))
      for (const { json } of yield* Effect.all(said)) assert.strictEqual(json["tool_calls"], null)
      assert.deepStrictEqual([yield* titleOf(user, task), yield* titleOf(user, other)], ["Milk", "Bread"])
      const [first, ...others] = bodies.map((body) => approve(asked, { body }))
      const approved = yield* first ?? Effect.dieMessage("No body")
      assert.deepStrictEqual(
        callsIn(approved.json).map(({ id, parameters, tool }) => [id, tool, parameters]),
        [[id, "delete_task", { task_id: task }]]
      )
      for (const replayed of others) assert.deepStrictEqual(codeOf(yield* replayed), [409, "approval_closed"])
      assert.deepStrictEqual([yield* titleOf(user, task), yield* titleOf(user, other)], [null, "Bread"])
    })
  )

  it.effect("of fifty concurrent decisions one takes effect, and the approved calls run once", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const message = yield* plays([call("create_task", { title: "Once" })], "Created.")
      const { json } = yield* say(user, message)
      const asked = { user, turn: String(json["turn_id"]) }
      const attempts = Arr.makeBy(50, (i) => {
        if (i % 5 === 4) return say(user, "yes", { conversation_id: json["conversation_id"] })
        if (i % 5 === 3) return say(user, `Message ${i}`, { conversation_id: json["conversation_id"] })
        return i % 5 === 2 ? decide(asked, "decline") : approve(asked)
      })
      const answers = yield* Effect.all(attempts, { concurrency: "unbounded" })
      const created = answers.filter(({ json }) => callsIn(json).length > 0)
      const tasks = yield* send("GET", `/api/${user}/tasks`, { user })
      assert.strictEqual(tasks.json["total"], created.length)
      assert.isTrue(created.length <= 1)
      const decisions = answers.filter((_, i) => i % 5 < 3)
      assert.isTrue(decisions.filter(({ status }) => status === 200).length <= 1)
      for (const answer of decisions.filter(({ status }) => status !== 200)) {
        assert.deepStrictEqual(codeOf(answer), [409, "approval_closed"])
      }
    })
  )

  it.effect("a concurrent approval and change of its task are serialised", () =>
    Effect.gen(function* () {
      const outcomes = yield* Effect.forEach(
        Arr.makeBy(10, (i) => i),
        (i) =>
          Effect.gen(function* () {
            const asked = yield* asking()
            const { task, user } = asked
            const both = [approve(asked), rename(user, task, "Bread")] as const
            const [first, second] = i % 2 === 0 ? both : Arr.reverse(both)
            const answers = yield* Effect.all([first ?? both[0], second ?? both[1]], { concurrency: 2 })
            const [approved, renamed] = i % 2 === 0 ? answers : Arr.reverse(answers)
            const isGone = (yield* titleOf(user, task)) === null
            return [approved?.status, renamed?.status, isGone]
          })
      )
      const found = Arr.dedupe(outcomes.map((outcome) => JSON.stringify(outcome))).sort(Order.string)
      for (const outcome of found) assert.include(["[200,404,true]", "[412,200,false]"], outcome)
    })
  )
})

layer(Server.layer({ confirm: "changes", tokensPerDay: 10_000 }))("approvals within a budget", (it) => {
  it.effect("without budget nothing runs, and the calls keep waiting", () =>
    Effect.gen(function* () {
      const asked = yield* asking()
      const { task, turn, user } = asked
      const sql = yield* SqlClient.SqlClient
      const use = (tokens: number) => sql`UPDATE usage_days SET input_tokens = ${tokens} WHERE user_id = ${user}`
      yield* use(10_000)
      for (const decision of ["approve", "decline"] as const) {
        const refused = yield* decide(asked, decision)
        assert.deepStrictEqual(codeOf(refused), [429, "budget_exhausted"])
        assert.isAbove(Number(refused.headers["retry-after"]), 0)
      }
      assert.strictEqual(yield* titleOf(user, task), "Milk")
      assert.lengthOf(listOf((yield* turnOf(user, turn))["awaiting"]), 1)
      yield* use(0)
      assert.strictEqual((yield* approve(asked)).status, 200)
      assert.isNull(yield* titleOf(user, task))
    })
  )
})
