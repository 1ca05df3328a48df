import { PosttrainError } from '@posttrain/interfaces';

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/**
 * Python's `strftime` in the C locale (English, whatever the machine's language), for the directives chat templates use,
 * in local time. @throws PosttrainError for a directive it does not know
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.)/gs, (directive, dash: string, code: string) => {
    const value = DIRECTIVES[code]?.(date);
    if (value === undefined) {
      throw new PosttrainError('STRFTIME_DIRECTIVE', `strftime_now: the directive "${directive}" is not supported.`);
    }
    return dash ? value.replace(/^0+(?=\d)/, '') : value;
  });
}

const DIRECTIVES: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => pad(date.getFullYear() % 100),
  m: (date) => pad(date.getMonth() + 1),
  d: (date) => pad(date.getDate()),
  B: (date) => MONTHS[date.getMonth()]!,
  b: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  A: (date) => DAYS[date.getDay()]!,
  a: (date) => DAYS[date.getDay()]!.slice(0, 3),
  H: (date) => pad(date.getHours()),
  I: (date) => pad(((date.getHours() + 11) % 12) + 1),
  M: (date) => pad(date.getMinutes()),
  S: (date) => pad(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  F: (date) => strftime(date, '%Y-%m-%d'),
  T: (date) => strftime(date, '%H:%M:%S'),
  '%': () => '%',
};

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
