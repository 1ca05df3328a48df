import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import type { NumericEnvironment } from '../rollout/numeric-environment.js';

const pendulumOptions = options('pendulum', {
  /** Gravity, m/s². Default 10, as in Gymnasium. */
  gravity: number({ default: 10, min: 0 }),
  /** Steps after which an episode is cut off. Default 200. */
  maxSteps: integer({ default: 200, min: 1 }),
  /** Where every episode begins: the angle in radians, 0 upright, and its speed in radians a second. Default: drawn, from −π to π and −1 to 1. */
  start: custom<readonly [number, number]>()(
    'an angle and its speed, [number, number]',
    (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isFinite),
    { optional: true, settings: (value) => JSON.stringify(value) },
  ),
});
/** Options of `pendulum`. */
export type PendulumOptions = Given<typeof pendulumOptions>;

/** A rod of 1 m and 1 kg, 20 times a second; at most 2 N m and 8 rad/s. */
const [STEP, MOST_TORQUE, MOST_SPEED] = [0.05, 2, 8];

const clip = (x: number, most: number): number => Math.min(most, Math.max(-most, x));

/** An angle from −π to π. */
const wrapped = (angle: number): number => {
  const turned = (angle + Math.PI) % (2 * Math.PI);
  return (turned < 0 ? turned + 2 * Math.PI : turned) - Math.PI;
};

/**
 * A pendulum to be swung up and held (`Pendulum-v1` of Gymnasium). An action is a torque u of −2 to 2; θ̇ ← θ̇ + (3g/2 sin θ + 3u) · 0.05, at most 8, then
 * θ ← θ + 0.05 θ̇. A step is worth −(θ² + 0.1 θ̇² + 0.001 u²) of before it, θ from −π to π. An observation is [cos θ, sin θ, θ̇].
 *
 * @throws OptionError
 */
export function pendulum(given: PendulumOptions = {}): NumericEnvironment {
  const { gravity, maxSteps, start } = pendulumOptions.read(given);
  return {
    name: 'pendulum',
    settings: pendulumOptions.settings(given),
    observationSize: 3,
    actions: { kind: 'box', low: [-MOST_TORQUE], high: [MOST_TORQUE] },
    start({ key }) {
      const [u, v] = key.uniformHost(2);
      let [angle, speed] = start ?? [Math.PI * (2 * u! - 1), 2 * v! - 1];
      let steps = 0;
      // In float32, as Gymnasium's.
      const seen = () => [Math.cos(angle), Math.sin(angle), speed].map(Math.fround);
      return {
        observation: seen(),
        step(action) {
          steps++;
          const torque = clip(typeof action === 'number' ? action : action[0]!, MOST_TORQUE);
          const reward = -(wrapped(angle) ** 2 + 0.1 * speed ** 2 + 0.001 * torque ** 2);
          speed = clip(speed + (1.5 * gravity * Math.sin(angle) + Math.fround(3 * torque)) * STEP, MOST_SPEED);
          angle += speed * STEP;
          return { observation: seen(), reward, terminated: false, truncated: steps >= maxSteps };
        },
      };
    },
  };
}

/** What a step of `pendulum` is worth by what was seen before it, [cos θ, sin θ, θ̇], and the torque. */
export function pendulumReward(observation: ArrayLike<number>, action: number | ArrayLike<number>): number {
  const torque = clip(typeof action === 'number' ? action : action[0]!, MOST_TORQUE);
  const angle = Math.atan2(observation[1]!, observation[0]!);
  return -(angle ** 2 + 0.1 * observation[2]! ** 2 + 0.001 * torque ** 2);
}
