import type { Generator } from '@posttrain/interfaces';
import { strip } from '@posttrain/interfaces/python';
import { EvaluationError } from '../errors.js';
import { filledTemplate, judgedTexts } from './judge-template.js';

/** Grades of ToolComp; both kinds of right ones count. */
export const toolCompGrades = ['CORRECT', 'CORRECT BUT BAD FORMATTING', 'INCORRECT'] as const;
/** One of `toolCompGrades`. */
export type ToolCompGrade = (typeof toolCompGrades)[number];

/** The answer of a model as the judge sees it: what a block of JSON has under `final_answer`, or else all of it (the authors' script). */
export function toolCompAnswer(response: string): string {
  const text = strip(response);
  if (!text.startsWith('```json') || !text.endsWith('```')) return text;
  const block = strip(text.slice('```json'.length, -'```'.length));
  return strip(block.slice('{"final_answer":'.length, -'}'.length));
}

/** The grade behind the last `Final Grade: ` of a judgement that ends before `[ENDOFGRADE]`; `null` where there is none of the three, which is wrong. */
export function toolCompGrade(judgement: string): ToolCompGrade | null {
  const said = strip(judgement.split('[ENDOFGRADE]', 1)[0]!.split('Final Grade: ').at(-1)!);
  return toolCompGrades.find((grade) => grade === said) ?? null;
}

/** What `toolCompJudged` reads. */
export interface ToolCompFiles {
  /** Rows with the right answer and what a model answered. */
  readonly rows: readonly { readonly prompt: string; readonly answer: string; readonly response: string }[];
  /** The authors' prompt of the judge (`SYSTEM_PROMPT` of their `llm_grade.py`), which is yours to give. */
  readonly system: string;
  /** Their `USER_PROMPT`, with `{question}`, `{correct_answer}` and `{student_answer}`. */
  readonly prompt: string;
}

/**
 * ToolComp (arXiv 2501.01290) as its authors grade it: a judge compares each answer with the right one, greedily. They begin the judge's answer with
 * `Reasoning: `; here it writes that itself.
 *
 * @throws EvaluationError `BAD_ROW` for names in the prompt that are not known, `BAD_RESPONSE`
 */
export async function toolCompJudged(
  judge: Generator,
  { rows, system, prompt }: ToolCompFiles,
): Promise<(ToolCompGrade | null)[]> {
  const asked = rows.map((row) => ({
    system,
    user: filledTemplate('toolCompJudged', prompt, {
      ...{ question: row.prompt, correct_answer: row.answer, student_answer: toolCompAnswer(row.response) },
    }),
  }));
  return (await judgedTexts(judge, asked, 4096)).map(toolCompGrade);
}

/** The factor of the authors' interval. */
const WALD = 1.96;

/** Numbers of one part of ToolComp. */
export interface ToolCompScores {
  readonly count: number;
  readonly correct: number;
  readonly badlyFormatted: number;
  readonly incorrect: number;
  /** Share of both kinds of right answers; 0 of none. */
  readonly accuracy: number;
  /** Half of Wald's interval of 95 %. */
  readonly halfWidth: number;
}

/**
 * ToolComp's numbers as the authors' script has them: rows with two tools are its part `chat`, those with more `enterprise`.
 * @throws EvaluationError `BAD_ROW` for rows with fewer tools, which belong to no part
 */
export function toolCompScores(rows: readonly { readonly grade: ToolCompGrade | null; readonly tools: number }[]): {
  readonly chat: ToolCompScores;
  readonly enterprise: ToolCompScores;
} {
  const few = rows.findIndex(({ tools }) => !(tools >= 2));
  if (few >= 0) throw new EvaluationError('BAD_ROW', `toolCompScores: row ${few} has ${rows[few]!.tools} tools.`);
  const scored = (part: typeof rows): ToolCompScores => {
    const of = (wanted: ToolCompGrade) => part.filter(({ grade }) => grade === wanted).length;
    const [correct, badlyFormatted] = [of('CORRECT'), of('CORRECT BUT BAD FORMATTING')];
    const accuracy = (correct + badlyFormatted) / (part.length || 1);
    return {
      ...{ count: part.length, correct, badlyFormatted, incorrect: of('INCORRECT'), accuracy },
      halfWidth: WALD * Math.sqrt((accuracy * (1 - accuracy)) / (part.length || 1)),
    };
  };
  return {
    chat: scored(rows.filter(({ tools }) => tools === 2)),
    enterprise: scored(rows.filter(({ tools }) => tools > 2)),
  };
}
