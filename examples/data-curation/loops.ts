/** Studies of loops that train, of mixtures and of curricula: each gives the numbers of its arms for one seed. */
import {
  blend,
  doReMi,
  formatStructuredCot,
  generations,
  pipeline,
  randomMixtures,
  reasoningTasks,
  regMix,
  selfTraining,
  selfTrainingMethods,
  taskCurriculum,
  taskRows,
} from '@posttrain/data';
import type { Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { predictions, type SftRow, Trainer, tokenizeRows, toTrainingRows } from '@posttrain/training';
import { lossOn, mean, probabilitiesOf, smallModel, type TextRow, tune } from '../sft/small.js';
import { type Arms, inOrder, language, type Scale } from './rows.js';

/** Models that are trained on texts of the model before: on those alone, on all so far, or on a draw of those of fixed size. */
export async function collapse(seed: number, scale: Scale): Promise<Arms> {
  const draw = language('own', seed);
  const real = draw(96, 'real').map(({ text }) => ({ text }));
  const held = draw(64, 'held').map(({ text }) => ({ text }));
  const arms: Record<string, Record<string, number>> = {};
  for (const mode of ['replace', 'accumulate', 'accumulate-subsample'] as const) {
    const chain = await generations<CausalLM, SftRow>({
      ...{ real, mode, generations: 3, seed },
      train: async (rows) =>
        (await tune({ model: await smallModel(seed), rows, steps: scale(100), seed })).trainer.model,
      sample: async (model, count, random) => {
        const starts = Array.from({ length: count }, () => String.fromCharCode(97 + random.integer(0, 11)));
        const asked = starts.map((prompt) => ({
          prompt,
          maxTokens: 46,
          temperature: 1,
          seed: random.integer(0, 2 ** 31 - 1),
        }));
        const found = await new LocalGenerator(model).generate(asked);
        return found.map(([one], i) => ({ text: starts[i]! + one!.text }));
      },
    });
    const losses = await Promise.all([0, 1, 3].map((g) => lossOn(chain[g]!.model, held)));
    const named = Object.fromEntries([0, 1, 3].map((g, i) => [`held-out loss, generation ${g}`, losses[i]!]));
    arms[mode] = named;
    // The same model at every generation: what real rows alone come to.
    arms['control: the first generation'] ??= Object.fromEntries(Object.keys(named).map((name) => [name, losses[0]!]));
  }
  return arms;
}

/** -log p of every trained token of each row. */
async function tokenLosses(model: CausalLM, rows: readonly SftRow[]): Promise<number[]> {
  const trainer = await Trainer.create(model, { optimizer: 'sgd' });
  const training = toTrainingRows(tokenizeRows(model, rows).rows);
  const { logProbs } = await trainer.read(training, predictions());
  return training.flatMap(({ weights }, i) =>
    Array.from(weights, (weight, t) => (weight > 0 ? [-logProbs![i]![t]!] : [])).flat(),
  );
}

/** Four languages, from one without chance to one that is nothing else: in which shares they are trained on, at equal tokens. */
export async function mixtures(seed: number, scale: Scale): Promise<Arms> {
  const sureness = { A: 1, B: 0.75, C: 0.75, D: 0.5 } as const;
  const names = Object.keys(sureness) as (keyof typeof sureness)[];
  const texts = (name: keyof typeof sureness, count: number, draw: string) =>
    language(name, seed, sureness[name])(count, draw).map(({ text }) => ({ text: `${name} ${text}` }));
  const pools = Object.fromEntries(names.map((name) => [name, texts(name, 400, 'pool')]));
  const held = Object.fromEntries(names.map((name) => [name, texts(name, 32, 'held')]));
  const lossesOf = (model: CausalLM) => Promise.all(names.map((name) => lossOn(model, held[name]!)));
  const endless = function* (rows: readonly { text: string }[]) {
    for (;;) yield* rows;
  };
  const drawn = async (weights: readonly number[], count: number, own: number) => {
    const sources = names.flatMap((name, i) =>
      weights[i]! > 1e-6 ? [[name, { rows: endless(pools[name]!), weight: weights[i]! }] as const] : [],
    );
    const rows: { text: string }[] = [];
    for await (const row of blend(Object.fromEntries(sources), { seed: own })) {
      rows.push(row);
      if (rows.length === count) break;
    }
    return rows;
  };
  const trained = async (weights: readonly number[], steps: number, own: number) => {
    const rows = inOrder(await drawn(weights, steps * 16, own));
    return (await tune({ model: await smallModel(seed), rows, steps, seed })).trainer.model;
  };
  const steps = scale(160);
  const uniform = names.map(() => 1 / names.length);
  const reference = await trained(uniform, steps, seed);
  // DoReMi: the proxy goes on by eight updates each, and its excess is over texts of the pools, clipped token by token.
  const probes = Object.fromEntries(names.map((name) => [name, pools[name]!.slice(0, 16)]));
  const known = await Promise.all(names.map((name) => tokenLosses(reference, probes[name]!)));
  let proxy = await smallModel(seed);
  const found = await doReMi(
    names,
    async (weights, step) => {
      const rows = inOrder(await drawn(weights, 8 * 16, 1000 * seed + step));
      const options = { model: proxy, rows, steps: 8, seed, schedule: 'constant', warmupSteps: 0 } as const;
      proxy = (await tune(options)).trainer.model;
      return Promise.all(
        names.map(async (name, i) =>
          mean((await tokenLosses(proxy, probes[name]!)).map((loss, t) => Math.max(0, loss - known[i]![t]!))),
        ),
      );
    },
    { steps: Math.max(1, Math.round(steps / 8)) },
  );
  // RegMix: short runs of random mixtures, and the mixture that their regression likes best.
  const runs = [];
  for (const [i, weights] of randomMixtures(uniform, 16, { seed }).entries()) {
    runs.push({
      weights,
      loss: mean(await lossesOf(await trained(weights, Math.max(2, Math.round(steps / 3)), 100 + i))),
    });
  }
  const arms: Record<string, Record<string, number>> = {};
  for (const [name, weights] of [
    ['control: uniform', uniform],
    ['DoReMi', names.map((one) => found.weights[one]!)],
    ['RegMix', regMix(runs, uniform, { seed })],
  ] as const) {
    const losses = await lossesOf(name === 'control: uniform' ? reference : await trained(weights, steps, seed));
    const shares = Object.fromEntries(names.map((one, i) => [`share of ${one}`, weights[i]!]));
    arms[name] = {
      'mean held-out loss': mean(losses),
      'worst above what chance allows': Math.max(...losses.map((loss, i) => loss - entropyOf(sureness[names[i]!]))),
      ...shares,
    };
  }
  return arms;
}

/** Of the letters of a text of 24 words in the end, by token: every second token is a space, which is certain. */
function entropyOf(sure: number): number {
  const perWord = sure === 1 ? 0 : -(sure * Math.log(sure) + (1 - sure) * Math.log(1 - sure));
  return perWord / 2;
}

/** Words of four letters are turned round, spelled first: a model that does it sometimes learns from what it did right. */
export async function rejection(seed: number, scale: Scale): Promise<Arms> {
  const random = createRandom(seed, 'words');
  const letters = 'abcdefgh';
  const words = new Set<string>();
  while (words.size < 400) words.add(Array.from({ length: 4 }, () => random.pick([...letters])).join(''));
  const given = [...words].map((word) => {
    const answer = [...word].reverse();
    return { prompt: `${word}:`, spelled: answer.join(' '), answer: answer.join('') };
  });
  const solved = await pipeline(given, [
    formatStructuredCot<(typeof given)[number]>({ columns: { t: 'spelled', a: 'answer' }, separator: '' }),
  ]).collect();
  const rows = solved.map(({ prompt, completion, answer }) => ({ prompt, completion, answer }));
  const [known, pool, held] = [rows.slice(0, 40), rows.slice(40, 296), rows.slice(296)];
  const isRight: Verifier = {
    name: 'turned round',
    verify: async (requests) =>
      requests.map(({ completion, row }) => ({ score: Number(completion.endsWith(`<a>${String(row!.answer)}</a>`)) })),
  };
  const learnt = async (given: readonly TextRow[], steps: number, model?: CausalLM) =>
    (await tune({ model: model ?? (await smallModel(seed)), rows: texts(given), steps, seed })).trainer.model;
  const texts = (some: readonly TextRow[]) => some.map(({ prompt, completion }) => ({ prompt, completion }));
  const right = async (model: CausalLM) => mean(await probabilitiesOf(model, texts(held)));
  const generatorOf = (model: CausalLM) => Object.assign(new LocalGenerator(model), { model });
  const base = await learnt(known, scale(220));
  const updates = scale(200);
  const arms: Record<string, Record<string, number>> = {};
  const done = async (name: string, own: readonly TextRow[], model: CausalLM) => {
    arms[name] = { right: await right(model), 'right before': await right(base), 'rows of its own': own.length };
  };
  await done('control: the solved rows alone', [], await learnt(known, updates));
  let first = 0;
  for (const [name, method, rounds] of [
    ['RFT', selfTrainingMethods.rft, 1],
    ['STaR', selfTrainingMethods.star, 3],
  ] as const) {
    const found = await selfTraining({
      ...{ method, base: generatorOf(base), rows: pool, verifier: isRight, samples: 4, rounds, seed },
      sampling: { temperature: 1, maxTokens: 32 },
      train: async (own) => generatorOf(await learnt([...known, ...(own as TextRow[])], updates)),
    });
    const last = found.rounds.at(-1)!;
    if (name === 'RFT') first = last.rows.length;
    await done(name, last.rows as readonly TextRow[], found.model.model);
  }
  const asMany = pool.slice(0, Math.min(first, pool.length));
  await done('as many solved rows as RFT had', asMany, await learnt([...known, ...asMany], updates));
  return arms;
}

/** Sums of two to four numbers of reasoning-gym's protocol, at equal updates: the hardest alone, all levels from the start, or level by level. */
export async function taskCurricula(seed: number, scale: Scale): Promise<Arms> {
  const maker = reasoningTasks.chainSum;
  const easy = taskCurriculum(maker, { levels: { terms: 0, digits: 0 } });
  const whole = easy.raise('terms');
  const hardest = taskCurriculum(maker, { levels: whole.state(), mode: 'upper-bound' });
  const question = (prompt: string) =>
    prompt.split('\n')[0]!.replace('What is ', '').replace('?', '=').replaceAll(' ', '');
  const rowsOf = (task: ReturnType<typeof easy.task>, split: 'train' | 'test', count: number, draw: number) =>
    [...taskRows(task, { split, count, seed: draw, unique: split === 'test' })].map(
      ({ prompt, answer }): TextRow => ({ prompt: question(prompt), completion: answer }),
    );
  const total = Math.round(scale(600));
  const count = total * 16;
  const orders = {
    'control: all levels': rowsOf(whole.task(), 'train', count, seed),
    'the hardest alone': rowsOf(hardest.task(), 'train', count, seed),
    'level by level': [
      ...rowsOf(easy.task(), 'train', Math.round(count * 0.3), seed),
      ...rowsOf(whole.task(), 'train', Math.round(count * 0.3), seed),
      ...rowsOf(hardest.task(), 'train', count - 2 * Math.round(count * 0.3), seed),
    ],
  };
  const held = {
    'right of two terms': rowsOf(easy.task(), 'test', 20, 50),
    'right of four terms': rowsOf(hardest.task(), 'test', 100, 60),
  };
  const arms: Record<string, Record<string, number>> = {};
  for (const [name, rows] of Object.entries(orders)) {
    const { trainer } = await tune({ model: await smallModel(seed), rows: inOrder(rows), steps: total, seed });
    const right = await Promise.all(Object.values(held).map((some) => probabilitiesOf(trainer.model, some)));
    arms[name] = Object.fromEntries(Object.keys(held).map((of, i) => [of, mean(right[i]!)]));
  }
  return arms;
}
