import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { wire } from "../domain/Problem.ts"
import { Unavailable } from "../domain/Request.ts"

const Status = Schema.Struct({ status: Schema.Literal("ok") }).annotations({
  identifier: "Status",
  description: "The process is running"
})

const Readiness = Schema.Struct({
  ...Status.fields,
  redis: Schema.optional(Schema.Literal("away")).annotations({
    description: "Present while Redis is away: each process counts requests for itself"
  })
}).annotations({ identifier: "Readiness", description: "The node can accept requests" })

/** For operators: without token and rate limit. */
export class OperatingApi extends HttpApiGroup.make("operating")
  .add(
    HttpApiEndpoint.get("health", "/health")
      .addSuccess(Status)
      .annotate(OpenApi.Identifier, "health")
      .annotate(OpenApi.Summary, "Is the process alive?")
      .annotate(OpenApi.Description, "Does not ask the database: its absence is no reason to restart the process.")
  )
  .add(
    HttpApiEndpoint.get("ready", "/ready")
      .addSuccess(Readiness)
      .addError(wire(Unavailable))
      .annotate(OpenApi.Identifier, "ready")
      .annotate(OpenApi.Summary, "Can the node accept requests?")
      .annotate(
        OpenApi.Description,
        "503 while the database does not answer or accepts no writes, and from the beginning of a shutdown. Without Redis it is 200, with a note."
      )
  )
  .add(
    HttpApiEndpoint.get("metrics", "/metrics")
      .addSuccess(
        HttpApiSchema.Text({ contentType: "text/plain; version=0.0.4; charset=utf-8" }).annotations({
          description: "Prometheus' text format",
          jsonSchema: {
            type: "string",
            examples: [
              '# TYPE taskchat_http_requests_total counter\ntaskchat_http_requests_total{route="/health",status="200"} 1\n'
            ]
          }
        })
      )
      .annotate(OpenApi.Identifier, "metrics")
      .annotate(OpenApi.Summary, "Metrics of this process, in Prometheus' text format")
      .annotate(OpenApi.Description, "No user ids and no text from people.")
  )
  .annotate(OpenApi.Description, "For operators") {}
