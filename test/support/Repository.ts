import { readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** The repository's root. */
export const root = fileURLToPath(new URL("../..", import.meta.url))

export const read = (file: string): string => readFileSync(path.join(root, file), "utf8")

// Read from the file, not asked of git: the tests also run in an unpacked archive.
const patterns = read(".gitignore").split("\n")
const ignored = new Set([".git", ...patterns.flatMap((line) => line.match(/^([\w.-]+)\/$/)?.[1] ?? [])])
const ignoredEndings = patterns.flatMap((line) => line.match(/^\*(\.\w+)$/)?.[1] ?? [])

/** The repository's own files below `folder`, as paths from the root with `/`; what git ignores is left out. */
export const files = (folder = ""): ReadonlyArray<string> =>
  readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name)
    if (ignored.has(entry.name) || ignoredEndings.some((ending) => entry.name.endsWith(ending))) return []
    return entry.isDirectory() ? files(name) : [name]
  })
