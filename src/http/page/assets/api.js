/*
 * The service's API, as any client has it: a bearer token, JSON, problem documents. Addresses are relative to this file,
 * so that the page also works behind a proxy that adds a path.
 */

const root = new URL("..", import.meta.url)
const stored = "taskchat-token"

let token = sessionStorage.getItem(stored)

/** Takes the token out of the address bar, where `npm start` puts it, and keeps it for as long as the tab is open. */
export const takeToken = () => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token")
  if (given === null) return
  history.replaceState(null, "", location.pathname + location.search)
  setToken(given)
}

export const setToken = (given) => {
  token = given
  if (given === null) sessionStorage.removeItem(stored)
  else sessionStorage.setItem(stored, given)
}

export const hasToken = () => token !== null

/** The service has refused, or nobody answers (`disconnected`); the message says why, in words. */
export class Problem extends Error {
  constructor({ code = "unavailable", detail = "The service does not answer.", ...about }) {
    super(detail)
    Object.assign(this, { code, about })
  }
}

/** An answer, or the `Problem` that it is. */
export const request = async (method, path, { body, headers } = {}) => {
  const response = await fetch(new URL(`api/me/${path}`, root), {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers
    },
    ...(body !== undefined && { body: JSON.stringify(body) })
  }).catch(() => {
    throw new Problem({ code: "disconnected" })
  })
  if (response.ok) return response
  const problem = await response.json().catch(() => ({}))
  if (response.status === 401) tell("signed-out", problem.detail)
  throw new Problem(problem)
}

/** An answer's JSON; null where it has none. */
export const call = async (method, path, body) => {
  const response = await request(method, path, { body })
  return response.status === 204 ? null : response.json()
}

export const timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone

/** The page's parts tell each other by events of the window: `tasks`, `conversations`, `signed-out`. */
export const tell = (name, detail) => dispatchEvent(new CustomEvent(name, { detail }))
