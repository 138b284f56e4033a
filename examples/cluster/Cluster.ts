import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { chmod } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Schedule, type Scope } from "effect"

export interface Options {
  /** The nodes' environment: `DATABASE_URL`, `JWT_SECRET` and whatever else they shall have. */
  readonly environment: Readonly<Record<string, string>>
  /** One for each node. */
  readonly ports: readonly [number, number, number]
  /** Where nginx listens. */
  readonly port: number
}

/** A process of the service, which may end and be started again on the same port. */
export interface Node {
  readonly url: string
  /** Starts it and waits until it is ready. */
  readonly start: Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Waits for its end; the exit code, or `null` after a signal that it did not handle. */
  readonly exit: Effect.Effect<number | null>
  /** What it has logged. */
  readonly log: Effect.Effect<string>
}

export interface Cluster {
  readonly nodes: readonly [Node, Node, Node]
  /** Of nginx, in front of them. */
  readonly url: string
  /** With the nodes' logs and nginx' files. */
  readonly folder: string
}

const root = fileURLToPath(new URL("../..", import.meta.url))
const program = path.join(root, "dist/bin/main.js")
const configuration = fileURLToPath(new URL("nginx.conf", import.meta.url))

/** Three nodes of the built service and nginx in front, all ready. They end with the scope. */
export const make = (options: Options): Effect.Effect<Cluster, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const [a, b, c] = options.ports
    const node = (port: number) => makeNode(port, path.join(folder, `${port}.log`), options.environment)
    const nodes = [yield* node(a), yield* node(b), yield* node(c)] as const
    yield* Effect.forEach(nodes, ({ start }) => start, { concurrency: "unbounded", discard: true })
    yield* nginx(options, folder)
    const url = `http://127.0.0.1:${options.port}`
    yield* until(`${url}/ready`, () => undefined)
    return { nodes, url, folder }
  })

/** Where nobody listens now. */
export const freePort = Effect.async<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "taskchat-cluster-"))
    await chmod(folder, 0o755) // nginx may work under another user than it was started by
    return folder
  }),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const makeNode = (port: number, logFile: string, environment: Options["environment"]) =>
  Effect.gen(function* () {
    const url = `http://127.0.0.1:${port}`
    const log = Effect.sync(() => readFileSync(logFile, "utf8"))
    let child: ChildProcess | undefined
    yield* Effect.addFinalizer(() => Effect.suspend(() => stop(child, "SIGKILL")))
    return {
      url,
      log,
      start: Effect.gen(function* () {
        const started = launch(process.execPath, [program, "serve"], logFile, {
          ...environment,
          HOST: "127.0.0.1",
          PORT: String(port)
        })
        child = started
        yield* until(`${url}/ready`, () =>
          hasEnded(started) ? `A node ended:\n${readFileSync(logFile, "utf8").slice(-2000)}` : undefined
        )
      }),
      signal: (signal) => Effect.sync(() => void child?.kill(signal)),
      exit: Effect.suspend(() => exitOf(child))
    } satisfies Node
  })

const nginx = ({ port, ports }: Options, folder: string) =>
  Effect.gen(function* () {
    const file = path.join(folder, "nginx.conf")
    const numbers = new Map([8080, 3001, 3002, 3003].map((known, i) => [String(known), [port, ...ports][i]] as const))
    const text = readFileSync(configuration, "utf8").replace(/(?<=127\.0\.0\.1:)\d+/g, (known) =>
      String(numbers.get(known))
    )
    writeFileSync(file, text)
    const log = path.join(folder, "nginx.log")
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        launch("nginx", ["-p", folder, "-c", file, "-e", "stderr", "-g", "daemon off;"], log, {
          PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin`
        })
      ),
      (child) => stop(child, "SIGTERM")
    )
  })

/** A process that writes to a file, and does not outlive this one. */
const launch = (
  command: string,
  args: ReadonlyArray<string>,
  logFile: string,
  env: Readonly<Record<string, string>>
) => {
  const output = openSync(logFile, "a")
  const child = spawn(command, args, { env, stdio: ["ignore", output, output] })
  closeSync(output)
  const kill = () => child.kill("SIGKILL")
  process.once("exit", kill)
  child.once("exit", () => process.off("exit", kill))
  return child
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const exitOf = (child: ChildProcess | undefined) =>
  Effect.async<number | null>((resume) => {
    if (child === undefined || hasEnded(child)) return resume(Effect.succeed(child?.exitCode ?? null))
    child.once("exit", (code) => resume(Effect.succeed(code)))
  })

const stop = (child: ChildProcess | undefined, signal: NodeJS.Signals) =>
  Effect.suspend(() => {
    if (child === undefined || hasEnded(child)) return Effect.void
    child.kill("SIGCONT")
    child.kill(signal)
    return Effect.asVoid(exitOf(child))
  })

/** Waits until `url` answers 200; dies if there is a reason why it never will. */
const until = (url: string, reason: () => string | undefined) =>
  Effect.promise((signal) =>
    fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(2000)]) })
      .then(({ ok }) => ok)
      .catch(() => false)
  ).pipe(
    Effect.tap((ok) => {
      const why = ok ? undefined : reason()
      return why === undefined ? Effect.void : Effect.dieMessage(why)
    }),
    Effect.repeat({ until: (ok) => ok, schedule: Schedule.spaced("100 millis") }),
    Effect.asVoid
  )
