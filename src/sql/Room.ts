import { statfs } from "node:fs/promises"
import { Effect } from "effect"
import type { Room } from "../domain/Room.ts"

/** Bytes; with less, the embedded database soon fails to write. */
const minRoom = 1024 * 1024

/** Whether a directory's disk has room; if this is unknown, it has. */
export const on = (directory: string): typeof Room.Service => ({
  isLeft: Effect.tryPromise(() => statfs(directory)).pipe(
    Effect.map(({ bavail, bsize }) => bavail * bsize >= minRoom),
    Effect.orElseSucceed(() => true)
  )
})
