import { Clock, Context, Deferred, Duration, Effect, Fiber, Layer, Random, Schedule, type Scope } from "effect"
import * as Cluster from "../../examples/cluster/Cluster.ts"
import {
  audit,
  type Errand,
  errandOf,
  interruptedTurns,
  runningTurns,
  saying,
  traces,
  turnsOf,
  words
} from "./ClusterAudit.ts"
import * as Client from "./ClusterClient.ts"
import { call, delay, ModelServer, type Rule, say, wait } from "./ModelServer.ts"
import * as PostgresServer from "./PostgresServer.ts"

/** Three nodes of the service, nginx, PostgreSQL and a scripted model, with the observations of the clients. */
class Stage extends Context.Tag("taskchat/testing/Stage")<
  Stage,
  {
    readonly cluster: Cluster.Cluster
    readonly client: Client.Client
    readonly databaseUrl: string
    /** Absent if the database cannot be stopped. */
    readonly postgres: PostgresServer.PostgresServer | undefined
    /** Blocks the model's answer to these tags, at this step, until it is opened. */
    readonly gates: Map<string, { readonly step: number; readonly opened: Deferred.Deferred<void> }>
    /** Acknowledged messages, which must be stored. */
    readonly acknowledged: Set<string>
    readonly newUser: () => number
    readonly newTag: () => string
  }
>() {}

/** The result of a scenario: counts of events, and problems. */
export class Findings {
  readonly counts = new Map<string, number>()
  readonly wrong: Array<string> = []
  count(what: string, n = 1) {
    this.counts.set(what, (this.counts.get(what) ?? 0) + n)
  }
  most(what: string, n: number) {
    this.counts.set(what, Math.max(this.counts.get(what) ?? 0, n))
  }
  expect(isSo: boolean, otherwise: string) {
    if (!isSo) this.wrong.push(otherwise)
  }
}

/** Longer than the lease of a turn and the interval of sweeps. */
const patience = Duration.seconds(20)

/** `fallbackUrl` is used if this machine cannot start a PostgreSQL server. */
export const layer = (fallbackUrl: Effect.Effect<string, never, Scope.Scope>): Layer.Layer<Stage | ModelServer> =>
  Layer.scoped(
    Stage,
    Effect.gen(function* () {
      const model = yield* ModelServer
      const gates: (typeof Stage.Service)["gates"] = new Map()
      yield* model.answer(rule(gates))
      const port = Cluster.freePort
      const postgres = PostgresServer.isInstalled ? yield* PostgresServer.make(yield* port) : undefined
      const databaseUrl = postgres?.url ?? (yield* fallbackUrl)
      const secret = "no secret, as it is only for tests"
      const cluster = yield* Cluster.make({
        environment: {
          DATABASE_URL: databaseUrl,
          JWT_SECRET: secret,
          MODEL_PROVIDER: "chat-completions",
          OPENAI_BASE_URL: model.url,
          AGENT_TIMEOUT: "60 seconds",
          MODEL_IDLE_TIMEOUT: "60 seconds",
          RATE_LIMIT_CHAT: "1000000",
          RATE_LIMIT_API: "1000000"
        },
        ports: [yield* port, yield* port, yield* port],
        port: yield* port
      })
      let users = 0
      let tags = 0
      return {
        cluster,
        client: Client.make(secret),
        databaseUrl,
        postgres,
        gates,
        acknowledged: new Set<string>(),
        newUser: () => ++users,
        newTag: () => `errand-${++tags}`
      }
    })
  ).pipe(Layer.provideMerge(ModelServer.layer()))

/** Text with pauses, and a tool call at the end of every step except the last: a task is created, then completed. */
const rule =
  (gates: (typeof Stage.Service)["gates"]): Rule =>
  ({ results, user }) => {
    const errand = errandOf(user)
    if (errand === undefined) return [say("OK")]
    const step = results.length
    const [first = "", ...rest] = saying(errand, step)
    const gate = gates.get(errand.tag)
    const spoken = rest.flatMap((piece) => [delay(errand.pause), say(piece)])
    const held = gate?.step === step ? [wait(Deferred.await(gate.opened))] : []
    const asked =
      step >= errand.calls
        ? []
        : step % 2 === 0
          ? [call("create_task", { title: `${errand.tag}/${step}` })]
          : [call("mark_complete", { task_id: taskIn(results.at(-1)?.output) })]
    return [say(first), ...held, ...spoken, ...asked]
  }

const taskIn = (output: unknown) => Number(/"id":(\d+)/.exec(JSON.stringify(output) ?? "")?.[1] ?? 0)

const gate = (step: number) =>
  Effect.gen(function* () {
    const { gates, newTag } = yield* Stage
    const tag = newTag()
    const opened = yield* Deferred.make<void>()
    gates.set(tag, { step, opened })
    return { tag, open: Deferred.succeed(opened, undefined) }
  })

/** How a message is sent. */
interface Plan {
  readonly errand: Errand
  readonly isStream: boolean
  /** Disconnects after this number of events, and reads the rest on another node. */
  readonly leaveAfter: number | undefined
}

const plan = Effect.gen(function* () {
  const { newTag } = yield* Stage
  const isStream = yield* Random.nextBoolean
  const errand = {
    tag: newTag(),
    calls: yield* Random.nextIntBetween(0, 4),
    pause: yield* Random.nextIntBetween(5, 90)
  }
  return { errand, isStream, leaveAfter: (yield* Random.nextBoolean) ? yield* Random.nextIntBetween(1, 9) : undefined }
})

/** Drawn in advance, so that they depend only on the seed. */
const plans = (people: number, messages: number) =>
  Effect.replicateEffect(Effect.replicateEffect(plan, messages), people)

type Allowed = (reply: Client.Reply) => boolean

const isInProgress = ({ code }: Client.Reply) => code === "turn_in_progress" || code === "idempotency_in_progress"
const isOk: Allowed = (reply) => reply.status === 200
const isCleanRefusal: Allowed = ({ hasRetryAfter, status }) => status === 503 && hasRetryAfter

/**
 * Sends a message with a key to one node after another until its turn has ended. Returns the conversation and the time
 * from the first failure to the answer, in milliseconds.
 */
const deliver = (
  findings: Findings,
  { errand, isStream, leaveAfter }: Plan,
  user: number,
  conversationId: number | undefined,
  address: () => string,
  allowed: Allowed
) =>
  Effect.gen(function* () {
    const { acknowledged, client } = yield* Stage
    const message = { message: words(errand), conversationId, key: errand.tag }
    let failed: number | undefined
    const judge = (reply: Client.Reply) => {
      findings.count(`${reply.status === 0 ? "cut" : reply.status}${reply.code === undefined ? "" : ` ${reply.code}`}`)
      findings.expect(
        allowed(reply) || isInProgress(reply),
        `${errand.tag} got ${reply.status} ${reply.code ?? "without a code"}`
      )
      if (reply.turnId !== undefined && reply.code !== "turn_in_progress") acknowledged.add(message.message)
      return reply
    }
    while (true) {
      const heard = Client.nothingHeard()
      let reply = judge(
        isStream
          ? yield* client.stream(address(), user, message, heard, leaveAfter)
          : yield* client.chat(address(), user, message)
      )
      let tries = 0
      while (heard.turnId !== undefined && heard.end === undefined && tries++ < 300) {
        reply = yield* client.resume(address(), user, heard.turnId, heard, leaveAfter)
        findings.count("resumed")
        if (reply.status !== 200) {
          judge(reply)
          yield* Client.pause
        }
      }
      if (isStream && heard.turnId !== undefined) check(findings, errand, heard)
      const now = yield* Clock.currentTimeMillis
      if (reply.status === 200 || (reply.turnId !== undefined && !isInProgress(reply))) {
        return {
          conversationId: reply.conversationId ?? conversationId,
          waited: failed === undefined ? 0 : now - failed
        }
      }
      failed ??= now
      if (now - failed > Duration.toMillis(patience) * 3) {
        findings.wrong.push(`${errand.tag} got no answer`)
        return { conversationId, waited: now - failed }
      }
      yield* Client.pause
    }
  })

/** The events of a reader, with or without reconnects. */
const check = (findings: Findings, errand: Errand, heard: Client.Heard) => {
  const says = (isSo: boolean, otherwise: string) => findings.expect(isSo, `${errand.tag}: ${otherwise}`)
  says(heard.end !== undefined, "the stream had no end")
  says(heard.late === 0, "events came after the last one")
  says(new Set(heard.begun).size === heard.begun.length, "a tool call was announced twice")
  says(new Set(heard.ended).size === heard.ended.length, "a tool's result came twice")
  if (heard.end?.code !== undefined) return
  const all = Array.from({ length: errand.calls + 1 }, (_, step) => saying(errand, step).join(""))
  says(heard.text.replace(/\s/g, "") === all.join("").replace(/\s/g, ""), `it heard "${heard.text}"`)
  says(heard.begun.length === errand.calls, "tool calls were not announced")
  says(heard.ended.join() === heard.begun.join(), "tools' results are missing")
}

/** Users who send messages in sequence, each in a conversation, until they are stopped. */
const converse = (
  findings: Findings,
  people: ReadonlyArray<ReadonlyArray<Plan>>,
  addresses: ReadonlyArray<string>,
  allowed: Allowed,
  isEnough = () => true
) =>
  Effect.gen(function* () {
    const { newTag, newUser } = yield* Stage
    let turn = 0
    const address = () => addresses[turn++ % addresses.length] ?? ""
    yield* Effect.forEach(
      people,
      (plans) =>
        Effect.gen(function* () {
          const user = newUser()
          let conversationId: number | undefined
          for (let round = 0; round === 0 || !isEnough(); round++) {
            for (const plan of plans) {
              const fresh = round === 0 ? plan : { ...plan, errand: { ...plan.errand, tag: newTag() } }
              const done = yield* deliver(findings, fresh, user, conversationId, address, allowed)
              conversationId = done.conversationId
              findings.count("messages")
              findings.most("longest wait after a failure, ms", done.waited)
              // Leave some CPU for starting nodes.
              yield* Effect.sleep("200 millis")
            }
          }
        }),
      { concurrency: "unbounded", discard: true }
    )
  })

const urls = Effect.map(Stage, ({ cluster }) => cluster.nodes.map(({ url }) => url))

/** Waits until no turn runs. */
const quiet = (findings: Findings) =>
  Effect.gen(function* () {
    const { databaseUrl } = yield* Stage
    const ended = yield* runningTurns(databaseUrl).pipe(
      Effect.repeat({ until: (n) => n === 0, schedule: Schedule.spaced("200 millis") }),
      Effect.timeoutOption(patience)
    )
    findings.expect(ended._tag === "Some", "turns still ran after 20 seconds")
  })

/** Checks the invariants of the database when no turn runs. */
const settled = (findings: Findings) =>
  Effect.gen(function* () {
    const { acknowledged, databaseUrl } = yield* Stage
    yield* quiet(findings)
    findings.wrong.push(...(yield* audit(databaseUrl, acknowledged)))
  })

const scenario = <E, R>(play: (findings: Findings) => Effect.Effect<void, E, R>) =>
  Effect.gen(function* () {
    const findings = new Findings()
    yield* play(findings)
    yield* settled(findings)
    return findings
  })

/**
 * One turn at a time per conversation: of `posts` concurrent messages one is answered, and the others get its turn id.
 */
export const crowd = (posts: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { client, newUser } = yield* Stage
      const bases = yield* urls
      const user = newUser()
      const first = yield* client.chat(bases[0] ?? "", user, { message: "Hello" })
      const { open, tag } = yield* gate(0)
      const message = words({ tag, calls: 1, pause: 1 })
      let refused = 0
      const replies = yield* Effect.forEach(
        Array.from({ length: posts }, (_, i) => bases[i % bases.length] ?? ""),
        (base) =>
          Effect.tap(client.chat(base, user, { message, conversationId: first.conversationId }), () =>
            ++refused === posts - 1 ? open : Effect.void
          ),
        { concurrency: "unbounded" }
      )
      for (const { code, status } of replies) findings.count(code === undefined ? `${status}` : `${status} ${code}`)
      const answered = replies.filter(isOk)
      findings.expect(answered.length === 1, `${answered.length} of ${posts} were answered`)
      const told = replies.filter(({ code, turnId }) => code === "turn_in_progress" && turnId === answered[0]?.turnId)
      findings.expect(told.length === posts - 1, `${told.length} were told of the turn that ran`)
    })
  )

/** The same key on all nodes concurrently: one turn. Streams join it, and other requests get its id. */
export const sameKey = (requests: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { client, databaseUrl, newUser } = yield* Stage
      const bases = yield* urls
      const targets = Array.from({ length: requests }, (_, i) => bases[i % bases.length] ?? "")
      const [json, stream] = [newUser(), newUser()]

      const asked = yield* gate(0)
      const message = { message: words({ tag: asked.tag, calls: 2, pause: 1 }), key: asked.tag }
      let refused = 0
      const replies = yield* Effect.forEach(
        targets,
        (base) =>
          Effect.tap(client.chat(base, json, message), () => (++refused === requests - 1 ? asked.open : Effect.void)),
        { concurrency: "unbounded" }
      )
      for (const { code, status } of replies) findings.count(code === undefined ? `${status}` : `${status} ${code}`)
      findings.expect(replies.filter(isOk).length === 1, "not exactly one request with the key was answered")
      findings.expect(new Set(replies.map(({ turnId }) => turnId)).size === 1, "they were told of several turns")
      const again = yield* client.chat(bases[2] ?? "", json, message)
      findings.expect(again.isReplay && again.text === replies.find(isOk)?.text, "a repetition was not the same")
      findings.expect((yield* turnsOf(databaseUrl, json)) === 1, "the key began more than one turn")

      const streamed = yield* gate(1)
      const errand = { tag: streamed.tag, calls: 2, pause: 1 }
      const heards = targets.map(Client.nothingHeard)
      const reading = yield* Effect.fork(
        Effect.forEach(
          targets,
          (base, i) =>
            client.stream(
              base,
              stream,
              { message: words(errand), key: errand.tag },
              heards[i] ?? Client.nothingHeard()
            ),
          { concurrency: "unbounded" }
        )
      )
      yield* until(() => heards.every(({ events }) => events > 0))
      yield* streamed.open
      yield* Fiber.join(reading)
      for (const heard of heards) check(findings, errand, heard)
      findings.count("joined streams", heards.length)
      findings.expect((yield* turnsOf(databaseUrl, stream)) === 1, "the key began more than one streamed turn")
    })
  )

/** The limit of running turns per user holds across all nodes. */
export const places = (posts: number, limit: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { client, newUser } = yield* Stage
      const bases = yield* urls
      const user = newUser()
      const gates = yield* Effect.replicateEffect(gate(0), posts)
      let refused = 0
      const openAll = Effect.forEach(gates, ({ open }) => open)
      const replies = yield* Effect.forEach(
        gates,
        ({ tag }, i) =>
          Effect.tap(
            client.chat(bases[i % bases.length] ?? "", user, { message: words({ tag, calls: 0, pause: 1 }) }),
            () => (++refused === posts - limit ? openAll : Effect.void)
          ),
        { concurrency: "unbounded" }
      )
      for (const { code, status } of replies) findings.count(code === undefined ? `${status}` : `${status} ${code}`)
      const full = replies.filter(({ code, hasRetryAfter }) => code === "too_many_turns" && hasRetryAfter)
      findings.expect(replies.filter(isOk).length === limit, `not exactly ${limit} turns ran`)
      findings.expect(full.length === posts - limit, "the others were not told why")
    })
  )

/** Clients that disconnect and do not return: their turns complete. */
export const leavers = (people: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { acknowledged, client, newUser } = yield* Stage
      const bases = yield* urls
      const all = (yield* plans(people, 1)).flat()
      const turnIds = yield* Effect.forEach(
        all,
        ({ errand, leaveAfter = 2 }, i) =>
          Effect.gen(function* () {
            const user = newUser()
            const heard = Client.nothingHeard()
            yield* client.stream(bases[i % bases.length] ?? "", user, { message: words(errand) }, heard, leaveAfter)
            acknowledged.add(words(errand))
            return { user, turnId: heard.turnId ?? "" }
          }),
        { concurrency: "unbounded" }
      )
      yield* quiet(findings)
      for (const { turnId, user } of turnIds) {
        const heard = Client.nothingHeard()
        yield* client.resume(bases[1] ?? "", user, turnId, heard)
        findings.count(heard.end?.code ?? "completed")
        findings.expect(heard.end !== undefined && heard.end.code === undefined, "a turn did not complete")
      }
    })
  )

/** Readers that disconnect after a few events and continue on the next node, while the turn runs. */
export const resumers = (people: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const all = yield* plans(people, 1)
      const hopping = all.map((own) => own.map((plan, i) => ({ ...plan, isStream: true, leaveAfter: 1 + (i % 3) })))
      yield* converse(findings, hopping, yield* urls, isOk)
    })
  )

/** A turn on one node that is cancelled on another. */
export const cancels = (turns: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { client, newUser } = yield* Stage
      const model = yield* ModelServer
      const bases = yield* urls
      for (let i = 0; i < turns; i++) {
        const user = newUser()
        const { abandoned } = yield* model.counts
        const { tag } = yield* gate(1)
        const heard = Client.nothingHeard()
        const reading = yield* Effect.fork(
          client.stream(bases[i % 3] ?? "", user, { message: words({ tag, calls: 1, pause: 1 }) }, heard)
        )
        yield* until(() => heard.ended.length === 1)
        const reply = yield* client.cancel(bases[(i + 1) % 3] ?? "", user, heard.turnId ?? "")
        findings.count(`cancel ${reply.status}`)
        findings.expect(reply.status === 202, `a cancel got ${reply.status}`)
        yield* Fiber.join(reading)
        findings.expect(heard.end?.code === "turn_cancelled", `a cancelled turn ended as ${heard.end?.code}`)
        const noticed = yield* Effect.timeoutOption(
          model.until((counts) => counts.abandoned > abandoned),
          "5 seconds"
        )
        findings.expect(noticed._tag === "Some", "the model was not told of a cancel")
        const again = yield* client.cancel(bases[(i + 2) % 3] ?? "", user, heard.turnId ?? "")
        findings.expect(again.status === 200, "a second cancel was no answer")
      }
    })
  )

/** Nodes that are killed and restarted at random moments while users chat. */
export const kills = (people: number, messages: number, deaths: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { cluster, databaseUrl } = yield* Stage
      const all = yield* plans(people, messages)
      const times: Array<number> = []
      const schedule = yield* Effect.replicateEffect(
        Effect.all({ after: Random.nextIntBetween(200, 1500), node: Random.nextIntBetween(0, 3) }),
        deaths
      )
      let isOver = false
      const talk = yield* Effect.fork(
        converse(
          findings,
          all,
          yield* urls,
          (reply) => isOk(reply) || reply.status === 0 || isCleanRefusal(reply),
          () => isOver
        )
      )
      for (const { after, node } of schedule) {
        yield* Effect.sleep(after)
        const victim = cluster.nodes[node]
        if (victim === undefined) continue
        times.push(yield* Clock.currentTimeMillis)
        yield* victim.signal("SIGKILL")
        yield* victim.exit
        findings.count("killed")
        yield* Effect.sleep(after)
        yield* victim.start
      }
      isOver = true
      yield* Fiber.join(talk)
      yield* quiet(findings)
      for (const { finishedAt, startedAt } of yield* interruptedTurns(databaseUrl)) {
        const death = times.find((time) => time > startedAt)
        if (death !== undefined)
          findings.most("longest from a kill to the end of the node's turns, ms", finishedAt - death)
      }
    })
  )

/** The database stops and starts again. */
export const outage = (people: number, messages: number, away: Duration.DurationInput) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { postgres } = yield* Stage
      if (postgres === undefined) return
      let isOver = false
      const all = yield* plans(people, messages)
      const talk = yield* Effect.fork(
        converse(
          findings,
          all,
          yield* urls,
          (reply) => isOk(reply) || isCleanRefusal(reply),
          () => isOver
        )
      )
      yield* Effect.sleep("1 second")
      yield* postgres.crash
      yield* Effect.sleep(away)
      yield* postgres.start
      isOver = true
      yield* Fiber.join(talk)
    })
  )

/** A node that is frozen for longer than its leases, with text and a tool call of the model waiting for it. */
export const freeze = scenario((findings) =>
  Effect.gen(function* () {
    const { acknowledged, client, cluster, databaseUrl, newUser } = yield* Stage
    const model = yield* ModelServer
    const [frozen, other] = cluster.nodes
    const user = newUser()
    const { open, tag } = yield* gate(1)
    const message = words({ tag, calls: 3, pause: 1 })
    const before = yield* model.counts
    const [there, elsewhere] = [Client.nothingHeard(), Client.nothingHeard()]
    const reading = yield* Effect.fork(client.stream(frozen.url, user, { message }, there))
    yield* until(() => there.ended.length === 1)
    acknowledged.add(message)
    const turnId = there.turnId ?? ""
    yield* frozen.signal("SIGSTOP")
    // Fill the socket buffers, which the node reads when it continues.
    yield* open
    yield* client.resume(other.url, user, turnId, elsewhere)
    findings.expect(elsewhere.end?.code === "turn_interrupted", `the turn ended as ${elsewhere.end?.code}`)
    const kept = yield* traces(databaseUrl, turnId)
    const next = yield* client.chat(other.url, user, { message: "Hello", conversationId: there.conversationId })
    findings.expect(next.status === 200, "the conversation did not go on")
    yield* frozen.signal("SIGCONT")
    yield* Fiber.join(reading)
    findings.expect(there.end?.code === "turn_interrupted", `the node's own reader heard ${there.end?.code}`)
    const after = yield* model.counts
    findings.count("calls of the model", after.requests - before.requests)
    const then = yield* traces(databaseUrl, turnId)
    findings.expect(JSON.stringify(then) === JSON.stringify(kept), "the node wrote after it had lost the turn")
  })
)

/** A rolling restart of all nodes while users chat through nginx. */
export const rolling = (people: number, messages: number, rounds: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { cluster } = yield* Stage
      const all = yield* plans(people, messages)
      let isOver = false
      const talk = yield* Effect.fork(
        converse(
          findings,
          all,
          [cluster.url],
          (reply) => isOk(reply) || isCleanRefusal(reply),
          () => isOver
        )
      )
      // Wait until a user chats.
      yield* Effect.sleep("1 second")
      for (let round = 0; round < rounds; round++) {
        yield* restartEach(cluster, findings)
      }
      isOver = true
      yield* Fiber.join(talk)
    })
  )

/** Stops each node like an operator, and starts it again before the next one. */
const restartEach = ({ nodes }: (typeof Stage.Service)["cluster"], findings: Findings) =>
  Effect.forEach(
    nodes,
    (node) =>
      Effect.gen(function* () {
        yield* node.signal("SIGTERM")
        const code = yield* node.exit
        findings.count("restarted")
        findings.expect(code === 0, `a node ended with ${code}`)
        yield* node.start
      }),
    { discard: true }
  )

/** A rolling restart with many short requests through the proxy, which must all be answered. */
export const proxied = (requests: number, perSecond: number) =>
  scenario((findings) =>
    Effect.gen(function* () {
      const { client, cluster, newUser } = yield* Stage
      const workers = 8
      let sent = 0
      const next = (user: number): Effect.Effect<void> =>
        Effect.gen(function* () {
          while (sent < requests) {
            sent++
            // A proxy may repeat reads, but not writes.
            const { status } = yield* sent % 2 === 0
              ? client.get(cluster.url, user, "/tasks?limit=1")
              : client.addTask(cluster.url, user, `by request ${sent}`)
            findings.count(`answered with ${status}`)
            findings.expect(status === 200 || status === 201, `a request was answered with ${status}`)
            yield* Effect.sleep(Duration.millis((workers * 1000) / perSecond))
          }
        })
      const talk = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: workers }, () => newUser()),
          next,
          { concurrency: "unbounded", discard: true }
        )
      )
      while (sent < requests) {
        yield* restartEach(cluster, findings)
      }
      yield* Fiber.join(talk)
    })
  )

const until = (isSo: () => boolean) =>
  Effect.sleep("20 millis").pipe(
    Effect.repeat({ until: isSo }),
    Effect.timeoutFail({ duration: "30 seconds", onTimeout: () => new Error("It did not come to that") }),
    Effect.orDie
  )
