/** The studies of README.md: each gives the numbers of its arms for one seed. */
import {
  activeLearning,
  dsir,
  exactDeduplicate,
  flashOrder,
  ifdSelect,
  type ModularChainProblem,
  minhashDeduplicate,
  modularChain,
  pipeline,
  reversePrefix,
  reverseStarts,
  stoppingRules,
  taskRows,
  uncertaintyMeasures,
  weakBoosting,
} from '@posttrain/data';
import { candidateScorer } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { type CausalLM, LocalScorer } from '@posttrain/lm';
import { answersOf, lossOn, mean, probabilitiesOf, smallModel, type TextRow, tune } from '../sft/small.js';
import { canaries, distillation, labelErrors, preferences } from './labels.js';
import { collapse, mixtures, rejection, taskCurricula } from './loops.js';
import { type Arms, highest, inOrder, language, lettersOfKinds, type Scale } from './rows.js';

/** A few texts come very often, some with a word exchanged: trained on as they come, without copies, or without what is alike. */
export async function deduplication(seed: number, scale: Scale): Promise<Arms> {
  const draw = language('own', seed);
  const [once, often, held] = [draw(120, 'once'), draw(8, 'often'), draw(64, 'held')];
  const random = createRandom(seed, 'copies');
  const copies = often.flatMap(({ text }) =>
    Array.from({ length: 45 }, (_, i) => {
      const words = text.split(' ');
      if (i % 3 === 0) words[23] = String.fromCharCode(97 + random.integer(0, 11));
      return { text: words.join(' ') };
    }),
  );
  const rows = random.shuffled([
    ...once.map(({ text }) => ({ text })),
    ...often.map(({ text }) => ({ text })),
    ...copies,
  ]);
  const exact = await pipeline(rows, [exactDeduplicate<{ text: string }>()]).collect();
  const alike = await pipeline(rows, [minhashDeduplicate<{ text: string }>()]).collect();
  const texts = (some: readonly { text: string }[]) => some.map(({ text }) => ({ text }));
  const arms: Record<string, Record<string, number>> = {};
  for (const [name, given] of Object.entries({
    'control: as it comes': rows,
    'exact copies out': exact,
    'what is alike out (MinHash)': alike,
  })) {
    const { trainer } = await tune({ model: await smallModel(seed), rows: texts(given), steps: scale(100), seed });
    arms[name] = {
      rows: given.length,
      'held-out loss': await lossOn(trainer.model, texts(held)),
      'loss of what came often': await lossOn(trainer.model, texts(often)),
    };
  }
  return arms;
}

/** A quarter of the pool is of the language that is wanted: which 96 rows are trained on. */
export async function selection(seed: number, scale: Scale): Promise<Arms> {
  const [wanted, other] = [language('wanted', seed), language('other', seed)];
  const random = createRandom(seed, 'pool');
  const pool = random.shuffled([...wanted(120, 'pool'), ...other(360, 'pool')]);
  const known = wanted(24, 'known').map(({ text }) => text);
  const held = wanted(64, 'held').map(({ text }) => ({ text }));
  // Who says what is hard is a model of both languages, a little trained.
  const start = [...wanted(40, 'start'), ...other(40, 'start')].map(({ text }) => ({ text }));
  const base = (await tune({ model: await smallModel(seed), rows: start, steps: scale(40), seed })).trainer.model;
  const count = 96;
  type PoolRow = (typeof pool)[number];
  const chosen = {
    'control: at random': random.shuffled(pool).slice(0, count),
    DSIR: await pipeline(pool, [dsir<PoolRow>({ target: known, count, minWords: 0, seed })]).collect(),
    IFD: await pipeline(pool, [
      ifdSelect<PoolRow>({ scorer: new LocalScorer(base), count, emptyPrompt: ':' }),
    ]).collect(),
  };
  const arms: Record<string, Record<string, number>> = {};
  const own = new Set(
    pool.filter(({ text }) => wanted(120, 'pool').some((one) => one.text === text)).map(({ text }) => text),
  );
  for (const [name, rows] of Object.entries(chosen)) {
    const { trainer } = await tune({
      model: await smallModel(seed),
      rows: rows.map(({ text }) => ({ text })),
      steps: scale(120),
      seed,
    });
    arms[name] = {
      'held-out loss': await lossOn(trainer.model, held),
      'share of the wanted': mean(rows.map(({ text }) => Number(own.has(text)))),
    };
  }
  return arms;
}

/** Letters of which some are rare, each of one of two kinds: which rows are labelled. */
export async function active(seed: number, scale: Scale): Promise<Arms> {
  const { kindOf, pool, held } = lettersOfKinds(seed);
  const candidates = ['x', 'y'];
  const sure = (model: CausalLM, prompts: readonly string[]) =>
    candidateScorer(new LocalScorer(model)).distributions(prompts.map((prompt) => ({ prompt, candidates })));
  const run = async (isActive: boolean) => {
    const { rounds } = await activeLearning<string, string, CausalLM>({
      pool,
      train: async (labelled) => {
        const rows = labelled.map(({ row, label }) => ({ prompt: row, completion: label }));
        return (await tune({ model: await smallModel(seed), rows, steps: scale(60), seed })).trainer.model;
      },
      select: async (model, left, count, round) => {
        if (!isActive) return [...left.keys()].slice(0, count);
        const found = await sure(model, left);
        const scores = found.map(({ probabilities }) => uncertaintyMeasures.entropy([probabilities]));
        return highest(scores, count, seed, round);
      },
      annotate: { human: async (prompts) => prompts.map(kindOf) },
      batch: 12,
      stop: [stoppingRules.budget({ labels: 60 })],
      evaluate: async (model) => {
        const found = await sure(model, held);
        return mean(
          found.map(({ probabilities }, i) => Number(candidates[Number(probabilities[1]! > 0.5)] === kindOf(held[i]!))),
        );
      },
      seed,
    });
    return Object.fromEntries(rounds.map(({ labelled, value }) => [`right at ${labelled}`, value!]));
  };
  return { 'control: at random': await run(false), 'highest entropy': await run(true) };
}

/** Chains modulo five whose answers nobody knows for certain: labels that are right in 30 of 100, and a filter that errs in 10 of 100. */
export async function boosting(seed: number, scale: Scale): Promise<Arms> {
  const tasks = Array.from({ length: 100 }, (_, i) => ({
    prompt: `${Math.floor(i / 10)}${i % 10}:`,
    answer: String((3 * Math.floor(i / 10) + (i % 10)) % 5),
  }));
  type Task = (typeof tasks)[number];
  const evaluate = async (model: CausalLM) =>
    mean(
      await probabilitiesOf(
        model,
        tasks.map(({ prompt, answer }) => ({ prompt, completion: answer })),
      ),
    );
  const run = async (more: { focus?: boolean; isFiltered?: boolean }) => {
    const rounds = await weakBoosting<CausalLM, Task, string>({
      items: tasks,
      train: async (kept) => {
        // What is not filtered may be empty, which nothing can be learnt from.
        const rows = kept.flatMap(({ item, answer }): TextRow[] =>
          answer === '' ? [] : [{ prompt: item.prompt, completion: answer }],
        );
        return (await tune({ model: await smallModel(seed), rows, steps: scale(400), seed })).trainer.model;
      },
      generate: (model, items) =>
        answersOf(
          model,
          items.map(({ prompt }) => prompt),
          1,
        ),
      weak: (items, random) =>
        items.map(({ answer }) => (random.float() < 0.3 ? answer : String(random.integer(0, 4)))),
      filter:
        more.isFiltered === false ? null : (item, answer, random) => (answer === item.answer) !== random.float() < 0.1,
      ...{ focus: more.focus ?? true, perRound: 50, rounds: 4, evaluate, seed },
    });
    return { 'right, first round': rounds[0]!.value!, 'right, last round': rounds.at(-1)!.value! };
  };
  return {
    boosted: await run({}),
    'without the focus': await run({ focus: false }),
    'control: without the filter': await run({ isFiltered: false }),
  };
}

/** Sums modulo five in two to four steps, at equal updates: in any order, the short ones first for a while, or from the end of each solution backwards. */
export async function curriculum(seed: number, scale: Scale): Promise<Arms> {
  const task = modularChain({ modulus: 5, steps: [2, 4], operators: ['+'] });
  const rows = [...taskRows(task, { split: 'train', count: 320, seed, unique: false })];
  const held = [...taskRows(task, { split: 'test', count: 80, seed: seed + 100, unique: false })];
  // The residue after each step, as a digit each.
  const stepsOf = ({ start, steps }: ModularChainProblem): string[] =>
    steps.map((_, i) => String(steps.slice(0, i + 1).reduce((sum, one) => sum + one.operand, start) % 5));
  const solved = (some: typeof rows): TextRow[] =>
    some.map(({ prompt, problem }) => ({ prompt, completion: stepsOf(problem).join('') }));
  const random = createRandom(seed, 'order');
  const total = Math.round(scale(300));
  const needed = total * 16;
  const cycled = (list: readonly TextRow[]): TextRow[] =>
    Array.from({ length: Math.ceil(needed / list.length) }, () => random.shuffled(list))
      .flat()
      .slice(0, needed);
  const all = solved(rows);
  const sorted = all.toSorted((a, b) => a.prompt.length - b.prompt.length);
  const flash = flashOrder(needed, 0.2, []).map((i) => sorted[i % Math.round(sorted.length / 2)]!);
  const stages = [0, 1, 2].flatMap((stage) => {
    const part = Array.from({ length: Math.round(needed / 5) }, (_, i) => rows[i % rows.length]!);
    return part.map(({ prompt, problem }): TextRow => {
      const steps = stepsOf(problem);
      const start = reverseStarts(steps.length, 4)[stage]!;
      const { prefix, rest } = reversePrefix(steps, start, '');
      return { prompt: prompt + prefix, completion: rest };
    });
  });
  const arms: Record<string, Record<string, number>> = {};
  const orders = {
    'control: shuffled': cycled(all),
    flash: [...flash, ...cycled(all)].slice(0, needed),
    reverse: [...stages, ...cycled(all)].slice(0, needed),
  };
  for (const [name, given] of Object.entries(orders)) {
    const { trainer } = await tune({ model: await smallModel(seed), rows: inOrder(given), steps: total, seed });
    arms[name] = { right: mean(await probabilitiesOf(trainer.model, solved(held))) };
  }
  return arms;
}

/** By name, with the arm that the others are compared to. */
export const STUDIES = {
  deduplication: { run: deduplication, control: 'control: as it comes' },
  selection: { run: selection, control: 'control: at random' },
  active: { run: active, control: 'control: at random' },
  boosting: { run: boosting, control: 'control: without the filter' },
  curriculum: { run: curriculum, control: 'control: shuffled' },
  collapse: { run: collapse, control: 'control: the first generation' },
  mixtures: { run: mixtures, control: 'control: uniform' },
  rejection: { run: rejection, control: 'control: the solved rows alone' },
  taskCurricula: { run: taskCurricula, control: 'control: all levels' },
  preferences: { run: preferences, control: 'control: at random' },
  distillation: { run: distillation, control: 'control: at random' },
  labelErrors: { run: labelErrors, control: 'control: all rows' },
  canaries: { run: canaries, control: 'control: as it comes' },
} as const;
/** A name of `STUDIES`. */
export type StudyName = keyof typeof STUDIES;
