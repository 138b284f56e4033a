import { HttpServerResponse } from "@effect/platform"
import { DateTime, Effect } from "effect"
import { Api } from "../api/Api.ts"
import * as ExportLine from "../api/ExportLine.ts"
import { CurrentUser } from "../domain/Request.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { type Copy, Exports } from "../services/data/Exports.ts"

/** The browser saves it as a file with the user and the day in its name. */
const download = (copy: Copy, contentType: string, name: string) =>
  HttpServerResponse.stream(copy, {
    contentType,
    headers: { "content-disposition": `attachment; filename="${name}"` }
  })

const today = Effect.map(DateTime.now, DateTime.formatIsoDateUtc)

export const layer = HttpApiRoutes.group(Api, "data", (handlers) =>
  Effect.map(Exports, (exports) =>
    handlers
      .handle(
        "export",
        Effect.fnUntraced(function* () {
          const { id } = yield* CurrentUser
          const copy = yield* exports.everything(id)
          return download(copy, ExportLine.contentType, `taskchat-${id}-${yield* today}.jsonl`)
        })
      )
      .handle(
        "calendar",
        Effect.fnUntraced(function* () {
          const { id } = yield* CurrentUser
          return download(yield* exports.calendar(id), "text/calendar", "tasks.ics")
        })
      )
  )
)
