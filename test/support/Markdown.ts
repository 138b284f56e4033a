/** A fenced block of a Markdown page. */
export interface Block {
  readonly language: string
  readonly text: string
  /** Where its text begins, counted from 1. */
  readonly line: number
}

/** The fenced blocks of a page, in order. One that is never closed is an error. */
export const blocks = (markdown: string): ReadonlyArray<Block> => {
  const found: Array<Block> = []
  let open: { readonly fence: string; readonly language: string; readonly line: number } | undefined
  const lines = markdown.split("\n")
  lines.forEach((line, index) => {
    const fence = /^(`{3,}|~{3,})\s*(\S*)/.exec(line)
    if (open === undefined) {
      if (fence?.[1] !== undefined) open = { fence: fence[1], language: fence[2] ?? "", line: index + 2 }
    } else if (line.trimEnd() === open.fence) {
      found.push({ language: open.language, text: lines.slice(open.line - 1, index).join("\n"), line: open.line })
      open = undefined
    }
  })
  if (open !== undefined) throw new Error(`the block at line ${open.line} is never closed`)
  return found
}

/** What a page links to, fragments and other sites left out. */
export const links = (markdown: string): ReadonlyArray<string> =>
  Array.from(markdown.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g), (match) => match[1] ?? "").filter(
    (target) => !/^[a-z]+:/.test(target)
  )
