import { Tool } from "@effect/ai"

/** A tool as providers are told of it. */
interface Described {
  readonly name: string
  readonly description: string | undefined
  /** JSON Schema. */
  readonly parameters: unknown
}

/** Each tool as `f` words it, in JSON, written once: making JSON Schemas is slow, and tools stay the same. */
export const describe = (f: (tool: Described) => object): ((tool: Tool.Any) => string) => {
  const known = new WeakMap<Tool.Any, string>()
  return (tool) => {
    const found = known.get(tool)
    if (found !== undefined) return found
    const parameters = Tool.getJsonSchemaFromSchemaAst(tool.parametersSchema.ast)
    const described = JSON.stringify(f({ name: tool.name, description: tool.description, parameters }))
    known.set(tool, described)
    return described
  }
}

/** A request in JSON, with these tools, which are in JSON already. */
export const withTools = (request: object, tools: ReadonlyArray<string>): string => {
  const json = JSON.stringify(request)
  return tools.length === 0 ? json : `${json.slice(0, -1)},"tools":[${tools.join(",")}]}`
}

/**
 * The arguments of a call, as the model wrote them: none at all stand for none given, and what is no JSON stays the text
 * that it is. Whether they fit the tool, and whether there is one, is for those to say who run it.
 */
export const argumentsOf = (text: string): unknown => {
  try {
    return Tool.unsafeSecureJsonParse(text.trim() === "" ? "{}" : text)
  } catch {
    return text
  }
}
