import { type FormEvent, useEffect, useState } from "react"
import { history, type Me, type Message } from "taskchat/ai-sdk"
import { Chat } from "./Chat.tsx"
import { sentenceOf } from "./Problem.ts"

const baseUrl: string = import.meta.env["VITE_TASKCHAT_URL"] ?? "http://127.0.0.1:3000"

const as = (token: string): Me => ({ baseUrl, token })

/** Asks for a token, and reads the conversation that the address names, as in `#12`. */
export const App = () => {
  const [me, setMe] = useState(() => {
    const token = sessionStorage.getItem("token")
    return token === null ? undefined : as(token)
  })
  const [messages, setMessages] = useState<Array<Message>>()
  const [problem, setProblem] = useState<string>()

  useEffect(() => {
    if (me === undefined) return
    const conversationId = Number(location.hash.slice(1))
    const read = conversationId > 0 ? history(me, conversationId) : Promise.resolve([])
    read.then(setMessages, (error: Error) => setProblem(sentenceOf(error)))
  }, [me])

  const signIn = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const token = String(new FormData(event.currentTarget).get("token"))
    sessionStorage.setItem("token", token)
    setProblem(undefined)
    setMe(as(token))
  }

  if (me && messages) return <Chat me={me} before={messages} />
  return (
    <main>
      <h1>taskchat</h1>
      <form onSubmit={signIn}>
        <input name="token" type="password" aria-label="Token" placeholder="Token" required />
        <button type="submit">Sign in</button>
      </form>
      {problem && <p role="alert">{problem}</p>}
    </main>
  )
}
