import { Tool } from "@effect/ai"
import * as Memo from "../runtime/Memo.ts"

/** A tool's description for providers. */
interface Described {
  readonly name: string
  readonly description: string | undefined
  /** JSON Schema. */
  readonly parameters: unknown
}

/** Tools as JSON, each converted by `f`. The JSON is cached for each list, because creating JSON Schemas is slow. */
export const describe = (f: (tool: Described) => object): ((tools: ReadonlyArray<Tool.Any>) => string) =>
  Memo.byObject((tools: ReadonlyArray<Tool.Any>) =>
    JSON.stringify(
      tools.map(({ description, name, parametersSchema: { ast } }) =>
        f({ name, description, parameters: Tool.getJsonSchemaFromSchemaAst(ast) })
      )
    )
  )

/** A request as JSON. `tools` is the JSON of its tools, if it has any. */
export const withTools = (request: object, tools: string | undefined): string => {
  const json = JSON.stringify(request)
  return tools === undefined ? json : `${json.slice(0, -1)},"tools":${tools}}`
}

/**
 * Parses the arguments of a call. Empty text means no arguments, and invalid JSON remains text. The tool executor
 * validates them.
 */
export const argumentsOf = (text: string): unknown => {
  try {
    return Tool.unsafeSecureJsonParse(text.trim() === "" ? "{}" : text)
  } catch {
    return text
  }
}
