import { PosttrainError } from '../packages/interfaces/src/index.js';
import type { FuzzModule } from './fuzz.js';

/** A reader with a fault of each kind, by the mutant's number: what the tests of `fuzz` expect it to find. */
export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  faulty: {
    corpus: () => [Uint8Array.of(1, 2, 3)],
    run: (_, { index }) => {
      if (index === 1) throw new PosttrainError('REFUSED', 'refused');
      if (index === 2) throw new TypeError('raw');
      if (index === 3) for (;;);
      if (index === 4) process.abort();
      if (index === 5) void Promise.reject(new Error('nobody handles this'));
      if (index === 6) return new Uint8Array(800 * 2 ** 20).fill(1)[0];
      return undefined;
    },
  },
};
