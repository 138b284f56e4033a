import { assert, describe, it } from "@effect/vitest"
import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js"
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import type { OAuthClientInformationMixed, OAuthTokens } from "@modelcontextprotocol/sdk/shared/auth.js"
import { Effect } from "effect"
import * as LoginService from "../support/LoginService.ts"
import { freePort } from "../support/Ports.ts"
import * as Service from "../support/Service.ts"

/** An MCP client that knows only the URL of `/mcp`. */
const newClient = () => {
  let client: OAuthClientInformationMixed | undefined
  let tokens: OAuthTokens | undefined
  let verifier = ""
  let sentTo: URL | undefined
  const provider: OAuthClientProvider = {
    redirectUrl: "http://localhost:7777/callback",
    clientMetadata: {
      client_name: "A client",
      // This server requires one.
      scope: "openid",
      redirect_uris: ["http://localhost:7777/callback"],
      grant_types: ["authorization_code"],
      response_types: ["code"],
      token_endpoint_auth_method: "none"
    },
    clientInformation: () => client,
    saveClientInformation: (given) => {
      client = given
    },
    tokens: () => tokens,
    saveTokens: (given) => {
      tokens = given
    },
    redirectToAuthorization: (url) => {
      sentTo = url
    },
    saveCodeVerifier: (given) => {
      verifier = given
    },
    codeVerifier: () => verifier
  }
  return { provider, sentTo: () => sentTo, tokens: () => tokens }
}

describe("an OAuth authorization server", () => {
  it.live(
    "is discovered by a client that knows only the URL of /mcp, which registers, logs its user in, and uses the tools",
    () =>
      Effect.gen(function* () {
        const port = yield* freePort
        const url = `http://127.0.0.1:${port}`
        const { issuer } = yield* LoginService.start(yield* freePort, `${url}/mcp`)
        yield* Service.serve({
          PORT: String(port),
          PUBLIC_URL: url,
          JWT_JWKS_URL: `${issuer}/jwks`,
          JWT_ISSUER: issuer,
          JWT_AUDIENCE: `${url}/mcp`,
          USER_IDS: "mapped"
        })
        const created = []
        for (const name of ["ana", "jonas"]) {
          const { provider, sentTo, tokens } = newClient()
          const transport = () => new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { authProvider: provider })
          const listed = yield* Effect.promise(async () => {
            const before = transport()
            const refusal = await new Client({ name: "test", version: "1" }).connect(before).catch((error) => error)
            assert.instanceOf(refusal, UnauthorizedError)
            const address = sentTo()
            assert.strictEqual(address?.origin, issuer)
            assert.strictEqual(address?.searchParams.get("resource"), `${url}/mcp`)
            const back = await LoginService.logIn(address ?? new URL(issuer), name)
            assert.isTrue(back.searchParams.has("code"), back.href)
            await before.finishAuth(back.searchParams.get("code") ?? "")
            const client = new Client({ name: "test", version: "1" })
            await client.connect(transport())
            await client.callTool({ name: "create_task", arguments: { title: `Of ${name}` } })
            const { structuredContent } = await client.callTool({ name: "list_tasks", arguments: {} })
            await client.close()
            return structuredContent
          })
          created.push(listed)
          // The same token is valid for the API.
          const me = yield* Effect.promise(async () =>
            (await fetch(`${url}/api/me`, { headers: { authorization: `Bearer ${tokens()?.access_token}` } })).json()
          )
          assert.deepInclude(me, { user_id: created.length })
        }
        const titles = created.map((found) => JSON.stringify(found).match(/"title":"[^"]*"/g))
        assert.deepStrictEqual(titles, [[`"title":"Of ana"`], [`"title":"Of jonas"`]])
      }).pipe(Effect.scoped),
    180_000
  )
})
