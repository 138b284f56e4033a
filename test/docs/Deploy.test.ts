import { spawnSync } from "node:child_process"
import { copyFileSync, readFileSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Schema } from "effect"
import { Api } from "taskchat"
import * as Yaml from "yaml"
import * as Settings from "../../src/Config.ts"
import { secrets } from "../../src/ConfigReaders.ts"
import { documentOf } from "../support/Documents.ts"
import { code, rows } from "../support/Markdown.ts"
import * as Prometheus from "../support/Prometheus.ts"
import { files, read, root } from "../support/Repository.ts"
import { temporaryFolder } from "../support/Shell.ts"
import { diagnostics } from "../support/Snippets.ts"

const known = new Set([
  ...rows(documentOf("README.md").text).flatMap(([names = ""]) =>
    code(names).filter((name) => /^[A-Z][A-Z_]+$/.test(name))
  ),
  // The telemetry library reads it by itself.
  "OTEL_RESOURCE_ATTRIBUTES"
])
const isKnown = (name: string) => known.has(name) || secrets.some((secret) => `${secret}_FILE` === name)

const settings = (variables: Readonly<Record<string, string>>) =>
  Effect.runSync(
    Effect.withConfigProvider(
      Settings.settings,
      ConfigProvider.fromMap(new Map(Object.entries(variables)), { pathDelim: "." })
    )
  )

/** Seconds that a node needs to stop in order, by its defaults; docs/operating.md says why. */
const secondsToStop = 5 + Duration.toSeconds(settings({}).server.shutdownGrace) + 15

const paths: ReadonlyArray<string> = Object.values(Api.groups).flatMap((group) =>
  Object.values(group.endpoints).map((endpoint) => endpoint.path)
)

const has = (program: string) => spawnSync(program, ["--version"]).status === 0

describe("deploy/", () => {
  it("has only files that these tests check", () => {
    assert.deepStrictEqual(
      files("deploy").map((file) => path.basename(file)),
      [
        ".env.example",
        "Dockerfile", // test/e2e/Package.test.ts runs its commands
        "Dockerfile.dockerignore",
        "README.md",
        "bundle.mjs", // the same
        "compose.yaml",
        "grafana-dashboard.json",
        "image.mjs", // the same
        "kubernetes.yaml",
        "prometheus-rules.yaml",
        "prometheus-rules.test.yaml",
        "taskchat.service"
      ].sort()
    )
  })
})

describe("deploy/.env.example", () => {
  const lines = read("deploy/.env.example").split("\n")
  const given = lines.flatMap((line) => {
    const [, name, value] = /^# ([A-Z_]+)=(.*)$/.exec(line) ?? []
    return name === undefined || value === undefined ? [] : [[name, value] as const]
  })

  it("has every variable of the program, once, and no other", () => {
    assert.deepStrictEqual(given.map(([name]) => name).sort(), [...known].sort())
    // What is no variable is a comment.
    assert.isTrue(lines.every((line) => line === "" || line.startsWith("# ")))
  })

  it.each(given)("%s=%s is accepted", (name, value) => {
    const others: Record<string, string> = {
      ...(name === "PAGE" && { PUBLIC_URL: "https://tasks.example.com" }),
      ...(name === "JWT_ALGORITHMS" && { JWT_JWKS_URL: "https://issuer.example.com/keys" }),
      ...(name === "MODEL_PROVIDER" && { OPENAI_API_KEY: "sk-example" }),
      ...(name === "MODEL_FALLBACK" && { OPENAI_API_KEY: "sk-example", ANTHROPIC_API_KEY: "sk-ant-example" })
    }
    settings({ ...others, [name]: value })
  })

  it("has the right defaults", () => {
    const defaults = rows(documentOf("README.md").text).flatMap(([names = "", values = ""]) => {
      const [variables, told] = [code(names), code(values)]
      return variables.length === told.length && variables.every(isKnown)
        ? variables.map((name, i) => [name, told[i]] as const)
        : []
    })
    assert.isAtLeast(defaults.length, 10)
    for (const [name, value] of defaults) assert.strictEqual(new Map(given).get(name), value, name)
  })

  it("names the secrets that can be read from files", () => {
    const text = lines.join(" ").replaceAll(/# /g, "")
    for (const name of secrets) assert.include(text.slice(0, text.indexOf("HOST=")), name)
  })
})

const Compose = Schema.Struct({
  services: Schema.Record({
    key: Schema.String,
    value: Schema.Struct({
      build: Schema.optional(Schema.Struct({ context: Schema.String, dockerfile: Schema.String })),
      image: Schema.String,
      environment: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), {
        default: () => ({})
      }),
      depends_on: Schema.optionalWith(
        Schema.Record({ key: Schema.String, value: Schema.Struct({ condition: Schema.Literal("service_healthy") }) }),
        { default: () => ({}) }
      ),
      healthcheck: Schema.optional(Schema.Struct({ test: Schema.Array(Schema.String) })),
      stop_grace_period: Schema.optional(Schema.String),
      restart: Schema.Literal("unless-stopped"),
      volumes: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
    })
  }),
  volumes: Schema.Record({ key: Schema.String, value: Schema.Null })
})

describe("deploy/compose.yaml", () => {
  const text = read("deploy/compose.yaml")
  const { services, volumes } = Schema.decodeUnknownSync(Compose)(Yaml.parse(text))

  it("starts the service when its dependencies are healthy, and gives it time to stop", () => {
    const { taskchat } = services
    assert.deepStrictEqual(Object.keys(services), ["taskchat", "postgres", "redis"])
    assert.strictEqual(path.join("deploy", taskchat?.build?.context ?? ""), ".")
    assert.include(files("deploy"), taskchat?.build?.dockerfile)
    assert.deepStrictEqual(Object.keys(taskchat?.depends_on ?? {}), ["postgres", "redis"])
    for (const name of ["postgres", "redis"]) assert.isNotEmpty(services[name]?.healthcheck?.test, name)
    assert.isAtLeast(Number(/^(\d+)s$/.exec(taskchat?.stop_grace_period ?? "")?.[1]), secondsToStop)
    assert.strictEqual(taskchat?.image, `taskchat:${JSON.parse(read("package.json")).version}`)
  })

  it("sets only settings of the program, to accepted values", () => {
    const { environment = {} } = services["taskchat"] ?? {}
    assert.deepStrictEqual(
      Object.keys(environment).filter((name) => !isKnown(name)),
      []
    )
    settings(
      Object.fromEntries(
        Object.entries(environment).map(([name, value]) => [name, value.replace(/\$\{[^}]*\}/g, "abc")])
      )
    )
    const asked = Array.from(text.matchAll(/\$\{(\w+)/g), ([, name]) => name)
    assert.deepStrictEqual([...new Set(asked)], ["POSTGRES_PASSWORD"])
  })

  it("declares the volumes that it uses", () => {
    const used = Object.values(services).flatMap(({ volumes }) => volumes.map((volume) => volume.split(":")[0]))
    assert.deepStrictEqual(used, Object.keys(volumes))
  })
})

describe("deploy/kubernetes.yaml", () => {
  const text = read("deploy/kubernetes.yaml")
  const documents = Yaml.parseAllDocuments(text).map((document) => {
    assert.deepStrictEqual(document.errors, [])
    return document.toJS()
  })
  const [config, deployment, service, budget] = documents
  const { spec } = deployment.spec.template
  const [container] = spec.containers

  it.effect(
    "matches Kubernetes' own types",
    () =>
      Effect.gen(function* () {
        const kinds: Record<string, string> = {
          ConfigMap: "core/v1",
          Service: "core/v1",
          Deployment: "apps/v1",
          PodDisruptionBudget: "policy/v1"
        }
        const typed = (document: { readonly kind: string }) =>
          `import type { ${document.kind} } from "kubernetes-types/${kinds[document.kind]}.d.ts"\nexport const it: ${document.kind} = ${JSON.stringify(document)}`
        const wrong = { ...deployment, spec: { ...deployment.spec, replica: 2 } }
        const [last, ...found] = yield* diagnostics([typed(wrong), ...documents.map(typed)])
        assert.lengthOf(last ?? [], 1)
        assert.deepStrictEqual(found.flat(), [])
      }),
    300_000
  )

  it("gives a node time to stop, and takes it out of service before it refuses", () => {
    assert.isAtLeast(spec.terminationGracePeriodSeconds, secondsToStop)
    const { failureThreshold, periodSeconds } = container.readinessProbe
    assert.isBelow(failureThreshold * periodSeconds, 5)
    assert.strictEqual(deployment.spec.strategy.rollingUpdate.maxUnavailable, 0)
  })

  it("uses existing paths for its probes", () => {
    for (const [probe, path] of [
      ["startupProbe", "/health"],
      ["readinessProbe", "/ready"],
      ["livenessProbe", "/health"]
    ] as const) {
      assert.strictEqual(container[probe].httpGet.path, path)
      assert.include(paths, path)
    }
    assert.include(paths, deployment.spec.template.metadata.annotations["prometheus.io/path"])
    const [{ containerPort, name }] = container.ports
    assert.deepStrictEqual([containerPort, service.spec.ports[0].targetPort], [settings({}).server.port, name])
  })

  it("sets only settings of the program, to accepted values, and reads the secrets from their mounts", () => {
    settings(config.data)
    const names = [...Object.keys(config.data), ...container.env.map(({ name }: { readonly name: string }) => name)]
    assert.deepStrictEqual(
      names.filter((name) => !isKnown(name)),
      []
    )
    const [mount] = container.volumeMounts
    for (const { value } of container.env) assert.isTrue(value.startsWith(`${mount.mountPath}/`), value)
    assert.strictEqual(spec.volumes[0].name, mount.name)
  })

  it("has matching labels, limits and no privileges", () => {
    const { labels } = deployment.spec.template.metadata
    for (const selector of [
      deployment.spec.selector.matchLabels,
      service.spec.selector,
      budget.spec.selector.matchLabels
    ]) {
      assert.deepStrictEqual(selector, labels)
    }
    assert.deepStrictEqual(Object.keys(container.resources), ["requests", "limits"])
    assert.isTrue(spec.securityContext.runAsNonRoot && container.securityContext.readOnlyRootFilesystem)
    assert.strictEqual(container.image, `taskchat:${JSON.parse(read("package.json")).version}`)
  })
})

describe("deploy/taskchat.service", () => {
  const unit = read("deploy/taskchat.service")
  const valuesOf = (name: string) =>
    Array.from(unit.matchAll(new RegExp(`^${name}=(.*)$`, "gm")), ([, value = ""]) => value)

  it("sets only settings of the program, and gives it time to stop", () => {
    const names = valuesOf("Environment").map((value) => value.split("=")[0] ?? "")
    assert.deepStrictEqual(
      names.filter((name) => !isKnown(name)),
      ["NODE_ENV"]
    )
    // Each secret that is loaded is read, and the other way round.
    const loaded = valuesOf("LoadCredential").map((value) => value.split(":")[0])
    const read = valuesOf("Environment").flatMap((value) => /=%d\/(.*)$/.exec(value)?.[1] ?? [])
    assert.deepStrictEqual(read, loaded)
    assert.isAtLeast(Number(valuesOf("TimeoutStopSec")[0]), secondsToStop)
    const { bin }: { readonly bin: { readonly taskchat: string } } = JSON.parse(
      readFileSync(path.join(root, "package.json"), "utf8")
    )
    assert.include(valuesOf("ExecStart")[0], `/node_modules/taskchat/${bin.taskchat} serve`)
  })

  it.scoped.skipIf(!has("systemd-analyze"))("is a valid unit for systemd", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const verify = (text: string) => {
        const file = path.join(folder, "taskchat.service")
        writeFileSync(file, text.replace("/usr/bin/node", process.execPath))
        const { status, stderr } = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" })
        return { status, lines: stderr.split("\n").filter((line) => line.includes(file)) }
      }
      assert.deepStrictEqual(verify(unit), { status: 0, lines: [] })
      assert.isNotEmpty(verify(unit.replace("Restart=always", "Restart=perhaps")).lines)
    })
  )
})

/** The labels of each metric, by its name, as the documents have them. */
const metrics = new Map(
  rows(documentOf("docs/operating.md").text).flatMap(([names = "", labels = ""]) =>
    code(names)
      .filter((name) => /^taskchat_[a-z_]+$/.test(name))
      .map((name) => [name, code(labels)] as const)
  )
)
/** What Prometheus adds. */
const added = ["instance", "job", "le"]

/** What of an expression there is not. */
const unknownIn = (expression: string) => {
  const used = Array.from(expression.matchAll(/\btaskchat_[a-z_]+/g), ([name]) =>
    name.replace(/_(?:bucket|count|sum)$/, "")
  )
  const labels = [
    ...Array.from(expression.matchAll(/[{,]\s*(\w+)\s*=?[=~!]/g), ([, label = ""]) => label),
    ...Array.from(expression.matchAll(/\bby \(([^)]*)\)/g), ([, list = ""]) =>
      list.split(",").map((label) => label.trim())
    ).flat()
  ]
  const there = [...added, ...used.flatMap((name) => metrics.get(name) ?? [])]
  return [...used.filter((name) => !metrics.has(name)), ...labels.filter((label) => !there.includes(label))]
}

const Rules = Schema.Struct({
  groups: Schema.Array(
    Schema.Struct({
      rules: Schema.Array(
        Schema.Struct({
          alert: Schema.String,
          expr: Schema.String,
          labels: Schema.Struct({ severity: Schema.Literal("critical", "warning", "info") }),
          annotations: Schema.Struct({ summary: Schema.String })
        })
      )
    })
  )
})

describe("deploy/prometheus-rules.yaml", () => {
  const { groups } = Schema.decodeUnknownSync(Rules)(Yaml.parse(read("deploy/prometheus-rules.yaml")))
  const rules = groups.flatMap(({ rules }) => rules)

  it("uses existing metrics and labels", () => {
    assert.isAtLeast(metrics.size, 10)
    assert.deepStrictEqual(unknownIn("sum by (colour) (taskchat_nothing)"), ["taskchat_nothing", "colour"])
    for (const { alert, expr } of rules) assert.deepStrictEqual(unknownIn(expr), [], alert)
  })

  it("names existing settings and log lines", () => {
    for (const { annotations } of rules) {
      for (const [name] of annotations.summary.matchAll(/\b[A-Z]+_[A-Z_]+\b/g)) assert.isTrue(isKnown(name), name)
      for (const [, line] of annotations.summary.matchAll(/"([^"]+)"/g)) {
        assert.include(documentOf("docs/operating.md").text, `\`${line}\``)
      }
    }
  })

  it.scoped.skipIf(!Prometheus.hasPromtool)("passes its tests with Prometheus' own tool", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      for (const name of ["prometheus-rules.yaml", "prometheus-rules.test.yaml"]) {
        copyFileSync(path.join(root, "deploy", name), path.join(folder, name))
      }
      const checked = Prometheus.promtool(["check", "rules", path.join(folder, "prometheus-rules.yaml")])
      assert.strictEqual(checked.status, 0, checked.output)
      const tested = Prometheus.promtool(["test", "rules", path.join(folder, "prometheus-rules.test.yaml")])
      assert.strictEqual(tested.status, 0, tested.output)
    })
  )
})

const Dashboard = Schema.parseJson(
  Schema.Struct({
    uid: Schema.Literal("taskchat"),
    schemaVersion: Schema.Int,
    templating: Schema.Struct({
      list: Schema.Array(Schema.Struct({ name: Schema.String, query: Schema.Unknown }))
    }),
    panels: Schema.Array(
      Schema.Struct({
        id: Schema.Int,
        type: Schema.Literal("row", "timeseries", "stat"),
        title: Schema.NonEmptyString,
        gridPos: Schema.Struct({ h: Schema.Int, w: Schema.Int, x: Schema.Int, y: Schema.Int }),
        targets: Schema.optionalWith(
          Schema.Array(Schema.Struct({ refId: Schema.String, expr: Schema.String, legendFormat: Schema.String })),
          { default: () => [] }
        )
      })
    )
  })
)

describe("deploy/grafana-dashboard.json", () => {
  const { panels, templating } = Schema.decodeUnknownSync(Dashboard)(read("deploy/grafana-dashboard.json"))

  it("uses existing metrics and labels, and every metric", () => {
    const targets = panels.flatMap(({ targets }) => targets)
    const expressions = targets.map(
      ({ expr, legendFormat }) =>
        `${expr} by (${Array.from(legendFormat.matchAll(/\{\{(\w+)\}\}/g), ([, label]) => label).join(",") || "instance"})`
    )
    for (const expression of expressions) assert.deepStrictEqual(unknownIn(expression), [], expression)
    assert.deepStrictEqual(
      Array.from(metrics.keys()).filter((name) => !expressions.some((expression) => expression.includes(name))),
      []
    )
    assert.deepStrictEqual(unknownIn(JSON.stringify(templating)), [])
  })

  it("has panels with unique ids that do not overlap", () => {
    assert.strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length)
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: h * w }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`)
    )
    assert.strictEqual(new Set(cells).size, cells.length)
    assert.isTrue(panels.every(({ gridPos: { w, x } }) => x + w <= 24))
  })
})

describe("flake.nix", () => {
  it.skipIf(!has("nix-instantiate"))("is valid Nix", () => {
    const { status, stderr } = spawnSync("nix-instantiate", ["--parse", path.join(root, "flake.nix")], {
      encoding: "utf8"
    })
    assert.strictEqual(status, 0, stderr)
  })

  it("uses existing files and scripts", () => {
    const flake = read("flake.nix")
    for (const [, file = ""] of flake.matchAll(/^\s+\.\/([\w.-]+)$/gm)) {
      assert.isNotEmpty(
        files().filter((one) => one === file || one.startsWith(`${file}/`)),
        file
      )
    }
    for (const [, script = ""] of flake.matchAll(/npm run --silent (\w+)/g)) {
      assert.property(JSON.parse(read("package.json")).scripts, script)
    }
    assert.include(flake, JSON.parse(read("package.json")).bin.taskchat)
  })
})
