import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { fromPath, UserId } from "../domain/Id.ts"
import { ApiRateLimit, Authentication } from "./Authentication.ts"
import * as ExportLine from "./ExportLine.ts"

const UserPath = Schema.Struct({ user_id: fromPath(UserId) })

export class DataApi extends HttpApiGroup.make("data")
  .add(
    HttpApiEndpoint.get("export", "/api/:user_id/export")
      .setPath(UserPath)
      .addSuccess(
        HttpApiSchema.Text({ contentType: ExportLine.contentType }).annotations({
          description: "One object per line, by its `type`; the last one is `end`",
          jsonSchema: {
            type: "string",
            contentMediaType: ExportLine.contentType,
            contentSchema: { $ref: "#/components/schemas/ExportLine" },
            examples: [ExportLine.example]
          }
        })
      )
      .annotate(OpenApi.Identifier, "exportData")
      .annotate(OpenApi.Summary, "Export everything stored about the user")
      .annotate(
        OpenApi.Description,
        "JSON lines from one snapshot. An export whose last line is not of the type `end` was cut. One at a time per user."
      )
  )
  .add(
    HttpApiEndpoint.get("calendar", "/api/:user_id/tasks.ics")
      .setPath(UserPath)
      .addSuccess(
        HttpApiSchema.Text({ contentType: "text/calendar" }).annotations({
          description: "iCalendar (RFC 5545), each task a `VTODO`",
          jsonSchema: {
            type: "string",
            examples: ["BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//taskchat//taskchat//EN\r\nEND:VCALENDAR\r\n"]
          }
        })
      )
      .annotate(OpenApi.Identifier, "exportTasks")
      .annotate(OpenApi.Summary, "The user's tasks as iCalendar")
      .annotate(
        OpenApi.Description,
        "For programs with to-do lists: due dates, times in their zones, repetition, priority and labels. It counts as an export: one at a time per user."
      )
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "All of the user's data at once") {}
