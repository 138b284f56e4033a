import { type Block, blocks } from "./Markdown.ts"
import { files, read } from "./Repository.ts"

export interface Document {
  /** Relative to the repository's root. */
  readonly file: string
  readonly text: string
  readonly blocks: ReadonlyArray<Block>
}

/** Every page of the documentation. */
export const documents: ReadonlyArray<Document> = files()
  .filter((file) => file.endsWith(".md"))
  .map((file) => ({ file, text: read(file), blocks: blocks(read(file)) }))

export const documentOf = (file: string): Document => {
  const found = documents.find((document) => document.file === file)
  if (found === undefined) throw new Error(`there is no ${file}`)
  return found
}

/** The shown output of a script: the next block, if it is a block of output. */
export const answerTo = ({ blocks }: Document, script: Block): Block | undefined => {
  const next = blocks[blocks.indexOf(script) + 1]
  return next !== undefined && ["json", "text"].includes(next.language) ? next : undefined
}

const template = "test/docs/Embedded.test.ts runs the template, and this request, in a copy of its own"
const docker = "it needs Docker; test/e2e/Package.test.ts runs the image's commands without"
const settings = "it is for Docker Compose; test/docs/Deploy.test.ts reads the file"
const kubernetes = "it needs a cluster; test/docs/Deploy.test.ts checks the file"
const systemd = "it changes the machine; test/docs/Deploy.test.ts checks the unit"

/**
 * Commands in the documents that `test/docs/Commands.test.ts` does not run, with the reasons. All are scripts of
 * package.json or files.
 */
export const notRun: ReadonlyMap<string, string> = new Map([
  ["npm test", "it would run itself; .ci/run runs it twice"],
  ["npm run test:stock", "it would run tests within tests; .ci/run runs it"],
  ["npm run test:browser", "it needs a browser; .ci/run runs it"],
  ["npm run check", "it takes minutes; .ci/run runs each of its parts"],
  ["npm run format", "it would change the files under test"],
  ["npm run dev", "it does not end"],
  ["npm run docs:openapi", "it would change the files under test; check:docs compares what it writes"],
  ["npm run cluster", "it needs nginx; test/e2e/Cluster.test.ts runs the same three nodes"],
  ["npm run chaos", "it takes a quarter of an hour; test/e2e/Cluster.test.ts runs its scenarios in short"],
  ["npm run fuzz", "it takes minutes; test/api/Fuzz.test.ts sends some hundred of the requests"],
  ["npm run conformance", "it takes minutes and fetches Node.js"],
  ["npm run test:nodes", "it runs the tests twice and fetches Node.js"],
  ["npm run bench", "it takes a quarter of an hour; .ci/run runs one of its figures"],
  [".ci/run", "it would run itself"],
  ["cp -r examples/embedded my-app", template],
  ["npm pack --pack-destination my-app", template],
  ["cd my-app", template],
  ["npm install", template],
  ["npm run start", template],
  [
    `curl -s http://127.0.0.1:3000/assistant/api/me/chat -H "Cookie: session=ada" -H "Content-Type: application/json" -d '{ "message": "Add milk" }'`,
    template
  ],
  ["docker compose --file deploy/compose.yaml up --build --detach --wait", docker],
  ["docker compose --file deploy/compose.yaml exec taskchat node /app/dist/bin/main.js token --user 1", docker],
  ["docker build --file deploy/Dockerfile --tag taskchat:0.1.0 .", docker],
  ["cp deploy/.env.example deploy/.env", settings],
  ['echo "POSTGRES_PASSWORD=$(openssl rand -hex 24)" >> deploy/.env', settings],
  ['echo "JWT_SECRET=$(openssl rand -hex 32)" >> deploy/.env', settings],
  ["kubectl create secret generic taskchat --from-file=database-url --from-file=jwt-secret", kubernetes],
  ["kubectl apply --filename deploy/kubernetes.yaml", kubernetes],
  ["kubectl rollout status deployment/taskchat", kubernetes],
  ["npm install --prefix /opt/taskchat --omit=dev ./taskchat-0.1.0.tgz", systemd],
  ["install -d -m 0700 /etc/taskchat", systemd],
  ["install -m 0600 database-url jwt-secret /etc/taskchat/", systemd],
  ["install -m 0600 deploy/.env.example /etc/taskchat/environment", systemd],
  ["install -m 0644 deploy/taskchat.service /etc/systemd/system/", systemd],
  ["systemctl enable --now taskchat", systemd]
])
