// Steps that make rows with models, on scripted models whose every answer is known.

import { readFileSync } from 'node:fs';
import type {
  Embedder,
  GenerateRequest,
  Generator,
  Prompt,
  RowGradients,
  Sandbox,
  Scorer,
  Verifier,
} from '@posttrain/interfaces';
import { Ledger } from '@posttrain/interfaces/ledger';
import { createRandom } from '@posttrain/interfaces/random';
import { numericMatch } from '@posttrain/interfaces/verifiers';
import { describe, expect, it } from 'vitest';
import {
  type AnyStep,
  adversarialAugment,
  alpaGasus,
  curateAgentTraces,
  deitaSelect,
  doReMiUpdate,
  evolInstruct,
  evolutionFailure,
  expectedRating,
  failureAwareAugment,
  formatStructuredCot,
  ifdSelect,
  instructionBacktranslation,
  lessSelect,
  magpie,
  mammoth,
  maskedNumbers,
  metaMath,
  multiAgentTrajectories,
  NoveltyPool,
  personas,
  pipeline,
  programOf,
  rejectionSampling,
  type SeedTask,
  type SelectionStep,
  type SelfInstructOptions,
  selfInstruct,
  star,
  superfilter,
  traceQuality,
  ultraFeedback,
  unsuitableInstruction,
  vStar,
} from '../src/index.js';
import { ratingIn } from '../src/steps/asking.js';
import { differentEquations } from '../src/steps/different-equations.js';
import { unsuitableInstance } from '../src/synthesis/self-instruct.js';
import { ratingsIn } from '../src/synthesis/ultra-feedback.js';
import { testDataStep } from '../src/testing/index.js';

const lastText = (prompt: Prompt): string => (typeof prompt === 'string' ? prompt : prompt.at(-1)!.content!.toString());

/** Answers by a function of the prompt, the seed and the number of the completion; a token is a word. */
const scripted = (
  answer: (prompt: string, seed: number, i: number, request: GenerateRequest) => string,
  name = 'scripted',
): Generator & { asked: GenerateRequest[] } => {
  const asked: GenerateRequest[] = [];
  const tokens = (text: string) => text.split(/\s+/).filter((word) => word !== '').length;
  return {
    name,
    asked,
    async generate(requests) {
      asked.push(...requests);
      return requests.map((request) =>
        Array.from({ length: request.n ?? 1 }, (_, i) => {
          const text = answer(lastText(request.prompt), request.seed!, i, request);
          const usage = {
            promptTokens: i === 0 ? tokens(lastText(request.prompt)) : 0,
            completionTokens: tokens(text),
          };
          return { text, finishReason: 'stop' as const, usage };
        }),
      );
    },
  };
};
/** Right is a completion that ends with the row's answer. */
const endsRight: Verifier = {
  name: 'ends right',
  verify: async (requests) =>
    requests.map(({ completion, row }) => ({
      score: Number(completion.trim().split(' ').at(-1) === String(row!.answer)),
    })),
};
const echo = scripted((prompt, seed) => `${prompt.split('\n').at(-1)} ${seed % 7}`);
const rows = [
  'How much is 2 + 3?',
  'How much is 40 - 2?',
  'How much is 6 * 7?',
  'How much is 9 - 9?',
  'Say hello to everybody.',
].map((prompt, i) => ({ prompt, answer: ['5', '38', '42', '0', 'hello'][i]!, text: `A text about ${i} things.` }));
/** Solves a sum that stands in the prompt, wrong where the completion's number is odd; backward questions by their equation. */
const solver = scripted((prompt, _, i) => {
  const backward = /^How much is (\S+) ([-+*]) (\S+)\?.* is (-?\d+), what is the value/.exec(
    prompt.replaceAll('\n', ' '),
  );
  if (backward) {
    const [, a, op, b, result] = backward;
    for (let x = -100; x <= 100; x++) {
      const [l, r] = [a === 'x' ? x : Number(a), b === 'x' ? x : Number(b)];
      if ((op === '+' ? l + r : op === '-' ? l - r : l * r) === Number(result)) return `x is ${x}`;
    }
  }
  const [, a, op, b] = /(\d+) ([-+*]) (\d+)/.exec(prompt) ?? [];
  const value = op === '+' ? Number(a) + Number(b) : op === '-' ? Number(a) - Number(b) : Number(a) * Number(b);
  return `It is ${value + (i % 2)}`;
}, 'solver');
const base = { generator: solver, verifier: endsRight };
const quick: Sandbox = {
  name: 'expressions',
  languages: ['python'],
  commands: false,
  probe: async () => ({ sandbox: 'expressions', ok: true, checks: [] }),
  async run(job) {
    const code = 'code' in job ? job.code : '';
    const found = /^print\(([-+*\d ]+)\)$/.exec(code);
    const ok = { stoppedBy: null, stderr: '', stdoutTruncated: false, stderrTruncated: false, wallMs: 1 } as const;
    return found
      ? { ...ok, exitCode: 0, stdout: `${new Function(`return ${found[1]}`)()}\n` }
      : { ...ok, exitCode: 1, stdout: '' };
  },
};
const programmer = scripted((prompt) => {
  const sum = /(\d+ [-+*] \d+)/.exec(prompt)?.[1];
  if (!prompt.includes('program')) return sum === undefined ? 'no idea' : 'It is 0';
  return sum === undefined ? 'raise' : `Here:\n\`\`\`python\nprint(${sum})\n\`\`\`\n`;
});

const steps: readonly (readonly [() => AnyStep, readonly object[]])[] = [
  [() => evolInstruct({ generator: echo, rounds: 2 }), rows],
  [() => magpie({ generator: echo, userStart: '<u>', userEnd: '</u>', assistantStart: '<a>', samples: 2 }), rows],
  [() => personas({ generator: echo, relations: 1 }), rows],
  [
    () =>
      instructionBacktranslation({
        generator: echo,
        rater: scripted((_, seed) => `Score: ${(seed % 5) + 1}`),
        threshold: 3,
      }),
    rows,
  ],
  [() => metaMath({ ...base, samples: 2 }), rows],
  [() => mammoth({ generator: programmer, verifier: endsRight, sandbox: quick }), rows],
  [
    () =>
      ultraFeedback({
        generators: [solver, echo, programmer],
        judge: scripted((_, seed) => [1, 2, 3].map((i) => `Answer ${i}: ${((seed >> i) % 5) + 1}`).join('\n')),
      }),
    rows,
  ],
  [
    () =>
      multiAgentTrajectories({
        roles: [
          { name: 'a', system: 'Think.', generator: echo },
          {
            name: 'b',
            system: 'Solve {task}.',
            generator: scripted((p, s) => `${solver.name} FINAL: ${s % 3 ? 'no' : /(\d+) - (\d+)/.exec(p) ? 38 : 5}`),
          },
        ],
        verifier: endsRight,
        samples: 4,
      }),
    rows,
  ],
  [() => adversarialAugment(), rows],
  [
    () =>
      failureAwareAugment({
        ...base,
        author: scripted((_, seed) => `Problem: How much is ${seed % 9} + 1?\nAnswer: ${(seed % 9) + 1}`),
        solver,
        attempts: 2,
      }),
    rows,
  ],
  [() => star({ ...base, samples: 1 }), rows],
  [() => vStar({ ...base, samples: 4 }), rows],
  [() => formatStructuredCot({ columns: { think: 'text', answer: 'answer' } }), rows],
  [
    () => curateAgentTraces(),
    rows.map((row) => ({
      messages: [
        { role: 'user', content: row.prompt },
        { role: 'assistant', content: row.answer },
      ],
    })),
  ],
];

describe('steps that make rows', () => {
  for (const [make, given] of steps) testDataStep(it, make, { rows: given });

  it('say how a row came about, and a ledger has all that it took', async () => {
    const ledger = new Ledger();
    const made = await pipeline(rows, [star({ ...base, ledger })]).collect();
    expect(made).toHaveLength(4);
    for (const { synthesis } of made) {
      expect(synthesis).toMatchObject({ method: 'star', generators: ['solver'], together: 1 });
      expect(synthesis.cost).toEqual({ calls: 1, promptTokens: 6, completionTokens: 3 });
    }
    // The fifth row was asked twice, and dropped.
    expect(ledger.spent).toMatchObject({ generatorCalls: 6, completions: 6, completionTokens: 18 });
  });

  it.each([
    ['Score: 4/5', 4],
    ['**4** / 5, as 2 points are missing', 2],
    ['4 out of 5.', 4],
    ['Score: 4.5/5.0', 4.5],
    ['from 1 to 5 it is 3', 3],
    ['3/4', 4],
    ['7', null],
    ['none', null],
  ])('read a rating from 1 to 5: %s', (text, rating) => {
    expect(ratingIn(text, 1, 5)).toBe(rating);
  });

  it.each([
    () => evolInstruct({ generator: scripted(String), operations: [] }),
    () => metaMath({ generator: scripted(String), verifier: endsRight, kinds: [] }),
  ])('refuse to do nothing: %s', (make) => {
    expect(make).toThrow(/at least one of/);
  });

  it('take prompts of the user, and refuse what is no prompt of the method or has other names', async () => {
    const generator = scripted(() => 'x');
    await pipeline([{ text: 'T' }], [personas({ generator, prompts: { persona: 'Whose is {text}?' } })]).collect();
    expect(generator.asked[0]!.prompt).toBe('Whose is T?');
    for (const prompts of [{ other: 'x' }, { persona: '{texts}' }, { persona: 3 }])
      expect(() => personas({ generator, prompts: prompts as never })).toThrow(
        /prompts is .*must be an object with some of persona, related/,
      );
    expect(() => star({ ...base, sample: 3 } as never)).toThrow(/samples/);
    await expect(pipeline([{ prompt: '' }], [star(base)]).collect()).rejects.toThrow(/row 1, field "prompt"/);
    const short: Generator = { name: 'short', generate: async () => [[]] };
    await expect(pipeline(rows, [star({ ...base, generator: short })]).collect()).rejects.toThrow(
      /short returned 0 completions where 1/,
    );
  });
});

describe('Self-Instruct', () => {
  const seeds: SeedTask[] = [
    { instruction: 'Write a short poem about the sea.', output: 'Waves.' },
    { instruction: 'Is this review good or bad?', input: 'I liked it.', output: 'good', isClassification: true },
  ];
  it("novelty is rouge-score's ROUGE-L below the limit, with the pool that grows", () => {
    // 0.1.2, without stems.
    const known = [
      ['Write a short poem about the sea.', 'Write a long poem about the old sea in winter', 0.7058823529411765],
      ['Name three colours', 'List five animals', 0],
      ['Sort the numbers 3, 1 and 2.', 'sort the numbers 3 1 and 2', 1],
    ] as const;
    for (const [a, b, value] of known) {
      expect(new NoveltyPool([a], 0.7).likeness(b)).toBeCloseTo(value, 12);
      expect(new NoveltyPool([a], 0.7).add(b)).toBe(value < 0.7);
    }
    // By enumeration of all subsequences, on short texts.
    const random = createRandom(4);
    const draw = () => Array.from({ length: random.integer(1, 7) }, () => random.pick(['a', 'b', 'c']));
    const subsequences = (words: readonly string[]) =>
      new Set(
        Array.from({ length: 2 ** words.length }, (_, bits) => words.filter((__, i) => (bits >> i) & 1).join(' ')),
      );
    for (let i = 0; i < 40; i++) {
      const [a, b] = [draw(), draw()];
      const both = [...subsequences(a)].filter((one) => subsequences(b).has(one));
      const longest = Math.max(...both.map((one) => (one === '' ? 0 : one.split(' ').length)));
      expect(new NoveltyPool([a.join(' ')], 1).likeness(b.join(' '))).toBeCloseTo(
        (2 * longest) / (a.length + b.length),
        12,
      );
    }
  });

  it.each([
    ['Name three things', 'too short or too long'],
    ['Describe what you see in the picture', 'about what a language model cannot see or do'],
    ['Write a program that sorts a list', 'a program to be written'],
    ['"Quote" a sentence of somebody famous', 'starts with a mark'],
    ['Écris une phrase en bon français', 'starts with a mark'],
    ['Mapping words to their kinds is fun', null],
  ])('an instruction is not used by the rules of its code: %s', (instruction, reason) => {
    expect(unsuitableInstruction(instruction)).toBe(reason);
  });

  const model = () => {
    let round = 0;
    return scripted((prompt) => {
      if (prompt.startsWith('Here is a list')) {
        round++;
        const [why, what] = [
          ['rivers bend slowly', 'foxes'],
          ['bread smells good', 'wolves and a lost key'],
        ][round % 2]!;
        return `Explain ${round} times why ${why}.\n4. Tell a ${round}-part story of ${what}.\n5. Write a short poem about the sea.\n6. Cut off in the midd`;
      }
      if (prompt.startsWith('Is this')) return prompt.includes('Tell') ? 'Yes.' : 'No';
      return prompt.includes('labels') ? 'Label: good\nInput: something\nlonger' : 'Input: None\nOutput: done';
    });
  };
  const run = async (more: Partial<SelfInstructOptions> = {}) => {
    const made = [];
    for await (const row of selfInstruct({ generator: model(), seeds, count: 4, seed: 1, ...more })) made.push(row);
    return made;
  };

  it('bootstraps: output first for classification, input first else; nothing like what was there; the same again by seed', async () => {
    const made = await run();
    expect(made).toHaveLength(4);
    expect(made.map(({ instruction }) => instruction).some((one) => /poem|midd/.test(one))).toBe(false);
    for (const { isClassification, input, output } of made)
      expect([input, output]).toEqual(isClassification ? ['something\nlonger', 'good'] : ['', 'done']);
    expect(await run()).toEqual(made);
    const all = [...seeds.map(({ instruction }) => instruction), ...made.map(({ instruction }) => instruction)];
    for (const [i, one] of all.entries()) expect(new NoveltyPool(all.slice(0, i), 0.7).likeness(one)).toBeLessThan(0.7);
    expect(made[0]!.synthesis).toMatchObject({ method: 'self-instruct', together: 2, cost: { calls: 5 } });
  });

  it('ends where nothing new comes, and shows six of people and two of its own', async () => {
    const many = Array.from({ length: 8 }, (_, i) => ({
      instruction: `Seed about topic${i} and thing${i} x${i}`,
      output: 'o',
    }));
    const stale = scripted((prompt) =>
      prompt.startsWith('Here') ? 'Explain why the sky is so blue.' : prompt.startsWith('Is') ? 'no' : 'Output: o',
    );
    const made = [];
    for await (const row of selfInstruct({ generator: stale, seeds: many, count: 9, patience: 3 })) made.push(row);
    expect(made).toHaveLength(1);
    const lists = stale.asked.map(({ prompt }) => lastText(prompt)).filter((prompt) => prompt.startsWith('Here'));
    expect(lists).toHaveLength(4);
    expect([lists[0], lists[1]].map((list) => list!.match(/^\d+\. \S/gm)!.length)).toEqual([6, 7]);
    expect(lists[1]).toContain('8.');
    // New instructions without an instance are no end of asking either.
    const barren = scripted((prompt, seed) =>
      prompt.startsWith('Here') ? `Explain thing ${seed} to w${seed} and v${seed}.` : 'no',
    );
    for await (const _ of selfInstruct({ generator: barren, seeds: many, count: 1, patience: 3 })) made.push(_);
    expect([made.length, barren.asked.length]).toEqual([1, 9]);
  });
});

describe('what the methods keep', () => {
  it.each<[string, string, boolean, string | null]>([
    ['Compare two poets of one time.', 'They differ in form.', false, null],
    ['Compare two poets of one time.', 'They differ.', true, 'adds nothing'],
    ['Fly to the moon.', 'Sorry, I have no wings.', false, 'cannot be answered'],
    ['Fly.', `Sorry. ${'word '.repeat(90)}`, false, null],
    ['Fly.', 'It is, and was not.', false, 'answer without content'],
    ['The #Rewritten Prompt# is: fly.', 'Flying takes wings.', false, 'words of the evolving prompt'],
  ])('Evol-Instruct eliminates by four rules: %s', (after, answer, isEqual, reason) => {
    expect(evolutionFailure(after, answer, { isEqual })).toBe(reason);
  });

  it('Evol-Instruct goes on from what stayed, and not from what was eliminated', async () => {
    let n = 0;
    const generator = scripted((prompt) => {
      if (prompt.startsWith('Are these')) return prompt.includes('harder2') ? 'Equal' : 'Not Equal';
      return prompt.includes('Instruction: ') ? `${prompt.split('Instruction: ')[1]} harder${++n}` : 'A fine answer.';
    });
    const run = pipeline([{ prompt: 'go' }], [evolInstruct({ generator, rounds: 3, operations: ['deepening'] })]);
    expect((await run.collect()).map(({ prompt, before, round }) => [prompt, before, round])).toEqual([
      ['go harder1', 'go', 1],
      ['go harder1 harder3', 'go harder1', 3],
    ]);
    expect(run.report()[0]!.warnings).toEqual({ 'an evolution was eliminated: adds nothing': 1 });
  });

  it('Magpie gives the model what stands before a user speaks, and stops at its end', async () => {
    const generator = scripted((prompt) => (prompt.endsWith('<a>') ? ' Paris ' : ' Capital of France? '));
    const step = magpie({
      generator,
      userStart: '<u>',
      userEnd: '</u>',
      assistantStart: '<a>',
      systemStart: '<s>',
      systemEnd: '</s>',
    });
    const [row] = await pipeline([{ system: 'Geography.' }], [step]).collect();
    expect(row).toMatchObject({ prompt: 'Capital of France?', completion: 'Paris' });
    expect(generator.asked.map(({ prompt, stop }) => [prompt, stop])).toEqual([
      ['<s>Geography.</s><u>', ['</u>']],
      ['<s>Geography.</s><u> Capital of France? </u><a>', ['</u>']],
    ]);
    const endless: Generator = {
      name: 'endless',
      generate: async (requests) =>
        (await generator.generate(requests)).map((own) =>
          own.map((one) => ({ ...one, finishReason: 'length' as const })),
        ),
    };
    const cut = pipeline(
      [{}],
      [magpie({ generator: endless, userStart: '<u>', userEnd: '</u>', assistantStart: '<a>' })],
    );
    expect(await cut.collect()).toEqual([]);
    expect(cut.report()[0]!.warnings).toEqual({ 'an instruction has no end': 1 });
  });

  it('personas begin with that of a row, where it is not null; who asks nothing makes no row', async () => {
    const generator = scripted((prompt) =>
      prompt.startsWith('Write') ? (/cook/.test(prompt) ? ' ' : 'How?') : 'A reader.',
    );
    const run = pipeline([{ text: 't', persona: null }, { persona: 'A cook.' }], [personas({ generator })]);
    expect(await run.collect()).toMatchObject([{ persona: 'A reader.', prompt: 'How?' }]);
    expect(run.report()[0]!.reasons).toEqual({ 'nobody asks anything': 1 });
  });

  it('MetaMath: masks numbers, and keeps only solutions that come to the masked number or the answer', async () => {
    expect(maskedNumbers('Ann has 3 apples, 1,200 nuts and 2.5 l; b2b is none.').map(({ value }) => value)).toEqual([
      '3',
      '1200',
      '2.5',
    ]);
    const generator = scripted((prompt, _, i) => {
      if (prompt.startsWith('Ask this')) return 'What do 2 + 3 make?';
      if (prompt.startsWith('Make one')) return 'How much is 2 + 3? is 5';
      return lastAnswer(prompt, i);
    });
    const made = await pipeline(rows.slice(0, 1), [metaMath({ generator, verifier: endsRight, samples: 2 })]).collect();
    expect(made.map(({ kind, prompt, completion, answer }) => [kind, prompt, completion, answer])).toEqual([
      ['answer', 'How much is 2 + 3?', 'It is 5', '5'],
      ['rephrase', 'What do 2 + 3 make?', 'It is 5', '5'],
      [
        'fobar',
        'How much is x + 3? If we know the answer to the above question is 5, what is the value of unknown variable x?',
        'x is 2',
        '2',
      ],
      [
        'fobar',
        'How much is 2 + x? If we know the answer to the above question is 5, what is the value of unknown variable x?',
        'x is 3',
        '3',
      ],
    ]);
    const verdicts = await endsRight.verify(
      made.map((row) => ({ prompt: row.prompt, completion: row.completion, row })),
    );
    expect(verdicts.every(({ score }) => score === 1)).toBe(true);
  });
  function lastAnswer(prompt: string, i: number): string {
    const backward = /How much is (\S+) \+ (\S+)\? If we know .* is (\d+),/.exec(prompt);
    if (backward) return `x is ${Number(backward[3]) - Number(backward[1] === 'x' ? backward[2] : backward[1])}`;
    return `It is ${5 + (i % 2)}`;
  }

  it('MAmmoTH: a program counts by what it prints, in the sandbox, and words by what they say', async () => {
    const run = pipeline(rows, [mammoth({ generator: programmer, verifier: endsRight, sandbox: quick })]);
    const made = await run.collect();
    expect(made.map(({ kind, answer }) => [kind, answer])).toEqual([
      ['program', '5'],
      ['program', '38'],
      ['program', '42'],
      ['thought', '0'],
      ['program', '0'],
    ]);
    for (const { kind, completion, answer } of made)
      if (kind === 'program')
        expect((await quick.run({ language: 'python', code: programOf(completion) })).stdout.trim()).toBe(answer);
    expect(run.report()[0]!.reasons).toEqual({ 'no solution is right': 1 });
    expect(programOf('print(1)')).toBe('print(1)');
  });

  it('UltraFeedback: a judge that likes a place does not favour a model; the best and a worse one are the pair', async () => {
    const models = ['bad', 'fair', 'good'].map((name) => scripted(() => name, name));
    // One point for the first place, whoever stands there, beside what is true.
    const judge = scripted((prompt) =>
      [1, 2, 3]
        .map((i) => {
          const said = new RegExp(`Answer ${i}: (\\w+)`).exec(prompt)![1]!;
          return `Answer ${i}: ${{ bad: 1, fair: 2, good: 3 }[said as 'bad']! + Number(i === 1)}`;
        })
        .join('\n'),
    );
    const many = Array.from({ length: 60 }, (_, i) => ({ prompt: `q${i}` }));
    const made = await pipeline(many, [ultraFeedback({ generators: models, judge, perRow: 3 })]).collect();
    const mean = (name: string) =>
      made.reduce((sum, { answers }) => sum + answers.find(({ model }) => model === name)!.score, 0) / made.length;
    for (const [name, truth] of [
      ['bad', 1],
      ['fair', 2],
      ['good', 3],
    ] as const)
      expect(Math.abs(mean(name) - truth - 1 / 3)).toBeLessThan(0.1);
    expect(made.filter(({ chosen }) => chosen === 'good').length).toBeGreaterThan(55);
    expect(new Set(made.map(({ rejected }) => rejected))).toEqual(new Set(['bad', 'fair']));
    const mute = pipeline(many.slice(0, 2), [ultraFeedback({ generators: models, judge: scripted(() => 'Fine.') })]);
    expect(await mute.collect()).toEqual([]);
    expect(mute.report()[0]!.reasons).toEqual({ 'a rating cannot be read': 2 });
  });

  it('trajectories: every role is logged, sees the others by name, and the outcome is verified', async () => {
    const author = scripted((_, __, ___, { prompt }) => `${(prompt as readonly object[]).length} messages`, 'author');
    const critic = scripted((prompt) => (prompt.startsWith('author: 4') ? 'FINAL: 5' : 'Go on.'), 'critic');
    const step = multiAgentTrajectories({
      ...{
        roles: [
          { name: 'author', system: 'Solve {task}', generator: author },
          { name: 'critic', system: 'Check.', generator: critic },
        ],
      },
      verifier: endsRight,
    });
    const [row, ...others] = await pipeline(rows.slice(0, 2), [step]).collect();
    expect(others).toEqual([]);
    expect(row).toMatchObject({ completion: '5', synthesis: { generators: ['author', 'critic'] } });
    expect(row!.turns.map(({ role, content }) => [role, content])).toEqual([
      ['author', '2 messages'],
      ['critic', 'Go on.'],
      ['author', '4 messages'],
      ['critic', 'FINAL: 5'],
    ]);
    expect((author.asked[0]!.prompt as readonly { content: string }[])[0]!.content).toBe('Solve How much is 2 + 3?');
    await pipeline([{ ...rows[0]!, prompt: "It costs $& and $$5 and $'." }], [step]).collect();
    expect((author.asked.at(-1)!.prompt as readonly { content: string }[])[0]!.content).toBe(
      "Solve It costs $& and $$5 and $'.",
    );
  });

  it('augmentation keeps what is right: numbers stay, and a judge may say no', async () => {
    const made = await pipeline(rows, [adversarialAugment<(typeof rows)[number]>()]).collect();
    expect(made.length).toBeGreaterThan(12);
    for (const { prompt, original, answer } of made) {
      expect(prompt).not.toBe(original);
      expect(prompt.match(/\d+/g)).toEqual(original.match(/\d+/g));
      expect(rows.find((row) => row.prompt === original)!.answer).toBe(answer);
    }
    const never: Verifier = { name: 'never', verify: async (requests) => requests.map(() => ({ score: 0 })) };
    expect(await pipeline(rows, [adversarialAugment<(typeof rows)[number]>({ preserves: never })]).collect()).toEqual(
      [],
    );
    const broken = { tens: (prompt: string) => `${prompt}0` };
    expect(
      await pipeline(
        [{ prompt: 'Add 1' }],
        [adversarialAugment<{ prompt: string }>({ perturbations: broken })],
      ).collect(),
    ).toEqual([]);
  });

  it('failure-aware: only what is failed is written anew, and only where the answer is confirmed', async () => {
    const weak = scripted((prompt) => (prompt.includes('*') ? 'It is 1' : lastSum(prompt)));
    const author = scripted((_, __, i) => `Problem: How much is ${i + 2} * 3?\nAnswer: ${i === 1 ? 100 : (i + 2) * 3}`);
    const strong = scripted(lastSum);
    const run = pipeline(rows.slice(0, 3), [
      failureAwareAugment({ generator: weak, author, solver: strong, verifier: endsRight, samples: 3 }),
    ]);
    expect(
      (await run.collect()).map(({ prompt, answer, passRate, original }) => [prompt, answer, passRate, original]),
    ).toEqual([
      ['How much is 2 * 3?', '6', 0, 'How much is 6 * 7?'],
      ['How much is 4 * 3?', '12', 0, 'How much is 6 * 7?'],
    ]);
    expect(run.report()[0]).toMatchObject({
      reasons: { 'the model solves it': 2 },
      warnings: { 'the answer of a new problem is not confirmed': 1 },
    });
  });
  function lastSum(prompt: string): string {
    const [, sum] = /(\d+ [-+*] \d+)/.exec(prompt)!;
    return `It is ${new Function(`return ${sum}`)()}`;
  }

  it('STaR: a failed question is tried with its answer, which leaves no trace in the prompt', async () => {
    const generator = scripted((prompt) =>
      /answer is (\S+)\./.exec(prompt) ? `Because, ${/answer is (\S+)\./.exec(prompt)![1]}` : 'It is 5',
    );
    const made = await pipeline(rows.slice(0, 3), [star({ generator, verifier: endsRight })]).collect();
    expect(made.map(({ prompt, completion, rationalized }) => [prompt, completion, rationalized])).toEqual([
      ['How much is 2 + 3?', 'It is 5', false],
      ['How much is 40 - 2?', 'Because, 38', true],
      ['How much is 6 * 7?', 'Because, 42', true],
    ]);
    const without = pipeline(rows.slice(0, 3), [star({ generator, verifier: endsRight, rationalize: false })]);
    expect(await without.collect()).toHaveLength(1);
    expect(without.report()[0]!.reasons).toEqual({ 'no rationale comes to the answer': 2 });
  });

  it('V-STaR: what is wrong is paired, and nothing wrong is for the generator', async () => {
    const generator = scripted((_, seed, i) => `try ${i} is ${(seed + i) % 3 === 0 ? 5 : i}`);
    const made = await pipeline(rows.slice(0, 1), [vStar({ generator, verifier: endsRight, samples: 9 })]).collect();
    const check = async (completions: string[]) =>
      (await endsRight.verify(completions.map((completion) => ({ prompt: '', completion, row: rows[0]! })))).map(
        ({ score }) => score,
      );
    const own = made.flatMap((row) => (row.for === 'generator' ? [row.completion] : []));
    const pairs = made.flatMap((row) => (row.for === 'verifier' ? [row] : []));
    expect(new Set(await check(own))).toEqual(new Set([1]));
    expect(pairs.length).toBe(Math.min(own.length, 9 - own.length));
    expect(await check(pairs.map(({ rejected }) => rejected))).toEqual(pairs.map(() => 0));
  });

  it.each([
    ['<think>a</think>\n<answer>b</answer>', true],
    ['<think>a</think>', false],
    ['<think></think><answer>b</answer>', false],
    ['<answer>b</answer><think>a</think>', false],
    ['<think>a</think><answer>b</answer> more', false],
    ['<think>a<answer>b</answer></think><answer>b</answer>', false],
  ])('structured chains: the validator rejects what is malformed: %s', async (completion, isKept) => {
    expect(await pipeline([{ completion }], [formatStructuredCot()]).collect()).toHaveLength(Number(isKept));
    const made = await pipeline([{ reasoning: completion, answer: 'x' }], [formatStructuredCot()]).collect();
    expect(made).toHaveLength(0);
  });
});

describe('traces of agents', () => {
  const call = (id: string, args: string | object) => ({
    role: 'assistant',
    content: null,
    tool_calls: [{ id, function: { name: 'f', arguments: args } }],
  });
  const result = (id: string, content: string) => ({ role: 'tool', tool_call_id: id, content });
  const start = { role: 'user', content: 'go' };
  const end = { role: 'assistant', content: 'Done.' };

  it.each<[string, object[], object]>([
    [
      'a good one',
      [start, call('1', '{"a":1}'), result('1', '3'), end],
      { toolCalls: 1, toolSuccess: 1, redundancy: 0, coherent: true, failures: [] },
    ],
    [
      'a call again, its keys in another order',
      [start, call('1', '{"a":1,"b":2}'), result('1', 'x'), call('2', { b: 2, a: 1 }), result('2', 'x'), end],
      { toolCalls: 2, redundancy: 0.5 },
    ],
    ['an error', [start, call('1', '{}'), result('1', 'ValueError: no'), end], { toolSuccess: 0, coherent: true }],
    ['an error in JSON', [start, call('1', '{}'), result('1', '{"error":"no"}'), end], { toolSuccess: 0 }],
    [
      'a great deal of nothing',
      [start, call('1', '{}'), result('1', `a${'\n'.repeat(2e5)}\n \tKeyError: no`), end],
      { toolSuccess: 0 },
    ],
    ['no error', [start, call('1', '{}'), result('1', '{"error":null,"value":"terror"}'), end], { toolSuccess: 1 }],
    ['a result without a call', [start, result('1', '3'), end], { coherent: false }],
    ['a call without a result', [start, call('1', '{}'), end], { coherent: false, toolSuccess: 0 }],
    ['no end', [start, call('1', '{}'), result('1', '3')], { coherent: false, failures: ['no final answer'] }],
    ['a refusal', [start, { role: 'assistant', content: "I'm sorry, I can't do it." }], { failures: ['refusal'] }],
    [
      'one error three times',
      [start, ...['1', '2', '3'].flatMap((id) => [call(id, { id }), result(id, 'Error: no')]), end],
      { failures: ['the same error three times'] },
    ],
  ])('%s', (_, messages, expected) => {
    expect(traceQuality({ messages })).toMatchObject(expected);
  });

  it('are kept by thresholds, and by a judge of every turn', async () => {
    const traces = [
      { messages: [start, call('1', '{}'), result('1', '3'), end] },
      { messages: [start, call('1', '{}'), result('1', 'Error: no'), end] },
      { messages: [start, result('1', '3'), end] },
      { messages: [start, { role: 'assistant', content: 'bad' }] },
    ];
    const judge: Verifier = {
      name: 'judge',
      verify: async (requests) =>
        requests.map(({ completion, prompt }) => ({ score: completion === 'bad' ? 0 : prompt.length > 0 ? 1 : null })),
    };
    const run = pipeline(traces, [curateAgentTraces({ judge })]);
    expect(await run.collect()).toEqual([{ ...traces[0], quality: expect.objectContaining({ stepScores: [1, 1] }) }]);
    expect(run.report()[0]!.reasons).toEqual({
      'too few tool calls succeed': 1,
      incoherent: 1,
      'the judge finds the steps bad': 1,
    });
    await expect(pipeline([{ text: 'x' }], [curateAgentTraces()]).collect()).rejects.toThrow(
      /field "messages": must be a list/,
    );
  });
});

// Goldens of goldens/authors/curation.py.

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

describe('what is made, beside the code of its authors', () => {
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

describe('what is chosen, beside the code of its authors', () => {
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
