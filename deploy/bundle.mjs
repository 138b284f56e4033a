/**
 * Makes the program in `dist/bin`: one file, and further ones for what is loaded when it is used. All packages are in it but
 * PGlite, which reads files of its own; what their licences ask for is in `licenses.txt`. Types are not checked. Run by
 * `npm run bundle`, which has esbuild in its path.
 */
import { execSync } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"

const folder = "dist/bin"
// Aside, as services may be started from there meanwhile.
const aside = `${folder}.${process.pid}`
const metafile = join(aside, "meta.json")

const options = [
  "--bundle",
  "--splitting",
  "--format=esm",
  "--platform=node",
  "--target=node20.19",
  "--external:@electric-sql/pglite",
  "--external:pg-native",
  // As later versions of Node.js have it. `pg`, which asks for it, else loads all of `fetch` to learn where it runs.
  '--define:navigator={"userAgent":"Node.js"}',
  // Half a second of a start is to read and compile it. Names stay, for stack traces.
  "--minify-syntax",
  "--minify-whitespace",
  "--line-limit=120",
  // What is CommonJS calls `require`, which a module has not.
  "--banner:js=import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
  "--log-level=warning"
]

const words = ["esbuild", "src/main.ts", ...options, `--outdir=${aside}`, `--metafile=${metafile}`]
execSync(words.map((word) => JSON.stringify(word)).join(" "), { stdio: "inherit" })

/** Files made, each with the sources that are in it. */
const { outputs } = JSON.parse(readFileSync(metafile, "utf8"))
const made = Object.keys(outputs).map((file) => basename(file))
const sources = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs))

/** The folder of the package that a file belongs to. */
const packageOf = (file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]

const noticeOf = (home) => {
  const { license, name, version } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"))
  const texts = readdirSync(home)
    .filter((file) => /^(licen[sc]e|notice)/i.test(file))
    .map((file) => readFileSync(join(home, file), "utf8").trim())
  return [`${name} ${version}: ${license}`, ...texts].join("\n\n")
}

const notices = [...new Set(sources.flatMap((file) => packageOf(file) ?? []))].map(noticeOf).sort()

mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, "licenses.txt"), `${notices.join(`\n\n${"-".repeat(80)}\n\n`)}\n`)
// The entry, which names the others, is the last to be there.
for (const file of made.filter((file) => file !== "main.js").concat("main.js")) {
  renameSync(join(aside, file), join(folder, file))
}
rmSync(aside, { recursive: true })
const kept = new Set([...made, "licenses.txt"])
for (const file of readdirSync(folder)) if (!kept.has(file)) rmSync(join(folder, file))

cpSync("src/http/page/assets", "dist/http/page/assets", { recursive: true })
