/** Whether the servers do the same: what is compared is not measured before they do. */
import assert from "node:assert/strict"
import { chat, getJson, stream } from "./client.mjs"
import { seedTasks } from "./seed.mjs"
import { answer, taskTitle, toolAnswer } from "./words.mjs"

const user = 900_000_000
const withTasks = user + 1

/** What one user sees of a server, and the model of the user, less what differs from run to run. */
const impression = async (server, modelUrl) => {
  /** @returns {Promise<any>} */
  const told = async () => (await fetch(`${modelUrl}/last`)).json()
  const first = await chat(server, user, "Good morning")
  const conversation = first.conversation_id
  const second = await chat(server, user, "Please add it [[tool]]", conversation)
  const events = await stream(server, user, "And again [[tool]]", conversation)
  const plain = await stream(server, user, "What now?", conversation)
  const heard = await told()
  const path = `/conversations/${conversation}/messages`
  const page = await getJson(server, user, path)
  const list = await getJson(server, user, "/conversations?limit=1")
  const { rows: tasks } = await server.database.use((client) =>
    client.query("SELECT title FROM tasks WHERE user_id = $1", [user])
  )
  return {
    answer: answerOf(first),
    toolAnswer: answerOf(second),
    streams: [events, plain].map((stream) => ({
      names: stream.filter(({ data }) => data.content === undefined).map(({ name }) => name ?? "end"),
      text: stream.map(({ data }) => data.content ?? "").join(""),
      pieces: stream.filter(({ data }) => data.content !== undefined).length > 0,
      end: answerOf(stream.at(-1).data)
    })),
    messages: page.messages.map(({ content, role, sequence_number, status, tool_calls }) => ({
      content,
      role,
      sequence_number,
      status,
      calls: callsOf(tool_calls)
    })),
    members: Object.keys(page.messages[0]).sort(),
    total: page.total,
    hasMore: page.has_more,
    conversations: list.conversations.map(({ title }) => title),
    conversationMembers: Object.keys(list.conversations[0]).sort(),
    tasks: tasks.map(({ title }) => title),
    taskPage: await taskPage(server),
    heard: heard.map(({ content, role, tool_calls }) => ({
      role,
      text: role === "tool" ? "" : (content ?? ""),
      calls: tool_calls?.map(({ function: { name, arguments: text } }) => [name, JSON.parse(text)]) ?? []
    }))
  }
}

/** Of all kinds of tasks, to the last member of each. */
const taskPage = async (server) => {
  await seedTasks(server, { user: withTasks, tasks: 60 })
  const { tasks, total } = await getJson(server, withTasks, "/tasks?limit=50")
  return { tasks: tasks.map((task) => ({ ...task, id: typeof task.id })), total }
}

const callsOf = (calls) =>
  calls?.map(({ parameters, result, tool }) => ({
    tool,
    parameters,
    status: result.status,
    task: { ...result.task, id: 0, created_at: "", updated_at: "" }
  })) ?? null

const answerOf = ({ assistant_message: text, conversation_id, message_id, timestamp, tool_calls, turn_id, usage }) => ({
  text,
  calls: callsOf(tool_calls),
  usage,
  members: [typeof conversation_id, typeof message_id, typeof turn_id, new Date(timestamp).toISOString() === timestamp]
})

/**
 * The part of an impression that Mastra can match: its ids are UUIDs where the others have numbers, and its messages have
 * no sequence number, status or turn. Everything else has to be the same.
 */
const comparedWithMastra = (seen) => {
  const withoutIds = ({ members: [_conversation, _message, ...members], ...rest }) => ({ ...rest, members })
  return {
    ...seen,
    answer: withoutIds(seen.answer),
    toolAnswer: withoutIds(seen.toolAnswer),
    streams: seen.streams.map((stream) => ({ ...stream, end: withoutIds(stream.end) })),
    messages: seen.messages.map(({ calls, content, role }) => ({ calls, content, role })),
    members: seen.members.filter((member) => !["sequence_number", "status", "turn_id"].includes(member))
  }
}

/** Fails, with the difference, unless all servers give the same impression, and the right one. */
export const check = async (servers, modelUrl) => {
  const impressions = []
  for (const server of servers) impressions.push(await impression(server, modelUrl))
  for (const [i, seen] of impressions.entries()) {
    assert.equal(seen.answer.text, answer, servers[i].name)
    assert.equal(seen.streams[0].text, toolAnswer, servers[i].name)
    assert.deepEqual(seen.tasks, [taskTitle, taskTitle], servers[i].name)
    assert.equal(seen.total, 8, servers[i].name)
    assert.equal(seen.taskPage.tasks.length, 50, servers[i].name)
    // Another wire words the same history otherwise.
    const isWithMastra = [servers[0], servers[i]].some(({ name }) => name === "mastra")
    const [{ heard, ...visible }, { heard: heardFirst, ...visibleFirst }] = isWithMastra
      ? [seen, impressions[0]].map(comparedWithMastra)
      : [seen, impressions[0]]
    assert.deepEqual(visible, visibleFirst, `${servers[i].name} does not do the same as ${servers[0].name}`)
    if (servers.every(({ name }) => name !== "taskchat-responses")) {
      assert.deepEqual(heard, heardFirst, `${servers[i].name} tells the model something else than ${servers[0].name}`)
    }
  }
}
