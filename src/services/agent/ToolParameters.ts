import { Tool } from "@effect/ai"
import { type JSONSchema, Record, Schema } from "effect"

/**
 * A tool's parameters, with a JSON Schema that every provider accepts, in their strict modes too: all members are
 * required, and what may be absent is nullable. Without references, patterns, formats and limits, which one or another
 * refuses: say limits in the descriptions, and check them in the handler.
 */
export const parameters = <Fields extends Schema.Struct.Fields>(fields: Fields): Schema.Struct<Fields> => {
  const schema = Schema.Struct(fields)
  const required = withRequired(Tool.getJsonSchemaFromSchemaAst(schema.ast), () => true)
  return schema.annotations({ jsonSchema: required })
}

/** A parameter that may be absent or null, which is the same. */
export const optional = <A>(schema: Schema.Schema<A>, description: string) =>
  Schema.optional(Schema.NullOr(schema.annotations({ description })))

/** `Schema.Int` would be a reference. */
export const integer = Schema.Number.pipe(Schema.int())

/** A tool's JSON Schema for callers other than models, who leave out what they do not use. */
export const inputSchema = (tool: Tool.Any): JSONSchema.JsonSchema7 =>
  withRequired(Tool.getJsonSchemaFromSchemaAst(tool.parametersSchema.ast), (member) => !isNullable(member))

const isNullable = (schema: JSONSchema.JsonSchema7) =>
  "anyOf" in schema && schema.anyOf.some((member) => "type" in member && member.type === "null")

const withRequired = (
  schema: JSONSchema.JsonSchema7,
  isRequired: (member: JSONSchema.JsonSchema7) => boolean
): JSONSchema.JsonSchema7 => {
  const inner = (member: JSONSchema.JsonSchema7) => withRequired(member, isRequired)
  if ("properties" in schema && schema.properties !== undefined) {
    const properties = Record.map(schema.properties, inner)
    return { ...schema, properties, required: Object.keys(Record.filter(properties, isRequired)) }
  }
  if ("anyOf" in schema && !("$id" in schema) && !("$comment" in schema)) {
    return { ...schema, anyOf: schema.anyOf.map(inner) }
  }
  if ("items" in schema && typeof schema.items === "object" && !Array.isArray(schema.items)) {
    return { ...schema, items: inner(schema.items) }
  }
  return schema
}
