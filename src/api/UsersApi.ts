import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { UserId } from "../domain/Id.ts"
import { key, Time } from "../domain/Json.ts"
import { LocalDate } from "../domain/Task.ts"
import { Usage } from "../domain/Turn.ts"
import { UsageDay } from "../domain/UsageDay.ts"
import { ApiRateLimit, Authentication } from "./Authentication.ts"
import { UserPath } from "./ChatApi.ts"

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

export class UsageReport extends Schema.Class<UsageReport>("UsageReport")(
  {
    days: Schema.Array(UsageDay).annotations({ description: "Every day that was asked for, earliest first" }),
    limit: Schema.NullOr(Schema.Int).annotations({
      description: "Tokens that the user may spend a day, input, output and estimates; null where there is no limit",
      examples: [200_000]
    }),
    remaining: Schema.NullOr(Schema.Int).annotations({
      description: "What is left of today's, less what is set aside for turns that run; null where there is no limit",
      examples: [187_400]
    })
  },
  [undefined, { identifier: "UsageReport", description: "What the user's turns have cost, day by day" }]
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
  .add(
    HttpApiEndpoint.get("usage", "/api/:user_id/usage")
      .setPath(UserPath)
      .setUrlParams(
        Schema.Struct({
          from: Schema.optional(
            LocalDate.annotations({ description: "The first day; 29 days before the last when absent" })
          ),
          to: Schema.optional(LocalDate.annotations({ description: "The last day; today in UTC when absent" }))
        })
      )
      .addSuccess(UsageReport)
      .annotate(OpenApi.Identifier, "getUsage")
      .annotate(OpenApi.Summary, "What have I used?")
      .annotate(
        OpenApi.Description,
        "Of ended turns, by the day in UTC on which they began; both days are included, and there are at most 92. Days without a turn are listed too. It stays when conversations and turns are deleted."
      )
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "Who asks") {}
