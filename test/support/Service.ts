import { type ChildProcess, spawn as spawnProcess } from "node:child_process"
import * as path from "node:path"
import { setTimeout } from "node:timers/promises"
import { Effect, Redacted, type Scope } from "effect"
import { UserId } from "../../src/domain/Id.ts"
import { Tokens } from "../../src/services/access/Tokens.ts"
import { build } from "./Build.ts"
import { root } from "./Repository.ts"
import { temporaryFolder } from "./Shell.ts"

type Environment = Readonly<Record<string, string>>

interface Finished {
  /** `null` when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A process of the built `taskchat`, in an empty folder, with only the given settings. */
interface Process {
  /** The output so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Only if the process is measured. */
  readonly eventLoop: Effect.Effect<EventLoop>
  readonly finished: Effect.Effect<Finished>
}

/** The load of a process's event loop since the last reading. */
export interface EventLoop {
  /** Milliseconds of CPU. */
  readonly cpu: number
  /** The longest delay of the loop in milliseconds, also from other load on the machine. */
  readonly blocked: number
}

/** A running service. */
export interface Service extends Process {
  readonly url: string
  /** A request of `user` with `body`, if any, as JSON. */
  readonly call: (method: string, path: string, options?: CallOptions) => Effect.Effect<Answer>
  /** The same as `call`, but streams the body. */
  readonly stream: (method: string, path: string, options?: CallOptions) => Effect.Effect<Reading>
}

export interface CallOptions {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Default: 1. */
  readonly user?: number
}

export type Json = Readonly<Record<string, unknown>>

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The parsed JSON body, empty if it is not JSON. */
  readonly body: Json
}

interface Reading {
  /** Waits until the text contains `part`. Fails if the stream ends first. */
  readonly until: (part: string) => Effect.Effect<string>
  /** Waits for the end of the stream and returns all of it. */
  readonly all: Effect.Effect<string>
}

/** The default JWT_SECRET. */
export const secret = "a-secret-that-is-for-tests-alone-and-long"

export const tokenOf = (user: number): Effect.Effect<string> =>
  Effect.flatMap(Tokens, (tokens) => tokens.issue(UserId.make(user), "1 hour")).pipe(
    Effect.provide(Tokens.layer({ keys: { secret: Redacted.make(secret) } })),
    Effect.orDie
  )

const built = path.join(root, "dist", "bin", "main.js")
const watch = path.join(root, "test", "support", "eventLoop.mjs")

/** Starts `taskchat …args`. Killed when the scope closes. */
const spawn = (
  args: ReadonlyArray<string>,
  environment: Environment = {},
  main: string = built,
  isWatched = false
): Effect.Effect<Process, never, Scope.Scope> =>
  Effect.gen(function* () {
    yield* build
    const folder = yield* temporaryFolder
    const { PATH = "" } = process.env
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawnProcess(process.execPath, [...(isWatched ? ["--import", watch] : []), main, ...args], {
          cwd: folder,
          // No load balancer needs the delay.
          env: { HOME: folder, PATH, SHUTDOWN_DELAY: "0 seconds", ...environment },
          stdio: ["ignore", "pipe", "pipe", isWatched ? "ipc" : "ignore"]
        })
      ),
      (child) =>
        Effect.promise(async () => {
          if (child.exitCode !== null || child.signalCode !== null) return
          const exit = new Promise((resolve) => child.once("exit", resolve))
          child.kill("SIGKILL")
          await exit
        })
    )
    const written = { stdout: textOf(child.stdout), stderr: textOf(child.stderr) }
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve))
    return {
      ...written,
      kill: (signal) => Effect.sync(() => void child.kill(signal)),
      eventLoop: Effect.promise(
        () =>
          new Promise((resolve) => {
            // Safe: `eventLoop.mjs` answers any message in this form.
            child.once("message", (answer) => resolve(answer as EventLoop))
            child.send("tell")
          })
      ),
      finished: Effect.map(
        Effect.promise(() => closed),
        (code) => ({ code, stdout: written.stdout(), stderr: written.stderr() })
      )
    }
  })

const textOf = (stream: ChildProcess["stdout"]) => {
  let text = ""
  stream?.setEncoding("utf8").on("data", (part: string) => {
    text += part
  })
  return () => text
}

/** Runs `taskchat …args` until it exits. */
export const run = (args: ReadonlyArray<string>, environment?: Environment): Effect.Effect<Finished> =>
  Effect.scoped(Effect.flatMap(spawn(args, environment), ({ finished }) => finished))

/** Starts the built service, or `main`, on a free port and waits until it listens. */
export const serve = (
  environment: Environment,
  main?: string,
  isWatched?: boolean
): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const service = yield* spawn(["serve"], { PORT: "0", ...environment }, main, isWatched)
    let end: Finished | undefined
    yield* Effect.forkScoped(
      Effect.map(service.finished, (finished) => {
        end = finished
      })
    )
    const url = yield* Effect.promise(async () => {
      for (;;) {
        const address = /http:\/\/127\.0\.0\.1:\d+/.exec(service.stdout() + service.stderr())?.[0]
        if (address !== undefined) return address
        if (end !== undefined) throw new Error(`It did not start:\n${end.stdout}${end.stderr}`)
        await setTimeout(50)
      }
    })
    const send = (method: string, path: string, { body, headers, user = 1 }: CallOptions = {}) =>
      Effect.flatMap(tokenOf(user), (token) =>
        Effect.promise(() =>
          fetch(`${url}${path}`, {
            method,
            headers: {
              authorization: `Bearer ${token}`,
              ...(body === undefined ? {} : { "content-type": "application/json" }),
              ...headers
            },
            ...(body === undefined ? {} : { body: JSON.stringify(body) })
          })
        )
      )
    return {
      ...service,
      url,
      call: (method, path, options) =>
        Effect.flatMap(send(method, path, options), (response) =>
          Effect.promise(async () => {
            const text = await response.text()
            const isJson = response.headers.get("content-type")?.includes("json") === true
            return {
              status: response.status,
              headers: response.headers,
              text,
              body: isJson ? JSON.parse(text) : {}
            }
          })
        ),
      stream: (method, path, options) => Effect.map(send(method, path, options), readingOf)
    }
  })

const readingOf = (response: Response): Reading => {
  let text = ""
  let wake: Array<() => void> = []
  const tell = () => {
    for (const resume of wake) resume()
    wake = []
  }
  let isOver = false
  const read = async () => {
    const decoder = new TextDecoder()
    for await (const bytes of response.body ?? []) {
      text += decoder.decode(bytes, { stream: true })
      tell()
    }
  }
  const over = read().finally(() => {
    isOver = true
    tell()
  })
  over.catch(() => {}) // whoever waits for the end is told
  return {
    until: (part) =>
      Effect.promise(async () => {
        while (!text.includes(part)) {
          if (isOver) throw new Error(`The stream has ended without ${part}:\n${text}`)
          await new Promise<void>((resolve) => wake.push(resolve))
        }
        return text
      }),
    all: Effect.promise(() => over.then(() => text))
  }
}

/** The `data` of each event of a stream. */
export const eventsOf = (text: string): ReadonlyArray<Json> =>
  Array.from(text.matchAll(/^data: ([^\n]*)$/gm), (match) => JSON.parse(match[1] ?? ""))

/** The lines of standard error without the progress lines of a slow start. */
export const complaints = (stderr: string): ReadonlyArray<string> =>
  stderr.split("\n").filter((line) => line !== "" && !line.endsWith(" …"))
