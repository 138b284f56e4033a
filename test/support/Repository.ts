import { readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** The repository's root. */
export const root = fileURLToPath(new URL("../..", import.meta.url))

export const read = (file: string): string => readFileSync(path.join(root, file), "utf8")

// Not asked of git, so that the tests run in an unpacked archive too.
const ignored = new Set([
  ".git",
  ...read(".gitignore")
    .split("\n")
    .flatMap((line) => line.match(/^([\w.-]+)\/$/)?.[1] ?? [])
])

/** The repository's own files below `folder`, as paths from the root with `/`; what git ignores is left out. */
export const files = (folder = ""): ReadonlyArray<string> =>
  readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name)
    if (ignored.has(entry.name)) return []
    return entry.isDirectory() ? files(name) : [name]
  })
