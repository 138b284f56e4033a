/*
 * A client of the service's API: a bearer token, JSON, problem documents. URLs are relative to this file,
 * so that the page also works behind a proxy that adds a path.
 */

const root = new URL("..", import.meta.url)
const stored = "taskchat-token"

let token = sessionStorage.getItem(stored)

/** Moves the token from the URL that `npm start` prints to the session of the tab. */
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

/** The service refused a request or does not answer (`disconnected`). The message is for the user. */
export class Problem extends Error {
  constructor({ code = "unavailable", detail = "The service does not answer.", ...about }) {
    super(detail)
    Object.assign(this, { code, about })
  }
}

/** Returns the response, or throws its `Problem`. */
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

/** The JSON of a response, null without a body. */
export const call = async (method, path, body) => {
  const response = await request(method, path, { body })
  return response.status === 204 ? null : response.json()
}

export const timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone

/** Modules notify each other with events of the window: `tasks`, `conversations`, `signed-out`. */
export const tell = (name, detail) => dispatchEvent(new CustomEvent(name, { detail }))
