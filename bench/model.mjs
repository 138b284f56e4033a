/**
 * The stand-in for the language model, in a process of its own: OpenAI's chat completions and Responses, streamed or
 * whole, as cheaply as it can, so that what is measured is the server that asks. What it answers is up to a mark in the
 * last user message:
 *
 * - none: `answer`, word by word, all at once
 * - `[[tool]]`: a call of `create_task`, and an answer when its result comes
 * - `[[first MS]]`: after MS milliseconds the words `^received @sent `
 * - `[[tokens MS]]`: words `@sent `, the first at once, MS milliseconds apart, until `GET /finish` ends all such answers;
 *   that gives how many words there were
 *
 * Times are microseconds of the machine's monotonic clock, which all processes share. `GET /last` gives the messages of
 * the last request, less the instructions. Sends its port to whoever forked it.
 */
import { createServer } from "node:http"
import { answer, micros, taskTitle, toolAnswer } from "./words.mjs"

const created = Math.floor(Date.now() / 1000)
const usage = { prompt_tokens: 400, completion_tokens: 40, total_tokens: 440 }
const toolArguments = JSON.stringify({ title: taskTitle, description: null, priority: null, labels: null, due: null })

const data = (value) => `data: ${JSON.stringify(value)}\n\n`
const named = (value) => `event: ${value.type}\n${data(value)}`
const wordsOf = (text) => text.match(/\S+\s*/g)

/** The two wires. `delta` has to be quick; the rest is made once. */
const wires = {
  "/v1/chat/completions": (() => {
    const head = { id: "chatcmpl-1", created, model: "stand-in" }
    const chunk = (delta, finish_reason = null) =>
      data({ ...head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })
    const end = (reason) =>
      `${chunk({}, reason)}${data({ ...head, object: "chat.completion.chunk", choices: [], usage })}data: [DONE]\n\n`
    const [before, after] = chunk({ content: "\0" }).split("\\u0000")
    const call = (id) => ({ id, type: "function", function: { name: "create_task", arguments: toolArguments } })
    const whole = (message, finish_reason) =>
      JSON.stringify({
        ...head,
        object: "chat.completion",
        choices: [{ index: 0, message: { role: "assistant", content: null, ...message }, finish_reason }],
        usage
      })
    return {
      begin: chunk({ role: "assistant", content: "" }),
      delta: (text) => before + text + after,
      end: () => end("stop"),
      call: (id) => chunk({ role: "assistant", tool_calls: [{ index: 0, ...call(id) }] }) + end("tool_calls"),
      whole: (content) => whole({ content }, "stop"),
      wholeCall: (id) => whole({ tool_calls: [call(id)] }, "tool_calls"),
      isResult: (last) => last.includes('"role":"tool"')
    }
  })(),
  "/v1/responses": (() => {
    const response = (status, output) => ({
      id: "resp_1",
      object: "response",
      created_at: created,
      model: "stand-in",
      status,
      output,
      ...(status === "completed" && { usage: { input_tokens: 400, output_tokens: 40, total_tokens: 440 } })
    })
    const place = { output_index: 0, content_index: 0, item_id: "msg_1" }
    const item = (status, content) => ({ id: "msg_1", type: "message", role: "assistant", status, content })
    const part = (text) => ({ type: "output_text", text, annotations: [] })
    const begin = named({ type: "response.created", response: response("in_progress", []) })
    const [before, after] = named({ type: "response.output_text.delta", ...place, delta: "\0" }).split("\\u0000")
    const call = (id, status) => ({
      id: `fc_${id}`,
      type: "function_call",
      call_id: id,
      name: "create_task",
      arguments: status === "completed" ? toolArguments : "",
      status
    })
    const completed = (output) => named({ type: "response.completed", response: response("completed", [output]) })
    return {
      begin:
        begin +
        named({ type: "response.output_item.added", output_index: 0, item: item("in_progress", []) }) +
        named({ type: "response.content_part.added", ...place, part: part("") }),
      delta: (text) => before + text + after,
      end: (text) =>
        named({ type: "response.output_text.done", ...place, text }) +
        named({ type: "response.output_item.done", output_index: 0, item: item("completed", [part(text)]) }) +
        completed(item("completed", [part(text)])),
      call: (id) =>
        begin +
        named({ type: "response.output_item.added", output_index: 0, item: call(id, "in_progress") }) +
        named({ type: "response.function_call_arguments.delta", output_index: 0, delta: toolArguments }) +
        named({ type: "response.output_item.done", output_index: 0, item: call(id, "completed") }) +
        completed(call(id, "completed")),
      whole: (text) => JSON.stringify(response("completed", [item("completed", [part(text)])])),
      wholeCall: (id) => JSON.stringify(response("completed", [call(id, "completed")])),
      isResult: (last) => last.includes('"function_call_output"')
    }
  })()
}

for (const wire of Object.values(wires)) {
  const ready = (text) => Buffer.from(wire.begin + wordsOf(text).map(wire.delta).join("") + wire.end(text))
  wire.answers = new Map([answer, toolAnswer].map((text) => [text, ready(text)]))
}

let calls = 0
let lastBody = "{}"

const sse = { "content-type": "text/event-stream" }
const json = { "content-type": "application/json" }

const reply = (wire, body, received, response) => {
  const last = body.slice(body.lastIndexOf('"role":"user"'))
  const [, kind, millis] = /\[\[(\w+) ?(\d*)\]\]/.exec(last) ?? []
  const isStream = body.includes('"stream":true')
  if (kind === "tokens") return tokens(wire, Number(millis), response)
  if (kind === "first") {
    response.writeHead(200, sse)
    response.write(wire.begin)
    setTimeout(() => {
      const text = `^${received} @${micros()} `
      response.end(wire.delta(text) + wire.end(text))
    }, Number(millis))
    return
  }
  response.writeHead(200, isStream ? sse : json)
  if (kind === "tool" && !wire.isResult(last)) {
    const id = `call_${++calls}`
    return response.end(isStream ? wire.call(id) : wire.wholeCall(id))
  }
  const text = kind === "tool" ? toolAnswer : answer
  response.end(isStream ? wire.answers.get(text) : wire.whole(text))
}

const open = new Set()
let words = 0

const tokens = (wire, interval, response) => {
  let said = ""
  response.writeHead(200, sse)
  response.write(wire.begin)
  const say = () => {
    const token = `@${micros()} `
    words++
    said += token
    response.write(wire.delta(token))
  }
  say()
  const timer = setInterval(say, interval)
  const finish = () => response.end(wire.end(said))
  open.add(finish)
  response.on("close", () => {
    clearInterval(timer)
    open.delete(finish)
  })
}

const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  const received = micros()
  if (request.url === "/last") {
    const { input, messages = input } = JSON.parse(lastBody)
    response.writeHead(200, json)
    return response.end(JSON.stringify(messages.filter(({ role }) => role !== "system")))
  }
  if (request.url === "/finish") {
    for (const finish of open) finish()
    response.writeHead(200, json)
    response.end(JSON.stringify(words))
    words = 0
    return
  }
  // As a collector of traces and metrics.
  if (request.url === "/v1/traces" || request.url === "/v1/metrics") {
    request.resume()
    response.writeHead(200, json)
    return response.end("{}")
  }
  const wire = wires[request.url]
  const pieces = []
  request.on("data", (piece) => pieces.push(piece))
  request.on("end", () => {
    if (wire === undefined) return response.writeHead(404).end()
    lastBody = Buffer.concat(pieces).toString()
    reply(wire, lastBody, received, response)
  })
})
server.listen({ port: 0, host: "127.0.0.1", backlog: 2048 }, () => {
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address())
  process.send(port)
})
process.on("disconnect", () => process.exit())
