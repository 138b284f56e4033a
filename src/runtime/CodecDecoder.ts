import { SchemaAST as AST, DateTime, Either, identity, Option, ParseResult, Predicate, Schema } from "effect"
import {
  type ArrayType,
  type Issue,
  isArray,
  isClosed,
  isEither,
  isNothing,
  isOpen,
  isRecord,
  isSomething,
  isStruct,
  options,
  type Run,
  renamings,
  transformationOf
} from "./CodecAst.ts"

/** Decoding by a schema's parts. Part of `Codec`. */

/** The reason of a refusal, computed on demand: another member of a union may accept the value. */
export class Refusal {
  readonly issueOf: (value: unknown) => Issue
  constructor(issueOf: (value: unknown) => Issue) {
    this.issueOf = issueOf
  }
}

/** As `Schema` does it. */
const bySchema = (ast: AST.AST): Run => {
  const decode = ParseResult.decodeUnknownEither(Schema.make(ast))
  return (value) => Either.match(decode(value), { onLeft: (issue) => new Refusal(() => issue), onRight: identity })
}

/** Accepts the values for which `accepts` is true. */
const when = (ast: AST.AST, accepts: (value: unknown) => boolean): Run => {
  const refusal = new Refusal((value) => new ParseResult.Type(ast, value))
  return (value) => (accepts(value) ? value : refusal)
}

export const decoder = (ast: AST.AST): Run => {
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

/** Annotations change the decoding. */
const isSpecial = (ast: AST.AST) =>
  Option.isSome(AST.getParseOptionsAnnotation(ast)) || Option.isSome(AST.getDecodingFallbackAnnotation(ast))

/** Accepts what `accepts` does, and lets `Schema` explain other refusals. */
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

/** The first member that accepts the value decodes it. */
const decodeUnion = (ast: AST.Union): Run => {
  const members = ast.types.map(decoder)
  const whole = ast.types.some(isStruct) ? bySchema(ast) : undefined
  // Half of a row's values are null, which the other members need not check.
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
    // For structs, `Schema` finds the right one.
    if (whole !== undefined) return whole(value)
    return new Refusal((value) => unionIssue(ast, value, refusals))
  }
}

const unionIssue = (ast: AST.Union, value: unknown, refusals: ReadonlyArray<Refusal>): Issue => {
  const [first, ...others] = refusals.map(({ issueOf }) => issueOf(value))
  if (first === undefined) return new ParseResult.Type(ast, value)
  return first._tag === "Type" && others.length === 0
    ? first
    : new ParseResult.Composite(ast, value, [first, ...others])
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

// Each row has two times; this does the schema's several steps in one.
const fromDate = transformationOf(Schema.DateTimeUtcFromDate.ast)

const isDate = (value: unknown): value is Date => value instanceof Date && !Number.isNaN(value.getTime())

/** Each row has several; the library's filter takes ten times as long. */
const isInt = (ast: AST.Refinement) =>
  ast.annotations[AST.SchemaIdAnnotationId] === Schema.IntSchemaId && AST.isNumberKeyword(ast.from)

/** Consecutive rows have the same turn and the same user. */
const remembering = (check: (value: unknown) => Option.Option<Issue>) => {
  let accepted: unknown
  return (value: unknown): Issue | undefined => {
    if (value === accepted && typeof value === "string") return undefined
    const issue = Option.getOrUndefined(check(value))
    if (issue === undefined && typeof value === "string" && value.length <= maxRemembered) accepted = value
    return issue
  }
}

/** UTF-16 units: ids are cached, longer texts are not. */
const maxRemembered = 40

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
