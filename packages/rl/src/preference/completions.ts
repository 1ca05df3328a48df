import { Tensor } from '@posttrain/core-tensor';
import { type DecisiveSettings, PosttrainError } from '@posttrain/interfaces';
import {
  type Annotation,
  type ForwardPass,
  type LossInputs,
  LossResultError,
  ofTeacher,
  predictions,
  type Read,
  type Readout,
  type ReadoutValue,
  type TeacherModel,
} from '@posttrain/training';

/** What a preference loss of any kind says of itself. */
export interface PreferenceLossDescription {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** The implicit reward is beta · (log π - log π_ref), without a reference beta · log π: what `rewards/*` logs. */
  readonly beta: number;
  /** Whether it compares with a reference. False: none is run. Default true. */
  readonly reference?: boolean;
  /**
   * Whether it reads more of the reference than log-probabilities of the completions' tokens, by `readReference` or `readAgainst`:
   * the reference is then run in the pass of the policy. Default false.
   */
  readonly runsReference?: boolean;
  /** Whether log-probabilities, and the rewards that are logged, are sums over tokens or their means. Default `sum`. */
  readonly logProbs?: 'sum' | 'mean';
  /** What readouts take from the rows, which must then be tokens with `annotations`. Default: none. */
  readonly annotations?: readonly Annotation[];
}

/** Log-probabilities of the tokens of n completions, float32 [n, t] each; 0 outside the completion. */
export interface CompletionLogProbs {
  readonly logProbs: Tensor;
  /** Under the reference. @throws PosttrainError NO_REFERENCE where the loss says that it needs none */
  readonly reference: Tensor;
  /** 1 on the tokens of the completion. */
  readonly mask: Tensor;
}

/** What a loss may ask a pass for beside log-probabilities: anything that a `Loss` can. */
export interface CompletionReadouts {
  /** A readout of the policy. Of predictions it is [n, t, ...], also outside the completion, as `mask` of the tokens says. */
  read<T extends ReadoutValue>(readout: Readout<T>): T;
  /** The same readout of the reference, without gradient. @throws PosttrainError NO_REFERENCE, REFERENCE_PASS */
  readReference<T extends ReadoutValue>(readout: Readout<T>): T;
  /** A readout of the policy with the reference as its teacher: a divergence. @throws PosttrainError NO_REFERENCE, REFERENCE_PASS */
  readAgainst<T extends ReadoutValue>(make: (reference: TeacherModel) => Readout<T>): T;
}

/** What a pass says of n completions, float32 [n] each. Nothing of it is computed unless it is read. */
export interface Completions extends CompletionReadouts {
  /** log π of the completion, summed over its tokens (or their mean, where the loss says so). */
  readonly logProbs: Tensor;
  /** The same under the reference. @throws PosttrainError NO_REFERENCE where the loss says that it needs none */
  readonly reference: Tensor;
  /** Tokens of the completion. */
  readonly lengths: Tensor;
  /** Token by token. */
  readonly tokens: CompletionLogProbs;
}

/** The reference in a pass of the policy: their weights may be the same. */
export type ReferenceInPass = (pass: ForwardPass) => TeacherModel;

/** The annotation that has a column of the rows. */
export const columnName = (column: string): string => `column_${column}`;

/** What throws where a loss asks for something that it does not have. */
export const nothing = (code: string, what: string) => (): never => {
  throw new PosttrainError(code, what);
};

export const noReference = (name: string) =>
  nothing(
    'NO_REFERENCE',
    `the loss ${name} says reference: false, so nothing was computed with a reference; leave it out`,
  );

/** What a pass and its rows say of completions, for a loss that describes itself so. */
export function completionsOf(
  { name, reference: hasReference = true, runsReference = false, logProbs: kind = 'sum' }: PreferenceLossDescription,
  read: Read,
  { weights, annotations }: Pick<LossInputs, 'weights' | 'annotations'>,
  referenceInPass?: ReferenceInPass,
): Completions {
  const known = read(predictions());
  const mask = weights.notEqual(0).cast('float32');
  // Of padding the length is 1, so that nothing is divided by 0.
  const lengths = () => mask.sum(1).maximum(1);
  const scaled = (perToken: Tensor) => (kind === 'mean' ? perToken.sum(1).div(lengths()) : perToken.sum(1));
  const own = known.logProbs.mul(mask);
  const reference = () => (hasReference ? annotations.reference_log_probs! : noReference(name)());
  // One for all that is read of it, so that the reference is run once.
  let teacher: TeacherModel | undefined;
  let ofReference: ReturnType<typeof ofTeacher> | undefined;
  const readAgainst: CompletionReadouts['readAgainst'] = (make) => {
    if (!hasReference) noReference(name)();
    if (!runsReference || !referenceInPass) {
      const problem = runsReference
        ? `the loss ${name} runs a reference in its pass, and none is given: liftPreferenceLoss(loss, { reference })`
        : `the loss ${name} asks for more of the reference than log-probabilities of tokens; say runsReference: true`;
      throw new PosttrainError('REFERENCE_PASS', problem);
    }
    return read({
      name: 'against the reference',
      per: 'prediction',
      compute(pass) {
        teacher ??= referenceInPass(pass);
        return pass.read(make(teacher));
      },
    });
  };
  return {
    logProbs: scaled(own),
    tokens: {
      logProbs: own,
      get reference() {
        return reference();
      },
      mask,
    },
    read,
    readAgainst,
    readReference: (readout) =>
      readAgainst((given) => {
        ofReference ??= ofTeacher(given);
        return ofReference(readout);
      }),
    get reference() {
      return scaled(reference());
    },
    get lengths() {
      return lengths();
    },
  };
}

/** Losses of completions or pairs [n], with numbers of each of them whose means are logged. */
export interface PreferenceLosses {
  readonly losses: Tensor;
  readonly metrics: Readonly<Record<string, Tensor>>;
}

/** What a preference loss gave, where it is something. @throws LossResultError naming the loss */
export function checkedLosses(name: string, result: Tensor | PreferenceLosses): PreferenceLosses {
  if (result instanceof Tensor) return { losses: result, metrics: {} };
  const { losses, metrics = {} }: Partial<PreferenceLosses> = result ?? {};
  const wrong = [losses, ...Object.values(metrics)].findIndex((value) => !(value instanceof Tensor));
  if (wrong < 0) return { losses: losses!, metrics };
  const what = wrong === 0 ? 'no losses' : `no tensor as the metric ${Object.keys(metrics)[wrong - 1]}`;
  throw new LossResultError(name, `gave ${what}; compute must give a tensor of losses, or { losses, metrics }`);
}
