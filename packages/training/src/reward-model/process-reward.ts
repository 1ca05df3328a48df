import { logSumExp, softplus } from '@posttrain/core-tensor';
import { boolean, type Given, integer, options, showValue, text } from '@posttrain/interfaces';
import { HeadError } from '@posttrain/lm';
import { weightedSum } from '../loss/token-loss.js';
import { tokenLogits } from '../readouts/heads.js';
import { type RewardModelLoss, RewardRowError } from './reward-model-loss.js';

/** A solution in steps, and a label for each: TRL's stepwise supervision. */
export interface ProcessRow {
  readonly prompt: string;
  readonly completions: readonly string[];
  /** Of each step: whether it is right, or the index of a label of the model; with `softLabels` how likely it is right. */
  readonly labels: readonly (boolean | number)[];
}

const processRewardOptions = options('processReward', {
  /** Text behind every step; the score is read at its last token. Default a line break. */
  stepSeparator: text({ default: '\n' }),
  /** Most tokens of all steps together; more are cut off. Default: as many as `maxLength` leaves. */
  maxCompletionLength: integer({ optional: true, min: 1 }),
  /** Train the last step's label only; held-out rows have all. Default false. */
  trainOnLastStepOnly: boolean({ default: false }),
  /** Whether labels are probabilities: soft estimates of Math-Shepherd, values of OmegaPRM. For a head of one or two labels. Default false. */
  softLabels: boolean({ default: false }),
});
/** Options of `processReward`. */
export type ProcessRewardOptions = Given<typeof processRewardOptions>;

/**
 * A process reward model (arXiv 2305.20050, 2211.14275): the cross-entropy of the label of every step, at the last
 * token of the separator behind it, the mean over all labelled steps; of a head with one output, that of σ(r); with
 * `softLabels` -y log σ(r) - (1 - y) log(1 - σ(r)), where r of two outputs is the second less the first. TRL's
 * PRMTrainer (up to 1.9), whose tokens these are: prompt and steps are tokenized each by themselves, behind the first
 * token of the tokenizer. For a `TokenClassifier`.
 */
export function processReward(given: ProcessRewardOptions = {}): RewardModelLoss<ProcessRow> {
  const { stepSeparator, maxCompletionLength, trainOnLastStepOnly, softLabels } = processRewardOptions.read(given);
  return {
    name: 'process',
    settings: processRewardOptions.settings(given),
    annotations: [{ name: 'label', per: 'prediction', dtype: softLabels ? 'float32' : 'int32' }],
    example({ tokenizer, labels: names }, row, { index, maxLength, isHeldOut }) {
      checkRow(row, index, names.length, softLabels);
      const encode = (part: string) => tokenizer.encode(part, { addSpecialTokens: false });
      const separator = encode(stepSeparator);
      if (separator.length === 0) throw new RewardRowError(index, 'stepSeparator has no tokens');
      const prompt = [...(tokenizer.bosId === undefined ? [] : [tokenizer.bosId]), ...encode(row.prompt)];
      const steps: number[] = [];
      const labelled: (readonly [at: number, label: number])[] = [];
      row.completions.forEach((step, i) => {
        steps.push(...encode(step), ...separator);
        const isTrained = isHeldOut || !trainOnLastStepOnly || i === row.completions.length - 1;
        if (isTrained) labelled.push([prompt.length + steps.length - 1, Number(row.labels[i])]);
      });
      const tokens = [...prompt, ...steps.slice(0, maxCompletionLength)].slice(0, maxLength);
      const kept = labelled.filter(([at]) => at < tokens.length);
      if (kept.length === 0) return `have no labelled step within maxLength ${maxLength}`;
      if (kept[0]![0] === 0)
        throw new RewardRowError(index, 'has a labelled step of one token and no prompt before it');
      // Entry t is about token t + 1.
      const weights = new Float32Array(tokens.length - 1);
      const label = softLabels ? new Float32Array(tokens.length - 1) : new Int32Array(tokens.length - 1);
      for (const [at, value] of kept) [weights[at - 1], label[at - 1]] = [1, value];
      return { rows: [{ tokens, weights, annotations: { label } }], count: kept.length };
    },
    computeFrom(read, { weights, annotations }) {
      const all = read(tokenLogits);
      const [, tokens, count] = all.shape as [number, number, number];
      const logits = all.slice(1, 1, tokens);
      const label = annotations.label!;
      const mean = (values: typeof logits) => weightedSum(values, weights);
      if (softLabels && count > 2)
        throw new HeadError(`softLabels are of a head with one or two labels, but the head has ${count}`);
      if (count === 1 || softLabels) {
        const last = logits.slice(2, count - 1, count).squeeze(2);
        const reward = count === 1 ? last : last.sub(logits.slice(2, 0, 1).squeeze(2));
        const isRight = reward.greater(0).equal(softLabels ? label.greater(0.5) : label.greater(0));
        return {
          loss: mean(softplus(reward).sub(reward.mul(label.cast('float32')))),
          metrics: { accuracy: mean(isRight.cast('float32')) },
        };
      }
      const own = logits.takeAlongAxis(label.expandDims(2), 2).squeeze(2);
      return {
        loss: mean(logSumExp(logits).squeeze(2).sub(own)),
        metrics: { accuracy: mean(own.greaterEqual(logits.max(2)).cast('float32')) },
      };
    },
  };
}

function checkRow({ prompt, completions, labels }: ProcessRow, index: number, count: number, isSoft: boolean): void {
  if (typeof prompt !== 'string') {
    throw new RewardRowError(index, `prompt must be a text, and is ${showValue(prompt)}: steps are no messages`);
  }
  if (!Array.isArray(completions) || completions.some((step) => typeof step !== 'string') || completions.length === 0) {
    throw new RewardRowError(index, `completions must be a list of texts, the steps, and is ${showValue(completions)}`);
  }
  if (!Array.isArray(labels) || labels.length !== completions.length) {
    throw new RewardRowError(index, `labels must be a list of ${completions.length}, one for each step`);
  }
  const most = Math.max(1, count - 1);
  const wrong = labels.findIndex(
    (label) =>
      typeof label !== 'boolean' &&
      !(isSoft ? label >= 0 && label <= 1 : Number.isInteger(label) && label >= 0 && label <= most),
  );
  if (wrong < 0) return;
  const wanted = isSoft
    ? 'true, false or a number of 0 to 1'
    : `true, false or a whole number of 0 to ${most}, the model's last label`;
  throw new RewardRowError(index, `labels[${wrong}] must be ${wanted}, and is ${showValue(labels[wrong])}`);
}
