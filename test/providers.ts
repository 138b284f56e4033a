/** Updates the tables of providers in docs/models.md and README.md: `npm run providers`. */
import { readFileSync, writeFileSync } from "node:fs"
import { written } from "./support/ModelMatrix.ts"

for (const [name, write] of written) {
  const file = new URL(`../${name}`, import.meta.url)
  writeFileSync(file, write(readFileSync(file, "utf8")))
}
