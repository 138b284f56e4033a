import { SchemaAST as AST, DateTime, Either, identity, Option, ParseResult, Predicate, Schema } from "effect"
import { joined } from "./Bytes.ts"

/**
 * Decoding and encoding by a schema, for values that come by the thousand. Stands for `Schema.decodeUnknownEither` and
 * `Schema.encodeSync`, which keep the trail of a failure that hardly ever comes, and check what every transformation returns
 * once more. The same schema runs here without that; what is not known here or refused is left to `Schema`, which has the
 * last word and says why.
 * Saves: `npm run bench -- --only json,get --servers taskchat,stock-Codec`.
 * Delete when: that row shows less than 5 %.
 */
export const decodeUnknown = <A, I>(schema: Schema.Schema<A, I>) => {
  const quick = decoder(schema.ast)
  const thorough = Schema.decodeUnknownEither(schema)
  return (input: unknown): Either.Either<A, ParseResult.ParseError> => {
    const decoded = quick(input)
    // Safe: `quick` takes nothing that the schema refuses, and makes of it what the schema makes of it.
    return decoded === refused ? thorough(input) : Either.right(decoded as A)
  }
}

/**
 * As `decodeUnknown` of a list, into instances of a class. Its own constructor would look for defaults, of which a row needs
 * none, and that takes as long as all of the decoding.
 */
export const decodeInstances = <A extends Fields, Fields extends object, I>(
  type: { readonly prototype: A; new (fields: Fields): A },
  row: Schema.Schema<Fields, I>
) => {
  const decode = decodeUnknown(Schema.Array(row))
  const instance = (fields: Fields): A => Object.setPrototypeOf(fields, type.prototype)
  return (rows: unknown) => Either.map(decode(rows), (found) => found.map(instance))
}

/** Encodes a value that is what its type says: unlike `Schema`, this does not check it again. Excess members are dropped. */
export const encode = <A, I>(schema: Schema.Schema<A, I>): ((value: A) => I) => {
  const run = encoder(schema.ast)
  // Safe: it does to an `A` what the schema does to it.
  return (value) => run(value) as I
}

/**
 * The same as JSON, or that in UTF-8 if it has long lists, which are written piece by piece: to make one text of them and
 * bytes of that takes four times as long.
 */
export const encodeJson = <A, I>(schema: Schema.Schema<A, I>): ((value: A) => string | Uint8Array) => {
  const run = encoder(schema.ast)
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

/** Writes an object's long lists to `emit`, and returns what is left to be written. */
const write = (value: unknown, emit: (piece: string) => void): string => {
  if (!Predicate.isRecord(value) || !Object.values(value).some(isLong)) return JSON.stringify(value)
  let text = ""
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue
    text += `${text === "" ? "{" : ","}${JSON.stringify(name)}:`
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

type Run = (value: unknown) => unknown

const refused = Symbol()

const options: AST.ParseOptions = {}

const when =
  (accepts: (value: unknown) => boolean): Run =>
  (value) =>
    accepts(value) ? value : refused

const inTurn =
  (first: Run, second: Run): Run =>
  (value) => {
    const between = first(value)
    return between === refused ? refused : second(between)
  }

/** What a step of a schema made, if it did so at once and succeeded. */
const settled = (step: unknown) => (Either.isEither(step) && Either.isRight(step) ? step.right : refused)

const decoder = (ast: AST.AST): Run => {
  switch (ast._tag) {
    case "StringKeyword":
      return when(Predicate.isString)
    case "NumberKeyword":
      return when(Predicate.isNumber)
    case "BooleanKeyword":
      return when(Predicate.isBoolean)
    case "UndefinedKeyword":
      return when(Predicate.isUndefined)
    case "UnknownKeyword":
      return identity
    case "Literal":
      return when((value) => value === ast.literal)
    case "Refinement":
      return isInt(ast)
        ? when(Number.isSafeInteger)
        : inTurn(decoder(ast.from), when(remembering((value) => Option.isNone(ast.filter(value, options, ast)))))
    case "Union": {
      const members = ast.types.map(decoder)
      return (value) => {
        for (const member of members) {
          const decoded = member(value)
          if (decoded !== refused) return decoded
        }
        return refused
      }
    }
    case "TupleType":
      return isArray(ast) ? decodeArray(decoder(ast.rest[0].type)) : leave
    case "TypeLiteral": {
      const known = decodeStruct(ast, identity)
      if (isOpen(ast)) return (value) => (known(value) === refused ? refused : { ...Object(value) })
      return isClosed(ast) ? known : leave
    }
    case "Transformation": {
      const { from, to, transformation } = ast
      if (transformation === fromDate) return decodeDate
      switch (transformation._tag) {
        case "TypeLiteralTransformation": {
          const names = renamings(ast)
          return names === undefined || !isClosed(from) ? leave : decodeStruct(from, (name) => names.get(name) ?? name)
        }
        case "FinalTransformation": {
          const { decode } = transformation
          return inTurn(
            inTurn(decoder(from), (value) => settled(decode(value, options, ast, value))),
            decoder(to)
          )
        }
        case "ComposeTransformation":
          return inTurn(decoder(from), decoder(to))
      }
      return leave
    }
    case "Declaration": {
      const parse = ast.decodeUnknown(...ast.typeParameters)
      return (value) => settled(parse(value, options, ast))
    }
    default:
      return leave
  }
}

const transformationOf = (ast: AST.AST) => (AST.isTransformation(ast) ? ast.transformation : undefined)

// There are two times in each row; what these do in several steps is one each.
const fromDate = transformationOf(Schema.DateTimeUtcFromDate.ast)
const fromText = transformationOf(Schema.DateTimeUtc.ast)

const decodeDate: Run = (value) =>
  value instanceof Date && !Number.isNaN(value.getTime()) ? DateTime.unsafeFromDate(value) : refused

const encodeDate: Run = (value) => (DateTime.isDateTime(value) ? isoOf(value.epochMillis) : value)

const dayLength = 24 * 60 * 60 * 1000
let knownDay = Number.NaN
let knownDate = ""

/** As `Date.toISOString`, a quarter of whose time this takes. The day is mostly that of the time before. */
const isoOf = (millis: number) => {
  const day = Math.floor(millis / dayLength)
  if (day !== knownDay) {
    knownDate = new Date(millis).toISOString().slice(0, -timeLength)
    knownDay = day
  }
  const rest = millis - day * dayLength
  const seconds = Math.trunc(rest / 1000)
  const time = `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`
  return `${knownDate}${time}.${Math.trunc((rest % 1000) / 100)}${two(rest % 100)}Z`
}

const timeLength = "12:00:00.000Z".length

const twoDigits = Array.from({ length: 100 }, (_, n) => String(n).padStart(2, "0"))
const two = (n: number) => twoDigits[Math.trunc(n)]

/** There are several in each row, for which a filter of the library's takes ten times as long. */
const isInt = (ast: AST.Refinement) =>
  ast.annotations[AST.SchemaIdAnnotationId] === Schema.IntSchemaId && AST.isNumberKeyword(ast.from)

/** Rows that follow each other have the same turn, the same user. */
const remembering = (accepts: (value: unknown) => boolean) => {
  let accepted: unknown
  return (value: unknown) => {
    if (value === accepted && typeof value === "string") return true
    const isAccepted = accepts(value)
    if (isAccepted && typeof value === "string" && value.length <= maxRemembered) accepted = value
    return isAccepted
  }
}

/** UTF-16 units: an id is remembered, a text that someone wrote is not. */
const maxRemembered = 40

const leave: Run = () => refused

type ArrayType = AST.TupleType & { readonly rest: readonly [AST.Type] }

const isArray = (ast: AST.TupleType): ast is ArrayType => ast.elements.length === 0 && ast.rest.length === 1

/** It has the members it names; one that names none takes anything. */
const isClosed = (ast: AST.AST): ast is AST.TypeLiteral =>
  AST.isTypeLiteral(ast) && ast.indexSignatures.length === 0 && ast.propertySignatures.length > 0

/** It has whatever members come. */
const isOpen = (ast: AST.TypeLiteral) =>
  ast.indexSignatures.some(({ parameter, type }) => AST.isStringKeyword(parameter) && AST.isUnknownKeyword(type)) &&
  ast.indexSignatures.length === 1 &&
  ast.propertySignatures.every(({ type }) => isSame(type))

/** Encoded and decoded it is the same. */
const isSame = (ast: AST.AST): boolean => {
  switch (ast._tag) {
    case "Transformation":
    case "Suspend":
      return false
    case "Refinement":
      return isSame(ast.from)
    case "Union":
      return ast.types.every(isSame)
    case "TupleType":
      return [...ast.elements, ...ast.rest].every(({ type }) => isSame(type))
    case "TypeLiteral":
      return isOpen(ast) // others drop what they do not name
    case "Declaration":
      return ast.typeParameters.length === 0
    default:
      return true
  }
}

/** Which member becomes which, if nothing else happens to them. */
const renamings = ({ transformation }: AST.Transformation) =>
  AST.isTypeLiteralTransformation(transformation) &&
  transformation.propertySignatureTransformations.every((p) => p.decode === identity && p.encode === identity)
    ? new Map(transformation.propertySignatureTransformations.map((p) => [p.from, p.to]))
    : undefined

const decodeArray =
  (item: Run): Run =>
  (value) => {
    if (!Array.isArray(value)) return refused
    const decoded = new Array<unknown>(value.length)
    for (let i = 0; i < value.length; i++) {
      const one = item(value[i])
      if (one === refused) return refused
      decoded[i] = one
    }
    return decoded
  }

/** `Predicate.isRecord` in one step. */
const isRecord = (value: unknown): value is Record<PropertyKey, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

interface Member {
  readonly from: PropertyKey
  readonly to: PropertyKey
  readonly run: Run
  readonly isOptional: boolean
}

const decodeStruct = (ast: AST.TypeLiteral, rename: (name: PropertyKey) => PropertyKey): Run => {
  const members = ast.propertySignatures.map(
    ({ isOptional, name, type }): Member => ({ from: name, to: rename(name), run: decoder(type), isOptional })
  )
  return (value) => {
    if (!isRecord(value)) return refused
    const decoded: Record<PropertyKey, unknown> = {}
    for (const { from, isOptional, run, to } of members) {
      const given = value[from]
      if (given === undefined && !Object.hasOwn(value, from)) {
        if (isOptional) continue
        return refused
      }
      const one = run(given)
      if (one === refused) return refused
      decoded[to] = one
    }
    return decoded
  }
}

const encoder = (ast: AST.AST): Run => {
  if (isSame(ast)) return identity
  switch (ast._tag) {
    case "Refinement":
      return encoder(ast.from)
    case "Union": {
      const [only, ...others] = ast.types.filter((member) => !isNothing(member))
      if (only === undefined || others.length > 0) return thoroughly(ast)
      const run = encoder(only)
      return (value) => (value === null || value === undefined ? value : run(value))
    }
    case "TupleType": {
      if (!isArray(ast)) return thoroughly(ast)
      const run = encoder(ast.rest[0].type)
      return (value) => (Array.isArray(value) ? value.map((one: unknown) => run(one)) : value)
    }
    case "TypeLiteral":
      return isClosed(ast) ? encodeStruct(ast, identity) : thoroughly(ast)
    case "Transformation": {
      const { from, to, transformation } = ast
      if (transformation === fromText) return encodeDate
      switch (transformation._tag) {
        case "TypeLiteralTransformation": {
          const names = renamings(ast)
          return names !== undefined && isClosed(from)
            ? encodeStruct(from, (name) => names.get(name) ?? name)
            : thoroughly(ast)
        }
        case "FinalTransformation": {
          const before = encoder(to)
          const after = encoder(from)
          const thorough = thoroughly(ast)
          return (value) => {
            const encoded = before(value)
            const made = settled(transformation.encode(encoded, options, ast, encoded))
            return made === refused ? thorough(value) : after(made)
          }
        }
        case "ComposeTransformation": {
          const before = encoder(to)
          const after = encoder(from)
          return (value) => after(before(value))
        }
      }
      return thoroughly(ast)
    }
    // A class or another container: what it is made of is encoded by the transformation around it.
    case "Declaration":
      return AST.getSurrogateAnnotation(ast)._tag === "Some" ? identity : thoroughly(ast)
    default:
      return thoroughly(ast)
  }
}

const isNothing = (ast: AST.AST) => AST.isUndefinedKeyword(ast) || (AST.isLiteral(ast) && ast.literal === null)

const thoroughly = (ast: AST.AST): Run => ParseResult.encodeUnknownSync(Schema.make(ast))

const encodeStruct = (ast: AST.TypeLiteral, rename: (name: PropertyKey) => PropertyKey): Run => {
  const members = ast.propertySignatures.map(
    ({ isOptional, name, type }): Member => ({ from: rename(name), to: name, run: encoder(type), isOptional })
  )
  return (value) => {
    if (!isRecord(value)) return value
    const encoded: Record<PropertyKey, unknown> = {}
    for (const { from, isOptional, run, to } of members) {
      const given = value[from]
      if (isOptional && given === undefined && !(from in value)) continue
      encoded[to] = run(given)
    }
    return encoded
  }
}
