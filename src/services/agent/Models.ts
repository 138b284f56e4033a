import { LanguageModel } from "@effect/ai"
import { Context, Effect, Layer, Option } from "effect"

/** A model, and its name in turns, usage and metrics: `provider:model`. */
export interface NamedModel {
  readonly name: string
  readonly model: LanguageModel.Service
}

/** The models of an agent. */
export interface Models {
  readonly first: NamedModel
  readonly fallback: NamedModel | undefined
}

/** The name of the agent's `LanguageModel`. */
export class ModelName extends Context.Reference<ModelName>()("taskchat/services/ModelName", {
  defaultValue: () => "custom"
}) {}

/**
 * Answers a turn if the agent's `LanguageModel` is busy or unreachable in the turn's first step. It gets the whole
 * conversation, so that both services may see everything.
 */
export class FallbackModel extends Context.Reference<FallbackModel>()("taskchat/services/FallbackModel", {
  defaultValue: (): Option.Option<NamedModel> => Option.none()
}) {
  static readonly layer = <E, R>(name: string, model: Layer.Layer<LanguageModel.LanguageModel, E, R>) =>
    Layer.scoped(
      FallbackModel,
      Effect.map(Layer.build(model), (built) =>
        Option.some({ name, model: Context.get(built, LanguageModel.LanguageModel) })
      )
    )
}
