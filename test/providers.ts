/** Writes the table of providers and features in docs/models.md anew: `npm run providers`. */
import { readFileSync, writeFileSync } from "node:fs"
import { withTables } from "./support/ModelMatrix.ts"

const file = new URL("../docs/models.md", import.meta.url)
writeFileSync(file, withTables(readFileSync(file, "utf8")))
