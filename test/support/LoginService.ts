import { createServer } from "node:http"
import { Effect } from "effect"
import Provider from "oidc-provider"

/**
 * A sample OAuth authorization server for the service. It registers clients, asks people to log in (any name
 * with any password, in forms), and signs access tokens for `resource` as JWTs.
 */
export const start = (port: number, resource: string) =>
  Effect.acquireRelease(
    Effect.async<{ readonly issuer: string; readonly close: () => void }>((resume) => {
      const issuer = `http://127.0.0.1:${port}`
      const provider = new Provider(issuer, {
        // The tokens contain the account name.
        findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
        cookies: { keys: ["a key for tests alone"] },
        features: {
          registration: { enabled: true },
          resourceIndicators: {
            enabled: true,
            useGrantedResource: () => true,
            getResourceServerInfo: () => ({
              audience: resource,
              scope: "",
              accessTokenFormat: "jwt",
              jwt: { sign: { alg: "RS256" } }
            })
          }
        }
      })
      const server = createServer(provider.callback()).listen(port, "127.0.0.1", () =>
        resume(Effect.succeed({ issuer, close: () => server.close() }))
      )
    }),
    ({ close }) => Effect.sync(close)
  )

/** Opens the login URL of a client, logs in as `name`, gives consent, and returns the redirect URL. */
export const logIn = async (address: URL, name: string): Promise<URL> => {
  const cookies = new Map<string, string>()
  const visit = async (url: URL, form?: Readonly<Record<string, string>>) => {
    const cookie = Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; ")
    const response = await fetch(url, {
      redirect: "manual",
      headers: { cookie },
      ...(form && { method: "POST", body: new URLSearchParams(form) })
    })
    for (const set of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(set) ?? []
      cookies.set(name, value)
    }
    return response
  }
  let url = address
  let response = await visit(url)
  for (let steps = 0; steps < 20; steps++) {
    const location = response.headers.get("location")
    if (location !== null) {
      url = new URL(location, url)
      if (url.origin !== address.origin) return url
      response = await visit(url)
      continue
    }
    const page = await response.text()
    const [, action] = /<form[^>]* action="([^"]+)"/.exec(page) ?? []
    const [, prompt] = /name="prompt" value="([^"]+)"/.exec(page) ?? []
    if (action === undefined || prompt === undefined) throw new Error(`The login stands still:\n${page}`)
    url = new URL(action, url)
    response = await visit(url, { prompt, login: name, password: "any" })
  }
  throw new Error("The login has no end")
}
