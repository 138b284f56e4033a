import { Option, Schema, SchemaAST } from "effect"

/** Names a member in JSON where TypeScript calls it something else: `turnId: TurnId.pipe(key("turn_id"))`. */
export const key =
  <const Key extends string>(name: Key) =>
  <A, I, R>(schema: Schema.Schema<A, I, R>) =>
    Schema.propertySignature(schema)
      .pipe(Schema.fromKey(name))
      // Else the docs describe what the value is in TypeScript.
      .annotations(
        Option.match(SchemaAST.getDescriptionAnnotation(schema.ast), {
          onNone: () => ({}),
          onSome: (description) => ({ description })
        })
      )

/** RFC 3339 in UTC with `Z` and milliseconds. */
export const Time = Schema.DateTimeUtc.annotations({
  identifier: "Time",
  description: "RFC 3339, in UTC",
  jsonSchema: {
    type: "string",
    format: "date-time",
    description: "RFC 3339, in UTC",
    examples: ["2026-01-31T12:00:00.000Z"]
  }
})

/** PostgreSQL's `text` and `jsonb` cannot hold NUL, and UTF-8 has no lone surrogates. */
export const storable = (text: string) => text.toWellFormed().replaceAll("\0", "")

const controls = /(?![\t\n])\p{Cc}/gu

/** What people type, as it is kept: NFC, no control characters but tab and newline, trimmed. */
export const normalize = (text: string) => text.toWellFormed().normalize("NFC").replace(controls, "").trim()

/** Length in code points, which is how limits count. */
export const length = (text: string) => {
  let n = text.length
  for (let i = 0; i < text.length - 1; i++) {
    if ((text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) n--
  }
  return n
}

/** Text that is normalised first and then has `min` to `max` code points. */
export const text = (min: number, max: number, identifier: string, example: string) =>
  Schema.String.pipe(
    Schema.annotations({ jsonSchema: { type: "string", minLength: min, maxLength: max, examples: [example] } }),
    Schema.transform(
      Schema.String.pipe(
        Schema.filter((s) => {
          const n = length(s)
          return (n >= min && n <= max) || `must have ${min} to ${max} characters`
        })
      ),
      { strict: true, decode: normalize, encode: (s) => s }
    ),
    Schema.annotations({ identifier, description: `${min} to ${max} characters; control characters are removed` })
  )
