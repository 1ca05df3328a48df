import { unsupported } from './errors.js';

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/**
 * Python's `datetime.strftime` in the C locale (English, whatever the machine's language), in local time without a zone;
 * `%-d` leaves leading zeros out.
 *
 * @throws JinjaError for directives that C libraries write differently
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.?)/gsu, (directive, dash: string, code: string) => {
    const write = Object.hasOwn(NUMBERS, code)
      ? NUMBERS[code]
      : Object.hasOwn(TEXTS, code) && dash === ''
        ? TEXTS[code]
        : undefined;
    if (!write) return unsupported(`strftime_now: the directive "${directive}" is not supported.`);
    const text = write(date);
    return dash ? text.replace(/^[0 ]+(?=\d)/, '') : text;
  });
}

const two = (value: number) => String(value).padStart(2, '0');
const hour12 = (date: Date) => ((date.getHours() + 11) % 12) + 1;
const dayOfYear = (date: Date) =>
  Math.round(
    (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 1)) / 86_400_000,
  ) + 1;

type Directives = Readonly<Record<string, (date: Date) => string>>;

const NUMBERS: Directives = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => two(date.getFullYear() % 100),
  m: (date) => two(date.getMonth() + 1),
  d: (date) => two(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2, ' '),
  j: (date) => String(dayOfYear(date)).padStart(3, '0'),
  H: (date) => two(date.getHours()),
  I: (date) => two(hour12(date)),
  M: (date) => two(date.getMinutes()),
  S: (date) => two(date.getSeconds()),
  w: (date) => String(date.getDay()),
  u: (date) => String(date.getDay() || 7),
};

const TEXTS: Directives = {
  B: (date) => MONTHS[date.getMonth()]!,
  b: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  h: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  A: (date) => DAYS[date.getDay()]!,
  a: (date) => DAYS[date.getDay()]!.slice(0, 3),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  f: (date) => `${String(date.getMilliseconds()).padStart(3, '0')}000`,
  F: (date) => strftime(date, '%Y-%m-%d'),
  T: (date) => strftime(date, '%H:%M:%S'),
  X: (date) => strftime(date, '%H:%M:%S'),
  R: (date) => strftime(date, '%H:%M'),
  D: (date) => strftime(date, '%m/%d/%y'),
  x: (date) => strftime(date, '%m/%d/%y'),
  c: (date) => strftime(date, '%a %b %e %H:%M:%S %Y'),
  // A time without a zone has neither offset nor name.
  z: () => '',
  Z: () => '',
  n: () => '\n',
  t: () => '\t',
  '%': () => '%',
};
