import type { Tool, Toolkit } from "@effect/ai"
import { Context, Cause as Defect, Effect, Either, Predicate, Record, Schema } from "effect"
import { storable } from "../../domain/Json.ts"
import { Cause } from "../../domain/Task.ts"
import { type ToolCall, ToolResult } from "../../domain/ToolCall.ts"
import type { TurnLost } from "../../domain/Turn.ts"
import * as Span from "../../runtime/Span.ts"
import { ToolContext } from "../tasks/TaskTools.ts"
import type { AgentTurn } from "./Agent.ts"
import * as ToolSchemas from "./ToolSchemas.ts"

/** A toolkit with the types of its tools forgotten: which call is for which tool is known at run time only. */
export interface Hands {
  readonly tools: ToolSchemas.Tools
  readonly offered: Toolkit.WithHandler<Record<string, Tool.Any>>
  /** Uses the tool of this name with arguments that `ToolSchemas.read` has read; the answer is in its encoded form. */
  readonly use: (
    tool: string,
    parameters: unknown,
    about: typeof ToolContext.Service
  ) => Effect.Effect<unknown, unknown>
}

/**
 * The toolkit as the agent uses it. Its own `handle` would read the arguments again, puts them on its span, though they are
 * people's words, and takes a hundred operations.
 */
export const handsOf = <Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>
): Effect.Effect<Hands, never, Tool.HandlersFor<Tools>> =>
  Effect.gen(function* () {
    const { handle, tools } = yield* toolkit
    const { unsafeMap } = yield* Effect.context<Tool.HandlersFor<Tools>>()
    const uses = Record.map(tools, (tool) => {
      // Safe: so a toolkit keeps the handlers that it was given.
      const { context, handler } = unsafeMap.get(tool.id) as Tool.Handler<string>
      const success = encoderOf(tool.successSchema)
      const failure = encoderOf(tool.failureSchema)
      return (parameters: unknown, about: typeof ToolContext.Service) =>
        Effect.matchEffect(
          Effect.mapInputContext(handler(parameters), (input: Context.Context<never>) =>
            Context.add(Context.merge(context, input), ToolContext, about)
          ),
          {
            onSuccess: success,
            onFailure: (error) => (tool.failureMode === "return" ? failure(error) : Effect.fail(error))
          }
        )
    })
    return {
      tools,
      // Safe: it is some toolkit, of which a model is told the names and descriptions.
      offered: { tools: ToolSchemas.lenient(tools), handle } as unknown as Hands["offered"],
      use: (tool, parameters, about) => uses[tool]?.(parameters, about) ?? Effect.dieMessage("No such tool")
    }
  })

/** What a tool answers against its own schema is a defect of the tool's. */
const encoderOf = ({ ast }: Pick<Schema.Schema.All, "ast">) => {
  const encode = Schema.encodeUnknownEither(Schema.make<unknown>(ast))
  return (value: unknown) => Either.getOrElse(Either.map(encode(value), Effect.succeed<unknown>), Effect.die)
}

/** What the model asked for. */
export interface Call {
  readonly id: string
  readonly tool: string
  readonly parameters: unknown
  /** The parameters as the tool takes them, or why it cannot be run. */
  readonly read: Either.Either<unknown, string>
}

/** Of one step; more are refused: no plan needs them, and a model that runs in circles does not stop by itself. */
const maxCalls = 32

/** A call as it is kept and shown, and whether it can be run. */
export const callOf = (
  tools: ToolSchemas.Tools,
  { id, name, params }: { readonly id: string; readonly name: string; readonly params: unknown }
): Call => {
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

/** One tool call with its record, as a result whatever becomes of it. */
export const use = (
  hands: Hands,
  turn: AgentTurn,
  call: Call,
  place: { readonly step: number; readonly position: number }
): Effect.Effect<ToolCall, TurnLost> => {
  const about = { user: turn.user, timeZone: turn.timeZone, cause: Cause.Turn({ turnId: turn.id, ...place }) }

  const done = (run: Effect.Effect<ToolResult>): Effect.Effect<ToolCall> =>
    Effect.clockWith((clock) => {
      const from = clock.unsafeCurrentTimeMillis()
      return Effect.map(run, (answered) => {
        const result = asResult(clean(answered))
        // Clocks may count parts of milliseconds, and run backwards.
        const durationMs = Math.max(0, Math.round(clock.unsafeCurrentTimeMillis() - from))
        return { id: call.id, tool: call.tool, parameters: call.parameters, result, durationMs }
      })
    })

  const refused = (error: string) => Effect.succeed<ToolResult>({ status: "error", error })

  const run = Either.match(place.position < maxCalls ? call.read : Either.left(tooMany), {
    onLeft: refused,
    onRight: (parameters) =>
      Effect.match(hands.use(call.tool, parameters, about), { onSuccess: toResult, onFailure: toResult }).pipe(
        Span.withSpan("Agent.use", { attributes: { tool: call.tool } })
      )
  })

  return turn.record(place, done(run)).pipe(
    Effect.catchAllDefect((defect) =>
      // Its transaction is gone with whatever it had done; that it failed is recorded on its own.
      Effect.zipRight(
        // As a cause it is logged by its stack alone, without the members of a database's error, which quote rows.
        Effect.logError("Tool failed", Defect.die(defect)).pipe(Effect.annotateLogs({ tool: call.tool })),
        turn.record(place, done(refused("The tool failed unexpectedly.")))
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
