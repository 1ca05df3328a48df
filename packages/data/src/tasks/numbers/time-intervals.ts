import { reasoningTask } from '../reasoning-task.js';

const clock = (seconds: number): string =>
  [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');

/** How long something took, from a time of day to a later one. */
export const timeIntervals = reasoningTask({
  name: 'time_intervals',
  attributes: { maxSeconds: [59, 3599, 20_000, 86_000], startHours: [1, 9, 23, 23] },
  make: (random, { maxSeconds, startHours }) => {
    const span = random.integer(Math.ceil(maxSeconds / 2), maxSeconds);
    const start = random.integer(0, Math.min(startHours * 3600, 86_399 - span));
    return { start, end: start + span };
  },
  question: ({ start, end }) =>
    `It began at ${clock(start)} and ended at ${clock(end)} of the same day. How long did it take, as HH:MM:SS?`,
  answer: ({ start, end }) => clock(end - start),
});
