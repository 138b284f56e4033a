import { readdirSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { defineConfig, type Plugin } from "vitest/config"
import config from "../vitest.config.ts"

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

const pieces = new Set(readdirSync(path("../../bench/stock")).map((file) => file.replace(".mjs", "")))

/** Puts the library's pieces, which the benchmark has too, in the place of those of `src/runtime`. */
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

/** The usual tests on the library's pieces, whose differences are in `differences.ts`. */
export default defineConfig({
  ...config,
  plugins: [...(config.plugins ?? []), stock],
  test: { ...config.test, setupFiles: ["test/support/testers.ts", "test/stock/differences.ts"] }
})
