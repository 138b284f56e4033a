import { Client as ClientV2, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport as StdioClientTransportV1 } from "@modelcontextprotocol/sdk/client/stdio.js"
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { Data, Effect, type Scope } from "effect"

/** A server: an HTTP URL or a program to start. */
export type Address =
  | { readonly url: string; readonly headers: Readonly<Record<string, string>> }
  | {
      readonly command: string
      readonly args: ReadonlyArray<string>
      readonly env: Readonly<Record<string, string>>
    }

interface Called {
  readonly isError: boolean
  readonly structured: unknown
}

/** The common interface of all clients. Failures are the errors that the client throws. */
export interface McpClient {
  /** The agreed revision, if the client exposes it. */
  readonly revision: string | undefined
  readonly tools: Effect.Effect<ReadonlyArray<string>, unknown>
  readonly resources: Effect.Effect<ReadonlyArray<string>, unknown>
  readonly prompts: Effect.Effect<ReadonlyArray<string>, unknown>
  /** Interrupting it cancels the call. */
  readonly call: (name: string, args?: Record<string, unknown>) => Effect.Effect<Called, unknown>
  /** The text of a resource. */
  readonly read: (uri: string) => Effect.Effect<string, unknown>
  /** The number of messages of a prompt. */
  readonly prompt: (name: string) => Effect.Effect<number, unknown>
}

const identity = { name: "test", version: "1" }

/** An error of the client, with its message. */
class ClientFailed extends Data.TaggedError("ClientFailed")<{ readonly cause: unknown; readonly message: string }> {}

const attempt = <A>(run: (signal: AbortSignal) => Promise<A>) =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new ClientFailed({ cause, message: cause instanceof Error ? cause.message : String(cause) })
  })

type Sdk = ClientV1 | ClientV2

const textOf = (contents: ReadonlyArray<object>) =>
  contents.map((content) => ("text" in content ? String(content.text) : "")).join("")

const names = (items: ReadonlyArray<{ readonly name: string }>) => items.map(({ name }) => name)

const wrap = (client: Sdk, revision: string | undefined): McpClient => ({
  revision,
  tools: attempt(async () => names((await client.listTools()).tools)),
  resources: attempt(async () => names((await client.listResources()).resources)),
  prompts: attempt(async () => names((await client.listPrompts()).prompts)),
  call: (name, args) =>
    attempt(async (signal) => {
      const params = { name, ...(args && { arguments: args }) }
      const result =
        client instanceof ClientV1
          ? await client.callTool(params, undefined, { signal })
          : await client.callTool(params, { signal })
      return { isError: result.isError === true, structured: result.structuredContent }
    }),
  read: (uri) => attempt(async () => textOf((await client.readResource({ uri })).contents)),
  prompt: (name) => attempt(async () => (await client.getPrompt({ name })).messages.length)
})

const connected = <Client extends Sdk>(
  make: () => Client,
  connect: (client: Client) => Promise<void>,
  revision: (client: Client) => string | undefined
): Effect.Effect<McpClient, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* Effect.acquireRelease(Effect.sync(make), (client) => Effect.promise(() => client.close()))
    yield* attempt(() => connect(client))
    return wrap(client, revision(client))
  })

const stdio = (address: Extract<Address, { readonly command: string }>) => ({
  command: address.command,
  args: [...address.args],
  env: { ...address.env },
  stderr: "ignore" as const
})

const v1 = (address: Address) => {
  const transport =
    "url" in address
      ? new StreamableHTTPClientTransportV1(new URL(address.url), { requestInit: { headers: address.headers } })
      : new StdioClientTransportV1(stdio(address))
  return connected(
    () => new ClientV1(identity),
    (client) => client.connect(transport),
    () => ("protocolVersion" in transport ? transport.protocolVersion : undefined)
  )
}

const v2 = (options?: ConstructorParameters<typeof ClientV2>[1]) => (address: Address) => {
  const transport =
    "url" in address
      ? new StreamableHTTPClientTransport(new URL(address.url), { requestInit: { headers: address.headers } })
      : new StdioClientTransport(stdio(address))
  return connected(
    () => new ClientV2(identity, options),
    (client) => client.connect(transport),
    (client) => client.getNegotiatedProtocolVersion()
  )
}

/** The official clients, each with the expected revision. */
export const clients = [
  ["SDK 1", v1, "2025-11-25"],
  ["SDK 2", v2(), "2025-11-25"],
  ["SDK 2, automatic", v2({ versionNegotiation: { mode: "auto" } }), "2026-07-28"]
] as const
