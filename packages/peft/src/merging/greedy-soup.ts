import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { custom, type Given, listOf, options, text } from '@posttrain/interfaces';
import { MergeError } from '../adapters/errors.js';
import { mergeModels } from './merge-models.js';

const soupOptions = options('greedySoup', {
  /** Folders (or names on the hub) of models that were fine-tuned from one start. */
  models: listOf(text({}), {}),
  /** How good the model in a folder is on rows that were held out for this: more is better. */
  evaluate: custom<(folder: string) => number | Promise<number>>()(
    'a function of a folder',
    (value) => typeof value === 'function',
    {},
  ),
  /** The folder that is written. */
  output: text({}),
});

/** A soup and what is in it. */
export interface GreedySoup {
  /** Models whose weights were averaged, from the best on. */
  readonly ingredients: readonly string[];
  /** What `evaluate` said of the soup, and of every model alone. */
  readonly score: number;
  readonly scores: Readonly<Record<string, number>>;
}

/**
 * The greedy soup (arXiv 2203.05482): from the best model on, each next one is averaged into the soup where the soup is then no
 * worse on held-out rows. So it is at least as good there as its best ingredient. `evaluate` is asked at most 2k − 1 times for
 * k models.
 *
 * @throws OptionError, MergeError (a score that is no number), and what `mergeModels` throws
 */
export async function greedySoup(given: Given<typeof soupOptions>): Promise<GreedySoup> {
  const { models, evaluate, output } = soupOptions.read(given);
  if (models.length === 0) throw new MergeError('greedySoup: there are no models');
  const scoreOf = async (folder: string): Promise<number> => {
    const score = await evaluate(folder);
    if (Number.isFinite(score)) return score;
    throw new MergeError(`greedySoup: evaluate gave ${score} for ${folder}, which is no score`);
  };
  const scores: Record<string, number> = {};
  for (const model of new Set(models)) scores[model] = await scoreOf(model);
  const ordered = [...new Set(models)].sort((a, b) => scores[b]! - scores[a]!);
  let ingredients = [ordered[0]!];
  let score = scores[ingredients[0]!]!;
  const average = (of: readonly string[], to: string) =>
    mergeModels({ merge_method: 'linear', models: of.map((model) => ({ model })) }, { output: to });
  const trials = await mkdtemp(join(tmpdir(), 'soup-'));
  try {
    for (const [i, next] of ordered.slice(1).entries()) {
      const trial = join(trials, `${i}`);
      await average([...ingredients, next], trial);
      const tried = await scoreOf(trial);
      await rm(trial, { recursive: true, force: true });
      if (tried < score) continue;
      ingredients = [...ingredients, next];
      score = tried;
    }
  } finally {
    await rm(trials, { recursive: true, force: true });
  }
  await average(ingredients, output);
  return { ingredients, score, scores };
}
