import { Effect } from "effect"

export { end, parentOf } from "../../dist/runtime/Span.js"

/** @type {typeof import("../../src/runtime/Span.ts").withSpan} */
export const withSpan = Effect.withSpan

/** @type {typeof import("../../src/runtime/Span.ts").fn} */
export const fn = Effect.fn

/** @type {typeof import("../../src/runtime/Span.ts").make} */
export const make = Effect.makeSpan

/** @type {typeof import("../../src/runtime/Span.ts").useSpan} */
export const useSpan =
  (name, options = {}) =>
  (effect) =>
    Effect.useSpan(name, options, () => effect)

/** @type {typeof import("../../src/runtime/Span.ts").annotate} */
export const annotate = (attributes) => (effect) => Effect.zipRight(Effect.annotateCurrentSpan(attributes), effect)
