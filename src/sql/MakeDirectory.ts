import { mkdir } from "node:fs/promises"
import { dirname } from "node:path"
import { Predicate } from "effect"

/**
 * Creates a directory for its owner only, with its parents, unless it exists. Node's own recursion never ends on a file
 * system that allows no directories, such as `/proc`.
 */
export const makeDirectory = async (directory: string): Promise<void> => {
  const make = () =>
    mkdir(directory, { mode: 0o700 }).catch((error) => {
      if (!isCode(error, "EEXIST")) throw error
    })
  try {
    await make()
  } catch (error) {
    if (!isCode(error, "ENOENT") || dirname(directory) === directory) throw error
    await makeDirectory(dirname(directory))
    await make()
  }
}

const isCode = (error: unknown, code: string) => Predicate.hasProperty(error, "code") && error.code === code
