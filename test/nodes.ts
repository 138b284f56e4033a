import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

/** Runs the tests on each LTS line of Node.js, from npm's `node` package. Passes its arguments to vitest. */
const lines = [22, 24]

const root = fileURLToPath(new URL("..", import.meta.url))
const vitest = ["node", "node_modules/vitest/vitest.mjs", "run", "--config", "test/vitest.config.ts"]

for (const line of lines) {
  console.log(`\nNode.js ${line}`)
  const { status } = spawnSync(
    "npm",
    ["exec", "--yes", `--package=node@${line}`, "--", ...vitest, ...process.argv.slice(2)],
    { cwd: root, stdio: "inherit", shell: process.platform === "win32" }
  )
  if (status !== 0) process.exitCode = 1
}
