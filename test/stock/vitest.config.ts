import { readdirSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { defineConfig, type Plugin } from "vitest/config"
import config from "../vitest.config.ts"

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

const pieces = new Set(readdirSync(path("../../bench/stock")).map((file) => file.replace(".mjs", "")))

/** Replaces the modules of `src/runtime` by those of the libraries, as the benchmark does. */
const stock: Plugin = {
  name: "stock",
  enforce: "pre",
  resolveId: (id, importer = "") => {
    const file = resolve(dirname(importer), id)
    if (importer.includes("/bench/stock/")) {
      const [, module] = /\/dist\/(.+)\.js$/.exec(file) ?? []
      return module && path(`../../src/${module}.ts`)
    }
    const [, name = ""] = /\/src\/runtime\/(\w+)\.ts$/.exec(file) ?? []
    return pieces.has(name) ? path(`../../bench/stock/${name}.mjs`) : undefined
  }
}

/** Runs the tests with the library's modules. `differences.ts` lists the expected failures. */
export default defineConfig({
  ...config,
  plugins: [...(config.plugins ?? []), stock],
  test: { ...config.test, setupFiles: ["test/support/testers.ts", "test/stock/differences.ts"] }
})
