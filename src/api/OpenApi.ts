import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { wire } from "../domain/Problem.ts"
import { HeadersTooLarge, MethodNotAllowed, NotFound, RequestTimeout } from "../domain/Request.ts"
import { Api } from "./Api.ts"
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
      .annotate(OpenApi.Summary, "This document as a page to try it with")
      .annotate(OpenApi.Description, "It loads nothing from anywhere else.")
  )
  .annotate(OpenApi.Description, "What you are reading") {}

/** The API as it is documented, which is with its documentation. */
export class DocumentedApi extends Api.add(McpApi)
  .add(Docs)
  .annotate(HttpApi.AdditionalSchemas, [
    StreamEvent,
    UiMessageChunk,
    wire(NotFound),
    wire(MethodNotAllowed),
    wire(RequestTimeout),
    wire(HeadersTooLarge)
  ])
  .annotate(OpenApi.Transform, ({ components, paths, ...rest }) => complete({ ...rest, paths, components })) {}

/** The OpenAPI 3.1 document of the whole API. */
export const openApi = OpenApi.fromApi(DocumentedApi, { additionalPropertiesStrategy: "allow" })
