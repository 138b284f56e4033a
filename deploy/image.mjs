/**
 * Makes `dist/database.tar.br`: a migrated embedded database, which every new one begins as (`src/sql/Embedded.ts`), as PGlite
 * takes seconds to create one. Run by `npm run bundle`, with the program that it made; does nothing while neither the
 * migrations nor PGlite have changed.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { brotliCompressSync, constants } from "node:zlib"
import { PGlite } from "@electric-sql/pglite"

const file = "dist/database.tar.br"
const migrations = "src/sql/migrations"

/** An entry of an archive in the form "ustar"; without content, a directory. */
const entry = (name, content) => {
  const header = Buffer.alloc(512)
  const octal = (value, at, digits) => header.write(value.toString(8).padStart(digits, "0"), at)
  header.write(name)
  octal(content === undefined ? 0o700 : 0o600, 100, 7)
  octal(0, 108, 7)
  octal(0, 116, 7)
  octal(content?.length ?? 0, 124, 11)
  octal(0, 136, 11)
  header.write(content === undefined ? "5" : "0", 156)
  header.write("ustar\0" + "00", 257)
  // The sum is made with spaces in its place.
  header.fill(" ", 148, 156)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    6
  )
  header[154] = 0
  const padding = Buffer.alloc((512 - ((content?.length ?? 0) % 512)) % 512)
  return Buffer.concat([header, content ?? Buffer.alloc(0), padding])
}

const archive = (folder) => {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).map((found) => ({
    path: join(found.parentPath, found.name),
    isFolder: found.isDirectory()
  }))
  const nameOf = (path) => relative(folder, path).replaceAll("\\", "/")
  // PGlite takes a folder with this file for a database: it comes last, so that a cut start begins anew.
  const isLast = ({ path }) => nameOf(path) === "PG_VERSION"
  const ordered = [...found.filter((one) => !isLast(one)), ...found.filter(isLast)]
  const entries = ordered.map(({ isFolder, path }) => entry(nameOf(path), isFolder ? undefined : readFileSync(path)))
  return Buffer.concat([...entries, Buffer.alloc(1024)])
}

const make = async (folder) => {
  // Without V8's optimising compiler, which does not pay for the seconds that this takes.
  execFileSync(process.execPath, ["--liftoff-only", "dist/bin/main.js", "migrate"], {
    stdio: "pipe",
    env: { DATA_DIR: folder }
  })
  // A secret has to be drawn for each copy (`src/sql/Sql.ts`).
  const db = await PGlite.create(join(folder, "postgres"))
  await db.exec("DELETE FROM erased_usage_key")
  await db.close()
  return brotliCompressSync(archive(join(folder, "postgres")), {
    params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 24 }
  })
}

const changed = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
const sources = readdirSync(migrations).map((name) => join(migrations, name))
sources.push("node_modules/@electric-sql/pglite/package.json")

if (sources.some((source) => changed(source) > changed(file))) {
  const folder = mkdtempSync(join(tmpdir(), "taskchat-image-"))
  try {
    const aside = `${file}.${process.pid}`
    writeFileSync(aside, await make(folder))
    renameSync(aside, file)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
