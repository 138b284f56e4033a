import { LanguageModel, type Tool, type Toolkit } from "@effect/ai"
import { Context, type DateTime, Effect, Layer, Option, Stream } from "effect"
import { type AgentError, AgentEvent } from "../../domain/Agent.ts"
import type { Confirm, Decided, HeldCall } from "../../domain/Approval.ts"
import type { HistoryMessage } from "../../domain/Conversation.ts"
import type { TurnId, UserId } from "../../domain/Id.ts"
import type { ToolCall } from "../../domain/ToolCall.ts"
import type { BudgetExhausted, TurnLost } from "../../domain/Turn.ts"
import * as Pull from "../../runtime/Pull.ts"
import * as AgentLoop from "./AgentLoop.ts"
import * as AgentPrompt from "./AgentPrompt.ts"
import { FallbackModel, ModelName } from "./Models.ts"
import * as ToolExecutor from "./ToolExecutor.ts"

/** The agent's view of one turn. */
export interface AgentTurn {
  readonly id: TurnId
  readonly user: UserId
  readonly timeZone: string
  readonly message: string
  /** The history, oldest first. */
  readonly history: ReadonlyArray<HistoryMessage>
  /** The user's decision on the calls that the last message of `history` held back, if the turn began with one. */
  readonly decided?: Decided | undefined
  /** The turn's deadline; without one it has no limit. Retries do not wait beyond it. */
  readonly deadline?: DateTime.Utc | undefined
  /** Runs a tool call and records it in one transaction. Fails with `TurnLost` if this process has lost the turn. */
  readonly record: (place: CallPlace, call: Effect.Effect<ToolCall>) => Effect.Effect<ToolCall, TurnLost>
  /**
   * Called when a request is sent to a model, with its estimated cost, which counts if no `StepEnded` follows; and without
   * an estimate if the model's service did not accept the request.
   */
  readonly asked?: ((estimate: (() => number) | undefined) => void) | undefined
  /** Runs before each further step, and fails if there may be no other step. */
  readonly goOn?: Effect.Effect<void, BudgetExhausted> | undefined
}

/** A tool call's position in its turn. */
export interface CallPlace {
  readonly step: number
  /** Counts the calls of a step from 0. */
  readonly position: number
  /** The provider's own id of the call, stored beside its record. */
  readonly providerCallId?: string | undefined
}

export interface AgentOptions {
  /** Calls of the model in one turn, at most. In the last one it must answer with text. */
  readonly maxSteps: number
  /** An estimate of the tokens that earlier turns may take in a request; without it, only their number is limited. */
  readonly historyMaxTokens?: number
  /** Which calls need the user's approval; none when absent. */
  readonly confirm?: Confirm
  /** Estimated tokens of an answer whose cost is not reported; 4,096 when absent. */
  readonly maxOutputTokens?: number
  /** The agent's instructions; the date, the time and the zone are added. */
  readonly instructions?: string
}

/**
 * Answers a message with the help of tools. A step is one call of the model and the tool calls it asked for, which run in
 * order. The model gets failed tools, wrong arguments and unknown tools as results; they never end the turn.
 */
export class Agent extends Context.Tag("taskchat/services/Agent")<
  Agent,
  {
    readonly run: (turn: AgentTurn) => Stream.Stream<AgentEvent, AgentError | TurnLost | BudgetExhausted>
    /** Runs calls that `run` held back, in order, as the first step of the turn. Absent if `run` holds none back. */
    readonly runHeld?: (
      turn: Pick<AgentTurn, "id" | "user" | "timeZone" | "record">,
      calls: ReadonlyArray<HeldCall>
    ) => Effect.Effect<ReadonlyArray<ToolCall>, TurnLost>
    /** Estimates the tokens of the first step, which a budget reserves; 4,096 when absent. */
    readonly estimate?: ((turn: Pick<AgentTurn, "decided" | "history" | "message">) => number) | undefined
  }
>() {
  /**
   * An agent with the tools of `toolkit`, whose handlers may require `ToolContext`. `ModelName` is its model's name, and
   * `FallbackModel` its fallback.
   */
  static readonly layer = <Tools extends Record<string, Tool.Any>>(
    toolkit: Toolkit.Toolkit<Tools>,
    options: AgentOptions
  ): Layer.Layer<Agent, never, LanguageModel.LanguageModel | Tool.HandlersFor<Tools>> =>
    Layer.effect(
      Agent,
      Effect.gen(function* () {
        const first = { name: yield* ModelName, model: yield* LanguageModel.LanguageModel }
        const models = { first, fallback: Option.getOrUndefined(yield* FallbackModel) }
        const tools = yield* ToolExecutor.make(toolkit)
        return Agent.of({
          run: (turn) => Pull.toStream(() => AgentLoop.make(models, tools, options, turn)),
          runHeld: (turn, calls) => ToolExecutor.runHeld(tools, turn, calls),
          estimate: (turn) => AgentPrompt.costOf(AgentPrompt.firstPrompt(options, turn), options.maxOutputTokens)
        })
      })
    )

  /** Repeats every message, in one step and without a tool. */
  static readonly layerTest: Layer.Layer<Agent> = Layer.succeed(Agent, {
    run: ({ message }) =>
      Stream.make(
        AgentEvent.Text({ text: message }),
        AgentEvent.StepEnded({ usage: { inputTokens: 1, outputTokens: 1 } })
      )
  })
}
