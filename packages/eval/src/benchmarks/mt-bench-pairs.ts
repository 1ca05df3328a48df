import type { Generator } from '@posttrain/interfaces';
import { filledTemplate, foundIn, judgedTexts } from './judge-template.js';
import { type MtBenchAnswer, type MtBenchFiles, type MtBenchPair, mtBenchVerdict, needsReference } from './mt-bench.js';

/** Two models whose answers are compared. */
export interface MtBenchPairFiles extends Pick<MtBenchFiles, 'questions' | 'prompts' | 'references'> {
  /** Answers of two models, by their names. `prompts` needs `pair-v2`, `pair-math-v1` and both with `-multi-turn`. */
  readonly models: readonly [first: MtBenchModel, second: MtBenchModel];
}

/** A model's answers. */
export interface MtBenchModel {
  readonly name: string;
  readonly answers: readonly MtBenchAnswer[];
}

/** A judgement of a turn in both orders: `g1` shows the first model as A, `g2` the second. */
export interface MtBenchPairJudgement extends MtBenchPair {
  readonly question_id: number | string;
  readonly turn: 1 | 2;
  readonly g1_user_prompt: string;
  readonly g2_user_prompt: string;
  readonly g1_judgment: string;
  readonly g2_judgment: string;
}

/**
 * MT-Bench (arXiv 2306.05685) in its mode `pairwise`: a judge compares two models' answers to each turn in both orders, at temperature 0, in FastChat's
 * prompts. `mtBenchWinRates` reads the result: orders that disagree are a tie.
 *
 * @throws EvaluationError `BAD_ROW` for questions without an answer, a prompt or a reference
 */
export async function mtBenchPairs(judge: Generator, files: MtBenchPairFiles): Promise<MtBenchPairJudgement[]> {
  const byQuestion = (all: readonly MtBenchAnswer[]) => new Map(all.map((one) => [String(one.question_id), one.turns]));
  const [first, second] = files.models;
  const answers = new Map([first, second].map((model) => [model, byQuestion(model.answers)]));
  const references = byQuestion(files.references ?? []);
  const prompts = new Map(files.prompts.map((one) => [one.name, one]));
  const asked = ([1, 2] as const).flatMap((turn) =>
    files.questions.flatMap(({ question_id, category, turns: [question_1, question_2] }) => {
      const isRight = needsReference(category);
      const name = `pair${isRight ? '-math-v1' : '-v2'}${turn === 2 ? '-multi-turn' : ''}`;
      const prompt = foundIn('mtBenchPairs', prompts, name, 'prompt');
      const of = (model: MtBenchModel) =>
        foundIn('mtBenchPairs', answers.get(model)!, String(question_id), `answer of ${model.name} to question`);
      const reference = isRight
        ? foundIn('mtBenchPairs', references, String(question_id), 'reference of question')
        : undefined;
      return [files.models, [second, first] as const].map(([a, b]) => ({
        ...{ question_id, turn, system: prompt.system_prompt },
        user: filledTemplate('mtBenchPairs', prompt.prompt_template, {
          ...{ question: question_1, answer_a: of(a)[0], answer_b: of(b)[0], question_1, question_2 },
          ...{ answer_a_1: of(a)[0], answer_a_2: of(a)[1], answer_b_1: of(b)[0], answer_b_2: of(b)[1] },
          ...(reference && { ref_answer_1: reference[0], ref_answer_2: reference[1] }),
        }),
      }));
    }),
  );
  const said = await judgedTexts(judge, asked, 2048);
  const winner = (judgment: string, a: 'model_1' | 'model_2', b: 'model_1' | 'model_2') => {
    const verdict = mtBenchVerdict(judgment);
    return verdict === 'A' ? a : verdict === 'B' ? b : verdict;
  };
  return asked.flatMap(({ question_id, turn, user }, i): MtBenchPairJudgement[] =>
    i % 2 === 1
      ? []
      : [
          {
            ...{ question_id, turn, model_1: first.name, model_2: second.name },
            g1_winner: winner(said[i]!, 'model_1', 'model_2'),
            g2_winner: winner(said[i + 1]!, 'model_2', 'model_1'),
            ...{ g1_user_prompt: user, g2_user_prompt: asked[i + 1]!.user },
            ...{ g1_judgment: said[i]!, g2_judgment: said[i + 1]! },
          },
        ],
  );
}
