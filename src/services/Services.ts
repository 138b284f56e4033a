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
  /** The number of earlier messages that the agent gets; 20 when absent. */
  readonly historyLimit?: number | undefined
  /** Running turns of this node, at most; 1000 when absent. */
  readonly maxRunning?: number | undefined
  /** Running turns of one user, at most; 5 when absent. */
  readonly maxRunningPerUser?: number | undefined
  readonly retention?: {
    /** How long a conversation without new messages is kept; for ever when absent. At least a day. */
    readonly conversations?: Duration.DurationInput | undefined
    /** How long deleted data stays in the database; 30 days when absent. */
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
  /** Estimated tokens of an answer whose cost is not reported; 4,096 when absent. */
  readonly maxOutputTokens?: number | undefined
  /** The agent's instructions; its own when absent. */
  readonly instructions?: string | undefined
}

/** The services that an agent may use. */
type Kept = Turns | Tasks | Conversations | Idempotency | TokenUsage
type Services = Chat | Erasure | Exports | Kept

/** How long a lease lasts without renewal. */
const lease = Duration.seconds(15)

/** All services of the API except users and limits. Requires a model and a database. */
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

/** As `layer`, with another agent, such as one with other tools. It may use the tasks and the conversations. */
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

/** Deletes data, by its age or on request. */
const data = ({ retention = {} }: TurnOptions) =>
  Layer.mergeAll(
    Erasure.layer,
    Layer.provide(Exports.layer, Erasing.layer),
    Retention.layer({
      conversations: retention.conversations === undefined ? undefined : Duration.decode(retention.conversations),
      deleted: Duration.decode(retention.deleted ?? "30 days")
    })
  )
