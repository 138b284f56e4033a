import { Chunk, type Data, Effect, Option, type Stream } from "effect"
import type { AgentEvent } from "../../domain/Agent.ts"
import type { ProviderState } from "../../domain/ProviderState.ts"
import type { Place, ToolCall, ToolCallStarted } from "../../domain/ToolCall.ts"
import { addUsage, noUsage, type Usage } from "../../domain/Turn.ts"
import { type Cursor, type Ended, isBehind, start, TurnEvent } from "../../domain/TurnEvent.ts"
import * as Pull from "../../runtime/Pull.ts"

/** An event and the position after it. */
export interface Positioned {
  readonly event: TurnEvent
  readonly after: Cursor
}

/** There was no event for a while: time for a keep-alive. */
export interface Silence {
  readonly _tag: "Silence"
}

/**
 * The output of one turn so far, with one writer and any number of readers. A reader holds only a position, so a slow one
 * gets more at a time and costs no memory.
 *
 * Writes are synchronous and wake the readers at once. It is a mutable class because every token passes here.
 */
export class TurnOutput {
  private readonly items: Array<Positioned> = []
  private readonly waiting = new Set<() => void>()
  private said = ""
  private last: Cursor = start
  private isLeft = false
  private openCall: (() => number) | undefined
  private readonly untilEnd: Array<(end: Effect.Effect<Ended>) => void> = []
  /** The ended calls, and their positions. */
  readonly calls: Array<ToolCall> = []
  readonly places: Array<Place> = []
  /** The model that answers, once its answer has begun. */
  model: string | null = null
  /** The sum over the steps so far. */
  usage: Usage = noUsage
  /** Of each step that ended. */
  readonly steps: Array<Usage> = []
  /** Calls that were held back for the user's approval. */
  held: Data.TaggedEnum.Value<AgentEvent, "CallsHeld"> | undefined
  /** The provider state to send back in later turns. */
  readonly states: Array<ProviderState> = []

  get text() {
    return this.said
  }

  /** The turn's end, if it has ended. */
  get ended(): Ended | undefined {
    const event = this.items.at(-1)?.event
    return event?._tag === "Ended" ? event.end : undefined
  }

  get isOver() {
    return this.ended !== undefined
  }

  /** Adds an event of the agent. */
  add(event: AgentEvent) {
    switch (event._tag) {
      case "Text":
        return this.addText(event.text)
      case "ToolCallStarted":
        return this.callStarted(event.call, event.step)
      case "ToolCallEnded": {
        const { call, providerCallId, step } = event
        return this.callEnded(call, { step, offset: this.text.length, providerCallId })
      }
      case "CallsHeld":
        this.held = event
        return
      case "ModelChosen":
        this.model = event.model
        return
      case "StepEnded":
        this.openCall = undefined
        if (event.state !== undefined) this.states.push(event.state)
        this.addStep(event.usage)
    }
  }

  /** A request is sent to the model, with its estimated cost; without an estimate, the last request cost nothing. */
  asked(estimate: (() => number) | undefined) {
    if (estimate === undefined) this.openCall = undefined
    else {
      this.closeCall()
      this.openCall = estimate
    }
  }

  /** The last request to the model is over: if its cost was not reported, the estimate counts. */
  closeCall() {
    const estimate = this.openCall
    this.openCall = undefined
    if (estimate !== undefined) this.addStep({ ...noUsage, estimatedTokens: estimate() })
  }

  private addStep(usage: Usage) {
    this.steps.push(usage)
    this.usage = addUsage(this.usage, usage)
  }

  addText(text: string) {
    this.said += text
    this.push(TurnEvent.Text({ text }), { ...this.last, text: this.said.length })
  }

  callStarted(call: ToolCallStarted, step: number) {
    this.push(TurnEvent.ToolCallStarted({ call, step }), { ...this.last, begun: true })
  }

  callEnded(call: ToolCall, place: Place) {
    if (!this.last.begun) this.callStarted({ id: call.id, tool: call.tool, parameters: call.parameters }, place.step)
    this.calls.push(call)
    this.places.push(place)
    this.push(TurnEvent.ToolCallEnded({ call }), { ...this.last, begun: false, calls: this.calls.length })
  }

  end(end: Ended) {
    this.push(TurnEvent.Ended({ end }), this.last)
    for (const resume of this.untilEnd.splice(0)) resume(Effect.succeed(end))
  }

  /** Ends every reading after the events so far: the turn runs on another node, where readers can go on. */
  leave() {
    this.isLeft = true
    this.wake()
  }

  /** Wakes waiting readers once, without an event. */
  wake() {
    for (const resume of [...this.waiting]) resume()
  }

  /** Succeeds at the turn's end. */
  get awaitEnd(): Effect.Effect<Ended> {
    return Effect.async((resume) => {
      const { ended } = this
      if (ended === undefined) this.untilEnd.push(resume)
      else resume(Effect.succeed(ended))
    })
  }

  /** Whether `cursor` is a position of this turn: between two events, or within a piece of text. */
  hasReached(cursor: Cursor): boolean {
    const next = this.indexAfter(cursor)
    const before = next === 0 ? start : (this.items[next - 1]?.after ?? start)
    if (isSame(before, cursor)) return true
    // A call that had begun when the turn was cut off is not stored.
    if (this.isOver && isSame({ ...this.last, begun: true }, cursor)) return true
    return (
      this.items[next]?.event._tag === "Text" &&
      cursor.text > before.text &&
      isSame({ ...before, text: cursor.text }, cursor) &&
      // Not within a character.
      !/^[\uDC00-\uDFFF]/.test(this.said.slice(cursor.text, cursor.text + 1))
    )
  }

  /**
   * All events after `cursor`, then new ones. Waiting pieces of text are joined into one. `Silence` comes when only `wake`
   * was called. A cursor may be ahead of the output: another node's latest text may not have arrived yet, or may be lost
   * with the node.
   */
  events(cursor: Cursor): Stream.Stream<Positioned | Silence> {
    return Pull.toStream(() => this.reader(cursor, Chunk.unsafeFromArray))
  }

  /** As `events`, for one reader, encoded by `write`. */
  reader<A>(
    cursor: Cursor,
    write: (items: ReadonlyArray<Positioned | Silence>) => Chunk.Chunk<A>
  ): Pull.Source<A, never> {
    let index = this.indexAfter(cursor)
    let isOver = false
    let wake = () => {}

    /** The events that the reader has not seen, if any. */
    const look = () => {
      const [items, seen] = this.since(index, cursor)
      index = seen
      isOver = items.at(-1)?.event._tag === "Ended"
      return items.length === 0 ? undefined : Effect.succeed(write(items))
    }
    // Created once, as every token passes here.
    const pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<never>> = Effect.suspend(() =>
      isOver ? ended : (look() ?? (this.isLeft ? ended : wait))
    )
    const wait = Effect.async<Chunk.Chunk<A>, Option.Option<never>>((resume) => {
      // The writer may have added events since the reader looked.
      if (this.items.length > index || this.isLeft) return resume(pull)
      wake = () => {
        this.waiting.delete(wake)
        resume(this.items.length > index || this.isLeft ? pull : silent)
      }
      this.waiting.add(wake)
    })
    const silent = Effect.sync(() => write([silence]))
    return { pull, close: () => Effect.sync(() => this.waiting.delete(wake)) }
  }

  /** The index of the first event after `cursor`. */
  private indexAfter(cursor: Cursor) {
    const index = this.items.findIndex(({ after, event }) => event._tag === "Ended" || isBehind(after, cursor))
    return index < 0 ? this.items.length : index
  }

  /**
   * The next events for a reader at `index`, with text joined and without anything before `cursor`; and the next index.
   * Limited in size, since what a slow reader has taken waits in its own memory.
   */
  private since(index: number, cursor: Cursor): readonly [Array<Positioned>, number] {
    const out: Array<Positioned> = []
    let given = 0
    let i = index
    for (; i < this.items.length && given < maxText; i++) {
      const item = this.items[i]
      if (item === undefined) break
      if (item.event._tag !== "Text") {
        if (item.event._tag === "Ended" || isBehind(item.after, cursor)) out.push(item)
        continue
      }
      const known = cursor.text - (item.after.text - item.event.text.length)
      const text = known > 0 ? item.event.text.slice(known) : item.event.text
      if (text === "") continue
      given += text.length
      const before = out.at(-1)
      if (before === undefined && known <= 0) out.push(item)
      else if (before?.event._tag === "Text") {
        out[out.length - 1] = { event: TurnEvent.Text({ text: before.event.text + text }), after: item.after }
      } else out.push({ event: TurnEvent.Text({ text }), after: item.after })
    }
    return [out, i]
  }

  private push(event: TurnEvent, after: Cursor) {
    this.last = after
    this.items.push({ event, after })
    this.wake()
  }
}

/** UTF-16 units. */
const maxText = 16 * 1024

const silence: Silence = { _tag: "Silence" }

const ended = Effect.fail(Option.none<never>())

const isSame = (a: Cursor, b: Cursor) => a.calls === b.calls && a.begun === b.begun && a.text === b.text
