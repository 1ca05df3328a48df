import { custom, type Given, integer, number, oneOf, type Prompt } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { optionalFunction } from '../function-option.js';
import { argmax, indexAt, mean } from '../numbers.js';
import { parseOption, promptOption } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { paretoFrequencies } from './pareto-front.js';
import {
  fencedText,
  promptAsText,
  type ReflectionRecord,
  type ReflectionRequest,
  reflectionPrompt,
} from './reflection.js';
import { type Lineage, mergeAncestors, type PromptCandidate, systemAwareMerge } from './system-aware-merge.js';

/** An instance of the task: what is asked, and the row that the verifier knows the answer by. */
export type PromptInstance = Pick<Problem, 'prompt' | 'row'>;

/** A system at work on an instance, with the prompts of a candidate. */
export interface PromptCall {
  readonly candidate: PromptCandidate;
  readonly instance: PromptInstance;
  /**
   * Asks the model, within the budget; `undefined` when that says no, or the call is lost. `component`: whose prompt was at work, which reflection
   * then is shown it for; default: all of them. `role`: another of `generators`.
   */
  readonly ask: (
    prompt: Prompt,
    how?: { readonly component?: string; readonly role?: string },
  ) => Promise<SearchNode | undefined>;
}

/** Runs the system on an instance; what it gives is the text that is judged. */
export type PromptProgram = (call: PromptCall) => Promise<SearchNode | undefined>;

const isInstances = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((it) => typeof it === 'object' && it !== null && 'prompt' in it);
const instances = <const P extends object>(presence: P) =>
  custom<readonly PromptInstance[]>()('a list of at least one { prompt, row }', isInstances, presence);

const gepaOptions = strategyOptions('gepa', {
  verifier: verifierOption,
  /** D_feedback: minibatches of mutations are drawn from it. */
  train: instances({}),
  /** D_pareto: scores on it decide who is on the front and who is best. Default: `train`. */
  validation: instances({ optional: true }),
  /** Further prompts of the system by name, beside `instruction`, which is the problem's prompt. */
  components: custom<PromptCandidate>()(
    'texts by name',
    (value) =>
      typeof value === 'object' && value !== null && Object.values(value).every((it) => typeof it === 'string'),
    { optional: true },
  ),
  /** The system that the prompts are for. Default: one call, the components' texts before the instance (as its system message, of a conversation). */
  program: optionalFunction<PromptProgram>('a function ({ candidate, instance, ask }) that asks the model'),
  /** What is asked for a better text of a component; `generators.reflector` answers where there is one. */
  reflectPrompt: promptOption(
    'a component, its text and what came of it',
    reflectionPrompt as (it: ReflectionRequest) => string,
  ),
  /** The new text in what was answered; `null`: none. Default: what stands between the fences. */
  parse: parseOption('the new text of a component', fencedText as (answer: string) => string | null),
  /** b, the instances of a minibatch. Default 3. */
  minibatch: integer({ default: 3, min: 1 }),
  /** Who is mutated: drawn from the Pareto front, or the best on average (the paper's ablation). Default `pareto`. */
  selection: oneOf(['pareto', 'best'], { default: 'pareto' }),
  /** Merges that are tried at most. Default 5. */
  maxMerges: integer({ default: 5, min: 0 }),
  /** Instances of `validation` on which a merge is tried first. Default 5. */
  mergeMinibatch: integer({ default: 5, min: 1 }),
  /** A minibatch of which every score is at least this has nothing to teach. Default 1. */
  perfectScore: number({ default: 1 }),
});
/** Options of `gepa`. `n` is the number of iterations, of mutation or merge. */
export type GepaOptions = Given<typeof gepaOptions>;

/** A candidate of the pool. */
export interface GepaCandidate extends Lineage {
  /** On each instance of `validation`. */
  readonly scores: readonly number[];
}

/** The best prompts, and all that were kept. `text` is the texts of the best, joined; `score` its mean over `validation`. */
export interface GepaResult extends SearchResult {
  readonly candidate: PromptCandidate;
  /** In the order of being found; the first is the seed. */
  readonly candidates: readonly GepaCandidate[];
}

/** A candidate with its node. */
interface Member extends GepaCandidate {
  readonly node: SearchNode;
  /** The component that is mutated next, by turns. */
  next: number;
}

interface Rollout {
  readonly score: number;
  readonly records: ReadonlyMap<string, readonly Omit<ReflectionRecord, 'score' | 'feedback'>[]>;
  readonly feedback: string;
}

const textOf = (candidate: PromptCandidate): string =>
  Object.values(candidate)
    .filter((it) => it !== '')
    .join('\n\n');

const oneCall: PromptProgram = ({ candidate, instance: { prompt }, ask }) =>
  ask(
    typeof prompt === 'string'
      ? `${textOf(candidate)}\n\n${prompt}`
      : [{ role: 'system', content: textOf(candidate) }, ...prompt],
  );

/**
 * GEPA (arXiv 2507.19457, algorithm 1): prompts evolve by what a model reads in their rollouts; no weights are trained. The problem's prompt
 * is the seed. Each iteration
 *
 * 1. draws a candidate Φ_k from the Pareto front over the instances of `validation`, in proportion to how many it is among the best of
 *    (`paretoFrequencies`), and the next of its components, by turns;
 * 2. runs it on a minibatch of `train`, and asks `reflectPrompt` about its prompts, answers and the verifier's explanations for a new text;
 * 3. keeps the new candidate where its sum over the same minibatch is higher; then it is run on all of `validation` and joins the pool.
 *
 * After a candidate has joined, the next iteration tries a merge first: of two on the front with a common ancestor that is no better than
 * either, the components that each has changed (`systemAwareMerge`), kept where it is no worse than the better of them on `mergeMinibatch` instances.
 * The best mean on `validation` is returned, the earlier of equals.
 *
 * Every rollout, judgement and reflection is of the budget; where that ends a validation, its candidate does not join. A `null` score, and a rollout
 * that is lost to a failure, count as 0. Draws are made with `sampling.seed`. Throws `NoCandidateError` where the seed cannot be validated.
 */
export async function gepa(problem: Problem, options: GepaOptions): Promise<GepaResult> {
  const settings = gepaOptions.read(options);
  const { n, train, components = {}, maxMerges, sampling } = settings;
  const validation = settings.validation ?? train;
  const search = new Search(gepaOptions, problem, { ...options, extractAnswer: () => null });
  const random = createRandom(sampling?.seed ?? 0, gepaOptions.where);
  const minibatches = shuffledBatches(train.length, settings.minibatch, random);
  const evaluate = evaluator(search, settings.program ?? oneCall);
  const pool: Member[] = [];
  const join = async (node: SearchNode, candidate: PromptCandidate, parents: readonly number[]): Promise<boolean> => {
    const rollouts = await evaluate(node, candidate, validation, 'validation');
    if (!rollouts) {
      node.node.reason = 'not validated to the end';
      return false;
    }
    const scores = rollouts.map(({ score }) => score);
    const score = mean(scores);
    node.node.score = score;
    node.payload = { components: candidate, parents, scores };
    pool.push({
      node,
      components: candidate,
      parents,
      scores,
      score,
      next: Math.max(0, ...parents.map((k) => pool[k]!.next)),
    });
    return true;
  };
  const seed: PromptCandidate = { instruction: promptAsText(problem.prompt), ...components };
  const names = Object.keys(seed);
  const root = search.merge([search.root], { components: seed }, textOf(seed));
  if (!(await join(root, seed, []))) throw search.nothing('the budget ends before the seed has been validated.');

  const select = (): number => {
    if (settings.selection === 'best') return argmax(pool.map(({ score }) => score));
    const frequencies = paretoFrequencies(pool.map(({ scores }) => scores));
    const total = frequencies.reduce((sum, it) => sum + it, 0);
    return indexAt(
      frequencies.map((it) => it / total),
      random.float(),
    );
  };
  /** Whether a candidate has joined. */
  const mutate = async (): Promise<boolean> => {
    const k = select();
    const parent = pool[k]!;
    const component = names[parent.next]!;
    parent.next = (parent.next + 1) % names.length;
    const batch = minibatches().map((i) => train[i]!);
    const before = await evaluate(parent.node, parent.components, batch, 'minibatch');
    if (!before || before.every(({ score }) => score >= settings.perfectScore)) return false;
    const records = before.flatMap(({ records, score, feedback }) =>
      (records.get(component) ?? []).map((it) => ({ ...it, score, feedback })),
    );
    const prompt = settings.reflectPrompt({ component, text: parent.components[component]!, records });
    const role = options.generators?.reflector && { role: 'reflector' };
    const [reflection] = await search.expand(parent.node, { n: 1, prompt, ...role });
    const text = reflection && settings.parse(reflection.text);
    if (!reflection || text === null || text === undefined) return false;
    const candidate = { ...parent.components, [component]: text };
    const node = search.merge([reflection], { components: candidate }, textOf(candidate));
    const after = await evaluate(node, candidate, batch, 'minibatch');
    if (!after || sumOf(after) <= sumOf(before)) {
      node.node.reason = after ? 'no better on its minibatch' : 'not tried to the end';
      return false;
    }
    return join(node, candidate, [k]);
  };
  const tried = new Set<string>();
  /** Whether a candidate has joined; `undefined` when there is nothing to merge. */
  const merge = async (): Promise<boolean | undefined> => {
    const pair = mergeablePair(pool, tried, random);
    if (!pair) return undefined;
    const { i, j, candidate } = pair;
    const node = search.merge([pool[i]!.node, pool[j]!.node], { components: candidate }, textOf(candidate));
    const subset = mergeSubset(pool[i]!.scores, pool[j]!.scores, settings.mergeMinibatch, random);
    const after = await evaluate(
      node,
      candidate,
      subset.map((at) => validation[at]!),
      'minibatch',
    );
    const sumAt = (k: number) => subset.reduce((sum, at) => sum + pool[k]!.scores[at]!, 0);
    if (!after || sumOf(after) < Math.max(sumAt(i), sumAt(j))) {
      node.node.reason = after ? 'worse than one that it was merged of' : 'not tried to the end';
      return false;
    }
    return join(node, candidate, [i, j]);
  };
  let merges = 0;
  let hasJoined = false;
  for (let iteration = 0; iteration < n && search.exhausted === null; iteration++) {
    const merged = hasJoined && merges < maxMerges ? await merge() : undefined;
    if (merged === undefined) hasJoined = await mutate();
    else {
      merges++;
      hasJoined = false;
    }
  }
  const best = pool[argmax(pool.map(({ score }) => score))]!;
  const result = search.finish(best.node, { reason: 'lower score' });
  const candidates = pool.map(({ components, parents, score, scores }) => ({ components, parents, score, scores }));
  return { ...result, candidate: best.components, candidates };
}

const sumOf = (rollouts: readonly Rollout[]): number => rollouts.reduce((sum, { score }) => sum + score, 0);

/** Runs a candidate on instances, side by side, and has what came of it judged; `undefined` when the budget ended it. */
function evaluator(search: Search, program: PromptProgram) {
  return async (
    node: SearchNode,
    candidate: PromptCandidate,
    given: readonly PromptInstance[],
    what: string,
  ): Promise<Rollout[] | undefined> => {
    const names = Object.keys(candidate);
    const runs = await Promise.all(
      given.map(async (instance) => {
        const records = new Map<string, { input: string; output: string }[]>();
        const ask: PromptCall['ask'] = async (prompt, { component, role } = {}) => {
          const [asked] = await search.expand(node, { n: 1, prompt, ...(role !== undefined && { role }) });
          if (!asked) return undefined;
          asked.node.reason = what;
          for (const name of component === undefined ? names : [component]) {
            records.set(name, [...(records.get(name) ?? []), { input: promptAsText(prompt), output: asked.text }]);
          }
          return asked;
        };
        return { outcome: await program({ candidate, instance, ask }), records };
      }),
    );
    await Promise.all(runs.map(({ outcome }, i) => outcome && search.verify([outcome], { problem: given[i]! })));
    if (search.exhausted !== null && runs.some(({ outcome }) => outcome?.score === undefined)) return undefined;
    return runs.map(({ outcome, records }) => {
      const score = outcome?.score ?? 0;
      return { score, records, feedback: outcome?.node.explanation ?? `The score is ${score}.` };
    });
  };
}

/** Batches of indices: all of them shuffled, then shuffled anew; the last batch of a round is filled from its beginning. */
function shuffledBatches(count: number, size: number, random: Random): () => number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  let order: number[] = [];
  let at = 0;
  return () => {
    if (at >= order.length) {
      order = random.shuffled(all);
      at = 0;
    }
    const batch = Array.from({ length: Math.min(size, count) }, (_, k) => order[(at + k) % count]!);
    at += size;
    return batch;
  };
}

/** Two candidates of the front and their merge, if there is one that has not been tried; the ancestor drawn in proportion to its score. */
function mergeablePair(pool: readonly Member[], tried: Set<string>, random: Random) {
  const frequencies = paretoFrequencies(pool.map(({ scores }) => scores));
  const front = [...pool.keys()].filter((k) => frequencies[k]! > 0);
  const pairs = front.flatMap((i) => front.filter((j) => j > i).map((j) => [i, j] as const));
  for (const [i, j] of random.shuffled(pairs)) {
    const bases = mergeAncestors(pool, i, j).filter((base) => !tried.has(`${i} ${j} ${base}`));
    if (bases.length === 0) continue;
    const total = bases.reduce((sum, base) => sum + pool[base]!.score, 0);
    const weights = bases.map((base) => (total > 0 ? pool[base]!.score / total : 1 / bases.length));
    const base = bases[indexAt(weights, random.float())]!;
    tried.add(`${i} ${j} ${base}`);
    const candidate = systemAwareMerge(pool, i, j, base, random);
    const text = JSON.stringify(candidate);
    if (pool.every(({ components }) => JSON.stringify(components) !== text)) return { i, j, candidate };
  }
  return undefined;
}

/** Instances on which two candidates differ, as many of either's as there are, and then others. */
function mergeSubset(a: readonly number[], b: readonly number[], size: number, random: Random): number[] {
  const all = random.shuffled([...a.keys()]);
  const groups = [all.filter((i) => a[i]! > b[i]!), all.filter((i) => a[i]! < b[i]!), all.filter((i) => a[i] === b[i])];
  const each = Math.max(1, Math.ceil(size / 3));
  const chosen = groups.flatMap((group) => group.slice(0, each)).slice(0, size);
  return [...chosen, ...all.filter((i) => !chosen.includes(i))].slice(0, size);
}
