import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { Room } from "../../src/domain/Room.ts"
import * as Sql from "../../src/sql/Sql.ts"
import * as Database from "../support/Database.ts"
import * as Server from "../support/Server.ts"
import { newUser, send } from "../support/Server.ts"
import { temporaryFolder } from "../support/Shell.ts"

/** A small file system of its own; `undefined` where none can be mounted. */
const smallDisk = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const mount = Effect.try(() =>
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=80m", "tmpfs", folder], { stdio: "ignore" })
  )
  const isMounted = yield* Effect.acquireRelease(Effect.isSuccess(mount), (isMounted) =>
    Effect.sync(() => {
      if (isMounted) execFileSync("umount", ["-l", folder])
    })
  )
  return isMounted ? folder : undefined
})

const fill = (folder: string) => {
  const file = Fs.openSync(path.join(folder, "filling"), "w")
  try {
    for (;;) Fs.writeSync(file, Buffer.alloc(64 * 1024))
  } catch {
    // It is full.
  } finally {
    Fs.closeSync(file)
  }
}

// To create a database takes seconds.
describe("a full disk", { timeout: 120_000 }, () => {
  it.scoped("makes the service not ready and refuses writes with 503 until there is space again", () =>
    Effect.gen(function* () {
      const folder = yield* smallDisk
      if (folder === undefined) return
      const database = Layer.orDie(Sql.layerEmbedded({ dataDir: path.join(folder, "data") }))
      yield* Effect.gen(function* () {
        const user = yield* newUser
        const create = send("POST", `/api/${user}/tasks`, {
          user,
          body: { title: "Milk", description: "x".repeat(1900) }
        })
        assert.strictEqual((yield* send("GET", "/ready")).status, 200)
        fill(folder)
        const { json, status } = yield* send("GET", "/ready")
        assert.deepStrictEqual([status, json["detail"]], [503, "The disk is full."])
        assert.strictEqual((yield* send("GET", "/health")).status, 200)
        // There may be room in the pages that there are.
        const refused = yield* Effect.repeat(create, { while: ({ status }) => status === 201, times: 200 })
        assert.deepStrictEqual([refused.status, refused.json["code"]], [503, "unavailable"])
        assert.strictEqual((yield* send("GET", `/api/${user}/tasks`, { user })).status, 200)
        Fs.rmSync(path.join(folder, "filling"))
        assert.strictEqual((yield* send("GET", "/ready")).status, 200)
        assert.strictEqual((yield* create).status, 201)
      }).pipe(Effect.provide(Server.layer({ database })))
    })
  )

  it.scoped("is reported with DATA_DIR when the service starts", () =>
    Effect.gen(function* () {
      const folder = yield* smallDisk
      if (folder === undefined) return
      fill(folder)
      const started = yield* Effect.exit(Layer.build(Sql.layerEmbedded({ dataDir: path.join(folder, "data") })))
      const told = Exit.isFailure(started) ? String(started.cause) : ""
      assert.include(told, `${path.join(folder, "data")} cannot be used as DATA_DIR: its disk is full`)
    })
  )

  it.scoped("is reported by the database's layer", () =>
    Effect.gen(function* () {
      const database = Layer.merge(Database.layer, Layer.succeed(Room, { isLeft: Effect.succeed(false) }))
      const { status } = yield* Effect.provide(send("GET", "/ready"), Server.layer({ database }))
      assert.strictEqual(status, 503)
    })
  )
})
