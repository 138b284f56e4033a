import { isSpecType } from "@modelcontextprotocol/server"
import { Effect, Predicate, Random } from "effect"
import { inputSchema } from "../../src/services/agent/ToolParameters.ts"
import { TaskTools } from "../../src/services/tasks/TaskTools.ts"
import type { Answer } from "./Server.ts"

type Members = Readonly<Record<string, unknown>>

interface Message {
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

const oneOf = <A>(items: readonly [A, ...ReadonlyArray<A>]) =>
  Effect.map(Random.nextIntBetween(0, items.length), (i) => items[i] ?? items[0])

/** True with probability 1 / `n`. */
const once = (n: number) => Effect.map(Random.nextIntBetween(0, n), (i) => i === 0)

const client = { name: "fuzz", version: "1" }

/** Possible parameters of a client, by method. */
const methods: readonly [Method, ...ReadonlyArray<Method>] = [
  ["initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: client }, isSpecType.InitializeResult],
  ["ping", undefined, isSpecType.EmptyResult],
  ["tools/list", {}, isSpecType.ListToolsResult],
  ["tools/call", {}, isSpecType.CallToolResult],
  ["resources/list", {}, isSpecType.ListResourcesResult],
  ["resources/templates/list", {}, isSpecType.ListResourceTemplatesResult],
  ["resources/read", { uri: "tasks://list" }, isSpecType.ReadResourceResult],
  ["resources/read", { uri: "tasks://1" }, isSpecType.ReadResourceResult],
  ["prompts/list", {}, isSpecType.ListPromptsResult],
  ["prompts/get", { name: "plan_day" }, isSpecType.GetPromptResult],
  ["server/discover", {}, isSpecType.DiscoverResult],
  ["subscriptions/listen", {}, isSpecType.Result],
  ["completion/complete", {}, isSpecType.Result],
  ["notifications/initialized", {}, isSpecType.Result],
  ["no/such", {}, isSpecType.Result]
]
type Method = readonly [name: string, params: Members | undefined, isResult: (value: unknown) => boolean]

const revisions: readonly [string, ...ReadonlyArray<string>] = [
  "2025-03-26",
  "2025-06-18",
  "2025-11-25",
  "2026-07-28",
  "2020-01-01"
]

/** Possible values of a tool's argument, by its name and schema. */
const argumentOf = (name: string, others: ReadonlyArray<unknown>) =>
  Effect.flatMap(once(4), (isOther) => {
    const [first, ...rest] = isOther ? others : (usual[name] ?? others)
    return oneOf([first, ...rest])
  })

const usual: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  title: ["Buy milk", "Call the bank"],
  description: ["About the card", null],
  priority: ["high", "low", null],
  labels: [["errands"], [], null],
  label: ["errands"],
  due: ["tomorrow 9am", "2026-12-24", "next friday", "in two weeks", null],
  due_before: ["2026-12-31", "next week"],
  due_after: ["2026-01-01", "today"],
  repeat: ["every monday", "FREQ=WEEKLY;BYDAY=MO", "every last friday", null],
  query: ["milk"],
  status: ["all", "pending", "completed"],
  sort: ["due", "priority"],
  limit: [1, 100],
  task_id: [1, 2, 3],
  task_ids: [[1, 2], [3]],
  tasks: [[{ title: "A" }, { title: "B", due: "friday" }]],
  clear: [["due"], ["labels", "repeat"]],
  completed: [true, false]
}

const tools = Object.values(TaskTools.tools).map((tool) => ({ name: tool.name, schema: inputSchema(tool) }))

/** A tool call, mostly with known arguments. */
const call = (others: ReadonlyArray<unknown>) =>
  Effect.gen(function* () {
    const [first, ...rest] = tools
    const { name, schema } = yield* oneOf([first ?? (yield* Effect.dieMessage("There are no tools")), ...rest])
    const properties = "properties" in schema ? schema.properties : {}
    const required = "required" in schema ? schema.required : []
    const given: Record<string, unknown> = {}
    for (const property of Object.keys(properties)) {
      const isGiven = required.includes(property) ? !(yield* once(20)) : yield* once(3)
      if (isGiven) given[property] = yield* argumentOf(property, others)
    }
    if (yield* once(10)) given["unknown"] = yield* argumentOf("unknown", others)
    return { name: (yield* once(20)) ? "no_such_tool" : name, arguments: given }
  })

const request = (others: ReadonlyArray<unknown>, revision: string) =>
  Effect.gen(function* () {
    const [method, usual] = yield* oneOf(methods)
    const params = method === "tools/call" ? yield* call(others) : usual
    // In the newest revision, each request contains the client info.
    const envelope = {
      "io.modelcontextprotocol/protocolVersion": revision,
      "io.modelcontextprotocol/clientInfo": client,
      "io.modelcontextprotocol/clientCapabilities": {}
    }
    const whole: Record<string, unknown> = {
      jsonrpc: "2.0",
      ...(method.startsWith("notifications/") ? {} : { id: yield* oneOf<unknown>([1, "a", 7]) }),
      method,
      ...(params !== undefined && {
        params: revision === "2026-07-28" ? { ...params, _meta: envelope } : params
      })
    }
    for (const name of Object.keys(whole)) {
      if (yield* once(30)) delete whole[name]
      else if (yield* once(29)) whole[name] = yield* argumentOf("", others)
    }
    return whole
  })

/** Clients send no other values. */
const isInHeaders = (value: unknown): value is string => Predicate.isString(value) && /^[!-~]{1,100}$/.test(value)

/** A possible request to `/mcp`, sometimes an arbitrary value. */
export const message = (others: ReadonlyArray<unknown>): Effect.Effect<Message> =>
  Effect.gen(function* () {
    const revision = yield* oneOf(revisions)
    const single = yield* request(others, revision)
    const { method, params } = single
    const named = Predicate.isRecord(params) ? (params["name"] ?? params["uri"]) : undefined
    const accept = yield* oneOf([
      undefined,
      "*/*",
      "application/json",
      "application/json, text/event-stream",
      "text/html"
    ])
    const headers = {
      ...(!(yield* once(3)) && { "MCP-Protocol-Version": revision }),
      ...(accept !== undefined && { Accept: accept }),
      ...(revision === "2026-07-28" && isInHeaders(method) && { "Mcp-Method": method }),
      ...(revision === "2026-07-28" && isInHeaders(named) && { "Mcp-Name": named })
    }
    if (!(yield* once(10))) return { headers, body: single }
    const n = yield* oneOf([0, 1, 3])
    return { headers, body: yield* Effect.replicateEffect(request(others, revision), n) }
  })

const sent = (body: unknown): ReadonlyArray<unknown> => (Array.isArray(body) ? body : [body])

/** The JSON-RPC messages of an answer of either form. */
const messagesIn = ({ headers, text }: Answer): ReadonlyArray<unknown> => {
  if (text === "") return []
  const texts = headers["content-type"]?.startsWith("text/event-stream")
    ? Array.from(text.matchAll(/^data: (.+)$/gm), ([, data = ""]) => data)
    : [text]
  return texts.flatMap((one): unknown => JSON.parse(one))
}

/** The protocol errors of an answer, in its messages and in its results by method. */
export const wrongIn = (body: unknown, answer: Answer): ReadonlyArray<string> =>
  messagesIn(answer).flatMap((given) => {
    if (!Predicate.isRecord(given)) return ["a message that is no object"]
    if ("error" in given) {
      // An invalid id is sent back, or null if it could not be read.
      return isSpecType.JSONRPCErrorResponse({ ...given, id: 1 })
        ? []
        : [`no JSON-RPC error: ${JSON.stringify(given).slice(0, 300)}`]
    }
    if ("method" in given) return isSpecType.JSONRPCNotification(given) ? [] : ["no JSON-RPC notification"]
    if (!isSpecType.JSONRPCResultResponse(given)) return [`no JSON-RPC result: ${JSON.stringify(given).slice(0, 300)}`]
    const asked = sent(body)
      .filter(Predicate.isRecord)
      .filter(({ id }) => id === given.id)
    if (asked.length === 0) return [`a result of the id ${given.id}, which no request has`]
    const isFitting = asked.some(({ method }) =>
      methods.some(([name, , isResult]) => name === method && isResult(given.result))
    )
    return isFitting
      ? []
      : [`no result of ${asked.map(({ method }) => method).join()}: ${JSON.stringify(given.result).slice(0, 300)}`]
  })
