import { Schema } from "effect"
import { Cursor, type cursorOf } from "../domain/Cursor.ts"

/** Decimal digits only: other forms that `Number` accepts (`1e3`, `0x10`, ` 7`, `+7`) are refused. */
export const integer = (min: number, max: number, jsonSchema: object = {}) =>
  Schema.String.pipe(
    Schema.filter((text) => {
      const n = Number(text)
      return (/^[0-9]{1,16}$/.test(text) && n >= min && n <= max) || `must be an integer from ${min} to ${max}`
    }),
    Schema.annotations({ jsonSchema: { type: "integer", minimum: min, maximum: max, ...jsonSchema } }),
    Schema.transform(Schema.Int, { strict: true, decode: Number, encode: String })
  )

/** The most rows on a page. */
export const limit = (max: number, byDefault: number) =>
  Schema.optional(integer(1, max, { default: byDefault, description: "The most items on a page" }))

/** The number of rows in the list. */
export const total = (description: string) =>
  Schema.Int.annotations({ description, jsonSchema: { type: "integer", minimum: 0, description, examples: [1] } })

/** The page; the first one when absent. */
export const cursor = Schema.optional(Cursor)

/** The cursor of the next page. */
export const nextCursorOf = (cursor: ReturnType<typeof cursorOf>) =>
  Schema.NullOr(cursor)
    .annotations({ description: "Send it as `cursor` to get the next page; null on the last page" })
    .pipe(Schema.propertySignature, Schema.fromKey("next_cursor"))

export const nextCursor = nextCursorOf(Cursor)
