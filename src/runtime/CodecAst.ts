import { SchemaAST as AST, Either, identity, type ParseResult } from "effect"

/** Shapes of schemas, for `CodecDecoder` and `CodecEncoder`. Part of `Codec`. */

export type Run = (value: unknown) => unknown

export type Issue = ParseResult.ParseIssue

export const options: AST.ParseOptions = {}

// Safe: the steps of a schema fail only with issues. An asynchronous step is an effect.
export const isEither = (step: unknown): step is Either.Either<unknown, Issue> => Either.isEither(step)

export const transformationOf = (ast: AST.AST) => (AST.isTransformation(ast) ? ast.transformation : undefined)

export type ArrayType = AST.TupleType & { readonly rest: readonly [AST.Type] }

export const isArray = (ast: AST.TupleType): ast is ArrayType => ast.elements.length === 0 && ast.rest.length === 1

/** A struct with named members; one without members accepts anything. */
export const isClosed = (ast: AST.AST): ast is AST.TypeLiteral =>
  AST.isTypeLiteral(ast) && ast.indexSignatures.length === 0 && ast.propertySignatures.length > 0

/** A record with any members. */
export const isOpen = (ast: AST.TypeLiteral) =>
  ast.indexSignatures.some(({ parameter, type }) => AST.isStringKeyword(parameter) && AST.isUnknownKeyword(type)) &&
  ast.indexSignatures.length === 1 &&
  ast.propertySignatures.every(({ type }) => isSame(type))

/** Its encoded and decoded forms are the same. */
export const isSame = (ast: AST.AST): boolean => {
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

/** The renaming of members, if the transformation does nothing else. */
export const renamings = ({ transformation }: AST.Transformation) =>
  AST.isTypeLiteralTransformation(transformation) &&
  transformation.propertySignatureTransformations.every((p) => p.decode === identity && p.encode === identity)
    ? new Map(transformation.propertySignatureTransformations.map((p) => [p.from, p.to]))
    : undefined

/** Null and undefined are not of this type. */
export const isSomething = (ast: AST.AST) =>
  AST.isStringKeyword(ast) ||
  AST.isNumberKeyword(ast) ||
  AST.isBooleanKeyword(ast) ||
  AST.isTupleType(ast) ||
  isClosed(ast)

export const isStruct = (ast: AST.AST): boolean => {
  const encoded = AST.encodedAST(ast)
  return AST.isTypeLiteral(encoded) || AST.isDeclaration(encoded) || (AST.isTupleType(encoded) && !isArray(encoded))
}

export const isNothing = (ast: AST.AST) => AST.isUndefinedKeyword(ast) || (AST.isLiteral(ast) && ast.literal === null)

/** `Predicate.isRecord` in one step. */
export const isRecord = (value: unknown): value is Record<PropertyKey, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
