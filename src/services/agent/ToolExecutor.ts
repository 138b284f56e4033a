import type { Tool, Toolkit } from "@effect/ai"
import { Context, Cause as Defect, Duration, Effect, Either, Predicate, Record, Schema } from "effect"
import { storable } from "../../domain/Json.ts"
import { Cause } from "../../domain/Task.ts"
import { type ToolCall, ToolResult } from "../../domain/ToolCall.ts"
import type { TurnLost } from "../../domain/Turn.ts"
import * as Span from "../../runtime/Span.ts"
import { ToolContext } from "../tasks/TaskTools.ts"
import type { AgentTurn } from "./Agent.ts"
import * as ToolSchemas from "./ToolSchemas.ts"

/** A toolkit without the types of its tools: which call is for which tool is known at run time only. */
export interface AgentTools {
  readonly tools: ToolSchemas.Tools
  /** What the model is offered. */
  readonly offered: Toolkit.WithHandler<Record<string, Tool.Any>>
  /** Runs a tool with arguments that `ToolSchemas.read` has read; the answer is in its encoded form. */
  readonly handle: (
    tool: string,
    parameters: unknown,
    context: typeof ToolContext.Service
  ) => Effect.Effect<unknown, unknown>
}

/**
 * The toolkit as the agent uses it. Its own `handle` would read the arguments again, put them on a span, though they are
 * people's words, and take a hundred operations.
 */
export const make = <Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>
): Effect.Effect<AgentTools, never, Tool.HandlersFor<Tools>> =>
  Effect.gen(function* () {
    const { handle, tools } = yield* toolkit
    const handlers = yield* Effect.context<Tool.HandlersFor<Tools>>()
    const runs = Record.map(tools, (tool) => {
      // Safe: a toolkit's layer keeps each handler under its tool's id.
      const key = Context.GenericTag<Tool.HandlersFor<Tools>, Tool.Handler<string>>(tool.id)
      const { context, handler } = Context.get(handlers, key)
      const success = encoderOf(tool.successSchema)
      const failure = encoderOf(tool.failureSchema)
      return (parameters: unknown, about: typeof ToolContext.Service) =>
        handler(parameters).pipe(
          Effect.mapInputContext((input: Context.Context<never>) =>
            Context.add(Context.merge(context, input), ToolContext, about)
          ),
          Effect.matchEffect({
            onSuccess: success,
            onFailure: (error) => (tool.failureMode === "return" ? failure(error) : Effect.fail(error))
          })
        )
    })
    return {
      tools,
      // Safe: it is some toolkit, of which a model is told the names and descriptions.
      offered: { tools: ToolSchemas.lenient(tools), handle } as unknown as AgentTools["offered"],
      handle: (tool, parameters, context) => runs[tool]?.(parameters, context) ?? Effect.dieMessage("No such tool")
    }
  })

/** What a tool answers against its own schema is a defect of the tool's. */
const encoderOf = ({ ast }: Pick<Schema.Schema.All, "ast">) => {
  const encode = Schema.encodeUnknownEither(Schema.make<unknown>(ast))
  return (value: unknown) => Either.getOrElse(Either.map(encode(value), Effect.succeed<unknown>), Effect.die)
}

/** A tool call that the model asked for. */
export interface RequestedCall {
  readonly id: string
  readonly tool: string
  readonly parameters: unknown
  /** The parameters as the tool takes them, or why the call cannot be run. */
  readonly read: Either.Either<unknown, string>
}

/** Of one step; more are refused: no plan needs them, and a model that runs in circles does not stop by itself. */
const maxCalls = 32

/** A call as it is kept and shown, and whether it can be run. */
export const requestedCall = (
  tools: ToolSchemas.Tools,
  { id, name, params }: { readonly id: string; readonly name: string; readonly params: unknown }
): RequestedCall => {
  const isObject = Predicate.isReadonlyRecord(params)
  // In an object, which is what every provider takes back.
  const parameters = clean(isObject ? params : { arguments: rawOf(params).slice(0, 2000) })
  return {
    id: storable(id),
    tool: storable(name),
    parameters,
    read: Either.mapLeft(ToolSchemas.read(tools, name, isObject ? parameters : params), storable)
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

/** Runs a tool call with its record. Whatever becomes of the tool is a result. */
export const execute = (
  tools: AgentTools,
  turn: AgentTurn,
  call: RequestedCall,
  place: { readonly step: number; readonly position: number }
): Effect.Effect<ToolCall, TurnLost> => {
  const context = { user: turn.user, timeZone: turn.timeZone, cause: Cause.Turn({ turnId: turn.id, ...place }) }

  const timed = (run: Effect.Effect<ToolResult>): Effect.Effect<ToolCall> =>
    Effect.map(Effect.timed(run), ([duration, answered]) => ({
      id: call.id,
      tool: call.tool,
      parameters: call.parameters,
      result: asResult(clean(answered)),
      durationMs: Math.round(Duration.toMillis(duration))
    }))

  const refused = (error: string) => Effect.succeed<ToolResult>({ status: "error", error })

  const run = Either.match(place.position < maxCalls ? call.read : Either.left(tooMany), {
    onLeft: refused,
    onRight: (parameters) =>
      Effect.match(tools.handle(call.tool, parameters, context), { onSuccess: toResult, onFailure: toResult }).pipe(
        Span.withSpan("Agent.tool", { attributes: { tool: call.tool } })
      )
  })

  return turn.record(place, timed(run)).pipe(
    Effect.catchAllDefect((defect) =>
      // The tool's transaction was rolled back; that it failed is recorded on its own.
      Effect.zipRight(
        // As a cause it is logged by its stack alone, without the members of a database's error, which quote rows.
        Effect.logError("Tool failed", Defect.die(defect)).pipe(Effect.annotateLogs({ tool: call.tool })),
        turn.record(place, timed(refused("The tool failed unexpectedly.")))
      )
    )
  )
}

const tooMany = `At most ${maxCalls} tool calls at once.`

const isResult = Schema.is(ToolResult)
const asResult = Schema.decodeUnknownSync(ToolResult)

const toResult = (value: unknown): ToolResult => {
  if (isResult(value)) return value
  return Predicate.isError(value) || Predicate.hasProperty(value, "error")
    ? { status: "error", error: "message" in value ? String(value.message) : String(value.error) }
    : { status: "success", result: value }
}
