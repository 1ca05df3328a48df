import type { Random } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';

/** A pool of prompts that are about as hard. */
export interface DifficultyPool {
  readonly name: string;
  /** The highest mean reward of a prompt in it. */
  readonly upTo: number;
  /** How much likelier each of its prompts is drawn. */
  readonly weight: number;
}

const POOLS: readonly DifficultyPool[] = [
  { name: 'hard', upTo: 0.25, weight: 1 },
  { name: 'normal', upTo: 0.75, weight: 1 },
  { name: 'easy', upTo: 1, weight: 0.1 },
];

/** What a checkpoint keeps: the pools by id, as they were last seen. */
export type DifficultyState = Readonly<Record<string, number>>;

/**
 * Difficulty pools (as prime-rl's curriculum): a prompt is in the first pool whose `upTo` is at least its last mean reward, and is drawn with the pool's weight; one that was not seen yet has weight 1.
 * Draws are without replacement.
 *
 * @throws DataOptionError for pools whose `upTo` do not rise, or with negative weights
 */
export class DifficultyPools {
  readonly #rewards: Map<string, number>;

  constructor(
    readonly pools: readonly DifficultyPool[] = POOLS,
    state: DifficultyState = {},
  ) {
    const rises = pools.every(({ upTo, weight }, i) => weight >= 0 && (i === 0 || upTo > pools[i - 1]!.upTo));
    if (pools.length === 0 || !rises) {
      throw new DataOptionError('DifficultyPools', 'pools must be a list whose upTo rise, with weights of at least 0.');
    }
    this.#rewards = new Map(Object.entries(state));
  }

  /** The mean reward of a prompt's last group. */
  observe(id: string, meanReward: number): void {
    this.#rewards.set(id, meanReward);
  }

  /** The pool of a prompt, the last where its reward is above all of them; `null` where it was not seen yet. */
  poolOf(id: string): DifficultyPool | null {
    const reward = this.#rewards.get(id);
    if (reward === undefined) return null;
    return this.pools.find(({ upTo }) => reward <= upTo) ?? this.pools.at(-1)!;
  }

  /** Different ones of `ids`, each drawn with its pool's weight; fewer than `count` where the rest has weight 0. */
  draw(ids: readonly string[], count: number, random: Random): string[] {
    // Efraimidis and Spirakis: the highest u^(1/w) are a weighted draw without replacement.
    return ids
      .map((id) => ({ id, weight: this.poolOf(id)?.weight ?? 1 }))
      .filter(({ weight }) => weight > 0)
      .map(({ id, weight }) => ({ id, key: Math.log(random.float() || 2 ** -60) / weight }))
      .sort((a, b) => b.key - a.key)
      .slice(0, count)
      .map(({ id }) => id);
  }

  state(): DifficultyState {
    return Object.fromEntries(this.#rewards);
  }
}

/**
 * Whether a group of rollouts may be trained on: not where all its advantages lie in [low, high] (prime-rl's gate). With both 0, the default, it is dynamic sampling (DAPO): groups that are
 * all right or all wrong are out.
 */
export function advantageGate(advantages: readonly number[], [low, high]: readonly [number, number] = [0, 0]): boolean {
  return advantages.some((advantage) => advantage < low || advantage > high);
}
