import { effect, it, live, prop, scoped, scopedLive } from "@effect/vitest"

// `layer` of @effect/vitest writes its testers over those of the one `it` that all files of a process share. Each file
// begins with those that know of no layer. (0.30)
Object.assign(it, { effect, live, prop, scoped, scopedLive })
