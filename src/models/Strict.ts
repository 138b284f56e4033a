import { isFields } from "./Fields.ts"

/**
 * A tool's JSON Schema for OpenAI. In strict mode, arguments always match the schema, but every object must be closed
 * and all members must be required. An optional member becomes required if it accepts null. A schema that cannot be
 * converted is used unchanged, without strict mode.
 */
export const offer = (parameters: unknown): { readonly parameters: unknown; readonly strict: boolean } => {
  const strict = strictOf(parameters)
  return strict === undefined ? { parameters, strict: false } : { parameters: strict, strict: true }
}

const primitives: ReadonlySet<unknown> = new Set(["string", "number", "integer", "boolean", "null"])

const strictOf = (schema: unknown): object | undefined => {
  if (
    !isFields<
      "$defs" | "$ref" | "additionalProperties" | "anyOf" | "enum" | "items" | "properties" | "required" | "type"
    >(schema)
  )
    return undefined
  const { $defs, ...own } = schema
  if ($defs !== undefined) {
    const [defs, rest] = [isFields($defs) ? allStrict($defs) : undefined, strictOf(own)]
    return defs && rest && { ...rest, $defs: defs }
  }
  if (typeof schema.$ref === "string" || Array.isArray(schema.enum)) return schema
  if (Array.isArray(schema.anyOf)) {
    const members = schema.anyOf.flatMap((member) => strictOf(member) ?? [])
    return members.length === schema.anyOf.length ? { ...schema, anyOf: members } : undefined
  }
  if (schema.type === "array") {
    const items = strictOf(schema.items)
    return items && { ...schema, items }
  }
  return schema.type === "object" ? strictObject(schema) : primitives.has(schema.type) ? schema : undefined
}

const strictObject = (schema: {
  readonly additionalProperties?: unknown
  readonly properties?: unknown
  readonly required?: unknown
}): object | undefined => {
  if (schema.additionalProperties !== false || !isFields(schema.properties)) return undefined
  const required: ReadonlyArray<unknown> = Array.isArray(schema.required) ? schema.required : []
  const members = Object.entries(schema.properties)
  const properties = allStrict(schema.properties)
  return properties && members.every(([name, member]) => required.includes(name) || isNullable(member))
    ? { ...schema, properties, required: members.map(([name]) => name) }
    : undefined
}

const allStrict = (schemas: object): object | undefined => {
  const members = Object.entries(schemas).map(([name, schema]) => [name, strictOf(schema)] as const)
  return members.every(([, strict]) => strict !== undefined) ? Object.fromEntries(members) : undefined
}

const isNullable = (schema: unknown): boolean => {
  if (!isFields<"anyOf" | "enum" | "type">(schema)) return false
  if (Array.isArray(schema.anyOf)) return schema.anyOf.some(isNullable)
  return schema.type === "null" || (Array.isArray(schema.enum) && schema.enum.includes(null))
}
