/** What the stand-in for the model says, for it and for whoever checks or reads it. */

/** 41 words. */
export const answer =
  "Here is what I would do about it today: begin with the small things that are due first, leave the long ones for the quiet hours of the afternoon, and write down whatever comes up in between so nothing gets lost."

export const taskTitle = "Buy milk"
export const toolAnswer = "I have added it to your list."

/** Of the clock that all processes of a machine share. */
export const micros = () => Math.floor(Number(process.hrtime.bigint() / 1000n))

/** Reads the `@sent ` and `^received ` words out of a stream, wherever it is cut. */
export class Timestamps {
  #rest = ""

  /** Calls `onTime` with the mark and the microseconds of each word that `text` completes. */
  read(text, onTime) {
    const all = this.#rest + text
    let end = 0
    for (const match of all.matchAll(/([@^])(\d+) /g)) {
      onTime(match[1], Number(match[2]))
      end = match.index + match[0].length
    }
    const open = Math.max(all.lastIndexOf("@"), all.lastIndexOf("^"))
    this.#rest = open >= end ? all.slice(open) : ""
  }
}
