import { HttpClient, HttpClientRequest, HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Array as Arr, DateTime, Effect, Encoding, Layer, Redacted, Schema, TestClock } from "effect"
import { ApiRateLimit, Authentication } from "../../src/api/Authentication.ts"
import * as Base from "../../src/api/Base.ts"
import { TasksApi } from "../../src/api/TasksApi.ts"
import { UserId } from "../../src/domain/Id.ts"
import { wire } from "../../src/domain/Problem.ts"
import { InvalidRequest } from "../../src/domain/Request.ts"
import * as Exchange from "../../src/http/Exchange.ts"
import * as TasksHttp from "../../src/http/TasksHttp.ts"
import * as HttpApiRoutes from "../../src/runtime/HttpApiRoutes.ts"
import { Idempotency } from "../../src/services/access/Idempotency.ts"
import { Tasks } from "../../src/services/tasks/Tasks.ts"
import * as Database from "../support/Database.ts"

/** The token is just the user's id, because authentication is tested elsewhere. */
const whoeverSaysSo = Layer.merge(
  Layer.succeed(Authentication, {
    bearer: (token) => Effect.succeed({ id: UserId.make(Number(Redacted.value(token))) })
  }),
  Layer.succeed(ApiRateLimit, Effect.void)
)

class TasksOnly extends Base.make("taskchat").add(TasksApi).addError(wire(InvalidRequest)) {}

const server = HttpApiRoutes.mount(TasksOnly).pipe(
  Layer.provide(TasksHttp.layer),
  Layer.provide([whoeverSaysSo, Exchange.middleware.layer]),
  (routes) => HttpLayerRouter.serve(routes, { disableListenLog: true, disableLogger: true }),
  Layer.provide([Tasks.layer, Idempotency.layer]),
  Layer.provide(Database.layer),
  Layer.provideMerge(NodeHttpServer.layerTest)
)

type Method = "GET" | "POST" | "PATCH" | "DELETE"

/** Requests of a new user. Paths are the part after `/tasks`. */
const newUser = Effect.map(HttpClient.HttpClient, (client) => {
  const user = 1 + Math.floor(Math.random() * 1e12)
  const send = (method: Method, path = "", body?: unknown, headers: Readonly<Record<string, string>> = {}) =>
    HttpClientRequest.make(method)(path.startsWith("/api/") ? path : `/api/${user}/tasks${path}`).pipe(
      HttpClientRequest.bearerToken(String(user)),
      HttpClientRequest.setHeaders(headers),
      body === undefined ? (request) => request : HttpClientRequest.bodyText(JSON.stringify(body), "application/json"),
      client.execute,
      Effect.flatMap((response) =>
        Effect.map(response.text, (text) => ({
          status: response.status,
          headers: response.headers,
          body: text === "" ? undefined : decodeBody(text)
        }))
      )
    )
  return { user, send }
})

const decodeBody = Schema.decodeUnknownSync(
  Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.Unknown }))
)
const decodeTasks = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({ id: Schema.Number, title: Schema.String })))
const decodeRepeating = Schema.decodeUnknownSync(Schema.Struct({ repeat: Schema.Struct({ rule: Schema.String }) }))
const decodeChanges = Schema.decodeUnknownSync(
  Schema.Array(
    Schema.Struct({
      version: Schema.Number,
      kind: Schema.String,
      before: Schema.NullOr(Schema.Struct({ title: Schema.String })),
      after: Schema.NullOr(Schema.Struct({ title: Schema.String })),
      cause: Schema.Struct({ type: Schema.String, request_id: Schema.String })
    })
  )
)
const decodeErrors = Schema.decodeUnknownSync(
  Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
)

const titles = (body: Readonly<Record<string, unknown>> | undefined) =>
  decodeTasks(body?.["tasks"]).map(({ title }) => title)
const invalidPaths = (body: Readonly<Record<string, unknown>> | undefined) => {
  assert.strictEqual(body?.["code"], "invalid_request")
  return decodeErrors(body?.["errors"]).map(({ path }) => path)
}

layer(server)("TasksHttp", (it) => {
  it.effect("a created task has a `Location`, which returns the task", () =>
    Effect.gen(function* () {
      const { send, user } = yield* newUser
      const created = yield* send("POST", "?x=1", {
        title: "  Call\u0007 ",
        description: "the bank",
        priority: "high",
        labels: ["a", "b", "a"],
        due_at: "2026-01-31T23:30:00+01:00",
        time_zone: "Asia/Tokyo",
        id: 1,
        unknown: {}
      })
      assert.strictEqual(created.status, 201)
      const { created_at, id, updated_at, ...rest } = created.body ?? {}
      assert.deepStrictEqual(rest, {
        title: "Call",
        description: "the bank",
        completed: false,
        priority: "high",
        labels: ["a", "b"],
        due_date: "2026-02-01",
        due_at: "2026-01-31T22:30:00.000Z",
        time_zone: "Asia/Tokyo",
        repeat: null,
        completed_at: null
      })
      assert.strictEqual(created_at, updated_at)
      assert.match(String(created_at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.strictEqual(created.headers["location"], `/api/${user}/tasks/${id}`)
      assert.strictEqual(created.headers["etag"], '"1"')
      const read = yield* send("GET", created.headers["location"])
      assert.deepStrictEqual([read.status, read.body, read.headers["etag"]], [200, created.body, '"1"'])
    })
  )

  it.effect("an update is refused if If-Match does not match the task", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const { body } = yield* send("POST", "", { title: "t" })
      const path = `/${body?.["id"]}`
      const patched = yield* send("PATCH", path, { title: "T", completed: true }, { "if-match": '"1"' })
      assert.deepStrictEqual([patched.status, patched.headers["etag"], patched.body?.["completed"]], [200, '"2"', true])
      for (const tags of ['"1"', 'W/"2"', "2", '"x"', '"99999999999999999999"', "", '"1", "3"']) {
        const refused = yield* send("PATCH", path, { title: "stale" }, { "if-match": tags })
        assert.deepStrictEqual([tags, refused.status, refused.body?.["code"]], [tags, 412, "task_changed"])
        assert.strictEqual((yield* send("DELETE", path, undefined, { "if-match": tags })).status, 412)
      }
      assert.strictEqual((yield* send("PATCH", path, { title: "a" }, { "if-match": "*" })).headers["etag"], '"3"')
      assert.strictEqual(
        (yield* send("PATCH", path, { title: "b" }, { "if-match": '"1", "3"' })).headers["etag"],
        '"4"'
      )
      assert.strictEqual((yield* send("PATCH", path, { title: "b" })).headers["etag"], '"4"')
      assert.strictEqual((yield* send("DELETE", path, undefined, { "if-match": '"4"' })).status, 204)
    })
  )

  it.effect("null clears, an absent member stays, and title and completed cannot be null", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const full = { title: "t", description: "d", priority: "low", labels: ["l"], due_date: "2026-01-31" }
      const { body: made } = yield* send("POST", "", full)
      const path = `/${made?.["id"]}`
      const cleared = { description: null, priority: null, labels: null, due_date: null }
      const { body } = yield* send("PATCH", path, cleared)
      assert.deepStrictEqual(body, { ...made, ...cleared, labels: [], updated_at: body?.["updated_at"] })
      for (const member of ["title", "completed"]) {
        const refused = yield* send("PATCH", path, { [member]: null })
        assert.deepStrictEqual([refused.status, invalidPaths(refused.body)], [400, [member]])
      }
    })
  )

  it.effect("a deleted task and another user's task are not found, and the answers are equal", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const other = yield* newUser
      const { body } = yield* send("POST", "", { title: "t" })
      const path = `/${body?.["id"]}`
      for (const method of ["GET", "PATCH", "DELETE"] as const) {
        const refused = yield* other.send(method, path, method === "PATCH" ? {} : undefined)
        assert.deepStrictEqual([refused.status, refused.body?.["code"]], [404, "task_not_found"])
        assert.strictEqual(refused.headers["x-error-details"], "Task not found")
      }
      assert.strictEqual((yield* other.send("GET", `${path}/history`)).status, 404)
      const deleted = yield* send("DELETE", path)
      assert.deepStrictEqual([deleted.status, deleted.body], [204, undefined])
      for (const method of ["GET", "PATCH", "DELETE"] as const) {
        assert.strictEqual((yield* send(method, path, method === "PATCH" ? {} : undefined)).status, 404)
      }
    })
  )

  it.effect("the history has the request of each version", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const { body } = yield* send("POST", "", { title: "a" }, { "x-request-id": "r1" })
      const path = `/${body?.["id"]}`
      yield* send("PATCH", path, { title: "b" }, { "x-request-id": "r2" })
      yield* send("PATCH", path, { completed: true }, { "x-request-id": "r3" })
      yield* send("DELETE", path, undefined, { "x-request-id": "r4" })
      const first = yield* send("GET", `${path}/history?limit=3`)
      const second = yield* send("GET", `${path}/history?limit=3&cursor=${first.body?.["next_cursor"]}`)
      assert.deepStrictEqual(
        [first.body?.["task_id"], first.body?.["total"], second.body?.["next_cursor"]],
        [body?.["id"], 4, null]
      )
      const changes = [...decodeChanges(first.body?.["changes"]), ...decodeChanges(second.body?.["changes"])]
      assert.deepStrictEqual(
        changes.map(({ after, before, cause, kind, version }) => [
          version,
          kind,
          before?.title,
          after?.title,
          cause.type,
          cause.request_id
        ]),
        [
          [4, "deleted", "b", undefined, "request", "r4"],
          [3, "completed", "b", "b", "request", "r3"],
          [2, "updated", "a", "b", "request", "r2"],
          [1, "created", undefined, "a", "request", "r1"]
        ]
      )
    })
  )

  it.effect("every parameter filters lists, and cursors lead through all pages", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      yield* send("POST", "", { title: "100%", labels: ["work"], due_date: "2026-01-30" })
      yield* send("POST", "", { title: "Äpfel", description: "100 of them", priority: "low", due_date: "2026-02-01" })
      const { body } = yield* send("POST", "", { title: "plain" })
      yield* send("PATCH", `/${body?.["id"]}`, { completed: true })
      for (const [query, found] of [
        ["", ["plain", "Äpfel", "100%"]],
        ["?status=all&unknown=1", ["plain", "Äpfel", "100%"]],
        ["?status=pending", ["Äpfel", "100%"]],
        ["?status=completed", ["plain"]],
        ["?priority=low", ["Äpfel"]],
        ["?label=work", ["100%"]],
        ["?due_before=2026-01-30", ["100%"]],
        ["?due_after=2026-01-31", ["Äpfel"]],
        ["?q=100%25", ["100%"]],
        ["?q=%C3%A4PF", ["Äpfel"]],
        ["?q=ApF", ["Äpfel"]],
        ["?due=none", ["plain"]],
        ["?sort=created", ["plain", "Äpfel", "100%"]],
        ["?sort=due", ["100%", "Äpfel", "plain"]],
        ["?sort=priority", ["Äpfel", "plain", "100%"]],
        ["?q=100&status=pending&due_before=2026-02-01&due_after=2026-02-01", ["Äpfel"]]
      ] as const) {
        const list = yield* send("GET", query)
        assert.deepStrictEqual([query, titles(list.body), list.body?.["total"]], [query, found, found.length])
        assert.strictEqual(list.body?.["next_cursor"], null)
      }
      for (const sort of ["created", "due", "priority"]) {
        const whole = titles((yield* send("GET", `?sort=${sort}`)).body)
        const first = yield* send("GET", `?sort=${sort}&limit=1`)
        const rest = yield* send("GET", `?sort=${sort}&cursor=${first.body?.["next_cursor"]}`)
        assert.deepStrictEqual([...titles(first.body), ...titles(rest.body)], whole)
        for (const other of ["created", "due", "priority"].filter((other) => other !== sort)) {
          const refused = yield* send("GET", `?sort=${other}&cursor=${first.body?.["next_cursor"]}`)
          assert.deepStrictEqual([refused.status, invalidPaths(refused.body)], [400, ["cursor"]])
        }
      }
      const first = yield* send("GET", "?limit=2")
      yield* send("POST", "", { title: "new" })
      const second = yield* send("GET", `?limit=2&cursor=${first.body?.["next_cursor"]}`)
      assert.deepStrictEqual([...titles(first.body), ...titles(second.body)], ["plain", "Äpfel", "100%"])
    })
  )

  it.effect("invalid values are refused with the name of the member", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const refusal = (method: Method, path: string, body?: unknown) =>
        Effect.map(send(method, path, body), (answer) => {
          assert.deepStrictEqual([path, body, answer.status], [path, body, 400])
          return invalidPaths(answer.body)
        })
      for (const name of ["status", "priority", "label", "due", "due_before", "due_after", "sort", "limit", "cursor"]) {
        assert.deepStrictEqual(yield* refusal("GET", `?${name}=`), [name])
        assert.deepStrictEqual(yield* refusal("GET", `?${name}=${"x".repeat(51)}`), [name])
      }
      assert.deepStrictEqual(yield* refusal("GET", "?due=none&due_after=2026-01-31"), ["due"])
      for (const cursor of [
        "task_x.1.1.due.2026-02-30.",
        "task.1.1.due.2026-01-31.999999999999999",
        "task.1.1.priority.4"
      ]) {
        const given = Encoding.encodeBase64Url(cursor)
        assert.deepStrictEqual(yield* refusal("GET", `?sort=due&cursor=${given}`), ["cursor"])
      }
      for (const limit of ["0", "101", "-1", "1e1", "0x10", "1.5", "+7", "99999999999999999999"]) {
        assert.deepStrictEqual(yield* refusal("GET", `?limit=${encodeURIComponent(limit)}`), ["limit"])
      }
      for (const id of [
        "0",
        "-1",
        "9007199254740992",
        "9223372036854775808",
        `1${"0".repeat(30)}`,
        "1e3",
        "abc",
        "%00"
      ]) {
        assert.deepStrictEqual(yield* refusal("GET", `/${id}`), ["task_id"])
        assert.deepStrictEqual(yield* refusal("DELETE", `/${id}`), ["task_id"])
        assert.deepStrictEqual(yield* refusal("GET", `/${id}/history`), ["task_id"])
      }
      for (const [name, values] of [
        [
          "title",
          [
            null,
            "",
            " \u0000\n",
            "\u200b\u200d\u2060",
            "\u3164",
            "\u2800 \u00ad",
            "x".repeat(201),
            "😀".repeat(201),
            7,
            ["x"]
          ]
        ],
        ["description", ["x".repeat(2001), 7]],
        ["priority", ["urgent", "", 1]],
        ["labels", [Arr.replicate("x", 11), "x", {}]],
        ["due_date", ["2026-02-30", "31.1.2026", "tomorrow", "", 20260131, "2026-01-31T00:00:00Z"]],
        ["due_at", ["2026-01-31", "2026-01-31T09:00:00", "2026-02-30T09:00:00Z", "soon", 1, "10000-01-01T00:00:00Z"]],
        ["time_zone", ["Mars/Olympus", "", "+01:00", 1]],
        [
          "repeat",
          [
            "",
            1,
            "x".repeat(301),
            "FREQ=HOURLY",
            "FREQ=DAILY;BYHOUR=9",
            "FREQ=DAILY;COUNT=2;UNTIL=20991231",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=DAILY;UNTIL=19600101",
            "FREQ=DAILY;UNTIL=20260230",
            "FREQ=WEEKLY;BYDAY=1MO",
            "FREQ=DAILY;FREQ=DAILY",
            "RRULE:INTERVAL=2"
          ]
        ]
      ] as const) {
        for (const value of values) {
          assert.deepStrictEqual(yield* refusal("POST", "", { title: "t", [name]: value }), [name])
        }
      }
      assert.deepStrictEqual(yield* refusal("POST", "", { title: "t", labels: ["a", "x".repeat(51), ""] }), [
        "labels.1"
      ])
      assert.deepStrictEqual(
        yield* refusal("POST", "", { title: "t", due_date: "2026-01-01", due_at: "2026-01-31T09:00:00Z" }),
        ["due_at"]
      )
      assert.strictEqual((yield* send("POST", "", [])).status, 400)
      assert.strictEqual((yield* send("GET")).body?.["total"], 0)
    })
  )

  it.effect("lengths are counted in code points", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const longest = { title: "😀".repeat(200), description: "😀".repeat(2000), labels: ["😀".repeat(50)] }
      const { body, status } = yield* send("POST", "", longest)
      assert.deepStrictEqual(
        [status, body?.["title"], body?.["description"]],
        [201, longest.title, longest.description]
      )
    })
  )

  it.effect("a repeating task is due on its first match, and moves on when it is completed", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(DateTime.unsafeMake("2026-11-29T12:00:00Z").epochMillis)
      const { send } = yield* newUser
      const made = yield* send("POST", "", { title: "t", repeat: "rrule:freq=weekly;interval=2;byday=mo,we" })
      const repeat = {
        rule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE",
        text: "every 2 weeks on Monday and Wednesday",
        starts_on: "2026-11-30"
      }
      assert.deepStrictEqual([made.status, made.body?.["due_date"], made.body?.["repeat"]], [201, "2026-11-30", repeat])
      const path = `/${made.body?.["id"]}`
      const complete = Effect.fn(function* (given: object, tag?: string) {
        const { body, headers, status } = yield* send(
          "PATCH",
          path,
          { completed: true, ...given },
          tag === undefined ? {} : { "if-match": tag }
        )
        return [status, body?.["completed"], body?.["due_date"], body?.["completed_occurrence"], headers["etag"]]
      })
      assert.deepStrictEqual(yield* complete({}, '"1"'), [200, false, "2026-12-02", "2026-11-30", '"2"'])
      assert.strictEqual((yield* complete({}, '"1"'))[0], 412)
      const occurrence = "2026-12-02"
      assert.deepStrictEqual(yield* complete({ occurrence }), [200, false, "2026-12-14", occurrence, '"3"'])
      assert.deepStrictEqual(yield* complete({ occurrence }), [200, false, "2026-12-14", occurrence, '"3"'])
      assert.strictEqual((yield* complete({ occurrence: "2026-12-16" }))[0], 412)
      // Missed days are skipped.
      yield* TestClock.setTime(DateTime.unsafeMake("2027-03-01T12:00:00Z").epochMillis)
      assert.deepStrictEqual(yield* complete({}), [200, false, "2027-03-08", "2026-12-14", '"4"'])
      const read = yield* send("GET", path)
      assert.deepStrictEqual(
        [
          read.body?.["completed"],
          read.body?.["completed_at"],
          read.body?.["completed_occurrence"],
          read.body?.["repeat"]
        ],
        [false, null, undefined, repeat]
      )
      const { body } = yield* send("GET", `${path}/history`)
      assert.deepStrictEqual(
        decodeChanges(body?.["changes"]).map(({ kind }) => kind),
        ["completed", "completed", "completed", "created"]
      )
      const once = yield* send("PATCH", path, { repeat: null, completed: true })
      assert.deepStrictEqual([once.body?.["repeat"], once.body?.["completed"]], [null, true])
    })
  )

  it.effect("`repeat` in words is read in the zone of the request, else of the task, else in UTC", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(DateTime.unsafeMake("2026-11-29T12:00:00Z").epochMillis)
      const { send } = yield* newUser
      const made = yield* send("POST", "", {
        title: "t",
        due_at: "2026-12-01T20:00:00Z",
        time_zone: "Pacific/Auckland"
      })
      const repeats = (given: object) =>
        Effect.map(send("PATCH", `/${made.body?.["id"]}`, given), ({ body }) => decodeRepeating(body).repeat.rule)
      // It is the 30th already in Auckland.
      assert.strictEqual(yield* repeats({ repeat: "every day until tomorrow" }), "FREQ=DAILY;UNTIL=20261201")
      const rule = "FREQ=DAILY;UNTIL=20261203T120000Z"
      assert.strictEqual(yield* repeats({ repeat: rule }), "FREQ=DAILY;UNTIL=20261204")
      assert.strictEqual(yield* repeats({ repeat: rule, time_zone: "UTC" }), "FREQ=DAILY;UNTIL=20261203")
      const undated = yield* send("POST", "", { title: "t", repeat: "every day starting tomorrow" })
      assert.strictEqual(undated.body?.["due_date"], "2026-11-30")
      const missing = yield* send("PATCH", "/9007199254740991", { repeat: "every day" })
      assert.strictEqual(missing.status, 404)
    })
  )

  it.effect("a repeated request with the same Idempotency-Key creates one task and returns the first answer", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const key = { "idempotency-key": "k-1" }
      const answers = yield* Effect.forEach(
        Arr.range(1, 10),
        (n) => send("POST", "", n % 2 === 0 ? { title: "t", priority: "low" } : { priority: "low", title: "t" }, key),
        { concurrency: "unbounded" }
      )
      const last = yield* send("POST", "", { title: "t", priority: "low" }, { "idempotency-key": '"k-1"' })
      assert.deepStrictEqual(
        [...answers, last].map(({ body, headers, status }) => [status, body, headers["location"], headers["etag"]]),
        Arr.replicate([201, last.body, last.headers["location"], '"1"'], 11)
      )
      assert.strictEqual(answers.filter(({ headers }) => headers["idempotent-replayed"] === undefined).length, 1)
      assert.strictEqual(last.headers["idempotent-replayed"], "true")
      const reused = yield* send("POST", "", { title: "u" }, key)
      assert.deepStrictEqual([reused.status, reused.body?.["code"]], [422, "idempotency_key_reused"])
      assert.strictEqual((yield* send("GET")).body?.["total"], 1)
    })
  )

  it.effect("a refused request does not use up its key, and an invalid key is refused", () =>
    Effect.gen(function* () {
      const { send } = yield* newUser
      const key = { "idempotency-key": "k" }
      assert.strictEqual((yield* send("POST", "", { title: "" }, key)).status, 400)
      assert.strictEqual((yield* send("POST", "", { title: "t" }, key)).status, 201)
      for (const wrong of ["", "a b", '"', "x".repeat(256)]) {
        const refused = yield* send("POST", "", { title: "t" }, { "idempotency-key": wrong })
        assert.deepStrictEqual([wrong, refused.status, invalidPaths(refused.body)], [wrong, 400, ["idempotency-key"]])
      }
    })
  )
})
