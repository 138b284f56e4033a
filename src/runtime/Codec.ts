import { Array as Arr, Either, ParseResult, Predicate, type Schema } from "effect"
import { decoder, Refusal } from "./CodecDecoder.ts"
import { encoder, Written } from "./CodecEncoder.ts"

/**
 * Decodes and encodes thousands of values by a schema. Stands for `Schema.decodeUnknownEither` and `Schema.encodeSync`,
 * which record a trail for rare failures, and check the result of every transformation again. The same schema runs here
 * without both; unknown kinds of schema are left to `Schema`. Decoding stops at the first failure, which is the one that
 * `Schema` would report.
 * Saves: `npm run bench -- --only json,get --servers taskchat,stock-Codec`.
 * Delete when: that row shows less than 5 %.
 */
export const decodeUnknown = <A, I>(schema: Schema.Schema<A, I>) => {
  const run = decoder(schema.ast)
  return (input: unknown): Either.Either<A, ParseResult.ParseError> => {
    const decoded = run(input)
    return decoded instanceof Refusal
      ? Either.left(ParseResult.parseError(decoded.issueOf(input)))
      : // Safe: `run` takes nothing that the schema refuses, and makes of it what the schema makes of it.
        Either.right(decoded as A)
  }
}

/**
 * Encodes a value of the schema's type. Unlike `Schema`, this does not check the value again. Excess members are dropped.
 */
export const encode = <A, I>(schema: Schema.Schema<A, I>): ((value: A) => I) => {
  const run = encoder(schema.ast)
  // Safe: it encodes an `A` as the schema does.
  return (value) => run(value) as I
}

/**
 * The same as JSON, or that in UTF-8 if it is long. Long lists are written piece by piece, since it takes several times as
 * long to make one text of them, and the engine collects large texts only with its whole heap.
 */
export const encodeJson = <A, I>(schema: Schema.Schema<A, I>): ((value: A) => string | Uint8Array) => {
  const run = encoder(schema.ast, true)
  return (value) => {
    const texts = textsOf(run(value))
    const length = texts.reduce((sum, text) => sum + text.length, 0)
    return length < longText ? texts.join("") : encoded(texts)
  }
}

/** In characters. Shorter answers go out in one write with the headers. */
const longText = 16_384

/** Into one buffer: `joined` bytes of each text take a quarter longer. */
const encoded = (texts: ReadonlyArray<string>): Uint8Array => {
  const whole = Buffer.allocUnsafeSlow(texts.reduce((length, text) => length + Buffer.byteLength(text), 0))
  let at = 0
  for (const text of texts) at += whole.write(text, at)
  return whole
}

/** So many items are mostly less than the 128 KiB that make a text large for the engine. */
const pieceItems = 25

/** The JSON of a value, with its long lists in pieces. */
const textsOf = (value: unknown): ReadonlyArray<string> => {
  if (!Predicate.isRecord(value) || !Object.values(value).some((member) => member instanceof Written || isLong(member)))
    return [JSON.stringify(value)]
  const texts: Array<string> = []
  let before = "{"
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue
    texts.push(`${before}${JSON.stringify(name)}:`)
    before = ","
    if (member instanceof Written) texts.push(...inPieces(member.items, (items) => items.join()))
    else if (isLong(member)) texts.push(...inPieces(member, (items) => JSON.stringify(items).slice(1, -1)))
    else texts.push(JSON.stringify(member))
  }
  texts.push("}")
  return texts
}

const inPieces = <A>(items: ReadonlyArray<A>, write: (items: ReadonlyArray<A>) => string) => [
  "[",
  ...Arr.chunksOf(items, pieceItems).flatMap((piece, i) => [i === 0 ? "" : ",", write(piece)]),
  "]"
]

const isLong = (value: unknown): value is ReadonlyArray<unknown> => Array.isArray(value) && value.length > pieceItems
