import { custom, type Given, options } from '@posttrain/interfaces';
import type { TwoPlayerGame } from './two-player-game.js';

const isHeaps = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.length <= 9 &&
  value.every((heap) => Number.isInteger(heap) && heap >= 0 && heap <= 9);

const nimOptions = options('nim', {
  /** Sticks of each heap. Default 1, 2 and 3, which the first player loses. */
  heaps: custom<readonly number[]>()('one to nine whole numbers from 0 to 9', isHeaps, {
    default: [1, 2, 3],
    settings: (heaps) => heaps.join(', '),
  }),
});
/** Options of `nim`. */
export type NimOptions = Given<typeof nimOptions>;

/**
 * Nim: who is to move takes one or more sticks of one heap, and who takes the last one wins. A move is the heap and the sticks: `2-3`. Who is to move wins
 * where the exclusive or of the heaps is not 0 (Bouton 1901).
 *
 * @throws OptionError
 */
export function nim(given: NimOptions = {}): TwoPlayerGame<readonly number[]> {
  const { heaps } = nimOptions.read(given);
  return {
    name: 'nim',
    settings: nimOptions.settings(given),
    start: heaps,
    moves: (state) => state.flatMap((sticks, heap) => Array.from({ length: sticks }, (_, k) => `${heap + 1}-${k + 1}`)),
    play(state, move) {
      const [heap, sticks] = move.split('-').map(Number) as [number, number];
      return state.map((left, i) => (i === heap - 1 ? left - sticks : left));
    },
    ended: () => -1,
    show: (state) =>
      `Nim. Who takes the last stick wins. ${state.map((sticks, i) => `Heap ${i + 1}: ${sticks}.`).join(' ')} Say heap and sticks, as 1-1.`,
  };
}
