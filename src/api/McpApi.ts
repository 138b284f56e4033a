import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { wire } from "../domain/Problem.ts"
import {
  InvalidToken,
  MissingToken,
  NotAcceptable,
  OriginForbidden,
  PayloadTooLarge,
  RateLimited,
  TimeZone,
  Unavailable,
  UnsupportedMediaType
} from "../domain/Request.ts"

const version = Schema.Literal("2.0")
const id = Schema.Union(Schema.String, Schema.Number)
const unknown = { key: Schema.String, value: Schema.Unknown }

const JsonRpcMessage = Schema.Struct(
  {
    jsonrpc: version,
    id: Schema.optional(id),
    method: Schema.String,
    params: Schema.optional(Schema.Struct({}, unknown))
  },
  unknown
).annotations({
  identifier: "JsonRpcMessage",
  description: "A request, or a notification if it has no `id`",
  jsonSchema: {
    type: "object",
    required: ["jsonrpc", "method"],
    properties: {
      jsonrpc: { type: "string", enum: ["2.0"] },
      id: { anyOf: [{ type: "string" }, { type: "number" }] },
      method: { type: "string" },
      params: { type: "object" }
    },
    examples: [{ jsonrpc: "2.0", id: 1, method: "tools/list", params: {} }]
  }
})

const JsonRpcAnswer = Schema.Struct({ jsonrpc: version, id: Schema.NullOr(id) }, unknown).annotations({
  identifier: "JsonRpcAnswer",
  description: "`result`, or `error` with its `code` and `message`",
  jsonSchema: {
    type: "object",
    required: ["jsonrpc", "id"],
    properties: {
      jsonrpc: { type: "string", enum: ["2.0"] },
      id: { anyOf: [{ type: "string" }, { type: "number" }, { type: "null" }] },
      result: { type: "object" },
      error: {
        type: "object",
        required: ["code", "message"],
        properties: { code: { type: "integer" }, message: { type: "string" } }
      }
    },
    examples: [{ jsonrpc: "2.0", id: 1, result: { tools: [] } }]
  }
})

/** An answer for clients of the revisions before 2026-07-28. */
export const event = 'event: message\ndata: {"jsonrpc":"2.0","id":1,"result":{"tools":[]}}\n\n'

const ResourceMetadata = Schema.Struct({
  resource: Schema.String.annotations({ description: "The address of `/mcp`" }),
  resource_name: Schema.String,
  bearer_methods_supported: Schema.Array(Schema.String),
  authorization_servers: Schema.optional(
    Schema.Array(Schema.String).annotations({ description: "The issuer of tokens, if it is an address" })
  )
}).annotations({
  identifier: "ResourceMetadata",
  description: "A resource and who issues tokens for it (RFC 9728)",
  examples: [
    { resource: "https://tasks.example.com/mcp", resource_name: "taskchat", bearer_methods_supported: ["header"] }
  ]
})

const metadata = <Name extends string>(name: Name, path: `/${string}`) =>
  HttpApiEndpoint.get(name, path)
    .addSuccess(ResourceMetadata)
    .annotate(OpenApi.Identifier, name)
    .annotate(OpenApi.Summary, "The issuer of tokens, for MCP clients")

/** Documents the answers of `http/mcp/Mcp.ts`. It is not part of the derived client. */
export class McpApi extends HttpApiGroup.make("mcp")
  .add(
    HttpApiEndpoint.post("mcp", "/mcp")
      .setHeaders(
        Schema.Struct({
          "mcp-protocol-version": Schema.optional(
            Schema.String.annotations({
              description: "The agreed revision of the protocol",
              examples: ["2025-11-25"]
            })
          ),
          "time-zone": Schema.optional(TimeZone)
        })
      )
      .setPayload(JsonRpcMessage)
      .addSuccess(JsonRpcAnswer)
      .addSuccess(HttpApiSchema.Accepted.annotations({ description: "The notification was accepted" }))
      .addError(wire(MissingToken))
      .addError(wire(InvalidToken))
      .addError(wire(OriginForbidden))
      .addError(wire(NotAcceptable))
      .addError(wire(PayloadTooLarge))
      .addError(wire(UnsupportedMediaType))
      .addError(wire(RateLimited))
      .addError(wire(Unavailable))
      .annotate(OpenApi.Identifier, "mcp")
      .annotate(OpenApi.Summary, "The agent's tools for MCP clients")
      .annotate(
        OpenApi.Description,
        "The Model Context Protocol over Streamable HTTP, without sessions: use an MCP client. Errors within the protocol are JSON-RPC errors, as `application/json` and with the protocol's statuses; the problem documents here come before it."
      )
      .annotate(OpenApi.Override, { security: [{ bearer: [] }] })
  )
  .add(
    metadata("resourceMetadata", "/.well-known/oauth-protected-resource").annotate(
      OpenApi.Description,
      "OAuth 2.0 Protected Resource Metadata (RFC 9728)."
    )
  )
  .add(
    metadata("mcpMetadata", "/.well-known/oauth-protected-resource/mcp").annotate(
      OpenApi.Description,
      "The same, at RFC 9728's address for a resource with a path."
    )
  )
  .annotate(OpenApi.Description, "The tasks for MCP clients") {}
