import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { fromPath, UserId } from "../domain/Id.ts"
import { wire } from "../domain/Problem.ts"
import { PayloadTooLarge, UnsupportedMediaType } from "../domain/Request.ts"
import { Authentication, ErasureRateLimit } from "./Authentication.ts"

export const ErasureRequest = Schema.Struct({
  confirm: UserId.annotations({ description: "The user's id again, as a number" })
}).annotations({ identifier: "ErasureRequest", jsonSchema: { examples: [{ confirm: 1 }] } })

/** Only served with `ERASE_ENDPOINT=on`. */
export class ErasureApi extends HttpApiGroup.make("erasure")
  .add(
    HttpApiEndpoint.del("erase", "/api/:user_id/data")
      .setPath(Schema.Struct({ user_id: fromPath(UserId) }))
      .setPayload(ErasureRequest)
      .addSuccess(
        HttpApiSchema.Empty(202).annotations({ description: "The erasure is still running; send the request again" })
      )
      .addSuccess(HttpApiSchema.NoContent.annotations({ description: "All data of the user is erased" }))
      .addError(wire(PayloadTooLarge))
      .addError(wire(UnsupportedMediaType))
      .annotate(OpenApi.Identifier, "eraseData")
      .annotate(OpenApi.Summary, "Permanently erase everything stored about the user")
      .annotate(
        OpenApi.Description,
        "Ends the user's running turns and deletes all of their data. Send it again until the answer is 204. Until then all other requests of the user get 409 `erasure_in_progress`. The service has this endpoint only with `ERASE_ENDPOINT=on`."
      )
  )
  .middleware(ErasureRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "Erasing all data of the user") {}
