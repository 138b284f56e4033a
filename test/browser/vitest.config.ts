import { defineConfig } from "vitest/config"
import config from "../vitest.config.ts"

/** The tests that need Chromium, in one process and with one browser. */
export default defineConfig({
  ...config,
  test: {
    ...config.test,
    include: ["test/browser/*.test.ts"],
    exclude: [],
    testTimeout: 300_000,
    poolOptions: { forks: { maxForks: 1 } }
  }
})
