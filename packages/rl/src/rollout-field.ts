import { PosttrainError } from '@posttrain/interfaces';
import type { Rollout } from './rollout.js';

/** A field of rollouts that whoever needs it has brought, by the name that `needs` and `gives` have for it. */
export type ExtraNeed = `extras.${string}`;

/** What a value is of: each token of a completion, or the whole rollout. */
type Per = 'token' | 'rollout';

/** One number for the rollout; of tokens `width` for each, which stand one after the other. */
type ValueOf<P extends Per> = P extends 'token' ? ArrayLike<number> : number;

/** Options of `rolloutField`. */
export interface RolloutFieldOptions<P extends Per> {
  readonly per: P;
  /** Numbers for each token. Default 1. */
  readonly width?: number;
}

/** A field of rollouts, to be written by one part and read by another. */
export interface RolloutField<P extends Per> {
  readonly name: string;
  readonly per: P;
  readonly width: number;
  /** What a part says that `gives` or `needs` it. */
  readonly need: ExtraNeed;
  /** @throws PosttrainError ROLLOUT_FIELD where the rollout does not have it */
  of(rollout: Pick<Rollout, 'extras'>): ValueOf<P>;
  /**
   * The rollout with it.
   *
   * @throws PosttrainError ROLLOUT_FIELD for another count of numbers than the rollout has tokens
   */
  on<R extends Pick<Rollout, 'extras' | 'completionTokens'>>(rollout: R, value: ValueOf<P>): R;
}

/**
 * A field that `Rollout` does not have: what an annotator or a source gives and an advantage, a regulariser or a loss reads, all
 * from wherever. It is in `rollout.extras` under its name, so that a name is to begin with whose it is:
 * `rolloutField('acme.certainty', { per: 'token' })`.
 */
export function rolloutField<P extends Per>(name: string, { per, width = 1 }: RolloutFieldOptions<P>): RolloutField<P> {
  const wrong = (problem: string) => new PosttrainError('ROLLOUT_FIELD', `extras.${name}: ${problem}`);
  return {
    ...{ name, per, width, need: `extras.${name}` },
    of({ extras }) {
      const value = extras?.[name];
      if (value === undefined)
        throw wrong('the rollout does not have it; name it in `needs`, so that a run looks for it');
      if ((typeof value === 'number') !== (per === 'rollout')) throw wrong(`it is no number for each ${per}`);
      return value as ValueOf<P>;
    },
    on(rollout, value) {
      const count = rollout.completionTokens.length * width;
      const fits = per === 'rollout' ? typeof value === 'number' : (value as ArrayLike<number>)?.length === count;
      if (fits) return { ...rollout, extras: { ...rollout.extras, [name]: value } };
      throw wrong(
        per === 'rollout' ? 'it must be one number' : `it must have ${count} numbers, ${width} for each token`,
      );
    },
  };
}
