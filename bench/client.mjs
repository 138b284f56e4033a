/** The bench's HTTP client: little work for each answer, as it shares the machine with the servers. */
import { createHmac } from "node:crypto"
import { StringDecoder } from "node:string_decoder"
import { Pool } from "undici"
import { secret } from "./servers.mjs"
import { Timestamps } from "./words.mjs"

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url")
const tokens = new Map()

const tokenOf = (user) => {
  if (!tokens.has(user)) {
    const text = `${base64({ alg: "HS256", typ: "JWT" })}.${base64({ user_id: user, exp: Math.floor(Date.now() / 1000) + 86400 })}`
    tokens.set(user, `Bearer ${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`)
  }
  return tokens.get(user)
}

const pools = new Map()

const dispatch = (server, method, user, path, body, onData) =>
  new Promise((resolve, reject) => {
    if (!pools.has(server.url)) pools.set(server.url, new Pool(server.url, { connections: 1000, bodyTimeout: 60_000 }))
    const head = { authorization: tokenOf(user), ...(body && { "content-type": "application/json" }) }
    pools.get(server.url).dispatch(
      { method, path: `/api/${user}${path}`, headers: head, body: body && JSON.stringify(body) },
      {
        onRequestStart() {},
        onResponseStart(_, status) {
          if (status !== 200) throw new Error(`${server.name}: ${method} ${path} gave ${status}`)
        },
        onResponseData: (_, piece) => onData(piece),
        onResponseEnd: resolve,
        onResponseError: (_, error) => reject(error)
      }
    )
  })

const whole = async (server, method, user, path, body) => {
  const pieces = []
  await dispatch(server, method, user, path, body, (piece) => pieces.push(piece))
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
}

/** The answer as text, unread: what measuring needs. */
export const get = (server, user, path) => whole(server, "GET", user, path)

/** How many bytes the answer has, which are not kept. */
export const sizeOf = async (server, user, path) => {
  let bytes = 0
  await dispatch(server, "GET", user, path, undefined, (piece) => {
    bytes += piece.length
  })
  return bytes
}

export const getJson = async (server, user, path) => JSON.parse(await get(server, user, path))

/** Says something, without looking at the answer. */
export const say = (server, user, message, conversation) =>
  whole(server, "POST", user, "/chat", { message, conversation_id: conversation })

export const chat = async (...args) => JSON.parse(await say(...args))

/** A stream of the model's timestamps; `onTime` is called with the mark and the microseconds of each as it comes. */
export const streamTimes = (server, user, message, onTime) => {
  const decoder = new StringDecoder("utf8")
  const times = new Timestamps()
  return dispatch(server, "POST", user, "/chat/stream", { message }, (piece) =>
    times.read(decoder.write(piece), onTime)
  )
}

/** All events of a stream, as their names and data. */
export const stream = async (server, user, message, conversation) => {
  const body = { message, conversation_id: conversation }
  const text = String(await whole(server, "POST", user, "/chat/stream", body))
  return text.split("\n\n").flatMap((event) => {
    const data = /^data: ([^\n]*)$/m.exec(event)?.[1]
    return data === undefined ? [] : [{ name: /^event: ([^\n]*)$/m.exec(event)?.[1], data: JSON.parse(data) }]
  })
}

/** Forgets the connections to a server that has ended. */
export const forget = (server) => {
  const pool = pools.get(server.url)
  pools.delete(server.url)
  return pool?.destroy()
}
