/**
 * Limits the cost of reading a message. A step is one character tested by one rule, or read once for dates. A request
 * has at most `longest` characters, so no rule sees more at once.
 */
export class Budget {
  steps = 0

  /** Uses up steps. False if there are not enough left. */
  spend(steps: number): boolean {
    this.steps += steps
    return !this.isSpent
  }

  get isSpent() {
    return this.steps > mostSteps
  }
}

/** About 100 for each character of the longest message. */
export const mostSteps = 400_000
export const longest = 300
