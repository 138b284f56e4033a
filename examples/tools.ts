/** The agent's tools and one more. */
import { Tool, Toolkit } from "@effect/ai"
import { Context, Effect, Layer, Schema } from "effect"
import { Agent, Services, TaskTools, type UserId } from "taskchat"

export class Budgets extends Context.Tag("example/Budgets")<
  Budgets,
  { readonly left: (user: UserId, month: string) => Effect.Effect<number> }
>() {}

const GetBudget = Tool.make("get_budget", {
  description: "How much of the user's budget for a month is left, in euros.",
  parameters: { month: Schema.String.annotations({ description: "Such as 2026-01" }) },
  success: Schema.Struct({ left: Schema.Number }),
  dependencies: [TaskTools.ToolContext]
})

const BudgetTools = Toolkit.make(GetBudget)

const handlers = BudgetTools.toLayer(
  Effect.map(Budgets, (budgets) =>
    BudgetTools.of({
      // Whose budget it is comes from the turn, never from the model.
      get_budget: ({ month }) =>
        Effect.gen(function* () {
          const { user } = yield* TaskTools.ToolContext
          return { left: yield* budgets.left(user, month) }
        })
    })
  )
)

const agent = Agent.layer(Toolkit.merge(TaskTools.TaskTools, BudgetTools), { maxSteps: 8 }).pipe(
  Layer.provide([TaskTools.layer, handlers])
)

/** Needs a model, a database and `Budgets`. */
export const services = Services.layerOf(agent)
