import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import * as path from "node:path"
import { brotliDecompressSync } from "node:zlib"
import { SqlClient } from "@effect/sql"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Redacted, Schedule, type Scope } from "effect"
import Pg from "pg"
import * as Sql from "../../src/sql/Sql.ts"
import { freshUrl, isRealPostgres } from "../support/Database.ts"
import { code as codeIn, rows } from "../support/Markdown.ts"
import { call, ModelServer, say, wait } from "../support/ModelServer.ts"
import { read, root } from "../support/Repository.ts"
import {
  type CallOptions,
  complaints,
  eventsOf,
  run,
  type Service,
  secret,
  serve,
  tokenOf
} from "../support/Service.ts"
import { temporaryFolder } from "../support/Shell.ts"

type Environment = Readonly<Record<string, string>>

/** A data directory from `taskchat migrate`, to copy, because a new database takes seconds to create. */
class Base extends Context.Tag("test/Service/Base")<Base, { readonly folder: string }>() {
  static readonly layer = Layer.scoped(
    Base,
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { code, stderr } = yield* run(["migrate"], { DATA_DIR: folder })
      assert.strictEqual(code, 0, stderr)
      return { folder }
    })
  )
}

/** A new embedded database. */
const embedded: Effect.Effect<Environment, never, Base | Scope.Scope> = Effect.gen(function* () {
  const { folder } = yield* Base
  const DATA_DIR = path.join(yield* temporaryFolder, "data")
  cpSync(folder, DATA_DIR, { recursive: true })
  return { DATA_DIR, JWT_SECRET: secret }
})

/** A new database of the kind that the tests use. */
const database: Effect.Effect<Environment, never, Base | Scope.Scope> = isRealPostgres
  ? Effect.map(freshUrl, (url) => ({ DATABASE_URL: Redacted.value(url), JWT_SECRET: secret }))
  : embedded

/** A model that the test controls. */
const modelled = Effect.map(ModelServer, ({ url }) => ({
  MODEL_PROVIDER: "chat-completions",
  OPENAI_BASE_URL: url,
  AGENT_TIMEOUT: "2 minutes",
  MODEL_IDLE_TIMEOUT: "2 minutes"
}))

/** A connection to the service's database. */
const clientOf = (environment: Environment) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Pg.Client({ connectionString: environment["DATABASE_URL"] })
      await client.connect()
      return client
    }),
    (client) => Effect.promise(() => client.end())
  )

const chat = (service: Service, message: string, options: CallOptions & { readonly conversation?: unknown } = {}) =>
  service.call("POST", `/api/${options.user ?? 1}/chat`, {
    ...options,
    body: { message, conversation_id: options.conversation ?? null }
  })

const chatStream = (service: Service, message: string) =>
  service.stream("POST", "/api/1/chat/stream", { body: { message } })

/** Repeats an effect until its result satisfies the predicate. */
const until = <A>(effect: Effect.Effect<A>, isSo: (a: A) => boolean) =>
  Effect.repeat(effect, { until: isSo, schedule: Schedule.identity<A>().pipe(Schedule.addDelay(() => "100 millis")) })

const lines = (text: string) => text.split("\n").filter((line) => line !== "")

/** Asserts that the output is one line with the reason. */
const assertRefused = (
  { code, stderr, stdout }: { readonly code: number | null; readonly stdout: string; readonly stderr: string },
  ...words: ReadonlyArray<string>
) => {
  assert.strictEqual(code, 1, stdout + stderr)
  assert.strictEqual(stdout, "")
  assert.lengthOf(complaints(stderr), 1, stderr)
  for (const word of words) assert.include(stderr, word)
}

/** Listens on a free port until the scope closes. */
const listening = (server: Server) =>
  Effect.acquireRelease(
    Effect.async<{ readonly port: number }>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed({ port: typeof address === "object" && address !== null ? address.port : 0 }))
      })
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )

// Processes start slowly on a busy machine.
const timeout = 240_000

describe("taskchat", { timeout }, () => {
  it.live("prints its help and version", () =>
    Effect.gen(function* () {
      const help = yield* run(["--help"])
      assert.strictEqual(help.code, 0)
      for (const command of ["serve", "migrate", "usage", "token", "echo 'add milk' | taskchat chat"]) {
        assert.include(help.stdout, command)
      }
      assert.include(help.stdout, "A conversational task service")
      for (const name of rows(read("README.md")).flatMap(([names = ""]) => codeIn(names))) {
        if (/^[A-Z]+(?:_[A-Z]+)*$/.test(name)) assert.match(help.stdout, new RegExp(`\\b${name}\\b`))
      }
      assert.notInclude(help.stdout, "\u001b")
      const version = yield* run(["--version"])
      assert.strictEqual(version.code, 0)
      assert.strictEqual(version.stdout.trim(), JSON.parse(read("package.json")).version)
    })
  )

  it.live.each([
    ["--user", "token", "--user", "0"],
    ["--ttl", "token", "--user", "1", "--ttl", "soon"],
    ["--user", "chat", "--user", "me"],
    ["--user", "usage", "--user", "0"],
    ["--url", "chat", "--url", "here"],
    ["--user-ids", "migrate", "--user-ids", "both"],
    ["--links", "migrate", "--user-ids", "mapped", "--links", "nowhere"],
    ["--log-level", "--log-level", "loud", "serve"],
    ["--stdio", "mcp"]
  ])("says in one line what %s takes", ([option = "", ...args]) =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(args, { JWT_SECRET: secret, TASKCHAT_TOKEN: "a token" })
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.match(stderr.trim(), new RegExp(`^[^\\n\\u001b]*${option}\\b[^\\n\\u001b]*$`))
    })
  )

  it.live("refuses an unknown command with a message", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(["sing"])
      assert.strictEqual(code, 1)
      assert.include(stdout + stderr, "serve")
      assert.notMatch(stdout + stderr, /^\s+at /m)
    })
  )

  it.live("prints a token for the development secret, and for JWT_SECRET", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run(["token", "--user", "7"], { JWT_SECRET: secret })
      assert.strictEqual(code, 0)
      assert.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
      const own = yield* run(["token", "--user", "7", "--ttl", "5 minutes"])
      assert.match(own.stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    })
  )

  it.live("prints no token for an invalid user", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(["token", "--user", "0"], { JWT_SECRET: secret })
      assert.strictEqual(code, 1)
      assert.notMatch(stdout, /^[\w-]+\.[\w-]+\.[\w-]+$/m)
      assert.notMatch(stdout + stderr, /^\s+at /m)
    })
  )

  it.live("prints no token if JWT_JWKS_URL is set", () =>
    Effect.gen(function* () {
      const finished = yield* run(["token", "--user", "1"], { JWT_JWKS_URL: "http://127.0.0.1:1/jwks.json" })
      assertRefused(finished, "JWT_SECRET")
    })
  )
})

describe("an invalid start", { timeout }, () => {
  it.live.each<[Environment, ReadonlyArray<string>, string]>([
    [{ LOG_LEVEL: "loud", LOG_FORMAT: "json" }, ["LOG_LEVEL", '"loud"', "debug"], ""],
    [{ JWT_SECRET: "hunter2" }, ["JWT_SECRET", "32"], "hunter2"],
    [{ DATABASE_URL: "postgres://me:hunter2@nowhere.invalid/x" }, ["DATABASE_URL", "nowhere.invalid"], "hunter2"],
    [{ DATABASE_URL: "postgres://me:hunter2@[/x" }, ["DATABASE_URL"], "hunter2"],
    [{ DATA_DIR: "/dev/null/data" }, ["/dev/null/data"], ""]
  ])("says why in one line: %o", ([environment, words, hidden]) =>
    Effect.gen(function* () {
      const finished = yield* run(["serve"], { PORT: "0", ...environment })
      assertRefused(finished, ...words)
      if (hidden !== "") assert.notInclude(finished.stderr, hidden)
    })
  )

  it.live("says in one line that the port is taken", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { port } = yield* listening(createServer())
        assertRefused(yield* run(["serve"], { PORT: String(port) }), "PORT", String(port))
      })
    )
  )
})

describe.skipIf(isRealPostgres)("a first start with nothing set", { timeout }, () => {
  it.live("prints a complete example, and the next start keeps the data", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const DATA_DIR = path.join(yield* temporaryFolder, "data")
        const first = yield* serve({ DATA_DIR, LOG_FORMAT: "pretty", SHUTDOWN_DELAY: "10 seconds" })
        const welcome = yield* until(Effect.sync(first.stdout), (text) => text.includes("curl "))
        assert.include(welcome, `${first.url}/docs`)
        // Requesting the page first must not change the document.
        assert.strictEqual((yield* first.call("GET", "/docs")).status, 200)
        const document = yield* first.call("GET", "/openapi.json")
        const [served, kept] = [document.text, read("docs/openapi.json")].map(
          (text) => JSON.parse(text).components.schemas
        )
        assert.deepStrictEqual(served, kept)
        const token = /Token: (\S+)/.exec(welcome)?.[1] ?? ""
        const line = /^\s*(curl .*)$/m.exec(welcome)?.[1] ?? ""
        // The machine may have no curl.
        if (spawnSync("curl", ["--version"]).status === 0) {
          const pasted = spawnSync("sh", ["-c", line], { encoding: "utf8" })
          assert.strictEqual(pasted.status, 0, pasted.stderr)
          assert.match(JSON.parse(pasted.stdout).assistant_message, /call the bank/i)
        }
        const headers = { authorization: `Bearer ${token}` }
        const body = { title: "Kept over restarts" }
        assert.strictEqual((yield* first.call("POST", "/api/1/tasks", { headers, body })).status, 201)

        assertRefused(yield* run(["serve"], { DATA_DIR, PORT: "0" }), DATA_DIR, "in use")

        yield* first.kill("SIGTERM")
        const { status } = yield* until(first.call("GET", "/ready"), ({ status }) => status === 503)
        assert.strictEqual(status, 503)
        // The node is not ready but serves, and closes each connection after the answer.
        const chat = yield* first.call("POST", "/api/1/chat", { headers, body: { message: "hello" } })
        assert.deepStrictEqual([chat.status, chat.headers.get("connection")], [200, "close"])
        const { code, stderr } = yield* first.finished
        assert.strictEqual(code, 0, stderr)
        assert.deepStrictEqual(complaints(stderr), [])
        const secrets = readdirSync(DATA_DIR).filter((name) => name.startsWith("jwt-secret"))
        assert.deepStrictEqual(secrets, ["jwt-secret"])

        const second = yield* serve({ DATA_DIR, LOG_FORMAT: "json" })
        const tasks = yield* second.call("GET", "/api/1/tasks", { headers })
        assert.strictEqual(tasks.status, 200)
        assert.include(tasks.text, "Kept over restarts")
        yield* until(Effect.sync(second.stderr), (text) => text.includes("curl "))
        for (const entry of lines(second.stdout())) assert.isObject(JSON.parse(entry), entry)

        const printed = yield* run(["token", "--user", "2"], { DATA_DIR })
        const authorization = `Bearer ${printed.stdout.trim()}`
        const others = yield* second.call("GET", "/api/2/tasks", { headers: { authorization } })
        assert.strictEqual(others.status, 200)
      })
    )
  )

  it.live("starts with the database of the build, also after a start that was interrupted while copying it", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const control = (DATA_DIR: string) => path.join(DATA_DIR, "postgres", "global", "pg_control")
        const identifiers: Array<Buffer> = []
        const secrets: Array<string> = []
        for (const name of ["new", "cut"]) {
          const DATA_DIR = path.join(folder, name)
          if (name === "cut") {
            mkdirSync(path.dirname(control(DATA_DIR)), { recursive: true })
            writeFileSync(control(DATA_DIR), "half of i")
          }
          const service = yield* serve({ DATA_DIR, JWT_SECRET: secret })
          assert.strictEqual((yield* service.call("GET", "/ready")).status, 200)
          // Values that PostgreSQL creates for each database.
          identifiers.push(readFileSync(control(DATA_DIR)).subarray(0, 8))
          yield* service.kill("SIGTERM")
          yield* service.finished
          const found = yield* SqlClient.SqlClient.pipe(
            Effect.flatMap((sql) => sql<{ key: string }>`SELECT encode(key, 'hex') AS key FROM erased_usage_key`),
            Effect.provide(Sql.layerEmbedded({ dataDir: DATA_DIR })),
            Effect.orDie
          )
          secrets.push(...found.map(({ key }) => key))
        }
        assert.deepStrictEqual(identifiers[0], identifiers[1])
        // Secrets differ between databases.
        assert.strictEqual(new Set(secrets).size, 2)
        const image = brotliDecompressSync(readFileSync(path.join(root, "dist", "database.tar.br")))
        const [content, end] = [512, 1024]
        // The file that marks the database as complete must be written last.
        assert.strictEqual(image.toString("latin1", image.length - end - content - 512).split("\0")[0], "PG_VERSION")
      })
    )
  )
})

layer(Layer.merge(Base.layer, ModelServer.layer()), { timeout, excludeTestServices: true })("a service", (it) => {
  describe("its log", () => {
    it.scoped(
      "has one JSON object per line, with ids and without texts of users",
      () =>
        Effect.gen(function* () {
          const service = yield* serve({ ...(yield* database), LOG_FORMAT: "json" })
          const headers = { "x-request-id": "the-request" }
          const { body, status, text } = yield* chat(service, "add zyzzyva and xylyl", { headers })
          assert.strictEqual(status, 200, text)
          yield* until(Effect.sync(service.stdout), (log) => log.includes("the-request"))
          yield* service.kill("SIGTERM")
          const { stderr, stdout } = yield* service.finished
          const entries: ReadonlyArray<Record<string, unknown>> = lines(stdout).map((line) => JSON.parse(line))
          const request = entries.find((entry) => entry["request_id"] === "the-request") ?? {}
          assert.deepInclude(request, {
            turn_id: body["turn_id"],
            conversation_id: body["conversation_id"],
            user_id: 1,
            status: 200
          })
          assert.notMatch(stdout + stderr, /zyzzyva|xylyl/)
          assert.notInclude(stdout + stderr, yield* tokenOf(1))
        }),
      timeout
    )

    it.scoped(
      "says that Redis is away, and names no trace if nothing is traced",
      () =>
        Effect.gen(function* () {
          const REDIS_URL = "redis://127.0.0.1:1"
          const service = yield* serve({ ...(yield* database), REDIS_URL, LOG_FORMAT: "json" })
          const { headers } = yield* service.call("GET", "/api/1/tasks", { headers: { "x-request-id": "mine" } })
          assert.strictEqual(headers.get("x-ratelimit-remaining"), "599")
          const log = yield* until(Effect.sync(service.stdout), (log) => log.includes("Redis is away"))
          const { time, ...rest } = JSON.parse(lines(log).find((line) => line.includes("Redis is away")) ?? "{}")
          assert.isString(time)
          const message = "Redis is away: each process counts requests for itself"
          assert.deepStrictEqual(rest, { level: "warn", message, request_id: "mine" })
        }),
      timeout
    )

    it.scoped(
      "is text for people, or silent, by its settings",
      () =>
        Effect.gen(function* () {
          const service = yield* serve({ ...(yield* database), LOG_FORMAT: "pretty", LOG_LEVEL: "info" })
          yield* service.call("GET", "/api/1/tasks", { headers: { "x-request-id": "the-request" } })
          const log = yield* until(Effect.sync(service.stdout), (log) => log.includes("the-request"))
          assert.notInclude(log, "{")
          yield* service.kill("SIGTERM")
          yield* service.finished

          // The welcome text is not a log, and has the URL.
          const { JWT_SECRET: _, ...own } = yield* database
          const quiet = yield* serve({
            DATA_DIR: yield* temporaryFolder,
            ...own,
            LOG_FORMAT: "json",
            LOG_LEVEL: "error"
          })
          yield* quiet.call("GET", "/health")
          yield* quiet.kill("SIGTERM")
          const { code, stdout } = yield* quiet.finished
          assert.strictEqual(code, 0)
          assert.strictEqual(stdout, "")
        }),
      timeout
    )
  })

  describe("after a stop signal", () => {
    it.scoped.each(["SIGTERM", "SIGINT"] as const)(
      "%s: begins no turns, completes running turns, and exits",
      (signal) =>
        Effect.gen(function* () {
          const service = yield* serve({ ...(yield* database), ...(yield* modelled) })
          const model = yield* ModelServer
          const goOn = yield* Deferred.make<void>()
          const script = [say("One "), wait(Deferred.await(goOn)), say("two.")]
          yield* model.enqueue(script, script)
          const stream = yield* chatStream(service, "Count")
          const answer = yield* Effect.fork(chat(service, "Count", { user: 2 }))
          yield* stream.until("One ")
          yield* model.until(({ open }) => open === 2)

          yield* service.kill(signal)
          const ready = yield* until(service.call("GET", "/ready"), ({ status }) => status !== 200)
          assert.strictEqual(ready.status, 503)
          const refused = yield* chat(service, "Another", { user: 3 })
          assert.strictEqual(refused.status, 503)
          assert.strictEqual(refused.body["code"], "unavailable")
          assert.match(refused.headers.get("retry-after") ?? "", /^\d+$/)
          const refusedStream = yield* service.call("POST", "/api/3/chat/stream", { user: 3, body: { message: "Hm" } })
          assert.strictEqual(refusedStream.status, 503)
          assert.strictEqual((yield* service.call("GET", "/api/1/conversations")).status, 200)

          yield* Deferred.succeed(goOn, undefined)
          const events = eventsOf(yield* stream.all)
          assert.strictEqual(events.map(({ content = "" }) => content).join(""), "One two.")
          assert.deepInclude(events.at(-1), { done: true, tool_calls: null })
          assert.isDefined(events.at(-1)?.["message_id"])
          const { body, status } = yield* answer
          assert.strictEqual(status, 200)
          assert.strictEqual(body["assistant_message"], "One two.")
          const { code, stderr } = yield* service.finished
          assert.strictEqual(code, 0, stderr)
          assert.deepStrictEqual(complaints(stderr), [])
          const error = yield* Effect.flip(Effect.tryPromise(() => fetch(`${service.url}/health`)))
          assert.include(String(error.error), "fetch failed")
        }),
      timeout
    )

    it.scoped.each([
      ["in its time", "0 seconds"],
      ["before it is told a second time", "10 minutes"]
    ] as const)(
      "records turns that do not end %s as interrupted, and tells their readers",
      ([, grace]) =>
        Effect.gen(function* () {
          const environment = { ...(yield* database), ...(yield* modelled), SHUTDOWN_GRACE: grace }
          const service = yield* serve(environment)
          const model = yield* ModelServer
          const script = [say("One "), wait(Effect.never)]
          yield* model.enqueue(script, script)
          const stream = yield* chatStream(service, "Count")
          const answer = yield* Effect.fork(chat(service, "Count", { user: 2 }))
          yield* stream.until("One ")
          yield* model.until(({ open }) => open === 2)
          yield* service.kill("SIGTERM")
          if (grace !== "0 seconds") {
            yield* until(service.call("GET", "/ready"), ({ status }) => status === 503)
            yield* service.kill("SIGTERM")
          }
          const events = eventsOf(yield* stream.all)
          assert.deepInclude(events.at(-1), { done: true, code: "turn_interrupted", tool_calls: null })
          const { body, headers, status } = yield* answer
          assert.strictEqual(status, 503)
          assert.strictEqual(body["code"], "turn_interrupted")
          assert.include(headers.get("content-type"), "application/problem+json")
          assert.strictEqual((yield* service.finished).code, 0)
          yield* model.until(({ open }) => open === 0)

          const next = yield* serve(environment)
          const turn = yield* next.call("GET", `/api/1/turns/${events[0]?.["turn_id"]}`)
          assert.deepInclude(turn.body, { status: "interrupted" })
          const messages = yield* next.call("GET", `/api/1/conversations/${events[0]?.["conversation_id"]}/messages`)
          assert.containSubset(messages.body, {
            messages: [
              { role: "user", content: "Count", status: "completed" },
              { role: "assistant", content: "One ", status: "interrupted" }
            ]
          })
        }),
      timeout
    )
  })

  describe("killed in the middle of a turn", () => {
    it.scoped(
      "loses no acknowledged data, and its conversation continues",
      () =>
        Effect.gen(function* () {
          const environment = { ...(yield* database), ...(yield* modelled) }
          const service = yield* serve(environment)
          const model = yield* ModelServer
          yield* model.enqueue(
            [call("create_task", { title: "Buy milk" })],
            [say("Added, and "), wait(Effect.never)],
            [say("Here again.")]
          )
          const stream = yield* chatStream(service, "Add buy milk")
          const [begun] = eventsOf(yield* stream.until("Added, and "))
          yield* service.kill("SIGKILL")
          assert.strictEqual((yield* service.finished).code, null)

          const next = yield* serve(environment)
          const turn = yield* until(
            next.call("GET", `/api/1/turns/${begun?.["turn_id"]}`),
            ({ body }) => body["status"] !== "running"
          )
          assert.deepInclude(turn.body, { status: "interrupted" })
          assert.containSubset(turn.body, {
            tool_calls: [{ tool: "create_task", result: { status: "success", task: { title: "Buy milk" } } }]
          })
          const tasks = yield* next.call("GET", "/api/1/tasks")
          assert.containSubset(tasks.body, { total: 1, tasks: [{ title: "Buy milk" }] })
          const again = yield* chat(next, "Are you there?", { conversation: begun?.["conversation_id"] })
          assert.strictEqual(again.status, 200, again.text)
          assert.strictEqual(again.body["assistant_message"], "Here again.")
          const messages = yield* next.call("GET", `/api/1/conversations/${begun?.["conversation_id"]}/messages`)
          assert.containSubset(messages.body, {
            messages: [
              { sequence_number: 1, role: "user", content: "Add buy milk" },
              { sequence_number: 2, role: "assistant", status: "interrupted" },
              { sequence_number: 3, role: "user", content: "Are you there?" },
              { sequence_number: 4, role: "assistant", content: "Here again.", status: "completed" }
            ]
          })
        }),
      timeout
    )
  })

  describe.skipIf(!isRealPostgres)("killed in the middle of an erasure", () => {
    it.scoped(
      "continues it at each next start, until all data of the user is erased",
      () =>
        Effect.gen(function* () {
          const environment: Environment = { ...(yield* database), ERASE_ENDPOINT: "on" }
          const client = yield* clientOf(environment)
          const rowsOf = (user: number) =>
            Effect.promise(async () => {
              const { rows } = await client.query(
                `SELECT (SELECT count(*) FROM conversations WHERE user_id = $1)::int + (SELECT count(*) FROM tasks WHERE user_id = $1)::int AS n`,
                [user]
              )
              return Number(rows[0].n)
            })
          const erase = (service: Service) => service.call("DELETE", "/api/7/data", { user: 7, body: { confirm: 7 } })

          let service = yield* serve(environment)
          yield* Effect.promise(() =>
            client.query(`
              INSERT INTO conversations (user_id, last_sequence_number, message_count)
              SELECT 7, 0, 0 FROM generate_series(1, 20000) UNION ALL SELECT 8, 0, 0`)
          )
          yield* Effect.promise(() =>
            client.query("INSERT INTO tasks (user_id, title) SELECT 7, 'Milk' FROM generate_series(1, 20000)")
          )
          assert.strictEqual((yield* erase(service)).status, 202)
          let left = 40_000
          for (let kills = 0; kills < 2; kills++) {
            const before = left
            left = yield* until(rowsOf(7), (rows) => rows < before)
            yield* service.kill("SIGKILL")
            yield* service.finished
            left = yield* rowsOf(7)
            assert.isAbove(left, 0, "it was killed too late")
            // As after 10 seconds, when another node may continue it.
            yield* Effect.promise(() => client.query("UPDATE erasures SET lease_until = now()"))
            service = yield* serve(environment)
            assert.strictEqual((yield* service.call("GET", "/api/7/tasks", { user: 7 })).status, 409)
            assert.strictEqual((yield* service.call("GET", "/api/8/tasks", { user: 8 })).status, 200)
          }
          yield* until(rowsOf(7), (rows) => rows === 0)
          yield* until(erase(service), ({ status }) => status === 204)
          assert.strictEqual(yield* rowsOf(8), 1)
        }),
      timeout
    )
  })

  describe("with a fallback model", () => {
    it.scoped(
      "logs at its start that conversations go to both services, and uses the fallback while the first model is away",
      () =>
        Effect.gen(function* () {
          const { OPENAI_BASE_URL } = yield* modelled
          const service = yield* serve({
            ...(yield* database),
            LOG_FORMAT: "json",
            MODEL_PROVIDER: "anthropic",
            ANTHROPIC_API_KEY: "sk-ant-1",
            ANTHROPIC_BASE_URL: "http://127.0.0.1:1",
            MODEL_FALLBACK: "chat-completions:llama3:8b",
            OPENAI_BASE_URL
          })
          const { body, status, text } = yield* chat(service, "Hello")
          assert.strictEqual(status, 200, text)
          const turn = yield* service.call("GET", `/api/1/turns/${body["turn_id"]}`)
          assert.strictEqual(turn.body["model"], "chat-completions:llama3:8b")
          const told = lines(service.stdout()).filter((line) =>
            line.includes("Conversations go to the services of both")
          )
          assert.deepInclude(JSON.parse(told.join()), {
            level: "info",
            model: "anthropic:claude-sonnet-4-5",
            fallback: "chat-completions:llama3:8b"
          })
        }),
      timeout
    )
  })

  describe("with a collector", () => {
    it.scoped(
      "exports spans with the request id, without texts of users",
      () =>
        Effect.gen(function* () {
          const received = new Map<string, string>()
          const { port } = yield* listening(
            createServer((request, response) => {
              const { headers, url = "" } = request
              received.set(url, `${received.get(url) ?? ""}api-key ${headers["api-key"]}`)
              request.setEncoding("utf8").on("data", (part: string) => {
                received.set(url, `${received.get(url) ?? ""}${part}`)
              })
              request.on("end", () => response.end("{}"))
            })
          )
          const service = yield* serve({
            ...(yield* database),
            LOG_FORMAT: "json",
            OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
            OTEL_EXPORTER_OTLP_HEADERS: "api-key=abc"
          })
          const headers = { "x-request-id": "the-request", cookie: "session=zyzzyva", "x-email": "zyzzyva@example.com" }
          const { text, status } = yield* chat(service, "add zyzzyva", { headers })
          assert.strictEqual(status, 200, text)
          assert.strictEqual((yield* service.call("GET", "/api/me/tasks/99")).status, 404)
          yield* until(
            Effect.sync(() => received.has("/v1/logs")),
            (has) => has
          )
          yield* service.kill("SIGTERM")
          assert.strictEqual((yield* service.finished).code, 0)
          const spans = received.get("/v1/traces") ?? ""
          assert.include(spans, "the-request")
          const names = ["POST /api/{user_id}/chat", "Chat.turn", "execute_tool create_task", "chat "]
          for (const name of names) assert.include(spans, `"name":"${name}`)
          // The spans of the turn, the model and the tool.
          const conversation = '{"key":"gen_ai.conversation.id","value":{"stringValue":"1"}}'
          for (const name of names.slice(1)) {
            const [span = ""] = spans.split(/(?="traceId":)/).filter((span) => span.includes(`"name":"${name}`))
            assert.include(span, conversation, name)
          }
          assert.notInclude(spans, '"code":2')
          assert.notMatch(spans, /http\.\w+\.header\.(?!content-(?:length|type)")/)
          // A span without a parent is followed by its name; one of a statement would have the kind 3.
          assert.notMatch(spans, /"spanId":"[^"]*","name":"[^"]*","kind":3/)
          for (const signal of ["traces", "metrics", "logs"]) {
            const sent = received.get(`/v1/${signal}`) ?? assert.fail(`no ${signal}`)
            for (const part of ["service.instance.id", "service.version", "api-key abc"]) assert.include(sent, part)
          }
          const { trace_id } = lines(service.stdout())
            .map((line) => JSON.parse(line))
            .find(({ request_id }) => request_id === "the-request")
          assert.include(spans, trace_id)
          assert.include(received.get("/v1/metrics"), "taskchat_turns_ended_total")
          const all = Array.from(received.values()).join("")
          assert.notInclude(all, "zyzzyva")
          assert.notInclude(all, yield* tokenOf(1))
        }),
      timeout
    )

    it.scoped(
      "works while the collector is away",
      () =>
        Effect.gen(function* () {
          const service = yield* serve({ ...(yield* database), OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" })
          assert.strictEqual((yield* chat(service, "add milk")).status, 200)
          yield* service.kill("SIGTERM")
          assert.strictEqual((yield* service.finished).code, 0)
        }),
      timeout
    )
  })

  describe.skipIf(!isRealPostgres)("on a PostgreSQL that ends its connections", () => {
    it.scoped(
      "refuses with a problem or works, and recovers",
      () =>
        Effect.gen(function* () {
          const environment = yield* database
          const service = yield* serve({ ...environment, RATE_LIMIT_CHAT: "100000", RATE_LIMIT_API: "100000" })
          const client = yield* clientOf(environment)
          const terminate = Effect.promise(() =>
            client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                          WHERE datname = current_database() AND pid <> pg_backend_pid()`)
          )
          const users = Array.from({ length: 8 }, (_, i) => i + 1)
          const answers = yield* Effect.fork(
            Effect.forEach(
              users,
              (user) =>
                Effect.all(
                  Array.from({ length: 12 }, (_, i) =>
                    i % 3 === 2
                      ? service.call("GET", `/api/${user}/tasks`, { user })
                      : chat(service, `add thing ${i}`, { user })
                  )
                ),
              { concurrency: "unbounded" }
            )
          )
          yield* Effect.repeat(terminate, Schedule.recurs(5).pipe(Schedule.addDelay(() => "150 millis")))
          const wrong = (yield* answers).flat().filter(({ status }) => status !== 200 && status !== 503)
          assert.deepStrictEqual(
            wrong.map(({ text }) => text),
            []
          )
          yield* until(service.call("GET", "/ready"), ({ status }) => status === 200)
          assert.strictEqual((yield* chat(service, "add milk")).status, 200)
        }),
      timeout
    )
  })
})
