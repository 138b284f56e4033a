import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { createClient } from "@hey-api/openapi-ts"
import { Effect, type Scope } from "effect"
import openapiTS, { astToString } from "openapi-typescript"
import ts from "typescript"
import { root } from "./Repository.ts"

/** The URL of the service, and the user. */
interface Service {
  readonly baseUrl: string
  readonly token: string
  readonly user: number
}

// Both programs do the same. The misspelt members check that the types are closed.

const openapiFetch = `
import createClient from "openapi-fetch"
import type { components, paths } from "./schema.js"

export const run = async ({ baseUrl, token, user }: { baseUrl: string; token: string; user: number }) => {
  const client = createClient<paths>({ baseUrl, headers: { authorization: "Bearer " + token } })
  const path = { user_id: user }
  const chat = await client.POST("/api/{user_id}/chat", { params: { path }, body: { message: "Add milk" } })
  if (chat.error !== undefined) throw new Error(chat.error.detail)
  const { assistant_message: said, tool_calls } = chat.data
  const tools = tool_calls?.map(({ tool }) => tool) ?? []

  // @ts-expect-error
  const misspelt: components["schemas"]["NewTask"] = { title: "Call", prioriti: "high" }
  const created = await client.POST("/api/{user_id}/tasks", {
    params: { path, header: { "Idempotency-Key": "one" } },
    body: { title: "Call the bank", priority: "high", labels: ["errands"], due_date: "2026-02-01" }
  })
  if (created.error !== undefined) throw new Error(created.error.detail)
  const etag = created.response.headers.get("etag") ?? ""
  const query = { status: "pending", priority: "high", label: "errands", due_before: "2026-12-31", q: "BANK", limit: 10 } as const
  const list = await client.GET("/api/{user_id}/tasks", { params: { path, query } })
  const titles = list.data?.tasks.map(({ priority, title }) => [title, priority]) ?? []

  const task = { params: { path: { ...path, task_id: created.data.id }, header: { "If-Match": etag } } }
  await client.PATCH("/api/{user_id}/tasks/{task_id}", { ...task, body: { completed: true } })
  const change = await client.PATCH("/api/{user_id}/tasks/{task_id}", { ...task, body: { title: "Too late" } })
  const changed = change.error?.code === "task_changed" ? change.error.status satisfies 412 : undefined

  const blank = await client.POST("/api/{user_id}/tasks", { params: { path }, body: { title: "" } })
  const invalid =
    blank.error?.code === "invalid_request" ? blank.error.errors.map(({ path, message }) => [path, message]) : []
  const none = await client.GET("/api/{user_id}/tasks/{task_id}", { params: { path: { ...path, task_id: 1e9 } } })

  const stream = await client.POST("/api/{user_id}/chat/stream", {
    params: { path },
    body: { message: "Hello", conversation_id: chat.data.conversation_id, time_zone: "Europe/Berlin" },
    parseAs: "text"
  })
  const streamed = Array.from((stream.data ?? "").matchAll(/^data: (.*)$/gm), ([, data = ""]) => JSON.parse(data))
    .map(({ content = "" }) => content)
    .join("")
  return { said, tools, titles, changed, invalid, missing: none.error?.code, streamed }
}
`

const heyApi = `
import { createClient } from "./hey/client/index.js"
import * as Sdk from "./hey/index.js"

export const run = async ({ baseUrl, token, user }: { baseUrl: string; token: string; user: number }) => {
  const client = createClient({ baseUrl, auth: token })
  const path = { user_id: user }
  const chat = await Sdk.chat({ client, path, body: { message: "Add milk" }, throwOnError: true })
  const { assistant_message: said, tool_calls } = chat.data
  const tools = tool_calls?.map(({ tool }) => tool) ?? []

  // @ts-expect-error
  const misspelt: Sdk.NewTask = { title: "Call", prioriti: "high" }
  const created = await Sdk.createTask({
    client,
    path,
    headers: { "Idempotency-Key": "one" },
    body: { title: "Call the bank", priority: "high", labels: ["errands"], due_date: "2026-02-01" },
    throwOnError: true
  })
  const etag = created.response.headers.get("etag") ?? ""
  const query = { status: "pending", priority: "high", label: "errands", due_before: "2026-12-31", q: "BANK", limit: 10 } as const
  const list = await Sdk.listTasks({ client, path, query })
  const titles = list.data?.tasks.map(({ priority, title }) => [title, priority]) ?? []

  const task = { client, path: { ...path, task_id: created.data.id }, headers: { "If-Match": etag } }
  await Sdk.updateTask({ ...task, body: { completed: true } })
  const change = await Sdk.updateTask({ ...task, body: { title: "Too late" } })
  const changed = change.error?.code === "task_changed" ? change.error.status satisfies 412 : undefined

  const blank = await Sdk.createTask({ client, path, body: { title: "" } })
  const invalid =
    blank.error?.code === "invalid_request" ? blank.error.errors.map(({ path, message }) => [path, message]) : []
  const none = await Sdk.getTask({ client, path: { ...path, task_id: 1e9 } })

  const { stream } = await Sdk.chatStream({
    client,
    path,
    body: { message: "Hello", conversation_id: chat.data.conversation_id, time_zone: "Europe/Berlin" }
  })
  let streamed = ""
  // It uses the schema of the whole stream for the data of one event.
  for await (const data of stream as AsyncIterable<unknown>) {
    if (typeof data === "object" && data !== null && "content" in data) streamed += String(data.content)
  }
  return { said, tools, titles, changed, invalid, missing: none.error?.code, streamed }
}
`

/** Within the repository, so that imports are resolved. */
const caches = path.join(root, "node_modules", ".cache", "taskchat")

export interface Programs {
  /** The errors of the compiler. */
  readonly complaints: ReadonlyArray<string>
  readonly run: (name: "openapi-fetch" | "hey-api", service: Service) => Effect.Effect<unknown>
}

/** Generates both clients from `docs/openapi.json`, and compiles them with a program that uses each. */
export const programs: Effect.Effect<Programs, never, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => {
      mkdirSync(caches, { recursive: true })
      return mkdtempSync(path.join(caches, "clients-"))
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const document = path.join(root, "docs", "openapi.json")
  const write = (file: string, text: string) => writeFileSync(path.join(folder, file), text)
  write("package.json", JSON.stringify({ type: "module" }))
  write("openapi-fetch.ts", openapiFetch)
  write("hey-api.ts", heyApi)
  yield* Effect.promise(async () => {
    write("schema.ts", astToString(await openapiTS(pathToFileURL(document))))
    await createClient({
      input: document,
      output: path.join(folder, "hey"),
      logs: { level: "silent", file: false },
      plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"]
    })
  })
  return {
    complaints: compile(folder),
    run: (name, service) =>
      Effect.promise(async () => {
        const program = await import(/* @vite-ignore */ pathToFileURL(path.join(folder, `${name}.js`)).href)
        return program.run(service)
      })
  }
})

const compile = (folder: string): ReadonlyArray<string> => {
  const program = ts.createProgram(
    // Each file is named, because files below other packages are not emitted otherwise.
    readdirSync(folder, { recursive: true, encoding: "utf8" }).flatMap((file) =>
      file.endsWith(".ts") ? [path.join(folder, file)] : []
    ),
    {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
      types: [],
      strict: true,
      noUncheckedIndexedAccess: true,
      noImplicitOverride: true,
      noFallthroughCasesInSwitch: true,
      skipLibCheck: true
    }
  )
  const said = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics]
  return said.map(({ file, messageText, start }) => {
    const line = file === undefined || start === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1
    return `${path.basename(file?.fileName ?? "")}:${line} ${ts.flattenDiagnosticMessageText(messageText, "\n")}`
  })
}
