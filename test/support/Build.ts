import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { Effect } from "effect"
import { root } from "./Repository.ts"

let built: Promise<unknown> | undefined

/** Builds `dist` once per process. Fast if nothing has changed. */
export const build = Effect.promise(() => {
  built ??= promisify(execFile)("npm", ["run", "--silent", "build"], { cwd: root })
  return built
})
