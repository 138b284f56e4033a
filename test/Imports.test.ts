import { assert, describe, it } from "@effect/vitest"
import { cycles, type Rule, violations } from "./support/Imports.ts"
import { files, read } from "./support/Repository.ts"

const effect = ["effect", "@effect/platform"]

const parts = ["Config", "ConfigReaders", "domain", "dates", "runtime", "api", "sql", "services", "models", "http"]

/**
 * Imports point one way: `domain <- dates, runtime <- sql <- services <- http, models <- server <- main`. Only `main`, the `server` that it
 * starts, `models` and `sql` name a platform or a vendor. A package that is new to a part is a decision: it is made here.
 */
const rules: Record<string, Rule> = {
  domain: { ours: [], packages: effect },
  Config: { ours: ["ConfigReaders", "domain"], packages: ["effect"] },
  ConfigReaders: { ours: [], packages: ["effect"] },
  api: { ours: ["domain"], packages: effect },
  dates: { ours: ["domain"], packages: ["effect"] },
  runtime: {
    ours: ["domain"],
    packages: [...effect, "@effect/ai", "@effect/sql", "@effect/sql-pg", "@effect/experimental", "pg", "node:"]
  },
  sql: {
    ours: ["domain", "runtime"],
    packages: [
      ...effect,
      "@effect/sql",
      "@effect/sql-pg",
      "@effect/experimental",
      "@electric-sql/pglite",
      "pg",
      "node:"
    ]
  },
  services: {
    ours: ["domain", "dates", "runtime", "sql"],
    packages: [
      ...effect,
      "@effect/sql",
      "@effect/ai",
      "ioredis",
      "jose",
      "ical.js",
      "rrule-temporal",
      "node:crypto",
      "rate-limiter-flexible",
      "uuid"
    ]
  },
  models: {
    ours: ["domain", "dates", "runtime"],
    packages: [
      "effect",
      "@effect/ai",
      "@effect/ai-anthropic",
      "@effect/ai-openai",
      "@effect/platform-node",
      "node:zlib"
    ]
  },
  http: {
    // It has to tell a database that is away from a defect of ours.
    ours: ["domain", "runtime", "api", "services", "sql/SqlErrors.ts"],
    packages: [...effect, "@effect/sql", "@effect/ai", "@modelcontextprotocol/server", "node:crypto", "node:module"]
  },
  client: { ours: ["domain", "api", "models/EventReader.ts", "runtime/Bytes.ts"], packages: effect },
  // For pages: it knows nothing of the service but its API.
  "ai-sdk": { ours: [], packages: ["ai"] },
  // The whole service in one process, apart from what starts it.
  testing: {
    ours: [...parts.slice(2), "client"],
    packages: [...effect, "@effect/ai", "@effect/sql", "node:assert/strict"]
  },
  index: { ours: parts, packages: [] },
  // It starts what the others are, and says in words what kept it from starting.
  server: {
    ours: [...parts, "client"],
    packages: [
      ...effect,
      "@effect/cli",
      "@effect/opentelemetry",
      "@effect/platform-node",
      "@effect/sql",
      "@modelcontextprotocol/server",
      "node:"
    ]
  },
  main: { ours: [...parts, "server"], packages: [...effect, "@effect/platform-node"] }
}

const sources = files("src")
  .filter((file) => file.endsWith(".ts"))
  .map((file) => [file, read(file)] as const)

describe("src", () => {
  it("imports one way", () => {
    assert.deepStrictEqual(violations(rules, sources), [])
  })

  it("has no circle of imports", () => {
    assert.deepStrictEqual(cycles(sources), [])
  })
})

describe("the check of imports", () => {
  it.each([
    ["src/domain/Task.ts", `import { Tasks } from "../services/Tasks.ts"`],
    ["src/domain/Task.ts", `export * from "../api/TasksApi.ts"`],
    ["src/domain/Task.ts", `import type { Sql } from "../sql/Sql.ts"`],
    ["src/domain/Task.ts", `import { SqlClient } from "@effect/sql"`],
    ["src/domain/Task.ts", `const later = () => import("../http/Routes.ts")`],
    ["src/domain/Task.ts", `type Later = import("../http/Routes.ts").Routes`],
    ["src/domain/Task.ts", `import "./deep/../../services/Tasks.ts"`],
    ["src/domain/Task.ts", `import { UserId } from "./Id"`],
    ["src/api/TasksApi.ts", `import { Tasks } from "../services/Tasks.ts"`],
    ["src/sql/migrations/0001_tasks.ts", `import { Tasks } from "../../services/Tasks.ts"`],
    ["src/services/tasks/Tasks.ts", `import { TasksApi } from "../../api/TasksApi.ts"`],
    ["src/services/tasks/Tasks.ts", `import { NodeContext } from "@effect/platform-node"`],
    ["src/services/agent/Agent.ts", `import { readFile } from "node:fs"`],
    ["src/services/agent/Agent.ts", `import { OpenAiClient } from "@effect/ai-openai"`],
    ["src/services/agent/Agent.ts", `import { layer } from "../../models/OpenAi.ts"`],
    ["src/services/agent/Agent.ts", `import { layer } from "../../../test/support/Database.ts"`],
    ["src/http/TasksHttp.ts", `import { layer } from "../sql/Sql.ts"`],
    ["src/http/TasksHttp.ts", `import "../main.ts"`],
    ["src/http/TasksHttp.ts", `import { serve } from "../server/Server.ts"`],
    ["src/extra/New.ts", ""]
  ])("refuses in %s: %s", (file, source) => {
    assert.lengthOf(violations(rules, [[file, source]]), 1)
  })

  it("takes what the layout allows", () => {
    const allowed = [
      ["src/domain/Task.ts", `import { UserId } from "./Id.ts"; import { Schema } from "effect"`],
      [
        "src/services/tasks/Tasks.ts",
        `import { Task } from "../../domain/Task.ts"; export { SqlClient } from "@effect/sql/SqlClient"`
      ],
      ["src/main.ts", `import { NodeRuntime } from "@effect/platform-node"; import * as Routes from "./http/Routes.ts"`]
    ] as const
    assert.deepStrictEqual(violations(rules, allowed), [])
  })

  it("sees a circle, but not one of types alone", () => {
    assert.deepStrictEqual(
      cycles([
        ["src/a.ts", `import { b } from "./b.ts"; export const a = b`],
        ["src/b.ts", `export { c as b } from "./c.ts"`],
        ["src/c.ts", `import { a } from "./a.ts"; export const c = () => a`],
        ["src/d.ts", `import type { E } from "./e.ts"; export type D = E`],
        ["src/e.ts", `import { type D } from "./d.ts"; import type { F } from "./d.ts"; export type E = D | F`]
      ]),
      ["src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts"]
    )
  })
})
