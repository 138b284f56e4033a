import { createRequire } from "node:module"
import { FileSystem, HttpLayerRouter, HttpServerResponse, Path } from "@effect/platform"
import { Effect, Layer } from "effect"
import * as Exchange from "../Exchange.ts"
import * as Hosts from "../Hosts.ts"

export interface PageOptions {
  /** With `offline` the page says that no language model answers. */
  readonly model: string
}

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml"
}

/** Scripts and styles are our own files, and text from people can become neither. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join("; ")

const headers = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-cache"
}

/** The page's files: those beside the sources, else the build's copies in `dist`. */
const folder = Effect.gen(function* () {
  const path = yield* Path.Path
  const root = path.dirname(createRequire(import.meta.url).resolve("taskchat/package.json"))
  return path.join(root, import.meta.url.endsWith(".ts") ? "src" : "dist", "http", "page", "assets")
})

/** A chat page at `/`, and its files under `/page/`. It uses only the public API. */
export const layer = ({ model }: PageOptions) =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const from = yield* folder
      const names = yield* fs.readDirectory(from)
      const routes = yield* Effect.forEach(names, (name) =>
        Effect.map(fs.readFileString(path.join(from, name)), (text) =>
          HttpLayerRouter.add(
            "GET",
            name === "index.html" ? "/" : `/page/${name}`,
            HttpServerResponse.text(text.replace("{{model}}", model), {
              headers,
              contentType: types[path.extname(name)] ?? "text/plain"
            })
          )
        )
      )
      return Layer.mergeAll(Layer.empty, ...routes)
    }).pipe(Effect.orDie)
  ).pipe(Layer.provide(Hosts.guard.combine(Exchange.middleware).layer))
