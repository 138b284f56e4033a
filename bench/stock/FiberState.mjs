import { Effect } from "effect"

/** @type {typeof import("../../src/runtime/FiberState.ts").annotateLogs} */
export const annotateLogs = Effect.annotateLogs

/** @type {typeof import("../../src/runtime/FiberState.ts").annotateSpans} */
export const annotateSpans = Effect.annotateSpans

export const forget = Effect.void
