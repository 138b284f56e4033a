import * as Fs from "node:fs"
import * as path from "node:path"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Either, Option, Redacted } from "effect"
import * as Settings from "../../src/Config.ts"
import * as SecretFiles from "../../src/server/SecretFiles.ts"
import { temporaryFolder } from "../support/Shell.ts"

const read = (variables: Readonly<Record<string, string>>) =>
  SecretFiles.provide(Settings.settings).pipe(
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables)))),
    Effect.either,
    Effect.map(Either.mapLeft(Settings.explain))
  )

const secret = "a secret of more than thirty-two bytes"

const secretIn = (settings: Settings.Settings) =>
  settings.auth.keys._tag === "secret" ? Redacted.value(settings.auth.keys.secret) : undefined

layer(NodeContext.layer)("a secret's file", (it) => {
  it.scoped("replaces its variable, through links, without the newline at its end", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const [file, link] = [path.join(folder, "secret"), path.join(folder, "link")]
      Fs.symlinkSync(file, link)
      for (const end of ["", "\n", "\r\n"]) {
        Fs.writeFileSync(file, secret + end, { mode: 0o644 })
        const settings = yield* Effect.flatten(read({ JWT_SECRET_FILE: link, JWT_SECRET: "", PORT: "1234" }))
        assert.deepStrictEqual([secretIn(settings), settings.server.port], [secret, 1234])
      }
      Fs.writeFileSync(file, "postgres://db/x\n")
      const { database } = yield* Effect.flatten(read({ DATABASE_URL_FILE: file }))
      assert.deepStrictEqual(Option.map(database.url, Redacted.value), Option.some("postgres://db/x"))
    })
  )

  it.scoped("is refused in one line if it cannot be read or if the variable is set too", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const [missing, large] = [path.join(folder, "missing"), path.join(folder, "large")]
      Fs.writeFileSync(large, "x".repeat(64 * 1024 + 1))
      for (const file of [missing, large, folder, "/dev/null"]) {
        const line = Either.getOrThrow(Either.flip(yield* read({ JWT_SECRET_FILE: file })))
        assert.match(line, /^JWT_SECRET_FILE is ".*", but should be a file [^\n]*$/)
      }
      const both = Either.getOrThrow(Either.flip(yield* read({ JWT_SECRET_FILE: large, JWT_SECRET: secret })))
      assert.match(both, /^JWT_SECRET_FILE is ".*", but should be unset where JWT_SECRET is set$/)
    })
  )

  it.scoped("is validated like its variable, and its content is not shown", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = path.join(folder, "secret")
      Fs.writeFileSync(file, "hush")
      const line = Either.getOrThrow(Either.flip(yield* read({ JWT_SECRET_FILE: file })))
      assert.match(line, /^JWT_SECRET .*32 bytes/)
      assert.notInclude(line, "hush")
    })
  )
})
