import {
  custom,
  type Embedder,
  type Generator,
  type Given,
  integer,
  OptionError,
  options,
  PosttrainError,
  type SamplingParams,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { kMeans } from '@posttrain/interfaces/vectors';

/** An instance: what is asked, and the answer. */
export interface RehearsalRow {
  readonly prompt: string;
  readonly completion: string;
}

const has = (name: string) => (value: unknown) =>
  typeof (value as Readonly<Record<string, unknown>> | null)?.[name] === 'function';

export const samplingOption = custom<SamplingParams>()(
  'an object of sampling parameters',
  (value) => typeof value === 'object' && value !== null,
  { default: {}, settings: (value) => ({ ...value }) as Record<string, never> },
);

export const synthesisShape = {
  /** θ(0), which learns in context: it has not seen the tasks. */
  base: custom<Generator>()('a Generator', has('generate'), { settings: ({ name }) => name }),
  /** Tells which inputs are alike. The paper has SimCSE. */
  embedder: custom<Embedder>()('an object with embed(texts)', has('embed'), { settings: ({ name }) => name }),
  /** Instances that are selected. Default 200, as in the paper. */
  count: integer({ default: 200, min: 1 }),
  /** Instances that the base model is asked for, for each that is selected. Default 3. */
  oversampling: integer({ default: 3, min: 1 }),
  /** K: demonstrations before each. Default 2, as in the paper. */
  shots: integer({ default: 2, min: 1 }),
  /** C of k-means. Default 20, as in the paper. */
  clusters: integer({ default: 20, min: 1 }),
  /** How the base model samples: `maxTokens`, `temperature` … Its seeds are drawn. Default: the generator's own. */
  sampling: samplingOption,
  /** Of the demonstrations, the samples and the first centres. Default 42. */
  seed: integer({ default: 42, min: 0 }),
};
const synthesisOptions = options('synthesizeInstances', synthesisShape);
/** Options of `synthesizeInstances`. */
export type SynthesizeInstancesOptions = Given<typeof synthesisOptions>;

const INPUT = 'Input:';
const OUTPUT = 'Output:';

/** Demonstrations, and the beginning of another instance. */
const inContext = (shown: readonly RehearsalRow[]): string =>
  [...shown.map(({ prompt, completion }) => `${INPUT} ${prompt}\n${OUTPUT} ${completion}\n\n`), INPUT].join('');

/** What was written behind `Input:`, as an instance; undefined where it is none. */
function instanceOf(text: string): RehearsalRow | undefined {
  const [prompt, completion, more] = text
    .split(INPUT)[0]!
    .split(OUTPUT)
    .map((part) => part.trim());
  return prompt && completion && more === undefined ? { prompt, completion } : undefined;
}

/**
 * The indices of `count` vectors that are diverse and typical: those of length 1 in the same directions are clustered by k-means, a cluster has its share of
 * them, and the nearest to its centre are taken. Shares are rounded so that they are `count` together, the largest remainders up.
 */
export function selectByClusters(
  vectors: readonly ArrayLike<number>[],
  { count, clusters, seed }: { readonly count: number; readonly clusters: number; readonly seed: number },
): number[] {
  const unit = vectors.map((vector) => {
    const numbers = Array.from(vector);
    const length = Math.hypot(...numbers) || 1;
    return numbers.map((x) => x / length);
  });
  const most = Math.min(count, vectors.length);
  const members = kMeans(unit, clusters, createRandom(seed, 'clusters'));
  const shares = members.map((own) => (most * own.length) / vectors.length);
  const taken = shares.map(Math.floor);
  const left = most - taken.reduce((a, b) => a + b, 0);
  const byRemainder = [...shares.keys()].sort((a, b) => shares[b]! - taken[b]! - (shares[a]! - taken[a]!) || a - b);
  for (const cluster of byRemainder.slice(0, left)) taken[cluster]!++;
  return members.flatMap((own, cluster) => own.slice(0, taken[cluster]));
}

/**
 * The first and the last stage of self-synthesized rehearsal (SSR, arXiv 2403.01244 §3): the base model, shown K demonstrations that are drawn for each,
 * writes instances; of these `count` are selected by clusters of their inputs. Texts that are no instance, and inputs that came before, are left out.
 * There may be fewer than `count`.
 *
 * @param demonstrations instances of one task, a few of which suffice (1 % in the paper)
 * @throws OptionError; PosttrainError REHEARSAL where nothing that the base model wrote is an instance
 */
export async function synthesizeInstances(
  demonstrations: readonly RehearsalRow[],
  given: SynthesizeInstancesOptions,
): Promise<RehearsalRow[]> {
  const { base, embedder, count, oversampling, shots, clusters, sampling: how, seed } = synthesisOptions.read(given);
  if (demonstrations.length < shots) {
    const problem = `there are ${demonstrations.length} demonstrations, and shots is ${shots}; give more, or show fewer.`;
    throw new OptionError('INVALID_OPTION', 'synthesizeInstances', 'demonstrations', problem);
  }
  const random = createRandom(seed, 'demonstrations');
  const written = await base.generate(
    Array.from({ length: count * oversampling }, () => ({
      ...{ stop: [INPUT], ...how, n: 1, seed: random.uint32() },
      prompt: inContext(random.shuffled(demonstrations).slice(0, shots)),
    })),
  );
  const instances = new Map<string, RehearsalRow>();
  for (const [{ text } = { text: '' }] of written) {
    const instance = instanceOf(text);
    if (instance && !instances.has(instance.prompt)) instances.set(instance.prompt, instance);
  }
  const found = [...instances.values()];
  if (found.length === 0) {
    throw new PosttrainError(
      'REHEARSAL',
      `None of ${written.length} texts of ${base.name} is an instance (an input, "${OUTPUT}", an output); allow more tokens, or take a model that learns in context.`,
    );
  }
  const vectors = await embedder.embed(found.map(({ prompt }) => prompt));
  return selectByClusters(vectors, { count, clusters, seed }).map((i) => found[i]!);
}

/**
 * The second stage: the latest model answers the inputs anew, greedily, so that what is rehearsed is what it has learnt and not what the base model
 * thinks. Instances to which it says nothing are left out.
 */
export async function refineOutputs(
  instances: readonly RehearsalRow[],
  latest: Generator,
  how: SamplingParams = {},
): Promise<RehearsalRow[]> {
  const answers = await latest.generate(instances.map(({ prompt }) => ({ temperature: 0, ...how, prompt, n: 1 })));
  return instances.flatMap(({ prompt }, i) => {
    const completion = answers[i]![0]!.text;
    return completion.trim() === '' ? [] : [{ prompt, completion }];
  });
}
