/* Turns: say or decide something, read the events to the last one whatever becomes of the connection, stop. */

import { call, request, timeZone } from "./api.js"

/** A random key; `crypto.randomUUID` is for secure contexts alone. */
const randomKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-")

/**
 * Says something and yields the turn's events as they come, to the last. The key makes it safe to send again if the
 * connection breaks before the service has answered. `onCut` hears whether the connection is broken.
 */
export const say = (message, conversationId, onCut) => {
  const body = { message, conversation_id: conversationId, time_zone: timeZone }
  const headers = { "idempotency-key": randomKey() }
  return read(() => request("POST", "chat/stream", { body, headers }), undefined, onCut)
}

/** Approves or declines what a turn left waiting, and yields the events of the turn that this begins. */
export const decide = (turnId, decision, onCut) => {
  const headers = { accept: "text/event-stream", "idempotency-key": randomKey() }
  return read(() => request("POST", `turns/${turnId}/${decision}`, { headers }), undefined, onCut)
}

/** The events of a turn from its start, live while it runs. */
export const follow = (turnId, onCut) => read(undefined, turnId, onCut)

export const cancel = (turnId) => call("POST", `turns/${turnId}/cancel`)

/** After a cut it reads on behind the last event that came, so that none is missing and none comes twice. */
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
      // A body that breaks off is a `TypeError`.
      const isCut = error instanceof TypeError || error.code === "disconnected"
      const isAway = error.code === "unavailable" && turnId !== undefined
      if (!isCut && !isAway) throw error
    }
    onCut(true)
    await pause(tries)
  }
}

/** Longer each time, but no longer than it takes the browser to find out that the network is back. */
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

/** Server-sent events, with their data as what the JSON in it says. */
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
