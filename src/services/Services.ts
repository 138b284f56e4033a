import type { LanguageModel } from "@effect/ai"
import type { SqlClient } from "@effect/sql"
import { Duration, Layer } from "effect"
import type { Confirm } from "../domain/Approval.ts"
import type { Signals } from "../sql/Signals.ts"
import { Idempotency } from "./access/Idempotency.ts"
import { TokenUsage } from "./access/TokenUsage.ts"
import { Agent } from "./agent/Agent.ts"
import { Conversations } from "./Conversations.ts"
import { Erasing } from "./data/Erasing.ts"
import { Erasure } from "./data/Erasure.ts"
import { Exports } from "./data/Exports.ts"
import * as Retention from "./data/Retention.ts"
import { Tasks } from "./tasks/Tasks.ts"
import * as TaskTools from "./tasks/TaskTools.ts"
import { Chat } from "./turns/Chat.ts"
import { Turns } from "./turns/Turns.ts"

export interface TurnOptions {
  /** For a whole turn; 30 seconds when absent. */
  readonly timeout?: Duration.DurationInput | undefined
  /** How many messages the agent is reminded of; 20 when absent. */
  readonly historyLimit?: number | undefined
  /** Turns of this node; 1000 when absent. */
  readonly maxRunning?: number | undefined
  /** Turns of one user's; 5 when absent. */
  readonly maxRunningPerUser?: number | undefined
  readonly retention?: {
    /** How long a conversation stays in which nothing more is said; for ever when absent. At least a day. */
    readonly conversations?: Duration.DurationInput | undefined
    /** How long what was deleted stays in the database; 30 days when absent. */
    readonly deleted?: Duration.DurationInput | undefined
  }
}

export interface Options extends TurnOptions {
  /** Calls of the model in one turn; 8 when absent. */
  readonly maxSteps?: number | undefined
  /** An estimate of the tokens that earlier turns may take in a request; 16,000 when absent. */
  readonly historyMaxTokens?: number | undefined
  /** Which of the agent's calls need the user's approval; none when absent. */
  readonly confirm?: Confirm | undefined
  /** What an answer of the model costs at most, where it does not tell; 4,096 when absent. */
  readonly maxOutputTokens?: number | undefined
  /** Who the agent is and how it behaves; its own when absent. */
  readonly instructions?: string | undefined
}

/** What an agent may use. */
type Kept = Turns | Tasks | Conversations | Idempotency | TokenUsage
type Services = Chat | Erasure | Exports | Kept

/** A node that is gone gives up its turns after so long. */
const lease = Duration.seconds(15)

/** All of the API's services but users and limits, on a model and a database of one's own. */
export const layer = (
  options: Options = {}
): Layer.Layer<Services, never, LanguageModel.LanguageModel | SqlClient.SqlClient | Signals> =>
  layerOf(
    Agent.layer(TaskTools.TaskTools, {
      maxSteps: options.maxSteps ?? 8,
      historyMaxTokens: options.historyMaxTokens ?? 16_000,
      confirm: options.confirm ?? "off",
      ...(options.maxOutputTokens !== undefined && { maxOutputTokens: options.maxOutputTokens }),
      ...(options.instructions !== undefined && { instructions: options.instructions })
    }).pipe(Layer.provide(TaskTools.layer)),
    options
  )

/** The same with another agent: one with other tools, say. It may use the tasks and the conversations. */
export const layerOf = <E, R>(
  agent: Layer.Layer<Agent, E, R>,
  options: TurnOptions = {}
): Layer.Layer<Services, E, Exclude<R, Kept> | SqlClient.SqlClient | Signals> =>
  Chat.layer({
    timeout: Duration.decode(options.timeout ?? "30 seconds"),
    maxRunning: options.maxRunning ?? 1000,
    lease
  }).pipe(
    Layer.provide(agent),
    Layer.provideMerge(
      Layer.mergeAll(
        Tasks.layer,
        Conversations.layer,
        Idempotency.layer,
        TokenUsage.layer,
        Turns.layer({
          historyLimit: options.historyLimit ?? 20,
          maxRunningPerUser: options.maxRunningPerUser ?? 5,
          lease
        })
      )
    ),
    Layer.merge(data(options))
  )

/** What ends the data's life, by itself or when it is asked for. */
const data = ({ retention = {} }: TurnOptions) =>
  Layer.mergeAll(
    Erasure.layer,
    Layer.provide(Exports.layer, Erasing.layer),
    Retention.layer({
      conversations: retention.conversations === undefined ? undefined : Duration.decode(retention.conversations),
      deleted: Duration.decode(retention.deleted ?? "30 days")
    })
  )
