import type { Completion, GenerateRequest, Generator, Verifier } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  allocateCompletions,
  autoCot,
  bestOfN,
  blockwiseControlledDecoding,
  budgetForcing,
  chainOfThought,
  chainOfVerification,
  complexityBased,
  debate,
  deer,
  jury,
  learnThenTest,
  leastToMost,
  lengthControl,
  lengthError,
  majorityVote,
  mostComplex,
  mur,
  overthinking,
  reasoningTriggers,
  type SearchResult,
  selfPolish,
  selfRefine,
  sequentialRevision,
  skeletonOfThought,
  weightedBestOfN,
  zeroShotCot,
} from '../src/index.js';
import { completion, goldenOf, hash32, scripted, seededUniform, table } from './doubles.js';

const problem = { prompt: 'q' };
type Asked = Generator & { readonly requests: GenerateRequest[] };
/** Says to each request what `reply` says, the k-th time that it is asked the same. */
function replying(reply: (prompt: string, k: number, request: GenerateRequest) => string | Completion): Asked {
  const requests: GenerateRequest[] = [];
  const times = new Map<string, number>();
  return {
    name: 'replying',
    requests,
    generate: async (batch) => {
      requests.push(...batch);
      return batch.map((request) =>
        Array.from({ length: request.n ?? 1 }, () => {
          const key = JSON.stringify([request.prompt, request.prefix]);
          const k = times.get(key) ?? 0;
          times.set(key, k + 1);
          const said = reply(request.prompt as string, k, request);
          return typeof said === 'string' ? completion(said) : said;
        }),
      );
    },
  };
}
const promptsOf = ({ requests }: Asked) => requests.map(({ prompt }) => prompt as string);
const reasons = ({ trace }: SearchResult) => trace.nodes.slice(1).map(({ reason }) => reason);

describe('chains of thought', () => {
  it('zero-shot: reasons after a trigger, and answers after another', async () => {
    const generator = replying((_, k, { prefix = '' }) =>
      prefix.endsWith('the answer is')
        ? ` ${prefix.includes('so 8') ? 8 : 5}`
        : k === 0
          ? ' 3, or 5'
          : ' 3 and 5, so 8',
    );
    const result = await zeroShotCot(problem, { generator, n: 3 });
    expect(result).toMatchObject({
      answer: '8',
      text: "Let's think step by step. 3 and 5, so 8\nTherefore, the answer is 8",
    });
    expect(result.votes.map(({ answer, count }) => [answer, count])).toEqual([
      ['8', 2],
      ['5', 1],
    ]);
    const trigger = reasoningTriggers['plan-and-solve'];
    const planned = await zeroShotCot({ prompt: 'q', prefix: '>' }, { generator, n: 1, trigger });
    expect(planned.text.startsWith(`>${trigger}`)).toBe(true);
    // Without a token for the answer, the chain speaks for itself.
    const cut = await zeroShotCot(problem, { generator, n: 1, budget: { maxCompletions: 1 } });
    expect(cut).toMatchObject({ answer: '8', exhausted: 'maxCompletions' });
  });

  const { question: whatIs, runs: stages } = goldenOf<{
    question: string;
    runs: { dataset: string; asked: string[] }[];
  }>('zero-shot', 'authors');
  it.each(stages)('zero-shot: gives the model what the authors’ code gives it, of $dataset', async ({ asked }) => {
    const generator = replying((_, __, { prefix = '' }) => (prefix.includes('so 8') ? ' 8.' : ' 3 and 5, so 8'));
    const answerTrigger = asked[1]!.slice(asked[0]!.length + ' 3 and 5, so 8'.length);
    const prompt = `Q: ${whatIs}\nA: `;
    const result = await zeroShotCot({ prompt }, { generator, n: 1, answerTrigger });
    expect(generator.requests.map((request) => `${request.prompt}${request.prefix}`)).toEqual(asked);
    expect(result.answer).toBe('8');
  });

  it('auto-CoT: shows the questions that the authors’ code does, of the same clusters', async () => {
    type Reasoned = [place: number, words: string, chain: string, answer: string];
    const { corpus, shown } = goldenOf<{ corpus: Reasoned[]; shown: string[] }>('demonstrations', 'authors');
    const of = (words: string) => corpus.find((it) => it[1] === words)!;
    const embedder = {
      name: 'line',
      embed: async (texts: readonly string[]) => texts.map((words) => new Float32Array([of(words)[0]])),
    };
    const generator = replying((prompt) =>
      prompt.endsWith('Q: q\nA:') ? ' It is 9.' : ` ${of(prompt.slice(3, -3))[2]}`,
    );
    const questions = corpus.map(([, words]) => words);
    await autoCot(problem, { generator, embedder, questions, clusters: 4, n: 1 });
    const asked = promptsOf(generator).at(-1)!.split('\n\n').slice(0, -1);
    expect(asked.map((it) => it.split('\n')[0]!.slice(3)).sort()).toEqual([...shown].sort());
  });

  const demonstrations = [
    { question: '1 + 1?', reasoning: 'One and one.', answer: '2' },
    { question: '2 + 3?', reasoning: 'Two.\nThree.\nTogether 5.', answer: '5' },
    { question: '4 + 4?', reasoning: 'Four.\n\nTwice.', answer: '8' },
  ];

  it('few-shot: shows demonstrations first, the most complex where they are chosen so', async () => {
    const generator = replying(() => ' The answer is 7.');
    const result = await chainOfThought(problem, { generator, n: 2, demonstrations: demonstrations.slice(0, 2) });
    expect(result).toMatchObject({ answer: '7', votes: [{ count: 2 }] });
    expect(promptsOf(generator)[0]).toBe(
      'Q: 1 + 1?\nA: One and one. The answer is 2.\n\nQ: 2 + 3?\nA: Two.\nThree.\nTogether 5. The answer is 5.\n\nQ: q\nA:',
    );
    expect(mostComplex(demonstrations, 2).map(({ answer }) => answer)).toEqual(['5', '8']);
    const odd = chainOfThought(problem, { generator, n: 1, demonstrations: [{ question: '?' }] as never });
    await expect(odd).rejects.toThrow(/demonstrations is .*a list of { question, reasoning, answer }/);
  });

  it('few-shot: shows demonstrations as the code of Auto-CoT’s authors does', async () => {
    const { fewShot } = goldenOf<{ fewShot: { demonstrations: [string, string, string][]; text: string } }>(
      'demonstrations',
      'authors',
    );
    const generator = replying(() => ' The answer is 7.');
    const shown = fewShot.demonstrations.map(([asked, reasoning, answer]) => ({ question: asked, reasoning, answer }));
    await chainOfThought(problem, { generator, n: 1, demonstrations: shown });
    expect(promptsOf(generator)[0]).toBe(`${fewShot.text}Q: q\nA:`);
  });

  it('complexity-based: only the chains of most steps vote, and with K = N it is the majority vote', async () => {
    const texts = ['1', '1', '1', 'a\nb\n2', 'a\n2', 'a\n\n\n1'];
    const ask = (rest = {}) => complexityBased(problem, { generator: scripted(texts), n: 6, ...rest });
    expect((await ask()).answer).toBe('1');
    const few = await ask({ keep: 2 });
    expect(few).toMatchObject({ answer: '2', text: 'a\nb\n2' });
    expect(reasons(few).filter((it) => it === 'not among the 2 most complex')).toHaveLength(4);
    const { votes } = await majorityVote(problem, { generator: scripted(texts), n: 6 });
    expect((await ask({ keep: 6 })).votes).toEqual(votes);
    expect((await ask({ keep: 1, complexity: (text: string) => -text.length })).text).toBe('1');
  });

  it('auto-CoT: makes a demonstration of each cluster, of the nearest question that is simple', async () => {
    const place: Record<string, number> = { a: 0, b: 1, 'c c c c': 0.4, x: 100, y: 101, z: 99.8 };
    const embedder = {
      name: 'line',
      embed: async (texts: readonly string[]) => texts.map((text) => new Float32Array([place[text]!])),
    };
    const generator = replying((prompt) => {
      if (prompt.endsWith('Q: q\nA:')) return ' The answer is 9.';
      // The questions nearest to the centres: one is reasoned about for too long, and the next is taken.
      return prompt === 'Q: x\nA:' ? '1\n2\n3\n4\n5\n6\n7' : ` It is ${prompt.charCodeAt(3)}.`;
    });
    const options = { generator, embedder, questions: Object.keys(place), clusters: 2, maxWords: 3, n: 2 };
    const result = await autoCot(problem, options);
    expect(result).toMatchObject({ answer: '9', trace: { spent: { completions: 3 + 2 } } });
    const shown = promptsOf(generator).at(-1)!.split('\n\n');
    expect(shown).toHaveLength(3);
    expect(shown.at(-1)).toBe('Q: q\nA:');
    const [near, far] = shown.slice(0, 2).sort();
    expect(near).toBe("Q: a\nA: Let's think step by step. It is 97. The answer is 97.");
    expect(far).toBe("Q: z\nA: Let's think step by step. It is 122. The answer is 122.");
    const short = { ...embedder, embed: async () => [] };
    await expect(autoCot(problem, { ...options, embedder: short })).rejects.toThrow(
      /"line" gave 0 vectors for 6 texts/,
    );
    expect((await autoCot(problem, { ...options, questions: [] })).answer).toBe('9');
  });

  it('least-to-most: answers simpler questions first, each with those before it', async () => {
    const generator = replying((prompt) => {
      if (prompt.includes('which simpler questions')) return '1. How many eggs?\n2) How many cakes?\n';
      return prompt.endsWith('Q: How many eggs?\nA:') ? '12' : prompt.endsWith('cakes?\nA:') ? '4' : 'so 3';
    });
    const result = await leastToMost(problem, { generator, n: 2 });
    expect(result).toMatchObject({ answer: '3', votes: [{ count: 2 }] });
    expect(promptsOf(generator).slice(1)).toEqual([
      'q\n\nQ: How many eggs?\nA:',
      'q\n\nQ: How many eggs?\nA: 12\n\nQ: How many cakes?\nA:',
      'q\n\nQ: How many eggs?\nA: 12\n\nQ: How many cakes?\nA: 4\n\nQ: q\nA:',
    ]);
    const direct = replying(() => '5');
    expect((await leastToMost(problem, { generator: direct, n: 1, maxSubquestions: 0 })).answer).toBe('5');
    expect(promptsOf(direct)).toEqual(['q\n\nQ: q\nA:']);
  });

  it('skeleton: writes all points in one round, and puts them together in their order', async () => {
    let calls = 0;
    const inner = replying((prompt) =>
      prompt.includes('only the skeleton') ? '1. Sleep\n2. Food\n3. Sport' : ` about ${/point (\d)/.exec(prompt)![1]} `,
    );
    const generate: Generator['generate'] = (batch) => {
      calls++;
      return inner.generate(batch);
    };
    const generator = { name: 'counted', generate };
    const result = await skeletonOfThought(problem, { generator, n: 10 });
    expect(result.text).toBe('Sleep: about 1\nFood: about 2\nSport: about 3');
    expect(calls).toBe(2);
    expect((await skeletonOfThought(problem, { generator, n: 2 })).text).toBe('Sleep: about 1\nFood: about 2');
    const short = await skeletonOfThought(problem, { generator, n: 9, budget: { maxCompletions: 2 } });
    expect(short).toMatchObject({ text: 'Sleep: about 1', exhausted: 'maxCompletions' });
    const none = skeletonOfThought(problem, { generator, n: 9, budget: { maxCompletions: 1 } });
    await expect(none).rejects.toThrow(/none of 3 points was written/);
  });

  interface Skeleton {
    readonly skeleton: string;
    readonly asked: string[];
    readonly contents: string[];
  }
  it.each(goldenOf<{ runs: Skeleton[] }>('skeletons', 'authors').runs)(
    'skeleton: asks for the points that the authors’ code does of $skeleton',
    async ({ skeleton, asked, contents }) => {
      const points: string[] = [];
      const generator = replying((prompt) => (prompt === 'outline' ? skeleton : `about ${prompt}`));
      const { text } = await skeletonOfThought(problem, {
        ...{ generator, n: 10, skeletonPrompt: () => 'outline' },
        expandPrompt: (_, __, point) => `${points.push(point)}`,
      });
      expect(points).toEqual(asked.map((it) => it.split('|')[1]));
      expect(text.split('\n')).toEqual(contents.map((content, i) => `${points[i]}: ${content}`));
    },
  );

  it('self-polish: rewrites the problem until two versions in a row have one answer', async () => {
    const answers: Record<string, string> = { q: '1', q1: '2', q2: '3', q3: '3', q4: '4' };
    const polishing = (from: Record<string, string>) =>
      replying((prompt) => from[prompt] ?? `q${Number(prompt.at(-1) === 'q' ? 0 : prompt.at(-1)) + 1}`);
    const generator = polishing(answers);
    const result = await selfPolish(problem, { generator, n: 2, maxIterations: 9 });
    expect(result).toMatchObject({ answer: '3', trace: { spent: { completions: 2 + 3 * 3 } } });
    const stopped = await selfPolish(problem, { generator: polishing(answers), n: 1, maxIterations: 1 });
    expect(stopped.answer).toBe('2');
    const cut = { generator: polishing(answers), n: 2, budget: { maxCompletions: 3 } };
    expect(await selfPolish(problem, cut)).toMatchObject({ answer: '1', exhausted: 'maxCompletions' });
  });

  interface Polished {
    readonly answers: string[];
    readonly iterations: number;
    readonly polished: string[];
    readonly answer: string;
  }
  it.each(goldenOf<{ runs: Polished[] }>('self-polish', 'authors').runs)(
    'self-polish: rewrites and answers as the authors’ code does: $answers, at most $iterations times',
    async ({ answers, iterations, polished, answer }) => {
      const asked: string[] = [];
      const generator = replying((prompt) => {
        if (!prompt.startsWith('polish ')) return answers[Number(prompt)]!;
        asked.push(prompt.slice(7));
        return String(Number(asked.at(-1)) + 1);
      });
      const polishPrompt = (version: string) => `polish ${version}`;
      const options = { generator, n: 1, maxIterations: iterations, polishPrompt };
      const result = await selfPolish({ prompt: '0' }, options);
      expect(asked).toEqual(polished);
      expect(Number(result.answer)).toBe(Number(answer));
    },
  );

  it('chain-of-verification: asks without the response, and revises by what it heard', async () => {
    const generator = replying((prompt) => {
      if (prompt === 'q') return 'Paris, Rome and Bern.';
      if (prompt.includes('Write questions')) return '- Is Rome in Italy?\n- Is Bern in Italy?';
      if (prompt === 'Is Rome in Italy?') return 'Yes';
      return prompt === 'Is Bern in Italy?' ? 'No' : 'Rome.';
    });
    const result = await chainOfVerification(problem, { generator, n: 1 });
    expect(result.text).toBe('Rome.');
    const [, , rome, bern, revising] = promptsOf(generator);
    expect([rome, bern]).toEqual(['Is Rome in Italy?', 'Is Bern in Italy?']);
    expect(revising).toContain('Q: Is Bern in Italy?\nA: No');
    // Nothing to check: the response stands.
    const sure = replying((prompt) => (prompt === 'q' ? '4' : ''));
    expect(await chainOfVerification(problem, { generator: sure, n: 1 })).toMatchObject({ text: '4' });
    expect(sure.requests).toHaveLength(2);
  });
});

describe('selfRefine', () => {
  /** Counts up; the critic is content with `good`, and says how far it is. */
  const counting = (good: number) =>
    replying((prompt) => {
      if (prompt === 'q') return '0';
      const drafts = [...prompt.matchAll(/An answer:\n(\d+)/g)].map(([, it]) => Number(it));
      if (prompt.includes('Write the answer anew')) return String(Math.min(5, drafts.at(-1)! + 1));
      return drafts[0] === good ? 'DONE' : `${good - drafts[0]!} too low`;
    });
  const refine = (good: number, rest = {}) => {
    const generator = counting(good);
    return { generator, result: selfRefine(problem, { generator, n: 1, maxIterations: 9, ...rest }) };
  };

  it.each([
    [0, '0', 1 + 1],
    [2, '2', 1 + 3 + 2],
    // A fixed point at 5, which the critic would never be content with.
    [7, '5', 1 + 6 + 6],
  ])('stops when the critic of %i is content, or at a fixed point', async (good, text, completions) => {
    expect(await refine(good).result).toMatchObject({ text, trace: { spent: { completions } } });
  });

  interface Refinement {
    readonly start: number;
    readonly content: number;
    readonly attempts: number;
    readonly judged: readonly string[];
    readonly end: string;
  }
  it.each(goldenOf<{ runs: Refinement[] }>('self-refine', 'reasoning').runs)(
    'asks for feedback and stops where the authors’ loop does: content with $content, $attempts attempts',
    async ({ start, content, attempts, judged, end }) => {
      const generator = replying((prompt) => {
        if (prompt === 'q') return `${start}`;
        const [draft] = [...prompt.matchAll(/An answer:\n(\d+)/g)].slice(-1).map(([, it]) => Number(it));
        if (prompt.includes('Write the answer anew')) return `${draft! + 1}`;
        return draft === content ? 'It is correct.' : `${draft} is too low`;
      });
      const isDone = (feedback: string) => /it is correct/i.test(feedback);
      expect((await selfRefine(problem, { generator, n: 1, maxIterations: attempts, isDone })).text).toBe(end);
      const asked = promptsOf(generator).filter((prompt) => prompt.includes('What is wrong'));
      expect(asked.map((prompt) => /An answer:\n(\d+)/.exec(prompt)![1])).toEqual(judged);
    },
  );

  it('shows all drafts with their feedback, ends with its iterations, and asks a critic of its own', async () => {
    const { generator, result } = refine(9, { maxIterations: 2 });
    expect((await result).text).toBe('2');
    expect(promptsOf(generator).at(-1)).toMatch(
      /An answer:\n0\n\nFeedback:\n9 too low\n\nAn answer:\n1\n\nFeedback:\n8/,
    );
    expect((await refine(9, { maxIterations: 0 }).result).trace.spent.completions).toBe(1);
    const critic = replying(() => 'DONE');
    const content = await refine(9, { generators: { critic } }).result;
    expect([content.text, critic.requests.length]).toEqual(['0', 1]);
  });
});

describe('sequentialRevision', () => {
  const texts = ['a 1', 'b 2', 'c 2', 'd 3'];
  const score: Record<string, number> = { a: 0.9, b: 0.4, c: 0.6, d: 0.95 };
  const verifier = table((text) => score[text[0]!]!);
  const revise = (chains: number, rest = {}) => {
    const generator = scripted(texts);
    return { generator, result: sequentialRevision(problem, { generator, verifier, n: 4, chains, ...rest }) };
  };

  it('is weighted best-of-N at both ends of the ratio, at one budget', async () => {
    const { text } = await weightedBestOfN(problem, { generator: scripted(texts), verifier, n: 4 });
    for (const chains of [1, 2, 4]) {
      const { result } = revise(chains);
      const { trace, text: found } = await result;
      expect(trace.spent).toMatchObject({ completions: 4, verifierCalls: 4 });
      if (chains !== 2) expect(found).toBe(text);
    }
    // Two chains, a b' with a and b as first attempts and c and d as revisions: a (0.9) of 1 against c (0.6) in the
    // first; d (0.95) against b (0.4) in the second.
    const two = await revise(2).result;
    expect(two.text).toBe('d 3');
    expect(two.votes.map(({ answer, weight }) => [answer, weight])).toEqual([
      ['3', 0.95],
      ['1', 0.9],
    ]);
    expect(reasons(two)).toEqual(['outvoted', undefined, 'not the best of its chain', undefined]);
  });

  it('shows a revision the attempts before it, the last ones only', async () => {
    const { generator, result } = revise(1, { memory: 2 });
    await result;
    const shown = generator.requests.slice(1).map(({ prompt }) => (prompt as string).match(/\b[a-d] \d/g));
    expect(shown).toEqual([['a 1'], ['a 1', 'b 2'], ['b 2', 'c 2']]);
    await expect(revise(3).result).rejects.toThrow(/n must be a multiple of chains \(3\), got 4/);
    await expect(revise(2, { verifier: table(() => -1) }).result).rejects.toThrow(/score -1 cannot weigh a vote/);
  });
});

describe('length and thinking budgets', () => {
  /** Thinks in numbers, a token each, wants to end after every third, and answers how many it has thought. */
  const thinker = () =>
    replying((_, __, { prefix = '', maxTokens = 99, stop = [] }): Completion => {
      const thought = [...prefix.matchAll(/\d/g)].length;
      if (stop.length === 0) return completion(` ${thought}`, 1);
      const wants = 3 - (thought % 3);
      const tokens = Math.min(wants, maxTokens);
      const isEnd = tokens === wants;
      const text = Array.from({ length: tokens }, (_, i) => String((thought + i) % 10)).join('');
      return { ...completion(text, tokens), finishReason: isEnd ? 'stop' : 'length', stop: isEnd ? stop[0]! : null };
    });
  const force = (rest = {}) => budgetForcing(problem, { generator: thinker(), n: 1, maxThinkingTokens: 100, ...rest });

  it('forces the budget: thinks to min(end k + 1, max), with Wait in the place of each end', async () => {
    for (const [ignoreEnds, maxThinkingTokens] of [0, 1, 2, 5].flatMap((k) =>
      [1, 3, 4, 6, 8, 100].map((m) => [k, m] as const),
    )) {
      const result = await force({ ignoreEnds, maxThinkingTokens });
      const wanted = Math.min(3 * (ignoreEnds + 1), maxThinkingTokens);
      expect(result.answer).toBe(String(wanted));
      expect(result.trace.spent.completionTokens).toBe(wanted + 1);
    }
    expect((await force({ ignoreEnds: 2 })).text).toBe('012Wait345Wait678</think>\nFinal Answer: 9');
    expect((await force({ ignoreEnds: 0, maxThinkingTokens: 2 })).text).toBe('01</think>\nFinal Answer: 2');
    const silent = replying(() => '1');
    await expect(budgetForcing(problem, { generator: silent, n: 1, maxThinkingTokens: 9 })).rejects.toThrow(
      /does not say which stop string/,
    );
  });

  it('DEER ends thinking where a trial answer is sure, and goes on as if nothing had been tried elsewhere', async () => {
    // Thinks a digit and "Wait", of which it becomes surer by 0.2 with each, and ends by itself after the fifth.
    const sure = () =>
      replying((_, __, { prefix = '', stop = [] }): Completion => {
        const thought = [...prefix.matchAll(/\d/g)].length;
        if (stop.includes('}')) {
          const logProbs = [Math.log(0.2 * thought) - 0.1, Math.log(0.2 * thought) + 0.1];
          return { ...completion(`${thought}!`, 2), logProbs, finishReason: 'stop', stop: '}' };
        }
        if (stop.length === 0) return completion(`${thought}`, 1);
        const end = thought < 4 ? 'Wait' : '</think>';
        return { ...completion(`${thought}`, 2), finishReason: 'stop', stop: end };
      });
    const exit = (rest = {}) => deer(problem, { generator: sure(), n: 1, maxThinkingTokens: 100, ...rest });
    const thoughts: [threshold: number, thoughts: number][] = [
      [0, 1],
      [0.3, 2],
      [0.5, 3],
      [0.7, 4],
      [1, 5],
    ];
    for (const [threshold, count] of thoughts) {
      const { text, trace } = await exit({ threshold });
      const digits = Array.from({ length: count }, (_, i) => i);
      expect(text).toBe(`${digits.join('Wait')}</think>\n${count}`);
      // Two tokens a thought and a trial answer, of which the last thought has none where the model has ended it; one of the answer.
      expect(trace.spent.completionTokens).toBe(2 * count + 2 * Math.min(count, 4) + 1);
      const confidences = trace.nodes.flatMap(({ payload }) => (payload as { confidence?: number })?.confidence ?? []);
      expect(confidences.map((it) => it.toFixed(6))).toEqual(
        [0.2, 0.4, 0.6, 0.8].slice(0, count).map((it) => it.toFixed(6)),
      );
    }
    expect((await exit({ threshold: 1, maxThinkingTokens: 4 })).text).toBe('0Wait1</think>\n2');
    const silent = replying(() => ({ ...completion('1', 1), finishReason: 'stop', stop: 'Wait' }));
    await expect(exit({ generator: silent })).rejects.toThrow(/needs the log-probability of each token/);
  });

  it.each(
    goldenOf<{ cases: { logProbs: number[]; geometric: number; arithmetic: number }[] }>('deer', 'authors').cases,
  )(
    'DEER is as sure of a trial answer as the authors’ code: $logProbs',
    async ({ logProbs, geometric, arithmetic }) => {
      const generator = replying((_, __, { prefix = '' }) =>
        prefix.endsWith('boxed{')
          ? { ...completion('7', logProbs.length), logProbs, stop: '}' }
          : { ...completion('so', 1), finishReason: 'stop', stop: prefix.includes('</think>') ? null : 'Wait' },
      );
      const run = (threshold: number) => deer(problem, { generator, n: 1, maxThinkingTokens: 2, threshold });
      const { trace } = await run(0);
      const [confidence] = trace.nodes.flatMap(({ payload }) => (payload as { confidence?: number })?.confidence ?? []);
      // Theirs takes each probability to float32.
      expect(confidence).toBeCloseTo(geometric, 6);
      expect(confidence!).toBeLessThanOrEqual(arithmetic + 1e-12);
    },
  );

  it('blockwise controlled decoding keeps the best block of each place: of all tokens it is best-of-N, of one K is plain', async () => {
    // A letter a token, by the seed and the place, and four letters in all; a text is worth its letters' places.
    const letters = () =>
      replying((_, k, { prefix = '', maxTokens = 4, seed = 0 }): Completion => {
        const size = Math.min(maxTokens, 4 - prefix.length);
        const text = Array.from({ length: size }, (_, t) =>
          String.fromCharCode(97 + (hash32(`${seed + k} ${prefix} ${t}`) % 9)),
        ).join('');
        return { ...completion(text, size), finishReason: prefix.length + size === 4 ? 'stop' : 'length' };
      });
    const worth = (text: string) => [...text].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) / 1000;
    const run = (n: number, blockTokens: number) => {
      const options = {
        generator: letters(),
        verifier: table(worth),
        n,
        blockTokens,
        sampling: { maxTokens: 4, seed: 3 },
      };
      return blockwiseControlledDecoding(problem, options);
    };
    for (const blockTokens of [1, 2, 4]) {
      const { text, trace } = await run(5, blockTokens);
      const { nodes } = trace;
      const blocks = 4 / blockTokens;
      expect(trace.spent).toMatchObject({ completions: 5 * blocks, verifierCalls: 5 * blocks, completionTokens: 20 });
      // What goes on is the best of five.
      const parents = [...new Set(nodes.slice(1).map(({ parent }) => parent))];
      expect(parents).toHaveLength(blocks);
      parents.forEach((parent, i) => {
        const scores = nodes.filter((node) => node.parent === parent && node.id !== 0).map(({ score }) => score!);
        expect(scores).toHaveLength(5);
        expect(worth(text.slice(0, (i + 1) * blockTokens))).toBe(Math.max(...scores));
      });
    }
    expect((await run(1, 1)).trace.spent.completions).toBe(4);
    const unlimited = blockwiseControlledDecoding(problem, { generator: letters(), verifier: table(worth), n: 2 });
    await expect(unlimited).rejects.toThrow(/sampling.maxTokens/);
  });

  it('asks for a length as L1 models take it, and measures what came', async () => {
    const generator = replying((_, k) => completion('7', [90, 120, 100][k]!));
    const result = await lengthControl(problem, { generator, n: 3, targetTokens: 100 });
    expect(promptsOf(generator)).toEqual(['q Think for 100 tokens.']);
    expect(result.trace.nodes.slice(1).map(({ payload }) => payload)).toEqual([
      { lengthError: 0.1 },
      { lengthError: 0.2 },
      { lengthError: 0 },
    ]);
    expect(lengthError([90, 120, 100], 100)).toBeCloseTo(0.1, 12);
    expect(lengthError([90, 120, 100], 100, 'max')).toBeCloseTo(0.2 / 3, 12);
    await lengthControl(problem, { generator: scripted(['7']), n: 1, targetTokens: 5, mode: 'max' });
  });

  it('measures overthinking: what came after the first correct answer, and what was new', () => {
    const rounds = [
      { tokens: 30, isCorrect: false, approach: 'guess' },
      { tokens: 20, isCorrect: true, approach: 'algebra' },
      { tokens: 40, isCorrect: true, approach: 'algebra' },
      { tokens: 10, isCorrect: false, approach: 'geometry' },
    ];
    expect(overthinking(rounds)).toEqual({
      outcomeEfficiency: 0.5,
      processEfficiency: 0.6,
      tokensAfterFirstCorrect: 50,
    });
    expect(overthinking(rounds.slice(0, 1))).toMatchObject({ outcomeEfficiency: 0, tokensAfterFirstCorrect: 0 });
    expect(overthinking([{ tokens: 7, isCorrect: true }])).toMatchObject({
      outcomeEfficiency: 1,
      processEfficiency: 1,
    });
    // Thinking on after the answer can only make it less.
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 99 }), (tokens) => {
        const more = overthinking([...rounds, { tokens, isCorrect: true, approach: 'algebra' }]);
        expect(more.outcomeEfficiency).toBeCloseTo(50 / (100 + tokens), 12);
      }),
    );
    expect(() => overthinking([])).toThrow(/a list of at least one round/);
    expect(() => overthinking([{ tokens: 0, isCorrect: true }])).toThrow(/tokens is 0/);
  });
});

describe('mur', () => {
  interface Walk {
    readonly momentum: number;
    readonly gamma: number;
    readonly first: number[];
    readonly again: number[];
    readonly scaled: boolean[];
    readonly end: number;
  }
  const letters = 'abcdef';
  /** One letter a step; how sure it is depends on the letter, and the k-th draw of a step has the mark k. */
  const walker = (sure: readonly number[]) =>
    replying((_, k, { prefix = '' }) => {
      const step = prefix.split('\n').length - 1;
      const isEnd = step === sure.length - 1;
      return {
        ...completion(`${letters[step]}${k}`, 2),
        stop: isEnd ? null : '\n',
        logProbs: [sure[step]!, sure[step]!],
      };
    });
  const sure = [-0.2, -0.5, -0.05, -1.2, -0.1, -0.4];
  const reason = async (rest = {}) => {
    const generator = walker(sure);
    const verifier = table((text) => Number(text.trimEnd().at(-1)));
    return mur(problem, { generator, verifier, n: 3, stop: ['\n'], ...rest });
  };

  it('scales the steps that are unsure beside the momentum of those before', async () => {
    // M_t = 0.5 M + 0.5 u: 0, -0.1, -0.3, -0.175, -0.6875, …; scaled where e^u < 0.8 e^M, that is u < M − 0.223.
    const result = await reason({ momentum: 0.5, gamma: 0.8 });
    const scaled = (text: string) => text.split('\n').map((step) => Number(step[1]) > 0);
    expect(scaled(result.text)).toEqual([false, true, false, true, false, false]);
    // The momentum in closed form: Σ (1 − α) α^{t−k} u_k.
    const payload = result.trace.nodes.at(-1)!.payload as { momentum: number };
    const closed = sure.reduce((sum, u, k) => sum + 0.5 ** (sure.length - k) * u, 0);
    expect(payload.momentum).toBeCloseTo(closed, 12);
  });

  it.each(goldenOf<{ mur: Walk[] }>('rules', 'test-time').mur)(
    'scales the steps that the authors’ rule does in float64: α $momentum, γ $gamma',
    async ({ first, again, scaled, end, momentum, gamma }) => {
      const generator = replying((_, k, { prefix = '' }) => {
        const step = prefix.split('\n').length - 1;
        const stop = step === first.length - 1 ? null : '\n';
        return { ...completion(String(k)), stop, logProbs: [(k === 0 ? first : again)[step]!] };
      });
      const options = { generator, verifier: table(() => 1), n: 1, stop: ['\n'], momentum, gamma };
      const { text, trace } = await mur(problem, options);
      expect(text.split('\n').map((step) => step !== '0')).toEqual(scaled);
      const chosen = trace.nodes.find(({ status }) => status === 'chosen');
      expect((chosen!.payload as { momentum: number }).momentum).toBeCloseTo(end, 12);
    },
  );

  interface AuthorsWalk {
    readonly momentum: number;
    readonly gamma: number;
    readonly steps: { first: number[]; again: number[][]; scores: number[] }[];
    readonly chosen: number[];
    readonly before: (number | null)[];
  }
  it.each(goldenOf<{ runs: AuthorsWalk[] }>('mur', 'authors').runs)(
    'takes the steps that the authors’ code takes: α $momentum, γ $gamma',
    async ({ steps, chosen, before, momentum, gamma }) => {
      const generator = replying((_, k, { prefix = '' }) => {
        const step = prefix.split('\n').length - 1;
        const { first, again } = steps[step]!;
        const logProbs = k === 0 ? first : again[k - 1]!;
        return { ...completion(`${k}`, logProbs.length), stop: step === steps.length - 1 ? null : '\n', logProbs };
      });
      const verifier = table((text) => {
        const taken = text.trimEnd().split('\n');
        return steps[taken.length - 1]!.scores[Number(taken.at(-1)) - 1] ?? null;
      });
      const options = { generator, verifier, n: steps[0]!.again.length, stop: ['\n'], momentum, gamma };
      const { text, trace } = await mur(problem, options);
      expect(text.split('\n').map(Number)).toEqual(chosen);
      // The momentum before the steps that were scaled is that of the step before.
      const kept = trace.nodes.flatMap(({ payload }) => (payload as { momentum?: number })?.momentum ?? []);
      for (const [t, wanted] of before.entries()) {
        expect(wanted === null).toBe(chosen[t] === 0);
        if (wanted !== null) expect(kept[t - 1]).toBeCloseTo(wanted, 6);
      }
    },
  );

  it('is the plain chain as γ → 0, and scales every step after the first as γ → ∞', async () => {
    const plain = await reason({ gamma: 0 });
    expect([plain.text, plain.trace.spent.completions]).toEqual(['a0\nb0\nc0\nd0\ne0\nf0', 6]);
    expect(plain.trace.spent.verifierCalls).toBe(0);
    const all = await reason({ gamma: 1e9 });
    expect([all.text, all.trace.spent.completions]).toEqual(['a0\nb3\nc3\nd3\ne3\nf3', 6 + 5 * 3]);
    const unscored = await reason({ gamma: 1e9, verifier: table(() => null) });
    expect(unscored.text).toBe('a0\nb0\nc0\nd0\ne0\nf0');
    const silent = { generator: scripted(['a']), verifier: table(() => 1), n: 1, stop: [] };
    await expect(mur(problem, silent)).rejects.toThrow(/mur: needs the log-probability/);
  });
});

describe('debate and jury', () => {
  it('without rounds is the majority vote; with them everybody reads the others', async () => {
    const texts = ['1', '2', '2'];
    const generator = replying((prompt, k) => (prompt === 'q' ? texts[k]! : '3'));
    const none = await debate(problem, { generator, n: 3, rounds: 0 });
    expect(none.votes).toEqual((await majorityVote(problem, { generator: scripted(texts), n: 3 })).votes);
    const persuaded = replying((prompt, k) => {
      if (prompt === 'q') return ['8', '5', '5'][k]!;
      // Whoever has read 8 is convinced of it.
      return prompt.includes('8') ? '8' : '5';
    });
    const result = await debate(problem, { generator: persuaded, n: 3, rounds: 1 });
    expect(result).toMatchObject({ answer: '8', trace: { spent: { completions: 6 } } });
    const [first] = promptsOf(persuaded).filter((it) => it !== 'q');
    expect(first).toBe(
      'q\n\nYour answer:\n8\n\nAgent 1:\n5\n\nAgent 2:\n5\n\nThese are the answers of other agents. Use what is right in them, and answer anew.',
    );
    const [ada, bob] = ['4', '6'].map((it) => replying(() => it)) as [Asked, Asked];
    const roles = { generators: { ada, bob }, agents: ['ada', 'bob'] };
    expect((await debate(problem, { generator, n: 3, rounds: 0, ...roles })).answer).toBe('4');
    expect([ada.requests.length, bob.requests.length]).toEqual([2, 1]);
  });

  interface Discussion {
    /** Of each agent what it said in each round, and whom it read in the second. */
    readonly said: readonly (readonly string[])[];
    readonly others: readonly (readonly string[])[];
    readonly answer: string;
  }
  it.each(goldenOf<{ runs: Discussion[] }>('debate', 'reasoning').runs.map((run, i) => [i, run] as const))(
    'has every agent read whom it reads in the authors’ debate, and counts as they do (%i)',
    async (_, { said, others, answer }) => {
      const read: string[][] = [];
      const speak = (agent: number) =>
        replying((prompt) => {
          const heard = [...prompt.matchAll(/^(?:Your answer|Agent \d+):\n(.*)$/gm)].map(([, it]) => it!);
          if (heard.length > 0) read[agent] = heard;
          return said[agent]![heard.length > 0 ? 1 : 0]!;
        });
      const agents = said.map((_, agent) => `${agent}`);
      const generators = Object.fromEntries(agents.map((role, agent) => [role, speak(agent)]));
      const result = await debate(problem, { generator: speak(0), n: 3, rounds: 1, agents, generators });
      expect(read).toEqual(said.map(([own], agent) => [own, ...others[agent]!]));
      expect(result.answer).toBe(answer);
    },
  );

  const juror = (score: (text: string) => number | null, tokens = 0): Verifier => ({
    name: `juror ${tokens}`,
    verify: async (requests) =>
      requests.map(({ completion: text }) => ({
        score: score(text),
        ...(tokens > 0 && { usage: { promptTokens: tokens, completionTokens: 1 } }),
      })),
  });

  it('a jury pools what its jurors say, leaves out who cannot, and counts their tokens', async () => {
    const jurors = [juror(() => 1, 3), juror(() => 0), juror((text) => (text === 'x' ? null : 0.2), 5)];
    const say = async (pooling: 'mean' | 'median' | 'min' | 'max', text = 'y') =>
      (await jury(jurors, { pooling }).verify([{ prompt: 'q', completion: text }]))[0]!;
    expect((await say('mean')).score).toBeCloseTo(0.4, 12);
    expect((await say('mean', 'x')).score).toBe(0.5);
    expect([(await say('median')).score, (await say('min')).score, (await say('max')).score]).toEqual([0.2, 0, 1]);
    expect((await say('mean')).usage).toEqual({ promptTokens: 8, completionTokens: 2 });
    const silent = jury([juror(() => null)]);
    expect((await silent.verify([{ prompt: 'q', completion: '' }]))[0]!.score).toBeNull();
    expect(() => jury([])).toThrow(/jurors is .*a list of verifiers/);
  });

  it('the median of checkers is right as often as Condorcet’s law says', async () => {
    const uniform = seededUniform(9);
    const [p, runs] = [0.7, 700];
    const checker = () => juror(() => Number(uniform() < p));
    const court = jury([checker(), checker(), checker()], { pooling: 'median' });
    const verdicts = await court.verify(Array.from({ length: runs }, () => ({ prompt: 'q', completion: '' })));
    const right = verdicts.filter(({ score }) => score === 1).length / runs;
    const exact = p ** 3 + 3 * p ** 2 * (1 - p);
    expect(Math.abs(right - exact)).toBeLessThan(4 * Math.sqrt((exact * (1 - exact)) / runs));
    const best = await bestOfN(problem, {
      generator: scripted(['a', 'bb']),
      verifier: jury([juror((it) => it.length)]),
      n: 2,
    });
    expect(best.text).toBe('bb');
  });
});

describe('allocateCompletions', () => {
  const solved = (probabilities: readonly number[], counts: readonly number[]) =>
    probabilities.reduce((sum, p, i) => sum + 1 - (1 - p) ** counts[i]!, 0);
  /** Every way to give `total` to so many. */
  const ways = (parts: number, total: number): number[][] =>
    parts === 1
      ? [[total]]
      : Array.from({ length: total + 1 }, (_, first) =>
          ways(parts - 1, total - first).map((rest) => [first, ...rest]),
        ).flat();

  it('is the best of all ways to spend the completions, and never worse than an even share', () => {
    const probability = fc.integer({ min: 0, max: 100 }).map((it) => it / 100);
    fc.assert(
      fc.property(fc.array(probability, { minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 8 }), (p, total) => {
        const counts = allocateCompletions({ probabilities: p, total });
        expect(counts.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(total);
        const best = Math.max(...ways(p.length, total).map((it) => solved(p, it)));
        expect(solved(p, counts)).toBeCloseTo(best, 12);
      }),
      { numRuns: 60 },
    );
  });

  it('gives nothing to what cannot gain, and keeps its bounds', () => {
    expect(allocateCompletions({ probabilities: [0, 1, 0.5, 0.1], total: 9 })).toEqual([0, 1, 3, 5]);
    expect(allocateCompletions({ probabilities: [0, 1, 0.5, 0.1], total: 9, min: 1, max: 3 })).toEqual([1, 1, 3, 3]);
    expect(() => allocateCompletions({ probabilities: [0.5, 0.5], total: 1, min: 1 })).toThrow(/min is 1/);
    expect(() => allocateCompletions({ probabilities: [1.5], total: 1 })).toThrow(/probabilities is/);
    // As many problems as nobody would spread into the arguments of a call.
    const probabilities = Array.from({ length: 200_000 }, (_, i) => (i % 2 ? 0.5 : 0.25));
    const counts = allocateCompletions({ probabilities, total: 350_000 });
    // One of a half each, another and one of a quarter each for 1/4, and the earlier half of these another for 3/16.
    expect([0, 1, 99_998, 100_000, 199_998, 199_999].map((i) => counts[i])).toEqual([2, 2, 2, 1, 1, 2]);
    expect(counts.reduce((a, b) => a + b)).toBe(350_000);
  });
});

describe('learnThenTest', () => {
  const LEVEL = 0.1;
  const TOLERANCE = 0.2;
  /** Losses of 0 and 1 with these rates, of a list of thresholds; the same examples for all. */
  const drawn = (rates: readonly number[], count: number, uniform: () => number) => {
    const examples = Array.from({ length: count }, uniform);
    return rates.map((rate) => examples.map((u) => Number(u < rate)));
  };
  const calibrate = (losses: readonly (readonly number[])[], rest = {}) =>
    learnThenTest({
      thresholds: losses.map((_, j) => 1 - j / 10),
      losses,
      tolerance: TOLERANCE,
      level: LEVEL,
      ...rest,
    });

  it.each(
    goldenOf<{ cases: { n: number; wrong: number; tolerance: number; p: number }[] }>('learn-then-test', 'reasoning')
      .cases,
  )('has the p-value of the authors’ code: $wrong of $n at $tolerance', ({ n, wrong, tolerance, p }) => {
    const losses = [Array.from({ length: n }, (_, i) => Number(i < wrong))];
    const [tight] = learnThenTest({ thresholds: [1], losses, tolerance }).tested;
    expect(tight!.pValue).toBeCloseTo(Math.min(1, p), 10);
    const risk = wrong / n;
    const [plain] = learnThenTest({ thresholds: [1], losses, tolerance, bound: 'hoeffding' }).tested;
    expect(plain!.pValue).toBeCloseTo(risk < tolerance ? Math.exp(-2 * n * (tolerance - risk) ** 2) : 1, 12);
  });

  it('lets a threshold pass that is too risky no more often than ε, where taking the mean loss at its word does so half the time', () => {
    // The sixth is just too risky, and the seventh by far.
    const rates = [0, 0.02, 0.05, 0.1, 0.15, 0.201, 0.4];
    const uniform = seededUniform(12);
    const runs = 1500;
    const failed = { hoeffding: 0, 'hoeffding-bentkus': 0, naive: 0 };
    const spared = { hoeffding: 0, 'hoeffding-bentkus': 0 };
    for (let run = 0; run < runs; run++) {
      const losses = drawn(rates, 200, uniform);
      for (const bound of ['hoeffding', 'hoeffding-bentkus'] as const) {
        const { threshold } = calibrate(losses, { bound });
        const at = threshold === null ? 0 : Math.round(10 * (1 - threshold));
        failed[bound] += Number(rates[at]! > TOLERANCE);
        spared[bound] += at / runs;
      }
      const risks = losses.map((row) => row.reduce((a, b) => a + b, 0) / row.length);
      const last = risks.findLastIndex((risk) => risk <= TOLERANCE);
      failed.naive += Number(rates[last]! > TOLERANCE);
    }
    // Three standard errors of the frequency are 0.023 at ε.
    expect(failed.hoeffding / runs).toBeLessThan(LEVEL + 0.023);
    expect(failed['hoeffding-bentkus'] / runs).toBeLessThan(LEVEL + 0.023);
    expect(failed.naive / runs).toBeGreaterThan(0.4);
    // The tighter bound certifies more, and both spare something.
    expect(spared['hoeffding-bentkus']).toBeGreaterThan(spared.hoeffding);
    expect(spared.hoeffding).toBeGreaterThan(2);
  });

  it('stops at the first that is not certified, certifies nothing of too few, and refuses losses that are none', () => {
    const even = (rate: number) => Array.from({ length: 100 }, (_, i) => Number(i < 100 * rate));
    const { threshold, tested } = calibrate([even(0), even(0.3), even(0)]);
    expect(threshold).toBe(1);
    expect(tested.map(({ risk }) => risk)).toEqual([0, 0.3]);
    expect(calibrate([[0, 0, 0]])).toMatchObject({ threshold: null });
    expect(() => calibrate([[0, 0], [0]])).toThrow(/losses .*as many each/);
    expect(() => calibrate([[2]])).toThrow(/losses/);
    expect(() => learnThenTest({ thresholds: [1], losses: [[0]], tolerance: 1 })).toThrow(/tolerance/);
  });
});
