import { tokenF1 } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';
import { everyStep, shareOfSteps } from '../instructions/ifeval.js';
import { meanScore } from '../metrics/mean.js';
import { rouge } from '../metrics/text/rouge.js';
import { textGrader } from '../metrics/text/text-grader.js';
import { answered, type BenchmarkRow, chosen, placeIn, predicted, textIn, textsIn } from './benchmark.js';
import { letterIs, textIs, wordIs } from './graders.js';
import { halfRight, lr2Grader } from './lr2bench.js';

const column = (name: string) => (row: BenchmarkRow) => textIn(row, name);

/** The token F1 of SQuAD against the texts that a function of the row gives. */
const tokenF1Of = (texts: (row: BenchmarkRow) => readonly string[]) => ({
  name: 'token_f1',
  verify: (requests: Parameters<ReturnType<typeof tokenF1>['verify']>[0]) =>
    tokenF1({ column: 'texts' }).verify(
      requests.map((request) => ({ ...request, row: { texts: texts(request.row!) } })),
    ),
});

/** BIG-bench's targets of a multiple-choice task: those with the score 1. */
function bestTarget(row: BenchmarkRow): number {
  const scores = row.multiple_choice_scores;
  const best = Array.isArray(scores) ? scores.indexOf(1) : -1;
  if (best < 0) throw new EvaluationError('BAD_ROW', 'the column "multiple_choice_scores" must have a 1.');
  return best;
}

/** As its authors compute it: of stems, the best of several references. */
const rougeL = textGrader({
  name: 'rougeL',
  score: (text, references) => rouge(text, references, { type: 'rougeL', stem: true }).f1,
  column: 'targets',
});

const CLASSES = ['entailment', 'neutral', 'contradiction'];

/** M3 to M7: languages, dialogue, instructions, hallucination. */
export const languageBenchmarks = {
  tydiqa: answered(
    {
      row: 'M3',
      source: 'google-research-datasets/tydiqa, secondary_task (arXiv 2003.05002)',
      columns: ['id', 'context', 'question', 'answers'],
      metric: "SQuAD's token F1, by language",
    },
    {
      prompt: (row) => `${textIn(row, 'context')}\nQuestion: ${textIn(row, 'question')}\nAnswer:`,
      grader: tokenF1Of((row) => (row.answers as { text: readonly string[] }).text),
      // Ids begin with the language: `finnish--8390…`.
      cluster: (row) => textIn(row, 'id').split('-')[0]!,
    },
  ),
  xglue_xnli: chosen(
    { row: 'M3', source: 'microsoft/xglue, xnli (arXiv 2004.01401)', columns: ['premise', 'hypothesis', 'label'] },
    {
      prompt: (row) =>
        `${textIn(row, 'premise')}\nQuestion: ${textIn(row, 'hypothesis')} True, False or Neither?\nAnswer:`,
      choices: () => ['True', 'Neither', 'False'],
      gold: (row) =>
        typeof row.label === 'string' ? placeIn(row, 'label', CLASSES) : placeIn(row, 'label', [0, 1, 2]),
    },
  ),
  culturax: predicted(
    { row: 'M3', source: 'uonlp/CulturaX (arXiv 2309.09400)', columns: ['text', 'url', 'source'] },
    { prompt: column('text'), cluster: column('source') },
  ),
  bigbench: chosen(
    {
      row: 'M4',
      source: 'tasksource/bigbench (arXiv 2206.04615)',
      columns: ['inputs', 'targets', 'multiple_choice_targets', 'multiple_choice_scores'],
    },
    { prompt: column('inputs'), choices: (row) => textsIn(row, 'multiple_choice_targets'), gold: bestTarget },
  ),
  convai2: chosen(
    {
      row: 'M5',
      source: 'ConvAI2 (arXiv 1902.00098): hits@1, the right answer is the last candidate',
      columns: ['personality', 'history', 'candidates'],
    },
    {
      prompt: (row) => `${textsIn(row, 'personality').join('\n')}\n\n${textsIn(row, 'history').join('\n')}\n`,
      choices: (row) => textsIn(row, 'candidates'),
      gold: (row) => textsIn(row, 'candidates').length - 1,
    },
  ),
  natural_instructions: answered(
    {
      row: 'M6',
      source: 'Muennighoff/natural-instructions (arXiv 2204.07705)',
      columns: ['task_name', 'definition', 'inputs', 'targets'],
      metric: 'ROUGE-L of stems',
    },
    {
      prompt: (row) => `${textIn(row, 'definition')}\n\nInput: ${textIn(row, 'inputs')}\nOutput:`,
      grader: rougeL,
      cluster: column('task_name'),
    },
  ),
  equibench: answered(
    {
      row: 'M7',
      source: 'anjiangwei/EquiBench-Datasets (arXiv 2502.12466)',
      columns: ['program_1_code', 'program_2_code', 'truth_label'],
      metric: 'yes or no',
    },
    {
      prompt: (row) =>
        `Program 1:\n${textIn(row, 'program_1_code')}\n\nProgram 2:\n${textIn(row, 'program_2_code')}\n\nDo the two programs always give the same result? Say yes or no.`,
      grader: wordIs(['yes', 'no'], (row) => (row.truth_label === true ? 'yes' : 'no')),
    },
  ),
  mr_ben: answered(
    {
      row: 'M7',
      source: 'Randolphzeng/Mr-Ben (arXiv 2406.13975)',
      columns: ['Question', 'Options', 'Model_Solution_Steps', 'Model_Solution_Correctness'],
      metric: 'correct or wrong',
    },
    {
      prompt: (row) =>
        `${textIn(row, 'Question')}\n${textIn(row, 'Options')}\n\nA solution:\n${textsIn(row, 'Model_Solution_Steps')
          .map((step, i) => `Step ${i + 1}: ${step}`)
          .join('\n')}\n\nIs the solution correct or wrong? Say one word.`,
      grader: wordIs(['correct', 'wrong'], (row) =>
        textIn(row, 'Model_Solution_Correctness') === 'correct' ? 'correct' : 'wrong',
      ),
    },
  ),
  lr2bench: answered(
    {
      row: 'M7',
      source: 'UltraRonin/LR2Bench (arXiv 2502.17848)',
      columns: ['task', 'prompt', 'answer'],
      metric: 'em, pm_0.5 and s_acc of its cells',
    },
    {
      prompt: column('prompt'),
      grader: lr2Grader,
      metrics: [everyStep('em'), halfRight(), shareOfSteps('s_acc'), meanScore()],
      cluster: column('task'),
    },
  ),
  toolcomp: answered(
    {
      row: 'M7',
      source: 'ToolComp (arXiv 2501.01290)',
      columns: ['prompt', 'final_answer'],
      metric: 'text (the authors’ judge: `toolCompJudged`)',
    },
    { prompt: column('prompt'), grader: textIs('final_answer') },
  ),
  phyx: answered(
    {
      row: 'M7',
      source: 'Cloudriver/PhyX, text only: its questions with a description of the image (arXiv 2505.15929)',
      columns: ['question', 'image_caption', 'options', 'answer'],
      metric: 'letter',
    },
    {
      prompt: (row) =>
        `${textIn(row, 'image_caption')}\n\n${textIn(row, 'question')}\n${textIn(row, 'options')}\nEnd with "Answer: " and the letter.`,
      grader: letterIs(column('answer')),
    },
  ),
  halueval: answered(
    {
      row: 'M15',
      source: 'pminervini/HaluEval, qa_samples (arXiv 2305.11747)',
      columns: ['knowledge', 'question', 'answer', 'hallucination'],
      metric: 'yes or no',
    },
    {
      prompt: (row) =>
        `Knowledge: ${textIn(row, 'knowledge')}\nQuestion: ${textIn(row, 'question')}\nAnswer: ${textIn(row, 'answer')}\n\nDoes the answer say what the knowledge does not support? Say yes or no.`,
      grader: wordIs(['yes', 'no'], column('hallucination')),
    },
  ),
} as const;
