/** @type {typeof import("../../src/runtime/StreamText.ts").make} */
export const make = (model) => model
