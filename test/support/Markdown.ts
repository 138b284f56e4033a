/** A fenced block of a Markdown page. */
export interface Block {
  readonly language: string
  readonly text: string
  /** The first line of its text, from 1. */
  readonly line: number
}

/** A link to another page or to a heading of this page. */
export interface Link {
  /** A path relative to the page; empty for the page itself. */
  readonly target: string
  /** A heading's anchor; empty for the whole page. */
  readonly fragment: string
}

interface Fence {
  readonly indent: number
  readonly mark: string
  readonly language: string
  readonly line: number
}

/** The fenced blocks of a page, in order, and the lines that are in none. A block that is never closed is an error. */
const split = (markdown: string): { readonly blocks: ReadonlyArray<Block>; readonly prose: ReadonlyArray<string> } => {
  const found: Array<Block> = []
  const prose: Array<string> = []
  let open: Fence | undefined
  const lines = markdown.split("\n")
  lines.forEach((line, index) => {
    if (open === undefined) {
      const [, indent = "", mark, language = ""] = /^( *)(`{3,}|~{3,})\s*(\S*)/.exec(line) ?? []
      if (mark !== undefined) open = { indent: indent.length, mark, language, line: index + 2 }
      else prose.push(line)
    } else if (line.trim() === open.mark) {
      const { indent, language, line: first } = open
      const text = lines.slice(first - 1, index).map((inside) => inside.slice(indent))
      found.push({ language, text: text.join("\n"), line: first })
      open = undefined
    }
  })
  if (open !== undefined) throw new Error(`the block at line ${open.line} is never closed`)
  return { blocks: found, prose }
}

/** The fenced blocks of a page, within lists too, in order. One that is never closed is an error. */
export const blocks = (markdown: string): ReadonlyArray<Block> => split(markdown).blocks

/** The links of a page, without other sites. */
export const links = (markdown: string): ReadonlyArray<Link> =>
  split(markdown).prose.flatMap((line) =>
    Array.from(line.matchAll(/\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g), ([, target = "", fragment = ""]) => ({
      target,
      fragment
    })).filter(({ target }) => !/^[a-z]+:/.test(target))
  )

/** The anchors of a page's headings, as GitHub makes them. */
export const anchors = (markdown: string): ReadonlyArray<string> => {
  const seen = new Map<string, number>()
  return split(markdown).prose.flatMap((line) => {
    const [, title] = /^#{1,6} +(.*?)\s*$/.exec(line) ?? []
    if (title === undefined) return []
    const slug = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
      .replaceAll(" ", "-")
    const before = seen.get(slug) ?? 0
    seen.set(slug, before + 1)
    return [before === 0 ? slug : `${slug}-${before}`]
  })
}

/** The cells of all table rows, without heads and rules. */
export const rows = (markdown: string): ReadonlyArray<ReadonlyArray<string>> => {
  const { prose } = split(markdown)
  const isRow = (line: string | undefined) => line?.startsWith("|") === true
  const isRule = (line: string | undefined) => /^[|:\s-]+$/.test(line ?? "") && isRow(line)
  return prose.flatMap((line, index) =>
    isRow(line) && !isRule(line) && !isRule(prose[index + 1])
      ? [
          line
            .split("|")
            .slice(1, -1)
            .map((cell) => cell.trim())
        ]
      : []
  )
}

/** The texts between backticks. */
export const code = (text: string): ReadonlyArray<string> =>
  Array.from(text.matchAll(/`([^`]+)`/g), ([, it = ""]) => it)
