/**
 * Measures taskchat against a bare `node:http` + `pg` ceiling and against Fastify with the AI SDK, in one run on one
 * PostgreSQL (DATABASE_URL), all of them with the same stand-in for the model. Prints tables in Markdown.
 *
 *   --only json,tool,tokens,get,memory,start,embedded,kit,lists,size,export,install
 *                                                   which figures; all but `install` when absent
 *   --servers taskchat,bare,fastify                 which servers; `mastra` is one on Mastra, with a Node.js 22 of its own,
 *                                                   once `npm --prefix bench/mastra ci` has been run on Linux on x64,
 *                                                   `before=/path/to/dist/bin/main.js` is another build,
 *                                                   `taskchat-responses` asks the model by OpenAI's Responses,
 *                                                   `taskchat-traced` sends its spans to a collector, `stock` has the
 *                                                   library's pieces in the place of those of `src/runtime`, and
 *                                                   `stock-HttpServer`, `stock-PgClient+PreparedStatement` some of them
 *   --rounds N                                      so many rounds of each figure
 *   --quick                                         fewer and shorter rounds: less than 3 minutes for all
 *   --json FILE                                     writes every round's values there, too
 *   --chart FILE                                    draws the CPU beside the last server's, as SVG
 *   --profile FOLDER                                instead: a CPU profile of the first server, for each figure, or what
 *                                                   its memory is for
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import pg from "pg"
import { chart } from "./chart.mjs"
import { check } from "./check.mjs"
import { groups } from "./figures.mjs"
import { cpuSummary, heapSummary } from "./profile.mjs"
import { table, verdict } from "./report.mjs"
import { cleanUp, createDatabase, serverOf, startModel, startServer } from "./servers.mjs"

const byDefault = Object.keys(groups).filter((name) => !groups[name].isAskedFor)

const { values: options } = parseArgs({
  options: {
    only: { type: "string", default: byDefault.join(",") },
    servers: { type: "string", default: "taskchat,bare,fastify" },
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    json: { type: "string" },
    chart: { type: "string" },
    profile: { type: "string" }
  }
})

const chosen = options.only.split(",")
const unknown = chosen.find((name) => groups[name] === undefined)
if (unknown !== undefined) throw new Error(`There is no figure ${unknown}; there are ${Object.keys(groups).join(", ")}`)
if (process.env.DATABASE_URL === undefined) throw new Error("DATABASE_URL is not set: the bench needs PostgreSQL")

const prepare = async () => {
  const modelUrl = await startModel()
  const names = options.servers.split(",")
  const instances = []
  for (const given of options.profile === undefined ? names : names.slice(0, 1)) {
    const server = serverOf(given)
    instances.push({ ...server, database: await createDatabase(server.name) })
  }
  const servers = []
  for (const instance of instances) {
    const server = await startServer(instance, instance.database, modelUrl)
    const client = new pg.Client({ connectionString: instance.database.url })
    client.on("error", () => {})
    await client.connect()
    servers.push({ ...server, client })
  }
  await check(servers, modelUrl)
  return { modelUrl, instances, servers, quick: options.quick, rounds: options.rounds && Number(options.rounds) }
}

const measure = async (bench) => {
  const all = []
  for (const [name, { run, title }] of Object.entries(groups)) {
    if (!chosen.includes(name)) continue
    const rows = await run(bench)
    all.push(...rows.map((row) => ({ ...row, title })))
    console.log(table(title, rows))
  }
  console.log(verdict(all))
  if (options.chart !== undefined) writeFileSync(options.chart, chart(all))
  if (options.json !== undefined) {
    const values = all.map((row) => ({ ...row, values: Object.fromEntries(row.values) }))
    writeFileSync(options.json, JSON.stringify(values, null, 2))
  }
}

const profile = async (bench) => {
  mkdirSync(options.profile, { recursive: true })
  const [server] = bench.servers
  for (const name of chosen) {
    const file = join(options.profile, `${server.name}-${name}`)
    const run = (more) => groups[name].run({ ...bench, quick: true, ...more })
    console.log(`### ${groups[name].title}: ${file}\n`)
    if (name === "memory") {
      await run({ heapProfile: `${file}.heapprofile` })
      console.log(heapSummary(`${file}.heapprofile`))
    } else {
      await run() // warms it up
      await server.startProfile()
      await run()
      await server.stopProfile(`${file}.cpuprofile`)
      console.log(cpuSummary(`${file}.cpuprofile`))
    }
  }
}

let isEnding = false
const end = async (code) => {
  if (isEnding) return
  isEnding = true
  await cleanUp().catch(console.error)
  process.exit(code)
}
process.on("SIGINT", () => end(130))
process.on("SIGTERM", () => end(143))

const fail = async (error) => {
  if (!isEnding) console.error(error)
  await end(1)
}
process.on("unhandledRejection", fail)

try {
  const bench = await prepare()
  await (options.profile === undefined ? measure : profile)(bench)
  await end(0)
} catch (error) {
  await fail(error)
}
