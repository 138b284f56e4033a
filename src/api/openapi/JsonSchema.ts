import { Record } from "effect"

/** A JSON Schema as Effect creates it for OpenAPI 3.1. */
export interface JsonSchema {
  readonly $ref?: string
  readonly type?: string
  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly examples?: ReadonlyArray<unknown>
  readonly enum?: ReadonlyArray<unknown>
  readonly properties?: Schemas
  readonly required?: ReadonlyArray<string>
  readonly additionalProperties?: boolean | JsonSchema
  readonly items?: JsonSchema
  readonly anyOf?: ReadonlyArray<JsonSchema>
  readonly oneOf?: ReadonlyArray<JsonSchema>
  readonly allOf?: ReadonlyArray<JsonSchema>
  readonly contentSchema?: JsonSchema
  readonly [keyword: string]: unknown
}

export type Schemas = Readonly<Record<string, JsonSchema>>

const folder = "#/components/schemas/"

export const refTo = (name: string): JsonSchema => ({ $ref: `${folder}${name}` })

/** The name in a reference. */
export const nameOf = ({ $ref }: JsonSchema) => $ref?.slice(folder.length)

const resolve = (schema: JsonSchema, all: Schemas): JsonSchema => {
  const name = nameOf(schema)
  return name === undefined ? schema : (all[name] ?? {})
}

const isSchema = (part: boolean | JsonSchema | undefined): part is JsonSchema => typeof part === "object"

/** The schemas within a schema. */
const parts = (schema: JsonSchema): ReadonlyArray<JsonSchema> => [
  ...Object.values(schema.properties ?? {}),
  ...[schema.items, schema.additionalProperties, schema.contentSchema].filter(isSchema),
  ...(schema.anyOf ?? []),
  ...(schema.oneOf ?? []),
  ...(schema.allOf ?? [])
]

const mapParts = (schema: JsonSchema, f: (part: JsonSchema) => JsonSchema): JsonSchema => ({
  ...schema,
  ...(schema.properties && { properties: Record.map(schema.properties, f) }),
  ...(schema.items && { items: f(schema.items) }),
  ...(isSchema(schema.additionalProperties) && { additionalProperties: f(schema.additionalProperties) }),
  ...(schema.contentSchema && { contentSchema: f(schema.contentSchema) }),
  ...(schema.anyOf && { anyOf: schema.anyOf.map(f) }),
  ...(schema.oneOf && { oneOf: schema.oneOf.map(f) }),
  ...(schema.allOf && { allOf: schema.allOf.map(f) })
})

/** Descriptions of Effect's built-in schemas, which do not help readers. */
const isBuiltIn = (text: unknown) =>
  typeof text === "string" && /^(an? (string|number|integer|boolean)|int|unknown|maxItems\(\d+\))$/.test(text)

/** Simplifies a schema to the form that a person would write. */
export const tidy =
  (all: Schemas) =>
  (schema: JsonSchema): JsonSchema => {
    const { $id, allOf = [], ...given } = mapParts(schema, tidy(all))
    const [only, ...others] = allOf
    // A reference repeats its target's annotations.
    const referred = only !== undefined && others.length === 0 ? resolve(only, all) : {}
    const said = Record.filter(
      given,
      (value, keyword) =>
        !isBuiltIn(value) &&
        // Objects are open by default; with the keyword, generated types would accept any member.
        !(keyword === "additionalProperties" && value === true) &&
        JSON.stringify(value) !== JSON.stringify(referred[keyword])
    )
    return { ...(others.length === 0 ? only : { allOf }), ...said }
  }

/** An example of a schema: its own, or one composed of the examples of its parts. */
export const exampleOf =
  (all: Schemas) =>
  (schema: JsonSchema): unknown => {
    const { allOf = [], anyOf = [], items, oneOf = [], properties, required = [], type } = schema
    const ofPart = exampleOf(all)
    if (schema.examples !== undefined) return schema.examples[0]
    if (schema.$ref !== undefined) return ofPart(resolve(schema, all))
    if (schema.enum !== undefined) return schema.enum[0]
    if (schema.default !== undefined) return schema.default
    if (properties !== undefined) {
      return Record.map(
        Record.filter(properties, (_, name) => required.includes(name)),
        ofPart
      )
    }
    if (items !== undefined) return [ofPart(items)]
    const [first] = [...allOf, ...oneOf, ...anyOf]
    if (first !== undefined) return ofPart(first)
    return type === "boolean" ? false : null
  }

/** The names of the schemas that these refer to, also indirectly. */
export const reachable = (from: ReadonlyArray<JsonSchema>, all: Schemas): ReadonlySet<string> => {
  const found = new Set<string>()
  const visit = (schema: JsonSchema): void => {
    const name = nameOf(schema)
    if (name !== undefined && !found.has(name)) {
      found.add(name)
      visit(resolve(schema, all))
    }
    parts(schema).forEach(visit)
  }
  from.forEach(visit)
  return found
}

/** A union, if there are several. */
export const oneOf = ([only, ...others]: ReadonlyArray<JsonSchema>): JsonSchema =>
  only === undefined || others.length > 0 ? { oneOf: [only ?? {}, ...others] } : only
