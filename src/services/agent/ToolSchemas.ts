import { type AiError, Response, Tool, Toolkit } from "@effect/ai"
import { Chunk, Either, Option, ParseResult, Predicate, Record, Schema, SchemaAST } from "effect"
import { parseJson } from "../../domain/JsonText.ts"
import * as Codec from "../../runtime/Codec.ts"
import * as Memo from "../../runtime/Memo.ts"
import { readArguments } from "./ToolArguments.ts"

/** Tools by their names. */
export type Tools = Readonly<Record<string, Tool.Any>>

/**
 * The tools as a model is offered them: described as they are, but taking anything. A `LanguageModel` fails with its whole
 * answer when a call does not fit; what does not fit these is for `read` to say, so that the model can be told.
 */
export const lenient = (tools: Tools): Record<string, Tool.Any> =>
  Record.map(tools, (tool) =>
    Tool.isUserDefined(tool)
      ? tool.setParameters(anything(Tool.getJsonSchemaFromSchemaAst(tool.parametersSchema.ast)))
      : tool
  )

const anything = (jsonSchema: object): Tool.AnyParametersSchema =>
  Object.assign(Schema.Unknown.annotations({ jsonSchema }), { fields: {}, make: (params: unknown) => params })

/**
 * A call's arguments as its tool takes them, or why it cannot be run, in words for the model. Text in place of arguments is
 * what was no JSON.
 */
export const read = (tools: Tools, name: string, params: unknown): Either.Either<unknown, string> => {
  const tool = Object.hasOwn(tools, name) ? tools[name] : undefined
  if (tool === undefined) {
    return Either.left(`There is no such tool. The tools are: ${Object.keys(tools).join(", ")}.`)
  }
  const elsewhere = (argument: string) => Object.values(tools).find((other) => has(other, argument))?.name
  const given = Predicate.isString(params) ? Either.getOrUndefined(parseJson(params)) : params
  if (!Predicate.isRecord(given)) return Either.left("The arguments are not valid JSON, or no object.")
  const { problems, value } = readArguments(tool.parametersSchema.ast, given, elsewhere)
  const read = problems.length > 0 ? Either.left(problems) : decoderOf(tool)(value)
  // Told to the model, so it is kept short even if every argument is wrong.
  return Either.mapLeft(
    read,
    (problems) => `The arguments do not fit the tool: ${problems.slice(0, 10).join("; ").slice(0, 2000)}.`
  )
}

const has = ({ parametersSchema: { ast } }: Tool.Any, argument: string) =>
  SchemaAST.getPropertySignatures(ast).some(({ name }) => name === argument)

const decoderOf = Memo.byObject((tool: Tool.Any) => {
  // By its syntax tree, as the type of any tool's parameters says nothing of what decoding them needs.
  const decode = Codec.decodeUnknown(Schema.make<unknown>(tool.parametersSchema.ast))
  return (params: unknown) =>
    Either.mapLeft(decode(params), (error) =>
      ParseResult.ArrayFormatter.formatErrorSync(error).map(({ message, path }) => `${path.join(".")} ${message}`)
    )
})

/**
 * What comes of an answer that was given up for a call that cannot be run: the parts that went with it, if any, and
 * nothing if it was given up for another reason. What would have come after them is lost.
 *
 * A call of a tool that was not offered is one that no offer can be made to take; arguments that are no JSON are what
 * other models than ours do not pass on at all.
 */
export const givenUp = (offered: Tools, error: AiError.AiError): ReadonlyArray<StreamPart> | undefined => {
  if (isNotJson(error)) return []
  if (error._tag !== "MalformedOutput" || !ParseResult.isParseError(error.cause)) return undefined
  const { actual } = error.cause.issue
  const parts = Chunk.isChunk(actual) ? Chunk.toReadonlyArray(actual) : []
  const unknown = parts.filter(isCall).filter(({ name }) => !Object.hasOwn(offered, name))
  if (unknown.length === 0) return undefined
  const called = unknown.map(({ name }): Tool.Any => Tool.make(name).setParameters(anything({})))
  const decode = Schema.decodeUnknownOption(
    Schema.Array(Response.StreamPart(Toolkit.make(...Object.values(offered), ...called)))
  )
  return Option.getOrUndefined(decode(parts))
}

/** Whether an answer was given up for arguments that are no JSON. */
export const isNotJson = (error: AiError.AiError) =>
  error._tag === "MalformedOutput" && error.cause instanceof SyntaxError

type StreamPart = Response.StreamPart<Record<string, Tool.Any>>

const isCall = Schema.is(Schema.Struct({ type: Schema.Literal("tool-call"), name: Schema.String }))
