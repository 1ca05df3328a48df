import { tokenF1 } from '@posttrain/interfaces/verifiers';
import { truthfulMc1, truthfulMc2 } from '../metrics/truthful-qa.js';
import { answered, type BenchmarkRow, chosen, lettered, letters, placeIn, textIn, textsIn } from './benchmark.js';
import { boxedIn, finalAnswerIs, letterIs, textIs } from './graders.js';

const column = (name: string) => (row: BenchmarkRow) => textIn(row, name);
const question =
  (name = 'question') =>
  (row: BenchmarkRow) =>
    `Question: ${textIn(row, name)}\nAnswer:`;
const labelled = (row: BenchmarkRow): { readonly text: readonly string[]; readonly label: readonly string[] } =>
  row.choices as { text: readonly string[]; label: readonly string[] };
const mcTargets = (row: BenchmarkRow, name: string) =>
  row[name] as { readonly choices: readonly string[]; readonly labels: readonly number[] };

/** M1: reasoning and knowledge. */
export const reasoningBenchmarks = {
  gsm8k: answered(
    { row: 'M1', source: 'openai/gsm8k (arXiv 2110.14168)', columns: ['question', 'answer'], metric: 'final answer' },
    { prompt: question(), grader: finalAnswerIs(column('answer')) },
  ),
  math: answered(
    {
      row: 'M1',
      source: 'hendrycks/competition_math (arXiv 2103.03874)',
      columns: ['problem', 'level', 'type', 'solution'],
      metric: 'final answer',
    },
    {
      prompt: question('problem'),
      grader: finalAnswerIs((row) => boxedIn(textIn(row, 'solution'))),
      cluster: column('type'),
    },
  ),
  metamathqa: answered(
    {
      row: 'M1',
      source: 'meta-math/MetaMathQA (arXiv 2309.12284)',
      columns: ['query', 'response', 'original_question'],
      metric: 'final answer',
    },
    {
      prompt: question('query'),
      grader: finalAnswerIs((row) => textIn(row, 'response').split('The answer is:').at(-1)!.trim()),
      cluster: column('original_question'),
    },
  ),
  mathinstruct: answered(
    {
      row: 'M1',
      source: 'TIGER-Lab/MathInstruct (arXiv 2309.05653)',
      columns: ['instruction', 'output', 'source'],
      metric: 'final answer',
    },
    {
      prompt: column('instruction'),
      grader: finalAnswerIs((row) =>
        textIn(row, 'output')
          .split(/answer is:?/i)
          .at(-1)!
          .trim()
          .replace(/\.$/, ''),
      ),
      cluster: column('source'),
    },
  ),
  worldtree: chosen(
    {
      row: 'M1',
      source: 'WorldTree V2, in the form of allenai/ai2_arc (arXiv 1803.05457)',
      columns: ['question', 'choices', 'answerKey'],
    },
    {
      prompt: question(),
      choices: (row) => labelled(row).text,
      gold: (row) => placeIn(row, 'answerKey', labelled(row).label),
    },
  ),
  mmlu: chosen(
    { row: 'M1', source: 'cais/mmlu (arXiv 2009.03300)', columns: ['question', 'subject', 'choices', 'answer'] },
    {
      prompt: (row) =>
        `The following are multiple choice questions (with answers) about ${textIn(row, 'subject').replaceAll('_', ' ')}.\n\n${textIn(row, 'question')}\n${lettered(textsIn(row, 'choices'))}\nAnswer:`,
      choices: () => letters(4),
      gold: (row) => placeIn(row, 'answer', [0, 1, 2, 3]),
      cluster: column('subject'),
    },
  ),
  truthfulqa_mc1: chosen(
    {
      row: 'M15',
      source: 'truthfulqa/truthful_qa, multiple_choice (arXiv 2109.07958)',
      columns: ['question', 'mc1_targets'],
    },
    {
      prompt: (row) => `Q: ${textIn(row, 'question')}\nA:`,
      choices: (row) => mcTargets(row, 'mc1_targets').choices,
      gold: (row) => mcTargets(row, 'mc1_targets').labels.indexOf(1),
      metrics: [truthfulMc1()],
    },
  ),
  truthfulqa_mc2: chosen(
    {
      row: 'M15',
      source: 'truthfulqa/truthful_qa, multiple_choice (arXiv 2109.07958)',
      columns: ['question', 'mc2_targets'],
    },
    {
      prompt: (row) => `Q: ${textIn(row, 'question')}\nA:`,
      choices: (row) => mcTargets(row, 'mc2_targets').choices,
      gold: (row) => mcTargets(row, 'mc2_targets').labels.indexOf(1),
      metrics: [truthfulMc2()],
    },
  ),
  hendrycks_ethics: chosen(
    { row: 'M1', source: 'hendrycks/ethics, commonsense (arXiv 2008.02275)', columns: ['input', 'label'] },
    {
      prompt: (row) => `${textIn(row, 'input')}\nQuestion: Is this wrong?\nAnswer:`,
      choices: () => ['no', 'yes'],
      gold: (row) => placeIn(row, 'label', [0, 1]),
    },
  ),
  drop: answered(
    {
      row: 'M1',
      source: 'ucinlp/drop (arXiv 1903.00161)',
      columns: ['passage', 'question', 'answers_spans'],
      metric: "SQuAD's token F1 of one span (not DROP's own)",
    },
    {
      prompt: (row) => `${textIn(row, 'passage')}\nQuestion: ${textIn(row, 'question')}\nAnswer:`,
      grader: {
        name: 'token_f1',
        verify: (requests) =>
          tokenF1({ column: 'spans' }).verify(
            requests.map((request) => ({
              ...request,
              row: { spans: (request.row!.answers_spans as { spans: string[] }).spans },
            })),
          ),
      },
      cluster: column('passage'),
    },
  ),
  bbh: answered(
    { row: 'M1', source: 'lukaemon/bbh (arXiv 2210.09261)', columns: ['input', 'target'], metric: 'text' },
    { prompt: (row) => `Q: ${textIn(row, 'input')}\nA:`, grader: textIs('target') },
  ),
  bbeh: answered(
    { row: 'M7', source: 'google-deepmind/bbeh (arXiv 2502.19187)', columns: ['input', 'target'], metric: 'text' },
    { prompt: column('input'), grader: textIs('target') },
  ),
  supergpqa: answered(
    {
      row: 'M7',
      source: 'm-a-p/SuperGPQA (arXiv 2502.14739)',
      columns: ['question', 'options', 'answer_letter', 'discipline'],
      metric: 'letter',
    },
    {
      prompt: (row) =>
        `${textIn(row, 'question')}\n${lettered(textsIn(row, 'options'))}\nEnd with "Answer: " and the letter.`,
      grader: letterIs(column('answer_letter')),
      cluster: column('discipline'),
    },
  ),
  math_perturb: answered(
    { row: 'M7', source: 'math-perturb (arXiv 2502.06453)', columns: ['problem', 'answer'], metric: 'final answer' },
    { prompt: question('problem'), grader: finalAnswerIs(column('answer')) },
  ),
  frontiermath: answered(
    {
      row: 'M7',
      source: 'FrontierMath, whose problems are not public (arXiv 2411.04872)',
      columns: ['problem', 'answer'],
      metric: 'final answer',
    },
    { prompt: column('problem'), grader: finalAnswerIs(column('answer')) },
  ),
  big_math: answered(
    {
      row: 'M7',
      source: 'SynthLabsAI/Big-Math-RL-Verified (arXiv 2502.17387)',
      columns: ['problem', 'answer', 'source', 'domain'],
      metric: 'final answer',
    },
    { prompt: question('problem'), grader: finalAnswerIs(column('answer')), cluster: column('source') },
  ),
  longreason: answered(
    {
      row: 'M7',
      source: 'lz1bytedance/LongReason (arXiv 2501.15089)',
      columns: ['prompt', 'answer'],
      metric: 'letter',
    },
    { prompt: column('prompt'), grader: letterIs(column('answer')) },
  ),
  hle: answered(
    {
      row: 'M7',
      source: 'cais/hle, its questions without an image (arXiv 2501.14249)',
      columns: ['id', 'question', 'answer', 'answer_type'],
      metric: 'text (the authors’ judge: `hleJudged`)',
    },
    { prompt: column('question'), grader: textIs('answer') },
  ),
} as const;
