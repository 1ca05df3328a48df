import type { Generator } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { filledTemplate, foundIn, judgedTexts } from './judge-template.js';

/** What HLE's judge says of a response. */
export interface HleJudgement {
  /** The final answer that the judge found in the response. */
  readonly answer: string;
  readonly correct: boolean;
  /** What the response says of its certainty, in percent; 100 where it says nothing. */
  readonly confidence: number;
}

/** What `hleJudged` reads. */
export interface HleFiles {
  /** Rows of cais/hle. */
  readonly rows: readonly { readonly id: string; readonly question: string; readonly answer: string }[];
  /** Responses by id. */
  readonly responses: ReadonlyMap<string, string>;
  /**
   * The authors' prompt of the judge (`JUDGE_PROMPT` of their `run_judge_results.py`), which is yours to give, with `{question}`, `{response}` and
   * `{correct_answer}`.
   */
  readonly prompt: string;
}

/**
 * The judgement in a judge's answer, the JSON object that the authors ask for: `extracted_final_answer`, `correct` (`yes` or `no`) and `confidence`.
 * `null` where it is none.
 */
export function hleJudgement(text: string): HleJudgement | null {
  try {
    const said: unknown = JSON.parse(text.replace(/^\s*```(?:json)?\s*|\s*```\s*$/g, ''));
    const { extracted_final_answer: answer, correct, confidence } = (said ?? {}) as Record<string, unknown>;
    const isRead =
      typeof answer === 'string' && (correct === 'yes' || correct === 'no') && Number.isInteger(confidence);
    return isRead ? { answer, correct: correct === 'yes', confidence: confidence as number } : null;
  } catch {
    return null;
  }
}

/**
 * Humanity's Last Exam (arXiv 2501.14249) as its authors grade it: a judge compares each response with the answer, greedily. Rows without a response are
 * left out; `null` is a judgement that could not be read.
 *
 * @throws EvaluationError `BAD_ROW` for names in the prompt that are not known, `BAD_RESPONSE`
 */
export async function hleJudged(
  judge: Generator,
  { rows, responses, prompt }: HleFiles,
): Promise<ReadonlyMap<string, HleJudgement | null>> {
  const there = rows.filter(({ id }) => responses.has(id));
  const asked = there.map(({ id, question, answer }) => ({
    user: filledTemplate('hleJudged', prompt, {
      ...{ question, correct_answer: answer },
      response: foundIn('hleJudged', responses, id, 'response to'),
    }),
  }));
  const said = await judgedTexts(judge, asked, 4096);
  return new Map(there.map(({ id }, i) => [id, hleJudgement(said[i]!)]));
}

/** HLE's numbers, from 0 to 1. */
export interface HleScores {
  /** Right responses over all questions: those without a judgement are wrong. */
  readonly accuracy: number;
  /** Half of Wald's interval of 95 %. */
  readonly halfWidth: number;
  /** √ of Σ (share of a bin) · (mean confidence − share of right ones)², over bins of 100 by confidence; `null` for fewer than 100 judgements. */
  readonly calibrationError: number | null;
  readonly judged: number;
}

/** The factor of the authors' interval. */
const WALD = 1.96;

/** Responses in a bin of the authors' calibration error. */
const BIN = 100;

/**
 * Accuracy and calibration error as the authors' script has them, before it rounds. Their calibration error leaves out the last bin, which has the surest
 * 100 to 199 responses, and so does this: it is 0 for fewer than 200. `calibration` has every bin.
 *
 * @param questions All questions of the set
 * @throws EvaluationError `BAD_ROW` for fewer questions than judgements, or confidences that are no percentages
 */
export function hleScores(
  judgements: readonly Pick<HleJudgement, 'correct' | 'confidence'>[],
  questions: number,
): HleScores {
  if (!(questions >= Math.max(1, judgements.length)))
    throw new EvaluationError('BAD_ROW', `hleScores: ${judgements.length} judgements of ${questions} questions.`);
  const bad = judgements.find(({ confidence }) => !(confidence >= 0 && confidence <= 100));
  if (bad) throw new EvaluationError('BAD_ROW', `hleScores: a confidence is ${bad.confidence}, not 0 to 100.`);
  const accuracy = judgements.filter(({ correct }) => correct).length / questions;
  const sorted = [...judgements].sort((a, b) => a.confidence - b.confidence);
  let squares = 0;
  for (let bin = 0; bin < Math.floor(sorted.length / BIN) - 1; bin++) {
    const some = sorted.slice(bin * BIN, (bin + 1) * BIN);
    const gap = some.reduce((sum, { confidence, correct }) => sum + confidence / 100 - Number(correct), 0) / BIN;
    squares += (BIN / sorted.length) * gap ** 2;
  }
  return {
    accuracy,
    halfWidth: WALD * Math.sqrt((accuracy * (1 - accuracy)) / questions),
    calibrationError: sorted.length < BIN ? null : Math.sqrt(squares),
    judged: judgements.length,
  };
}
