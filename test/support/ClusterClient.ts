import { Duration, Effect, Option, Schema } from "effect"
import { SignJWT } from "jose"

/** The answer to one request. */
export interface Reply {
  /** 0 if the connection broke before the end of the answer. */
  readonly status: number
  /** The `code` of a problem or of a stream's last event. `undefined` for an answer. */
  readonly code: string | undefined
  readonly turnId: string | undefined
  readonly conversationId: number | undefined
  /** The assistant's message. */
  readonly text: string | undefined
  readonly isReplay: boolean
  readonly hasRetryAfter: boolean
}

/** All that a reader has received of a turn, over all its connections. */
export interface Heard {
  turnId: string | undefined
  conversationId: number | undefined
  text: string
  readonly begun: Array<string>
  readonly ended: Array<string>
  cursor: string | undefined
  events: number
  end: { readonly code: string | undefined } | undefined
  /** Events after the event with `done: true`. */
  late: number
}

export const nothingHeard = (): Heard => ({
  turnId: undefined,
  conversationId: undefined,
  text: "",
  begun: [],
  ended: [],
  cursor: undefined,
  events: 0,
  end: undefined,
  late: 0
})

const Call = Schema.Struct({ id: Schema.String })
const Body = Schema.parseJson(
  Schema.Struct({
    code: Schema.optional(Schema.String),
    turn_id: Schema.optional(Schema.String),
    conversation_id: Schema.optional(Schema.Int),
    assistant_message: Schema.optional(Schema.String)
  })
)
const Event = Schema.parseJson(
  Schema.Struct({
    done: Schema.Boolean,
    code: Schema.optional(Schema.String),
    turn_id: Schema.optional(Schema.String),
    conversation_id: Schema.optional(Schema.Int),
    content: Schema.optional(Schema.String),
    tool_call: Schema.optional(Call)
  })
)
const decodeBody = Schema.decodeUnknownOption(Body)
const decodeEvent = Schema.decodeUnknownSync(Event)

interface Message {
  readonly message: string
  readonly conversationId?: number | undefined
  readonly key?: string | undefined
}

/** Requests of users of a cluster. `base` is the URL of a node or of the proxy. */
export const make = (secret: string) => {
  const tokens = new Map<number, Promise<string>>()
  const tokenOf = (user: number) => {
    const known = tokens.get(user)
    if (known !== undefined) return known
    const token = new SignJWT({ user_id: user })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime("1 day")
      .sign(new TextEncoder().encode(secret))
    tokens.set(user, token)
    return token
  }

  const send = async (url: string, user: number, init: RequestInit, headers: Record<string, string> = {}) =>
    fetch(url, {
      ...init,
      headers: { authorization: `Bearer ${await tokenOf(user)}`, "content-type": "application/json", ...headers }
    })

  const replyTo = async (response: Response): Promise<Reply> => {
    const text = await response.text()
    const body = Option.getOrUndefined(decodeBody(text))
    return {
      status: response.status,
      code: body?.code,
      turnId: body?.turn_id,
      conversationId: body?.conversation_id,
      text: body?.assistant_message,
      isReplay: response.headers.get("idempotent-replayed") === "true",
      hasRetryAfter: response.headers.has("retry-after")
    }
  }

  const request = (send: (signal: AbortSignal) => Promise<Response>): Effect.Effect<Reply> =>
    Effect.tryPromise((signal) => send(signal).then(replyTo)).pipe(Effect.orElseSucceed(() => broken))

  const post = ({ conversationId, key, message }: Message) => ({
    body: JSON.stringify({ message, conversation_id: conversationId ?? null }),
    headers: key === undefined ? {} : { "idempotency-key": key }
  })

  /** Reads events until the last one, the end of the connection or `leaveAfter` more events. */
  const listen = (
    open: (signal: AbortSignal) => Promise<Response>,
    heard: Heard,
    leaveAfter = Number.POSITIVE_INFINITY
  ): Effect.Effect<Reply> =>
    Effect.tryPromise(async (signal) => {
      const leaving = new AbortController()
      const response = await open(AbortSignal.any([signal, leaving.signal]))
      if (response.status !== 200 || response.body === null) return replyTo(response)
      const isReplay = response.headers.get("idempotent-replayed") === "true"
      const until = heard.events + leaveAfter
      try {
        for await (const block of blocks(response.body)) {
          hear(heard, block)
          if (heard.events >= until) break
        }
      } catch {
        // The connection broke. The events received so far count.
      }
      leaving.abort()
      const { conversationId, end, text, turnId } = heard
      return {
        status: 200,
        code: end?.code,
        turnId,
        conversationId,
        text: end !== undefined && end.code === undefined ? text : undefined,
        isReplay,
        hasRetryAfter: false
      }
    }).pipe(Effect.orElseSucceed(() => broken))

  return {
    chat: (base: string, user: number, message: Message) => {
      const { body, headers } = post(message)
      return request((signal) => send(`${base}/api/${user}/chat`, user, { method: "POST", body, signal }, headers))
    },
    stream: (base: string, user: number, message: Message, heard: Heard, leaveAfter?: number) => {
      const { body, headers } = post(message)
      const open = (signal: AbortSignal) =>
        send(`${base}/api/${user}/chat/stream`, user, { method: "POST", body, signal }, headers)
      return listen(open, heard, leaveAfter)
    },
    /** Continues after the last received event. */
    resume: (base: string, user: number, turnId: string, heard: Heard, leaveAfter?: number) =>
      listen(
        (signal) =>
          send(
            `${base}/api/${user}/turns/${turnId}/events`,
            user,
            { signal },
            heard.cursor === undefined ? {} : { "last-event-id": heard.cursor }
          ),
        heard,
        leaveAfter
      ),
    cancel: (base: string, user: number, turnId: string) =>
      request((signal) => send(`${base}/api/${user}/turns/${turnId}/cancel`, user, { method: "POST", signal })),
    addTask: (base: string, user: number, title: string) =>
      request((signal) =>
        send(`${base}/api/${user}/tasks`, user, { method: "POST", body: JSON.stringify({ title }), signal })
      ),
    get: (base: string, user: number, path: string) =>
      request((signal) => send(`${base}/api/${user}${path}`, user, { signal }))
  }
}

export type Client = ReturnType<typeof make>

const broken: Reply = {
  status: 0,
  code: undefined,
  turnId: undefined,
  conversationId: undefined,
  text: undefined,
  isReplay: false,
  hasRetryAfter: false
}

async function* blocks(body: ReadableStream<Uint8Array>) {
  const decoder = new TextDecoder()
  let rest = ""
  for await (const bytes of body) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n\n")
    rest = parts.pop() ?? ""
    yield* parts
  }
}

const hear = (heard: Heard, block: string) => {
  const fields = new Map(
    block.split("\n").flatMap((line) => {
      const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? []
      return name === undefined ? [] : [[name, value ?? ""] as const]
    })
  )
  const data = fields.get("data")
  if (data === undefined) return
  const event = decodeEvent(data)
  heard.events++
  heard.cursor = fields.get("id")
  if (heard.end !== undefined) heard.late++
  heard.turnId ??= event.turn_id
  heard.conversationId ??= event.conversation_id
  heard.text += event.content ?? ""
  if (event.done) heard.end = { code: event.code }
  else if (event.tool_call !== undefined) {
    const list = fields.get("event") === "tool_call" ? heard.begun : heard.ended
    list.push(event.tool_call.id)
  }
}

/** Waits between attempts. */
export const pause = Effect.sleep(Duration.millis(150))
