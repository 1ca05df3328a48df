import type { CandidateScorer, GenerateRequest, Generator, Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  candidateGenerator,
  gepa,
  type Lineage,
  mergeAncestors,
  NoCandidateError,
  type PromptCandidate,
  type PromptProgram,
  paretoFrequencies,
  superContext,
  systemAwareMerge,
} from '../src/index.js';
import { completion, goldenOf, scripted, seededUniform } from './doubles.js';

interface Golden {
  readonly selections: readonly { readonly scores: number[][]; readonly frequencies: number[] }[];
  readonly merges: readonly {
    readonly pool: readonly Lineage[];
    readonly pairs: readonly {
      readonly i: number;
      readonly j: number;
      readonly ancestors: number[];
      readonly ancestor?: number;
      readonly merged?: PromptCandidate;
    }[];
  }[];
}
const golden = goldenOf<Golden>('gepa', 'prompt-optimization');

describe('paretoFrequencies', () => {
  it('are those of the authors’ package', () => {
    for (const { scores, frequencies } of golden.selections) expect(paretoFrequencies(scores)).toEqual(frequencies);
  });

  it('leave every instance one of its best, and nobody whom the others make superfluous', () => {
    const tables = fc
      .tuple(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 5 }))
      .chain(([candidates, instances]) =>
        fc.array(fc.array(fc.nat({ max: 3 }), { minLength: instances, maxLength: instances }), {
          minLength: candidates,
          maxLength: candidates,
        }),
      );
    fc.assert(
      fc.property(tables, (scores) => {
        const frequencies = paretoFrequencies(scores);
        const kept = scores.flatMap((row, k) => (frequencies[k]! > 0 ? [row] : []));
        const best = (rows: readonly (readonly number[])[]) =>
          scores[0]!.map((_, i) => Math.max(-1, ...rows.map((row) => row[i]!)));
        const top = best(scores);
        expect(best(kept)).toEqual(top);
        for (const row of kept) expect(best(kept.filter((it) => it !== row))).not.toEqual(top);
        scores.forEach((row, k) => {
          if (frequencies[k]! > 0) expect(frequencies[k]).toBe(row.filter((it, i) => it === top[i]).length);
        });
      }),
      { numRuns: 200 },
    );
    expect(paretoFrequencies([])).toEqual([]);
  });
});

describe('systemAwareMerge', () => {
  it('is the authors’ package’s, over the ancestors that it allows', () => {
    let merged = 0;
    for (const { pool, pairs } of golden.merges) {
      for (const pair of pairs) {
        expect(mergeAncestors(pool, pair.i, pair.j)).toEqual(pair.ancestors);
        if (pair.ancestor === undefined) continue;
        merged++;
        expect(systemAwareMerge(pool, pair.i, pair.j, pair.ancestor, createRandom(0))).toEqual(pair.merged);
      }
    }
    expect(merged).toBeGreaterThan(20);
  });

  it('takes by lot what both have changed with equal scores, and nothing from a child of the other', () => {
    const of = (a: string, parents: number[], score = 1): Lineage => ({ components: { a }, parents, score });
    const pool = [of('0', [], 0), of('1', [0]), of('2', [0]), of('3', [1])];
    const taken = [0.1, 0.9].map((float) => systemAwareMerge(pool, 1, 2, 0, { float: () => float }).a);
    expect(taken).toEqual(['1', '2']);
    expect(mergeAncestors(pool, 1, 3)).toEqual([]);
    expect(mergeAncestors(pool, 1, 1)).toEqual([]);
  });
});

const instances = (count: number) => Array.from({ length: count }, (_, i) => ({ prompt: `instance ${i}`, row: { i } }));
const verifier: Verifier = {
  name: 'rules',
  verify: async (requests) =>
    requests.map(({ completion: said, row }) => ({
      score: said === 'yes' ? 1 : 0,
      explanation: said === 'yes' ? 'right' : `it needs rule ${row?.i}`,
    })),
};
/** A model that is right or wrong as its whole prompt says. */
const worker = (isRight: (prompt: string) => boolean): Generator & { requests: GenerateRequest[] } => {
  const requests: GenerateRequest[] = [];
  return {
    name: 'worker',
    requests,
    generate: async (batch) => {
      requests.push(...batch);
      return batch.map(({ prompt }) => [completion(isRight(String(prompt)) ? 'yes' : 'no')]);
    },
  };
};
/** Makes a new text of the old one and of the rules that its reflection asks for. */
const reflector = (write: (text: string, needed: readonly number[], prompt: string) => string): Generator => ({
  name: 'reflector',
  generate: async (batch) =>
    batch.map(({ prompt }) => {
      const asked = String(prompt);
      const needed = [...asked.matchAll(/it needs rule (\d)/g)].map(([, digit]) => Number(digit));
      return [completion(`I see.\n\`\`\`text\n${write(/```\n(.*?)\n```/s.exec(asked)![1]!, needed, asked)}\n\`\`\``)];
    }),
});

describe('gepa', () => {
  // The seed is right on instance 3. LONG is right on two at once and leads nowhere; rules add up to all four.
  const isRight = (prompt: string) => {
    const i = Number(/instance (\d)/.exec(prompt)![1]);
    return prompt.includes('LONG') ? i < 2 : i === 3 || prompt.includes(`rule ${i}`);
  };
  const write = (text: string, [needed]: readonly number[]) =>
    text.includes('LONG') || (text === 'Solve.' && needed! < 2) ? 'LONG' : `${text} rule ${needed}`;
  const run = (selection: 'pareto' | 'best', seed: number, rest = {}) =>
    gepa(
      { prompt: 'Solve.' },
      {
        ...{ generator: worker(isRight), generators: { reflector: reflector(write) }, verifier, selection, n: 40 },
        ...{ train: instances(4), minibatch: 1, sampling: { seed, maxTokens: 8 }, ...rest },
      },
    );

  it('comes to the optimum from the front, where the best on average leads to a dead end', async () => {
    const ends = { pareto: [] as number[], best: [] as number[] };
    for (let seed = 0; seed < 6; seed++) {
      for (const selection of ['pareto', 'best'] as const) {
        const { score, candidate, candidates, text } = await run(selection, seed);
        ends[selection].push(score!);
        expect(text).toBe(candidate.instruction);
        for (const { components, scores, score: average } of candidates) {
          const right = instances(4).map(({ prompt }) => Number(isRight(`${components.instruction} ${prompt}`)));
          expect([scores, average]).toEqual([right, right.reduce((a, b) => a + b) / 4]);
        }
      }
    }
    expect(ends.pareto).toEqual([1, 1, 1, 1, 1, 1]);
    expect(Math.min(...ends.best)).toBe(0.5);
  });

  it('adds only who is better on its own minibatch, and says in the trace what became of the others', async () => {
    const { candidates, trace } = await run('pareto', 3);
    for (const { parents, scores } of candidates.slice(1)) {
      expect(scores.some((it, i) => it > candidates[parents[0]!]!.scores[i]!)).toBe(true);
    }
    const stuck = (await Promise.all([0, 1, 2, 3, 4, 5].map((seed) => run('best', seed)))).filter(
      ({ score }) => score! < 1,
    );
    for (const { nodes } of stuck.map((it) => it.trace)) {
      const rejected = nodes.filter(({ reason }) => reason === 'no better on its minibatch');
      expect(rejected.length).toBeGreaterThan(0);
      expect(rejected.every(({ text, score }) => text === 'LONG' && score === undefined)).toBe(true);
    }
    const chosen = trace.nodes.find(({ status }) => status === 'chosen')!;
    expect(chosen).toMatchObject({ score: 1, answer: null, payload: { scores: [1, 1, 1, 1] } });
  });

  it('returns the best that was validated whole when the budget ends, and nothing where the seed was not', async () => {
    for (let maxCompletions = 4; maxCompletions < 24; maxCompletions += 3) {
      const { candidates, trace, exhausted } = await run('pareto', 1, { budget: { maxCompletions } });
      expect(candidates.every(({ scores }) => scores.length === 4)).toBe(true);
      expect(trace.spent.completions).toBeLessThanOrEqual(maxCompletions);
      expect(exhausted).toBe('maxCompletions');
    }
    const error = await run('pareto', 1, { budget: { maxCompletions: 3 } }).catch((it: unknown) => it);
    expect(error).toBeInstanceOf(NoCandidateError);
  });

  it('merges what two lines have learnt by component, and reflects on what a component has seen', async () => {
    const seen: string[] = [];
    // Instances 0 and 1 need A in the first prompt, 2 and 3 need B in the second; the seed alone, and both together, can do 4.
    const program: PromptProgram = async ({ candidate, instance, ask }) => {
      const first = await ask(`plan ${candidate.instruction} ${candidate.format}`, { component: 'instruction' });
      return (
        first && ask(`write ${candidate.instruction} ${candidate.format} ${instance.prompt}`, { component: 'format' })
      );
    };
    const generator = worker((prompt) => {
      const i = Number(/instance (\d)/.exec(prompt)?.[1] ?? -1);
      const [a, b] = [prompt.includes('A'), prompt.includes('B')];
      return i < 2 ? a : i < 4 ? b : a === b;
    });
    // Never both by mutation.
    const write = (text: string, needed: readonly number[], prompt: string) => {
      seen.push(prompt);
      const isFormat = prompt.includes('(format)');
      const [, first, second] = /(?:plan|write) (\w) (\w)/.exec(prompt)!;
      if (isFormat) return first === 'A' ? text : 'B';
      return second === 'B' || needed[0]! >= 2 ? text : 'A';
    };
    const learn = (maxMerges: number, seed: number) =>
      gepa(
        { prompt: 's' },
        {
          ...{
            generator,
            generators: { reflector: reflector(write) },
            verifier,
            n: 30,
            train: instances(5),
            maxMerges,
          },
          ...{ components: { format: 'f' }, program, minibatch: 1, sampling: { seed, maxTokens: 8 } },
        },
      );
    const scores = await Promise.all(
      [0, 1, 2].map(async (seed) => [(await learn(5, seed)).score, (await learn(0, seed)).score]),
    );
    expect(scores.map(([withMerges]) => withMerges)).toContain(1);
    const merged = (await Promise.all([0, 1, 2].map((seed) => learn(5, seed)))).find(({ score }) => score === 1)!;
    expect(merged.candidate).toEqual({ instruction: 'A', format: 'B' });
    expect(merged.candidates.find(({ parents }) => parents.length === 2)!.score).toBe(1);
    expect(Math.max(...scores.map(([, without]) => without!))).toBeLessThan(1);
    for (const prompt of seen) expect(prompt.includes('plan ')).toBe(prompt.includes('(instruction)'));
  });

  it('puts the prompts before a conversation as its system message, and refuses instances that are none', async () => {
    const generator = worker(() => true);
    const conversation = [{ prompt: [{ role: 'user' as const, content: 'Hello' }], row: { i: 0 } }];
    const { candidate, score } = await gepa(
      { prompt: 'Be kind.' },
      { generator, verifier, n: 2, train: conversation, components: { format: 'Be brief.' } },
    );
    expect([candidate, score]).toEqual([{ instruction: 'Be kind.', format: 'Be brief.' }, 1]);
    expect(generator.requests[0]!.prompt).toEqual([
      { role: 'system', content: 'Be kind.\n\nBe brief.' },
      { role: 'user', content: 'Hello' },
    ]);
    await expect(gepa({ prompt: 's' }, { generator, verifier, n: 1, train: [] })).rejects.toThrow(
      /train .*at least one/,
    );
  });
});

describe('superContext', () => {
  const question = {
    prompt: [
      { role: 'system' as const, content: 'Classify.' },
      { role: 'user' as const, content: 'It was fun' },
    ],
  };
  const weighing = (pOf: (text: string) => number): CandidateScorer & { asked: string[] } => {
    const asked: string[] = [];
    return {
      name: 'classifier',
      asked,
      distributions: async (requests) =>
        requests.map(({ prompt }) => {
          const said = typeof prompt === 'string' ? prompt : prompt.at(-1)!.content;
          asked.push(said);
          const probabilities = [pOf(said), 1 - pOf(said)];
          return { probabilities, logProbs: probabilities.map((p) => Math.log(p / 2)), entropy: 0 };
        }),
    };
  };
  const labels = ['positive', 'negative'];

  it('puts the small model’s word with its confidence between question and answer, of demonstrations too', async () => {
    const scorer = weighing((said) => (said === 'Bad' ? 0.125 : 0.75));
    const generator = scripted(['positive', 'because of fun']);
    const { receipt, text, trace, abstained } = await superContext(question, {
      ...{ generator, generators: { small: candidateGenerator(scorer, labels) }, n: 1, explain: true },
      ...{ abstention: 'unknown', extractAnswer: (said) => said },
      demonstrations: [
        { question: 'Bad', answer: 'negative' },
        { question: 'Well', answer: 'positive', receipt: { prediction: 'negative', confidence: 0.5 } },
      ],
    });
    expect(receipt!.prediction).toBe('positive');
    expect(receipt!.confidence).toBeCloseTo(0.75, 12);
    expect(scorer.asked).toEqual(['It was fun', 'Bad']);
    expect(generator.requests[0]!.prompt).toEqual([
      { role: 'system', content: 'Classify.' },
      {
        role: 'user',
        content: [
          'Answer "unknown" where the question cannot be answered.\n',
          'Question: Bad\nA small model trained for this task says: negative (confidence 0.88)\nAnswer: negative\n',
          'Question: Well\nA small model trained for this task says: negative (confidence 0.50)\nAnswer: positive\n',
          'Question: It was fun\nA small model trained for this task says: positive (confidence 0.75)\nAnswer:',
        ].join('\n'),
      },
    ]);
    expect([text, abstained]).toEqual(['positive', false]);
    expect(trace.nodes.find(({ status }) => status === 'chosen')!.explanation).toBe('because of fun');
    expect(trace.nodes.filter(({ role }) => role === 'small')).toHaveLength(2);
  });

  it('is as good as the better model on either half where a sure receipt is followed, and abstains where neither knows', async () => {
    // Questions 0 to 59 are like the small model's training data, 60 to 119 are not, and 120 to 149 have no answer.
    const uniform = seededUniform(8);
    const cases = Array.from({ length: 150 }, (_, i) => {
      const truth = labels[i % 2]!;
      const isKnown = i < 60;
      const isRight = i < 120 && uniform() < (isKnown ? 0.95 : 0.5);
      const wrong = labels[1 - (i % 2)]!;
      const own = i < 120 && uniform() < 0.75;
      return { i, truth, small: isRight ? truth : wrong, sure: isKnown ? 0.9 : 0.6, large: own ? truth : wrong };
    });
    const small = weighing((said) => {
      const { small: label, sure } = cases[Number(said)]!;
      return label === labels[0] ? sure : 1 - sure;
    });
    /** Follows a receipt that is sure; where one is unsure, and it may abstain from a question without an answer, does so. */
    const large: Generator = {
      name: 'large',
      generate: async (requests) =>
        requests.map(({ prompt }) => {
          const asked = String(prompt);
          const it = cases[Number(/Question: (\d+)/.exec(asked)![1])]!;
          const [, word, confidence] = /says: (\w+) \(confidence (.*?)\)/.exec(asked) ?? [];
          const isHopeless = it.i >= 120 && asked.includes('"unknown"') && Number(confidence) < 0.7;
          return [completion(isHopeless ? 'unknown' : Number(confidence) > 0.8 ? word! : it.large)];
        }),
    };
    const answer = async (how: { receipts?: boolean; abstention?: string }) =>
      Promise.all(
        cases.map(async ({ i }) =>
          superContext(
            { prompt: String(i) },
            {
              ...{ generator: large, generators: { small: candidateGenerator(small, labels) }, n: 1 },
              ...how,
              extractAnswer: (said) => said,
            },
          ),
        ),
      );
    const right = (found: readonly { text: string }[], from: number, to: number) =>
      found.slice(from, to).filter(({ text }, i) => text === cases[from + i]!.truth).length;
    const count = (from: number, to: number, who: 'small' | 'large') =>
      cases.slice(from, to).filter((it) => it[who] === it.truth).length;
    const full = await answer({ abstention: 'unknown' });
    const asked = small.asked.length;
    const ablated = await answer({ receipts: false, abstention: 'unknown' });
    expect(small.asked.length).toBe(asked);
    expect(ablated.every(({ receipt, trace }) => receipt === null && trace.spent.completions === 1)).toBe(true);
    expect([right(full, 0, 60), right(full, 60, 120)]).toEqual([count(0, 60, 'small'), count(60, 120, 'large')]);
    expect([right(ablated, 0, 60), right(ablated, 60, 120)]).toEqual([count(0, 60, 'large'), count(60, 120, 'large')]);
    expect(right(full, 0, 120)).toBeGreaterThan(Math.max(count(0, 120, 'small'), count(0, 120, 'large')));
    const abstentions = (found: readonly { abstained: boolean }[]) => found.map(({ abstained }) => abstained);
    expect(abstentions(full)).toEqual(cases.map(({ i }) => i >= 120));
    expect(abstentions(ablated)).toEqual(cases.map(() => false));
    expect(abstentions(await answer({}))).toEqual(cases.map(() => false));
  });

  it('goes on without a receipt that is lost, counts abstentions as votes, and needs a small model that knows how sure it is', async () => {
    const broken: Generator = { name: 'broken', generate: () => Promise.reject(new Error('down')) };
    const options = { n: 3, abstention: 'unknown', extractAnswer: (said: string) => said };
    const texts = ['yes', 'It is Unknown.', 'unknown'];
    const lost = await superContext(
      { prompt: 'q' },
      { ...options, generator: scripted(texts), generators: { small: broken }, failures: 'drop' },
    );
    expect(lost).toMatchObject({ receipt: null, abstained: true, answer: 'unknown' });
    expect(lost.votes).toEqual([
      { answer: 'unknown', count: 2, weight: 2 },
      { answer: 'yes', count: 1, weight: 1 },
    ]);
    const ask = (generators?: Record<string, Generator>) =>
      superContext({ prompt: 'q' }, { ...options, generator: scripted(texts), ...(generators && { generators }) });
    await expect(ask({ small: broken })).rejects.toThrow('down');
    await expect(ask()).rejects.toThrow(/super-context: generators .*small/);
    await expect(ask({ small: scripted(['yes']) })).rejects.toThrow(/needs the log-probability/);
    expect(() =>
      candidateGenerator(
        weighing(() => 1),
        ['a'],
      ),
    ).toThrow(/list of two texts/);
    const silent = candidateGenerator({ name: 'silent', distributions: async () => [] }, labels);
    await expect(ask({ small: silent })).rejects.toThrow(/silent returned 0 distributions for 1 requests/);
  });
});
