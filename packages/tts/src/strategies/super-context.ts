import { assertArgument, boolean, custom, type Given, text } from '@posttrain/interfaces';
import { extractFinalAnswer } from '@posttrain/interfaces/answers';
import { askFor, parseOption, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { logProbsOf } from '../token-reports.js';
import { countVotes, finishVoteOrFirst, withAnswer } from '../voting.js';

/** What a small model says: r_i = (prediction, confidence). */
export interface Receipt {
  readonly prediction: string;
  /** Probability of the whole prediction: e^{Σ log p}, from 0 to 1. */
  readonly confidence: number;
}

/** A question with its answer, and the small model's receipt for it where it is known already. */
export interface ReceiptDemonstration {
  readonly question: string;
  readonly answer: string;
  readonly receipt?: Receipt;
}

/** What a prompt is made of. */
export interface SuperContextParts {
  readonly question: string;
  readonly receipt: Receipt | null;
  readonly demonstrations: readonly (Omit<ReceiptDemonstration, 'receipt'> & { readonly receipt: Receipt | null })[];
  /** What to answer where there is no answer; empty: nothing is said of that. */
  readonly abstention: string;
}

const receiptLine = (receipt: Receipt | null): string =>
  receipt === null
    ? ''
    : `A small model trained for this task says: ${receipt.prediction} (confidence ${receipt.confidence.toFixed(2)})\n`;

function superContextPrompt({ question, receipt, demonstrations, abstention }: SuperContextParts): string {
  const shown = demonstrations.map((it) => `Question: ${it.question}\n${receiptLine(it.receipt)}Answer: ${it.answer}`);
  const cue = abstention === '' ? [] : [`Answer "${abstention}" where the question cannot be answered.`];
  return [...cue, ...shown, `Question: ${question}\n${receiptLine(receipt)}Answer:`].join('\n\n');
}

const isDemonstrations = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every(
    (it) => typeof it === 'object' && it !== null && typeof it.question === 'string' && typeof it.answer === 'string',
  );

const superContextOptions = strategyOptions('super-context', {
  /** Questions of the task with their answers, shown with their receipts. Default: none. */
  demonstrations: custom<readonly ReceiptDemonstration[]>()('a list of { question, answer }', isDemonstrations, {
    default: [],
  }),
  /** Whether there are receipts; false is the ablation: the same prompt without them, and the small model is not asked. Default true. */
  receipts: boolean({ default: true }),
  /** What the small model is asked about a question. Default: the question. */
  smallPrompt: promptOption('a question', (question: string) => question),
  /** What is asked of the large model. */
  contextPrompt: promptOption('a question, receipts and demonstrations', superContextPrompt),
  /** What to answer where there is no answer. Default: nothing is said of that. */
  abstention: text({ default: '' }),
  /** Whether a text abstains. Default: the abstention is in it, in any case of letters. */
  isAbstention: parseOption(
    'whether a text abstains',
    (said: string, abstention: string): boolean =>
      abstention !== '' && said.toLowerCase().includes(abstention.toLowerCase()),
  ),
  /** Whether the large model is asked afterwards what it went by; what it says is the `explanation` of the chosen node. Default false. */
  explain: boolean({ default: false }),
  /** What is asked for that. */
  explainPrompt: promptOption(
    'a prompt and its answer',
    (prompt: string, answer: string) =>
      `${prompt} ${answer}\n\nWhich parts of the question, and which of the examples, was this answer made from? Did the small model's word count?`,
  ),
});
/** Options of `superContext`. `n` is the number of answers of the large model, of which the majority counts. */
export type SuperContextOptions = Given<typeof superContextOptions>;

/** The answer, and what the small model had said. */
export interface SuperContextResult extends SearchResult {
  readonly receipt: Receipt | null;
  readonly abstained: boolean;
}

/**
 * SuperContext (arXiv 2312.15918): a small supervised model (`generators.small`) tells a large one what it would answer and how sure it is,
 *
 *   y ~ π(· | (x_1, r_1, y_1) … (x_k, r_k, y_k), x, r),   r = (argmax_y p_small(y | x), p_small)
 *
 * so that the large one may follow it where it is at home, and not where it is unsure: outside of its training distribution, and where a
 * question has no answer (`abstention`).
 *
 * The small model must report `logProbs`; `candidateGenerator` makes one of a classifier. It is asked once a question, on the same budget. A receipt
 * that is lost (`failures: 'drop'`) or has no room is left out, and `receipt` is null. Throws `OptionError` without `generators.small`,
 * `ContractError` where it reports no log-probabilities, `NoCandidateError` when there is no answer.
 */
export async function superContext(problem: Problem, options: SuperContextOptions): Promise<SuperContextResult> {
  const { where } = superContextOptions;
  const settings = superContextOptions.read(options);
  const { n, demonstrations, receipts, abstention, generators } = settings;
  assertArgument(
    where,
    'generators',
    generators,
    !receipts || generators?.small !== undefined,
    'with a generator small',
  );
  const extract = options.extractAnswer ?? extractFinalAnswer;
  const extractAnswer = (said: string) => (settings.isAbstention(said, abstention) ? abstention : extract(said));
  const search = new Search(superContextOptions, problem, { ...options, extractAnswer });
  const question = questionOf(problem.prompt);
  const receiptOf = async (asked: string, known?: Receipt): Promise<Receipt | null> => {
    if (!receipts || known) return known && receipts ? known : null;
    const prompt = withQuestion(problem.prompt, settings.smallPrompt(asked));
    const [said] = await search.expand(search.root, { n: 1, prompt, role: 'small', logProbs: true });
    if (!said) return null;
    said.node.reason = 'receipt';
    const confidence = Math.exp(logProbsOf(where, said).reduce((sum, it) => sum + it, 0));
    return { prediction: said.text.trim(), confidence };
  };
  const [receipt = null, ...known] = await Promise.all([
    receiptOf(question),
    ...demonstrations.map((it) => receiptOf(it.question, it.receipt)),
  ]);
  const shown = demonstrations.map(({ question, answer }, i) => ({ question, answer, receipt: known[i] ?? null }));
  const asked = settings.contextPrompt({ question, receipt, demonstrations: shown, abstention });
  const answers = await search.expand(search.root, {
    n,
    prompt: withQuestion(problem.prompt, asked),
    prefix: search.root.text,
  });
  if (settings.explain) {
    const chosen = countVotes(withAnswer(answers), () => 1)[0]?.supporters[0] ?? answers[0];
    const why = chosen && withQuestion(problem.prompt, settings.explainPrompt(asked, chosen.text));
    const explanation = chosen && (await askFor(search, chosen, why!, 'explanation'));
    if (explanation) chosen.node.explanation = explanation.text;
  }
  const result = finishVoteOrFirst(search, answers, 'there is no answer.');
  return { ...result, receipt, abstained: abstention !== '' && result.answer === abstention };
}
