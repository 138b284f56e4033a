import { readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** The repository's root. */
export const root = fileURLToPath(new URL("../..", import.meta.url))

export const read = (file: string): string => readFileSync(path.join(root, file), "utf8")

// Read from the file, because the tests also run in an unpacked archive without git.
const patterns = read(".gitignore").split("\n")
const ignored = new Set([".git", ...patterns.flatMap((line) => line.match(/^([\w.-]+)\/$/)?.[1] ?? [])])
const ignoredEndings = patterns.flatMap((line) => line.match(/^\*(\.\w+)$/)?.[1] ?? [])

/** The files of the repository below `folder`, as paths from the root with `/`, without ignored files. */
export const files = (folder = ""): ReadonlyArray<string> =>
  readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name)
    if (ignored.has(entry.name) || ignoredEndings.some((ending) => entry.name.endsWith(ending))) return []
    return entry.isDirectory() ? files(name) : [name]
  })
