/**
 * What taskchat is compared with: the same endpoints as a plain service on Fastify, `pg` and the Vercel AI SDK, written
 * by their documentation: schemas for bodies and answers, `@fastify/jwt`, the request log on, `generateText` for JSON and
 * `streamText` for streams. PORT, DATABASE_URL, JWT_SECRET and OPENAI_BASE_URL tell it where it is.
 */
import { randomUUID } from "node:crypto"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import jwt from "@fastify/jwt"
import { generateText, stepCountIs, streamText, tool } from "ai"
import Fastify from "fastify"
import pg from "pg"
import { z } from "zod"
import {
  cursorOf,
  inputsOf,
  instructions,
  pageOf,
  resultOf,
  schema,
  statements,
  taskOf,
  titleOf,
  tools
} from "./service.mjs"

pg.types.setTypeParser(pg.types.builtins.INT8, Number)
const { DATABASE_URL, JWT_SECRET, OPENAI_BASE_URL, PORT } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })

const model = createOpenAICompatible({
  name: "stand-in",
  baseURL: OPENAI_BASE_URL,
  apiKey: "none",
  includeUsage: true
}).chatModel("stand-in")

const inputs = inputsOf(z)

/** The tools for one turn of `user`; `calls` collects those that ran. */
const toolsOf = (user, calls) =>
  Object.fromEntries(
    Object.entries(tools).map(([name, { description, statement, values }]) => [
      name,
      tool({
        description,
        inputSchema: inputs[name],
        execute: async (parameters, { toolCallId: id }) => {
          const from = Date.now()
          const { rows } = await pool.query(statement, [user, ...values(parameters)])
          const result = resultOf(name, rows)
          calls.push({ id, tool: name, parameters, result, duration_ms: Date.now() - from })
          return result
        }
      })
    ])
  )

const recall = ({ content, role, tool_calls: calls }) => {
  if (calls === null) return { role, content }
  return [
    {
      role,
      content: calls.map(({ id, parameters, tool }) => ({
        type: "tool-call",
        toolCallId: id,
        toolName: tool,
        input: parameters
      }))
    },
    {
      role: "tool",
      content: calls.map(({ id, result, tool }) => ({
        type: "tool-result",
        toolCallId: id,
        toolName: tool,
        output: { type: "json", value: result }
      }))
    },
    { role, content }
  ]
}

/** Stores the message; gives what the model is asked, and how to store the answer. */
const begin = async (user, { conversation_id: conversation, message }) => {
  const turnId = randomUUID()
  const {
    rows: [begun]
  } = conversation
    ? await pool.query(statements.begin, [user, conversation, turnId, message])
    : await pool.query(statements.beginNew, [user, titleOf(message), turnId, message])
  if (begun === undefined) throw Object.assign(new Error("Conversation not found"), { statusCode: 404 })
  const { rows: history } = conversation
    ? await pool.query(statements.history, [user, conversation, begun.sequence_number])
    : { rows: [] }
  const calls = []
  const question = {
    model,
    system: `${instructions}It is ${new Date().toISOString()} (UTC).`,
    messages: [...history.flatMap(recall), { role: "user", content: message }],
    tools: toolsOf(user, calls),
    stopWhen: stepCountIs(8)
  }
  const end = async (content, { inputTokens, outputTokens }) => {
    const toolCalls = calls.length === 0 ? null : calls
    const { rows } = await pool.query(statements.end, [
      user,
      begun.conversation_id,
      turnId,
      content,
      toolCalls && JSON.stringify(toolCalls)
    ])
    return {
      conversation_id: begun.conversation_id,
      message_id: rows[0].id,
      assistant_message: content,
      tool_calls: toolCalls,
      timestamp: rows[0].created_at,
      turn_id: turnId,
      usage: { input_tokens: inputTokens, output_tokens: outputTokens }
    }
  }
  return { turn_id: turnId, conversation_id: begun.conversation_id, user_message_id: begun.id, calls, question, end }
}

const integer = { type: "integer" }
const string = { type: "string" }
const anything = { type: "object", additionalProperties: true }
const stringOrNull = { type: ["string", "null"] }
const time = { type: "string", format: "date-time" }
const timeOrNull = { type: ["string", "null"], format: "date-time" }
const calls = { type: ["array", "null"], items: anything }
const object = (properties) => ({ type: "object", properties })
const list = (properties) => ({ type: "array", items: object(properties) })

const chatBody = {
  ...object({ message: { ...string, minLength: 1, maxLength: 4000 }, conversation_id: { type: ["integer", "null"] } }),
  required: ["message"]
}
const chatAnswer = object({
  conversation_id: integer,
  message_id: integer,
  assistant_message: string,
  tool_calls: calls,
  timestamp: time,
  turn_id: string,
  usage: object({ input_tokens: integer, output_tokens: integer })
})
const messagePage = object({
  conversation_id: integer,
  messages: list({
    id: integer,
    sequence_number: integer,
    role: string,
    content: string,
    tool_calls: calls,
    status: string,
    created_at: time,
    turn_id: string
  }),
  total: integer,
  has_more: { type: "boolean" }
})
const conversationPage = object({
  conversations: list({ id: integer, title: stringOrNull, created_at: time, updated_at: time }),
  total: integer,
  next_cursor: stringOrNull
})
const taskPage = object({
  tasks: list({
    id: integer,
    title: string,
    description: stringOrNull,
    completed: { type: "boolean" },
    priority: stringOrNull,
    labels: { type: "array", items: string },
    due_date: stringOrNull,
    due_at: timeOrNull,
    time_zone: stringOrNull,
    repeat: { ...object({ rule: string, text: string, starts_on: string }), nullable: true },
    created_at: time,
    updated_at: time,
    completed_at: timeOrNull
  }),
  total: integer,
  next_cursor: stringOrNull
})
const pageQuery = (most) => object({ limit: { ...integer, minimum: 1, maximum: most, default: most }, cursor: string })

const app = Fastify({ logger: true })
await app.register(jwt, { secret: JWT_SECRET, verify: { algorithms: ["HS256"] } })

app.get("/health", async () => ({ status: "ok" }))

await app.register(
  /** @param {any} api What requests have is said by schemas and plugins, which its types do not follow. */
  async (api) => {
    api.addHook("onRequest", async (request, reply) => {
      await request.jwtVerify()
      if (String(request.user.user_id) !== request.params.user) reply.code(403).send({ detail: "Permission denied" })
    })

    api.post("/chat", { schema: { body: chatBody, response: { 200: chatAnswer } } }, async (request) => {
      const { end, question } = await begin(request.user.user_id, request.body)
      const { steps, totalUsage } = await generateText(question)
      return end(steps.map(({ text }) => text).join(""), totalUsage)
    })

    api.post("/chat/stream", { schema: { body: chatBody } }, async (request, reply) => {
      const { calls, end, question, ...begun } = await begin(request.user.user_id, request.body)
      reply.hijack()
      reply.raw.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" })
      reply.raw.write(": ok\n\n")
      let id = 0
      const send = (name, value) =>
        reply.raw.write(`id: ${++id}\n${name && `event: ${name}\n`}data: ${JSON.stringify(value)}\n\n`)
      send("turn", { ...begun, done: false })
      let content = ""
      const result = streamText(question)
      for await (const part of result.fullStream) {
        switch (part.type) {
          case "text-delta":
            content += part.text
            send("", { content: part.text, done: false })
            break
          case "tool-call":
            send("tool_call", {
              tool_call: { id: part.toolCallId, tool: part.toolName, parameters: part.input },
              done: false
            })
            break
          case "tool-result":
            send("tool_result", { tool_call: calls.find(({ id }) => id === part.toolCallId), done: false })
            break
        }
      }
      const { assistant_message: _, ...ended } = await end(content, await result.totalUsage)
      send("", { done: true, ...ended })
      reply.raw.end()
    })

    api.get(
      "/conversations",
      { schema: { querystring: pageQuery(100), response: { 200: conversationPage } } },
      async ({ query: { cursor, limit }, user: { user_id: user } }) => {
        const { rows } = await pool.query(statements.conversations, [user, limit, ...cursorOf(cursor)])
        const { rows: counted } = await pool.query(statements.countConversations, [user])
        return pageOf("conversations", "updated_at", rows, limit, counted[0].total)
      }
    )

    api.get(
      "/tasks",
      { schema: { querystring: pageQuery(100), response: { 200: taskPage } } },
      async ({ query: { cursor, limit }, user: { user_id: user } }) => {
        const { rows } = await pool.query(statements.tasks, [user, limit, ...cursorOf(cursor)])
        const { rows: counted } = await pool.query(statements.countTasks, [user])
        return pageOf("tasks", "created_at", rows.map(taskOf), limit, counted[0].total)
      }
    )

    api.get(
      "/conversations/:conversation/messages",
      { schema: { querystring: pageQuery(1000), response: { 200: messagePage } } },
      async ({ params, query: { limit }, user: { user_id: user } }, reply) => {
        const conversation = Number(params.conversation)
        const { rows: found } = await pool.query(statements.countMessages, [user, conversation])
        if (found[0] === undefined) return reply.code(404).send({ detail: "Conversation not found" })
        const { rows } = await pool.query(statements.messages, [user, conversation, limit, 0])
        const messages = rows.slice(0, limit)
        return { conversation_id: conversation, messages, total: found[0].total, has_more: rows.length > limit }
      }
    )
  },
  { prefix: "/api/:user" }
)

await pool.query(schema)
await app.listen({ port: Number(PORT), host: "127.0.0.1" })
