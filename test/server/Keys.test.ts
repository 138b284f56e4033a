import { chmodSync, chownSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Either, Redacted } from "effect"
import * as Config from "../../src/Config.ts"
import * as Keys from "../../src/server/Keys.ts"
import { temporaryFolder } from "../support/Shell.ts"

const secretIn = (dataDir: string) =>
  Effect.gen(function* () {
    const settings = yield* Config.settings
    const { keys } = yield* Keys.options(settings)
    return "secret" in keys ? Redacted.value(keys.secret) : assert.fail("there is a secret")
  }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["DATA_DIR", dataDir]]), { pathDelim: "." })))

describe("the development secret", () => {
  it.scoped("is made once, readable only by its owner", () =>
    Effect.gen(function* () {
      const dataDir = path.join(yield* temporaryFolder, "data")
      const made = yield* Effect.all([secretIn(dataDir), secretIn(dataDir), secretIn(dataDir)], { concurrency: 3 })
      assert.deepStrictEqual(new Set(made), new Set([yield* secretIn(dataDir)]))
      assert.isAtLeast(made[0].length, 32)
      assert.strictEqual(statSync(path.join(dataDir, "jwt-secret")).mode & 0o777, 0o600)
      assert.strictEqual(statSync(dataDir).mode & 0o777, 0o700)
    })
  )

  it.scoped("is refused if it is too short, readable by others, or not a file, and the error names DATA_DIR", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const target = path.join(folder, "target")
      writeFileSync(target, "k".repeat(64), { mode: 0o600 })
      for (const [name, why, put] of [
        ["short", "fewer than 32 bytes", (file: string) => writeFileSync(file, "abc", { mode: 0o600 })],
        ["empty", "fewer than 32 bytes", (file: string) => writeFileSync(file, "", { mode: 0o600 })],
        ["link", "is a link", (file: string) => symlinkSync(target, file)],
        ["folder", "is not a file", (file: string) => mkdirSync(file)],
        [
          "open",
          "by others",
          (file: string) => {
            writeFileSync(file, "k".repeat(64))
            chmodSync(file, 0o644)
          }
        ]
      ] as const) {
        const dataDir = path.join(folder, name)
        mkdirSync(dataDir)
        put(path.join(dataDir, "jwt-secret"))
        const refused = yield* Effect.either(secretIn(dataDir))
        assert.isTrue(Either.isLeft(refused), name)
        assert.instanceOf(Either.isLeft(refused) && refused.left, Keys.SecretUnusable)
        const message = Either.isLeft(refused) ? refused.left.message : ""
        assert.match(message, /^DATA_DIR .*jwt-secret/)
        assert.include(message, why)
        assert.notInclude(message, "kkk")
        assert.notInclude(message, "\n")
      }
    })
  )

  it.scoped.skipIf(process.getuid?.() !== 0)("is refused if it belongs to another user", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryFolder
      const file = path.join(dataDir, "jwt-secret")
      writeFileSync(file, "k".repeat(64), { mode: 0o600 })
      assert.strictEqual(yield* secretIn(dataDir), "k".repeat(64))
      chownSync(file, 12_345, 12_345)
      const refused = yield* Effect.flip(secretIn(dataDir))
      assert.instanceOf(refused, Keys.SecretUnusable)
      assert.match(refused.message, /^DATA_DIR .*jwt-secret belongs to another user/)
    })
  )

  it.scoped("the error for an unusable DATA_DIR names it in one line, and no file is left", () =>
    Effect.gen(function* () {
      const file = path.join(yield* temporaryFolder, "file")
      writeFileSync(file, "")
      for (const dataDir of [
        file,
        path.join(file, "data"),
        "/proc/taskchat",
        "/proc/task/chat/data",
        "/dev/null/data"
      ]) {
        const refused = yield* Effect.either(secretIn(dataDir))
        assert.instanceOf(Either.isLeft(refused) && refused.left, Keys.DataDirUnusable)
        const message = Either.isLeft(refused) ? refused.left.message : ""
        assert.match(message, /^DATA_DIR is "[^"]+", but should be a directory that this user can write to: [^\n]+$/)
        assert.isFalse(existsSync(path.join(dataDir, "jwt-secret")))
      }
    })
  )
})
