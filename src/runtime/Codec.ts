import { SchemaAST as AST, DateTime, Either, identity, Option, ParseResult, Predicate, Schema } from "effect"
import { joined } from "./Bytes.ts"

/**
 * Decoding and encoding by a schema, for values that come by the thousand. Stands for `Schema.decodeUnknownEither` and
 * `Schema.encodeSync`, which keep the trail of a failure that hardly ever comes, and check what every transformation returns
 * once more. The same schema runs here without that; the parts of it that are not known here are left to `Schema`. What is
 * refused is decoded no further than the first failure, and once: that failure is the one that `Schema` would tell of.
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

type Issue = ParseResult.ParseIssue

/** Why a value is refused, worked out when somebody asks: another member of a union may take it. */
class Refusal {
  readonly issueOf: (value: unknown) => Issue
  constructor(issueOf: (value: unknown) => Issue) {
    this.issueOf = issueOf
  }
}

const options: AST.ParseOptions = {}

/** As `Schema` does it. */
const bySchema = (ast: AST.AST): Run => {
  const decode = ParseResult.decodeUnknownEither(Schema.make(ast))
  return (value) => Either.match(decode(value), { onLeft: (issue) => new Refusal(() => issue), onRight: identity })
}

/** Takes the values that `accepts` says are of the type. */
const when = (ast: AST.AST, accepts: (value: unknown) => boolean): Run => {
  const refusal = new Refusal((value) => new ParseResult.Type(ast, value))
  return (value) => (accepts(value) ? value : refusal)
}

const decoder = (ast: AST.AST): Run => {
  if (isSpecial(ast)) return bySchema(ast)
  switch (ast._tag) {
    case "StringKeyword":
      return when(ast, Predicate.isString)
    case "NumberKeyword":
      return when(ast, Predicate.isNumber)
    case "BooleanKeyword":
      return when(ast, Predicate.isBoolean)
    case "UndefinedKeyword":
      return when(ast, Predicate.isUndefined)
    case "UnknownKeyword":
      return identity
    case "Literal":
      return when(ast, (value) => value === ast.literal)
    case "Refinement":
      return isInt(ast) ? unless(Number.isSafeInteger, ast) : decodeRefinement(ast)
    case "Union":
      return decodeUnion(ast)
    case "TupleType":
      return isArray(ast) ? decodeArray(ast) : bySchema(ast)
    case "TypeLiteral": {
      if (isClosed(ast)) return decodeStruct(ast, identity)
      if (!isOpen(ast)) return bySchema(ast)
      const known = decodeStruct(ast, identity)
      return (value) => {
        const decoded = known(value)
        return decoded instanceof Refusal ? decoded : { ...Object(value) }
      }
    }
    case "Transformation":
      return decodeTransformation(ast)
    case "Declaration": {
      const parse = ast.decodeUnknown(...ast.typeParameters)
      const whole = bySchema(ast)
      return (value) => {
        const decoded = parse(value, options, ast)
        if (!isEither(decoded)) return whole(value)
        return Either.isRight(decoded) ? decoded.right : new Refusal(() => decoded.left)
      }
    }
    default:
      return bySchema(ast)
  }
}

/** Annotations change how it is decoded. */
const isSpecial = (ast: AST.AST) =>
  Option.isSome(AST.getParseOptionsAnnotation(ast)) || Option.isSome(AST.getDecodingFallbackAnnotation(ast))

/** Takes what `accepts` does, and has `Schema` say why it refuses the rest. */
const unless = (accepts: (value: unknown) => boolean, ast: AST.AST): Run => {
  const whole = bySchema(ast)
  return (value) => (accepts(value) ? value : whole(value))
}

const decodeRefinement = (ast: AST.Refinement): Run => {
  const from = decoder(ast.from)
  const check = remembering((value) => ast.filter(value, options, ast))
  return (value) => {
    const decoded = from(value)
    if (decoded instanceof Refusal) {
      return new Refusal((value) => new ParseResult.Refinement(ast, value, "From", decoded.issueOf(value)))
    }
    const issue = check(decoded)
    return issue === undefined
      ? decoded
      : new Refusal((value) => new ParseResult.Refinement(ast, value, "Predicate", issue))
  }
}

/** The first member that takes it has it. */
const decodeUnion = (ast: AST.Union): Run => {
  const members = ast.types.map(decoder)
  const whole = ast.types.some(isStruct) ? bySchema(ast) : undefined
  // Half of what a row has is null, which no other member has to look at.
  const nothing = ast.types.every((type) => isNothing(type) || isSomething(AST.encodedAST(type)))
    ? ast.types.filter(isNothing).map((type) => (AST.isLiteral(type) ? type.literal : undefined))
    : []
  return (value) => {
    if ((value === null || value === undefined) && nothing.includes(value)) return value
    const refusals: Array<Refusal> = []
    for (const member of members) {
      const decoded = member(value)
      if (!(decoded instanceof Refusal)) return decoded
      refusals.push(decoded)
    }
    // Of structs, `Schema` looks for the one that is meant.
    if (whole !== undefined) return whole(value)
    return new Refusal((value) => unionIssue(ast, value, refusals))
  }
}

/** Nothing that is null or undefined is of this type. */
const isSomething = (ast: AST.AST) =>
  AST.isStringKeyword(ast) ||
  AST.isNumberKeyword(ast) ||
  AST.isBooleanKeyword(ast) ||
  AST.isTupleType(ast) ||
  isClosed(ast)

const unionIssue = (ast: AST.Union, value: unknown, refusals: ReadonlyArray<Refusal>): Issue => {
  const [first, ...others] = refusals.map(({ issueOf }) => issueOf(value))
  if (first === undefined) return new ParseResult.Type(ast, value)
  return first._tag === "Type" && others.length === 0
    ? first
    : new ParseResult.Composite(ast, value, [first, ...others])
}

const isStruct = (ast: AST.AST): boolean => {
  const encoded = AST.encodedAST(ast)
  return AST.isTypeLiteral(encoded) || AST.isDeclaration(encoded) || (AST.isTupleType(encoded) && !isArray(encoded))
}

const decodeTransformation = (ast: AST.Transformation): Run => {
  const { from, to, transformation } = ast
  if (transformation === fromDate) {
    const whole = bySchema(ast)
    return (value) => (isDate(value) ? DateTime.unsafeFromDate(value) : whole(value))
  }
  switch (transformation._tag) {
    case "TypeLiteralTransformation": {
      const names = renamings(ast)
      if (names === undefined || !isClosed(from)) return bySchema(ast)
      const decode = decodeStruct(from, (name) => names.get(name) ?? name)
      return (value) => {
        const decoded = decode(value)
        return decoded instanceof Refusal ? within(ast, "Encoded", decoded) : decoded
      }
    }
    case "FinalTransformation": {
      const { decode } = transformation
      return decodeSteps(ast, decoder(from), (value, whole) => decode(value, options, ast, whole), decoder(to))
    }
    case "ComposeTransformation":
      return decodeSteps(ast, decoder(from), Either.right, decoder(to))
  }
}

const within = (ast: AST.Transformation, kind: "Encoded" | "Transformation" | "Type", { issueOf }: Refusal) =>
  new Refusal((value) => new ParseResult.Transformation(ast, value, kind, issueOf(value)))

const decodeSteps = (
  ast: AST.Transformation,
  from: Run,
  transform: (value: unknown, whole: unknown) => unknown,
  to: Run
): Run => {
  const whole = bySchema(ast)
  return (value) => {
    const encoded = from(value)
    if (encoded instanceof Refusal) return within(ast, "Encoded", encoded)
    const made = transform(encoded, value)
    if (!isEither(made)) return whole(value)
    if (Either.isLeft(made)) return within(ast, "Transformation", new Refusal(() => made.left))
    const decoded = to(made.right)
    return decoded instanceof Refusal ? within(ast, "Type", new Refusal(() => decoded.issueOf(made.right))) : decoded
  }
}

// Safe: the steps of a schema fail with issues alone. One that takes time is an effect.
const isEither = (step: unknown): step is Either.Either<unknown, Issue> => Either.isEither(step)

const transformationOf = (ast: AST.AST) => (AST.isTransformation(ast) ? ast.transformation : undefined)

// There are two times in each row; what these do in several steps is one each.
const fromDate = transformationOf(Schema.DateTimeUtcFromDate.ast)
const fromText = transformationOf(Schema.DateTimeUtc.ast)

const isDate = (value: unknown): value is Date => value instanceof Date && !Number.isNaN(value.getTime())

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
const remembering = (check: (value: unknown) => Option.Option<Issue>) => {
  let accepted: unknown
  return (value: unknown): Issue | undefined => {
    if (value === accepted && typeof value === "string") return undefined
    const issue = Option.getOrUndefined(check(value))
    if (issue === undefined && typeof value === "string" && value.length <= maxRemembered) accepted = value
    return issue
  }
}

/** UTF-16 units: an id is remembered, a text that someone wrote is not. */
const maxRemembered = 40

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

const at = (ast: AST.AST, value: unknown, place: PropertyKey, issue: Issue) =>
  new ParseResult.Composite(ast, value, new ParseResult.Pointer(place, value, issue))

const decodeArray = (ast: ArrayType): Run => {
  const item = decoder(ast.rest[0].type)
  const isList = when(ast, Array.isArray)
  return (value) => {
    if (!Array.isArray(value)) return isList(value)
    const decoded = new Array<unknown>(value.length)
    for (let i = 0; i < value.length; i++) {
      const one = item(value[i])
      if (one instanceof Refusal) return new Refusal(() => at(ast, value, i, one.issueOf(value[i])))
      decoded[i] = one
    }
    return decoded
  }
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
  const members = ast.propertySignatures.map((signature) => ({
    from: signature.name,
    to: rename(signature.name),
    run: decoder(signature.type),
    isOptional: signature.isOptional,
    missing: new ParseResult.Missing(signature)
  }))
  const isObject = when(ast, isRecord)
  return (value) => {
    if (!isRecord(value)) return isObject(value)
    const decoded: Record<PropertyKey, unknown> = {}
    for (const { from, isOptional, missing, run, to } of members) {
      const given = value[from]
      const isMissing = given === undefined && !Object.hasOwn(value, from)
      if (isMissing && isOptional) continue
      const one = run(given)
      if (one instanceof Refusal) {
        return new Refusal(() => at(ast, value, from, isMissing ? missing : one.issueOf(given)))
      }
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
            const made = transformation.encode(encoded, options, ast, encoded)
            return isEither(made) && Either.isRight(made) ? after(made.right) : thorough(value)
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
