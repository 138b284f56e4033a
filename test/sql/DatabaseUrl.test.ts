import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import * as Os from "node:os"
import * as path from "node:path"
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as DatabaseUrl from "../../src/sql/DatabaseUrl.ts"
import * as Sql from "../../src/sql/Sql.ts"
import { freePort } from "../support/Ports.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import { run } from "../support/Service.ts"

describe("a database's URL", () => {
  const said: ReadonlyArray<readonly [string, object]> = [
    ["postgres://me:pass@db:5433/tasks", { host: "db", port: 5433, user: "me", password: "pass", database: "tasks" }],
    ["postgresql://me@db", { host: "db", user: "me" }],
    ["postgres://m%40e:p%23%2F%3F%40%25@db/t%20t", { host: "db", user: "m@e", password: "p#/?@%", database: "t t" }],
    ["postgres://[::1]:5433/tasks", { host: "::1", port: 5433, database: "tasks" }],
    [
      "postgres://me:p@/tasks?host=/run/postgresql",
      { host: "/run/postgresql", user: "me", password: "p", database: "tasks" }
    ],
    ["postgres:///tasks?host=/run/postgresql&port=5433", { host: "/run/postgresql", port: 5433, database: "tasks" }],
    ["postgres://%2Frun%2Fpostgresql/tasks", { host: "/run/postgresql", database: "tasks" }],
    ["postgres:///tasks", { database: "tasks" }],
    [
      "postgres://db/tasks?application_name=mine&options=-c%20search_path%3Dtasks&channel_binding=require",
      { host: "db", database: "tasks", application_name: "mine", options: "-c search_path=tasks" }
    ]
  ]

  it.each(said)("%s is read", (url, config) => {
    assert.deepStrictEqual(DatabaseUrl.read(url), { ...config, ssl: false })
  })
})

/** A certificate for `localhost` that nobody else has signed. */
const certificate = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(path.join(Os.tmpdir(), "taskchat-tls-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => {
    const [cert, key] = [path.join(folder, "server.crt"), path.join(folder, "server.key")]
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    execFileSync(
      "openssl",
      ["req", "-new", "-x509", "-nodes", "-days", "2", "-newkey", "rsa:2048", ...subject, "-keyout", key, "-out", cert],
      { stdio: "ignore" }
    )
    return { folder, cert, key }
  }
)

/** Whether the connection is encrypted, or why there is none. */
const connected = (url: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ readonly ssl: boolean }>`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`
    return row?.ssl
  }).pipe(
    Effect.provide(Layer.fresh(Sql.layer({ url: Redacted.make(url) }))),
    Effect.catchTag("SqlError", ({ cause }) => Effect.succeed(cause instanceof Error ? cause.message : String(cause)))
  )

describe.runIf(PostgresServer.isInstalled)("a server with a self-signed certificate", () => {
  it.scopedLive(
    "is accepted or refused as sslmode says",
    () =>
      Effect.gen(function* () {
        const { cert, folder, key } = yield* certificate
        const port = yield* freePort
        const { url } = yield* PostgresServer.make(port, { cert, key })
        const warnings: Array<string> = []
        const onWarning = (warning: Error) => void warnings.push(warning.message)
        yield* Effect.acquireRelease(
          Effect.sync(() => process.on("warning", onWarning)),
          () => Effect.sync(() => process.off("warning", onWarning))
        )
        const at = (host: string, parameters: string) => connected(`${url.replace("127.0.0.1", host)}?${parameters}`)

        assert.strictEqual(yield* at("localhost", "sslmode=disable"), false)
        assert.strictEqual(yield* at("localhost", "sslmode=require"), true)
        assert.strictEqual(yield* at("localhost", `sslmode=verify-full&sslrootcert=${cert}`), true)
        assert.strictEqual(yield* at("127.0.0.1", `sslmode=verify-ca&sslrootcert=${cert}`), true)
        assert.match(String(yield* at("127.0.0.1", `sslmode=verify-full&sslrootcert=${cert}`)), /does not match/)
        assert.match(String(yield* at("localhost", "sslmode=verify-full")), /^self-signed certificate$/)
        assert.match(String(yield* at("localhost", "sslmode=verify-ca")), /needs .* sslrootcert=FILE/)
        assert.match(String(yield* at("localhost", "sslmode=sometimes")), /sslmode should be one of disable, require/)
        const missing = path.join(folder, "missing.crt")
        assert.match(
          String(yield* at("localhost", `sslmode=require&sslrootcert=${missing}`)),
          /sslrootcert cannot be read/
        )
        const { code, stderr } = yield* run(["migrate"], {
          DATABASE_URL: `${url.replace("127.0.0.1", "localhost")}?sslmode=verify-full`
        })
        assert.strictEqual(code, 1)
        assert.match(stderr, /^DATABASE_URL cannot be used: self-signed certificate: add sslrootcert=FILE .*$/m)
        const other = yield* certificate
        writeFileSync(missing, "")
        assert.match(String(yield* at("localhost", `sslmode=require&sslrootcert=${other.cert}`)), /certificate/)
        assert.deepStrictEqual(warnings, [])
      }),
    120_000
  )
})
