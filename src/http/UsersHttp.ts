import { DateTime, Effect } from "effect"
import { Api } from "../api/Api.ts"
import { Me, UsageReport } from "../api/UsersApi.ts"
import { CurrentUser } from "../domain/Request.ts"
import { usageRange } from "../domain/UsageDay.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { type Policy, RateLimits } from "../services/access/RateLimits.ts"
import { TokenUsage } from "../services/access/TokenUsage.ts"

export const layer = HttpApiRoutes.group(Api, "users", (handlers) =>
  Effect.gen(function* () {
    const limits = yield* RateLimits
    const tokenUsage = yield* TokenUsage

    return handlers
      .handle(
        "usage",
        Effect.fnUntraced(function* ({ urlParams }) {
          const { id } = yield* CurrentUser
          const range = yield* usageRange(urlParams, yield* DateTime.now)
          return new UsageReport(yield* tokenUsage.report(id, range))
        })
      )
      .handle(
        "me",
        Effect.fnUntraced(function* () {
          const { id } = yield* CurrentUser
          const allowance = (policy: Policy) =>
            Effect.map(limits.take(policy, id, 0), ({ limit, remaining, resetAt }) => ({
              limit,
              remaining,
              resetsAt: DateTime.unsafeMake(resetAt * 1000)
            }))
          return new Me({
            userId: id,
            limits: yield* Effect.all({ chat: allowance("chat"), api: allowance("api") }),
            usage: yield* tokenUsage.today(id)
          })
        })
      )
  })
)
