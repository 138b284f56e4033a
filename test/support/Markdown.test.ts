import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { differences, lineDifferences } from "./Answers.ts"
import { anchors, blocks, code, links, rows } from "./Markdown.ts"
import * as Shell from "./Shell.ts"

// Tests of the helpers that test the documents.

describe("blocks", () => {
  it("finds fenced blocks with their language and line", () => {
    assert.deepStrictEqual(blocks("a\n```sh\nx\n\ny\n```\n\n````md\n```\n````\n"), [
      { language: "sh", text: "x\n\ny", line: 3 },
      { language: "md", text: "```", line: 9 }
    ])
  })

  it("finds blocks within a list, without its indentation", () => {
    assert.deepStrictEqual(blocks("- a\n\n  ```sh\n  x \\\n    y\n  ```\n"), [
      { language: "sh", text: "x \\\n  y", line: 4 }
    ])
  })

  it("refuses a block that is never closed", () => {
    assert.throws(() => blocks("```sh\nx\n"))
  })
})

it("links are within the repository and outside of blocks", () => {
  assert.deepStrictEqual(
    links("[a](docs/a.md#x) [b](https://example.org#c) [c](#here)\n```sh\n[e](f)\n```\n[d](LICENSE)"),
    [
      { target: "docs/a.md", fragment: "x" },
      { target: "", fragment: "here" },
      { target: "LICENSE", fragment: "" }
    ]
  )
})

it("anchors are the same as on GitHub", () => {
  assert.deepStrictEqual(anchors("# One `node`, two\n```sh\n# no\n```\n## Über uns\n## Über uns\n"), [
    "one-node-two",
    "über-uns",
    "über-uns-1"
  ])
})

it("rows are the rows of tables, without their heads", () => {
  assert.deepStrictEqual(rows("| a | b |\n| --- | :-: |\n| `c` | d e |\n\n|  |\n| -- |\n| f |\n"), [
    ["`c`", "d e"],
    ["f"]
  ])
})

it("code is the text between backticks", () => {
  assert.deepStrictEqual(code("`A`, `B c` and D"), ["A", "B c"])
})

describe("differences", () => {
  const answer = {
    id: 1,
    turn_id: "0199c1a2-7d3e-7abc-8def-0123456789ab",
    timestamp: "2026-01-31T12:00:00.000Z",
    text: "Due 2026-02-01.",
    duration_ms: 4,
    list: [{ done: true }]
  }

  it("are empty for the same answer at another time", () => {
    const later = {
      ...answer,
      turn_id: "0199c1a2-7d3e-7abc-9def-ba9876543210",
      timestamp: "2027-01-31T12:00:00.000Z",
      text: "Due 2027-02-01.",
      duration_ms: 15
    }
    assert.deepStrictEqual(differences(answer, later), [])
  })

  it.each([
    ["another text", { ...answer, text: "Due tomorrow." }],
    ["another number", { ...answer, id: 2 }],
    ["another type", { ...answer, duration_ms: "4" }],
    ["a time that is none", { ...answer, timestamp: "now" }],
    ["a member too few", { id: 1 }],
    ["a member too many", { ...answer, more: 1 }],
    ["another element", { ...answer, list: [{ done: false }] }],
    ["an element too many", { ...answer, list: [{ done: true }, { done: true }] }],
    ["a list for an object", { ...answer, list: {} }]
  ])("tell of %s", (_, actual) => {
    assert.isNotEmpty(differences(answer, actual))
  })
})

describe("lineDifferences", () => {
  const shown = `: hello\n\nid: 1\ndata: {"turn_id":"0199c1a2-7d3e-7abc-8def-0123456789ab","done":false}\n…\ndata: {"done":true}`

  it("are empty if `…` covers the omitted lines", () => {
    const actual = `: hello\n\nid: 1\ndata: {"done":false,"turn_id":"0199c1a2-7d3e-7abc-8def-ba9876543210"}\n\nid: 2\n\ndata: {"done":true}\n\n`
    assert.deepStrictEqual(lineDifferences(shown, actual), [])
  })

  it.each([
    ["a line that is missing", `: hello\n\nid: 1\ndata: {"done":true}`],
    ["an end that never comes", shown.replace(`\ndata: {"done":true}`, "\ndata: {}")],
    ["a line after the end", `${shown}\nid: 7`],
    ["nothing at all", ""]
  ])("tell of %s", (_, actual) => {
    assert.isNotEmpty(lineDifferences(shown, actual))
  })
})

describe("Shell", () => {
  const shell = Effect.flatMap(Shell.temporaryFolder, (folder) =>
    Shell.make({ folder, environment: { PATH: process.env["PATH"] ?? "" } })
  )

  it.scoped("keeps the variables of a script, and returns the output of each script", () =>
    Effect.gen(function* () {
      const { run } = yield* shell
      assert.deepStrictEqual(yield* run("NAME=a\necho first"), { code: 0, stdout: "first\n", stderr: "" })
      assert.deepStrictEqual(yield* run('echo "$NAME"; echo b >&2'), { code: 0, stdout: "a\n", stderr: "b\n" })
    })
  )

  it.scoped("ends processes that a script left running", () =>
    Effect.gen(function* () {
      const folder = yield* Shell.temporaryFolder
      const shell = Shell.make({ folder, environment: { PATH: process.env["PATH"] ?? "" } })
      const background = "(trap 'echo ended >note; exit' TERM; touch note; while :; do sleep 0.1; done) >/dev/null &"
      yield* Effect.scoped(
        Effect.flatMap(shell, ({ run }) => run(`${background}\nuntil [ -e note ]; do sleep 0.1; done`))
      )
      assert.strictEqual(readFileSync(path.join(folder, "note"), "utf8"), "ended\n")
    })
  )

  it.scoped("fails with the first failing command, also within a pipe", () =>
    Effect.gen(function* () {
      const { run } = yield* shell
      assert.deepInclude(yield* run("echo before\nfalse | cat\necho after"), { code: 1, stdout: "before\n" })
      assert.deepInclude(yield* run("echo again"), { code: 1, stdout: "" })
    })
  )
})
