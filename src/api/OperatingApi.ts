import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { wire } from "../domain/Problem.ts"
import { Unavailable } from "../domain/Request.ts"

const Status = Schema.Struct({ status: Schema.Literal("ok") }).annotations({
  identifier: "Status",
  description: "All is well"
})

const Readiness = Schema.Struct({
  ...Status.fields,
  redis: Schema.optional(Schema.Literal("away")).annotations({
    description: "Present while Redis does not count requests: each process counts for itself"
  })
}).annotations({ identifier: "Readiness", description: "It can take requests" })

/** For whoever runs the service: no token, no limit. */
export class OperatingApi extends HttpApiGroup.make("operating")
  .add(
    HttpApiEndpoint.get("health", "/health")
      .addSuccess(Status)
      .annotate(OpenApi.Identifier, "health")
      .annotate(OpenApi.Summary, "Is the process alive?")
      .annotate(OpenApi.Description, "Asks nothing of the database: a process must not be restarted for its absence.")
  )
  .add(
    HttpApiEndpoint.get("ready", "/ready")
      .addSuccess(Readiness)
      .addError(wire(Unavailable))
      .annotate(OpenApi.Identifier, "ready")
      .annotate(OpenApi.Summary, "Can it take requests?")
      .annotate(
        OpenApi.Description,
        "503 while the database does not answer or accepts no writes, and from the first moment of a shutdown. A missing Redis is told, but is no reason for it."
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
      .annotate(OpenApi.Summary, "What the process has counted, in Prometheus' text format")
      .annotate(OpenApi.Description, "Names no user, and nothing that anyone wrote.")
  )
  .annotate(OpenApi.Description, "For whoever runs the service") {}
