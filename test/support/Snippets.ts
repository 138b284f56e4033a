import * as path from "node:path"
import ts from "typescript"
import { root } from "./Repository.ts"

/**
 * What the compiler says against each text, under the repository's own settings and as if the text stood in a file at
 * its root. All are compiled at once, as most of the time goes into what they import.
 */
export const diagnostics = (snippets: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const { config } = ts.readConfigFile(path.join(root, "tsconfig.json"), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, { ...ts.sys, readDirectory: () => [] }, root)
  const texts = new Map(snippets.map((text, index) => [path.join(root, `snippet-${index + 1}.ts`), text]))
  const host = ts.createCompilerHost(options, true)
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (file) => texts.has(file) || fileExists(file)
  host.readFile = (file) => texts.get(file) ?? readFile(file)
  host.getSourceFile = (file, language, ...rest) => {
    const text = texts.get(file)
    return text === undefined ? getSourceFile(file, language, ...rest) : ts.createSourceFile(file, text, language, true)
  }
  const program = ts.createProgram(Array.from(texts.keys()), options, host)
  return Array.from(texts.keys(), (file) =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))
  )
}
