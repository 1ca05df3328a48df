import { readFileSync } from 'node:fs';
import type { GenerateRequest, Generator } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import {
  babiInText,
  beirDataset,
  benchmarkTask,
  criticStep,
  dialogueScores,
  type EvalResult,
  evaluate,
  factScore,
  graphWalks,
  type HannaRow,
  hannaCorrelations,
  hannaCriteria,
  hannaStories,
  hleJudged,
  hleJudgement,
  hleScores,
  ifbench,
  ifbenchChecks,
  ifevalChecks,
  instructionsFollowed,
  type Lr2Task,
  lr2Answer,
  lr2Cells,
  type MtBenchPair,
  metricOf,
  mtBenchAnswers,
  mtBenchPairs,
  mtBenchRating,
  mtBenchScores,
  mtBenchSingle,
  mtBenchVerdict,
  mtBenchWinRates,
  multiWozTurns,
  type PreferenceProblem,
  prmScore,
  processBenchF1,
  rankingScores,
  readQrels,
  readRun,
  rewardBenchScore,
  stringMatch,
  type ToolCompGrade,
  toolCompAnswer,
  toolCompGrade,
  toolCompJudged,
  toolCompScores,
  truthfulMc1,
  truthfulMc2,
} from '../src/index.js';
import { wordTokens } from '../src/instructions/word-tokens.js';

/** What the authors' own scripts say (`goldens/benchmarks/make.py`). */
const golden = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/benchmarks/${name}.json`, import.meta.url), 'utf8'));

describe('IFBench', () => {
  const { answers, cases, instructions, tokens } = golden<{
    answers: string[];
    cases: { id: string; kwargs: Record<string, unknown>; strict: string; loose: string }[];
    instructions: string[];
    tokens: [string, string[]][];
  }>('ifbench');
  /** The stand-ins of `goldens/benchmarks/instructions.py`. */
  const verbs = ['write', 'go', 'see', 'use', 'make'];
  const tools = {
    sentences: (text: string) =>
      text
        .trim()
        .split(/(?<=[.!?])\s+/)
        .filter((one) => one !== ''),
    tags: (words: readonly string[]) => words.map((one) => (verbs.includes(one.toLowerCase()) ? 'VBP' : 'NN')),
    syllables: (word: string) => word.match(/[aeiouy]+/g)?.length ?? 0,
  };
  const rowOf = (id: string, kwargs: object) => ({
    prompt: 'p',
    instruction_id_list: [id],
    kwargs: [kwargs as Record<string, unknown>],
  });

  it("says what its authors' checkers say, strict and loose, of all 58 kinds", async () => {
    expect(Object.keys(ifbenchChecks).sort()).toEqual(instructions);
    expect(instructions).toHaveLength(58);
    const told = new Map<string, string>();
    const wrong: unknown[] = [];
    for (const { id, kwargs, ...expected } of cases) {
      told.set(id, `${told.get(id) ?? ''}${expected.strict}`);
      for (const mode of ['strict', 'loose'] as const) {
        const row = rowOf(id, kwargs);
        const verdicts = await instructionsFollowed(mode, tools).verify(
          answers.map((completion) => ({ prompt: '', completion, row })),
        );
        verdicts.forEach(({ score }, i) => {
          // e: the checker raises an error, and the answer is wrong here.
          if (String(score) !== expected[mode][i]!.replace('e', '0')) wrong.push({ id, kwargs, mode, at: answers[i] });
        });
      }
    }
    expect(wrong).toEqual([]);
    // Each kind follows some and refuses some.
    for (const verdicts of told.values()) expect(verdicts).toMatch(/0.*1|1.*0/);
  });

  it("splits words as NLTK's word_tokenize", () => {
    expect(tokens.map(([text]) => wordTokens(text))).toEqual(tokens.map(([, words]) => words));
  });

  it('needs what it is not given, and knows both benchmarks', async () => {
    const ask = (id: string, kwargs = {}) =>
      instructionsFollowed('strict').verify([{ prompt: '', completion: 'Write it.', row: rowOf(id, kwargs) }]);
    await expect(ask('words:start_verb')).rejects.toThrow('"sentences"');
    await expect(ask('words:odd_even_syllables')).rejects.toThrow('"syllables"');
    await expect(ask('count:words_japanese', { N: 0 })).rejects.toThrow(
      'argument N must be a whole number of at least 1',
    );
    await expect(ask('format:optoins')).rejects.toThrow('did you mean "format:options"');
    expect(Object.keys(ifbenchChecks).filter((id) => id in ifevalChecks)).toEqual([]);
  });

  it('is a task with the numbers of IFEval', async () => {
    const rows = [
      { ...rowOf('format:no_whitespace', {}), key: '0' },
      { prompt: 'q', instruction_id_list: ['count:numbers', 'punctuation:no_comma'], kwargs: [{ N: 2 }, {}] },
    ];
    const result = await evaluate(ifbench(rows), {
      name: 'fixed',
      generate: async (requests) =>
        requests.map(() => [
          { text: 'Sure:\n7,8', finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } },
        ]),
    });
    const of = (name: string, grader: string) => metricOf(result, name, grader).value;
    expect([of('prompt_level_acc', 'strict'), of('inst_level_acc', 'strict')]).toEqual([0, 0]);
    expect([of('prompt_level_acc', 'loose'), of('inst_level_acc', 'loose')]).toEqual([1 / 2, 2 / 3]);
  });
});

/** Says what a function makes of each request. */
const scripted = (say: (request: GenerateRequest, i: number) => string): Generator => ({
  name: 'scripted',
  generate: async (requests) =>
    requests.map((request, i) => [
      { text: say(request, i), finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } },
    ]),
});

describe('rankings (BEIR, TREC-DL)', () => {
  const { qrels, run, scores } = golden<{
    qrels: string[];
    run: string[];
    scores: Record<'1' | '2', Record<string, Record<string, number>>>;
  }>('rankings');
  const files = [readQrels(qrels.join('\n')), readRun(`${run.join('\n')}\n`)] as const;

  it.each([1, 2] as const)("are trec_eval's, relevant from %i on", (relevant) => {
    for (const k of [3, 10]) {
      const { byQuery, missing } = rankingScores(...files, { k, relevant });
      expect([...byQuery.keys()].sort()).toEqual(Object.keys(scores[relevant]));
      expect(missing).toBe(1);
      for (const [query, theirs] of Object.entries(scores[relevant])) {
        const ours = byQuery.get(query)!;
        expect(ours.ndcg).toBeCloseTo(theirs[`ndcg_cut_${k}`]!, 6);
        expect(ours.recall).toBeCloseTo(theirs[`recall_${k}`]!, 6);
        const all = theirs.recip_rank!;
        expect(ours.mrr).toBeCloseTo(all >= 1 / k ? all : 0, 6);
      }
    }
  });

  it('count queries that were not asked as 0 where that is wanted', () => {
    const [some, whole] = [false, true].map((complete) => rankingScores(...files, { complete }));
    expect(whole!.ndcg.value!).toBeCloseTo((some!.ndcg.value! * 7) / 8, 12);
    expect(() => rankingScores(new Map([['a', { d: 1 }]]), new Map())).toThrow('none of the judged queries');
    expect(() => rankingScores(...files, { complet: true } as never)).toThrow('complet');
    expect(() => rankingScores(...files, { relevant: Number.NaN })).toThrow('relevant is NaN');
  });

  it('read a data set of BEIR', () => {
    const corpus = [
      { _id: 'd1', title: 'Basalt', text: 'A rock.' },
      { _id: 'd2', title: '', text: 'A plant.' },
    ];
    const queries = [
      { _id: 'q1', text: 'Which rock?' },
      { _id: 'q2', text: 'Which plant?' },
    ];
    const table = 'query-id\tcorpus-id\tscore\nq1\td1\t1\n';
    const data = beirDataset({ corpus, queries, qrels: table });
    expect([[...data.corpus.values()], [...data.queries.keys()]]).toEqual([['Basalt A rock.', 'A plant.'], ['q1']]);
    expect(rankingScores(data.qrels, new Map([['q1', { d1: 2, d2: 3 }]])).mrr.value).toBe(1 / 2);
    expect(() => beirDataset({ corpus, queries, qrels: `${table}q9\td1\t1` })).toThrow('"q9" is judged');
    expect(() => readQrels(`${table}q1\td1\t2`)).toThrow('line 3: the query "q1" has the document "d1" twice');
    expect(() => readRun('q1 Q0 d1 1 high ours')).toThrow('line 1');
  });
});

it("tells states of dialogues apart as TRADE's script", () => {
  const { slots, turns, joint, f1, accuracy } = golden<{
    slots: number;
    turns: { dialogue: string; gold: Record<string, string>; said: Record<string, string> }[];
    joint: number;
    f1: number;
    accuracy: number;
  }>('dialogue-states');
  const scores = dialogueScores(
    turns.map(({ dialogue, gold }) => ({ dialogue, state: gold })),
    turns.map(({ said }) => said),
    slots,
  );
  expect(scores.jointGoal.value).toBeCloseTo(joint, 12);
  expect(scores.slotF1.value).toBeCloseTo(f1, 12);
  expect(scores.slotAccuracy.value).toBeCloseTo(accuracy, 12);
  const [first, second] = multiWozTurns([
    {
      dialogue_idx: 'A.json',
      dialogue: [
        { turn_idx: 0, system_transcript: '', transcript: 'A hotel.', belief_state: [] },
        {
          turn_idx: 1,
          system_transcript: 'Where?',
          transcript: 'In the north.',
          belief_state: [{ slots: [['hotel-area', 'north']] }, { slots: [['hotel-stars', 'none']] }],
        },
      ],
    },
  ]);
  expect(first).toEqual({ id: 'A.json:0', dialogue: 'A.json', history: 'User: A hotel.', state: {} });
  expect([second!.history, second!.state]).toEqual([
    'User: A hotel.\nSystem: Where?\nUser: In the north.',
    { 'hotel-area': 'north' },
  ]);
  expect(dialogueScores([second!], [{ 'hotel-area': 'north', 'hotel-name': 'none' }]).jointGoal.value).toBe(1);
  expect(() => multiWozTurns([{ dialogue_idx: 'A' } as never])).toThrow('dialogue 0');
  const turn = { turn_idx: 3, system_transcript: '', transcript: 'hi', belief_state: [{ slot: 'a' }] };
  expect(() => multiWozTurns([{ dialogue_idx: 'A', dialogue: [turn] } as never])).toThrow('turn 3 of "A"');
});

describe('HANNA', () => {
  const { rows, scores, correlations } = golden<{
    rows: HannaRow[];
    scores: number[];
    correlations: Record<'story' | 'system', Record<string, [number, number, number]>>;
  }>('hanna');
  it.each(['story', 'system'] as const)("agrees with people as scipy's correlations, by %s", (level) => {
    const found = hannaCorrelations(hannaStories(rows), scores, { level, resamples: 50 });
    for (const name of hannaCriteria) {
      const { pearson, spearman, kendall } = found[name];
      const theirs = correlations[level][name]!;
      for (const [i, ours] of [pearson, spearman.value, kendall.value].entries())
        expect(ours).toBeCloseTo(theirs[i]!, 10);
    }
  });
  it('refuses what is no rating', () =>
    expect(() => hannaStories([{ ...rows[0]!, Empathy: 6 }])).toThrow(
      'row 0 needs "Story ID", "Story", "Model" and Empathy',
    ));
});

describe('MT-Bench', () => {
  const theirs = golden<{
    said: string[];
    ratings: number[];
    verdicts: string[];
    question: [string, string];
    answer: [string, string];
    reference: [string, string];
    templates: Record<string, string>;
    prompts: Record<string, string>;
    with_reference: string[];
    temperatures: Record<string, number>;
    single: { question_id: number; turn: 1 | 2; score: number }[];
    means: [number, number, number];
    pairs: MtBenchPair[];
    rates: Record<string, number[]>;
    other: [string, string];
    pair_templates: Record<string, string>;
    pair_prompts: Record<string, [string, string]>;
  }>('mt-bench');
  const prompts = Object.entries(theirs.templates).map(([name, prompt_template]) => ({
    ...{ name, prompt_template, system_prompt: 's' },
  }));

  it("reads judgements and counts as FastChat's scripts", () => {
    expect(theirs.said.map(mtBenchRating)).toEqual(theirs.ratings);
    expect(theirs.said.map(mtBenchVerdict)).toEqual(theirs.verdicts);
    const { first, second, average, unread } = mtBenchScores(theirs.single);
    for (const [i, { value }] of [first, second, average].entries()) expect(value).toBeCloseTo(theirs.means[i]!, 12);
    expect(unread).toBe(theirs.single.filter(({ score }) => score === -1).length);
    const rates = [...mtBenchWinRates(theirs.pairs)].map(([name, one]) => [name, Object.values(one)]);
    expect(Object.fromEntries(rates)).toEqual(theirs.rates);
  });

  it('asks a judge in its prompts, with a reference where the category has one', async () => {
    const references = [{ question_id: 2, turns: theirs.reference }];
    const questions = [
      { question_id: 1, category: 'stem', turns: theirs.question },
      { question_id: 2, category: 'math', turns: theirs.question },
    ];
    const answers = questions.map(({ question_id }) => ({ question_id, turns: theirs.answer }));
    const judge = scripted((_, i) => `[[${i + 1}]]`);
    const judged = await mtBenchSingle(judge, { questions, answers, prompts, references });
    expect(judged.map(({ user_prompt }) => user_prompt)).toEqual(
      ['single-v1', 'single-math-v1', 'single-v1-multi-turn', 'single-math-v1-multi-turn'].map(
        (name) => theirs.prompts[name],
      ),
    );
    expect(judged.map(({ turn, score }) => [turn, score])).toEqual([
      [1, 1],
      [1, 2],
      [2, 3],
      [2, 4],
    ]);
    await expect(mtBenchSingle(judge, { questions, answers, prompts })).rejects.toThrow('reference of question "2"');
    const bad = (rows: readonly object[]) => mtBenchSingle(judge, { questions, answers: rows as never, prompts });
    await expect(bad([{ question_id: 1, choices: [] }])).rejects.toThrow('"1" of answers needs two texts');
    await expect(bad([...answers, answers[0]!])).rejects.toThrow('twice');
  });

  it('asks of pairs in both orders, in its prompts', async () => {
    const questions = [
      { question_id: 1, category: 'stem', turns: theirs.question },
      { question_id: 2, category: 'math', turns: theirs.question },
    ];
    const answersOf = (turns: [string, string]) => questions.map(({ question_id }) => ({ question_id, turns }));
    const files = {
      questions,
      models: [
        { name: 'a', answers: answersOf(theirs.answer) },
        { name: 'b', answers: answersOf(theirs.other) },
      ] as const,
      prompts: Object.entries(theirs.pair_templates).map(([name, prompt_template]) => ({
        ...{ name, prompt_template, system_prompt: 's' },
      })),
      references: [{ question_id: 2, turns: theirs.reference }],
    };
    const judge = scripted((_, i) => ['[[A]]', '[[A]]', '[[A]]', '[[B]]', '[[C]]', '[[B]]', 'none', '[[A]]'][i]!);
    const judged = await mtBenchPairs(judge, files);
    expect(judged.map((one) => [one.g1_user_prompt, one.g2_user_prompt])).toEqual(
      ['pair-v2', 'pair-math-v1', 'pair-v2-multi-turn', 'pair-math-v1-multi-turn'].map(
        (name) => theirs.pair_prompts[name],
      ),
    );
    expect(judged.map(({ g1_winner, g2_winner }) => [g1_winner, g2_winner])).toEqual([
      ['model_1', 'model_2'],
      ['model_1', 'model_1'],
      ['tie', 'model_1'],
      ['error', 'model_2'],
    ]);
    // A judge that always prefers the first is undecided; one pair could not be read.
    expect(mtBenchWinRates(judged).get('a')).toMatchObject({ win: 1, loss: 0, tie: 2 });
    await expect(mtBenchPairs(judge, { ...files, references: [] })).rejects.toThrow('reference of question "2"');
    await expect(mtBenchPairs({ ...judge, generate: async () => [] }, files)).rejects.toThrow('fewer answers');
  });

  it('shows the second turn the first', async () => {
    const questions = Object.keys(theirs.temperatures).map((category, i) => ({
      ...{ question_id: i, category, turns: ['One?', 'Two?'] as const },
    }));
    const asked: number[] = [];
    const model = scripted(({ prompt, temperature }) => {
      asked.push(temperature!);
      return typeof prompt === 'string' ? '' : prompt.map(({ content }) => content).join('|');
    });
    const [first] = await mtBenchAnswers(model, questions);
    expect(first!.turns).toEqual(['One?', 'One?|One?|Two?']);
    expect(asked.slice(0, questions.length)).toEqual(Object.values(theirs.temperatures));
  });
});

it("counts cells of puzzles as LR²Bench's script", async () => {
  const { cases } = golden<{
    cases: {
      task: Lr2Task;
      gold: unknown;
      response: string;
      answered: boolean;
      right: number;
      cells: number;
      whole: boolean;
      half: boolean;
    }[];
  }>('lr2bench');
  for (const { task, gold, response, ...expected } of cases) {
    const cells = lr2Cells(task, gold, response);
    const right = cells.filter((one) => one).length;
    const answer = lr2Answer(task, response);
    const ours = { right, cells: cells.length, whole: right === cells.length, half: right / cells.length >= 0.5 };
    const answered = answer !== null && !['{}', '[]', '[[]]'].includes(answer);
    expect({ response, ...ours, answered }).toEqual({ response, ...expected });
  }
  const rows = cases.map(({ task, gold, response }) => ({ task, prompt: response, answer: JSON.stringify(gold) }));
  const result = await evaluate(
    benchmarkTask('lr2bench', rows),
    scripted(({ prompt }) => String(prompt)),
  );
  const share = (of: (one: (typeof cases)[number]) => number, among: (one: (typeof cases)[number]) => number) =>
    cases.reduce((sum, one) => sum + of(one), 0) / cases.reduce((sum, one) => sum + among(one), 0);
  const one = () => 1;
  expect(metricOf(result, 'em').value).toBeCloseTo(
    share(({ whole }) => Number(whole), one),
    12,
  );
  expect(metricOf(result, 'pm_0.5').value).toBeCloseTo(
    share(({ half }) => Number(half), one),
    12,
  );
  expect(metricOf(result, 's_acc').value).toBeCloseTo(
    share(
      ({ right }) => right,
      ({ cells }) => cells,
    ),
    12,
  );
});

it("weighs RewardBench's sections as its script", () => {
  const { runs } = golden<{ runs: { subsets: Record<string, number>; sections: Record<string, number> }[] }>(
    'reward-bench',
  );
  for (const { subsets, sections } of runs) {
    const problems = Object.entries(subsets).flatMap(([subset, share]) =>
      [0, 1, 2, 3].map((i) => ({ row: { subset }, chosen: i < share * 4 ? 1 : 0, rejected: [0.5] })),
    );
    const ours = rewardBenchScore({ problems } as unknown as EvalResult<PreferenceProblem>);
    const theirs = Object.values(sections);
    for (const [i, score] of Object.values(ours.sections).entries()) expect(score).toBeCloseTo(theirs[i]!, 12);
    const mean = Object.values(sections).reduce((sum, one) => sum + one, 0) / 4;
    expect(ours.score).toBeCloseTo(mean, 12);
  }
});

it.each(['single', 'votes'] as const)("reads critics and gives ProcessBench's F1 as its script: %s", (kind) => {
  const { rows, printed } =
    golden<
      Record<
        'single' | 'votes',
        { rows: { critiques: string[]; label: number; prediction: number | null }[]; printed: string }
      >
    >('process-bench')[kind];
  expect(rows.map(({ critiques }) => criticStep(critiques))).toEqual(rows.map(({ prediction }) => prediction));
  const { f1, wrong, correct } = processBenchF1(
    rows.map(({ label, critiques }) => ({ label, predicted: criticStep(critiques) })),
  );
  const [a, b, f] = [wrong, correct, f1].map(({ value }) => (value! * 100).toFixed(1));
  expect(`gsm8k error acc: ${a}, correct acc: ${b}, f1: ${f}`).toBe(printed);
});

it("gives PRMBench's score as its script", () => {
  const { rows, total, kinds } = golden<{
    rows: { classification: string; error_steps: number[]; labels: boolean[] }[];
    total: { f1: number; negative_f1: number };
    kinds: Record<string, { f1: number; negative_f1: number }>;
  }>('prm-bench');
  const scoreOf = (some: typeof rows) =>
    prmScore(
      some.flatMap(({ error_steps: wrong, labels }) =>
        labels.map((said, i) => [!wrong.includes(i + 1), said] as const),
      ),
    );
  // Solutions without a wrong step are not in the total.
  const erring = rows.filter(({ classification }) => classification !== 'correct');
  expect(scoreOf(erring)).toBeCloseTo((total.f1 + total.negative_f1) / 2, 12);
  for (const [kind, { f1, negative_f1 }] of Object.entries(kinds))
    expect(scoreOf(rows.filter(({ classification }) => classification === kind))).toBeCloseTo(
      (f1 + negative_f1) / 2,
      12,
    );
});

it("gives FActScore's numbers as its authors' scorer", async () => {
  const { texts, runs } = golden<{
    texts: boolean[][];
    runs: { gamma: number; score: number; init_score: number; respond_ratio: number }[];
  }>('fact-score');
  const entailer = {
    name: 'told',
    entail: async (pairs: readonly { readonly hypothesis: string }[]) =>
      pairs.map(({ hypothesis }) => {
        const entailment = Number(hypothesis === 'true');
        return { entailment, neutral: 1 - entailment, contradiction: 0 };
      }),
  };
  for (const { gamma, ...expected } of runs) {
    const scores = await factScore(
      texts.map((claims) => ({ claims: claims.map(String), evidence: ['e'] })),
      { entailer, gamma },
    );
    const said = scores.filter(({ score }) => score !== null);
    const mean = (of: (one: (typeof said)[number]) => number) =>
      said.reduce((sum, one) => sum + of(one), 0) / said.length;
    expect(mean(({ score }) => score!)).toBeCloseTo(expected.score, 12);
    expect(mean(({ precision }) => precision!)).toBeCloseTo(expected.init_score, 12);
    expect(said.length / texts.length).toBeCloseTo(expected.respond_ratio, 12);
  }
});

describe("Humanity's Last Exam", () => {
  it("has its script's accuracy and calibration error", () => {
    const { cases } = golden<{
      cases: ({ confidences: number[]; correct: (0 | 1)[]; questions: number } & Record<
        'accuracy' | 'half_width' | 'calibration_error',
        number
      >)[];
    }>('hle');
    for (const { confidences, correct, questions, ...theirs } of cases) {
      const ours = hleScores(
        confidences.map((confidence, i) => ({ confidence, correct: correct[i] === 1 })),
        questions,
      );
      // Theirs are rounded to hundredths of a percent.
      expect(Math.abs(100 * ours.accuracy - theirs.accuracy)).toBeLessThan(0.0051);
      expect(Math.abs(100 * ours.halfWidth - theirs.half_width)).toBeLessThan(0.0051);
      expect(ours.calibrationError).toBeCloseTo(theirs.calibration_error, 12);
      expect(ours.judged).toBe(confidences.length);
    }
    // By hand: the first of three bins is wrong and certain of nothing, the second is half right and says 20 %, the last is not counted.
    const all = [0, 20, 100].flatMap((confidence, bin) =>
      Array.from({ length: 100 }, (_, i) => ({ confidence, correct: bin === 1 && i < 50 })),
    );
    expect(hleScores(all, 300).calibrationError).toBeCloseTo(Math.sqrt((0.5 - 0.2) ** 2 / 3), 12);
    expect(hleScores(all.slice(0, 99), 300).calibrationError).toBeNull();
    expect(() => hleScores(all, 299)).toThrow('300 judgements of 299 questions');
    expect(() => hleScores([{ correct: true, confidence: 101 }], 1)).toThrow('a confidence is 101');
  });

  it('asks a judge, and counts what cannot be read', async () => {
    const said =
      '{"extracted_final_answer": "7", "reasoning": "so", "correct": "yes", "confidence": 80, "strict": true}';
    const rows = ['a', 'b', 'c'].map((id) => ({ id, question: `Q${id}`, answer: '7' }));
    const asked: unknown[] = [];
    const judge = scripted(({ prompt, temperature }, i) => {
      asked.push(prompt, temperature);
      return i === 0 ? said : 'yes';
    });
    const responses = new Map([
      ['a', 'It is {7}.'],
      ['c', '8'],
    ]);
    const judged = await hleJudged(judge, { rows, responses, prompt: '{question}|{response}|{correct_answer}|{{}}' });
    expect([...judged]).toEqual([
      ['a', { answer: '7', correct: true, confidence: 80 }],
      ['c', null],
    ]);
    expect(asked[0]).toEqual([{ role: 'user', content: 'Qa|It is {7}.|7|{}' }]);
    expect(asked[1]).toBe(0);
    expect(hleJudgement(`\`\`\`json\n${said}\n\`\`\``)).toMatchObject({ correct: true });
    for (const bad of ['', 'null', '[]', said.replace('"yes"', '"maybe"'), said.replace('80', '"80"')])
      expect(hleJudgement(bad)).toBeNull();
    await expect(hleJudged(judge, { rows, responses, prompt: '{answer}' })).rejects.toThrow('"answer"');
  });
});

describe('ToolComp', () => {
  it("reads answers and grades, and counts, as its authors' script", () => {
    type Numbers = Record<'correct' | 'correct_but_bad_formatting' | 'incorrect' | 'accuracy' | 'ci', number>;
    const theirs = golden<{
      responses: [string, string][];
      rows: { judgement: string; grade: string; tools: number }[];
      chat: Numbers;
      enterprise: Numbers;
    }>('toolcomp');
    expect(theirs.responses.map(([response]) => toolCompAnswer(response))).toEqual(
      theirs.responses.map(([, answer]) => answer),
    );
    const isGrade = (one: string) => toolCompGrade(`Final Grade: ${one}`) !== null;
    for (const { judgement, grade } of theirs.rows)
      expect(toolCompGrade(judgement)).toBe(isGrade(grade) ? (grade as ToolCompGrade) : null);
    const ours = toolCompScores(
      theirs.rows.map(({ judgement, tools }) => ({ grade: toolCompGrade(judgement), tools })),
    );
    for (const part of ['chat', 'enterprise'] as const) {
      const { correct, badlyFormatted, incorrect, accuracy, halfWidth } = ours[part];
      const { correct_but_bad_formatting: bad, ...said } = theirs[part];
      expect([correct, badlyFormatted, incorrect]).toEqual([said.correct, bad, said.incorrect]);
      expect(accuracy).toBeCloseTo(said.accuracy, 12);
      expect(halfWidth).toBeCloseTo(said.ci, 12);
    }
    expect(() => toolCompScores([{ grade: 'CORRECT', tools: 1 }])).toThrow('row 0 has 1 tools');
  });

  it('asks a judge', async () => {
    const judge = scripted(({ prompt }) => {
      const [system, user] = prompt as readonly { content: string }[];
      expect([system!.content, user!.content]).toEqual(['grade', 'Q 7 is 7?']);
      return 'Reasoning: it is.\nFinal Grade: CORRECT[ENDOFGRADE]';
    });
    const rows = [{ prompt: 'Q', answer: '7', response: '```json\n{"final_answer": 7}\n```' }];
    const prompt = '{question} {correct_answer} is {student_answer}?';
    expect(await toolCompJudged(judge, { rows, system: 'grade', prompt })).toEqual(['CORRECT']);
  });
});

it("TruthfulQA's MC1 and MC2 are its authors'", () => {
  const { cases } = golden<{ cases: { true: number[]; false: number[]; mc1: number; mc2: number }[] }>('truthful-qa');
  const problemOf = (logProbs: number[], labels: number[]) => ({
    ...{ id: '0', index: 0, gold: 0, row: { mc1_targets: { labels }, mc2_targets: { labels } } },
    choices: logProbs.map((logProb) => ({ logProb, characters: 1, greedy: false, text: '' })),
  });
  for (const { true: right, false: wrong, mc1, mc2 } of cases) {
    const labelled = (some: number[]) => [...some.map(() => 1), ...wrong.map(() => 0)];
    // Their MC1 is of the best answer alone.
    const first = problemOf([right[0]!, ...wrong], labelled([right[0]!]));
    expect(truthfulMc1().value(first as never)).toBe(mc1);
    const all = problemOf([...right, ...wrong], labelled(right));
    expect(truthfulMc2().value(all as never)).toBeCloseTo(mc2, 12);
  }
});

describe('long texts are scored as their scripts score', () => {
  const countTokens = (text: string) => text.split(/\s+/).length;

  it('BABILong', async () => {
    const { said, cases } = golden<{
      said: string[];
      cases: { question: string; target: string; verdicts: number[] }[];
    }>('babilong');
    const [grader] = babiInText({ length: 256, count: 1, countTokens }).graders;
    for (const { question, target, verdicts } of cases) {
      const scored = await grader!.verify(
        said.map((completion) => ({ prompt: '', completion, row: { question, target } })),
      );
      expect(scored.map(({ score }) => score)).toEqual(verdicts);
    }
  });

  it('RULER', async () => {
    const { said, cases } = golden<{ said: string[]; cases: { outputs: string[]; all: number[]; part: number[] }[] }>(
      'ruler',
    );
    for (const { outputs, ...theirs } of cases) {
      for (const mode of ['all', 'part'] as const) {
        const scored = await stringMatch({ mode }).verify(
          said.map((completion) => ({ prompt: '', completion, row: { outputs } })),
        );
        expect(scored.map(({ score }) => Math.round(score! * 10000) / 100)).toEqual(theirs[mode]);
      }
    }
  });

  it('GraphWalks', async () => {
    const { said, cases } = golden<{ said: string[]; cases: { answer: string[]; f1: number[] }[] }>('graph-walks');
    const task = graphWalks({ length: 400, depth: 2, count: 20, countTokens });
    for (const { answer, f1 } of cases) {
      const scored = await task.graders[0]!.verify(
        said.map((completion) => ({ prompt: '', completion, row: { answer } })),
      );
      scored.forEach(({ score }, i) => {
        expect(score, `${said[i]} for ${answer}`).toBeCloseTo(f1[i]!, 12);
      });
    }
    for (const { answer } of task.dataset as readonly { answer: readonly string[] }[]) expect(answer).not.toEqual([]);
  });
});
