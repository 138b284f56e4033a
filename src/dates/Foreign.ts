import { fold } from "../domain/Text.ts"

/**
 * "today", "tomorrow", "the day after tomorrow" and the weekdays in other languages, folded, one line per language. Dates
 * are read in English only. These words let the service say so to a user who writes in another language.
 */
const foreignWords = `
اليوم غدًا الاثنين الثلاثاء الأربعاء الخميس الجمعة السبت الأحد
dnes zitra pozitri pondeli utery streda ctvrtek patek sobota nedele
mandag tirsdag onsdag torsdag fredag lørdag søndag
heute morgen ubermorgen montag dienstag mittwoch donnerstag freitag samstag sonntag
σημερα αυριο μεθαυριο δευτερα τριτη τεταρτη πεμπτη παρασκευη σαββατο κυριακη
hoy manana lunes martes miercoles jueves viernes sabado domingo
امروز فردا پسفردا دوشنبه سهشنبه چهارشنبه پنجشنبه جمعه شنبه یکشنبه
tanaan huomenna ylihuomenna maanantai tiistai keskiviikko torstai perjantai lauantai sunnuntai
aujourd'hui demain apres-demain lundi mardi mercredi jeudi vendredi samedi dimanche
היום מחר מחרתיים
आज कल परसों सोमवार मंगलवार बुधवार गुरुवार शुक्रवार शनिवार रविवार
holnap holnaputan hetfo kedd szerda csutortok pentek szombat vasarnap
besok lusa senin selasa rabu kamis jumat sabtu minggu
oggi domani dopodomani lunedi martedi mercoledi giovedi venerdi sabato domenica
vandaag morgen overmorgen maandag dinsdag woensdag donderdag vrijdag zaterdag zondag
dzisiaj jutro pojutrze poniedziałek wtorek sroda czwartek piatek niedziela
hoje amanha segunda-feira terca-feira quarta-feira quinta-feira sexta-feira
maine poimaine luni marti miercuri vineri sambata duminica
сегодня завтра послезавтра понедельник вторник среда четверг пятница суббота воскресенье
idag imorgon tisdag lordag sondag
bugun yarin pazartesi sali carsamba persembe cuma cumartesi pazar
сьогодні післязавтра понеділок вівторок середа четвер пʼятниця субота неділя
`

/** The same words in languages that are written without spaces. */
const unspacedWords = `
今日 明日 明後日 月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日
오늘 내일 모레 월요일 화요일 수요일 목요일 금요일 토요일 일요일
วันนี้ พรุ่งนี้ มะรืนนี้ วันจันทร์ วันอังคาร วันพุธ วันพฤหัสบดี วันศุกร์ วันเสาร์ วันอาทิตย์
今天 明天 后天 星期一 星期二 星期三 星期四 星期五 星期六 星期日
`

const alternatives = (words: string) => fold(words).trim().split(/\s+/).join("|")
const pattern = new RegExp(
  `(?<![\\p{L}\\p{M}-])(?:${alternatives(foreignWords)})(?![\\p{L}\\p{M}-])|${alternatives(unspacedWords)}`,
  "u"
)

/** The first word for a day in another language, folded. Null if there is none. */
export const foreignDay = (text: string): string | null => pattern.exec(fold(text).replaceAll("’", "'"))?.[0] ?? null
