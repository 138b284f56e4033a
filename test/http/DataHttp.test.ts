import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Schedule, Schema } from "effect"
import ICAL from "ical.js"
import { ExportLine } from "../../src/api/ExportLine.ts"
import type { UserId } from "../../src/domain/Id.ts"
import * as ScriptedModel from "../../src/testing/ScriptedModel.ts"
import * as Database from "../support/Database.ts"
import * as Server from "../support/Server.ts"
import { fieldsOf, newUser, say, send } from "../support/Server.ts"

type Line = Server.Fields

const linesIn = (text: string): ReadonlyArray<Line> =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => fieldsOf(JSON.parse(line)))

const exported = (user: UserId) =>
  Effect.map(send("GET", `/api/${user}/export`, { user }), (answer) => ({ answer, lines: linesIn(answer.text) }))

const of = (type: string, lines: ReadonlyArray<Line>) => lines.filter((line) => line["type"] === type)

const decodeLines = Schema.decodeUnknown(Schema.Array(ExportLine))

/** Shared by the server and the statements of the tests. */
const database = Layer.fresh(Database.layer)

layer(Server.layer({ database, hasErasure: true }).pipe(Layer.provideMerge(database)), {
  excludeTestServices: true,
  timeout: "60 seconds"
})("DataHttp", (it) => {
  it.effect("exports all stored data, each line matches its schema, and the last line has the number of lines", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      const sql = yield* SqlClient.SqlClient
      const [user, other] = [yield* newUser, yield* newUser]
      yield* plays("Add milk", ScriptedModel.call("create_task", { title: "Milk\n\u2028" }), "Done.")
      for (const one of [user, other]) {
        yield* say(one, "Add milk", {}, { "idempotency-key": "once" })
        yield* send("POST", `/api/${one}/tasks`, {
          user: one,
          body: { title: "Bread", due_date: "2026-12-01", repeat: "every week" },
          headers: { "idempotency-key": "once" }
        })
      }
      yield* sql`
        INSERT INTO identities (issuer, subject, user_id) VALUES ('https://issuer.example.com', ${`account ${user}`}, ${user})`
      const [turn] = yield* sql<{ id: string }>`SELECT id FROM turns WHERE user_id = ${user}`
      // The rows of a running turn.
      yield* sql`INSERT INTO turn_output (user_id, turn_id, part, text) VALUES (${user}, ${turn?.id}, 0, 'I have')`
      yield* sql`
        INSERT INTO tool_calls (user_id, turn_id, step, position, text_offset, call) VALUES (${user}, ${turn?.id}, 1, 0, 0,
          '{"id":"a","tool":"t","parameters":{},"result":{"status":"success"},"duration_ms":1,"provider_call_id":"secret"}')`
      const message = (yield* exported(user)).lines.find(({ role }) => role === "assistant")
      yield* sql`UPDATE messages SET provider_states = '[{"step":1,"origin":"o","state":"hidden"}]' WHERE user_id = ${user}`
      yield* send("DELETE", `/api/${user}/conversations/${message?.["conversation_id"]}/messages/${message?.["id"]}`, {
        user
      })
      const { answer, lines } = yield* exported(user)
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers["content-type"], "application/jsonl")
      assert.match(
        answer.headers["content-disposition"] ?? "",
        new RegExp(`^attachment; filename="taskchat-${user}-\\d{4}-\\d\\d-\\d\\d\\.jsonl"$`)
      )
      assert.deepStrictEqual(lines.at(-1), { type: "end", lines: lines.length - 1 })
      assert.lengthOf(yield* decodeLines(lines), lines.length)
      const types = new Set(lines.map(({ type }) => String(type)))
      assert.deepStrictEqual(Object.fromEntries(Array.from(types, (type) => [type, of(type, lines).length])), {
        identity: 1,
        conversation: 1,
        turn: 1,
        message: 2,
        turn_output: 1,
        tool_call: 1,
        task: 2,
        task_change: 2,
        usage: 1,
        idempotency_key: 2,
        end: 1
      })
      const [, kept] = of("message", lines)
      assert.deepStrictEqual(kept, { ...message, deleted_at: kept?.["deleted_at"] })
      assert.isString(kept?.["deleted_at"])
      assert.notMatch(answer.text, /secret|hidden|provider_call_id/)
      for (const line of lines) assert.notProperty(line, "user_id")
      for (const task of of("task", lines)) {
        const { json } = yield* send("GET", `/api/${user}/tasks/${task["id"]}`, { user })
        for (const name of ["title", "due_date", "created_at", "updated_at", "labels", "completed"]) {
          assert.deepStrictEqual(task[name], json[name], name)
        }
      }
    })
  )

  it.effect("an export has every column of the database except those listed here", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const inside = [
        // Positions, and data for the provider only.
        "messages.tool_places messages.provider_states tool_calls.text_offset tool_calls.call",
        // Internals of running turns, and columns with other names in the export.
        "turns.slot turns.node turns.lease_until turns.cancel_requested_at turns.watched_until turns.is_message_refused",
        "turns.retry_after turns.id turns.input_tokens turns.output_tokens turns.step_usage turns.error_code",
        "turns.error_detail turns.estimated_tokens turns.reserved_tokens",
        "conversations.last_sequence_number conversations.message_count",
        "tasks.title_search tasks.description_search",
        "task_changes.turn_id task_changes.step task_changes.position task_changes.request_id",
        "usage_days.day usage_days.reserved_tokens usage_days.completed usage_days.failed usage_days.timed_out",
        "usage_days.cancelled usage_days.interrupted",
        "idempotency_keys.request_hash"
      ].flatMap((names) => names.split(" "))
      // The line of a day contains its models, and totals are sums of other rows.
      const columns = yield* sql<{ table: string; column: string }>`
        SELECT table_name AS table, column_name AS column FROM information_schema.columns
        WHERE table_schema = current_schema() AND column_name <> 'user_id' AND table_name IN (
          SELECT table_name FROM information_schema.columns
          WHERE table_schema = current_schema() AND column_name = 'user_id' AND data_type = 'bigint'
        ) AND table_name NOT IN ('erasures', 'usage_models', 'user_totals')`
      const types: Readonly<Record<string, string>> = {
        identities: "identity",
        conversations: "conversation",
        turns: "turn",
        messages: "message",
        turn_output: "turn_output",
        tool_calls: "tool_call",
        tasks: "task",
        task_changes: "task_change",
        usage_days: "usage",
        idempotency_keys: "idempotency_key"
      }
      const user = yield* newUser
      yield* say(user, "Hi", {}, { "idempotency-key": "once" })
      yield* send("POST", `/api/${user}/tasks`, { user, body: { title: "Bread" } })
      yield* sql`INSERT INTO identities (issuer, subject, user_id) VALUES ('https://b.example.com', ${`${user}`}, ${user})`
      const [turn] = yield* sql<{ id: string }>`SELECT id FROM turns WHERE user_id = ${user}`
      yield* sql`INSERT INTO turn_output (user_id, turn_id, part, text) VALUES (${user}, ${turn?.id}, 0, 'I have')`
      yield* sql`
        INSERT INTO tool_calls (user_id, turn_id, step, position, text_offset, call) VALUES (${user}, ${turn?.id}, 1, 0, 0,
          '{"id":"a","tool":"t","parameters":{},"result":{"status":"success"},"duration_ms":1}')`
      const { lines } = yield* exported(user)
      const forgotten = columns.filter(({ column, table }) => {
        const [line] = of(types[table] ?? "", lines)
        return line === undefined || (!(column in line) && !inside.includes(`${table}.${column}`))
      })
      assert.deepStrictEqual(forgotten, [])
    })
  )

  it.effect("an export is a consistent snapshot while the user writes", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const user = yield* newUser
      yield* sql`
        INSERT INTO tasks (user_id, title) SELECT ${user}::bigint, 'Task ' || n FROM generate_series(1, 600) n`
      yield* sql`
        INSERT INTO task_changes (user_id, task_id, version, kind, after, cause, request_id)
        SELECT user_id, id, 1, 'created', jsonb_build_object('title', title), 'request', 'r' FROM tasks
        WHERE user_id = ${user}`
      yield* say(user, "Hi")
      const writing = yield* Effect.fork(
        Effect.forever(
          Effect.gen(function* () {
            const { json } = yield* send("POST", `/api/${user}/tasks`, { user, body: { title: "New" } })
            yield* send("PATCH", `/api/${user}/tasks/${json["id"]}`, { user, body: { title: "Newer" } })
            yield* say(user, "Hi again")
          })
        )
      )
      for (let n = 0; n < 3; n++) {
        const { answer, lines } = yield* exported(user)
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(lines.at(-1), { type: "end", lines: lines.length - 1 })
        const conversations = new Set(of("conversation", lines).map(({ id }) => id))
        for (const message of of("message", lines)) assert.isTrue(conversations.has(message["conversation_id"]))
        const tasks = new Map(of("task", lines).map((task) => [task["id"], task]))
        for (const change of of("task_change", lines)) assert.isTrue(tasks.has(change["task_id"]))
        if (!Database.isRealPostgres) continue
        const last = new Map(of("task_change", lines).map((change) => [change["task_id"], change]))
        for (const [id, { title }] of tasks) assert.strictEqual(fieldsOf(last.get(id)?.["after"])["title"], title)
      }
      yield* Fiber.interrupt(writing)
    })
  )

  it.effect("allows one export per user and two per node at a time, and ends an export without a reader", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [one, other, third] = [yield* newUser, yield* newUser, yield* newUser]
      // More than socket buffers hold.
      for (const user of [one, other]) {
        yield* sql`
          WITH c AS (INSERT INTO conversations (user_id) VALUES (${user}) RETURNING id)
          INSERT INTO messages (user_id, conversation_id, sequence_number, turn_id, role, content, status)
          SELECT ${user}::bigint, id, n, gen_random_uuid(), 'user', repeat('x', 20000), 'completed'
          FROM c, generate_series(1, 700) n`
      }
      const readings = yield* Effect.forEach([one, other], (user) =>
        Server.open("GET", `/api/${user}/export`, { user })
      )
      for (const { status } of readings) assert.strictEqual(status, 200)
      for (const user of [one, third]) {
        const { answer } = yield* exported(user)
        assert.deepStrictEqual([answer.status, answer.json["code"]], [429, "rate_limited"])
        assert.isDefined(answer.headers["retry-after"])
      }
      yield* Effect.forEach(readings, ({ leave }) => leave)
      yield* Effect.repeat(
        Effect.map(exported(one), ({ answer }) => answer.status),
        { until: (status) => status === 200, schedule: Schedule.spaced("50 millis") }
      )
    }).pipe(Effect.scoped)
  )

  it.effect("tasks as iCalendar are read correctly by an iCalendar library", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      const title = `Milk, bread; \\ and "${"long ".repeat(30)}𝒶é`
      const create = (body: object) => send("POST", `/api/${user}/tasks`, { user, body })
      yield* create({
        title,
        description: "Two\nlines",
        priority: "high",
        labels: ["a,b", "c"],
        due_at: "2027-03-27T09:00:00+01:00",
        time_zone: "Europe/Berlin",
        repeat: "FREQ=DAILY;UNTIL=20270329"
      })
      yield* create({ title: "A day", due_date: "2026-12-01", priority: "low" })
      const counted = yield* create({ title: "Counted", due_date: "2026-12-01", repeat: "FREQ=WEEKLY;COUNT=3" })
      yield* send("PATCH", `/api/${user}/tasks/${counted.json["id"]}`, { user, body: { completed: true } })
      const gone = yield* create({ title: "Gone" })
      yield* send("DELETE", `/api/${user}/tasks/${gone.json["id"]}`, { user })
      const done = yield* create({ title: "Done" })
      yield* send("PATCH", `/api/${user}/tasks/${done.json["id"]}`, { user, body: { completed: true } })
      const answer = yield* send("GET", `/api/${user}/tasks.ics`, { user })
      assert.deepStrictEqual([answer.status, answer.headers["content-type"]], [200, "text/calendar"])
      for (const line of answer.text.split("\r\n")) assert.isAtMost(Buffer.byteLength(line), 75)
      const calendar = new ICAL.Component(ICAL.parse(answer.text))
      for (const zone of calendar.getAllSubcomponents("vtimezone")) ICAL.TimezoneService.register(zone)
      const todos = calendar.getAllSubcomponents("vtodo")
      const all = (name: string) => todos.map((todo) => todo.getFirstPropertyValue(name)?.toString())
      assert.deepStrictEqual(all("summary"), [title.trim(), "A day", "Counted", "Done"])
      assert.deepStrictEqual(all("due"), ["2027-03-27T09:00:00", "2026-12-01", "2026-12-08", undefined])
      assert.deepStrictEqual(all("priority"), ["1", "9", undefined, undefined])
      assert.deepStrictEqual(all("status"), ["NEEDS-ACTION", "NEEDS-ACTION", "NEEDS-ACTION", "COMPLETED"])
      assert.isString(all("completed")[3])
      const [repeating, , weekly] = todos
      assert.deepStrictEqual(repeating?.getFirstProperty("categories")?.getValues(), ["a,b", "c"])
      assert.strictEqual(repeating?.getFirstPropertyValue("description"), "Two\nlines")
      assert.strictEqual(weekly?.getFirstPropertyValue("rrule")?.toString(), "FREQ=WEEKLY;COUNT=2")
      // Daylight saving begins on the 28th: the local time stays 9:00.
      const event = new ICAL.Event(repeating ?? new ICAL.Component("vtodo"))
      const times = event.iterator()
      const instants = Array.from({ length: 4 }, () => times.next()?.toJSDate().toISOString())
      assert.deepStrictEqual(instants, [
        "2027-03-27T08:00:00.000Z",
        "2027-03-28T07:00:00.000Z",
        "2027-03-29T07:00:00.000Z",
        undefined
      ])
    })
  )

  it.effect("is refused to other users", () =>
    Effect.gen(function* () {
      const [user, other] = [yield* newUser, yield* newUser]
      for (const path of ["export", "data"]) {
        const method = path === "data" ? "DELETE" : "GET"
        assert.strictEqual((yield* send(method, `/api/${user}/${path}`)).status, 401)
        const { json, status } = yield* send(method, `/api/${user}/${path}`, { user: other, body: { confirm: user } })
        assert.deepStrictEqual([status, json["code"]], [403, "user_mismatch"])
      }
    })
  )

  it.effect("erases all data: 202 while it runs, 409 for other requests, 204 when done", () =>
    Effect.gen(function* () {
      const { plays } = yield* Server.Server
      const user = yield* newUser
      const erase = (body: object = { confirm: user }) => send("DELETE", `/api/${user}/data`, { user, body })
      yield* plays("Wait", ScriptedModel.silence, "Done.")
      yield* say(user, "Hi")
      for (const body of [{}, { confirm: user + 1 }, { confirm: "yes" }]) {
        const { json, status } = yield* erase(body)
        assert.deepStrictEqual([status, json["code"]], [400, "invalid_request"])
      }
      const turn = yield* Effect.fork(say(user, "Wait"))
      yield* Effect.repeat(
        Effect.map(send("GET", "/metrics"), ({ text }) => /taskchat_turns_running [1-9]/.test(text)),
        {
          until: (isRunning) => isRunning
        }
      )
      const first = yield* erase()
      assert.deepStrictEqual([first.status, first.text, first.headers["retry-after"]], [202, "", "1"])
      const refused = yield* Effect.all([
        send("GET", `/api/${user}/tasks`, { user }),
        send("GET", "/api/me", { user }),
        send("GET", `/api/${user}/export`, { user }),
        send("GET", `/api/${user}/nothing`, { user }),
        send("POST", `/api/${user}/tasks`, { user, body: { title: "Bread" } }),
        say(user, "Hi"),
        send("POST", "/mcp", { user, body: { jsonrpc: "2.0", id: 1, method: "tools/list", params: {} } })
      ])
      for (const { headers, json, status } of refused) {
        assert.deepStrictEqual([status, json["code"], headers["retry-after"]], [409, "erasure_in_progress", "1"])
      }
      assert.strictEqual((yield* send("GET", "/api/me", { user: yield* newUser })).status, 200)
      const { json, status } = yield* Fiber.join(turn)
      assert.deepStrictEqual([status, json["code"]], [409, "turn_cancelled"])
      const last = yield* Effect.repeat(erase(), { until: ({ status }) => status !== 202 })
      assert.deepStrictEqual([last.status, last.text], [204, ""])
      const { lines } = yield* exported(user)
      assert.deepStrictEqual(lines, [{ type: "end", lines: 0 }])
      assert.strictEqual((yield* erase()).status, 204)
      assert.strictEqual((yield* say(user, "Hi")).status, 200)
    })
  )
})
