import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { UserId } from "../domain/Id.ts"
import { key, Time } from "../domain/Json.ts"
import { Usage } from "../domain/Turn.ts"
import { ApiRateLimit, Authentication } from "./Authentication.ts"

const Allowance = Schema.Struct({
  limit: Schema.Int.annotations({ description: "Requests in a window", examples: [600] }),
  remaining: Schema.Int.annotations({ description: "How many are left in this window", examples: [599] }),
  resetsAt: Time.pipe(key("resets_at"))
}).annotations({ identifier: "Allowance", description: "How many requests the user may still send" })

export class Me extends Schema.Class<Me>("Me")(
  {
    userId: UserId.pipe(key("user_id")),
    limits: Schema.Struct({ chat: Allowance, api: Allowance }),
    usage: Usage.annotations({
      identifier: "UsageToday",
      description: "Tokens of the model, of the ended turns that began since midnight in UTC"
    })
  },
  [undefined, { identifier: "Me", description: "The token's user" }]
) {}

export class UsersApi extends HttpApiGroup.make("users")
  .add(
    HttpApiEndpoint.get("me", "/api/me")
      .addSuccess(Me)
      .annotate(OpenApi.Identifier, "getMe")
      .annotate(OpenApi.Summary, "Who am I?")
      .annotate(
        OpenApi.Description,
        "The token's user, with what is left of their limits and what they have used. In every other path `me` stands for that user, too."
      )
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "Who asks") {}
