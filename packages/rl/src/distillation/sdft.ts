import { stopGradient } from '@posttrain/core-tensor';
import { custom, type Given, integer, number, OptionError, options } from '@posttrain/interfaces';
import { type CausalLM, sequenceLogProbs } from '@posttrain/lm';
import { divergence, type Loss, predictions, type TrainingRow, weightedSum } from '@posttrain/training';
import type { Annotator } from '../annotator.js';
import { type Rollout, type ScoredRollout, trainedTokens } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import { emaTeacher } from './ema-teacher.js';
import { privilegedShape, teacherSequences, untaught } from './teacher-log-probs.js';
import { isTokenTeacher, localTeacher, nameOfTeacher, refuseUnfitTeacher, type SelfTeacher } from './token-teacher.js';

const sdftOptions = options('sdft', {
  ...privilegedShape,
  /**
   * The student with its adapter off (`base`), as it is now (`live`), the moving average of what it was (`ema`), or a model beside.
   * Default `base`, as in TRL.
   */
  teacher: custom<CausalLM | SelfTeacher | 'ema'>()(
    "a CausalLM, 'base', 'live' or 'ema'",
    (value) => value === 'ema' || (isTokenTeacher(value) && !('scoreTokens' in Object(value))),
    {
      default: 'base' as CausalLM | SelfTeacher | 'ema',
      settings: (teacher) => (teacher === 'ema' ? teacher : nameOfTeacher(teacher)),
    },
  ),
  /** α of `ema`: how far the teacher goes towards the student; 1 makes it a copy. Default 0.05, as in TRL. */
  teacherUpdateRate: number({ default: 0.05, above: 0, max: 1 }),
  /** Steps from one move of the `ema` to the next. Default 1. */
  teacherSyncSteps: integer({ default: 1, min: 1 }),
  /** 0: KL(teacher ‖ student). 1: KL(student ‖ teacher). Between: the generalised Jensen-Shannon divergence. Default 0.5. */
  alpha: number({ default: 0.5, min: 0, max: 1 }),
  /** Compare with the teacher's k most likely tokens and the rest as one outcome; at most the vocabulary. Default 100. */
  topK: integer({ default: 100, min: 1 }),
  /** The largest weight π / π_old of a token's loss, whose gradient stops there. Default 2. */
  isClip: number({ default: 2, above: 0 }),
  /** Leave so many tokens at the start of each completion out. Default 0. */
  skipTokens: integer({ default: 0, min: 0 }),
});
/** Options of `policyObjectives.sdft`. */
export type SdftOptions = Given<typeof sdftOptions>;

const ANNOTATIONS = ['teacher_ids', 'teacher_log_probs', 'old_log_probs', 'token_mean'] as const;

/** An objective with rows and a loss of its own (`LossObjective`). */
export interface SelfDistillation {
  readonly name: string;
  readonly settings: NonNullable<Annotator['settings']>;
  readonly needs: Annotator['gives'];
  readonly annotators: readonly Annotator[];
  loss(context: { readonly temperature: number }): Loss;
  rows(rollouts: readonly Rollout[]): { readonly rows: readonly TrainingRow[] };
}

/**
 * Self-distillation fine-tuning (SDFT, arXiv 2601.19897) as in TRL: the student learns on its own completions from itself with a privileged
 * prompt in sight,
 *
 *   L = mean over completions of the mean over their tokens of min(sg(π / π_old), c) D_α(π(· | privileged, y_<t), π(· | x, y_<t))
 *
 * D is the divergence of GKD over the teacher's k most likely tokens and the rest as one outcome; with k the vocabulary it is TRL's
 * `full_logits`. (TRL's `topk_logits` takes the k tokens of the student.) Rewards are logged and not learnt from. Metrics: `divergence`, the mean
 * over trained tokens, and `entropy`.
 *
 * @throws OptionError
 */
export function sdft(given: SdftOptions): SelfDistillation {
  const settings = sdftOptions.read(given);
  const { privileged, teacher, alpha, topK, isClip, skipTokens, teacherUpdateRate, teacherSyncSteps } = settings;
  const average = teacher === 'ema' ? emaTeacher({ rate: teacherUpdateRate, every: teacherSyncSteps }) : undefined;
  // A vocabulary may have fewer tokens: how many there are is known when a run begins.
  const ids = rolloutField('teacher.top-ids', { per: 'token', width: topK });
  const logProbs = rolloutField('teacher.top-log-probs', { per: 'token', width: topK });
  const annotator: Annotator = {
    name: 'teacher-top-k',
    settings: sdftOptions.settings(given),
    gives: [ids.need, logProbs.need],
    ...(average && { state: average.state, load: average.load }),
    async prepare(context) {
      await refuseUnfitTeacher('sdft', teacher === 'ema' ? 'live' : teacher, context);
      const { vocabSize } = context.model.config;
      if (topK > vocabSize) {
        const problem = `topK is ${topK}, and the vocabulary has ${vocabSize} tokens.`;
        throw new OptionError('INVALID_OPTION', 'sdft', 'topK', problem);
      }
    },
    async annotate(rollouts, context) {
      const { model, adapter } = teacher === 'ema' ? await average!.ofStep(context) : localTeacher(teacher, context)!;
      const { temperature } = context;
      const sequences = teacherSequences(rollouts, privileged, context.model);
      const asked = [...rollouts.keys()].filter((i) => sequences[i] && rollouts[i]!.completionTokens.length > 0);
      const scored =
        asked.length === 0
          ? []
          : await sequenceLogProbs(
              model,
              asked.map((i) => sequences[i]!.tokens),
              { adapter, temperature, topLogProbs: topK },
            );
      const places = new Map(asked.map((i, at) => [i, scored[at]!.topLogProbs!.slice(sequences[i]!.start - 1).flat()]));
      return rollouts.map((given, i): ScoredRollout => {
        const rollout = sequences[i] ? given : untaught(given);
        // Of what is not taught there is nothing to say: numbers stand in for it.
        const none = () => new Array(rollout.completionTokens.length * topK).fill({ tokenId: 0, logProb: 0 });
        const top = places.get(i) ?? none();
        return logProbs.on(
          ids.on(
            rollout,
            top.map(({ tokenId }) => tokenId),
          ),
          top.map(({ logProb }) => logProb),
        );
      });
    },
  };
  return {
    name: 'sdft',
    settings: sdftOptions.settings(given),
    needs: [ids.need, logProbs.need],
    annotators: [annotator],
    loss: ({ temperature }) => selfDistillation({ k: topK, alpha, isClip, temperature }),
    rows: (rollouts) => ({ rows: rowsOf(rollouts, { ids, logProbs, topK, skipTokens }) }),
  };
}

function selfDistillation(given: {
  readonly k: number;
  readonly alpha: number;
  readonly isClip: number;
  readonly temperature: number;
}): Loss {
  const { k, alpha, isClip, temperature } = given;
  const apart = divergence({ teacher: { k }, beta: alpha, temperature });
  const own = predictions({ temperature });
  return {
    name: 'sdft',
    annotations: [...apart.annotations!, 'old_log_probs', 'token_mean'],
    computeFrom(read, { weights, annotations }) {
      const mean = annotations.token_mean!;
      const [distance, { logProbs, entropies }] = [read(apart), read(own)];
      // What TRL clamps the log-ratio to, so that no exponential leaves float32.
      const mask = mean.notEqual(0).cast('float32');
      const logRatio = logProbs.sub(annotations.old_log_probs!).mul(mask).clamp(-20, 20);
      const weight = stopGradient(logRatio.exp().minimum(isClip));
      return {
        loss: weightedSum(distance.mul(weight), weights),
        metrics: { divergence: weightedSum(distance, mean), entropy: weightedSum(entropies, mean) },
      };
    },
  };
}

type Field = ReturnType<typeof rolloutField<'token'>>;

function rowsOf(
  rollouts: readonly Rollout[],
  { ids, logProbs, topK, skipTokens }: Record<'ids' | 'logProbs', Field> & Record<'topK' | 'skipTokens', number>,
): TrainingRow[] {
  const masks = rollouts.map((rollout) => trainedTokens(rollout).map((trains, t) => (t < skipTokens ? 0 : trains)));
  const counts = masks.map((mask) => mask.reduce((a, b) => a + b, 0));
  const total = counts.reduce((a, b) => a + b, 0);
  return rollouts.flatMap((rollout, i): TrainingRow[] => {
    const count = counts[i]!;
    if (count === 0) return [];
    const before = rollout.promptTokens.length - 1;
    const place = (value: (t: number) => number) => [
      ...new Array<number>(before).fill(0),
      ...masks[i]!.map((trains, t) => (trains ? value(t) : 0)),
    ];
    const wide = (values: ArrayLike<number>) => [...new Array<number>(before * topK).fill(0), ...Array.from(values)];
    const numbers: Readonly<Record<(typeof ANNOTATIONS)[number], number[]>> = {
      teacher_ids: wide(ids.of(rollout)),
      teacher_log_probs: wide(logProbs.of(rollout)),
      old_log_probs: place((t) => rollout.oldLogProbs[t]!),
      token_mean: place(() => 1 / total),
    };
    return [
      {
        tokens: [...rollout.promptTokens, ...rollout.completionTokens],
        weights: place(() => 1 / (rollouts.length * count)),
        annotations: numbers,
      },
    ];
  });
}
