import { Either, Option, ParseResult, Schema, SchemaAST } from "effect"

/** Gives a member another name in JSON: `turnId: TurnId.pipe(key("turn_id"))`. */
export const key =
  <const Key extends string>(name: Key) =>
  <A, I, R>(schema: Schema.Schema<A, I, R>) =>
    Schema.propertySignature(schema)
      .pipe(Schema.fromKey(name))
      // Without this the document would describe the TypeScript type.
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

/** UTF-16 units allowed per character of a limit before normalising: NFC never shortens a text to less than a quarter. */
const unitsPerCharacter = 4

/** The limit of Unicode's Stream-Safe Text Format. NFC sorts each run, which takes time quadratic in its length. */
const maxMarks = 30

/** Text without visible characters: spaces, joiners, fillers and the like. */
const isInvisible = /^[\s\p{Default_Ignorable_Code_Point}\p{Cf}\u2800]*$/u

const tooManyMarks = new RegExp(`\\p{M}{${maxMarks + 1}}`, "u")

/**
 * Text from people as it is stored: NFC, no control characters but tab and newline, trimmed, `min` to `max` code points.
 * Left is the reason of a refusal. All text from outside passes here: its size is checked before it is normalised.
 */
export const readText = (given: string, min: number, max: number): Either.Either<string, string> => {
  const outside = Either.left(
    min === 0 ? `must have at most ${max} characters` : `must have ${min} to ${max} characters`
  )
  if (given.length > max * unitsPerCharacter) return outside
  const plain = given.toWellFormed().replace(controls, "")
  if (tooManyMarks.test(plain)) return Either.left(`must not have more than ${maxMarks} combining marks in a row`)
  const text = plain.normalize("NFC").trim()
  const n = length(text)
  const isBlank = min > 0 && isInvisible.test(text)
  return n >= min && n <= max && !isBlank ? Either.right(text) : outside
}

/** Length in code points, the unit of all limits. */
export const length = (text: string) => {
  let n = text.length
  for (let i = 0; i < text.length - 1; i++) {
    if ((text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) n--
  }
  return n
}

/** A schema of text that `readText` reads. */
export const text = (min: number, max: number, identifier: string, example: string) =>
  Schema.String.pipe(
    Schema.annotations({ jsonSchema: { type: "string", minLength: min, maxLength: max, examples: [example] } }),
    Schema.transformOrFail(Schema.String, {
      strict: true,
      decode: (given, _, ast) =>
        Either.mapLeft(readText(given, min, max), (why) => new ParseResult.Type(ast, undefined, why)),
      encode: Either.right
    }),
    Schema.annotations({ identifier, description: `${min} to ${max} characters; control characters are removed` })
  )

/** A list that is refused for its length before its items are decoded. */
export const list = <A, I>(item: Schema.Schema<A, I>, max: number, items: string) =>
  Schema.Array(Schema.encodedSchema(item)).pipe(
    Schema.maxItems(max, { message: () => `must have at most ${max} ${items}` }),
    Schema.compose(Schema.Array(item))
  )
