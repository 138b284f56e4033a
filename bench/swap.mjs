/**
 * Puts the library's pieces in the place of those in `src/runtime` that `BENCH_STOCK` names, such as `HttpServer,Codec`.
 * Loaded into a server with `--import`.
 */
import { register } from "node:module"

const names = (process.env.BENCH_STOCK ?? "").split(",").filter((name) => name !== "")
const hooks = `
  const pieces = new Map(${JSON.stringify(names.map((name) => [`/runtime/${name}.js`, new URL(`stock/${name}.mjs`, import.meta.url).href]))})
  export const resolve = async (specifier, context, next) => {
    const found = await next(specifier, context)
    if (context.parentURL?.includes("/bench/stock/")) return found
    for (const [end, url] of pieces) if (found.url.endsWith(end)) return { url, shortCircuit: true }
    return found
  }`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)
