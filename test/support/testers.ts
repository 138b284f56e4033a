import { effect, it, live, prop, scoped, scopedLive } from "@effect/vitest"

// `layer` of @effect/vitest (0.30) overwrites the testers of `it`, which all files of a process share. Restore them
// before each file.
Object.assign(it, { effect, live, prop, scoped, scopedLive })
