import type { ChatMessage, Generator, SamplingParams } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';
import { filledTemplate, firstText, foundIn, judgedTexts } from './judge-template.js';

/** A row of `question.jsonl`. */
export interface MtBenchQuestion {
  readonly question_id: number | string;
  readonly category: string;
  /** What the user says, first and then. */
  readonly turns: readonly [first: string, second: string];
}

/** What a model says to both turns; `reference_answer/gpt-4.jsonl` has it under `choices[0].turns`. */
export interface MtBenchAnswer {
  readonly question_id: number | string;
  readonly turns: readonly [first: string, second: string];
}

/** A row of FastChat's `judge_prompts.jsonl`, which is yours to give. */
export interface MtBenchPrompt {
  readonly name: string;
  readonly system_prompt: string;
  /** With `{question}`, `{answer}`, `{ref_answer_1}` and their like. */
  readonly prompt_template: string;
}

/** A judgement of one turn, as FastChat's files of `mode single` have it: −1 is a judgement without a rating. */
export interface MtBenchJudgement {
  readonly question_id: number | string;
  readonly turn: 1 | 2;
  readonly score: number;
  readonly user_prompt: string;
  readonly judgment: string;
}

/** Sampling temperatures of the categories; 0 for those that are not here. */
const TEMPERATURES: Readonly<Record<string, number>> = { writing: 0.7, roleplay: 0.7, stem: 0.1, humanities: 0.1 };
/** Categories whose judge is shown a right answer. */
const WITH_REFERENCE = ['math', 'reasoning', 'coding', 'arena-hard-200'];
/** Whether a category's judge is shown a right answer. */
export const needsReference = (category: string): boolean => WITH_REFERENCE.includes(category);

/** The rating in a judgement: `[[8]]`, or else `[8]`; −1 where there is none (FastChat). */
export function mtBenchRating(judgment: string): number {
  const found = /\[\[(\d+\.?\d*)\]\]/.exec(judgment) ?? /\[(\d+\.?\d*)\]/.exec(judgment);
  return found ? Number(found[1]) : -1;
}

/** The verdict in a judgement of a pair: `[[A]]` before `[[B]]` before `[[C]]`, wherever they stand (FastChat). */
export function mtBenchVerdict(judgment: string): 'A' | 'B' | 'tie' | 'error' {
  if (judgment.includes('[[A]]')) return 'A';
  if (judgment.includes('[[B]]')) return 'B';
  return judgment.includes('[[C]]') ? 'tie' : 'error';
}

/**
 * A model's answers to MT-Bench: the second turn sees the first and its answer.
 * @param sampling Default: at most 1,024 tokens, and the temperature of the category (0.7 for writing and role play, 0.1 for STEM and humanities, else 0)
 * @throws EvaluationError `BAD_ROW`
 */
export async function mtBenchAnswers(
  generator: Generator,
  questions: readonly MtBenchQuestion[],
  sampling: SamplingParams = {},
): Promise<MtBenchAnswer[]> {
  questions.forEach(({ turns }, i) => {
    if (!isTwoTexts(turns))
      throw new EvaluationError('BAD_ROW', `mtBenchAnswers: question ${i} needs two texts "turns".`);
  });
  const ask = async (conversations: readonly (readonly ChatMessage[])[]): Promise<string[]> => {
    const answers = await generator.generate(
      conversations.map((prompt, i) => ({
        prompt,
        maxTokens: 1024,
        temperature: TEMPERATURES[questions[i]!.category] ?? 0,
        ...sampling,
      })),
    );
    return conversations.map((_, i) => firstText(generator, answers[i]?.[0]?.text));
  };
  const opened = questions.map(({ turns }): ChatMessage[] => [{ role: 'user', content: turns[0] }]);
  const first = await ask(opened);
  const second = await ask(
    questions.map(({ turns }, i): ChatMessage[] => [
      ...opened[i]!,
      { role: 'assistant', content: first[i]! },
      { role: 'user', content: turns[1] },
    ]),
  );
  return questions.map(({ question_id }, i) => ({ question_id, turns: [first[i]!, second[i]!] }));
}

const isTwoTexts = (turns: unknown): boolean =>
  Array.isArray(turns) && turns.length === 2 && turns.every((one) => typeof one === 'string');

/** What `mtBenchSingle` reads. */
export interface MtBenchFiles {
  readonly questions: readonly MtBenchQuestion[];
  readonly answers: readonly MtBenchAnswer[];
  /** `single-v1`, `single-math-v1` and both with `-multi-turn`. */
  readonly prompts: readonly MtBenchPrompt[];
  /** Right answers of the categories math, reasoning and coding. */
  readonly references?: readonly MtBenchAnswer[];
}

/**
 * MT-Bench (arXiv 2306.05685) in its mode `single`: a judge rates both turns of each answer from 1 to 10, at temperature 0, in FastChat's prompts.
 * @throws EvaluationError `BAD_ROW` for questions without an answer, a prompt or a reference, and answers without two turns; `DUPLICATE_ID`
 */
export async function mtBenchSingle(judge: Generator, files: MtBenchFiles): Promise<MtBenchJudgement[]> {
  const idOf = ({ question_id }: { readonly question_id: number | string }) => String(question_id);
  const turnsOf = (name: string, rows: readonly MtBenchAnswer[]) => {
    const turns = new Map<string, MtBenchAnswer['turns']>();
    for (const row of rows) {
      if (!isTwoTexts(row.turns))
        throw new EvaluationError('BAD_ROW', `mtBenchSingle: "${idOf(row)}" of ${name} needs two texts "turns".`);
      if (turns.has(idOf(row)))
        throw new EvaluationError('DUPLICATE_ID', `mtBenchSingle: ${name} has the question "${idOf(row)}" twice.`);
      turns.set(idOf(row), row.turns);
    }
    return turns;
  };
  const [answers, references] = [turnsOf('answers', files.answers), turnsOf('references', files.references ?? [])];
  const prompts = new Map(files.prompts.map((one) => [one.name, one]));
  const found = <T>(map: ReadonlyMap<string, T>, key: string, what: string): T =>
    foundIn('mtBenchSingle', map, key, what);
  const asked = ([1, 2] as const).flatMap((turn) =>
    files.questions.map((question) => {
      const answer = found(answers, idOf(question), 'answer to question');
      const isRight = needsReference(question.category);
      const reference = isRight ? found(references, idOf(question), 'reference of question') : undefined;
      const name = `single${isRight ? '-math' : ''}-v1${turn === 2 ? '-multi-turn' : ''}`;
      const prompt = found(prompts, name, 'prompt');
      const values: Record<string, string> = {
        ...{ question: question.turns[0], answer: answer[0] },
        ...{ question_1: question.turns[0], question_2: question.turns[1], answer_1: answer[0], answer_2: answer[1] },
        ...(reference && { ref_answer_1: reference[0], ref_answer_2: reference[1] }),
      };
      const user = filledTemplate('mtBenchSingle', prompt.prompt_template, values);
      return { question_id: question.question_id, turn, system: prompt.system_prompt, user };
    }),
  );
  const judged = await judgedTexts(judge, asked, 2048);
  return asked.map(({ question_id, turn, user }, i) => {
    const judgment = judged[i]!;
    return { question_id, turn, score: mtBenchRating(judgment), user_prompt: user, judgment };
  });
}

/** MT-Bench's numbers: means of ratings, standard errors clustered by question. */
export interface MtBenchScores {
  readonly first: MeanEstimate;
  readonly second: MeanEstimate;
  readonly average: MeanEstimate;
  /** Judgements without a rating, which are left out. */
  readonly unread: number;
}

/** Means over judgements with a rating, as FastChat's `show_result` has them. */
export function mtBenchScores(
  judgements: readonly Pick<MtBenchJudgement, 'question_id' | 'turn' | 'score'>[],
): MtBenchScores {
  const read = judgements.filter(({ score }) => score !== -1);
  const mean = (some: typeof read) =>
    meanWithStandardError(
      some.map(({ score }) => score),
      some.map(({ question_id }) => String(question_id)),
    );
  return {
    first: mean(read.filter(({ turn }) => turn === 1)),
    second: mean(read.filter(({ turn }) => turn === 2)),
    average: mean(read),
    unread: judgements.length - read.length,
  };
}

/** A judgement of a pair in both orders, as FastChat's files of pairs have it. */
export interface MtBenchPair {
  readonly model_1: string;
  readonly model_2: string;
  readonly g1_winner: 'model_1' | 'model_2' | 'tie' | 'error';
  readonly g2_winner: 'model_1' | 'model_2' | 'tie' | 'error';
}

/** What a model won. */
export interface MtBenchWinRate {
  readonly win: number;
  readonly loss: number;
  readonly tie: number;
  readonly winRate: number;
  readonly lossRate: number;
  /** A tie being half a win. */
  readonly adjustedWinRate: number;
}

/** Win rates by model: orders that disagree are a tie, pairs with an order that could not be read are left out (FastChat's `show_result`). */
export function mtBenchWinRates(pairs: readonly MtBenchPair[]): ReadonlyMap<string, MtBenchWinRate> {
  const counts = new Map<string, { win: number; loss: number; tie: number }>();
  const add = (model: string, what: 'win' | 'loss' | 'tie') => {
    const known = counts.get(model) ?? { win: 0, loss: 0, tie: 0 };
    known[what]++;
    counts.set(model, known);
  };
  for (const { model_1: one, model_2: other, g1_winner: first, g2_winner: second } of pairs) {
    if (first === 'error' || second === 'error') continue;
    const isTie = first === 'tie' || first !== second;
    add(one, isTie ? 'tie' : first === 'model_1' ? 'win' : 'loss');
    add(other, isTie ? 'tie' : first === 'model_2' ? 'win' : 'loss');
  }
  return new Map(
    [...counts].map(([model, { win, loss, tie }]) => {
      const all = win + loss + tie;
      return [
        model,
        { win, loss, tie, winRate: win / all, lossRate: loss / all, adjustedWinRate: (win + 0.5 * tie) / all },
      ];
    }),
  );
}
