import { Tool } from "@effect/ai"
import { Context, type JSONSchema, Schema } from "effect"

// The JSON Schema of a tool's parameters should be one that every provider accepts: without references, patterns, formats
// and limits, which one or another refuses. Say limits in the descriptions, and check them in the handler.

/** A parameter that may be absent or null, which is the same. */
export const optional = <A>(schema: Schema.Schema<A>, description: string) =>
  Schema.optional(Schema.NullOr(schema.annotations({ description })))

/** `Schema.Int` would be a reference. */
export const integer = Schema.Number.pipe(Schema.int())

/** A tool's JSON Schema. Only OpenAI's strict mode requires what may be left out: its model layer asks for it as null. */
export const inputSchema = (tool: Tool.Any): JSONSchema.JsonSchema7 =>
  Tool.getJsonSchemaFromSchemaAst(tool.parametersSchema.ast)

/**
 * Annotates a tool with whether it deletes what cannot be had back by the next call. Unless told, those do that MCP calls
 * destructive: neither read-only nor annotated as harmless.
 */
export class Deletes extends Context.Reference<Deletes>()("taskchat/services/ToolDeletes", {
  defaultValue: (): boolean | undefined => undefined
}) {}

/** Annotates a tool with the ids of the tasks that a call with these arguments is about; none unless told. */
export class About extends Context.Reference<About>()("taskchat/services/ToolAbout", {
  defaultValue: (): ((parameters: unknown) => ReadonlyArray<number>) => () => []
}) {}

/** Annotates a tool with how many tasks a call with these arguments would change; none unless told. */
export class Changes extends Context.Reference<Changes>()("taskchat/services/ToolChanges", {
  defaultValue: (): ((parameters: unknown) => number) => () => 0
}) {}
