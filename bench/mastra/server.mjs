/**
 * What taskchat is compared with: the same endpoints on Mastra, written by its documentation: an agent with instructions
 * and tools, its memory on PostgreSQL for conversations, custom routes on its Hono server, and its JWT check. PORT,
 * DATABASE_URL, JWT_SECRET and OPENAI_BASE_URL tell it where it is.
 *
 * Mastra differs from the other servers here, and the bench takes it as it is: ids of conversations and messages are
 * UUIDs; messages have no sequence number, status or turn; a page of conversations has a number instead of a cursor; a
 * turn in a conversation that does not exist creates it, and somebody else's is a 500; and, by default, requests are not
 * logged.
 */
import { randomUUID } from "node:crypto"
import { serve } from "@hono/node-server"
import { MastraJwtAuth } from "@mastra/auth"
import { Mastra } from "@mastra/core"
import { Agent } from "@mastra/core/agent"
import { registerApiRoute } from "@mastra/core/server"
import { createTool } from "@mastra/core/tools"
import { MastraServer } from "@mastra/hono"
import { Memory } from "@mastra/memory"
import { PostgresStore } from "@mastra/pg"
import { createRoute } from "@mastra/server/server-adapter"
import { Hono } from "hono"
import { HTTPException } from "hono/http-exception"
import { streamSSE } from "hono/streaming"
import pg from "pg"
import { z } from "zod"
import {
  cursorOf,
  inputsOf,
  instructions,
  pageOf,
  publicTaskOf,
  resultOf,
  schema,
  statements,
  titleOf,
  tools
} from "../service.mjs"

pg.types.setTypeParser(pg.types.builtins.INT8, Number)
const { DATABASE_URL, JWT_SECRET, OPENAI_BASE_URL, PORT } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })

const inputs = inputsOf(z)

const assistant = new Agent({
  id: "assistant",
  name: "assistant",
  instructions: () => `${instructions}It is ${new Date().toISOString()} (UTC).`,
  model: { id: "stand-in/stand-in", url: OPENAI_BASE_URL, apiKey: "none" },
  memory: new Memory({ options: { lastMessages: 20 } }),
  tools: Object.fromEntries(
    Object.entries(tools).map(([name, { description, statement, values }]) => [
      name,
      createTool({
        id: name,
        description,
        inputSchema: inputs[name],
        execute: async (parameters, { requestContext }) => {
          const { rows } = await pool.query(statement, [requestContext.get("user").user_id, ...values(parameters)])
          return resultOf(name, rows)
        }
      })
    ])
  ),
  defaultOptions: { maxSteps: 8 }
})

/** The user of the token, who has to be the one of the path. */
const userOf = (requestContext, user) => {
  const { user_id: id } = requestContext.get("user")
  if (String(id) !== user) throw new HTTPException(403, { message: "Permission denied" })
  return id
}

const callOf = ({ args, result, toolCallId, toolName }) => ({
  id: toolCallId,
  tool: toolName,
  parameters: args,
  result
})

/** What the agent is asked, and with which options. */
const questionOf = (user, requestContext, { conversation_id: conversation, message }) => {
  const asked = { id: randomUUID(), role: "user", content: message }
  const thread = conversation ?? { id: randomUUID(), title: titleOf(message) }
  return {
    conversation: conversation ?? thread.id,
    asked,
    options: { memory: { thread, resource: String(user) }, requestContext }
  }
}

/** What a client gets at the end of a turn, from the agent's output. */
const endOf = (conversation, text, { response, runId, toolResults, totalUsage: { inputTokens, outputTokens } }) => ({
  conversation_id: conversation,
  message_id: response.uiMessages.at(-1).id,
  assistant_message: text,
  tool_calls: toolResults.length === 0 ? null : toolResults.map(({ payload }) => callOf(payload)),
  timestamp: new Date().toISOString(),
  turn_id: runId,
  usage: { input_tokens: inputTokens, output_tokens: outputTokens }
})

const chatBody = z.object({ message: z.string().trim().min(1).max(4000), conversation_id: z.uuid().nullish() })
const userPath = z.object({ user: z.string() })
const pageQuery = (most) =>
  z.object({ limit: z.coerce.number().int().min(1).max(most).default(most), cursor: z.string().optional() })

const chat = createRoute({
  method: "POST",
  path: "/api/:user/chat",
  responseType: "json",
  pathParamSchema: userPath,
  bodySchema: chatBody,
  handler: async ({ requestContext, user, ...body }) => {
    const { asked, conversation, options } = questionOf(userOf(requestContext, user), requestContext, body)
    const output = await assistant.generate([asked], options)
    return endOf(conversation, output.text, output)
  }
})

const chatStream = registerApiRoute("/api/:user/chat/stream", {
  method: "POST",
  handler: async (c) => {
    const requestContext = c.get("requestContext")
    const user = userOf(requestContext, c.req.param("user"))
    const body = chatBody.parse(await c.req.json())
    const { asked, conversation, options } = questionOf(user, requestContext, body)
    return streamSSE(c, async (events) => {
      let id = 0
      const send = (event, data) => events.writeSSE({ id: String(++id), event, data: JSON.stringify(data) })
      const output = await assistant.stream([asked], options)
      await send("turn", {
        turn_id: output.runId,
        conversation_id: conversation,
        user_message_id: asked.id,
        done: false
      })
      let content = ""
      for await (const { payload, type } of output.fullStream) {
        switch (type) {
          case "text-delta":
            content += payload.text
            await send(undefined, { content: payload.text, done: false })
            break
          case "tool-call":
            await send("tool_call", { tool_call: callOf(payload), done: false })
            break
          case "tool-result":
            await send("tool_result", { tool_call: callOf(payload), done: false })
            break
        }
      }
      const { assistant_message: _, ...ended } = endOf(conversation, content, await output.getFullOutput())
      await send(undefined, { done: true, ...ended })
    })
  }
})

const conversations = createRoute({
  method: "GET",
  path: "/api/:user/conversations",
  responseType: "json",
  pathParamSchema: userPath,
  queryParamSchema: pageQuery(100),
  handler: async ({ cursor, limit, requestContext, user }) => {
    const page = Number(cursor ?? 0)
    const memory = await assistant.getMemory()
    const { hasMore, threads, total } = await memory.listThreads({
      filter: { resourceId: String(userOf(requestContext, user)) },
      orderBy: { field: "updatedAt", direction: "DESC" },
      page,
      perPage: limit
    })
    return {
      conversations: threads.map(({ createdAt, id, title, updatedAt }) => ({
        id,
        title,
        created_at: createdAt,
        updated_at: updatedAt
      })),
      total,
      next_cursor: hasMore ? String(page + 1) : null
    }
  }
})

const textOf = ({ parts }) => parts.map((part) => (part.type === "text" ? part.text : "")).join("")

const callsOf = ({ parts }) => {
  const calls = parts.flatMap((part) => (part.type === "tool-invocation" ? [callOf(part.toolInvocation)] : []))
  return calls.length === 0 ? null : calls
}

const messages = createRoute({
  method: "GET",
  path: "/api/:user/conversations/:conversation/messages",
  responseType: "json",
  pathParamSchema: userPath.extend({ conversation: z.uuid() }),
  queryParamSchema: pageQuery(1000),
  handler: async ({ conversation, limit, requestContext, user }) => {
    const memory = await assistant.getMemory()
    const { hasMore, messages, total } = await memory.recall({
      threadId: conversation,
      resourceId: String(userOf(requestContext, user)),
      page: 0,
      perPage: limit,
      orderBy: { field: "createdAt", direction: "ASC" }
    })
    return {
      conversation_id: conversation,
      messages: messages.map(({ content, createdAt, id, role }) => ({
        id,
        role,
        content: textOf(content),
        tool_calls: callsOf(content),
        created_at: createdAt
      })),
      total,
      has_more: hasMore
    }
  }
})

const tasks = createRoute({
  method: "GET",
  path: "/api/:user/tasks",
  responseType: "json",
  pathParamSchema: userPath,
  queryParamSchema: pageQuery(100),
  handler: async ({ cursor, limit, requestContext, user }) => {
    const id = userOf(requestContext, user)
    const { rows } = await pool.query(statements.tasks, [id, limit, ...cursorOf(cursor)])
    const { rows: counted } = await pool.query(statements.countTasks, [id])
    return pageOf("tasks", "created_at", rows.map(publicTaskOf), limit, counted[0].total)
  }
})

const health = registerApiRoute("/health", {
  method: "GET",
  requiresAuth: false,
  handler: (c) => c.json({ status: "ok" })
})

// Mastra's own routes stand aside: it reserves their prefix, which is `/api` otherwise.
const apiPrefix = "/mastra"

const storage = new PostgresStore({ id: "storage", pool })
await storage.init()
await pool.query(schema)

const mastra = new Mastra({
  agents: { assistant },
  storage,
  server: {
    apiPrefix,
    auth: new MastraJwtAuth({
      secret: JWT_SECRET,
      mapUserToResourceId: ({ user_id: id }) => String(id),
      protected: [`${apiPrefix}/*`],
      public: []
    }),
    onError: (error, c) => {
      if (error instanceof HTTPException) return error.getResponse()
      if (error instanceof z.ZodError) return c.json({ error: "Invalid request body" }, 400)
      return c.json({ error: "Internal Server Error" }, 500)
    },
    apiRoutes: [chat, chatStream, conversations, messages, tasks, health]
  }
})
const app = new Hono()
await new MastraServer({ app, mastra, prefix: apiPrefix }).init()
serve({ fetch: app.fetch, port: Number(PORT), hostname: "127.0.0.1" })
