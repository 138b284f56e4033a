import * as path from "node:path"
import { describe, it } from "@effect/vitest"
import { documentOf } from "../support/Documents.ts"
import { root } from "../support/Repository.ts"

const page = documentOf("docs/embedding.md")

// A snippet that declares what a reader has to bring cannot be run; like all of them it is compiled in Documents.test.ts.
const complete = page.blocks.filter(({ language, text }) => language === "ts" && !/^declare /m.test(text))

describe(page.file, () => {
  for (const { line, text } of complete) {
    // Each is a module, which runs as it is loaded; the tests in some are ours.
    const load = () => import(/* @vite-ignore */ path.join(root, `${page.file}.${line}.ts`))
    if (text.includes('from "@effect/vitest"')) describe(`line ${line}`, { timeout: 60_000 }, load)
    else it(`line ${line}`, { timeout: 60_000 }, load)
  }
})
