import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { wire } from "../domain/Problem.ts"
import { HeadersTooLarge, MethodNotAllowed, NotFound, RequestTimeout } from "../domain/Request.ts"
import { Api } from "./Api.ts"
import { ExportLine } from "./ExportLine.ts"
import { McpApi } from "./McpApi.ts"
import { complete } from "./openapi/Document.ts"
import { StreamEvent } from "./StreamEvent.ts"
import { UiMessageChunk } from "./UiMessageChunk.ts"

class Docs extends HttpApiGroup.make("docs")
  .add(
    HttpApiEndpoint.get("document", "/openapi.json")
      .addSuccess(
        Schema.Struct({ openapi: Schema.String }, { key: Schema.String, value: Schema.Unknown }).annotations({
          description: "This document",
          examples: [{ openapi: "3.1.0", info: { title: "taskchat", version: "1.0.0" }, paths: {} }]
        })
      )
      .annotate(OpenApi.Identifier, "openApi")
      .annotate(OpenApi.Summary, "This document")
      .annotate(OpenApi.Description, "OpenAPI 3.1: every endpoint, header, error code and stream event.")
  )
  .add(
    HttpApiEndpoint.get("page", "/docs")
      .addSuccess(
        HttpApiSchema.Text({ contentType: "text/html" }).annotations({
          description: "The page",
          jsonSchema: { type: "string", examples: ['<!DOCTYPE html>\n<html lang="en">…</html>\n'] }
        })
      )
      .annotate(OpenApi.Identifier, "docs")
      .annotate(OpenApi.Summary, "This document as an interactive page")
      .annotate(OpenApi.Description, "It loads nothing from anywhere else.")
  )
  .annotate(OpenApi.Description, "This document") {}

/** The API with the endpoints of its own documentation. */
class DocumentedApi extends Api.add(McpApi)
  .add(Docs)
  .annotate(HttpApi.AdditionalSchemas, [
    StreamEvent,
    UiMessageChunk,
    ExportLine,
    wire(NotFound),
    wire(MethodNotAllowed),
    wire(RequestTimeout),
    wire(HeadersTooLarge)
  ])
  .annotate(OpenApi.Transform, ({ components, paths, ...rest }) => complete({ ...rest, paths, components })) {}

let whole: OpenApi.OpenAPISpec | undefined

/** The OpenAPI 3.1 document of the whole API. Created on first use. */
export const openApi = (): OpenApi.OpenAPISpec => {
  whole ??= OpenApi.fromApi(DocumentedApi, { additionalPropertiesStrategy: "allow" })
  return whole
}

/** The security scheme of OpenAPI. */
export type SecurityScheme = OpenApi.OpenAPISecurityScheme

/** Options for the document of a mounted API. */
export interface Served {
  /** The prefix of the app's paths for clients, and of the API's paths within the app; each empty or `/…`. */
  readonly root: string
  readonly prefix: string
  /** The mounted groups. */
  readonly groups: ReadonlySet<string>
  /** `undefined` leaves it out of the document. */
  readonly scheme: SecurityScheme | undefined
}

const metadata = "/.well-known/oauth-protected-resource"

/** The document of a mounted API. */
export const documentOf = ({ groups, prefix, root, scheme }: Served): OpenApi.OpenAPISpec => {
  const { components, tags, ...rest } = openApi()
  const name = scheme === ownScheme ? "bearer" : "app"
  const paths = Object.entries(rest.paths).flatMap(([path, item]) => {
    const operations = Object.entries(item)
      .filter(([, { tags }]) => tags.some((tag) => groups.has(tag)))
      .map(([method, operation]) => [
        method,
        { ...operation, security: scheme === undefined ? [] : operation.security.map(() => ({ [name]: [] })) }
      ])
    if (operations.length === 0) return []
    const there = Object.fromEntries(operations)
    if (prefix === "" || !path.startsWith(metadata)) return [[path, there]]
    // This path is always at the app's root, without the prefix.
    return path === metadata
      ? []
      : [[path.replace(metadata, metadata + prefix), { servers: [serverAt(root)], ...there }]]
  })
  return {
    ...rest,
    servers: [serverAt(root + prefix)],
    tags: tags.filter(({ name }) => groups.has(name)),
    paths: Object.fromEntries(paths),
    components:
      scheme === ownScheme
        ? components
        : { ...components, securitySchemes: scheme === undefined ? {} : { [name]: scheme } }
  }
}

const serverAt = (path: string) => ({ url: path === "" ? "/" : path })

/** The security scheme of the whole API. */
export const ownScheme: SecurityScheme = { type: "http", scheme: "bearer" }
