import { Either, Schema } from "effect"

/** @type {typeof import("../../src/runtime/Codec.ts").decodeUnknown} */
export const decodeUnknown = (schema) => Schema.decodeUnknownEither(schema)

/** @type {typeof import("../../src/runtime/Codec.ts").decodeInstances} */
export const decodeInstances = (type, row) => {
  const decode = Schema.decodeUnknownEither(Schema.Array(row))
  return (rows) => Either.map(decode(rows), (found) => found.map((fields) => new type(fields)))
}

/** @type {typeof import("../../src/runtime/Codec.ts").encode} */
export const encode = (schema) => Schema.encodeSync(schema)

/** @type {typeof import("../../src/runtime/Codec.ts").encodeJson} */
export const encodeJson = (schema) => {
  const run = Schema.encodeSync(schema)
  return (value) => JSON.stringify(run(value))
}
