import { Array as Arr, Effect, Schema } from "effect"
import Pg from "pg"

/** The instructions of a message for the scripted model. They determine all expected results. */
export interface Errand {
  /** Unique. */
  readonly tag: string
  readonly calls: number
  /** Milliseconds between two words. */
  readonly pause: number
}

export const words = ({ calls, pause, tag }: Errand) => `${tag} calls ${calls} pause ${pause}`

export const errandOf = (message: string): Errand | undefined => {
  const [, tag, calls, pause] = /^(\S+) calls (\d+) pause (\d+)$/.exec(message) ?? []
  return tag === undefined ? undefined : { tag, calls: Number(calls), pause: Number(pause) }
}

/** The pieces of text of a step. */
export const saying = ({ tag }: Errand, step: number) => [`${tag} `, `step ${step}: `, "one ", "two ", "three."]

/** The whole text of the model, without spaces. */
const script = (errand: Errand) =>
  Array.from({ length: errand.calls + 1 }, (_, step) => saying(errand, step).join(""))
    .join("")
    .replace(/\s/g, "")

const Place = Schema.Struct({ step: Schema.Int, offset: Schema.Int })
const Call = Schema.Struct({
  id: Schema.String,
  tool: Schema.String,
  result: Schema.Struct({ status: Schema.String, task: Schema.optional(Schema.Struct({ id: Schema.Int })) })
})
const Turns = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    status: Schema.String,
    question: Schema.NullOr(Schema.String),
    content: Schema.NullOr(Schema.String),
    messageStatus: Schema.NullOr(Schema.String),
    calls: Schema.NullOr(Schema.Array(Call)),
    places: Schema.NullOr(Schema.Array(Place)),
    changes: Schema.Array(Schema.String)
  })
)
const Counts = Schema.Tuple(Schema.Struct({ n: Schema.NumberFromString }))
const Tags = Schema.Array(Schema.Struct({ content: Schema.String, n: Schema.NumberFromString }))

const query = (url: string, statement: string, ...values: ReadonlyArray<unknown>): Effect.Effect<unknown> =>
  Effect.promise(async () => {
    const client = new Pg.Client({ connectionString: url })
    client.on("error", () => {})
    await client.connect()
    return client
      .query(statement, [...values])
      .then(({ rows }) => rows)
      .finally(() => client.end())
  })

const decodeCounts = Schema.decodeUnknownSync(Counts)
const count = (url: string, statement: string, ...values: ReadonlyArray<unknown>) =>
  Effect.map(query(url, statement, ...values), (rows) => decodeCounts(rows)[0].n)

export const runningTurns = (url: string) => count(url, "SELECT count(*) AS n FROM turns WHERE status = 'running'")

export const turnsOf = (url: string, user: number) =>
  count(url, "SELECT count(*) AS n FROM turns WHERE user_id = $1", user)

const Interrupted = Schema.Array(
  Schema.Struct({ startedAt: Schema.ValidDateFromSelf, finishedAt: Schema.ValidDateFromSelf })
)

/** The times at which interrupted turns ran, in milliseconds. */
export const interruptedTurns = (url: string) =>
  query(
    url,
    `SELECT started_at AS "startedAt", finished_at AS "finishedAt" FROM turns WHERE status = 'interrupted'`
  ).pipe(
    Effect.map(Schema.decodeUnknownSync(Interrupted)),
    Effect.map(
      Arr.map(({ finishedAt, startedAt }) => ({ startedAt: startedAt.getTime(), finishedAt: finishedAt.getTime() }))
    )
  )

/** All stored data of a turn and its changes, for comparison. */
export const traces = (url: string, turnId: string) =>
  query(
    url,
    `SELECT to_jsonb(t) AS turn,
      (SELECT jsonb_agg(to_jsonb(m) ORDER BY m.id) FROM messages m WHERE m.turn_id = t.id) AS messages,
      (SELECT jsonb_agg(to_jsonb(k) ORDER BY k.id) FROM tasks k WHERE k.user_id = t.user_id) AS tasks,
      (SELECT jsonb_agg(to_jsonb(c) ORDER BY c.task_id, c.version) FROM task_changes c WHERE c.user_id = t.user_id) AS changes,
      (SELECT count(*) FROM turn_output o WHERE o.turn_id = t.id) AS said,
      (SELECT count(*) FROM tool_calls r WHERE r.turn_id = t.id) AS done
    FROM turns t WHERE t.id = $1`,
    turnId
  )

const violationsOf: ReadonlyArray<readonly [fact: string, statement: string]> = [
  ["turns still running", "SELECT count(*) AS n FROM turns WHERE status = 'running'"],
  ["text left of ended turns", "SELECT count(*) AS n FROM turn_output"],
  ["tool calls left of ended turns", "SELECT count(*) AS n FROM tool_calls"],
  [
    "conversations whose numbers have gaps or repeats",
    `SELECT count(*) AS n FROM conversations c
    WHERE (SELECT array_agg(m.sequence_number ORDER BY m.sequence_number) FROM messages m
      WHERE m.user_id = c.user_id AND m.conversation_id = c.id)
      IS DISTINCT FROM (SELECT array_agg(i) FROM generate_series(1, c.last_sequence_number) i)
      OR c.message_count <> c.last_sequence_number`
  ],
  [
    "turns without their user message",
    `SELECT count(*) AS n FROM turns t WHERE NOT EXISTS (
      SELECT FROM messages m WHERE m.user_id = t.user_id AND m.id = t.user_message_id AND m.turn_id = t.id)`
  ],
  [
    "tasks whose versions are not those of their records",
    `SELECT count(*) AS n FROM tasks k
    WHERE (SELECT array_agg(c.version ORDER BY c.version) FROM task_changes c
      WHERE c.user_id = k.user_id AND c.task_id = k.id)
      IS DISTINCT FROM (SELECT array_agg(i) FROM generate_series(1, k.version) i)`
  ],
  [
    "tasks that are not as their last record says",
    `SELECT count(*) AS n FROM tasks k JOIN task_changes c
      ON c.user_id = k.user_id AND c.task_id = k.id AND c.version = k.version
    WHERE c.after->>'title' <> k.title OR (c.after->>'completed')::boolean <> (k.completed_at IS NOT NULL)`
  ],
  ["tasks created twice", "SELECT count(*) AS n FROM (SELECT FROM tasks GROUP BY user_id, title HAVING count(*) > 1) d"]
]

/** The problems in a database without running turns. `acknowledged` messages must be stored. */
export const audit = (url: string, acknowledged: ReadonlySet<string>): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const wrong: Array<string> = []
    for (const [fact, statement] of violationsOf) {
      const n = yield* count(url, statement)
      if (n > 0) wrong.push(`${n} ${fact}`)
    }
    const tags = Schema.decodeUnknownSync(Tags)(
      yield* query(url, "SELECT content, count(*) AS n FROM messages WHERE role = 'user' GROUP BY content")
    )
    const kept = new Map(tags.flatMap(({ content, n }) => (errandOf(content) === undefined ? [] : [[content, n]])))
    for (const [message, n] of kept) if (n !== 1) wrong.push(`"${message}" was kept ${n} times`)
    for (const message of acknowledged) if (!kept.has(message)) wrong.push(`"${message}" was lost`)
    const turns = Schema.decodeUnknownSync(Turns)(
      yield* query(
        url,
        `SELECT t.id, t.status, q.content AS question, m.content, m.status AS "messageStatus", m.tool_calls AS calls,
          m.tool_places AS places,
          ARRAY(SELECT concat_ws(':', c.step, c.position, c.kind, c.task_id) FROM task_changes c
            WHERE c.user_id = t.user_id AND c.turn_id = t.id AND c.cause = 'turn' ORDER BY 1) AS changes
        FROM turns t JOIN messages q ON q.user_id = t.user_id AND q.id = t.user_message_id
        LEFT JOIN messages m ON m.user_id = t.user_id AND m.id = t.message_id`
      )
    )
    for (const turn of turns) wrong.push(...problemsOf(turn).map((problem) => `turn ${turn.id}: ${problem}`))
    return wrong
  })

const kinds: Readonly<Record<string, string>> = { create_task: "created", mark_complete: "completed" }

const problemsOf = (turn: (typeof Turns.Type)[number]) => {
  const problems: Array<string> = []
  if (turn.messageStatus !== null && turn.messageStatus !== turn.status) problems.push("its message has another status")
  const seen = new Map<number, number>()
  const recorded = (turn.calls ?? []).flatMap(({ result, tool }, index) => {
    const step = turn.places?.[index]?.step ?? -1
    const position = seen.get(step) ?? 0
    seen.set(step, position + 1)
    return result.status === "success" ? [`${step}:${position}:${kinds[tool]}:${result.task?.id}`] : []
  })
  if (recorded.sort().join() !== [...turn.changes].sort().join()) {
    problems.push(`its message tells of [${recorded}], its tasks of [${turn.changes}]`)
  }
  const errand = errandOf(turn.question ?? "")
  if (errand === undefined) return problems
  const said = (turn.content ?? "").replace(/\s/g, "")
  if (!script(errand).startsWith(said)) problems.push(`it kept "${said}", which the model never said`)
  if (turn.status === "completed" && (said !== script(errand) || recorded.length !== errand.calls)) {
    problems.push(`it completed without all that was said and done: "${said}", [${recorded}]`)
  }
  return problems
}
