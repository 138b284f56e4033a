/* Turns: send a message or a decision, read all events with reconnects, and stop a turn. */

import { call, request, timeZone } from "./api.js"

/** A random key. `crypto.randomUUID` exists only in secure contexts. */
const randomKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-")

/**
 * Sends a message and yields the events of its turn up to the last one. The key makes it safe to send the message again if
 * the connection breaks before the answer. `onCut` is called when the connection breaks and when it is restored.
 */
export const say = (message, conversationId, onCut) => {
  const body = { message, conversation_id: conversationId, time_zone: timeZone }
  const headers = { "idempotency-key": randomKey() }
  return read(() => request("POST", "chat/stream", { body, headers }), undefined, onCut)
}

/** Approves or declines the awaiting calls of a turn, and yields the events of the new turn. */
export const decide = (turnId, decision, onCut) => {
  const headers = { accept: "text/event-stream", "idempotency-key": randomKey() }
  return read(() => request("POST", `turns/${turnId}/${decision}`, { headers }), undefined, onCut)
}

/** The events of a turn from its start, also while it runs. */
export const follow = (turnId, onCut) => read(undefined, turnId, onCut)

export const cancel = (turnId) => call("POST", `turns/${turnId}/cancel`)

/** After a cut it continues after the last event, without gaps or repeats. */
async function* read(open, turnId, onCut) {
  let headers = {}
  for (let tries = 0; ; tries++) {
    try {
      const response = await (turnId === undefined ? open() : request("GET", `turns/${turnId}/events`, { headers }))
      onCut(false)
      if (response.status === 204) return
      for await (const { data, event, id } of eventsOf(response.body)) {
        tries = 0
        headers = { "last-event-id": id }
        if (event === "turn") turnId = data.turn_id
        yield { event, ...data }
        if (data.done) return
      }
    } catch (error) {
      // A broken body throws a `TypeError`.
      const isCut = error instanceof TypeError || error.code === "disconnected"
      const isAway = error.code === "unavailable" && turnId !== undefined
      if (!isCut && !isAway) throw error
    }
    onCut(true)
    await pause(tries)
  }
}

/** Exponential backoff, which ends early when the browser is online again. */
const pause = (tries) =>
  new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer)
      removeEventListener("online", go)
      resolve()
    }
    const timer = setTimeout(go, Math.min(300 * 2 ** tries, 5000))
    addEventListener("online", go)
  })

/** Server-sent events with parsed JSON data. */
async function* eventsOf(body) {
  let text = ""
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece
    const blocks = text.split("\n\n")
    text = blocks.pop()
    for (const block of blocks) {
      const fields = Object.fromEntries(
        Array.from(block.matchAll(/^(\w+): (.*)$/gm), ([, name, value]) => [name, value])
      )
      if (fields.data !== undefined) yield { ...fields, data: JSON.parse(fields.data) }
    }
  }
}
