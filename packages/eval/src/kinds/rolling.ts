import { type RollingScorer, showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { ProblemBase } from '../log/format.js';
import type { Row } from '../task.js';
import {
  assertLength,
  hashRequest,
  type KindTask,
  type Problem,
  recordOf,
  requireMethod,
  type TaskKind,
  untilAborted,
} from '../task-kind.js';

/** A text as it is logged, with its log-likelihood. */
export interface RollingProblem extends ProblemBase {
  /** Sum of natural log-probabilities of all its tokens. */
  readonly logProb: number;
  readonly tokens: number;
  /** Pieces between runs of white space, as lm-evaluation-harness counts words: `re.split(r"\s+", text)`. */
  readonly words: number;
  /** Bytes in UTF-8. */
  readonly bytes: number;
}

/** Log-likelihood of whole texts, which `prompt` gives. Made by `rollingPerplexity`. */
export interface RollingTask<R extends Row = Row> extends KindTask<R, RollingScorer, RollingProblem> {
  readonly type: 'rolling';
}

/** Rolling log-likelihood (`loglikelihood_rolling` of lm-evaluation-harness): texts of any length, each token predicted once. */
export const rollingKind: TaskKind<RollingTask, RollingScorer, RollingProblem> = {
  type: 'rolling',
  keys: [],
  checkModel: (model, where) => requireMethod(model, 'scoreRolling', 'rolling scorer', 'LocalScorer', where),
  check: () => {},
  settings: () => ({}),
  hash: (task, problem) => hashRequest(textOf(task, problem)),
  async ask(task, problems, scorer, { signal }) {
    const begun = performance.now();
    const texts = problems.map((problem) => textOf(task, problem));
    const scores = await untilAborted(() => scorer.scoreRolling(texts), signal, task.name);
    assertLength(scorer.name, 'scores', scores.length, texts.length, 'texts');
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    return problems.map((problem, i) => {
      const { logProb, tokens } = scores[i]!;
      if (!Number.isFinite(logProb)) {
        throw new EvaluationError(
          'BAD_RESPONSE',
          `${scorer.name} gave text "${problem.id}" the log-likelihood ${logProb}.`,
        );
      }
      const text = texts[i]!;
      return {
        ...recordOf(problem, hashRequest(text), seconds),
        ...{ logProb, tokens, words: text.split(WHITE_SPACE).length, bytes: Buffer.byteLength(text) },
      };
    });
  },
  seen: (record) => record,
};

/** A task of texts, which `prompt` gives, of the keys that all tasks have. */
export function rollingPerplexity<R extends Row>(task: Omit<RollingTask<R>, 'type' | 'kind'>): RollingTask<R> {
  return { ...task, type: 'rolling', kind: rollingKind };
}

/** White space of Python's `\s`, which has U+001C to U+001F and U+0085 and not U+FEFF. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are white space in Python
const WHITE_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

function textOf(task: RollingTask, { id, prompt }: Problem): string {
  if (typeof prompt === 'string' && prompt !== '') return prompt;
  const problem = `the prompt of problem "${id}" is ${showValue(prompt)}; of a rolling task it is the text, which is not empty.`;
  throw new EvaluationError('BAD_TASK', `task "${task.name}": ${problem}`);
}
