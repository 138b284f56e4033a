import { Either, ParseResult, Predicate, type Schema } from "effect"
import { joined } from "./Bytes.ts"
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
 * The same as JSON, or that in UTF-8 if it has long lists, which are written piece by piece: to make one text of them and
 * bytes of that takes four times as long.
 */
export const encodeJson = <A, I>(schema: Schema.Schema<A, I>): ((value: A) => string | Uint8Array) => {
  const run = encoder(schema.ast, true)
  return (value) => {
    const pieces: Array<Uint8Array> = []
    const rest = write(run(value), (piece) => pieces.push(utf8.encode(piece)))
    if (pieces.length === 0) return rest
    pieces.push(utf8.encode(rest))
    return joined(pieces)
  }
}

const utf8 = new TextEncoder()

/** So many are some tens of kilobytes, which the engine has room for at hand. */
const pieceLength = 100

/** Text this long is cheaper as bytes of its own; shorter text goes out in one write with the headers. */
const longText = 16_384

/** Writes an object's long lists to `emit`, and returns what is left to be written. */
const write = (value: unknown, emit: (piece: string) => void): string => {
  if (!Predicate.isRecord(value) || !Object.values(value).some((member) => member instanceof Written || isLong(member)))
    return JSON.stringify(value)
  let text = ""
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue
    text += `${text === "" ? "{" : ","}${JSON.stringify(name)}:`
    if (member instanceof Written) {
      const { items } = member
      if (items.length < longText) {
        text += `[${items}]`
        continue
      }
      emit(`${text}[`)
      emit(items)
      text = "]"
      continue
    }
    if (!isLong(member)) {
      text += JSON.stringify(member)
      continue
    }
    for (let i = 0; i < member.length; i += pieceLength) {
      const piece = JSON.stringify(member.slice(i, i + pieceLength))
      emit(text + (i === 0 ? piece.slice(0, -1) : `,${piece.slice(1, -1)}`))
      text = ""
    }
    text = "]"
  }
  return `${text}}`
}

const isLong = (value: unknown): value is ReadonlyArray<unknown> => Array.isArray(value) && value.length > pieceLength
