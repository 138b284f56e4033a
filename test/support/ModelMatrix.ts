import * as Anthropic from "../models/providers/Anthropic.ts"
import * as Azure from "../models/providers/Azure.ts"
import * as Cohere from "../models/providers/Cohere.ts"
import * as DeepSeek from "../models/providers/DeepSeek.ts"
import * as Gateways from "../models/providers/Gateways.ts"
import * as Gemini from "../models/providers/Gemini.ts"
import * as Groq from "../models/providers/Groq.ts"
import * as LiteLlm from "../models/providers/LiteLlm.ts"
import * as LlamaCpp from "../models/providers/LlamaCpp.ts"
import * as LmStudio from "../models/providers/LmStudio.ts"
import * as Mistral from "../models/providers/Mistral.ts"
import * as Ollama from "../models/providers/Ollama.ts"
import * as OpenAi from "../models/providers/OpenAi.ts"
import * as OpenRouter from "../models/providers/OpenRouter.ts"
import * as Sglang from "../models/providers/Sglang.ts"
import * as Vllm from "../models/providers/Vllm.ts"
import { features, featuresOf, type Provider } from "./ModelCases.ts"

export const providers: ReadonlyArray<Provider> = [
  OpenAi,
  Anthropic,
  Azure,
  Cohere,
  DeepSeek,
  Gemini,
  Groq,
  LiteLlm,
  LlamaCpp,
  LmStudio,
  Mistral,
  Ollama,
  OpenRouter,
  Sglang,
  Vllm,
  Gateways
].map(({ provider }) => provider)

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const [first = []] = rows
  const widths = first.map((_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)))
  const [head, ...others] = rows.map(
    (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`
  )
  return [head, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...others].join("\n")
}

/** The number of cases per provider and feature. */
const matrix = () =>
  table([
    ["provider", ...features, "expects reasoning back"],
    ...providers.map(({ cases, echoes, name }) => {
      const shown = cases.map(featuresOf)
      return [
        name,
        ...features.map((feature) => String(shown.filter((features) => features.has(feature)).length || "–")),
        echoes === undefined ? "–" : echoes === "turn" ? "in the turn" : "also in later turns"
      ]
    })
  ])

const settings = () =>
  table([["provider", "settings", "notes"], ...providers.map(({ name, notes, settings }) => [name, settings, notes])])

const begin = "<!-- providers: written by npm run providers -->\n\n"
const end = "\n\n<!-- end of providers -->"

const withTable = (document: string, table: string): string =>
  `${document.slice(0, document.indexOf(begin) + begin.length)}${table}${document.slice(document.indexOf(end))}`

/** The documents with their tables. */
export const written: ReadonlyArray<readonly [file: string, write: (document: string) => string]> = [
  ["docs/models.md", (document) => withTable(document, matrix())],
  ["README.md", (document) => withTable(document, settings())]
]
