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
  remaining: Schema.Int.annotations({ description: "Requests left in this window", examples: [599] }),
  resetsAt: Time.pipe(key("resets_at"))
}).annotations({ identifier: "Allowance", description: "The user's rate limit and the remaining requests" })

export class Me extends Schema.Class<Me>("Me")(
  {
    userId: UserId.pipe(key("user_id")),
    limits: Schema.Struct({ chat: Allowance, api: Allowance }),
    usage: Usage.annotations({
      identifier: "UsageToday",
      description: "Tokens of all ended turns that began since midnight UTC"
    })
  },
  [undefined, { identifier: "Me", description: "The token's user" }]
) {}

export class UsageReport extends Schema.Class<UsageReport>("UsageReport")(
  {
    days: Schema.Array(UsageDay).annotations({ description: "Every requested day, earliest first" }),
    limit: Schema.NullOr(Schema.Int).annotations({
      description: "The user's daily budget in tokens (input, output and estimates); null without a limit",
      examples: [200_000]
    }),
    remaining: Schema.NullOr(Schema.Int).annotations({
      description: "The rest of the budget for today, without the reservations of running turns; null without a limit",
      examples: [187_400]
    })
  },
  [undefined, { identifier: "UsageReport", description: "The cost of the user's turns per day" }]
) {}

export class UsersApi extends HttpApiGroup.make("users")
  .add(
    HttpApiEndpoint.get("me", "/api/me")
      .addSuccess(Me)
      .annotate(OpenApi.Identifier, "getMe")
      .annotate(OpenApi.Summary, "Read the token's user")
      .annotate(
        OpenApi.Description,
        "The token's user, what is left of their limits, and their usage. In every other path `me` also stands for that user."
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
      .annotate(OpenApi.Summary, "Read the user's usage")
      .annotate(
        OpenApi.Description,
        "Ended turns, by the UTC day on which they began. Both days are included; the range has at most 92 days. Days without a turn are listed too. The counts stay when conversations and turns are deleted."
      )
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "The token's user") {}
