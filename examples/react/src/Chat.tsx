import { useChat } from "@ai-sdk/react"
import { lastAssistantMessageIsCompleteWithApprovalResponses } from "ai"
import { type FormEvent, useEffect, useMemo } from "react"
import { cancel, type Me, type Message, transport, unanswered } from "taskchat/ai-sdk"
import { sentenceOf } from "./Problem.ts"

/** A conversation that survives a reload and a cut: its turn goes on without a reader, and is read again from its start. */
export const Chat = ({ me, before }: { me: Me; before: Array<Message> }) => {
  const { messages, sendMessage, addToolApprovalResponse, status, error, resumeStream } = useChat<Message>({
    messages: before,
    transport: useMemo(() => transport(me), [me]),
    // Says to the calls that wait what the buttons said, once all have an answer.
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    onFinish: ({ isDisconnect, message }) => {
      if (isDisconnect && message.metadata) resumeStream({ metadata: message.metadata })
    }
  })
  const turn = messages.at(-1)?.metadata
  const conversationId = turn?.conversation_id
  const isBusy = status === "submitted" || status === "streaming"

  useEffect(() => {
    resumeStream(unanswered(before))
  }, [before, resumeStream])
  useEffect(() => {
    if (conversationId !== undefined) history.replaceState(null, "", `#${conversationId}`)
  }, [conversationId])

  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const text = String(new FormData(event.currentTarget).get("message")).trim()
    if (text === "" || isBusy) return
    event.currentTarget.reset()
    sendMessage({ text })
  }

  return (
    <main>
      <h1>taskchat</h1>
      {messages.map(({ id, parts, role }, place) => (
        <article key={id} className={role} aria-label={role}>
          {parts.map((part, i) => {
            // Parts are added at the end and never move.
            const key = `${id} ${i}`
            if (part.type === "text") return <p key={key}>{part.text}</p>
            if (part.type !== "dynamic-tool") return null
            return (
              <p key={key} className={`tool ${part.state}`}>
                {part.toolName.replaceAll("_", " ")}
                {part.state === "output-error" && `: ${part.errorText}`}
                {/* Whatever was said since has declined it. */}
                {part.state === "approval-requested" && place === messages.length - 1 && (
                  <>
                    {`: ${JSON.stringify(part.input)}`}
                    {[true, false].map((approved) => (
                      <button
                        key={String(approved)}
                        type="button"
                        onClick={() => addToolApprovalResponse({ id: part.approval.id, approved })}
                      >
                        {approved ? "Approve" : "Decline"}
                      </button>
                    ))}
                  </>
                )}
              </p>
            )
          })}
        </article>
      ))}
      {error && (
        <p role="alert">
          {sentenceOf(error)} {/* What was cut off has no end yet. */}
          {turn && turn.status === undefined && (
            <button type="button" onClick={() => resumeStream({ metadata: turn })}>
              Read on
            </button>
          )}
        </p>
      )}
      <form onSubmit={send}>
        <input name="message" aria-label="Message" placeholder="Add milk" autoComplete="off" />
        {isBusy && turn ? (
          <button type="button" onClick={() => cancel(me, turn)}>
            Stop
          </button>
        ) : (
          <button type="submit" disabled={isBusy}>
            Send
          </button>
        )}
      </form>
    </main>
  )
}
