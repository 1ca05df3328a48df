/**
 * A stream of four tasks with vocabularies and formats of their own, each a function of the seed: what follows a small letter, sums
 * without a carry, capitals turned round in a chat, and the other halves of brackets. Rows that are measured are not among those that are trained.
 */
import { createRandom } from '@posttrain/interfaces/random';
import type { ContinualTask } from '@posttrain/training';

const [SMALL, CAPITALS, OPEN, CLOSE] = ['abcdefghijkl', 'ABCDEFGHIJ', '([{<', ')]}>'];

/** A prompt and its completion, from numbers of [0, 1). */
type Writer = (draw: () => number) => { readonly prompt: string; readonly completion: string };

const pick = (from: string, draw: () => number): string => from[Math.floor(draw() * from.length)]!;

const WRITERS: Readonly<Record<string, Writer>> = {
  letters(draw) {
    const pair = [pick(SMALL!, draw), pick(SMALL!, draw)];
    const next = pair.map((one) => String.fromCharCode(one.charCodeAt(0) + 1));
    return { prompt: `after ${pair.join('')}:`, completion: next.join('') };
  },
  sums(draw) {
    const [tens, ones] = [Math.floor(draw() * 9), Math.floor(draw() * 9)] as const;
    return { prompt: `${tens}${ones}+11=`, completion: `${tens + 1}${ones + 1}` };
  },
  chat(draw) {
    const [first, second] = [pick(CAPITALS!, draw), pick(CAPITALS!, draw)];
    return { prompt: `<|user|>${first}${second}<|end|><|assistant|>`, completion: `${second}${first}` };
  },
  brackets(draw) {
    const open = [pick(OPEN!, draw), pick(OPEN!, draw), pick(OPEN!, draw)];
    const close = open.map((one) => CLOSE![OPEN!.indexOf(one)]!);
    return { prompt: `"${open.join('')}"`, completion: close.join('') };
  },
};

/** The tasks, in the order in which they are learnt. */
export function taskStream({
  seed,
  train,
  heldOut,
}: {
  readonly seed: number;
  readonly train: number;
  readonly heldOut: number;
}) {
  return Object.entries(WRITERS).map(([name, write]): ContinualTask => {
    const random = createRandom(seed, name);
    const seen = new Map<string, ReturnType<Writer>>();
    // Fewer where a task has no more: half of what there is is trained at least.
    for (let tries = 0; tries < 4000 && seen.size < train + heldOut; tries++) {
      const row = write(() => random.float());
      seen.set(row.prompt, row);
    }
    const rows = [...seen.values()];
    const measured = Math.min(heldOut, Math.floor(rows.length / 4));
    return { name, rows: rows.slice(measured), evaluationRows: rows.slice(0, measured) };
  });
}
