import { assert, layer } from "@effect/vitest"
import { Cause, Console, Context, Effect, Exit, Layer, LogLevel, Option, Tracer } from "effect"
import * as Logging from "../../src/server/Logging.ts"
import * as Tracing from "../../src/server/Tracing.ts"
import { call, fail, faults } from "../../src/testing/ScriptedModel.ts"
import * as Server from "../support/Server.ts"
import { fieldsOf, newUser, open, say, send, stream, tokenOf } from "../support/Server.ts"

/** The telemetry of the service. */
class Told extends Context.Tag("taskchat/testing/Told")<
  Told,
  { readonly lines: Array<string>; readonly spans: Array<Exported> }
>() {}

/** The exported form of a span. */
interface Exported {
  readonly name: string
  readonly attributes: Map<string, unknown>
  readonly events: Array<unknown>
}

const keeping = (spans: Array<Exported>) =>
  Tracer.make({
    context: (f) => f(),
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const events: Array<unknown> = []
      spans.push({ name, attributes, events })
      let status: Tracer.SpanStatus = { _tag: "Started", startTime }
      return {
        _tag: "Span",
        spanId: crypto.randomUUID(),
        traceId: "trace",
        sampled: true,
        name,
        parent,
        context,
        links,
        kind,
        attributes,
        get status() {
          return status
        },
        attribute: (key, value) => attributes.set(key, value),
        event: (name, _, about) => events.push(name, about),
        addLinks: () => {},
        end: (endTime, exit) => {
          status = { _tag: "Ended", startTime, endTime, exit }
          // The result of a success is not exported.
          if (Exit.isFailure(exit)) events.push(Cause.pretty(exit.cause, { renderErrorCause: true }))
        }
      }
    }
  })

const watched = Layer.unwrapEffect(
  Effect.gen(function* () {
    const lines: Array<string> = []
    const spans: Array<Exported> = []
    const console = yield* Effect.console
    const write = (...words: ReadonlyArray<unknown>) => lines.push(words.map(String).join(" "))
    return Server.layer({ isTraced: true }).pipe(
      Layer.provideMerge(Layer.succeed(Told, { lines, spans })),
      Layer.provide(Logging.layer({ level: LogLevel.Info, format: Option.some("json") })),
      Layer.provide(Layer.setTracer(Tracing.exported(keeping(spans), { isDetailed: false }))),
      Layer.provide(
        Console.setConsole({
          ...console,
          log: (...words) => Effect.sync(() => write(...words)),
          unsafe: { ...console.unsafe, log: write }
        })
      )
    )
  })
)

layer(watched)("Exchange", (it) => {
  it.effect("each request has one log line with its ids", () =>
    Effect.gen(function* () {
      const { lines } = yield* Told
      const user = yield* newUser
      const from = lines.length
      const { json } = yield* say(user, "Hi", {}, { "x-request-id": "mine" })
      const entries = lines.slice(from).map((line) => fieldsOf(JSON.parse(line)))
      const own = entries.filter(({ request_id }) => request_id === "mine")
      assert.strictEqual(own.length, 1)
      const { duration_ms, span_id, time, trace_id, ...rest } = own[0] ?? {}
      assert.deepStrictEqual(rest, {
        level: "info",
        message: "Request",
        method: "POST",
        route: "/api/:user_id/chat",
        status: 200,
        request_id: "mine",
        user_id: user,
        turn_id: json["turn_id"],
        conversation_id: json["conversation_id"]
      })
      assert.isNumber(duration_ms)
      assert.isString(span_id)
      assert.isString(trace_id)
    })
  )

  it.effect("each span of a request, also of its turn, has the request id", () =>
    Effect.gen(function* () {
      const { spans } = yield* Told
      const user = yield* newUser
      const from = spans.length
      const { json } = yield* say(user, "Hi", {}, { "x-request-id": "traced" })
      const own = spans.slice(from).filter(({ attributes }) => attributes.get("request.id") === "traced")
      const names = own.map(({ name }) => name)
      for (const name of ["http.server POST", "Tokens.verify", "Chat.answer", "Chat.turn"]) assert.include(names, name)
      const [root] = own.filter(({ name }) => name === "http.server POST")
      assert.strictEqual(root?.attributes.get("url.full"), "/api/:user_id/chat")
      const conversation = String(json["conversation_id"])
      const ofTurn = own.filter(({ name }) => name === "Chat.turn" || name.startsWith("chat "))
      assert.deepStrictEqual(
        ofTurn.map(({ attributes }) => attributes.get("gen_ai.conversation.id")),
        [conversation]
      )
    })
  )

  it.scoped("texts of users and tokens are in no log line, span, metric or error", () =>
    Effect.gen(function* () {
      const { lines, spans } = yield* Told
      const server = yield* Server.Server
      const user = yield* newUser
      const secret = "Zanzibar7"
      const bodies: Array<string> = []
      const keep = <E, R>(effect: Effect.Effect<Server.Answer, E, R>) =>
        Effect.tap(effect, ({ status, text, headers }) =>
          Effect.sync(() => status >= 400 && bodies.push(text, JSON.stringify(headers)))
        )
      const token = yield* tokenOf(user)
      yield* server.plays(`add ${secret}`, ["Ok ", call("create_task", { title: secret })], [`${secret} it is`])
      yield* server.plays(
        `wrong ${secret}`,
        [call("create_task", { title: 7, x: secret }), call(secret, {})],
        [secret, fail(faults.status(400, {}, secret))]
      )
      yield* server.plays(
        `broken ${secret}`,
        [call("create_task", secret)],
        [secret, fail(faults.status(401, {}, secret))]
      )
      for (const message of [`add ${secret}`, `wrong ${secret}`, `broken ${secret}`]) {
        const { json } = yield* say(user, message, {}, { "idempotency-key": crypto.randomUUID() })
        yield* Effect.flatMap(stream(user, message), ({ rest }) => rest)
        if (json["turn_id"] !== undefined) {
          yield* Effect.flatMap(
            open("GET", `/api/${user}/turns/${json["turn_id"]}/events`, { user }),
            ({ rest }) => rest
          )
          yield* send("POST", `/api/${user}/turns/${json["turn_id"]}/undo`, { user })
        }
      }
      const created = yield* send("POST", `/api/${user}/tasks`, {
        user,
        body: { title: secret, description: secret, labels: [secret] }
      })
      yield* send("PATCH", `/api/${user}/tasks/${created.json["id"]}`, { user, body: { title: `${secret}!` } })
      yield* send("GET", `/api/${user}/tasks?q=${secret}&label=${secret}`, { user })
      for (const answer of [
        send("GET", `/api/${user}/tasks?status=${secret}&limit=${secret}&cursor=${secret}&due_before=${secret}`, {
          user
        }),
        send("GET", `/api/${user}/tasks/${secret}`, { user }),
        send("GET", `/api/${user}/${secret}?x=${secret}`, { user }),
        send("GET", `/${secret}`, { user }),
        send("PATCH", `/api/${user}/tasks/${created.json["id"]}`, {
          user,
          body: { title: [secret], priority: secret, due_at: secret }
        }),
        send("POST", `/api/${user}/tasks`, {
          user,
          body: { title: secret.repeat(100), labels: secret, time_zone: secret }
        }),
        send("POST", `/api/${user}/chat`, { user, body: { message: secret, conversation_id: secret } }),
        send("POST", `/api/${user}/chat`, { user, body: { message: secret, time_zone: secret } }),
        send("POST", `/api/${user}/chat`, { user, body: { message: [secret] } }),
        send("POST", `/api/${user}/chat`, {
          user,
          body: `{"message":"${secret}`,
          headers: { "content-type": "application/json" }
        }),
        send("POST", `/api/${user}/chat`, { user, body: secret, headers: { "content-type": "text/plain" } }),
        send("POST", `/api/${user}/chat`, {
          user,
          body: { message: "Hi" },
          headers: { "idempotency-key": "x".repeat(300) }
        }),
        send("GET", `/api/${user}/tasks`, { headers: { authorization: `Bearer ${secret}` } }),
        send("GET", `/api/${user}/tasks`, { headers: { authorization: `Bearer ${token}x` } })
      ]) {
        assert.isAtLeast((yield* keep(answer)).status, 400)
      }
      const spanTexts = spans.map((span) => Server.inspect(span))
      const metrics = (yield* send("GET", "/metrics")).text
      assert.isNotEmpty(spans)
      for (const word of [secret, token, token.split(".")[2] ?? ""]) {
        const found = (texts: ReadonlyArray<string>) => texts.filter((text) => text.includes(word))
        assert.deepStrictEqual(found(lines), [])
        assert.deepStrictEqual(found(spanTexts), [])
        assert.deepStrictEqual(found([metrics]), [])
        assert.deepStrictEqual(found(bodies), [])
      }
    })
  )
})
