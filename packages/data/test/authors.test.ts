// What is made, rated and chosen, beside the code of the methods' authors at pinned commits (goldens/authors/curation.py).
import { readFileSync } from 'node:fs';
import type { Embedder, Generator, RowGradients, Scorer, Verifier } from '@posttrain/interfaces';
import { numericMatch } from '@posttrain/interfaces/verifiers';
import { describe, expect, it } from 'vitest';
import {
  alpaGasus,
  deitaSelect,
  doReMiUpdate,
  expectedRating,
  ifdSelect,
  instructionBacktranslation,
  lessSelect,
  maskedNumbers,
  metaMath,
  pipeline,
  rejectionSampling,
  type SelectionStep,
  star,
  superfilter,
  ultraFeedback,
  unsuitableInstruction,
} from '../src/index.js';
import { differentEquations } from '../src/steps/different-equations.js';
import { unsuitableInstance } from '../src/synthesis/self-instruct.js';
import { ratingsIn } from '../src/synthesis/ultra-feedback.js';

// biome-ignore lint/suspicious/noExplicitAny: each file has its own form
const authors = (name: string): any =>
  JSON.parse(readFileSync(new URL(`../../../goldens/authors/${name}.json`, import.meta.url), 'utf8'));
type Pair = { readonly prompt: string; readonly completion: string };
/** Places of the rows that stay, which their completions are. */
const placesOf = (rows: readonly Pair[]) => rows.map(({ completion }) => Number(completion));
const usage = { promptTokens: 1, completionTokens: 1 };
const says = (answer: (prompt: string, i: number) => string, name = 'says'): Generator => ({
  name,
  generate: async (requests) =>
    requests.map(({ prompt, n = 1 }) =>
      Array.from({ length: n }, (_, i) => ({ text: answer(String(prompt), i), finishReason: 'stop' as const, usage })),
    ),
});
const rates = (score: (completion: string) => number): Verifier => ({
  name: 'rates',
  verify: async (requests) => requests.map(({ completion }) => ({ score: score(completion) })),
});

describe('what is made', () => {
  const selfInstruct = authors('self-instruct');
  it.each<[string, boolean]>(selfInstruct.instructions)('Self-Instruct takes an instruction: %s', (text, isTaken) => {
    expect(unsuitableInstruction(text.trim().replaceAll(/\s+/g, ' ')) === null).toBe(isTaken);
  });
  it.each<[string, string, boolean]>(selfInstruct.instances)('and an instance: %j, %j', (input, output, isTaken) => {
    expect(unsuitableInstance({ input: input.trim(), output: output.trim() }) === null).toBe(isTaken);
  });

  const metamath = authors('meta-math');
  it.each<[string, [string, string][]]>(metamath.questions)('MetaMath masks numbers: %s', (question, theirs) => {
    // Their answer is a word of the text, with its marks, and a currency before a number that ends with a mark is lost.
    const number = (text: string) => text.replaceAll(/[^\d./]|[.]$/g, '');
    expect(maskedNumbers(question).map(({ masked, value }) => [masked.replace('$x', 'x'), value])).toEqual(
      theirs.map(([masked, value]) => [masked, number(value)]),
    );
  });
  it('MetaMath keeps the solutions that come to the answer', async () => {
    const replies: [string, string, string, boolean][] = metamath.replies;
    const rows = replies.map(([answer], i) => ({ prompt: `Question ${i}?`, answer }));
    const generator = says((prompt) => replies[Number(/\d+/.exec(prompt)![0])]![1]);
    const step = metaMath({ generator, verifier: numericMatch(), kinds: ['answer'] });
    expect((await pipeline(rows, [step]).collect()).map(({ prompt }) => prompt)).toEqual(
      rows.filter((_, i) => replies[i]![3]).map(({ prompt }) => prompt),
    );
  });

  it('UltraFeedback reads the judge’s ratings, and their means, where an aspect may not apply', async () => {
    const { aspects, rows } = authors('ultra-feedback');
    for (const [number, row] of rows.entries()) {
      const judge = says((prompt) => {
        const aspect = aspects.find((one: string) => prompt.startsWith(one))!;
        const shown = [...prompt.matchAll(/Answer \d: (.*)/g)].map(([, text]) => row.answers.indexOf(text));
        return shown.map((of) => row.said[aspect][of]).join('\n\n');
      });
      const step = ultraFeedback({
        generators: row.answers.map((answer: string, i: number) => says(() => answer, `model ${i}`)),
        judge,
        aspects: aspects.map((name: string) => ({ name, meaning: '' })),
        prompts: { rate: '{aspect}: {instruction}\n{answers}' },
      });
      const made = await pipeline([{ prompt: `do ${number}` }], [step]).collect();
      const means: number[] = row.means;
      if (new Set(means).size === 1) {
        expect(made).toEqual([]);
        continue;
      }
      const own = row.answers.map((text: string) => made[0]!.answers.find(({ completion }) => completion === text)!);
      own.forEach(({ ratings, score }: (typeof made)[0]['answers'][0], i: number) => {
        const theirs = aspects.flatMap((name: string, a: number) =>
          row.ratings[i][a] === 'N/A' ? [] : [[name, Number(row.ratings[i][a])]],
        );
        expect(ratings).toEqual(Object.fromEntries(theirs));
        expect(score).toBeCloseTo(means[i]!, 12);
      });
      expect(made[0]!.chosen).toBe(row.answers[means.indexOf(Math.max(...means))]);
    }
    expect(ratingsIn('Rating: 4\n\nRating: 3', 3)).toEqual([null, null, null]);
  });

  it('backtranslation keeps what ends with the score', async () => {
    const { said, scores, kept } = authors('humpback');
    const rows = said.map((_: string, i: number) => ({ text: `text ${i}` }));
    const rater = says((prompt) => said[Number(/text (\d+)/.exec(prompt)![1])]);
    const step = (threshold: number) =>
      instructionBacktranslation({ generator: says(() => 'an instruction'), rater, threshold });
    const texts = (some: readonly { completion: string }[]) =>
      some.map(({ completion }) => Number(completion.slice(5)));
    expect(texts(await pipeline(rows, [step(5)]).collect())).toEqual(kept);
    const all = await pipeline(rows, [step(1)]).collect();
    expect(all.map(({ rating, completion }) => [Number(completion.slice(5)), rating])).toEqual(
      scores.flatMap((score: number | null, i: number) => (score === null ? [] : [[i, score]])),
    );
  });

  it('RFT keeps one solution of each list of equations', async () => {
    const { solutions, right, different } = authors('rft');
    const answers = ['5', '12'];
    const rows = answers.map((answer, i) => ({ prompt: `q${i}`, answer }));
    const generator = says((prompt, i) => solutions[Number(prompt[1])][i]);
    const make = (distinct: 'text' | 'equations') =>
      rejectionSampling<(typeof rows)[number]>({
        ...{ generator, verifiers: [numericMatch()], samples: solutions[0].length, distinct },
      });
    const of = async (distinct: 'text' | 'equations') => {
      const made = await pipeline(rows, [make(distinct)]).collect();
      return rows.map(({ prompt }) => made.filter((one) => one.prompt === prompt).map(({ completion }) => completion));
    };
    expect(await of('text')).toEqual(right);
    expect(await of('equations')).toEqual(different);
  });
  it.each<[string, boolean]>([
    ['<<0.5*3=1.5>>', true],
    ['<<10/3=3.3333>>', true],
    ['<<10/3=3.33>>', false],
    ['<<-2+5=3>>', true],
    ['<<(2+3)*4=20>>', true],
    ['<<x+1=2>>', false],
    ['<<1/0=1>>', false],
    ['<<7>>', false],
    ['no equation', true],
  ])('an equation holds, or its solution goes: %s', (solution, isKept) => {
    expect(differentEquations([solution])).toEqual(isKept ? [0] : []);
  });
  it('of each list the solution stays that is furthest from the others, by hand', () => {
    const solutions = ['a <<1+1=2>>', 'b <<2+2=4>>', 'a long way <<1+1=2>>', 'c <<1+1=2>>'];
    expect(differentEquations(solutions)).toEqual([2, 1]);
    expect(differentEquations(solutions.slice(2))).toEqual([0]);
  });

  it('STaR asks with a hint where it failed, and keeps what comes to the answer without it', async () => {
    const { rows, asked, kept } = authors('star');
    const ours: string[] = [];
    const generator = says((prompt) => {
      ours.push(prompt);
      const [, , said, hinted] = rows.find(([question]: [string]) => prompt.includes(question));
      return prompt.includes('(#### ') ? hinted : said;
    });
    // Only what stands behind the mark is an answer, to the end of its line.
    const verifier: Verifier = {
      name: 'behind the mark',
      verify: async (requests) =>
        requests.map(({ completion, row }) => ({
          score: Number(/####([^\n]*)/.exec(completion)?.[1]?.trim() === row!.answer),
        })),
    };
    const prompts = { reason: 'Q: {question}\nA:', hint: 'Q: {question} (#### {answer})\nA:' };
    const step = star({ generator, verifier, prompts, concurrency: 1 });
    const given = rows.map(([prompt, answer]: [string, string]) => ({ prompt, answer }));
    const made = await pipeline(given, [step]).collect();
    expect(ours).toEqual(asked);
    // Theirs are cut off behind the answer's line.
    expect(
      made.map(({ prompt, completion }) => `Q: ${prompt}\nA:${completion.replace(/(####.*)[\s\S]*/, '$1')}`),
    ).toEqual(kept);
  });
});

describe('what is chosen', () => {
  it('AlpaGasus by the ratings', async () => {
    const { reviews, kept } = authors('alpagasus');
    const rows: Pair[] = reviews.map((_: string, i: number) => ({ prompt: 'p', completion: String(i) }));
    const judge = says((prompt) => reviews[Number(/Answer: (\d+)/.exec(prompt)![1])]);
    const made = await pipeline(rows, [alpaGasus<Pair>({ judge })]).collect();
    expect(placesOf(made)).toEqual(kept);
  });

  it('DEITA by expectations of ratings, and the order and the cosines', async () => {
    const { ratings, selections } = authors('deita');
    for (const [logits, expected] of ratings) {
      const weights = logits.map((x: number) => Math.exp(x));
      const total = weights.reduce((a: number, b: number) => a + b);
      const scorer = {
        name: 'logits',
        distributions: async () => [{ probabilities: weights.map((x: number) => x / total), logMass: 0 }],
      };
      const [verdict] = await expectedRating({ scorer: scorer as never, prompt: '{instruction}' }).verify([
        { prompt: 'p', completion: 'c' },
      ]);
      expect(verdict!.score).toBeCloseTo(expected, 5);
    }
    for (const { threshold, count, scores, vectors, chosen } of selections) {
      const rows: Pair[] = scores.map((_: number[], i: number) => ({ prompt: `p${i}`, completion: String(i) }));
      const embedder: Embedder = {
        name: 'given',
        embed: async (texts) => texts.map((text) => Float32Array.from(vectors[Number(text.split('\n')[1])])),
      };
      const [complexity, quality] = [0, 1].map((of) => rates((completion) => scores[Number(completion)][of]));
      const step = deitaSelect<Pair>({
        ...{ complexity: complexity!, quality: quality!, embedder, threshold, count },
      });
      const made = await pipeline(rows, [step]).collect();
      expect(placesOf(made)).toEqual(chosen.toSorted((a: number, b: number) => a - b));
    }
  });

  it('LESS by the influence of gradients, averaged over a task and the highest of all', async () => {
    const { rates: learningRates, train, valid, rowsPerTask, influence } = authors('less');
    const rows: Pair[] = influence.map((_: number, i: number) => ({ prompt: '', completion: `row ${i}` }));
    const checkpoints = learningRates.map((learningRate: number, c: number) => ({
      learningRate,
      gradients: {
        name: `checkpoint ${c}`,
        gradients: async (asked: readonly { completion: string }[]) =>
          asked.map(({ completion }) => {
            const [kind, i] = completion.split(' ');
            return Float32Array.from((kind === 'row' ? train : valid)[c][Number(i)]);
          }),
      } as unknown as RowGradients,
    }));
    const tasks = valid[0].length / rowsPerTask;
    const targets = Object.fromEntries(
      Array.from({ length: tasks }, (_, task) => [
        `task ${task}`,
        Array.from({ length: rowsPerTask }, (__, i) => ({ prompt: '', completion: `valid ${task * rowsPerTask + i}` })),
      ]),
    );
    const step = lessSelect<Pair>({ checkpoints, targets, count: 8 });
    const found = new Map<string, number>();
    const watched = {
      ...step,
      plan: async (...given: Parameters<NonNullable<typeof step.plan>>) => {
        const plan = await step.plan!(...given);
        for (const [id, worth] of plan.kept) found.set(id, worth);
        return plan;
      },
    };
    await pipeline(rows, [watched]).collect();
    const sorted = (list: number[]) => list.toSorted((a, b) => a - b);
    sorted([...found.values()]).forEach((worth, i) => {
      expect(worth).toBeCloseTo(sorted(influence)[i]!, 5);
    });
    const three = await pipeline(rows, [lessSelect<Pair>({ checkpoints, targets, count: 3 })]).collect();
    const best = influence.toSorted((a: number, b: number) => b - a).slice(0, 3);
    expect(three).toEqual(rows.filter((_: object, i: number) => best.includes(influence[i])));
  });

  /** A scorer whose losses are given by row, alone and behind the question. */
  const lossesOf = (losses: (row: number, isAlone: boolean) => readonly number[]): Scorer => ({
    name: 'given',
    score: async (requests) =>
      requests.map(({ prompt, continuation }) => {
        const own = losses(Number(continuation), prompt === ':');
        return { logProb: -own.reduce((a, b) => a + b, 0), tokens: own.length, isGreedy: false };
      }),
  });
  const places = (count: number): Pair[] =>
    Array.from({ length: count }, (_, i) => ({ prompt: 'q', completion: String(i) }));
  const chosenOf = async (step: SelectionStep<Pair>, count: number) =>
    placesOf(await pipeline(places(count), [step]).collect());

  it('Superfiltering by the ratio of perplexities, below 1', async () => {
    const { perplexities, count, chosen } = authors('superfiltering');
    const scorer = lossesOf((row, isAlone) => {
      const value = perplexities[row][isAlone ? 0 : 1];
      // A row that could not be scored has perplexities of 0, and a ratio of 0; ours has no tokens.
      return value === 0 ? [] : [Math.log(value), Math.log(value)];
    });
    expect(await chosenOf(superfilter<Pair>({ scorer, count, emptyPrompt: ':' }), perplexities.length)).toEqual(
      chosen.toSorted((a: number, b: number) => a - b),
    );
  });

  it('Cherry by the ratio of losses, up to 1', async () => {
    const { rows, count, chosen } = authors('cherry');
    const scorer = lossesOf((row, isAlone) => rows[row][isAlone ? 'alone' : 'behind']);
    expect(await chosenOf(ifdSelect<Pair>({ scorer, count, emptyPrompt: ':' }), rows.length)).toEqual(chosen);
  });

  it('DoReMi’s weights by excess losses, clipped token by token, a domain that did not come with its last', () => {
    const { start, stepSize, smoothing, updates } = authors('doremi');
    let weights: number[] = start;
    let scores = start.map(() => 0);
    for (const { excess, kept, domains, weights: theirs } of updates) {
      scores = scores.map((last: number, domain: number) => {
        const own = (excess as number[][]).flatMap((row, i) =>
          domains[i] === domain ? row.filter((_, t) => kept[i][t]).map((x) => Math.max(0, x)) : [],
        );
        return domains.includes(domain) ? own.reduce((a, b) => a + b, 0) / own.length : last;
      });
      weights = doReMiUpdate(weights, scores, stepSize, smoothing);
      weights.forEach((weight, i) => {
        expect(weight).toBeCloseTo(theirs[i], 6);
      });
    }
  });
});
