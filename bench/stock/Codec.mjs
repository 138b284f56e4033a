import { Schema } from "effect"

/** @type {typeof import("../../src/runtime/Codec.ts").decodeUnknown} */
export const decodeUnknown = (schema) => Schema.decodeUnknownEither(schema)

/** @type {typeof import("../../src/runtime/Codec.ts").encode} */
export const encode = (schema) => Schema.encodeSync(schema)

/** @type {typeof import("../../src/runtime/Codec.ts").encodeJson} */
export const encodeJson = (schema) => {
  const run = Schema.encodeSync(schema)
  return (value) => JSON.stringify(run(value))
}
