import { reasoningTask } from '../reasoning-task.js';

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const;
const DAY = 86_400_000;
const isoDay = (time: number): string => new Date(time).toISOString().slice(0, 10);
const weekday = (date: string): string => DAYS[new Date(`${date}T00:00:00Z`).getUTCDay()]!;

/** The day of the week of a date. */
export const calendar = reasoningTask({
  name: 'calendar_arithmetic',
  attributes: { daysFrom2020: [31, 366, 3650, 36_500], shift: [0, 7, 100, 10_000] },
  make: (random, { daysFrom2020, shift }) => ({
    date: isoDay(Date.UTC(2020, 0, 1) + random.integer(0, daysFrom2020) * DAY),
    shift: random.integer(Math.ceil(shift / 2), shift),
  }),
  question: ({ date, shift }) => `Which day of the week is it ${shift} days after ${date}?`,
  answer: ({ date, shift }) => weekday(isoDay(Date.parse(`${date}T00:00:00Z`) + shift * DAY)),
  score: ({ date, shift }, answer) =>
    answer.toLowerCase() === weekday(isoDay(Date.parse(`${date}T00:00:00Z`) + shift * DAY)).toLowerCase(),
});
