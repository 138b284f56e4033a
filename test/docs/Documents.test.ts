import { existsSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Either, Predicate, type Schema, SchemaAST } from "effect"
import * as Taskchat from "taskchat"
import { CallBegun, CallEnded, Completed, Failed, Text, Turn } from "../../src/api/StreamEvent.ts"
import * as Settings from "../../src/Config.ts"
import { secrets } from "../../src/ConfigReaders.ts"
import { answerTo, type Document, documentOf, documents, notRun } from "../support/Documents.ts"
import { anchors, type Block, code, links, rows } from "../support/Markdown.ts"
import { files, read, root } from "../support/Repository.ts"
import { diagnostics } from "../support/Snippets.ts"

const readme = documentOf("README.md")
const operating = documentOf("docs/operating.md")
const security = documentOf("docs/security.md")
const wire = documentOf("docs/wire.md")

const sources = files("src").filter((file) => file.endsWith(".ts"))
const source = sources.map(read).join("\n")

/** Every first group of the pattern, each once, in order. */
const all = (text: string, pattern: RegExp) =>
  Array.from(
    new Set(Array.from(text.matchAll(pattern), (match) => match.slice(1).find(Predicate.isString) ?? ""))
  ).sort()

/** For each document what is wrong with it, as `file: …`. */
const complaints = (check: (document: Document) => ReadonlyArray<string>) =>
  documents.flatMap((document) => check(document).map((complaint) => `${document.file}: ${complaint}`))

const place = ({ line, text }: Block) => `line ${line}, ${text.split("\n")[0]}`

const isJson = (text: string) => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe("every document", () => {
  it("has only code blocks that are checked: commands, answers, TypeScript, SQL, JSON and plain text", () => {
    const unchecked = complaints((document) =>
      document.blocks
        .filter((block, index) => {
          const before = document.blocks[index - 1]
          const isAnswer = before?.language === "sh" && answerTo(document, before) === block
          return block.language === "json"
            ? !isAnswer && !isJson(block.text)
            : !["sh", "ts", "text"].includes(block.language) && !(block.language === "sql" && document === operating)
        })
        .map(place)
    )
    assert.deepStrictEqual(unchecked, [])
  })

  it("links to existing files and headings", () => {
    const broken = complaints(({ file, text }) =>
      links(text)
        .filter(({ fragment, target }) => {
          const to = target === "" ? file : path.posix.join(path.posix.dirname(file), target)
          if (!existsSync(path.join(root, to))) return true
          return fragment !== "" && to.endsWith(".md") && !anchors(read(to)).includes(fragment)
        })
        .map(({ fragment, target }) => `${target}#${fragment}`)
    )
    assert.deepStrictEqual(broken, [])
  })

  it("names existing scripts, commands, settings and files", () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(read("package.json"))
    const commands = all(read("src/server/Cli.ts"), /Command\.make\("(\w+)"/g)
    // The library reads the last one by itself.
    const settings = [
      ...known,
      ...secrets.map((name) => `${name}_FILE`),
      "ANTHROPIC_API_KEY",
      "OTEL_RESOURCE_ATTRIBUTES"
    ]
    const wrong = complaints(({ text }) => [
      ...all(text, /\bnpm (?:run (?:--silent )?([a-z]+(?::[a-z]+)*)|(start|test)\b)/g).filter(
        (name) => !(name in scripts)
      ),
      ...all(text, /`(?:npx )?taskchat ([a-z]+)/g).filter((name) => !commands.includes(name)),
      ...all(text, /`([A-Z][A-Z\d]*(?:_[A-Z\d]+)+)(?:=[^`]*)?`/g).filter((name) => !settings.includes(name)),
      ...all(text, /`((?:src|test|docs|examples|bench|\.ci)\/[\w./-]+)`/g).filter(
        // `XApi.ts` stands for any of them.
        (name) => !/\/X[A-Z]/.test(name) && !existsSync(path.join(root, name))
      )
    ])
    assert.deepStrictEqual(wrong, [])
  })

  it("shows commands that are not run in full", () => {
    const shown = documents.flatMap(({ blocks }) =>
      blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.split("\n"))
    )
    assert.deepStrictEqual(
      Array.from(notRun.keys()).filter((command) => !shown.includes(command)),
      []
    )
    const ci = read(".ci/run")
    for (const [command, reason] of notRun) {
      if (reason.endsWith(".ci/run runs it")) assert.include(ci, "check:", command)
    }
    assert.include(ci, "npm test")
  })

  it.effect(
    "has TypeScript that compiles as strictly as our own code",
    () =>
      Effect.gen(function* () {
        const snippets = documents.flatMap(({ blocks, file }) =>
          blocks.filter(({ language }) => language === "ts").map((block) => ({ file, block }))
        )
        assert.isNotEmpty(snippets)
        // That the compiler would have minded is seen by two snippets that are wrong.
        const [wrong, unknown, ...found] = yield* diagnostics([
          `import { UserId } from "taskchat"\nexport const id: UserId = 1`,
          `import "taskchat/nothing"\nimport { nothing } from "taskchat"\nnothing`,
          ...snippets.map(({ block }) => block.text)
        ])
        assert.lengthOf(wrong ?? [], 1)
        assert.isNotEmpty(unknown ?? [])
        assert.deepStrictEqual(
          snippets.flatMap(({ block, file }, index) =>
            (found[index] ?? []).map((problem) => `${file}: ${place(block)}: ${problem}`)
          ),
          []
        )
      }),
    300_000
  )
})

/** The environment variables that Config.ts reads. */
const known = all(read("src/Config.ts"), /"([A-Z][A-Z\d]*(?:_[A-Z\d]+)+|HOST|PORT)"/g)

const settings = (variables: Readonly<Record<string, string>>) =>
  Effect.runSync(
    Effect.either(
      Effect.withConfigProvider(
        Settings.settings,
        ConfigProvider.fromMap(new Map(Object.entries(variables)), { pathDelim: "." })
      )
    )
  )

const table = rows(readme.text).filter(([names = ""]) => code(names).some((name) => known.includes(name)))

/** Of the settings that have one, as the README tells them. */
const defaults = new Map(
  table.flatMap(([names = "", told = ""]) => {
    const [variables, values] = [code(names), code(told)]
    return variables.length === values.length
      ? variables.map((name, index) => [name, values[index] ?? ""] as const)
      : []
  })
)

describe("README.md", () => {
  it("lists the environment variables that Config.ts reads, each once, and no others", () => {
    assert.deepStrictEqual(table.flatMap(([names = ""]) => code(names)).sort(), known)
  })

  it("has their defaults", () => {
    assert.isAtLeast(defaults.size, 10)
    for (const [name, value] of defaults) assert.deepStrictEqual(settings({ [name]: value }), settings({}), name)
  })
})

it("docs/architecture.md lists the imports of each part", () => {
  const told = rows(documentOf("docs/architecture.md").text)
    .map(([part = "", imports = ""]) => [part.replaceAll("`", ""), [...code(imports)].sort()] as const)
    .filter(([part]) => /^(?:[a-z]+\/|main)$/.test(part))
  assert.lengthOf(told, 10)
  const partOf = (file: string) => path.posix.relative("src", file).replace(/(?<=\/).*|\.ts$/, "")
  for (const [part, imports] of told) {
    const own = sources.filter((file) => partOf(file) === part)
    const found = own.flatMap((file) =>
      all(read(file), /(?:from|import\() ?"(\.[^"]+)"/g).map((to) =>
        partOf(path.posix.join(path.posix.dirname(file), to))
      )
    )
    assert.deepStrictEqual(Array.from(new Set(found.filter((to) => to !== part))).sort(), imports, part)
  }
})

describe("docs/operating.md", () => {
  it("has the bounds of settings", () => {
    const bounds = rows(operating.text).filter((row) => row.length === 3 && known.includes(code(row[0] ?? "")[0] ?? ""))
    assert.isAtLeast(bounds.length, 10)
    const beyond = (value: string, by: number) => value.replace(/^\d+/, (number) => String(Number(number) + by))
    const isTaken = (name: string, value: string) => Either.isRight(settings({ [name]: value }))
    for (const [names = "", from = "", to = ""] of bounds) {
      const [least = ""] = code(from)
      const [most = ""] = code(to)
      for (const name of code(names)) {
        assert.isTrue(isTaken(name, least) && isTaken(name, most), name)
        assert.isFalse(isTaken(name, beyond(most, 1)), name)
        assert.isFalse(!/^0\b/.test(least) && isTaken(name, beyond(least, -1)), name)
      }
    }
  })

  it("has every metric of ours", () => {
    const listed = rows(operating.text).flatMap(([name = ""]) => code(name).filter((it) => it.startsWith("taskchat_")))
    const counted = all(source, /Metric\.\w+\(\s*"(taskchat_\w+)"/g)
    assert.isNotEmpty(counted)
    assert.deepStrictEqual(listed.sort(), counted)
    const named = all(operating.text, /\b(taskchat_(?!migrations\b)[a-z_]+)/g)
    assert.deepStrictEqual(named, counted)
  })

  it("has every log line", () => {
    const logged = all(source, /\blog(?:Info|Warning|Error)\("([^"]+)"/g)
    assert.isNotEmpty(logged)
    assert.deepStrictEqual(
      logged.filter((line) => !operating.text.includes(`\`${line}\``)),
      []
    )
  })

  it("names every table of the database", () => {
    const tables = files("src/sql/migrations").flatMap((file) => all(read(file), /CREATE TABLE (\w+)/g))
    assert.isAtLeast(tables.length, 12)
    for (const name of tables) assert.include(operating.text, `\`${name}\``)
  })
})

/** The members of a schema's wire form. */
const encodedNames = ({ ast }: Schema.Schema.All) =>
  SchemaAST.getPropertySignatures(SchemaAST.encodedBoundAST(ast)).map(({ name }) => String(name))

describe("docs/wire.md", () => {
  const table = rows(wire.text)

  it("has every code, and no others", () => {
    const listener = /\brefuse\(\s*socket,\s*\d+,\s*"([a-z_]+)"/g
    const own = all(source, /\bcodes: \[([^\]]+)\]|readonly code = "([a-z_]+)"/g).flatMap((some) =>
      some.split(",").map((one) => one.replaceAll(/["\s]/g, ""))
    )
    const codes = Array.from(new Set([...own, ...all(source, listener)])).filter((one) => one !== "")
    const listed = table.filter(([status = ""]) => /^\d{3}/.test(status)).flatMap(([, names = ""]) => code(names))
    assert.isAtLeast(codes.length, 30)
    assert.deepStrictEqual(Array.from(new Set(listed)).sort(), codes.sort())
  })

  it("has the status of every problem, and its further members", () => {
    const problems = Object.values(Taskchat).filter(
      (it): it is typeof Taskchat.InvalidRequest => Predicate.isFunction(it) && "about" in it && "members" in it
    )
    assert.isAtLeast(problems.length, 25)
    for (const { about, members } of problems) {
      for (const name of about.codes) {
        const row = table.find(([, names = ""]) => code(names).includes(name)) ?? []
        assert.include(row[0], String(about.status), name)
        for (const member of encodedNames(members)) assert.include(code(row[2] ?? ""), member, name)
      }
    }
  })

  it("has every event with its members", () => {
    // One of them is the union of the three that have no name.
    assert.strictEqual(SchemaAST.isUnion(Taskchat.StreamEvent.ast) && Taskchat.StreamEvent.ast.types.length, 4)
    const events = [
      ["`turn`", Turn],
      ["–", Text],
      ["`tool_call`", CallBegun],
      ["`tool_result`", CallEnded],
      ["–", Completed],
      ["–", Failed]
    ] as const
    for (const [event, schema] of events) {
      const members = encodedNames(schema)
      const told = table.filter(([name]) => name === event).map(([, data = ""]) => all(data, /(?:^|[`,{ ])([a-z_]+)/g))
      assert.isTrue(
        told.some((names) => members.every((member) => names.includes(member))),
        `${event} with ${members.join(", ")}`
      )
    }
  })
})

it("docs/wire.md has every status of a turn, and every header of ours", () => {
  const first = rows(wire.text).map(([cell = ""]) => code(cell))
  // Those that pages may send and read.
  const [, lists = ""] = /const allowed = (.*?)const toPages/s.exec(read("src/http/Cors.ts")) ?? []
  const headers = all(lists, /"([\w-]+)"/g).filter((name) => !/^(?:Authorization|Content-Type|MCP-.*)$/i.test(name))
  assert.isAtLeast(headers.length, 15)
  for (const name of [...Taskchat.TurnEnd.literals, ...headers]) {
    assert.isTrue(
      first.some((names) => names.includes(name)),
      name
    )
  }
})

const units: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 * 1024, s: 1000, seconds: 1000 }

/** The first quantity in a text, in bytes, milliseconds or as it is. */
const quantity = (text: string) => {
  const [, digits, unit = ""] = /(\d[\d,]*)(?: (\w+))?/.exec(text) ?? []
  return digits === undefined ? undefined : Number(digits.replaceAll(",", "")) * (units[unit] ?? 1)
}

/** What a source calls by this name, if that is a number. */
const constant = (text: string, name: string) => {
  // `text(1, 200, …)` and `list(Label, 10, …)` have the most that there may be in the second place.
  const [, product] =
    new RegExp(`\\b${name}(?: =|:) (?:(?:text|list)\\(\\w+, )?(\\d[\\d_]*(?: \\* \\d+)*)`).exec(text) ?? []
  return product?.split(" * ").reduce((all, factor) => all * Number(factor.replaceAll("_", "")), 1)
}

/** A lifetime, the largest number of a type, and which values are compared with the last one. */
const notLimits = ["maxAge", "maxInteger", "maxRemembered"]

describe("docs/security.md", () => {
  const limits = rows(security.text)
    .filter(([, , by = ""]) => /^`\w+`(?: in \[|$)/.test(by))
    .map(([what = "", bound = "", by = ""]) => ({ what, bound, name: code(by)[0] ?? "", link: links(by)[0] }))
  /** Of a file, or of all files of a folder. */
  const sourceOf = (target: string) => {
    const place = path.posix.join("docs", target)
    return place.endsWith(".ts") ? read(place) : files(place).map(read).join("\n")
  }

  it("names the setting or constant of each limit", () => {
    assert.isAtLeast(limits.length, 25)
    for (const { link, name, what } of limits) {
      if (link === undefined) assert.include(known, name, what)
      else assert.match(sourceOf(link.target), new RegExp(`\\b${name}\\b`), what)
    }
  })

  it("has every limit of the source", () => {
    const found = sources
      .filter((file) => !/^src\/(client|testing)/.test(file))
      .flatMap((file) =>
        Array.from(
          read(file).matchAll(/^(?:export )?const ((?:max|most)[A-Z]\w*|longest) = \d/gm),
          ([, name = ""]) => ({ name, file })
        )
      )
      .filter(({ name }) => !notLimits.includes(name))
    assert.isAtLeast(found.length, 40)
    const told = rows(security.text).map(([, , by = ""]) => by)
    assert.deepStrictEqual(
      found.filter(
        ({ file, name }) =>
          !told.some((by) => {
            const [, place = "nowhere"] = new RegExp(`\`${name}\` in \\[[^\\]]+\\]\\(\\.\\./([^)]+)\\)`).exec(by) ?? []
            return file.startsWith(place)
          })
      ),
      []
    )
  })

  it("has each limit's number", () => {
    const compared = limits.flatMap(({ bound, link, name, what }) => {
      const set = link === undefined ? quantity(defaults.get(name) ?? "") : constant(sourceOf(link.target), name)
      return set === undefined ? [] : [[`${what}: ${quantity(bound)}`, `${what}: ${set}`] as const]
    })
    assert.isAtLeast(compared.length, 20)
    assert.deepStrictEqual(
      compared.map(([told]) => told),
      compared.map(([, set]) => set)
    )
  })
})

it("CHANGELOG.md has the package's version", () => {
  const { version }: { version: string } = JSON.parse(read("package.json"))
  assert.match(documentOf("CHANGELOG.md").text, new RegExp(`^## \\[${version.replaceAll(".", "\\.")}\\]`, "m"))
})
