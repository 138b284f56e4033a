/** What a failure says to people: a refusal of the service is a problem document, with a sentence as its `detail`. */
export const sentenceOf = ({ message }: Error): string => {
  try {
    return JSON.parse(message).detail
  } catch {
    return message
  }
}
