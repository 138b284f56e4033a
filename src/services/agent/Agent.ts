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

/** One turn, as the agent needs to know it. */
export interface AgentTurn {
  readonly id: TurnId
  readonly user: UserId
  readonly timeZone: string
  readonly message: string
  /** What was said before, oldest first. */
  readonly history: ReadonlyArray<HistoryMessage>
  /** If the user began the turn with a decision on the calls that the last message of `history` held back. */
  readonly decided?: Decided | undefined
  /** When the turn's time is up; absent, it has no limit. Nothing is waited for beyond it. */
  readonly deadline?: DateTime.Utc | undefined
  /**
   * Runs a tool call so that its effect and its record are one: both are kept, or neither. Fails with `TurnLost` if the
   * turn is no longer this process's to work on.
   */
  readonly record: (place: CallPlace, call: Effect.Effect<ToolCall>) => Effect.Effect<ToolCall, TurnLost>
  /**
   * Is told when a model is asked, with an estimate of what that costs, which counts if no `StepEnded` follows; and without
   * one if the model's service did not take the request.
   */
  readonly asked?: ((estimate: (() => number) | undefined) => void) | undefined
  /** Runs before each step but the first, and fails if there may not be another one. */
  readonly goOn?: Effect.Effect<void, BudgetExhausted> | undefined
}

/** A tool call's place in its turn. */
export interface CallPlace {
  readonly step: number
  /** Counts the calls of a step from 0. */
  readonly position: number
  /** The provider's own id of the call, to be kept beside its record. */
  readonly providerCallId?: string | undefined
}

export interface AgentOptions {
  /** Calls of the model in one turn, at most. In the last one it has to answer in words. */
  readonly maxSteps: number
  /** An estimate of the tokens that earlier turns may take in a request; without it, only their number is limited. */
  readonly historyMaxTokens?: number
  /** Which calls need the user's approval; none when absent. */
  readonly confirm?: Confirm
  /** What an answer costs at most, where the model does not tell; 4,096 when absent. */
  readonly maxOutputTokens?: number
  /** Who the agent is and how it behaves; the date, the time and the zone are added. */
  readonly instructions?: string
}

/**
 * Answers a message with the help of tools. A step is one call of the model and the tool calls it asked for, which run
 * in order. A failed tool, wrong arguments and unknown tools are told to the model; they never end the turn.
 */
export class Agent extends Context.Tag("taskchat/services/Agent")<
  Agent,
  {
    readonly run: (turn: AgentTurn) => Stream.Stream<AgentEvent, AgentError | TurnLost | BudgetExhausted>
    /** Runs calls that `run` held back, in order, as the first step of the turn. Absent where `run` holds none back. */
    readonly runHeld?: (
      turn: Pick<AgentTurn, "id" | "user" | "timeZone" | "record">,
      calls: ReadonlyArray<HeldCall>
    ) => Effect.Effect<ReadonlyArray<ToolCall>, TurnLost>
    /** Tokens that the first step may cost, which a budget sets aside; 4,096 when absent. */
    readonly estimate?: ((turn: Pick<AgentTurn, "decided" | "history" | "message">) => number) | undefined
  }
>() {
  /**
   * An agent with the tools of `toolkit`, whose handlers may ask for `ToolContext`. `ModelName` names its model, and a
   * `FallbackModel` stands in for it.
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

  /** Says every message back, in one step and without a tool. */
  static readonly layerTest: Layer.Layer<Agent> = Layer.succeed(Agent, {
    run: ({ message }) =>
      Stream.make(
        AgentEvent.Text({ text: message }),
        AgentEvent.StepEnded({ usage: { inputTokens: 1, outputTokens: 1 } })
      )
  })
}
