import { execFileSync, spawnSync } from "node:child_process"
import { chmodSync, chownSync, copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { Effect, type Scope } from "effect"

/** A PostgreSQL server that a test can stop. */
export interface PostgresServer {
  readonly url: string
  /** Kills it at once. */
  readonly crash: Effect.Effect<void>
  readonly start: Effect.Effect<void>
}

/** On Debian, the programs of the server are not in the path. */
const debian = "/usr/lib/postgresql"
const versions = existsSync(debian) ? readdirSync(debian).map((version) => path.join(debian, version, "bin")) : []
const folders = [...(process.env["PATH"] ?? "").split(path.delimiter), ...versions]
const programs = folders.find((folder) => existsSync(path.join(folder, "initdb")))

/** The server refuses to run as root, so it uses the user of its package. */
export const account = () => {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }))
  return { uid: id("-u"), gid: id("-g") }
}
const hasAccount = () => process.getuid?.() !== 0 || spawnSync("id", ["postgres"]).status === 0

/** True if this machine has the programs of the server. */
export const isInstalled = programs !== undefined && hasAccount()

interface Tls {
  readonly cert: string
  readonly key: string
}

/** A new empty server on `port`, until the scope closes. */
export const make = (port: number, tls?: Tls): Effect.Effect<PostgresServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const user = account()
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(path.join(tmpdir(), "taskchat-postgres-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const run = (program: string, ...args: ReadonlyArray<string>) =>
      Effect.sync(() => {
        execFileSync(path.join(programs ?? "", program), ["-D", path.join(folder, "data"), ...args], {
          ...user,
          cwd: folder,
          stdio: ["ignore", "ignore", "inherit"]
        })
      })
    const control = (...args: ReadonlyArray<string>) => run("pg_ctl", "-s", "-w", ...args)
    if (user.uid !== undefined) chownSync(folder, user.uid, user.gid)
    yield* run("initdb", "--auth=trust", "--username=taskchat", "--no-sync", "--encoding=UTF8", "--locale=C")
    for (const [from, name] of tls === undefined
      ? []
      : ([
          [tls.cert, "server.crt"],
          [tls.key, "server.key"]
        ] as const)) {
      const to = path.join(folder, "data", name)
      copyFileSync(from, to)
      chmodSync(to, 0o600)
      if (user.uid !== undefined) chownSync(to, user.uid, user.gid)
    }
    // No fsync: data in the page cache survives a killed process.
    const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c ssl=${tls === undefined ? "off" : "on"}`
    const start = control("-l", path.join(folder, "log"), "-o", settings, "start")
    yield* Effect.acquireRelease(start, () => Effect.ignore(control("-m", "immediate", "stop")))
    return {
      url: `postgres://taskchat@127.0.0.1:${port}/postgres`,
      crash: control("-m", "immediate", "stop"),
      start
    }
  })
