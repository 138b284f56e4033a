import { readFileSync } from "node:fs"
import type { ConnectionOptions } from "node:tls"
import type Pg from "pg"

/**
 * Reads a `postgres://` URL like PostgreSQL's own client. The driver's parser differs in `sslmode`, prints warnings,
 * and accepts no IPv6 address. Throws an `Error` that does not repeat the URL.
 */
export const read = (text: string): Pg.ClientConfig => {
  // A URL with credentials but no host does not parse; the host is then a parameter.
  const url = new URL(text.replace(/^([a-z]+:\/\/[^/?]*@)(?=[/?]|$)/, "$1localhost"))
  const hasNoHost = /^[a-z]+:\/\/(?:[^/?]*@)?(?=[/?]|$)/.test(text)
  const { searchParams } = url
  const parameter = (name: string) => searchParams.get(name) ?? undefined
  const part = (given: string) => (given === "" ? undefined : decodeURIComponent(given))
  const given = {
    host: parameter("host") ?? (hasNoHost ? undefined : part(url.hostname.replace(/^\[(.*)\]$/, "$1"))),
    port: Number(parameter("port") ?? url.port) || undefined,
    user: parameter("user") ?? part(url.username),
    password: parameter("password") ?? part(url.password),
    database: parameter("dbname") ?? part(url.pathname.slice(1)),
    application_name: parameter("application_name"),
    options: parameter("options"),
    ssl: sslOf(searchParams)
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

const modes = ["disable", "require", "verify-ca", "verify-full"] as const

/** Without `sslmode` nothing is encrypted. */
const sslOf = (parameters: URLSearchParams): ConnectionOptions | false => {
  const asked = parameters.get("sslmode") ?? "disable"
  // The driver's name for PostgreSQL's "require".
  const mode = modes.find((one) => one === (asked === "no-verify" ? "require" : asked))
  if (mode === undefined) throw new Error(`its sslmode should be one of ${modes.join(", ")}`)
  if (mode === "disable") return false
  const files = { ca: "sslrootcert", cert: "sslcert", key: "sslkey" } as const
  const root = parameters.get(files.ca)
  const pems = Object.entries(files).flatMap(([option, name]) => {
    const file = parameters.get(name)
    // "system" is the default of Node.js.
    return file === null || (name === files.ca && file === "system") ? [] : [[option, pemIn(file, name)] as const]
  })
  if (mode === "verify-ca" && root === null) {
    throw new Error("its sslmode verify-ca needs the authority's certificate: add sslrootcert=FILE, or use verify-full")
  }
  return {
    ...Object.fromEntries(pems),
    // Encrypted only. With an authority, the same as "verify-ca".
    ...(mode === "require" && root === null && { rejectUnauthorized: false }),
    ...(mode !== "verify-full" && { checkServerIdentity: () => undefined })
  }
}

const pemIn = (file: string, parameter: string) => {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    throw new Error(`its ${parameter} cannot be read: ${error instanceof Error ? error.message : "unknown"}`)
  }
}
