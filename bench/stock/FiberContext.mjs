import { Effect } from "effect"

/** @type {typeof import("../../src/runtime/FiberContext.ts").mapInputContext} */
export const mapInputContext = Effect.mapInputContext

/** @type {typeof import("../../src/runtime/FiberContext.ts").provideService} */
export const provideService = Effect.provideService
