/**
 * The ceiling: chat with a task list on bare `node:http` and `pg`, two round trips to the database a turn, one more for a
 * tool call, and nothing that the same answers do not need. PORT, DATABASE_URL, JWT_SECRET and OPENAI_BASE_URL tell it
 * where it is.
 */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto"
import { Agent, createServer, request as requestTo } from "node:http"
import pg from "pg"
import {
  cursorOf,
  instructions,
  pageOf,
  publicTaskOf,
  resultOf,
  schema,
  statements,
  titleOf,
  tools
} from "./service.mjs"

pg.types.setTypeParser(pg.types.builtins.INT8, Number)
// Straight from PostgreSQL's words to JSON's, without a Date in between; the zone is UTC.
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => {
  const time = text.slice(11, -3)
  return `${text.slice(0, 10)}T${time.length === 8 ? `${time}.000` : time.padEnd(12, "0")}Z`
})
const { DATABASE_URL, JWT_SECRET, OPENAI_BASE_URL, PORT } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10, options: "-c TimeZone=UTC" })

const query = async (name, text, values) => (await pool.query({ name, text, values })).rows

class Refusal extends Error {
  constructor(status, detail) {
    super(detail)
    this.status = status
  }
}

const userOf = (authorization = "") => {
  const [head, payload, signature] = authorization.slice("Bearer ".length).split(".")
  const expected = createHmac("sha256", JWT_SECRET).update(`${head}.${payload}`).digest()
  const given = Buffer.from(signature ?? "", "base64url")
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Refusal(401, "Invalid token")
  const { exp, user_id } = JSON.parse(Buffer.from(payload, "base64url").toString())
  if (!(exp * 1000 > Date.now())) throw new Refusal(401, "Invalid token")
  return user_id
}

const toolsJson = JSON.stringify(
  Object.entries(tools).map(([name, { description, properties }]) => ({
    type: "function",
    function: {
      name,
      description,
      parameters: { type: "object", properties, required: Object.keys(properties), additionalProperties: false }
    }
  }))
)
const model = new URL(`${OPENAI_BASE_URL}/chat/completions`)
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
const post = { method: "POST", agent, headers: { "content-type": "application/json" } }

/** One answer of the model, its text also piece by piece. */
const ask = (messages, onText) =>
  new Promise((resolve, reject) => {
    const request = requestTo(model, post, (response) => {
      const answer = { text: "", calls: [], usage: undefined }
      let rest = ""
      response.setEncoding("utf8")
      response.on("error", reject)
      response.on("data", (piece) => {
        const text = rest + piece
        let from = 0
        for (let to = text.indexOf("\n\n"); to >= 0; to = text.indexOf("\n\n", from)) {
          const data = text.slice(from + "data: ".length, to)
          from = to + 2
          if (data !== "[DONE]") read(JSON.parse(data), answer, onText)
        }
        rest = text.slice(from)
      })
      response.on("end", () => (answer.usage ? resolve(answer) : reject(new Error("The answer has no end"))))
    })
    request.on("error", reject)
    const body = `"stream":true,"stream_options":{"include_usage":true},"messages":${JSON.stringify(messages)}`
    request.end(`{"model":"stand-in",${body},"tools":${toolsJson}}`)
  })

const read = ({ choices: [choice], usage }, answer, onText) => {
  if (usage) answer.usage = usage
  if (choice?.delta.content) {
    answer.text += choice.delta.content
    onText(choice.delta.content)
  }
  for (const { function: piece, id, index } of choice?.delta.tool_calls ?? []) {
    answer.calls[index] ??= { id, name: piece.name, arguments: "" }
    answer.calls[index].arguments += piece.arguments ?? ""
  }
}

const asCall = ({ arguments: text, id, name }) => ({ id, type: "function", function: { name, arguments: text } })
const asResult = ({ id, result }) => ({ role: "tool", tool_call_id: id, content: JSON.stringify(result) })

const recall = ({ content, role, tool_calls: calls }) => {
  if (calls === null) return { role, content }
  const asked = calls.map(({ id, parameters, tool }) =>
    asCall({ id, name: tool, arguments: JSON.stringify(parameters) })
  )
  return [{ role, content: null, tool_calls: asked }, ...calls.map(asResult), { role, content }]
}

/** One turn, from the message to the stored answer; `events` hears of what happens meanwhile. */
const turn = async (user, { conversation_id: conversation, message }, events) => {
  if (typeof message !== "string" || message.trim() === "") throw new Refusal(400, "message must not be blank")
  const turnId = randomUUID()
  const [begun] = conversation
    ? await query("begin", statements.beginWithHistory, [user, conversation, turnId, message])
    : await query("beginNew", statements.beginNew, [user, titleOf(message), turnId, message])
  if (begun === undefined) throw new Refusal(404, "Conversation not found")
  events.begun({ turn_id: turnId, conversation_id: begun.conversation_id, user_message_id: begun.id })
  const system = { role: "system", content: `${instructions}It is ${new Date().toISOString()} (UTC).` }
  const messages = [system, ...(begun.history ?? []).flatMap(recall), { role: "user", content: message }]
  const calls = []
  const usage = { input_tokens: 0, output_tokens: 0 }
  let content = ""
  for (let step = 0; step < 8; step++) {
    const answer = await ask(messages, events.text)
    content += answer.text
    usage.input_tokens += answer.usage.prompt_tokens
    usage.output_tokens += answer.usage.completion_tokens
    if (answer.calls.length === 0) break
    messages.push({ role: "assistant", content: answer.text || null, tool_calls: answer.calls.map(asCall) })
    for (const { arguments: text, id, name } of answer.calls) {
      const parameters = JSON.parse(text)
      events.call({ id, tool: name, parameters })
      const from = Date.now()
      const rows = await query(name, tools[name].statement, [user, ...tools[name].values(parameters)])
      const call = { id, tool: name, parameters, result: resultOf(name, rows), duration_ms: Date.now() - from }
      events.result(call)
      calls.push(call)
      messages.push(asResult(call))
    }
  }
  const toolCalls = calls.length === 0 ? null : calls
  const [{ created_at: timestamp, id }] = await query("end", statements.end, [
    user,
    begun.conversation_id,
    turnId,
    content,
    toolCalls && JSON.stringify(toolCalls)
  ])
  const ended = { tool_calls: toolCalls, timestamp, turn_id: turnId, usage }
  return { answer: { conversation_id: begun.conversation_id, message_id: id, assistant_message: content, ...ended } }
}

const nothing = () => {}
const silent = { begun: nothing, text: nothing, call: nothing, result: nothing }

const aloud = (response) => {
  let id = 0
  const send = (name, value) =>
    response.write(`id: ${++id}\n${name && `event: ${name}\n`}data: ${JSON.stringify(value)}\n\n`)
  return {
    begun: (begun) => {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" })
      response.write(": ok\n\n")
      send("turn", { ...begun, done: false })
    },
    text: (content) => send("", { content, done: false }),
    call: (call) => send("tool_call", { tool_call: call, done: false }),
    result: (call) => send("tool_result", { tool_call: call, done: false }),
    ended: ({ assistant_message: _, ...ended }) => send("", { done: true, ...ended })
  }
}

const bodyOf = async (request) => {
  let text = ""
  for await (const piece of request.setEncoding("utf8")) text += piece
  return JSON.parse(text)
}

const messagesOf = async (user, conversation, limit) => {
  const [[found], messages] = await Promise.all([
    query("countMessages", statements.countMessages, [user, conversation]),
    query("messages", statements.messages, [user, conversation, limit, 0])
  ])
  if (found === undefined) throw new Refusal(404, "Conversation not found")
  const hasMore = messages.length > limit
  if (hasMore) messages.pop()
  return { conversation_id: conversation, messages, total: found.total, has_more: hasMore }
}

const conversationsOf = async (user, limit, cursor) => {
  const [rows, [{ total }]] = await Promise.all([
    query("conversations", statements.conversations, [user, limit, ...cursorOf(cursor)]),
    query("countConversations", statements.countConversations, [user])
  ])
  return pageOf("conversations", "updated_at", rows, limit, total)
}

const tasksOf = async (user, limit, cursor) => {
  const [rows, [{ total }]] = await Promise.all([
    query("tasks", statements.tasks, [user, limit, ...cursorOf(cursor)]),
    query("countTasks", statements.countTasks, [user])
  ])
  return pageOf("tasks", "created_at", rows.map(publicTaskOf), limit, total)
}

const answerTo = async (request, response) => {
  const url = new URL(request.url, "http://localhost")
  const [, api, owner, first, second, third] = url.pathname.split("/")
  if (api === "health") return { status: "ok" }
  const user = userOf(request.headers.authorization)
  if (String(user) !== owner) throw new Refusal(403, "Permission denied")
  const route = `${request.method} ${first}${first === "chat" ? `/${second ?? ""}` : third ? `/${third}` : ""}`
  const limit = (most) => Math.min(Number(url.searchParams.get("limit") ?? most), most)
  switch (route) {
    case "POST chat/":
      return (await turn(user, await bodyOf(request), silent)).answer
    case "POST chat/stream": {
      const events = aloud(response)
      events.ended((await turn(user, await bodyOf(request), events)).answer)
      return void response.end()
    }
    case "GET conversations":
      return conversationsOf(user, limit(100), url.searchParams.get("cursor") ?? undefined)
    case "GET tasks":
      return tasksOf(user, limit(100), url.searchParams.get("cursor") ?? undefined)
    case "GET conversations/messages":
      return messagesOf(user, Number(second), limit(1000))
    default:
      throw new Refusal(404, "Not found")
  }
}

const send = (response, status, value) => {
  if (value === undefined) return
  const body = JSON.stringify(value)
  response
    .writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
    .end(body)
}

await pool.query(schema)
createServer((request, response) => {
  answerTo(request, response).then(
    (value) => send(response, 200, value),
    (error) => {
      if (response.headersSent) return response.destroy(error)
      send(response, error.status ?? 500, { detail: error.status ? error.message : "Internal error" })
    }
  )
}).listen(Number(PORT), "127.0.0.1")
