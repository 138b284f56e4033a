import { statfs } from "node:fs/promises"
import { Effect } from "effect"
import type { Room } from "../domain/Room.ts"

/** Bytes: with less, the embedded database refuses to write sooner or later. */
const minRoom = 1024 * 1024

/** The room on a directory's disk; where that cannot be told, there is some. */
export const on = (directory: string): typeof Room.Service => ({
  isLeft: Effect.tryPromise(() => statfs(directory)).pipe(
    Effect.map(({ bavail, bsize }) => bavail * bsize >= minRoom),
    Effect.orElseSucceed(() => true)
  )
})
