import { Effect } from "effect"

/** @type {typeof import("../../src/runtime/Span.ts").withSpan} */
export const withSpan = Effect.withSpan

/** @type {typeof import("../../src/runtime/Span.ts").fn} */
export const fn = Effect.fn
