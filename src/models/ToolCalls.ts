import { Tool } from "@effect/ai"

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
