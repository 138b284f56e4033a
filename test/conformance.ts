/*
 * Runs the official MCP conformance suites against the built service, and the inspector's CLI over both transports.
 * They are installed from npm, with the Node.js version that they need. Fails unless all checks of all applicable
 * scenarios pass. docs/mcp.md lists the scenarios that do not apply, with reasons.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, request as requestTo, type Server } from "node:http"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { SignJWT } from "jose"
import { root } from "./support/Repository.ts"

const old = ["server-initialize", "ping"]
const both = [
  "tools-list",
  "tools-call-simple-text",
  "tools-call-error",
  "resources-list",
  "resources-read-text",
  "resources-templates-read",
  "prompts-list",
  "prompts-get-simple",
  "dns-rebinding-protection"
]
const recent = [
  "sep-2164-resource-not-found",
  "caching",
  "http-header-validation",
  "server-sse-multiple-streams",
  "input-required-result-unsupported-methods"
]

const suites = [
  { version: "0.1.16", scenarios: [...old, ...both].map((name) => ({ name, revision: undefined })) },
  {
    version: "0.2.0-alpha.12",
    scenarios: [
      ...[...old, ...both].map((name) => ({ name, revision: "2025-11-25" })),
      ...[...both, ...recent].map((name) => ({ name, revision: "2026-07-28" }))
    ]
  }
]

/** Maps the tools, resources and prompts of the scenarios to similar ones of the service. */
const ours: Readonly<Record<string, string>> = {
  test_simple_text: "list_tasks",
  test_error_handling: "get_task",
  test_simple_prompt: "plan_day",
  "test://static-text": "tasks://list",
  "test://template/123/data": "tasks://1"
}
const renamed = (name: unknown) => (typeof name === "string" ? (ours[name] ?? name) : name)

const run = promisify(execFile)
const secret = "a secret of more than thirty-two bytes"
const folder = mkdtempSync(path.join(tmpdir(), "taskchat-"))
const environment = {
  PATH: process.env["PATH"] ?? "",
  DATA_DIR: path.join(folder, "data"),
  JWT_SECRET: secret,
  PORT: "0",
  LOG_FORMAT: "json",
  RATE_LIMIT_API: "1000000"
}
const main = path.join(root, "dist/bin/main.js")

const token = await new SignJWT({ user_id: 1 })
  .setProtectedHeader({ alg: "HS256" })
  .setExpirationTime("1h")
  .sign(new TextEncoder().encode(secret))

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Starts the service. Resolves with its address when it listens. */
const start = () =>
  new Promise<{ readonly service: ChildProcess; readonly address: string }>((resolve, reject) => {
    const service = spawn(process.execPath, [main, "serve"], { env: environment, stdio: ["ignore", "pipe", "inherit"] })
    service.on("exit", () => reject(new Error("The service has ended")))
    createInterface(service.stdout).on("line", (line) => {
      const entry: unknown = line.startsWith("{") ? JSON.parse(line) : undefined
      if (isRecord(entry) && typeof entry["address"] === "string") resolve({ service, address: entry["address"] })
    })
  })

/** Translates a message of a scenario for the service. */
const translated = (body: string) => {
  try {
    const message: unknown = JSON.parse(body)
    if (!isRecord(message) || !isRecord(message["params"])) return body
    const { name, uri } = message["params"]
    const params = {
      ...message["params"],
      ...(name !== undefined && { name: renamed(name) }),
      ...(uri !== undefined && { uri: renamed(uri) })
    }
    return JSON.stringify({ ...message, params })
  } catch {
    return body // broken on purpose
  }
}

const proxy = (target: string) =>
  createServer(async (incoming, outgoing) => {
    const pieces: Array<Buffer> = []
    for await (const piece of incoming) pieces.push(Buffer.from(piece))
    const body = translated(Buffer.concat(pieces).toString())
    const { "content-length": _, "mcp-name": name, ...rest } = incoming.headers
    const headers = {
      ...rest,
      authorization: `Bearer ${token}`,
      ...(name !== undefined && { "mcp-name": String(renamed(name)) }),
      ...(body !== "" && { "content-length": String(Buffer.byteLength(body)) })
    }
    const asked = requestTo(new URL(incoming.url ?? "/", target), { method: incoming.method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    asked.on("error", () => outgoing.destroy())
    outgoing.on("close", () => asked.destroy())
    asked.end(body)
  })

const listening = (server: Server) =>
  new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })

/** The command of a package and the Node.js to run it with. */
const fetched = async (name: string, command: string) => {
  const script = `command -v node && command -v ${command}`
  // npm checks the Node.js version that runs npm, which is not the version for these packages.
  const options = ["--yes", "--no-engine-strict", "--package=node@22", `--package=${name}`]
  const { stdout } = await run("npm", ["exec", ...options, "-c", script], { cwd: folder })
  const [node = "", file = ""] = stdout.trim().split("\n")
  return (...args: ReadonlyArray<string>) =>
    run(node, [file, ...args], { cwd: folder, timeout: 120_000, maxBuffer: 2 ** 26 }).then(
      ({ stderr, stdout }) => ({ failed: false, output: stdout + stderr, stdout }),
      (error: Error & { readonly stdout?: string; readonly stderr?: string }) => ({
        failed: true,
        output: `${error.stdout ?? ""}${error.stderr ?? ""}${error.message}`,
        stdout: error.stdout ?? ""
      })
    )
}

let failures = 0
const report = (name: string, passed: boolean, output: string) => {
  console.log(`${passed ? "passed" : "FAILED"} ${name}`)
  if (passed) return
  failures++
  console.log(output)
}

const { address, service } = await start()
const front = proxy(address)
try {
  const made = await fetch(`${address}/api/1/tasks`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ title: "Task 123" })
  })
  if (made.status !== 201) throw new Error(`No task could be made: ${made.status}`)
  const url = `http://127.0.0.1:${await listening(front)}/mcp`

  for (const { scenarios, version } of suites) {
    const conformance = await fetched(`@modelcontextprotocol/conformance@${version}`, "conformance")
    // Two at a time, because they mostly wait.
    const check = async ({ name, revision }: (typeof scenarios)[number]) => {
      const chosen = revision === undefined ? [] : ["--spec-version", revision]
      const { failed, output } = await conformance("server", "--url", url, "--scenario", name, ...chosen)
      const isWhole = /Passed: ([1-9]\d*)\/\1, 0 failed, 0 warnings/.test(output)
      report(`${version} ${name}${revision === undefined ? "" : ` ${revision}`}`, !failed && isWhole, output)
    }
    for (let next = 0; next < scenarios.length; next += 2) await Promise.all(scenarios.slice(next, next + 2).map(check))
  }

  const inspector = await fetched("@modelcontextprotocol/inspector@2.12.0", "mcp-inspector")
  const inspect = async (way: string, target: ReadonlyArray<string>, title: string) => {
    for (const [args, expected] of [
      [["--method", "tools/list"], "create_task"],
      [["--method", "tools/call", "--tool-name", "create_task", "--tool-arg", `title=${title}`], title],
      [["--method", "tools/call", "--tool-name", "get_task", "--tool-arg", "task_id=99"], "Task not found"],
      [["--method", "resources/read", "--uri", "tasks://list"], title],
      [["--method", "prompts/get", "--prompt-name", "plan_day"], "pending tasks"]
    ] as const) {
      const { output, stdout } = await inspector("--cli", ...target, "--connect-timeout", "60000", ...args)
      report(`inspector over ${way}: ${args.slice(1, 4).join(" ")}`, stdout.includes(expected), output)
    }
  }
  const bearer = ["--header", `Authorization: Bearer ${token}`]
  await inspect("HTTP", [`${address}/mcp`, "--transport", "http", ...bearer], "Over HTTP")
  service.removeAllListeners("exit")
  const ended = new Promise((resolve) => service.once("exit", resolve))
  service.kill()
  await ended // as the database is embedded, only one process at a time has it
  const variables = Object.entries({ ...environment, TASKCHAT_TOKEN: token }).flatMap(([name, value]) => [
    "-e",
    `${name}=${value}`
  ])
  await inspect("stdio", [process.execPath, main, "mcp", "--stdio", ...variables], "Over stdio")
} finally {
  service.kill()
  front.close()
  front.closeAllConnections()
  rmSync(folder, { recursive: true, force: true })
}
console.log(failures === 0 ? "Everything that applies has passed." : `${failures} failed.`)
process.exitCode = failures === 0 ? 0 : 1
