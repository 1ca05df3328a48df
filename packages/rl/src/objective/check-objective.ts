import { PosttrainError, showValue } from '@posttrain/interfaces';
import { annotationSpec, type UpdateRule } from '@posttrain/training';
import { type Advantage, needOf, type RolloutNeed } from '../advantage/advantage.js';
import type { BesideLoss } from '../beside-loss.js';
import type { Regulariser } from '../regulariser/regulariser.js';
import type { Rollout } from '../rollout.js';

type FieldOrNeed = RolloutNeed | 'samplerLogProbs' | 'referenceLogProbs';

/** @throws PosttrainError OBJECTIVE where the rollout lacks what `reader` reads */
export function refuseMissing(objective: string, rollout: Rollout, need: FieldOrNeed, reader: string): void {
  const isField = need === 'samplerLogProbs' || need === 'referenceLogProbs';
  if ((isField ? rollout[need] : needOf(rollout, need)) !== undefined) return;
  const field = need === 'rewardsByFunction' ? 'rewards' : need;
  throw new PosttrainError('OBJECTIVE', `${objective}: every rollout needs ${field}, because ${reader} reads them`);
}

/** @throws PosttrainError OBJECTIVE for what is not one number for each rollout, or one for each of its tokens */
export function refuseWrongAdvantages(
  { name, advantage }: { readonly name: string; readonly advantage: Advantage },
  advantages: ReturnType<Advantage['compute']>,
  rollouts: readonly Rollout[],
): void {
  const wrong = (problem: string) =>
    new PosttrainError('OBJECTIVE', `${name}: the advantage ${advantage.name} gave ${problem}`);
  rollouts.forEach(({ completionTokens: { length: count } }, i) => {
    const own: number | ArrayLike<number> | undefined = advantages?.[i];
    if (own === undefined || own === null || (typeof own !== 'number' && own.length !== count)) {
      const gave = own === undefined || own === null ? 'nothing' : `${(own as ArrayLike<number>).length} numbers`;
      const wanted = 'give one number, or one for each token';
      throw wrong(`${gave} for rollout ${i}, which has ${count} tokens; ${wanted}`);
    }
    const at = Array.from(typeof own === 'number' ? [own] : own).findIndex((value) => !Number.isFinite(value));
    if (at < 0) return;
    const place = typeof own === 'number' ? '' : `, token ${at}`;
    throw wrong(`${showValue(typeof own === 'number' ? own : own[at])} for rollout ${i}${place}; give a finite number`);
  });
  if (advantages.length === rollouts.length) return;
  throw wrong(`${advantages.length} entries for ${rollouts.length} rollouts`);
}

/** @throws PosttrainError OBJECTIVE for a loss of other rows beside an update that sees the gradient of its own only */
export function refuseBesideUpdate({
  name,
  beside,
  update,
}: {
  readonly name: string;
  readonly beside?: BesideLoss;
  readonly update?: UpdateRule;
}): void {
  if (!beside || !update) return;
  const problem = `the update "${update.name}" makes its step of one loss, and "${beside.name}" is another beside it`;
  throw new PosttrainError('OBJECTIVE', `${name}: ${problem}; leave one of them out`);
}

/** What a regulariser has to say of a rollout, at the places of its row. @throws PosttrainError OBJECTIVE */
export function furtherAnnotations(
  objective: string,
  { name, annotations = [], annotate: give }: Pick<Regulariser, 'name' | 'annotations' | 'annotate'>,
  rollout: Rollout,
  all: readonly Rollout[],
  advantages: ReturnType<Advantage['compute']>,
  seen: readonly Rollout[],
): Record<string, readonly number[]> {
  if (annotations.length === 0) return {};
  const given = give?.(rollout, all, advantages, seen) ?? {};
  return Object.fromEntries(
    annotations.map((one) => {
      const { name: annotation, per, width = 1 } = annotationSpec(one);
      const values = given[annotation];
      const wanted = (per === 'row' ? 1 : rollout.completionTokens.length) * width;
      if (values?.length !== wanted) {
        const gave = values === undefined ? 'no numbers' : `${values.length} numbers`;
        const problem = `gave ${gave} of its annotation "${annotation}" for a rollout, where ${wanted} belong`;
        throw new PosttrainError('OBJECTIVE', `${objective}: the regulariser ${name} ${problem}`);
      }
      const before = per === 'row' ? 0 : (rollout.promptTokens.length - 1) * width;
      return [annotation, [...new Array<number>(before).fill(0), ...Array.from(values)]];
    }),
  );
}
