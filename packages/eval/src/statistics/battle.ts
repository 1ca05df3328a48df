import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

/** What came of one comparison of two players. */
export interface Battle {
  readonly a: string;
  readonly b: string;
  /** 1: a was preferred; 0: b; 0.5: a tie. */
  readonly score: number;
  /** Battles of one cluster (one prompt) are not independent. Default: each by itself. */
  readonly cluster?: string;
}

/** How strong a player is, 400 points being odds of ten to one, and how well it is known. */
export interface Rating {
  readonly player: string;
  readonly rating: number;
  /** `null` when it cannot be estimated: fewer than two independent units. */
  readonly standardError: number | null;
  readonly interval: readonly [low: number, high: number] | null;
  /** Battles that it fought. */
  readonly battles: number;
}

/** Battles by index of player, in clusters. */
export interface Indexed {
  /** In the order in which they appear. */
  readonly players: readonly string[];
  readonly fought: readonly { readonly a: number; readonly b: number; readonly score: number }[];
  /** Positions of battles by cluster. */
  readonly clusters: readonly (readonly number[])[];
  /** How often each player fought. */
  readonly counts: readonly number[];
}

/** @throws EvaluationError `BAD_BATTLE` */
export function indexed(where: string, battles: readonly Battle[]): Indexed {
  const places = new Map<string, number>();
  const clusters = new Map<string | number, number[]>();
  const counts: number[] = [];
  const placeOf = (player: string): number => {
    const place = places.get(player) ?? places.size;
    places.set(player, place);
    counts[place] = (counts[place] ?? 0) + 1;
    return place;
  };
  const fought = battles.map(({ a, b, score, cluster = undefined }, i) => {
    const wrong = a === b ? `"${a}" against itself` : `the score ${showValue(score)}`;
    if (a === b || !(score >= 0 && score <= 1)) {
      const rule = 'two players fight, and the score is from 0 to 1';
      throw new EvaluationError('BAD_BATTLE', `${where}: battle ${i} has ${wrong}; ${rule}.`);
    }
    const unit = clusters.get(cluster ?? i) ?? [];
    clusters.set(cluster ?? i, unit);
    unit.push(i);
    return { a: placeOf(a), b: placeOf(b), score };
  });
  return { players: [...places.keys()], fought, clusters: [...clusters.values()], counts };
}

/** The highest first; of equal ones the one that appeared first. */
export const byRating = (ratings: readonly Rating[]): Rating[] => [...ratings].sort((x, y) => y.rating - x.rating);
