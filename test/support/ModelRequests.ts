import { isFields } from "../../src/models/Fields.ts"

/** A request to a model, in one form for all APIs. */
export interface ModelRequest {
  readonly api: Api
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The unchanged body. */
  readonly body: unknown
  readonly model: string
  /** The instructions, joined by empty lines. */
  readonly system: string
  /** The conversation without the instructions, oldest first. */
  readonly items: ReadonlyArray<Item>
  /** The last user message. */
  readonly user: string
  /** The tool results since the last user message. */
  readonly results: ReadonlyArray<Result>
  readonly tools: ReadonlyArray<OfferedTool>
  readonly toolChoice: unknown
}

export type Api = "responses" | "chat-completions" | "messages"

type Item =
  | { readonly kind: "user" | "assistant"; readonly text: string }
  | { readonly kind: "call"; readonly id: string; readonly name: string; readonly arguments: string }
  | { readonly kind: "result"; readonly id: string; readonly output: string }

interface Result {
  readonly id: string
  readonly name: string
  /** The text that the model wrote. */
  readonly arguments: string
  /** Parsed if it is JSON, else the text. */
  readonly output: unknown
}

interface OfferedTool {
  readonly name: string
  readonly parameters: unknown
  readonly strict: boolean
}

/** The reason for a refused request, in the form of OpenAI's errors. */
export interface Refusal {
  readonly status: number
  readonly message: string
  readonly code?: string
  readonly type?: string
  readonly param?: string
}

export const isRefusal = (u: ModelRequest | Refusal): u is Refusal => "status" in u

/** Reads a request and refuses the same requests as the real API. */
export const read = (api: Api, headers: Readonly<Record<string, string>>, text: string): ModelRequest | Refusal => {
  const body = json(text)
  if (
    !isFields<
      "input" | "instructions" | "max_tokens" | "messages" | "model" | "stream" | "system" | "tool_choice" | "tools"
    >(body)
  ) {
    return { status: 400, message: "We could not parse the JSON body of your request." }
  }
  if (typeof body.model !== "string") return invalid("you must provide a model parameter", "model")
  if (body.stream !== true) return invalid("This stand-in only streams.", "stream")
  const system: Array<string> = typeof body.instructions === "string" ? [body.instructions] : []
  const items: Array<Item> = []
  const problem =
    api === "responses"
      ? readInput(body.input, system, items)
      : api === "messages"
        ? readBlocks(body, system, items)
        : readMessages(body.messages, system, items)
  if (problem !== undefined) return problem
  const tools = readTools(api, body.tools)
  if ("status" in tools) return tools
  if (tools.length === 0 && body.tool_choice !== undefined && body.tool_choice !== null) {
    return invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
  }
  const refusal = pairing(api, items)
  if (refusal !== undefined) return refusal
  const said = items.findLastIndex((item) => item.kind === "user")
  const calls = new Map(items.flatMap((item) => (item.kind === "call" ? [[item.id, item] as const] : [])))
  const last = items[said]
  return {
    api,
    headers,
    body,
    model: body.model,
    system: system.join("\n\n"),
    items,
    user: last?.kind === "user" ? last.text : "",
    results: items.slice(said + 1).flatMap((item) => {
      const call = item.kind === "result" ? calls.get(item.id) : undefined
      if (item.kind !== "result" || call === undefined) return []
      return [{ id: item.id, name: call.name, arguments: call.arguments, output: json(item.output) ?? item.output }]
    }),
    tools,
    toolChoice: body.tool_choice
  }
}

const invalid = (message: string, param: string, code = "invalid_value"): Refusal => ({
  status: 400,
  message,
  code,
  param,
  type: "invalid_request_error"
})

const json = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const names = /^[a-zA-Z0-9_-]{1,64}$/

const badName = (name: unknown, param: string) =>
  typeof name === "string" && names.test(name)
    ? undefined
    : invalid(`Invalid '${param}': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'.`, param)

const readInput = (input: unknown, system: Array<string>, items: Array<Item>): Refusal | undefined => {
  if (typeof input === "string") {
    items.push({ kind: "user", text: input })
    return undefined
  }
  if (!Array.isArray(input)) return invalid("Missing required parameter: 'input'.", "input")
  for (const [index, item] of input.entries()) {
    const param = `input[${index}]`
    if (!isFields<"arguments" | "call_id" | "content" | "id" | "name" | "output" | "role" | "type">(item)) {
      return invalid(`Invalid type for '${param}'.`, param)
    }
    if (item.type === "function_call") {
      const { arguments: text, call_id: id, name } = item
      if (typeof id !== "string" || typeof text !== "string") return invalid(`Invalid '${param}'.`, param)
      if (item.id !== undefined && !String(item.id).startsWith("fc")) {
        return invalid(`Invalid '${param}.id': '${item.id}'. Expected an ID that begins with 'fc'.`, `${param}.id`)
      }
      const problem = badName(name, `${param}.name`)
      if (problem !== undefined) return problem
      items.push({ kind: "call", id, name: String(name), arguments: text })
    } else if (item.type === "function_call_output") {
      if (typeof item.call_id !== "string" || typeof item.output !== "string") {
        return invalid(`Invalid '${param}'.`, param)
      }
      items.push({ kind: "result", id: item.call_id, output: item.output })
    } else if (item.type === "reasoning" || item.type === "item_reference") {
      return { ...invalid(`Item with id '${item.id}' not found.`, param), status: 404 }
    } else {
      const problem = message(item, param, system, items)
      if (problem !== undefined) return problem
    }
  }
  return undefined
}

const readMessages = (messages: unknown, system: Array<string>, items: Array<Item>): Refusal | undefined => {
  if (!Array.isArray(messages)) return invalid("Missing required parameter: 'messages'.", "messages")
  for (const [index, item] of messages.entries()) {
    const param = `messages[${index}]`
    if (!isFields<"content" | "role" | "tool_call_id" | "tool_calls">(item)) {
      return invalid(`Invalid type for '${param}'.`, param)
    }
    if (item.role === "tool") {
      if (typeof item.tool_call_id !== "string" || typeof item.content !== "string") {
        return invalid(`Invalid '${param}'.`, param)
      }
      items.push({ kind: "result", id: item.tool_call_id, output: item.content })
      continue
    }
    const calls: ReadonlyArray<unknown> = Array.isArray(item.tool_calls) ? item.tool_calls : []
    if (item.content !== null || calls.length === 0) {
      const problem = message(item, param, system, items)
      if (problem !== undefined) return problem
    }
    for (const call of calls) {
      const wrong = invalid(`Invalid '${param}.tool_calls'.`, param)
      if (!isFields<"function" | "id">(call) || typeof call.id !== "string") return wrong
      if (!isFields<"arguments" | "name">(call.function) || typeof call.function.arguments !== "string") return wrong
      const problem = badName(call.function.name, `${param}.tool_calls.function.name`)
      if (problem !== undefined) return problem
      items.push({
        kind: "call",
        id: call.id,
        name: String(call.function.name),
        arguments: call.function.arguments
      })
    }
  }
  return undefined
}

/** Anthropic's messages: alternating roles with blocks. */
const readBlocks = (
  body: { readonly max_tokens?: unknown; readonly messages?: unknown; readonly system?: unknown },
  system: Array<string>,
  items: Array<Item>
): Refusal | undefined => {
  if (typeof body.max_tokens !== "number") return invalid("max_tokens: Field required", "max_tokens")
  if (!Array.isArray(body.messages)) return invalid("messages: Field required", "messages")
  if (typeof body.system === "string") system.push(body.system)
  for (const [index, item] of body.messages.entries()) {
    const param = `messages.${index}`
    if (!isFields<"content" | "role">(item) || (item.role !== "user" && item.role !== "assistant")) {
      return invalid(`${param}.role: Input should be 'user' or 'assistant'`, param)
    }
    const { content, role } = item
    const blocks: ReadonlyArray<unknown> =
      typeof content === "string" ? [{ type: "text", text: content }] : Array.isArray(content) ? content : []
    if (blocks.length === 0) return invalid(`${param}: all messages must have non-empty content`, param)
    for (const block of blocks) {
      const problem = readBlock(block, role, param, items)
      if (problem !== undefined) return problem
    }
  }
  return undefined
}

const readBlock = (
  block: unknown,
  role: "user" | "assistant",
  param: string,
  items: Array<Item>
): Refusal | undefined => {
  if (!isFields<"content" | "id" | "input" | "name" | "text" | "tool_use_id" | "type">(block)) {
    return invalid(`${param}.content: Input should be an object`, param)
  }
  switch (block.type) {
    case "text":
      if (typeof block.text !== "string" || block.text.trim() === "") {
        return invalid(`${param}: text content blocks must contain non-whitespace text`, param)
      }
      items.push({ kind: role, text: block.text })
      return undefined
    case "tool_use": {
      if (typeof block.id !== "string" || !/^[a-zA-Z0-9_-]+$/.test(block.id) || !isFields(block.input)) {
        return invalid(`${param}: Invalid tool_use block`, param)
      }
      const problem = badName(block.name, `${param}.name`)
      if (problem !== undefined) return problem
      items.push({ kind: "call", id: block.id, name: String(block.name), arguments: JSON.stringify(block.input) })
      return undefined
    }
    case "tool_result":
      if (role !== "user" || typeof block.tool_use_id !== "string" || typeof block.content !== "string") {
        return invalid(`${param}: Invalid tool_result block`, param)
      }
      items.push({ kind: "result", id: block.tool_use_id, output: block.content })
      return undefined
    default:
      return block.type === "thinking" ? undefined : invalid(`${param}: Input tag '${block.type}' is unknown`, param)
  }
}

const message = (
  { content, role }: { readonly content?: unknown; readonly role?: unknown },
  param: string,
  system: Array<string>,
  items: Array<Item>
): Refusal | undefined => {
  const text = textOf(content)
  if (text === undefined) return invalid(`Invalid value for '${param}.content': expected a string.`, param)
  switch (role) {
    case "system":
    case "developer":
      system.push(text)
      return undefined
    case "user":
      items.push({ kind: "user", text })
      return undefined
    case "assistant":
      if (text === "") return invalid(`Invalid '${param}.content': empty.`, param)
      items.push({ kind: "assistant", text })
      return undefined
    default:
      return invalid(`Invalid value: '${role}'.`, `${param}.role`)
  }
}

const textOf = (content: unknown): string | undefined => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return undefined
  return content.map((part) => (isFields<"text">(part) && typeof part.text === "string" ? part.text : "")).join("")
}

/**
 * Every call must have a result and every result a call. Except in Responses, the result must follow the call directly.
 */
const pairing = (api: Api, items: ReadonlyArray<Item>): Refusal | undefined => {
  const open = new Set<string>()
  const unanswered = () =>
    open.size === 0
      ? undefined
      : api === "responses"
        ? invalid(`No tool output found for function call ${[...open][0]}.`, "input")
        : invalid(
            `An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: ${[...open].join(", ")}`,
            "messages"
          )
  for (const item of items) {
    if (item.kind === "call") open.add(item.id)
    else if (item.kind === "result") {
      if (!open.delete(item.id)) {
        return api === "responses"
          ? invalid(`No tool call found for function call output with call_id ${item.id}.`, "input")
          : invalid(
              "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
              "messages"
            )
      }
    } else if (api !== "responses" && open.size > 0) return unanswered()
  }
  return unanswered()
}

const readTools = (api: Api, given: unknown): ReadonlyArray<OfferedTool> | Refusal => {
  if (given === undefined) return []
  if (!Array.isArray(given) || given.length === 0) return invalid("Invalid 'tools': empty array.", "tools")
  const tools: Array<OfferedTool> = []
  for (const [index, entry] of given.entries()) {
    const param = `tools[${index}]`
    const outer: unknown = entry
    const tool = api !== "chat-completions" || !isFields<"function">(outer) ? outer : outer.function
    if (!isFields<"input_schema" | "name" | "parameters" | "strict">(tool))
      return invalid(`Invalid type for '${param}'.`, param)
    const problem = badName(tool.name, `${param}.name`)
    if (problem !== undefined) return problem
    const strict = tool.strict === true
    const reason = strict ? strictProblem(tool.parameters, "()") : undefined
    if (reason !== undefined) {
      return invalid(
        `Invalid schema for function '${tool.name}': ${reason}`,
        `${param}.parameters`,
        "invalid_function_parameters"
      )
    }
    const parameters = api === "messages" ? tool.input_schema : tool.parameters
    tools.push({ name: String(tool.name), parameters, strict })
  }
  return tools
}

/** The reason why strict mode refuses a JSON Schema. */
const strictProblem = (schema: unknown, at: string): string | undefined => {
  if (
    !isFields<
      | "$ref"
      | "additionalProperties"
      | "allOf"
      | "anyOf"
      | "enum"
      | "items"
      | "not"
      | "oneOf"
      | "properties"
      | "required"
      | "type"
    >(schema)
  ) {
    return `In context=${at}, schema must be an object.`
  }
  for (const keyword of ["allOf", "not", "oneOf"] as const) {
    if (schema[keyword] !== undefined) return `In context=${at}, '${keyword}' is not permitted.`
  }
  if (schema.$ref !== undefined) return undefined
  if (Array.isArray(schema.anyOf)) return first(schema.anyOf, (option) => strictProblem(option, at))
  if (schema.type === undefined && schema.enum === undefined) return `In context=${at}, schema must have a 'type' key.`
  if (schema.type === "array") return strictProblem(schema.items, `${at}.items`)
  if (schema.type !== "object") return undefined
  if (schema.additionalProperties !== false) {
    return `In context=${at}, 'additionalProperties' is required to be supplied and to be false.`
  }
  const { properties, required } = schema
  return first(Object.entries(isFields(properties) ? properties : {}), ([name, property]) =>
    Array.isArray(required) && required.includes(name)
      ? strictProblem(property, `${at}.${name}`)
      : `In context=${at}, 'required' is required to be supplied and to be an array including every key in properties. Missing '${name}'.`
  )
}

const first = <A, B>(values: ReadonlyArray<A>, f: (a: A) => B | undefined): B | undefined => {
  for (const value of values) {
    const found = f(value)
    if (found !== undefined) return found
  }
  return undefined
}
