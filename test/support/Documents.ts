import { type Block, blocks } from "./Markdown.ts"
import { files, read } from "./Repository.ts"

export interface Document {
  /** From the repository's root. */
  readonly file: string
  readonly text: string
  readonly blocks: ReadonlyArray<Block>
}

/** Every page that people read. */
export const documents: ReadonlyArray<Document> = files()
  .filter((file) => file.endsWith(".md"))
  .map((file) => ({ file, text: read(file), blocks: blocks(read(file)) }))

export const documentOf = (file: string): Document => {
  const found = documents.find((document) => document.file === file)
  if (found === undefined) throw new Error(`there is no ${file}`)
  return found
}

/** What is shown as the answer to a script: the next block, if it is one of output. */
export const answerTo = ({ blocks }: Document, script: Block): Block | undefined => {
  const next = blocks[blocks.indexOf(script) + 1]
  return next !== undefined && ["json", "text"].includes(next.language) ? next : undefined
}

/**
 * Commands that the documents show and `test/docs/Commands.test.ts` does not run, each with the reason. All of them are scripts
 * of package.json, or files.
 */
export const notRun: ReadonlyMap<string, string> = new Map([
  ["npm test", "it would run itself; .ci/run runs it twice"],
  ["npm run test:browser", "it needs a browser; .ci/run runs it"],
  ["npm run check", "it takes minutes; .ci/run runs each of its parts"],
  ["npm run format", "it would change the files under test"],
  ["npm run dev", "it does not end"],
  ["npm run docs:openapi", "it would change the files under test; check:docs compares what it writes"],
  ["npm run cluster", "it needs nginx; test/e2e/Cluster.test.ts runs the same three nodes"],
  ["npm run chaos", "it takes a quarter of an hour; test/e2e/Cluster.test.ts runs its scenarios in short"],
  ["npm run conformance", "it takes minutes and fetches Node.js"],
  ["npm run test:nodes", "it runs the tests twice and fetches Node.js"],
  ["npm run bench", "it takes a quarter of an hour; .ci/run runs one of its figures"],
  [".ci/run", "it would run itself"]
])
