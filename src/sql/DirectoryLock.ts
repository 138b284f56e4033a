import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { Data, Effect, Predicate, type Scope } from "effect"
import { makeDirectory } from "./MakeDirectory.ts"

/** Another process has the directory open. */
export class DirectoryInUse extends Data.TaggedError("DirectoryInUse")<{
  readonly directory: string
  /** The other process's id, as it reports it. */
  readonly holder: string
}> {
  override get message() {
    return `${this.directory} is in use by process ${this.holder}; only one process at a time can open it`
  }
}

/** The directory cannot be created or written. */
export class DirectoryUnusable extends Data.TaggedError("DirectoryUnusable")<{
  readonly directory: string
  readonly cause: unknown
}> {
  override get message() {
    const why = Predicate.hasProperty(this.cause, "message") ? this.cause.message : this.cause
    return `${this.directory} cannot be used as DATA_DIR: ${typeof why === "string" ? why : "it cannot be read or written"}`
  }
}

/**
 * Creates a private directory (0700) and locks it for this process until the scope closes. The lock is a listening
 * socket in the directory. The kernel closes it even if the process is killed. A pid file could make a dead process
 * look alive.
 */
export const acquire = (directory: string): Effect.Effect<void, DirectoryInUse | DirectoryUnusable, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => lock(Path.resolve(directory)),
      catch: (cause) => (cause instanceof DirectoryInUse ? cause : new DirectoryUnusable({ directory, cause }))
    }),
    (release) => Effect.promise(release)
  )

/**
 * A dead socket is not removed, because another process may just have replaced it. The next number is used instead.
 * Each process first listens and then looks for others. So with any timing, at least one of two processes sees the
 * other and gives up.
 */
const lock = async (directory: string): Promise<() => Promise<void>> => {
  await makeDirectory(directory)
  // The path may be a file, which must not be changed.
  const handle = await Fs.promises.open(directory, Fs.constants.O_RDONLY | (Fs.constants.O_DIRECTORY ?? 0))
  const addressOf = addressesIn(directory, handle.fd)
  try {
    await handle.chmod(0o700)
    for (let attempt = 0; attempt < 20; attempt++) {
      const before = await numbersIn(directory)
      for (const number of before) {
        const holder = await ask(addressOf(number))
        if (holder !== undefined) throw new DirectoryInUse({ directory, holder })
      }
      const mine = before.length === 0 || isWindows ? 0 : Math.max(...before) + 1
      const server = await listen(addressOf(mine))
      if (server === undefined) continue
      const others = (await numbersIn(directory)).filter((number) => number !== mine)
      const living = await Promise.all(others.map((number) => ask(addressOf(number))))
      if (others.every((number, i) => number < mine && living[i] === undefined)) {
        for (const number of others) await Fs.promises.rm(addressOf(number), { force: true })
        return async () => {
          await new Promise((resolve) => server.close(resolve)) // removes the socket too
          await handle.close()
        }
      }
      await new Promise((resolve) => server.close(resolve))
      await pause(Math.random() * 200)
    }
    throw new DirectoryInUse({ directory, holder: "unknown" })
  } catch (error) {
    await handle.close()
    throw error
  }
}

const isWindows = process.platform === "win32"

/** The sockets in the directory, dead or alive. Windows' pipes cannot be listed, and none outlives its process. */
const numbersIn = async (directory: string): Promise<ReadonlyArray<number>> => {
  if (isWindows) return [0]
  const names = await Fs.promises.readdir(directory)
  return names.flatMap((name) => {
    const [, number] = /^lock(?:\.(\d+))?$/.exec(name) ?? [undefined, undefined]
    return name === "lock" ? [0] : number === undefined ? [] : [Number(number)]
  })
}

/** The path of a socket is limited to about 100 bytes, and the path of a directory may be longer. */
const addressesIn = (directory: string, fd: number) => (number: number) => {
  if (isWindows) {
    return `\\\\.\\pipe\\taskchat-${Crypto.createHash("sha256").update(directory).digest("hex").slice(0, 32)}`
  }
  const name = number === 0 ? "lock" : `lock.${number}`
  if (process.platform === "linux") return `/proc/self/fd/${fd}/${name}`
  const absolute = Path.join(directory, name)
  const relative = Path.relative(process.cwd(), absolute)
  return relative.length < absolute.length ? relative : absolute
}

const listen = (address: string) =>
  new Promise<Net.Server | undefined>((resolve, reject) => {
    const server = Net.createServer((socket) => {
      socket.on("error", () => {}) // the other process may close early
      socket.end(String(process.pid))
    })
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(undefined) : reject(error)
    )
    server.listen(address, () => resolve(server.unref()))
  })

/** The holder's process id, `undefined` without an answer. It asks twice, because a socket exists before it listens. */
const ask = async (address: string): Promise<string | undefined> => {
  const once = () =>
    new Promise<string | undefined>((resolve) => {
      let answer = ""
      const socket = Net.connect(address)
      socket.setEncoding("utf8").setTimeout(2_000, () => socket.destroy(new Error("no answer")))
      socket.on("data", (part: string) => {
        answer += part
      })
      // A holder that is too busy to answer, or stopped, still has the lock.
      socket.on("end", () => resolve(answer || "unknown"))
      socket.on("error", (error: NodeJS.ErrnoException) =>
        resolve(error.code === "ECONNREFUSED" || error.code === "ENOENT" ? undefined : "unknown")
      )
    })
  return (await once()) ?? (await pause().then(once))
}

const pause = (millis = 100) => new Promise((resolve) => setTimeout(resolve, millis))
