/** The figures, by group. Each gives rows: for every server one value a round. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chat, forget, get, say, sizeOf, streamTimes } from "./client.mjs"
import { references } from "./report.mjs"
import { seed, seedTasks } from "./seed.mjs"
import { installSize, startServer, testKit } from "./servers.mjs"
import { micros } from "./words.mjs"

const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis))

const percentile = (values, p) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * p))]

const sum = (values) => values.reduce((total, value) => total + value, 0)

/** What the server and its part of PostgreSQL work, in seconds of CPU, while `act` is under way. */
const cpuOf = async (server, act) => {
  const before = await server.databaseCpu(server.client)
  const from = server.cpu()
  const result = await act()
  const cpu = server.cpu() - from
  const after = await server.databaseCpu(server.client)
  const databaseCpu = sum([...after].map(([pid, seconds]) => seconds - (before.get(pid) ?? 0)))
  return { cpu, databaseCpu, result }
}

/** `loops` that act for `seconds`, each as soon as it has been answered; `act` is given the loop's number. */
const load = async (server, loops, seconds, act) => {
  const latencies = []
  const from = performance.now()
  const { cpu, databaseCpu } = await cpuOf(server, () =>
    Promise.all(
      Array.from({ length: loops }, async (_, loop) => {
        while (performance.now() - from < seconds * 1000) {
          const start = performance.now()
          await act(loop)
          latencies.push(performance.now() - start)
        }
      })
    )
  )
  return {
    cpu: (cpu / latencies.length) * 1000,
    databaseCpu: (databaseCpu / latencies.length) * 1000,
    rate: latencies.length / ((performance.now() - from) / 1000),
    p50: percentile(latencies, 0.5),
    p95: percentile(latencies, 0.95),
    p99: percentile(latencies, 0.99)
  }
}

/** As often as it takes until the JIT compiler has done what it does, at most for 20 seconds. */
const warmUp = (loops, times, act) => {
  let left = times
  const until = performance.now() + 20_000
  const loop = async (n) => {
    while (left-- > 0 && performance.now() < until) await act(n)
  }
  return Promise.all(Array.from({ length: loops }, (_, n) => loop(n)))
}

/** So many rounds of every server, in turns, so that whatever drifts meets all of them. */
const alternate = async (servers, rounds, measure) => {
  const samples = new Map(servers.map((server) => [server.name, []]))
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < servers.length; i++) {
      const server = servers[(round + i) % servers.length]
      samples.get(server.name).push(await measure(server))
    }
  }
  return samples
}

/** A row of a table out of samples: its label, and what of each sample it shows, in which unit. */
const row = (samples, key, label, unit, of) => ({
  key,
  label,
  unit,
  values: new Map([...samples].map(([name, all]) => [name, all.map(of)]))
})

const cpu = (samples, key, label) => row(samples, key, `${label}: CPU per 1,000`, "s", ({ cpu }) => cpu)
const databaseCpu = (samples, label) =>
  row(samples, undefined, `${label}: PostgreSQL's CPU per 1,000`, "s", ({ databaseCpu }) => databaseCpu)
const latency = (samples, label, p) => row(samples, undefined, `${label}: ${p}`, "ms", (sample) => sample[p])
const rate = (samples, label) => row(samples, undefined, `${label}: per second`, "/s", ({ rate }) => rate)

/** Users of one figure, who do not meet those of another. */
let users = 0
const someUsers = (count) => {
  users += 10_000
  return Array.from({ length: count }, (_, i) => users + i)
}

/** Users who each go on in a conversation of their own, so that from the tenth turn on the history is full. */
const talkers = async (servers, count, message) => {
  const people = someUsers(count)
  const conversations = new Map()
  for (const server of servers) {
    const begun = await Promise.all(people.map((user) => chat(server, user, message)))
    conversations.set(
      server,
      begun.map(({ conversation_id: id }) => id)
    )
  }
  return (server) => (loop) => say(server, people[loop], message, conversations.get(server)[loop])
}

const turns = async ({ quick, servers }, count, message, rounds, seconds) => {
  const act = await talkers(servers, count, message)
  for (const server of servers) {
    await warmUp(count, quick ? 500 : 5000, act(server))
    // As autovacuum does within the minute; until then a prepared statement keeps the plan for an empty table.
    await server.client.query("ANALYZE")
  }
  return alternate(servers, rounds, (server) => load(server, count, seconds, act(server)))
}

const json = async (bench) => {
  const { quick, rounds } = bench
  const sixteen = await turns(bench, 16, "What should I do today?", rounds ?? (quick ? 3 : 12), quick ? 1.2 : 1.5)
  const rows = [
    cpu(sixteen, "json", "16 users"),
    databaseCpu(sixteen, "16 users"),
    rate(sixteen, "16 users"),
    ...["p50", "p95", "p99"].map((p) => latency(sixteen, "16 users", p))
  ]
  if (quick) return rows
  for (const count of [1, 64]) {
    const label = count === 1 ? "1 user" : `${count} users`
    const samples = await turns(bench, count, "What should I do today?", 3, 2.5)
    rows.push(
      cpu(samples, undefined, label),
      rate(samples, label),
      ...["p50", "p95", "p99"].map((p) => latency(samples, label, p))
    )
  }
  return rows
}

const tool = async (bench) => {
  const samples = await turns(
    bench,
    16,
    "Please buy milk [[tool]]",
    bench.rounds ?? (bench.quick ? 3 : 12),
    bench.quick ? 1.2 : 1.5
  )
  return [
    cpu(samples, "tool", "16 users"),
    databaseCpu(samples, "16 users"),
    rate(samples, "16 users"),
    ...["p50", "p95", "p99"].map((p) => latency(samples, "16 users", p))
  ]
}

/** Milliseconds from the request to the first token in the client, less what the model took over it. */
const firstToken = async (server, user) => {
  const from = micros()
  let came = 0
  const times = {}
  await streamTimes(server, user, "Hello [[first 5]]", (mark, time) => {
    came ||= micros()
    times[mark] = time
  })
  return (came - from - (times["@"] - times["^"])) / 1000
}

/**
 * Opens a stream for each of `people`, a token every `interval` milliseconds, a few at a time, as this is about those
 * that are open. `finish` ends them, and fails unless every token has come. `onToken` is given when a token was sent.
 */
const openStreams = async (server, modelUrl, people, interval, onToken) => {
  const streams = []
  let came = 0
  const waiting = people.values()
  const opener = async () => {
    for (const user of waiting) {
      await new Promise((resolve, reject) => {
        const stream = streamTimes(server, user, `Go on [[tokens ${interval}]]`, (_, sent) => {
          came++
          resolve()
          onToken(sent)
        })
        stream.catch(reject)
        streams.push(stream)
      })
    }
  }
  await Promise.all(Array.from({ length: 8 }, opener))
  return {
    finish: async () => {
      const sent = await (await fetch(`${modelUrl}/finish`)).json()
      await Promise.all(streams)
      if (came !== sent) throw new Error(`${server.name}: ${came} of ${sent} tokens came`)
    }
  }
}

/**
 * What open streams cost. `cpu` is for 1,000 tokens; a token's lateness is the time from the model's sending it to its
 * coming here, in ms.
 */
const tokenStreams = async (server, modelUrl, people, interval, seconds) => {
  const late = []
  let isWatching = false
  const { finish } = await openStreams(server, modelUrl, people, interval, (sent) => {
    if (isWatching) late.push((micros() - sent) / 1000)
  })
  await sleep(interval)
  const { cpu, databaseCpu } = await cpuOf(server, async () => {
    isWatching = true
    await sleep(seconds * 1000)
    isWatching = false
  })
  await finish()
  return {
    cpu: (cpu / late.length) * 1000,
    databaseCpu: (databaseCpu / late.length) * 1000,
    p50: percentile(late, 0.5),
    p99: percentile(late, 0.99)
  }
}

const tokens = async ({ modelUrl, quick, rounds, servers }) => {
  const [user] = someUsers(1)
  const firsts = async (server) => {
    const times = []
    for (let i = 0; i < (quick ? 30 : 60); i++) times.push(await firstToken(server, user))
    return { p50: percentile(times, 0.5), p95: percentile(times, 0.95) }
  }
  for (const server of servers) await firsts(server)
  const first = await alternate(servers, 3, firsts)
  const rows = ["p50", "p95"].map((p) => latency(first, "first token over the model's own", p))
  // A thousand tokens a second, whatever the number of streams: all of the servers keep up with that.
  for (const count of [100, 500]) {
    const people = someUsers(count)
    const watch = (seconds) => (server) => tokenStreams(server, modelUrl, people, count, seconds)
    await alternate(servers, 1, watch(1))
    const samples = await alternate(servers, rounds ?? (quick ? 2 : 3), watch(quick ? 2.5 : 6))
    const label = `${count} streams`
    rows.push(
      cpu(samples, `tokens${count}`, `${label}: tokens one by one`),
      databaseCpu(samples, label),
      ...["p50", "p99"].map((p) => latency(samples, `${label}: a token's lateness`, p))
    )
  }
  return rows
}

const gets = async ({ quick, rounds, servers }) => {
  const [few, short, long, list, doer] = someUsers(5)
  const ids = new Map()
  for (const server of servers) {
    const one = { users: 1, conversations: 1 }
    const [[[first]], [[second]], [[third]]] = [
      await seed(server, { ...one, first: few, messages: 20 }),
      await seed(server, { ...one, first: short, messages: 1000, length: 40 }),
      await seed(server, { ...one, first: long, messages: 1000, length: 600 })
    ]
    await seed(server, { first: list, users: 1, conversations: 50, messages: 2 })
    await seedTasks(server, { user: doer, tasks: 100 })
    ids.set(server, { [few]: first, [short]: second, [long]: third })
  }
  const messages = (user) => (server) => get(server, user, `/conversations/${ids.get(server)[user]}/messages`)
  const reads = {
    get20: { label: "20 messages", read: messages(few) },
    get40: { label: "1,000 messages, answers of 40 characters", read: messages(short) },
    get600: { label: "1,000 messages, answers of 600 characters", read: messages(long) },
    conversations: { label: "50 conversations", read: (server) => get(server, list, "/conversations") },
    tasks: { label: "100 tasks", read: (server) => get(server, doer, "/tasks?limit=100") }
  }
  const rows = []
  for (const [key, { label, read }] of Object.entries(reads)) {
    for (const server of servers) await warmUp(4, quick ? 200 : 500, () => read(server))
    const samples = await alternate(servers, rounds ?? (quick ? 3 : 4), (server) =>
      load(server, 4, quick ? 0.8 : 2, () => read(server))
    )
    rows.push(cpu(samples, key, label), databaseCpu(samples, label), latency(samples, label, "p50"))
  }
  return rows
}

/** Of taskchat alone: what a list costs, with PostgreSQL's part, as the user has more tasks. */
const lists = async ({ quick, rounds, servers }) => {
  const own = servers.filter(isOwn)
  const [few, many] = someUsers(2)
  for (const server of own) {
    await seedTasks(server, { user: few, tasks: 100, found: 1 })
    await seedTasks(server, { user: many, tasks: 100_000, found: 1000 })
  }
  const reads = {
    newest: { label: "first page", path: "/tasks" },
    week: { label: "due this week", path: "/tasks?status=pending&due_after=2026-01-05&due_before=2026-01-11&sort=due" },
    search: { label: "search", path: "/tasks?q=needle" }
  }
  const sizes = { 100: few, 100000: many }
  const rows = []
  for (const [key, { label, path }] of Object.entries(reads)) {
    for (const server of own) for (const user of [few, many]) await warmUp(4, 200, () => get(server, user, path))
    const samples = await alternate(own, rounds ?? (quick ? 3 : 4), async (server) => {
      const bySize = {}
      for (const [size, user] of Object.entries(sizes)) {
        bySize[size] = await load(server, 4, quick ? 0.8 : 2, () => get(server, user, path))
      }
      return bySize
    })
    for (const size of Object.keys(sizes)) {
      const ofSize = new Map([...samples].map(([name, all]) => [name, all.map((bySize) => bySize[size])]))
      const of = `${label}, of ${Number(size).toLocaleString("en")} tasks`
      rows.push(
        row(ofSize, `${key}${size}`, `${of}: CPU with PostgreSQL's per 1,000`, "s", (one) => one.cpu + one.databaseCpu),
        databaseCpu(ofSize, of),
        latency(ofSize, of, "p50")
      )
    }
  }
  return rows
}

/** Each round in a fresh process: what was used once is not given back. */
const memory = async ({ heapProfile, instances, modelUrl, quick }) => {
  const people = someUsers(500)
  const measure = async (instance) => {
    const server = await startServer(instance, instance.database, modelUrl)
    const warm = (count) =>
      Promise.all(people.slice(0, count).map((user) => streamTimes(server, user, "Hello", () => {})))
    for (let i = 0; i < 5; i++) await warm(40)
    await sleep(500)
    const before = await server.memory()
    if (heapProfile !== undefined) await server.startHeapProfile()
    const { finish } = await openStreams(server, modelUrl, people, 1000, () => {})
    await sleep(1000)
    const after = await server.memory()
    if (heapProfile !== undefined) await server.stopHeapProfile(heapProfile)
    await finish()
    await server.stop()
    await forget(server)
    return {
      rss: (after.rss - before.rss) / people.length / 1024,
      live: (after.live - before.live) / people.length / 1024
    }
  }
  const samples = await alternate(instances, quick ? 1 : 3, measure)
  return [
    row(samples, "memory", "per open stream, of 500: RSS", "KiB", ({ rss }) => rss),
    row(samples, "memoryLive", "per open stream, of 500: heap and buffers in use", "KiB", ({ live }) => live)
  ]
}

const loops = 8

/** A short conversation is used for so many turns, and then the next one, so that it stays short. */
const turnsOfShort = 3

const size = async ({ quick, servers }) => {
  const rows = []
  const rounds = quick ? 2 : 4
  const seconds = quick ? 1 : 2
  const sizes = [10, 1000, 20_000]
  const seeded = new Map()
  for (const messages of sizes) {
    const first = someUsers(loops)[0]
    const conversations = messages === 10 ? 1000 : 1
    for (const server of servers) {
      const ids = await seed(server, { first, users: loops, conversations, messages })
      seeded.set(`${server.name} ${messages}`, { first, ids, used: Array(loops).fill(0) })
    }
  }
  const act = (server, messages) => {
    const { first, ids, used } = seeded.get(`${server.name} ${messages}`)
    return (loop) => {
      const next = messages === 10 ? Math.floor(used[loop]++ / turnsOfShort) : 0
      return say(server, first + loop, "What should I do today?", ids[loop][next])
    }
  }
  for (const server of servers) for (const messages of sizes) await warmUp(loops, 200, act(server, messages))
  const samples = await alternate(servers, rounds, async (server) => {
    const bySize = {}
    for (const messages of sizes) bySize[messages] = await load(server, loops, seconds, act(server, messages))
    return bySize
  })
  for (const messages of sizes) {
    const ofSize = new Map([...samples].map(([name, all]) => [name, all.map((bySize) => bySize[messages])]))
    const label = `turn in a conversation of ${messages.toLocaleString("en")}`
    rows.push(cpu(ofSize, `messages${messages}`, label), databaseCpu(ofSize, label), latency(ofSize, label, "p50"))
  }

  // From here on the databases grow, and nothing but turns at their size is measured.
  const people = 16
  const first = someUsers(1000)[0]
  const talk = await talkersFrom(servers, first, people)
  let there = 0
  for (const conversations of quick ? [10, 10_000] : [10, 10_000, 1_000_000]) {
    // The talkers have as large a share as anyone else.
    const users = Math.min(1000, Math.max(10, conversations / 100))
    for (const server of servers) {
      await seed(server, { first, users, conversations: (conversations - there) / users, messages: 2 })
    }
    there = conversations
    // Seeding leaves a server idle for long, after which its next turns cost more.
    for (const server of servers) await warmUp(people, quick ? 200 : 3000, talk(server))
    const samples = await alternate(servers, rounds, (server) => load(server, people, seconds, talk(server)))
    const label = `turn with ${conversations.toLocaleString("en")} conversations there`
    rows.push(cpu(samples, `there${conversations}`, label), databaseCpu(samples, label), latency(samples, label, "p50"))
  }
  return rows
}

const talkersFrom = async (servers, first, count) => {
  const conversations = new Map()
  const message = "What should I do today?"
  for (const server of servers) {
    const ids = []
    for (let i = 0; i < count; i++) {
      const { conversation_id: id } = await chat(server, first + i, message)
      for (let n = 0; n < 10; n++) await say(server, first + i, message, id)
      ids.push(id)
    }
    conversations.set(server, ids)
  }
  return (server) => (loop) => say(server, first + loop, message, conversations.get(server)[loop])
}

const start = async ({ instances, modelUrl, quick }) => {
  const samples = await alternate(instances, quick ? 2 : 5, async (instance) => {
    const server = await startServer(instance, instance.database, modelUrl)
    await sleep(1000)
    const { live, rss } = await server.memory()
    await server.stop()
    return { startup: server.startup, cpu: server.startCpu, rss: rss / 2 ** 20, live: live / 2 ** 20 }
  })
  return [
    row(samples, "startup", "from nothing to the first answer", "ms", ({ startup }) => startup),
    row(samples, "startCpu", "from nothing to the first answer: CPU", "s", ({ cpu }) => cpu),
    row(samples, "idle", "idle memory: RSS", "MiB", ({ rss }) => rss),
    row(samples, undefined, "idle memory: heap and buffers in use", "MiB", ({ live }) => live)
  ]
}

const isOwn = ({ name }) => !references.includes(name)

/** On a database within the process in which a few turns were had. */
const embedded = async ({ instances, modelUrl, quick, rounds }) => {
  const folder = mkdtempSync(join(tmpdir(), "taskchat-bench-"))
  try {
    const started = async (instance) => {
      const database = { folder: join(folder, instance.name) }
      return startServer({ ...instance, env: { ...instance.env, SHUTDOWN_DELAY: "0 seconds" } }, database, modelUrl)
    }
    const measure = async (instance) => {
      const server = await started(instance)
      await sleep(1000)
      const { rss } = await server.memory()
      await server.stop("SIGTERM")
      return { startup: server.startup, cpu: server.startCpu, rss: rss / 2 ** 20 }
    }
    const own = instances.filter(isOwn)
    const firsts = await alternate(own, 1, async (instance) => {
      const server = await started(instance)
      for (let i = 0; i < 10; i++) await chat(server, 1, "What should I do today?")
      await server.stop("SIGTERM")
      await forget(server)
      return { cpu: server.startCpu }
    })
    const samples = await alternate(own, rounds ?? (quick ? 2 : 5), measure)
    return [
      row(firsts, undefined, "a new database, from nothing to the first answer: CPU", "s", ({ cpu }) => cpu),
      row(samples, undefined, "with data there, from nothing to the first answer", "ms", ({ startup }) => startup),
      row(samples, undefined, "with data there, from nothing to the first answer: CPU", "s", ({ cpu }) => cpu),
      row(samples, undefined, "idle memory: RSS", "MiB", ({ rss }) => rss)
    ]
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What tests cost an embedder with the kit of this build (`kit.mjs`), each round in a fresh process. */
const kit = async ({ quick, rounds }) => {
  const samples = await alternate([{ name: "taskchat" }], rounds ?? (quick ? 2 : 5), testKit)
  return [
    row(samples, undefined, "from nothing to the end of the first test: CPU", "s", ({ first }) => first),
    row(samples, undefined, "a further test that shares its database: CPU", "s", ({ further }) => further)
  ]
}

/** The package with what npm installs along with it, peers too. */
const install = async ({ rounds }) => {
  const samples = await alternate([{ name: "taskchat" }], rounds ?? 1, installSize)
  return [
    row(samples, undefined, "the package", "MB", ({ packed }) => packed / 1e6),
    row(samples, undefined, "npm install --omit=dev", "MB", ({ installed }) => installed / 1e6)
  ]
}

/** Of taskchat alone, with so many messages: what the peak of its memory grows by, and how long it takes. */
const exporting = async ({ quick, servers }) => {
  const [server] = servers
  const user = someUsers(1)[0]
  const samples = new Map()
  for (const messages of quick ? [1000, 10_000] : [1000, 1_000_000]) {
    await seed(server, { first: user, users: 1, conversations: messages / 1000, messages: 1000 })
    const before = server.peak()
    const from = performance.now()
    const { cpu, result } = await cpuOf(server, () => sizeOf(server, user, "/export"))
    const seconds = (performance.now() - from) / 1000
    const label = `${messages.toLocaleString("en")} messages`
    samples.set(label, { grown: server.peak() - before, cpu, seconds, size: result / 2 ** 20 })
  }
  const one = (of, label, unit) =>
    [...samples].map(([size, sample]) => ({
      label: `${size}: ${label}`,
      unit,
      values: new Map([[server.name, [of(sample)]]])
    }))
  return [
    ...one(({ size }) => size, "size", "MiB"),
    ...one(({ seconds }) => seconds, "time", "s"),
    ...one(({ cpu }) => cpu, "CPU", "s"),
    ...one(({ grown }) => grown, "growth of the peak of RSS", "MiB")
  ]
}

/** By name; the ones that fill the databases last. */
export const groups = {
  json: { title: "JSON turns", run: json },
  tool: { title: "Turns with one tool call, JSON", run: tool },
  tokens: { title: "Streams", run: tokens },
  get: { title: "Reading", run: gets },
  memory: { title: "Memory of open streams", run: memory },
  start: { title: "Starting", run: start },
  embedded: { title: "Starting on the embedded database", run: embedded },
  kit: { title: "Tests of an embedder", run: kit },
  lists: { title: "Lists of few and of many tasks", run: lists },
  size: { title: "Size of what is there", run: size },
  export: { title: "An export", run: exporting },
  // Asks npm's registry.
  install: { title: "Size of an installation", run: install, isAskedFor: true }
}
