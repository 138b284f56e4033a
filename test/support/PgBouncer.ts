import { spawn, spawnSync } from "node:child_process"
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { setTimeout } from "node:timers/promises"
import { Effect, type Scope } from "effect"
import { account } from "./PostgresServer.ts"

const environment = { PATH: `${process.env["PATH"] ?? ""}${path.delimiter}/usr/sbin` }

/** True if this machine has PgBouncer. */
export const isInstalled = spawnSync("pgbouncer", ["--version"], { env: environment }).status === 0

/** A pool on `port` in front of the server at `url`, until the scope closes. */
export const make = (port: number, url: URL, mode: "session" | "transaction"): Effect.Effect<URL, never, Scope.Scope> =>
  Effect.gen(function* () {
    const user = account()
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(path.join(tmpdir(), "taskchat-pgbouncer-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const file = path.join(folder, "pgbouncer.ini")
    const settings = {
      listen_addr: "127.0.0.1",
      listen_port: port,
      unix_socket_dir: "",
      auth_type: "any",
      pool_mode: mode,
      ignore_startup_parameters: "statement_timeout,idle_in_transaction_session_timeout"
    }
    const server = `host=${url.hostname} port=${url.port} user=${url.username}`
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
    writeFileSync(file, ["[databases]", `* = ${server}`, "[pgbouncer]", ...lines, ""].join("\n"))
    for (const one of [folder, file]) {
      chmodSync(one, 0o700)
      if (user.uid !== undefined) chownSync(one, user.uid, user.gid)
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => spawn("pgbouncer", ["-q", file], { ...user, env: environment, stdio: "ignore" })),
      (child) => Effect.sync(() => void child.kill("SIGKILL"))
    )
    yield* Effect.promise(async () => {
      while (!(await answers(port))) await setTimeout(50)
    })
    const pooled = new URL(url)
    pooled.port = String(port)
    return pooled
  })

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy()
      resolve(true)
    })
    socket.on("error", () => resolve(false))
  })
