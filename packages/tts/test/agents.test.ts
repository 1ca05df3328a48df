import { readFileSync } from 'node:fs';
import type { Completion, GenerateRequest, Generator } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import {
  bm25,
  coat,
  denseRetriever,
  formatCoat,
  lastAction,
  parseCoat,
  rag,
  react,
  recallAt,
  reflexion,
  relevanceScore,
  selfRag,
  supportScore,
  type Tool,
  utilityScore,
} from '../src/index.js';
import { completion, goldenOf, table } from './doubles.js';

const problem = { prompt: 'How high is the tower of Pisa and twice that?' };
/** Writes what `say` makes of a request, and says what ended it. */
const writer = (
  say: (request: GenerateRequest, index: number) => string,
  name = 'writer',
): Generator & { requests: GenerateRequest[] } => {
  const requests: GenerateRequest[] = [];
  return {
    name,
    requests,
    generate: async (batch) => {
      requests.push(...batch);
      return batch.map((request) =>
        Array.from({ length: request.n ?? 1 }, (_, i): Completion => {
          const text = say(request, i);
          // A text may name its own stop; it ends there.
          const stop = (request.stop ?? []).find((it) => text.endsWith(it)) ?? null;
          return { ...completion(stop === null ? text : text.slice(0, -stop.length)), stop };
        }),
      );
    },
  };
};
const MARK = '\nObservation:';
const tools: Record<string, Tool> = {
  search: (query) => (query === 'Pisa' ? 'The tower is 56 m high.' : 'Nothing found.'),
  calculate: (expression) =>
    String(
      expression
        .split('*')
        .map(Number)
        .reduce((a, b) => a * b, 1),
    ),
};

interface Steps {
  readonly script: string[];
  readonly calls: string[];
  readonly answer: string;
  readonly trajectory: string;
  readonly asked: number;
}
describe('react', () => {
  const script = [
    `I must look it up.\nAction: search[Pisa]${MARK}`,
    `It is 56 m.\nAction: calculate[56*2]${MARK}`,
    'I know.\nAction: finish[112]',
  ];
  const run = (say: (request: GenerateRequest, index: number) => string, rest = {}) => {
    const generator = writer(say);
    return { generator, result: react(problem, { generator, n: 1, tools, ...rest }) };
  };
  const byStep = ({ prefix = '' }: GenerateRequest) => script[prefix.split(MARK).length - 1]!;

  it('finds the last action of a step, numbered or not', () => {
    expect(lastAction('Thought 1: x\nAction 1: search[a b]\nAction 2: Finish[3]')).toEqual({
      tool: 'Finish',
      argument: '3',
    });
    expect(lastAction('I act: search[a]')).toBe(null);
    expect(lastAction('Action: none')).toBe(null);
  });

  it('calls tools and goes on from what they have said', async () => {
    const { generator, result } = run(byStep);
    const found = await result;
    expect(found.answer).toBe('112');
    expect(generator.requests.at(-1)!.prefix).toBe(
      `I must look it up.\nAction: search[Pisa]${MARK} The tower is 56 m high.\nIt is 56 m.\nAction: calculate[56*2]${MARK} 112\n`,
    );
    expect(found.trace.nodes.filter(({ payload }) => (payload as { tool?: string })?.tool)).toMatchObject([
      { payload: { tool: 'search', observation: 'The tower is 56 m high.' } },
      { payload: { tool: 'calculate', observation: '112' } },
    ]);
    // Observations are no tokens of the generator.
    expect(found.trace.spent.completions).toBe(3);
  });

  it.each(goldenOf<{ runs: Steps[] }>('react', 'authors').runs)(
    'acts and reads as the authors’ code does: $calls',
    async ({ script, calls, answer, trajectory, asked }) => {
      const called: string[] = [];
      const see = (tool: string) => (argument: string) => {
        called.push(`${tool}[${argument}]`);
        return `saw ${tool}[${argument}]`;
      };
      const known = Object.fromEntries(
        ['search', 'calculate', 'lookup'].map((tool) => [tool.replace(/^./, (it) => it.toUpperCase()), see(tool)]),
      );
      const { generator, result } = run(
        ({ prefix = '' }) => {
          const step = prefix.split(MARK).length - 1;
          const [thought, action] = script[step]!.split('\n');
          return `Thought: ${thought}\nAction: ${action}${MARK}`;
        },
        { tools: known, maxSteps: 7 },
      );
      const done = await result.catch(() => undefined);
      expect(generator.requests).toHaveLength(asked);
      expect([...called, `finish[${done?.answer ?? ''}]`]).toEqual(calls);
      expect(done?.answer ?? '').toBe(answer);
      // What the model has before it at its last step, without the numbers and without the question.
      const before = trajectory.replace(/(Thought|Action|Observation) \d+:/g, '$1:').replace(/^q\n/, '');
      expect(before.startsWith(generator.requests.at(-1)!.prefix ?? '')).toBe(true);
    },
  );

  it('tells the model of a tool that is not there, gives up at maxSteps, and throws what a tool throws', async () => {
    const { generator, result } = run(({ prefix }) => (prefix ? 'Action: finish[1]' : `Action: fly[away]${MARK}`));
    await result;
    expect(generator.requests[1]!.prefix).toContain('There is no tool fly; there are search, calculate, finish.');
    await expect(run(() => `Action: search[x]${MARK}`, { maxSteps: 3 }).result).rejects.toThrow(
      /none of 1 episodes has finished/,
    );
    await expect(run(() => 'no action').result).rejects.toThrow(/none of 1 episodes/);
    const broken = { search: () => Promise.reject(new Error('the wire is cut')) };
    await expect(run(byStep, { tools: broken }).result).rejects.toThrow('the wire is cut');
  });

  it('is the same tree whichever tool is faster, and votes over episodes', async () => {
    const slow = (delays: readonly number[]): Record<string, Tool> => {
      let call = 0;
      return {
        search: (query) => new Promise((resolve) => setTimeout(() => resolve(query), delays[call++ % delays.length])),
      };
    };
    const say = ({ prefix = '', seed = 0 }: GenerateRequest) =>
      prefix.includes(MARK) ? `Action: finish[${seed % 2}]` : `Action: search[${seed % 7}]${MARK}`;
    const texts = async (delays: readonly number[]) => {
      const found = await run(say, { n: 5, tools: slow(delays) }).result;
      return [found.votes, found.trace.nodes.map(({ text, status }) => [text, status])];
    };
    const wanted = await texts([0]);
    expect(await texts([9, 0, 4])).toEqual(wanted);
    expect(await texts([0, 3, 12])).toEqual(wanted);
  });
});

describe('reflexion', () => {
  // Five doors, one of which is right; the agent tries the first that its memory does not name.
  const doors = ['a', 'b', 'c', 'd', 'e'];
  const explorer = writer(({ prompt }) => {
    const said = String(prompt);
    if (said.startsWith('why')) return `not ${said.at(-2)}`;
    return `Action: finish[${doors.find((door) => !said.includes(`not ${door}`))}]`;
  });
  const prompts = {
    reflectPrompt: (trial: string) => `why ${trial}`,
    memoryPrompt: (known: readonly string[]) => `q: ${known.join('; ')}`,
  };
  const run = (right: string, rest = {}) => {
    const verifier = table((text) => Number(text.endsWith(`[${right}]`)));
    return reflexion(problem, { generator: explorer, verifier, n: 6, tools: {}, memory: 9, ...prompts, ...rest });
  };

  it('succeeds in trial i where the i-th guess is right, and never without memory', async () => {
    for (const [i, door] of doors.entries()) {
      const found = await run(door);
      expect(found).toMatchObject({ answer: door, score: 1 });
      // A trial and, but for the last, a reflection each.
      expect(found.trace.spent).toMatchObject({ verifierCalls: i + 1, completions: 2 * i + 1 });
    }
    const forgetful = await run('c', { memory: 0 });
    expect(forgetful).toMatchObject({ answer: 'a', score: 0 });
    expect(forgetful.trace.spent.completions).toBe(6);
  });

  it.each(goldenOf<{ runs: { right: string; answers: string[]; shown: string[][] }[] }>('reflexion', 'authors').runs)(
    'tries and remembers as the authors’ code does, where door $right is right',
    async ({ right, answers, shown }) => {
      const remembered: (readonly string[])[] = [[]];
      const generator = writer(({ prompt }) => {
        const said = String(prompt);
        if (said.startsWith('why')) return `not ${said.at(-2)}`;
        return `Action: finish[${['v', 'w', 'x', 'y', 'z'].find((door) => !said.includes(`not ${door}`))}]`;
      });
      const verifier = table((text) => Number(text.endsWith(`[${right}]`)));
      const memoryPrompt = (known: readonly string[]) => {
        remembered.push(known);
        return known.join('; ');
      };
      const options = { generator, verifier, n: 6, tools: {}, memory: 9, ...prompts, memoryPrompt };
      const { answer, trace } = await reflexion(problem, options);
      expect(remembered).toEqual(shown);
      expect(answer).toBe(answers.at(-1));
      expect(trace.nodes.flatMap(({ answer: one }) => one ?? [])).toEqual(answers);
    },
  );

  it('remembers the last Ω reflections only', async () => {
    // With one reflection it goes back and forth between the first two doors.
    expect(await run('c', { memory: 1 })).toMatchObject({ score: 0 });
    expect(await run('b', { memory: 1 })).toMatchObject({ score: 1 });
  });
});

describe('coat', () => {
  const chain = 'Try 3.<|reflect|>That is odd.<|explore|>Try 4.<|continue|>The answer is 4.';

  it('parses what it formats, whatever stands where', () => {
    const texts = [chain, '', 'no action', '<|reflect|>', '<|explore|><|explore|>x', '<|continue|>a<|reflect|'];
    for (const text of texts) expect(formatCoat(parseCoat(text))).toBe(text);
    expect(parseCoat(chain).map(({ action }) => action)).toEqual([null, 'reflect', 'explore', 'continue']);
    const own = { continue: '>', reflect: '>>', explore: '?' };
    expect(parseCoat('a>>b>c', own)).toEqual([
      { action: null, text: 'a' },
      { action: 'reflect', text: 'b' },
      { action: 'continue', text: 'c' },
    ]);
  });

  it('draws the text action by action, counts them, and makes an ended text reflect', async () => {
    const parts = chain.split(/(?<=\|>)/);
    const generator = writer(({ prefix = '' }) => {
      const done = prefix.split(/(?<=\|>)/).filter((it) => it.endsWith('|>')).length;
      return parts[done] ?? 'Still 4.';
    });
    const found = await coat(problem, { generator, n: 1 });
    expect(found).toMatchObject({ text: chain, answer: '4' });
    expect(found.trace.nodes.at(-1)!.payload).toEqual({ continue: 1, reflect: 1, explore: 1, forced: 0 });
    const longer = await coat(problem, { generator, n: 1, forcedReflections: 2 });
    expect(longer.text).toBe(`${chain}<|reflect|>Still 4.<|reflect|>Still 4.`);
    expect(longer.trace.nodes.find(({ status }) => status === 'chosen')!.payload).toMatchObject({
      reflect: 3,
      forced: 2,
    });
    await expect(
      coat(problem, { generator, n: 1, actions: { continue: 'a', reflect: 'a', explore: 'b' } }),
    ).rejects.toThrow(/three different texts/);
  });
});

interface Bm25Golden {
  readonly passages: readonly string[];
  readonly cases: readonly {
    readonly k1: number;
    readonly b: number;
    readonly query: string;
    readonly scores: readonly number[];
  }[];
}
const golden = JSON.parse(
  readFileSync(new URL('../../../goldens/retrieval/bm25.json', import.meta.url), 'utf8'),
) as Bm25Golden;
const passages = golden.passages.map((text, i) => ({ id: String(i), text }));

describe('retrieval', () => {
  it.each(golden.cases)('scores "$query" as bm25s does: k1 = $k1, b = $b', ({ k1, b, query, scores }) => {
    bm25(passages, { k1, b })
      .scores(query)
      .forEach((score, i) => {
        expect(score).toBeCloseTo(scores[i]!, 10);
      });
  });

  it('does not hold long passages back where b is 0, and ranks earlier of equals first', async () => {
    const twice = [
      { id: 'short', text: 'x y' },
      { id: 'long', text: `x y ${'z '.repeat(50)}` },
    ];
    const [short, long] = bm25(twice, { b: 0 }).scores('x');
    expect(short).toBe(long);
    const found = await bm25(twice, { b: 0 }).retrieve('x', 5);
    expect(found.map(({ id }) => id)).toEqual(['short', 'long']);
    expect(bm25([], {}).scores('x')).toEqual([]);
  });

  it('finds by the cosine of embeddings, whatever their length, and counts recall', async () => {
    const vectors: Record<string, number[]> = {
      north: [0, 3],
      east: [1, 0],
      'north-east': [10, 10],
      q: [0.1, 1],
      nothing: [0, 0],
    };
    const embedder = {
      name: 'compass',
      embed: async (texts: readonly string[]) => texts.map((it) => Float32Array.from(vectors[it]!)),
    };
    const all = ['east', 'nothing', 'north-east', 'north'].map((text) => ({ id: text, text }));
    const found = await denseRetriever(all, embedder).retrieve('q', 3);
    expect(found.map(({ id }) => id)).toEqual(['north', 'north-east', 'east']);
    expect(recallAt(found, ['north', 'nothing'])).toBe(0.5);
    expect(recallAt([], [])).toBe(1);
  });
});

describe('rag', () => {
  // Reads the first number of what it is given, and guesses where there is none.
  const reader = writer(({ prompt }, i) => `It is ${/\d+/.exec(String(prompt))?.[0] ?? i}.`);
  const heights = [
    { id: 'pisa', text: 'The tower of Pisa is 56 m high.' },
    { id: 'eiffel', text: 'The Eiffel tower is 330 m high.' },
    { id: 'bread', text: 'Bread is baked at night.' },
  ];
  const run = (from: readonly { id: string; text: string }[], rest = {}) =>
    rag(problem, {
      generator: reader,
      n: 3,
      k: 1,
      retriever: bm25(from),
      ragPrompt: (found) => found.map(({ text }) => text).join('\n'),
      ...rest,
    });

  it('answers from what it has found, and not from what has nothing to do with it', async () => {
    const found = await run(heights);
    expect(found).toMatchObject({ answer: '56', votes: [{ count: 3 }] });
    expect(found.trace.nodes[0]!.payload).toEqual({ retrieved: [{ id: 'pisa', score: expect.any(Number) }] });
    expect((await run(heights.slice(2))).answer).toBe('0');
    expect((await run(heights, { query: () => 'Eiffel' })).answer).toBe('330');
    await expect(run(heights, { retriever: {} })).rejects.toThrow(/an object with retrieve/);
  });
});

describe('selfRag', () => {
  const judge = (score: (text: string) => number) => table(score);
  it('has the scores of the paper’s formulas', () => {
    expect(relevanceScore({ relevant: 0.3, irrelevant: 0.1 })).toBeCloseTo(0.75, 12);
    expect(supportScore({ fully: 0.2, partially: 0.2, no: 0.1 })).toBeCloseTo(0.6, 12);
    expect(utilityScore([0, 0, 0, 0, 0.5])).toBe(1);
    expect(utilityScore([0.2, 0.2, 0.2, 0.2, 0.2])).toBeCloseTo(0, 12);
  });

  interface Reflections {
    readonly weights: readonly [number, number, number];
    readonly passages: readonly {
      readonly relevance: readonly [irrelevant: number, relevant: number];
      readonly support: readonly [fully: number, partially: number, no: number];
      readonly utility: readonly [number, number, number, number, number];
      readonly score: number;
    }[];
    readonly chosen: number;
  }
  it.each(goldenOf<{ runs: Reflections[] }>('self-rag', 'reasoning').runs)(
    'scores passages and chooses among them as the authors’ code: weights $weights',
    async ({ weights: [relevanceWeight, supportWeight, utilityWeight], passages, chosen }) => {
      const reading = writer(({ prefix = '' }) => `answer ${/passage (\d+)/.exec(prefix)![1]}`);
      const said = (score: (passage: (typeof passages)[number]) => number) =>
        judge((text) => score(passages[Number(/answer (\d+)$/.exec(text)![1])]!));
      const found = await selfRag(problem, {
        ...{ generator: reading, n: 1, k: passages.length, stop: ['.\n'], queryOf: () => 'q' },
        retriever: {
          name: 'passages',
          retrieve: async () => passages.map((_, i) => ({ id: `${i}`, text: `passage ${i}`, score: 1 })),
        },
        ...{ relevanceWeight, supportWeight, utilityWeight },
        verifiers: {
          relevance: said(({ relevance: [irrelevant, relevant] }) => relevanceScore({ relevant, irrelevant })),
          support: said(({ support: [fully, partially, no] }) => supportScore({ fully, partially, no })),
          utility: said(({ utility }) => utilityScore(utility)),
        },
      });
      expect(found.text).toMatch(new RegExp(`answer ${chosen}$`));
      const ends = found.trace.nodes.filter(
        ({ finishReason, score }) => finishReason === 'stop' && score !== undefined,
      );
      expect(ends.map(({ score }) => score)).toEqual(passages.map(({ score }) => expect.closeTo(score, 9)));
    },
  );

  const from = [
    { id: 'tower', text: 'tower 56' },
    { id: 'leaning', text: 'tower tower 99' },
  ];
  // Repeats the last number that it has read, and ends after two segments.
  const reader = writer(({ prefix = '' }) => {
    const [last = '7'] = [...prefix.matchAll(/\d+/g)].map(([it]) => it).slice(-1);
    return prefix.includes('.\n') ? `so ${last}` : `${last}.\n`;
  });
  const run = (rest = {}) =>
    selfRag(problem, {
      ...{ generator: reader, n: 1, k: 2, retriever: bm25(from), queryOf: () => 'tower', stop: ['.\n'], beams: 1 },
      verifiers: {
        // The passage that the retriever puts first is not relevant.
        relevance: judge((text) => (text.includes('99') ? 0 : 1)),
        support: judge(() => 1),
        utility: judge(() => 0.5),
        ...((rest as { verifiers?: object }).verifiers ?? {}),
      },
      ...Object.fromEntries(Object.entries(rest).filter(([name]) => name !== 'verifiers')),
    });

  it('goes on with what a relevant passage supports, where plain RAG reads what was ranked first', async () => {
    expect((await bm25(from).retrieve('tower', 1))[0]!.id).toBe('leaning');
    const found = await run();
    expect(found.answer).toBe('56');
    expect(found.score).toBeCloseTo(1 + 1 + 0.25, 12);
    expect(found.text).toContain('<paragraph>tower 56</paragraph>');
    expect((await run({ relevanceWeight: 0 })).answer).toBe('99');
  });

  it('retrieves only where it is needed, and says which verifier is missing', async () => {
    const found = await run({ verifiers: { retrieve: judge(() => 0.1) } });
    expect(found.text).toBe('7.\nso 7');
    expect(found.score).toBeCloseTo(0.25, 12);
    const first = await run({ verifiers: { retrieve: judge((text) => (text === '' ? 1 : 0)) } });
    expect(first.text.match(/<paragraph>/g)).toHaveLength(1);
    await expect(run({ verifiers: { support: undefined } })).rejects.toThrow(/verifiers/);
  });
});
