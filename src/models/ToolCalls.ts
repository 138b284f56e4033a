import { Tool } from "@effect/ai"
import * as Memo from "../runtime/Memo.ts"

/** A tool's description for providers. */
interface Described {
  readonly name: string
  readonly description: string | undefined
  /** JSON Schema. */
  readonly parameters: unknown
}

/** Tools as `f` words them, in JSON, written once for each list: making JSON Schemas is slow, and tools stay the same. */
export const describe = (f: (tool: Described) => object): ((tools: ReadonlyArray<Tool.Any>) => string) =>
  Memo.byObject((tools: ReadonlyArray<Tool.Any>) =>
    JSON.stringify(
      tools.map(({ description, name, parametersSchema: { ast } }) =>
        f({ name, description, parameters: Tool.getJsonSchemaFromSchemaAst(ast) })
      )
    )
  )

/** A request in JSON, with `tools`, which are in JSON already, if there are any. */
export const withTools = (request: object, tools: string | undefined): string => {
  const json = JSON.stringify(request)
  return tools === undefined ? json : `${json.slice(0, -1)},"tools":${tools}}`
}

/**
 * The arguments of a call, as the model wrote them: none at all stand for none given, and what is no JSON stays the text
 * that it is. Whoever runs the tool checks whether they fit.
 */
export const argumentsOf = (text: string): unknown => {
  try {
    return Tool.unsafeSecureJsonParse(text.trim() === "" ? "{}" : text)
  } catch {
    return text
  }
}
