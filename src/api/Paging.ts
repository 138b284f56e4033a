import { Schema } from "effect"
import { Cursor, type cursorOf } from "../domain/Cursor.ts"

/** In decimal digits only: what `Number` would take besides (`1e3`, `0x10`, ` 7`, `+7`) is refused. */
export const integer = (min: number, max: number, jsonSchema: object = {}) =>
  Schema.String.pipe(
    Schema.filter((text) => {
      const n = Number(text)
      return (/^[0-9]{1,16}$/.test(text) && n >= min && n <= max) || `must be an integer from ${min} to ${max}`
    }),
    Schema.annotations({ jsonSchema: { type: "integer", minimum: min, maximum: max, ...jsonSchema } }),
    Schema.transform(Schema.Int, { strict: true, decode: Number, encode: String })
  )

/** How many rows a page of a list has at most. */
export const limit = (max: number, byDefault: number) =>
  Schema.optional(integer(1, max, { default: byDefault, description: "How many there are on a page, at most" }))

/** How many rows the list has. */
export const total = (description: string) =>
  Schema.Int.annotations({ description, jsonSchema: { type: "integer", minimum: 0, description, examples: [1] } })

/** Which page: the first one when absent. */
export const cursor = Schema.optional(Cursor)

/** The cursor of the next page. */
export const nextCursorOf = (cursor: ReturnType<typeof cursorOf>) =>
  Schema.NullOr(cursor)
    .annotations({ description: "Give it as `cursor` for the next page; null on the last one" })
    .pipe(Schema.propertySignature, Schema.fromKey("next_cursor"))

export const nextCursor = nextCursorOf(Cursor)
