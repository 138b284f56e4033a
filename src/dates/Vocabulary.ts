const table = <A>(rows: ReadonlyArray<readonly [names: string, value: A]>): ReadonlyMap<string, A> =>
  new Map(rows.flatMap(([names, value]) => names.split(" ").map((name) => [name, value] as const)))

const numbered = (names: string, from = 1): ReadonlyArray<readonly [string, number]> =>
  names.split(" ").map((name, i) => [name.replaceAll("|", " "), from + i] as const)

/** 0 is Monday. */
export const weekdayWords = table(
  numbered(
    "monday|mon tuesday|tue|tues wednesday|wed|weds|wensday|wednsday thursday|thu|thur|thurs friday|fri saturday|sat|saterday sunday|sun",
    0
  )
)

export const monthWords = table(
  numbered(
    "january|jan february|feb|febuary march|mar april|apr may june|jun july|jul august|aug september|sep|sept october|oct november|nov december|dec"
  )
)

export const cardinals = table([
  ...numbered(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
  ),
  ["thirty", 30],
  ["forty", 40],
  ["fifty", 50],
  ["sixty", 60],
  ["seventy", 70],
  ["eighty", 80],
  ["ninety", 90]
])

export const ordinals = table([
  ...numbered(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third twenty-fourth twenty-fifth twenty-sixth twenty-seventh twenty-eighth twenty-ninth thirtieth thirty-first"
  )
])

export type Unit = "second" | "minute" | "hour" | "day" | "week" | "fortnight" | "month" | "quarter" | "year"

export const units = table<Unit>([
  ["s sec secs second seconds", "second"],
  ["m min mins minute minutes", "minute"],
  ["h hr hrs hour hours", "hour"],
  ["d day days", "day"],
  ["w wk wks week weeks", "week"],
  ["fortnight fortnights", "fortnight"],
  ["month months", "month"],
  ["quarter quarters", "quarter"],
  ["y yr yrs year years", "year"]
])

/** Days from today, with common typing errors. */
export const nearDays = table([
  ["today", 0],
  ["tomorrow tommorow tommorrow tomorow tomorrrow tmrw tmr tmrow", 1],
  ["yesterday", -1]
])

export type DayPart = "morning" | "afternoon" | "evening" | "night"
export const dayParts = table<DayPart>([
  ["morning", "morning"],
  ["afternoon", "afternoon"],
  ["evening", "evening"],
  ["night", "night"]
])

/** Minutes ahead of UTC. Ambiguous names, such as CST, IST and BST, are left out. */
export const zoneWords = table([
  ["utc gmt z zulu wet", 0],
  ["cet west", 60],
  ["cest eet", 120],
  ["eest msk", 180],
  ["jst kst", 540],
  ["est", -300],
  ["edt", -240],
  ["cdt", -300],
  ["mst", -420],
  ["mdt", -360],
  ["pst", -480],
  ["pdt", -420]
])
