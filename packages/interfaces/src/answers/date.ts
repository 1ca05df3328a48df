import type { AnswerOptions } from './answer-options.js';

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const WEEKDAY = '(?:(sun|mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?)(?:day)?\\.?,?\\s+)?';
const MONTH =
  '(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\\.?';
const DAY = '(\\d{1,2})(?:st|nd|rd|th)?';
const YEAR = '([12]\\d{3})';

/** The groups of each, and the order of year, month and day in them. */
const WRITTEN: readonly (readonly [pattern: string, order: string])[] = [
  // `2000-12-1` may be a difference.
  [`${YEAR}-(\\d{2})-(\\d{2})`, 'ymd'],
  [`${YEAR}/(\\d{1,2})/(\\d{1,2})`, 'ymd'],
  [`${WEEKDAY}${MONTH}\\s+(?:the\\s+)?${DAY}(?:,\\s*|\\s+)${YEAR}`, 'wmdy'],
  [`${WEEKDAY}(?:the\\s+)?${DAY}\\s+(?:of\\s+)?${MONTH},?\\s+${YEAR}`, 'wdmy'],
  [`${WEEKDAY}${MONTH}\\s+(?:the\\s+)?${DAY}`, 'wmd'],
  [`${WEEKDAY}(?:the\\s+)?${DAY}\\s+(?:of\\s+)?${MONTH}`, 'wdm'],
  // In German and Russian; nobody writes the month first with points.
  [`(\\d{1,2})\\.\\s?(\\d{1,2})\\.\\s?${YEAR}`, 'dmy'],
  [`(\\d{1,2})/(\\d{1,2})/${YEAR}`, '??y'],
  [`(\\d{2})-(\\d{2})-${YEAR}`, '??y'],
];
const PATTERNS = WRITTEN.map(([pattern, order]) => [new RegExp(`^${pattern}$`, 'i'), order] as const);
/** A date with its year that ends a text. */
const AT_END = WRITTEN.filter(([, order]) => order.includes('y')).map(
  ([pattern]) => new RegExp(`(?<![\\p{L}\\d/.-])${pattern}$`, 'iu'),
);
const LONGEST = 40;

/** Spellings of `readDate`. */
export const DATE = /^(?:\d{4}|-)-\d\d-\d\d$/;

/**
 * The day that a whole text names, as ISO 8601 writes it (`2021-03-05`; `--03-05` without a year): from ISO, English (`March 5th, 2021`, `Fri, 5 Mar 2021`, `5 March`) or
 * figures (`5.3.2021`; `13/3/2021`, and `5/3/2021` where an option says which is the month). Null for anything else, for days that no calendar has and for a weekday that
 * is not that day's.
 */
export function readDate(written: string, { dates }: AnswerOptions = {}): string | null {
  const text = written.trim();
  if (text.length > LONGEST) return null;
  if (DATE.test(text) && text.startsWith('--'))
    return dayOf(undefined, Number(text.slice(2, 4)), Number(text.slice(5)));
  for (const [pattern, order] of PATTERNS) {
    const found = pattern.exec(text);
    if (!found) continue;
    const [numbers, parts]: [number[], Record<string, string>] = [[], {}];
    [...order].forEach((part, i) => {
      const value = found[i + 1];
      if (part === '?') numbers.push(Number(value));
      else if (value !== undefined) parts[part] = value;
    });
    const { y, w } = parts;
    const year = y === undefined ? undefined : Number(y);
    const sides = numbers.length === 0 ? [{ m: monthOf(parts.m!), d: Number(parts.d) }] : ways(numbers, dates);
    const days = new Set(sides.map(({ m, d }) => dayOf(year, m, d)).filter((day) => day !== null));
    // Two days: it does not say which.
    if (days.size !== 1) return null;
    const [day] = [...days] as [string];
    return w === undefined || year === undefined || isWeekday(day, w) ? day : null;
  }
  return null;
}

/** The date that a text ends with, as it is written; null where it ends otherwise. */
export function dateAtEnd(text: string): string | null {
  const end = text.slice(-LONGEST);
  for (const pattern of AT_END) {
    const found = pattern.exec(end);
    if (found) return found[0];
  }
  return null;
}

function ways([first, second]: readonly number[], dates: AnswerOptions['dates']): { m: number; d: number }[] {
  const [dayFirst, monthFirst] = [
    { m: second!, d: first! },
    { m: first!, d: second! },
  ];
  if (dates === 'day first') return [dayFirst];
  return dates === 'month first' ? [monthFirst] : [dayFirst, monthFirst];
}

const monthOf = (text: string) =>
  /^\d/.test(text) ? Number(text) : MONTHS.indexOf(text.slice(0, 3).toLowerCase()) + 1;

/** Null for a day that is in no calendar; without a year, 29 February is in some. */
function dayOf(year: number | undefined, month: number, day: number): string | null {
  const date = new Date(Date.UTC(year ?? 2000, month - 1, day));
  if (month < 1 || month > 12 || day < 1 || date.getUTCMonth() !== month - 1) return null;
  return `${year ?? '-'}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
}

const isWeekday = (day: string, weekday: string) =>
  WEEKDAYS[new Date(`${day}T00:00:00Z`).getUTCDay()] === weekday.slice(0, 3).toLowerCase();
