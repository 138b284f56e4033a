import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = (file: string) => fileURLToPath(new URL(`../src/${file}`, import.meta.url))

export default defineConfig({
  // The examples name the package, as its users do.
  resolve: {
    alias: [
      { find: /^taskchat$/, replacement: source("index.ts") },
      { find: /^taskchat\/(client|testing)$/, replacement: source("$1.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    // Starting the embedded PostgreSQL takes seconds where processors are few and busy.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two processes: each may hold an embedded PostgreSQL of some hundred megabytes.
    pool: "forks",
    poolOptions: { forks: { minForks: 1, maxForks: 2 } }
  }
})
