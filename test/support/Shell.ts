import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { setTimeout } from "node:timers/promises"
import { Effect, type Scope } from "effect"

interface Outcome {
  /** The exit code of the first failed command, else 0. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** One bash process until the scope closes. Scripts share variables. A failing command ends it. */
export interface Shell {
  readonly run: (script: string) => Effect.Effect<Outcome>
}

const ended = "the shell has ended with an earlier script"

/** A temporary folder, removed when the scope closes. */
export const temporaryFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(path.join(tmpdir(), "taskchat-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
)

const signal = (group: number, name: NodeJS.Signals | 0) => {
  try {
    return process.kill(-group, name)
  } catch {
    return false // nobody is left
  }
}

/** Ends the process group of `leader`, even if `leader` has exited. Kills it after ten seconds. */
const stop = (leader: ChildProcess) =>
  Effect.promise(async () => {
    if (leader.pid === undefined) return
    signal(leader.pid, "SIGTERM")
    // The limit is for zombies, which a container without an init process never removes.
    for (let tries = 0; tries < 120 && signal(leader.pid, 0); tries++) {
      if (tries === 100) signal(leader.pid, "SIGKILL")
      await setTimeout(100)
    }
  })

export const make = (options: {
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
}): Effect.Effect<Shell, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scratch = yield* temporaryFolder
    const bash = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail"], {
          cwd: options.folder,
          env: { ...options.environment },
          stdio: ["pipe", "pipe", "inherit"],
          detached: true
        })
      ),
      stop
    )
    let scripts = 0
    return {
      run: (script) =>
        Effect.async<Outcome>((resume) => {
          if (bash.exitCode !== null) return resume(Effect.succeed({ code: bash.exitCode, stdout: "", stderr: ended }))
          const base = path.join(scratch, String(++scripts))
          writeFileSync(`${base}.sh`, `${script}\n`)
          const read = (code: number) =>
            resume(
              Effect.sync(() => ({
                code,
                stdout: readFileSync(`${base}.out`, "utf8"),
                stderr: readFileSync(`${base}.err`, "utf8")
              }))
            )
          const onDone = () => {
            bash.off("exit", onExit)
            read(0)
          }
          const onExit = (code: number | null) => {
            bash.stdout.off("data", onDone)
            read(code ?? 1)
          }
          bash.stdout.once("data", onDone)
          bash.once("exit", onExit)
          bash.stdin.write(`{ . '${base}.sh'; } >'${base}.out' 2>'${base}.err' </dev/null; echo\n`)
        })
    }
  })
