import { Tool } from "@effect/ai"
import { ParseResult, Schema } from "effect"
import { InvalidToolCall } from "../services/InvalidToolCall.ts"

/** The tools a provider is told of. */
export const offered = (tools: ReadonlyArray<Tool.Any>): ReadonlyArray<Tool.Any> =>
  tools.filter((tool) => tool.name !== InvalidToolCall.name)

/** A tool as providers are told of it. */
interface Described {
  readonly name: string
  readonly description: string | undefined
  /** JSON Schema. */
  readonly parameters: unknown
}

/** `f` of each tool's description, worked out once: making JSON Schemas is slow, and tools stay the same. */
export const describe = <A>(f: (tool: Described) => A): ((tool: Tool.Any) => A) => {
  const known = new WeakMap<Tool.Any, { readonly described: A }>()
  return (tool) => {
    const found = known.get(tool)
    if (found !== undefined) return found.described
    const parameters = Tool.getJsonSchemaFromSchemaAst(tool.parametersSchema.ast)
    const described = f({ name: tool.name, description: tool.description, parameters })
    known.set(tool, { described })
    return described
  }
}

/**
 * What a model called and with what: the tool as it is among `tools`, or `InvalidToolCall` if the call cannot be run.
 * `text` is the arguments as the model wrote them; none at all stand for none given.
 */
export const readCall = (
  tools: ReadonlyArray<Tool.Any>,
  name: string,
  text: string
): { readonly name: string; readonly params: unknown } => {
  const invalid = (reason: string) => ({ name: InvalidToolCall.name, params: { tool: name, arguments: text, reason } })
  const known = offered(tools)
  const tool = known.find((candidate) => candidate.name === name)
  if (tool === undefined) {
    return invalid(`There is no such tool. The tools are: ${known.map((candidate) => candidate.name).join(", ")}.`)
  }
  const params = parse(text.trim() === "" ? "{}" : text)
  if (params === undefined) return invalid("The arguments are not valid JSON.")
  const problem = misfit(tool, params)
  return problem === undefined ? { name, params } : invalid(`The arguments do not fit the tool: ${problem}`)
}

const parse = (text: string): unknown => {
  try {
    return Tool.unsafeSecureJsonParse(text)
  } catch {
    return undefined
  }
}

/** Told to the model, so it is kept short even if every argument is wrong. */
const misfit = (tool: Tool.Any, params: unknown): string | undefined => {
  // By its syntax tree, as the type of any tool's parameters says nothing of what decoding them needs.
  const schema = Schema.make<unknown>(tool.parametersSchema.ast)
  const result = Schema.decodeUnknownEither(schema, { errors: "all" })(params)
  if (result._tag === "Right") return undefined
  return ParseResult.ArrayFormatter.formatErrorSync(result.left)
    .slice(0, 10)
    .map(({ message, path }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`))
    .join("; ")
    .slice(0, 2000)
}
