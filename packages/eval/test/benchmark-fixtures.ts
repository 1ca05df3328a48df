import type { BenchmarkName } from '../src/index.js';

/** Rows of our own in the schema of each family, with a completion that is right and one that is not (of tasks that generate). */
export const fixtures: Readonly<
  Record<
    BenchmarkName,
    { readonly row: Readonly<Record<string, unknown>>; readonly right?: string; readonly wrong?: string }
  >
> = {
  gsm8k: { row: { question: 'Two and two?', answer: 'Add.\n#### 4' }, right: 'It is 4.\n#### 4', wrong: '#### 5' },
  math: {
    row: {
      problem: 'Half of $\\frac{1}{2}$?',
      level: 'Level 1',
      type: 'Algebra',
      solution: 'It is $\\boxed{\\frac{1}{4}}$.',
    },
    right: 'So $\\boxed{\\frac14}$.',
    wrong: '\\boxed{4}',
  },
  metamathqa: {
    row: {
      query: '3 times 4?',
      response: 'It is 12.\nThe answer is: 12',
      type: 'GSM_Rephrased',
      original_question: '3 * 4?',
    },
    right: 'The answer is: 12',
    wrong: 'The answer is: 7',
  },
  mathinstruct: {
    row: { instruction: '6 / 2?', output: 'Divide. The answer is 3.', source: 'data/CoT/own.json' },
    right: 'The answer is 3.',
    wrong: 'The answer is 2.',
  },
  worldtree: {
    row: { question: 'What melts ice?', choices: { text: ['heat', 'cold'], label: ['A', 'B'] }, answerKey: 'A' },
  },
  mmlu: { row: { question: 'Which is a prime?', subject: 'number_theory', choices: ['4', '6', '7', '9'], answer: 2 } },
  truthfulqa_mc1: { row: { question: 'Do stones float?', mc1_targets: { choices: ['No', 'Yes'], labels: [1, 0] } } },
  truthfulqa_mc2: {
    row: { question: 'Do stones float?', mc2_targets: { choices: ['No', 'They sink', 'Yes'], labels: [1, 1, 0] } },
  },
  hendrycks_ethics: { row: { input: 'I returned the wallet.', label: 0 } },
  drop: {
    row: {
      passage: 'Ann won 3 games.',
      question: 'How many?',
      answers_spans: { spans: ['3', '3 games'], types: ['number', 'span'] },
    },
    right: '3 games',
    wrong: 'none',
  },
  bbh: { row: { input: 'not True is', target: 'False' }, right: 'So the answer is False.', wrong: 'True' },
  bbeh: { row: { input: 'not False is', target: 'True' }, right: 'The answer is: **True**', wrong: 'False' },
  supergpqa: {
    row: {
      uuid: 'u',
      question: 'Which?',
      options: ['one', 'two', 'three'],
      answer: 'two',
      answer_letter: 'B',
      discipline: 'Own',
      field: 'f',
      difficulty: 'easy',
    },
    right: 'I think so.\nAnswer: B',
    wrong: 'Answer: A',
  },
  math_perturb: { row: { problem: '1 + 2?', answer: '3' }, right: '\\boxed{3}', wrong: '\\boxed{4}' },
  frontiermath: { row: { problem: '2^10?', answer: '1024' }, right: '1024', wrong: '1000' },
  big_math: {
    row: { problem: '10 - 1?', answer: '9', source: 'own', domain: ['Algebra'], llama8b_solve_rate: 1 },
    right: '9',
    wrong: '8',
  },
  longreason: { row: { prompt: 'A long text. Which letter?', answer: 'C' }, right: 'Answer: C', wrong: 'Answer: D' },
  hle: {
    row: { id: '1', question: 'Name it.', answer: 'Basalt', answer_type: 'exactMatch' },
    right: 'basalt.',
    wrong: 'granite',
  },
  helpsteer: { row: { prompt: 'Hi', response_1: 'better', response_2: 'worse', preference_strength: -2 } },
  ultrafeedback: {
    row: {
      prompt: 'Hi',
      chosen: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'better' },
      ],
      rejected: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'worse' },
      ],
    },
  },
  hh_rlhf: { row: { chosen: '\n\nHuman: Hi\n\nAssistant: better', rejected: '\n\nHuman: Hi\n\nAssistant: worse' } },
  mm_eval: { row: { prompt: 'Hola', chosen: 'better', rejected: 'worse', language: 'es', subset: 'chat' } },
  rewardbench: { row: { id: 1, prompt: 'Hi', chosen: 'better', rejected: 'worse', subset: 'alpacaeval-easy' } },
  storyer: { row: { prompt: 'A cat.', story_chosen: 'better', story_rejected: 'worse' } },
  pku_saferlhf_help: {
    row: { prompt: 'Hi', response_0: 'worse', response_1: 'better', better_response_id: 1, safer_response_id: 0 },
  },
  pku_saferlhf_safe: {
    row: { prompt: 'Hi', response_0: 'better', response_1: 'worse', better_response_id: 1, safer_response_id: 0 },
  },
  beavertails: {
    row: { prompt: 'How?', response: 'Like this.', category: {}, is_safe: false },
    right: 'It is unsafe.',
    wrong: 'Safe.',
  },
  cvalues: { row: { prompt: '你好', pos_resp: 'better', neg_resp: 'worse' } },
  tydiqa: {
    row: {
      id: 'finnish-1',
      title: 't',
      context: 'Joki on pitkä.',
      question: 'Mikä?',
      answers: { text: ['joki'], answer_start: [0] },
    },
    right: 'Joki',
    wrong: 'meri',
  },
  xglue_xnli: { row: { premise: 'It rains.', hypothesis: 'It is wet.', label: 0 } },
  culturax: { row: { text: 'Ein Satz.', url: 'own', source: 'own', timestamp: '2026' } },
  bigbench: {
    row: { inputs: 'Q: 1+1?\nA:', targets: ['2'], multiple_choice_targets: ['3', '2'], multiple_choice_scores: [0, 1] },
  },
  convai2: { row: { personality: ['i like tea.'], history: ['hello'], candidates: ['no.', 'hi, some tea?'] } },
  natural_instructions: {
    row: { task_name: 'task1', id: '1', definition: 'Say the opposite.', inputs: 'hot', targets: 'cold' },
    right: 'Cold',
    wrong: 'warm',
  },
  equibench: {
    row: { program_1_code: 'x = 1', program_2_code: 'x = 2', truth_label: false },
    right: 'No, they differ.',
    wrong: 'Yes.',
  },
  mr_ben: {
    row: { Question: '1+1?', Options: '', Model_Solution_Steps: ['1+1=3'], Model_Solution_Correctness: 'incorrect' },
    right: 'Wrong: the first step.',
    wrong: 'Correct.',
  },
  lr2bench: {
    row: { task: 'crossword', prompt: 'Fill it.', answer: '{"across 1": "CAT", "down 1": "CUP"}' },
    right: '<Answer>{"Across 1": "C A T", "down 1": "cup"}</Answer>',
    wrong: '<Answer>{"across 1": "dog"}</Answer>',
  },
  toolcomp: { row: { prompt: 'Look it up.', final_answer: '42' }, right: 'The answer is 42.', wrong: '41' },
  phyx: {
    row: { question: 'How fast?', image_caption: 'A ball falls.', options: 'A. 1 m/s\nB. 2 m/s', answer: 'A' },
    right: 'Answer: A',
    wrong: 'Answer: B',
  },
  halueval: {
    row: { knowledge: 'The sea is salt.', question: 'Is it?', answer: 'It is sweet.', hallucination: 'yes' },
    right: 'Yes.',
    wrong: 'No.',
  },
};
