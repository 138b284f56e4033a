import { Chunk, type Data, Effect, Option, type Stream } from "effect"
import type { AgentEvent } from "../../domain/Agent.ts"
import type { ProviderState } from "../../domain/ProviderState.ts"
import type { Place, ToolCall, ToolCallStarted } from "../../domain/ToolCall.ts"
import { addUsage, noUsage, type Usage } from "../../domain/Turn.ts"
import { type Cursor, type Ended, isBehind, start, TurnEvent } from "../../domain/TurnEvent.ts"
import * as Pull from "../../runtime/Pull.ts"

/** An event and the place right behind it. */
export interface Positioned {
  readonly event: TurnEvent
  readonly after: Cursor
}

/** Nothing was said for a while: time for a sign of life. */
export interface Silence {
  readonly _tag: "Silence"
}

/**
 * What one turn has said and done so far: one writer, any number of readers that cost it nothing. A reader holds only
 * its place, so a slow one is given more at a time, not more memory.
 *
 * Writes are synchronous and wake the readers at once; a mutable class, because every token passes here.
 */
export class TurnOutput {
  private readonly items: Array<Positioned> = []
  private readonly waiting = new Set<() => void>()
  private said = ""
  private last: Cursor = start
  private isLeft = false
  private openCall: (() => number) | undefined
  private readonly untilEnd: Array<(end: Effect.Effect<Ended>) => void> = []
  /** The calls that ended, and their places. */
  readonly calls: Array<ToolCall> = []
  readonly places: Array<Place> = []
  /** The model that answers, once it has begun. */
  model: string | null = null
  /** The sum over the steps so far. */
  usage: Usage = noUsage
  /** Of each step that ended. */
  readonly steps: Array<Usage> = []
  /** Calls that did not run, for want of the user's approval. */
  held: Data.TaggedEnum.Value<AgentEvent, "CallsHeld"> | undefined
  /** What the provider wants back in later turns. */
  readonly states: Array<ProviderState> = []

  get text() {
    return this.said
  }

  /** How the turn ended, if it has. */
  get ended(): Ended | undefined {
    const event = this.items.at(-1)?.event
    return event?._tag === "Ended" ? event.end : undefined
  }

  get isOver() {
    return this.ended !== undefined
  }

  /** What the agent says or does. */
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

  /** A model is asked; or, without an estimate of what that costs, the last time it was cost nothing. */
  asked(estimate: (() => number) | undefined) {
    if (estimate === undefined) this.openCall = undefined
    else {
      this.closeCall()
      this.openCall = estimate
    }
  }

  /** No more is heard of the model that was asked last: if it has not told what that cost, the estimate counts. */
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

  /** Ends every reading behind what there is: the turn goes on elsewhere, and there its readers can go on. */
  leave() {
    this.isLeft = true
    this.wake()
  }

  /** Has readers that wait look up once, though nothing was said. */
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

  /** Whether the turn has been at `cursor`: between two events, or within a piece of text, however it was cut. */
  hasReached(cursor: Cursor): boolean {
    const next = this.indexAfter(cursor)
    const before = next === 0 ? start : (this.items[next - 1]?.after ?? start)
    if (isSame(before, cursor)) return true
    // A call that had begun when the turn was cut off is not among what is kept.
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
   * Everything after `cursor`, then what comes. Pieces of text that wait for a reader reach it as one. `Silence` comes
   * when `wake` did and nothing else. A cursor may lie ahead: of a turn elsewhere, the latest words may not have arrived
   * yet, or were lost with their node.
   */
  events(cursor: Cursor): Stream.Stream<Positioned | Silence> {
    return Pull.toStream(() => this.reader(cursor, Chunk.unsafeFromArray))
  }

  /** As `events`, for one reader, who is given what `write` makes of them. */
  reader<A>(
    cursor: Cursor,
    write: (items: ReadonlyArray<Positioned | Silence>) => Chunk.Chunk<A>
  ): Pull.Source<A, never> {
    let index = this.indexAfter(cursor)
    let isOver = false
    let wake = () => {}

    /** What lies before the reader, if anything does. */
    const look = () => {
      const [items, seen] = this.since(index, cursor)
      index = seen
      isOver = items.at(-1)?.event._tag === "Ended"
      return items.length === 0 ? undefined : Effect.succeed(write(items))
    }
    // Made once, as every token comes this way.
    const pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<never>> = Effect.suspend(() =>
      isOver ? ended : (look() ?? (this.isLeft ? ended : wait))
    )
    const wait = Effect.async<Chunk.Chunk<A>, Option.Option<never>>((resume) => {
      // The writer may have come between the reader's look and here.
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

  /** Of the first event behind `cursor`. */
  private indexAfter(cursor: Cursor) {
    const index = this.items.findIndex(({ after, event }) => event._tag === "Ended" || isBehind(after, cursor))
    return index < 0 ? this.items.length : index
  }

  /**
   * What a reader at `index` has before it, text joined, and without what lies before `cursor`; and where to go on. Only so
   * much at once: what a slow reader is given waits with it, in memory of its own.
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
