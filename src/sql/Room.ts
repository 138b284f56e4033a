import { statfs } from "node:fs/promises"
import { Effect } from "effect"
import type { Room } from "../domain/Room.ts"

/** In bytes. With less free space, the embedded database soon fails to write. */
const minRoom = 1024 * 1024

/** True if a directory's disk has room, or if that is unknown. */
export const on = (directory: string): typeof Room.Service => ({
  isLeft: Effect.tryPromise(() => statfs(directory)).pipe(
    Effect.map(({ bavail, bsize }) => bavail * bsize >= minRoom),
    Effect.orElseSucceed(() => true)
  )
})
