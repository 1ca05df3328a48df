// What the language model is pretrained on: series of many kinds, none of them of the environments of the study.
import type { Random } from '@posttrain/interfaces/random';

/** Numbers of a series that the model sees. */
export const LENGTH = 32;

/** A standard normal number (Box and Muller). */
export const gaussian = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());

const between = (random: Random, low: number, high: number): number => low + (high - low) * random.float();

/** x_t = a x_{t-1} + b x_{t-2} + noise: a damped or lasting oscillation, or a drift. */
function autoregressive(random: Random, length: number): number[] {
  const radius = between(random, 0.6, 1);
  const angle = random.float() < 0.3 ? 0 : between(random, 0.05, 1.5);
  const [a, b] = [2 * radius * Math.cos(angle), -radius * radius];
  const noise = random.float() < 0.5 ? 0 : 10 ** between(random, -2.5, 0);
  let [last, before] = [gaussian(random), gaussian(random)];
  const series: number[] = [];
  for (let t = 0; t < length; t++) {
    [last, before] = [a * last + b * before + noise * gaussian(random), last];
    series.push(last);
  }
  return series;
}

/** One to three waves, and noise. */
function waves(random: Random, length: number): number[] {
  const noise = random.float() < 0.5 ? 0 : 10 ** between(random, -2.5, -0.5);
  const parts = Array.from({ length: random.integer(1, 3) }, () => ({
    size: between(random, 0.2, 1),
    speed: 10 ** between(random, -1.5, 0.2),
    at: between(random, 0, 2 * Math.PI),
  }));
  return Array.from(
    { length },
    (_, t) =>
      parts.reduce((sum, { size, speed, at }) => sum + size * Math.sin(at + speed * t), 0) + noise * gaussian(random),
  );
}

/** Steps up and down: a random walk, with a pull back to the middle or without. */
function walk(random: Random, length: number): number[] {
  const pull = random.float() < 0.5 ? 0 : between(random, 0, 0.5);
  let x = gaussian(random);
  return Array.from({ length }, () => {
    x = (1 - pull) * x + gaussian(random);
    return x;
  });
}

/** A Markov chain over a few numbers, each row of its matrix drawn anew. */
export function markov(random: Random, length: number): { readonly states: number[]; readonly matrix: number[][] } {
  const count = random.integer(2, 5);
  const sharpness = between(random, 0.5, 2.5);
  const matrix = Array.from({ length: count }, () => {
    const powers = Array.from({ length: count }, () => Math.exp(sharpness * gaussian(random)));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  });
  let state = random.integer(0, count - 1);
  const states = Array.from({ length }, () => {
    let left = random.float();
    const next = matrix[state]!.findIndex((p) => {
      left -= p;
      return left < 0;
    });
    state = next < 0 ? count - 1 : next;
    return state;
  });
  return { states, matrix };
}

/** A series of one of the kinds. */
export function series(random: Random, length: number): number[] {
  const kind = random.float();
  if (kind < 0.35) return autoregressive(random, length);
  if (kind < 0.7) return waves(random, length);
  if (kind < 0.85) return walk(random, length);
  return markov(random, length).states;
}
