import { AiError, type Tool, type Toolkit } from "@effect/ai"
import { Clock, Cause as Defect, Effect, Predicate, Schema } from "effect"
import { storable } from "../domain/Json.ts"
import { Cause } from "../domain/Task.ts"
import { type ToolCall, ToolResult } from "../domain/ToolCall.ts"
import type { TurnLost } from "../domain/Turn.ts"
import type { AgentTurn } from "./Agent.ts"
import { ToolContext } from "./TaskTools.ts"
import * as ToolOffers from "./ToolOffers.ts"

/** A toolkit with the types of its tools forgotten. */
export interface Hands {
  readonly tools: ToolOffers.Tools
  readonly offered: Toolkit.WithHandler<Record<string, Tool.Any>>
  readonly handle: (
    tool: string,
    parameters: unknown
  ) => Effect.Effect<{ readonly encodedResult: unknown }, unknown, ToolContext>
}

/** What the model asked for. */
export interface Call {
  readonly id: string
  readonly tool: string
  readonly parameters: unknown
  /** Why it cannot be run. */
  readonly refusal: string | undefined
}

/** Of one step; more are refused: no plan needs them, and a model that runs in circles does not stop by itself. */
const maxCalls = 32

/** A call as it is kept and shown, and whether it can be run. */
export const callOf = (
  tools: ToolOffers.Tools,
  { id, name, params }: { readonly id: string; readonly name: string; readonly params: unknown }
): Call => {
  const refusal = ToolOffers.refusalOf(tools, name, params)
  return {
    id: storable(id),
    tool: storable(name),
    // In an object, which is what every provider takes back.
    parameters: clean(Predicate.isReadonlyRecord(params) ? params : { arguments: rawOf(params).slice(0, 2000) }),
    refusal: refusal === undefined ? undefined : storable(refusal)
  }
}

const rawOf = (params: unknown) => (typeof params === "string" ? params : (JSON.stringify(params) ?? ""))

/** JSON as PostgreSQL can store it. */
const clean = (value: unknown): unknown => {
  if (typeof value === "string") return storable(value)
  if (Array.isArray(value)) return value.map(clean)
  if (Predicate.isRecord(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [storable(name), clean(member)]))
  }
  return value
}

/** One tool call with its record, as a result whatever becomes of it. */
export const use = (
  hands: Hands,
  turn: AgentTurn,
  call: Call,
  place: { readonly step: number; readonly position: number }
): Effect.Effect<ToolCall, TurnLost> => {
  const done = (run: Effect.Effect<ToolResult>): Effect.Effect<ToolCall> =>
    Effect.gen(function* () {
      const from = yield* Clock.currentTimeMillis
      const result = asResult(clean(yield* run))
      // Clocks may count parts of milliseconds, and run backwards.
      const durationMs = Math.max(0, Math.round((yield* Clock.currentTimeMillis) - from))
      return { id: call.id, tool: call.tool, parameters: call.parameters, result, durationMs }
    })

  const refusal = place.position < maxCalls ? call.refusal : `At most ${maxCalls} tool calls at once.`
  const run = (
    refusal === undefined
      ? Effect.match(hands.handle(call.tool, call.parameters), {
          onSuccess: ({ encodedResult }) => toResult(encodedResult),
          onFailure: toResult
        })
      : Effect.succeed<ToolResult>({ status: "error", error: refusal })
  ).pipe(
    // @effect/ai puts the arguments, which are people's words, on its span.
    Effect.withTracerEnabled(false),
    Effect.provideService(ToolContext, {
      user: turn.user,
      timeZone: turn.timeZone,
      cause: Cause.Turn({ turnId: turn.id, ...place })
    })
  )

  return turn.record(place, done(run)).pipe(
    Effect.catchAllDefect((defect) =>
      // Its transaction is gone with whatever it had done; that it failed is recorded on its own.
      Effect.zipRight(
        // As a cause it is logged by its stack alone, without the members of a database's error, which quote rows.
        Effect.logError("Tool failed", Defect.die(defect)).pipe(Effect.annotateLogs({ tool: call.tool })),
        turn.record(place, done(Effect.succeed({ status: "error", error: "The tool failed unexpectedly." })))
      )
    )
  )
}

const isResult = Schema.is(ToolResult)
const asResult = Schema.decodeUnknownSync(ToolResult)

const toResult = (value: unknown): ToolResult => {
  if (isResult(value)) return value
  if (AiError.isAiError(value)) return { status: "error", error: "The arguments do not fit the tool's parameters." }
  return Predicate.isError(value) || Predicate.hasProperty(value, "error")
    ? { status: "error", error: "message" in value ? String(value.message) : String(value.error) }
    : { status: "success", result: value }
}
