import type { Prompt, Response } from "@effect/ai"
import * as ProviderState from "../domain/ProviderState.ts"

/*
 * Data that a provider expects back with its own answer: its reasoning, or a signature of it. It is sent only to the
 * base URL and the model that produced it.
 */

/**
 * Hosts that expect the data in later turns too. DeepSeek refuses a history without the reasoning before earlier calls.
 * Google expects signatures with the history. Other providers ignore data of an earlier turn or count its tokens.
 */
const lastingHosts: ReadonlySet<string> = new Set(["api.deepseek.com", "generativelanguage.googleapis.com"])

export const lifetimeAt = ({ hostname }: URL): ProviderState.Lifetime =>
  lastingHosts.has(hostname) ? "conversation" : "turn"

/** In bytes of JSON per answer. Larger data is dropped. */
const maxSize = 64 * 1024

/** The metadata of an answer's `finish` with the `state` of the provider at `origin`. Empty without state. */
export const metadataOf = (
  origin: string,
  lifetime: ProviderState.Lifetime,
  state: object | undefined
): Response.ProviderMetadata => {
  if (state === undefined || Object.keys(state).length === 0) return {}
  const text = JSON.stringify(state)
  return Buffer.byteLength(text) > maxSize ? {} : ProviderState.metadataOf({ origin, lifetime, state: text })
}

/** The state that the provider at `origin` expects back with this message. */
export const stateOf = (origin: string, { options }: Prompt.AssistantMessage): unknown => {
  const kept = ProviderState.keptIn(options)
  return kept?.origin === origin ? JSON.parse(kept.state) : undefined
}

/** Appends a piece, unless the text is already larger than `maxSize`. */
export const append = (kept: string, piece: unknown): string =>
  typeof piece === "string" && kept.length <= maxSize ? kept + piece : kept
