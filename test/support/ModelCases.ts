/** A provider of models: replies written by hand in its format, and the expected results. */
export interface Provider {
  readonly name: string
  /** The API that the provider is used with. */
  readonly wire: "chat-completions" | "responses" | "messages"
  /** The tested settings. */
  readonly settings: string
  /** Notes for the documentation. */
  readonly notes: string
  /** Set if the provider expects its reasoning back: in the turn, or also in later turns. */
  readonly echoes?: "turn" | "conversation"
  readonly cases: ReadonlyArray<Case>
}

export const features = ["text", "stream", "tools", "parallel calls", "usage", "errors", "thinking"] as const

export type Feature = (typeof features)[number]

export interface Case {
  /** The fact that the case checks. */
  readonly name: string
  /** The main feature of the case. `featuresOf` returns all. */
  readonly feature: Feature
  /** The tasks of the user before the case. */
  readonly tasks?: ReadonlyArray<object>
  readonly turns: ReadonlyArray<CaseTurn>
  /** Texts that must not reach the client or the log. */
  readonly secrets?: ReadonlyArray<string>
}

export interface CaseTurn {
  /** In the order of the requests, or as a function of the request. Further requests get 418. */
  readonly replies: ReadonlyArray<Reply> | ((request: Sent, n: number) => Reply)
  readonly expected: Expected
}

/** One answer over HTTP. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
  /** The connection is reset after the body. */
  readonly isReset: boolean
}

/** A request as its JSON. */
export interface Sent {
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: Readonly<Record<string, unknown>>
  readonly text: string
}

interface Expected {
  /** The answer. With an error, the text that is kept. */
  readonly text?: string
  readonly calls?: ReadonlyArray<readonly [tool: string, parameters: unknown, status: "success" | "error"]>
  /** The code of the error. */
  readonly error?: string
  readonly usage?: readonly [input: number, output: number]
  /** The number of requests. */
  readonly requests?: number
  /** Checks for each request, in order. */
  readonly sent?: ReadonlyArray<(request: Sent) => boolean>
  /** Annotations of a warning in the log. */
  readonly log?: Readonly<Record<string, unknown>>
}

export const reply = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
  isReset: false
})

const noSent: Sent = { headers: {}, body: {}, text: "" }

/** The replies of a turn. For a function, its replies to the first two requests. */
export const repliesOf = ({ replies }: CaseTurn): ReadonlyArray<Reply> =>
  typeof replies === "function" ? [replies(noSent, 0), replies(noSent, 1)] : replies

/** All features of a case, derived from its expectations. */
export const featuresOf = ({ feature, turns }: Case): ReadonlySet<Feature> => {
  const shown = new Set<Feature>([feature])
  for (const turn of turns) {
    const { calls, error, text, usage } = turn.expected
    if (text !== undefined && text !== "") shown.add("text")
    if (calls !== undefined && calls.length > 0) shown.add("tools")
    if (usage !== undefined) shown.add("usage")
    if (error !== undefined) shown.add("errors")
    if (repliesOf(turn).some(({ headers }) => headers["content-type"] === "text/event-stream")) shown.add("stream")
  }
  return shown
}

const frame = (event: unknown) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`

/** A stream of events. A string is sent unchanged, any other value as JSON. */
export const events = (...all: ReadonlyArray<unknown>): Reply =>
  reply(200, all.map(frame).join(""), { "content-type": "text/event-stream" })

/** A stream of named events, as in the Responses and Messages APIs. The name is also in the event. */
export const named = (...all: ReadonlyArray<{ readonly type: string; readonly [member: string]: unknown }>): Reply =>
  reply(200, all.map((event) => `event: ${event.type}\n${frame(event)}`).join(""), {
    "content-type": "text/event-stream"
  })

export const reset = (of: Reply): Reply => ({ ...of, isReset: true })

/** A chunk with one choice. */
export const chunk = (delta: object | null, finish_reason: unknown = null, rest: object = {}) => ({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1700000000,
  model: "m",
  choices: [{ index: 0, ...(delta !== null && { delta }), finish_reason }],
  ...rest
})

export const says = (content: string, finish_reason: unknown = null, rest: object = {}) =>
  chunk({ content }, finish_reason, rest)

export const counts = (prompt_tokens: number, completion_tokens: number) => ({
  usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
})

export const tokens = (input: number, output: number) => ({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1700000000,
  model: "m",
  choices: [],
  ...counts(input, output)
})

/** One piece of a call. */
export const piece = (given: object, fn: object) => ({ tool_calls: [{ ...given, function: fn }] })

/** A whole call in one chunk. */
export const calls = (id: string | undefined, title: string, index: number | undefined = 0) =>
  chunk(piece({ index, id, type: "function" }, { name: "create_task", arguments: JSON.stringify({ title }) }))

/** A text answer in the usual form. */
export const plain = (text: string): Reply => events(says(text), chunk({}, "stop"), tokens(5, 2), "[DONE]")

export const created = (title: string) => ["create_task", { title }, "success"] as const

/** The messages of a chat completion. */
export const messagesIn = ({ body }: Sent): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  Array.isArray(body["messages"]) ? body["messages"] : []

export const refusal = (status: number, error: object) => reply(status, { error: { message: "No.", ...error } })
