/** A message said and its answer read with an `EventSource`, which reads on by itself after a cut. */
import { EventSource } from "eventsource"

export interface Me {
  readonly baseUrl: string
  readonly token: string
}

/** Calls `onText` with each piece of the answer. Resolves with the last event's data, or rejects with the reason of a refusal. */
export const say = ({ baseUrl, token }: Me, message: string, onText: (text: string) => void) =>
  new Promise<Record<string, unknown>>((resolve, reject) => {
    const key = crypto.randomUUID()
    let turnId: string | undefined
    // The browser's own `EventSource` can neither send a token nor POST: this one leaves the request to a function.
    const source = new EventSource(`${baseUrl}/api/me/chat/stream`, {
      fetch: (url, init) => {
        const headers = { ...init.headers, authorization: `Bearer ${token}` }
        // Once the turn is known it is read on, behind the event that `Last-Event-ID` among the headers names.
        if (turnId !== undefined) return fetch(`${baseUrl}/api/me/turns/${turnId}/events`, { ...init, headers })
        return fetch(url, {
          ...init,
          method: "POST",
          // The key makes it safe to say again what was cut off before the service had answered.
          headers: { ...headers, "content-type": "application/json", "idempotency-key": key },
          body: JSON.stringify({ message })
        })
      }
    })
    source.addEventListener("turn", ({ data }) => {
      turnId = JSON.parse(data).turn_id
    })
    source.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data)
      if (event.content !== undefined) onText(event.content)
      if (!event.done) return
      source.close()
      resolve(event)
    })
    source.addEventListener("error", ({ code }) => {
      // Without a status the connection was cut, and is made again.
      if (code === undefined) return
      source.close()
      reject(new Error(`The service refused with ${code}`))
    })
  })
