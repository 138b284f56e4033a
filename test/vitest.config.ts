import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig, type Plugin } from "vitest/config"
import { blocks } from "./support/Markdown.ts"

const source = (file: string) => fileURLToPath(new URL(`../src/${file}`, import.meta.url))

/** `docs/page.md.12.ts` is the block that begins at line 12 of that page, as a module. */
const snippets: Plugin = {
  name: "snippets",
  resolveId: (id) => (/\.md\.\d+\.ts$/.test(id) ? id : undefined),
  load: (id) => {
    const [, page, line] = /^(.+\.md)\.(\d+)\.ts$/.exec(id) ?? []
    if (page === undefined) return undefined
    return blocks(readFileSync(page, "utf8")).find((block) => block.line === Number(line))?.text
  }
}

export default defineConfig({
  plugins: [snippets],
  // The examples name the package, as its users do.
  resolve: {
    alias: [
      { find: /^taskchat$/, replacement: source("index.ts") },
      { find: /^taskchat\/(client|ai-sdk|testing)$/, replacement: source("$1.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    // They have a command of their own, `npm run test:browser`.
    exclude: ["test/browser/**"],
    // Starting the embedded PostgreSQL takes seconds where processors are few and busy.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two processes: each may hold an embedded PostgreSQL of some hundred megabytes.
    pool: "forks",
    // A process loads Effect and the service once, not once for every file: a third of the time.
    isolate: false,
    setupFiles: ["test/support/testers.ts"],
    poolOptions: { forks: { minForks: 1, maxForks: 2 } }
  }
})
