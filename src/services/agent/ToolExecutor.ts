import { Tool, type Toolkit } from "@effect/ai"
import {
  Array as Arr,
  Context,
  Cause as Defect,
  Duration,
  Effect,
  Either,
  Predicate,
  Random,
  Record,
  Schema
} from "effect"
import type { Confirm, HeldCall } from "../../domain/Approval.ts"
import { TaskId } from "../../domain/Id.ts"
import { storable } from "../../domain/Json.ts"
import { maxDepth, maxValues } from "../../domain/JsonText.ts"
import { Cause } from "../../domain/Task.ts"
import { maxCallsPerStep, maxChangesPerTurn, type ToolCall, ToolResult } from "../../domain/ToolCall.ts"
import type { TurnLost } from "../../domain/Turn.ts"
import * as FiberContext from "../../runtime/FiberContext.ts"
import * as Span from "../../runtime/Span.ts"
import { ToolContext } from "../tasks/TaskTools.ts"
import type { AgentTurn, CallPlace } from "./Agent.ts"
import { About, Changes, Deletes } from "./ToolParameters.ts"
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
          FiberContext.mapInputContext((input: Context.Context<never>) =>
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
  /** Ours: unique in the conversation, and of a form that every provider takes. */
  readonly id: string
  readonly providerCallId: string | undefined
  readonly tool: string
  readonly parameters: unknown
  /** The parameters as the tool takes them, or why the call cannot be run. */
  readonly read: Either.Either<unknown, string>
  /** How many tasks it would change. */
  readonly changes: number
}

/** 9 letters and digits, which is the one form that all known providers accept. */
const callId = Effect.map(Random.nextIntBetween(0, 36 ** 9), (n) => n.toString(36).padStart(9, "0"))

/** A call as it is kept and shown, and whether it can be run. */
export const requestedCall = (
  { tools }: AgentTools,
  { id: providerId, name, params }: { readonly id: string; readonly name: string; readonly params: unknown }
): Effect.Effect<RequestedCall> =>
  Effect.map(callId, (id) => {
    const tool = storable(name.slice(0, maxName))
    const providerCallId = providerId.length <= maxName ? storable(providerId) : undefined
    const refused = (reason: string, parameters: object) => ({
      ...{ id, providerCallId, tool, parameters, changes: 0 },
      read: Either.left(reason)
    })
    if (!isBounded(params)) return refused("The arguments are nested too deeply, or too large.", {})
    // In an object, which is what every provider takes back.
    if (!Predicate.isReadonlyRecord(params)) {
      const text = typeof params === "string" ? params : (JSON.stringify(params) ?? "")
      return refused("The arguments are not valid JSON, or no object.", { arguments: storable(text.slice(0, maxText)) })
    }
    const parameters = clean(params)
    const read = Either.mapLeft(ToolSchemas.read(tools, name, parameters), storable)
    const changes = Either.match(read, { onLeft: () => 0, onRight: (given) => changesOf(tools[name], given) })
    return { id, providerCallId, tool, parameters, read, changes }
  })

/** Whether a call may run only with the user's approval. One that cannot run at all need not wait to be told so. */
export const needsApproval = ({ tools }: AgentTools, confirm: Confirm, { read, tool: name }: RequestedCall) => {
  const tool = tools[name]
  if (confirm === "off" || tool === undefined || Either.isLeft(read)) return false
  const { annotations } = tool
  if (Context.get(annotations, Tool.Readonly)) return false
  return confirm === "changes" || (Context.get(annotations, Deletes) ?? Context.get(annotations, Tool.Destructive))
}

/** The calls of a step from the first one that needs approval, none of which runs, and the tasks they are about. */
export const hold = (tools: AgentTools, confirm: Confirm, step: number, calls: ReadonlyArray<RequestedCall>) => {
  const waiting = calls.filter((call) => needsApproval(tools, confirm, call))
  return {
    calls: calls.map((call): HeldCall => {
      const { id, parameters, providerCallId, tool } = call
      return { id, tool, parameters, step, providerCallId, needsApproval: waiting.includes(call) }
    }),
    tasks: Arr.dedupe(waiting.flatMap((call) => aboutOf(tools, call)))
  }
}

const aboutOf = ({ tools }: AgentTools, { read, tool: name }: RequestedCall): ReadonlyArray<TaskId> => {
  const tool = tools[name]
  if (tool === undefined || Either.isLeft(read)) return []
  return Context.get(tool.annotations, About)(read.right).filter(isTaskId)
}

const isTaskId = Schema.is(TaskId)

/** Runs calls that were held back, as they were asked for, as the first step of a turn. */
export const runHeld = (
  tools: AgentTools,
  turn: Pick<AgentTurn, "id" | "user" | "timeZone" | "record">,
  held: ReadonlyArray<HeldCall>
): Effect.Effect<ReadonlyArray<ToolCall>, TurnLost> =>
  Effect.gen(function* () {
    const done: Array<ToolCall> = []
    let changes = 0
    for (const [position, { id, parameters, tool }] of held.entries()) {
      const read = ToolSchemas.read(tools.tools, tool, parameters)
      const call = { id, tool, parameters, read, changes: changesIn(tools, { tool, read }) }
      const ran = yield* execute(tools, turn, call, { place: { step: 1, position }, dropped: 0, changes })
      if (ran.result.status === "success") changes += call.changes
      done.push(ran)
    }
    return done
  })

/** How many tasks the calls of a turn's first step have changed. */
export const changesOfHeld = (tools: AgentTools, calls: ReadonlyArray<ToolCall>) =>
  calls.reduce((sum, { parameters, result, tool }) => {
    const read = ToolSchemas.read(tools.tools, tool, parameters)
    return sum + (result.status === "success" ? changesIn(tools, { tool, read }) : 0)
  }, 0)

const changesIn = ({ tools }: AgentTools, { read, tool }: Pick<RequestedCall, "read" | "tool">) =>
  Either.match(read, { onLeft: () => 0, onRight: (given) => changesOf(tools[tool], given) })

const changesOf = (tool: Tool.Any | undefined, parameters: unknown) =>
  tool === undefined ? 0 : Context.get(tool.annotations, Changes)(parameters)

/** Characters of a name or an id. */
const maxName = 256

/** Characters that are kept of arguments that are no object. */
const maxText = 2000

/** UTF-16 units of all texts and names. */
const maxSize = 256 * 1024

/** Whether arguments are within the bounds of a request's body, found out without walking any further. */
const isBounded = (params: unknown): boolean => {
  const open: Array<readonly [value: unknown, depth: number]> = [[params, 1]]
  let [values, size] = [0, 0]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [value, depth] = next
    if (++values > maxValues || depth > maxDepth) return false
    if (typeof value === "string") size += value.length
    else if (Array.isArray(value)) {
      if (value.length > maxValues) return false
      for (const item of value) open.push([item, depth + 1])
    } else if (Predicate.isRecord(value)) {
      for (const name in value) {
        if (open.length > maxValues) return false
        size += name.length
        open.push([value[name], depth + 1])
      }
    }
    if (size > maxSize) return false
  }
  return true
}

/** JSON as PostgreSQL can store it. */
const clean = (value: unknown): unknown => {
  if (typeof value === "string") return storable(value)
  if (Array.isArray(value)) return value.map(clean)
  if (Predicate.isRecord(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [storable(name), clean(member)]))
  }
  return value
}

/** Where a call stands in its turn. */
export interface CallContext {
  readonly place: CallPlace
  /** Changes of tasks that the turn has made so far. */
  readonly changes: number
  /** Calls that were dropped from the end of the step, which the model is told with the last one that is run. */
  readonly dropped: number
}

/** Runs a tool call with its record. Whatever becomes of the tool is a result. */
export const execute = (
  tools: AgentTools,
  turn: Pick<AgentTurn, "id" | "user" | "timeZone" | "record">,
  call: Omit<RequestedCall, "providerCallId">,
  { changes, dropped, place }: CallContext
): Effect.Effect<ToolCall, TurnLost> => {
  const { position, step } = place
  const context = { user: turn.user, timeZone: turn.timeZone, cause: Cause.Turn({ turnId: turn.id, step, position }) }

  const timed = (run: Effect.Effect<ToolResult>): Effect.Effect<ToolCall> =>
    Effect.map(Effect.timed(run), ([duration, answered]) => ({
      id: call.id,
      tool: call.tool,
      parameters: call.parameters,
      result: asResult(clean(dropped > 0 ? { ...answered, notice: droppedNotice(dropped) } : answered)),
      durationMs: Math.round(Duration.toMillis(duration))
    }))

  const refused = (error: string) => Effect.succeed<ToolResult>({ status: "error", error })

  const run = (parameters: unknown) =>
    changes + call.changes > maxChangesPerTurn
      ? refused(tooManyChanges(changes, call.changes))
      : Effect.match(tools.handle(call.tool, parameters, context), { onSuccess: toResult, onFailure: toResult }).pipe(
          Span.withSpan(`execute_tool ${call.tool}`, {
            attributes: { "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": call.tool }
          })
        )

  return turn.record(place, timed(Either.match(call.read, { onLeft: refused, onRight: run }))).pipe(
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

const droppedNotice = (dropped: number) =>
  `${dropped} more tool calls of this step were dropped and not run: at most ${maxCallsPerStep} are run at once.`

const tooManyChanges = (done: number, wanted: number) =>
  `Nothing was changed: one message can change at most ${maxChangesPerTurn} tasks, it has changed ${done}, and this would change ${wanted} more. Tell the user what was done, and that they can ask for the next part.`

const isResult = Schema.is(ToolResult)
const asResult = Schema.decodeUnknownSync(ToolResult)

const toResult = (value: unknown): ToolResult => {
  if (isResult(value)) return value
  return Predicate.isError(value) || Predicate.hasProperty(value, "error")
    ? { status: "error", error: "message" in value ? String(value.message) : String(value.error) }
    : { status: "success", result: value }
}
