import { Effect } from "effect"

/** @type {typeof import("../../src/runtime/FiberState.ts").annotateLogs} */
export const annotateLogs = Effect.annotateLogs

/** @type {typeof import("../../src/runtime/FiberState.ts").annotateSpans} */
export const annotateSpans = Effect.annotateSpans

/** @type {typeof import("../../src/runtime/FiberState.ts").mapInputContext} */
export const mapInputContext = Effect.mapInputContext

/** @type {typeof import("../../src/runtime/FiberState.ts").provide} */
export const provide = Effect.provide

export const forget = Effect.void
