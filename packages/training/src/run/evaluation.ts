import { type DecisiveSettings, OptionError, PosttrainError, settingsOf, showValue } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import type { Metrics } from '../tracking/metrics.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';
import type { EvaluationContext } from './hooks.js';
import { contentHash } from './identity.js';
import type { RunOptions } from './run-options.js';

/** Evaluation on held-out rows with what the trainer itself minimises or measures. */
export interface EvaluationOnRows<M extends TrainableModel = CausalLM> {
  /** Of the rows, which a resumed run must share where the best is kept. */
  readonly digest: string;
  /** Metrics without `eval_` before their names. Where the signal fires, it may throw the signal's reason. */
  readonly measure: (trainer: Trainer<M>, signal: AbortSignal | undefined) => Promise<Metrics>;
}

/** Evaluation with a loss over training rows: `eval_loss`, and the metrics of that loss. */
export const lossOnRows = (rows: readonly TrainingRow[], loss: AnyLoss): EvaluationOnRows<TrainableModel> => ({
  digest: contentHash(rows),
  async measure(trainer, signal) {
    const { loss: value, metrics } = await trainer.evaluate(rows, loss, { signal });
    return { loss: value, ...metrics };
  },
});

/** An evaluation, a metric or an option of evaluation that cannot be used. */
export class EvaluationError extends PosttrainError {
  constructor(stage: string, problem: string) {
    super('EVALUATION', `${stage}: ${problem}`);
  }
}

const PREFIX = 'eval_';
/** The name that transformers logs a metric of an evaluation under. */
export const evaluationName = (name: string): string => (name.startsWith(PREFIX) ? name : `${PREFIX}${name}`);

type EvaluationOptions<M extends TrainableModel> = Pick<
  RunOptions<M>,
  'evaluate' | 'evaluateEvery' | 'evaluateOnStart' | 'keepBest' | 'patience' | 'bestMetric' | 'bestMode' | 'minDelta'
>;

/** When a run is evaluated, and on what. */
export class Evaluation<M extends TrainableModel> {
  readonly #stage: string;
  readonly #steps: number;
  readonly #onRows: EvaluationOnRows<M> | undefined;
  readonly #options: EvaluationOptions<M>;

  /** @throws OptionError for options that need an evaluation, where there is none */
  constructor(stage: string, steps: number, onRows: EvaluationOnRows<M> | undefined, options: EvaluationOptions<M>) {
    [this.#stage, this.#steps, this.#onRows, this.#options] = [stage, steps, onRows, options];
    if (this.exists) return;
    const { evaluateOnStart, ...others } = options;
    const needy = (['evaluateEvery', 'keepBest', 'bestMetric', 'bestMode', 'patience', 'minDelta'] as const).find(
      (name) => others[name] !== undefined && others[name] !== false,
    );
    const name = needy ?? (evaluateOnStart ? 'evaluateOnStart' : undefined);
    if (name === undefined) return;
    const problem = `${name} needs something to evaluate: give evaluationRows, or evaluate.`;
    throw new OptionError('INVALID_OPTION', stage, name, problem);
  }

  get exists(): boolean {
    return this.#onRows !== undefined || this.#options.evaluate !== undefined;
  }

  /** Whether there is an evaluation after so many steps. */
  isDue(done: number): boolean {
    if (!this.exists) return false;
    const { evaluateEvery, evaluateOnStart } = this.#options;
    if (done === 0) return evaluateOnStart === true;
    return done === this.#steps || (evaluateEvery !== undefined && done % evaluateEvery === 0);
  }

  /** What of it decides the result of a run: all, where its result is the best, or its end depends on it. */
  get settings(): DecisiveSettings {
    const { keepBest, patience, evaluate, evaluateEvery, evaluateOnStart } = this.#options;
    if (!keepBest && patience === undefined) return {};
    const parts = { evaluate, evaluateEvery, evaluateOnStart, evaluationRows: this.#onRows?.digest };
    return settingsOf(parts) as DecisiveSettings;
  }

  /** Metrics under their logged names. @throws EvaluationError for metrics that are no numbers, or are there twice */
  async measure(trainer: Trainer<M>, context: EvaluationContext<M>): Promise<Metrics> {
    const own = (await this.#onRows?.measure(trainer, context.signal)) ?? {};
    const given: unknown = (await this.#options.evaluate?.(context)) ?? {};
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw this.#wrong(`evaluate gave ${showValue(given)}; it must give metrics by name, as { accuracy: 0.5 }.`);
    }
    const all: Record<string, number> = {};
    for (const [name, value] of [...Object.entries(own), ...Object.entries(given)]) {
      const logged = evaluationName(name);
      if (typeof value !== 'number') throw this.#wrong(`the metric ${name} is ${showValue(value)}, not a number.`);
      if (logged in all) throw this.#wrong(`the metric ${logged} is there twice; call that of evaluate otherwise.`);
      all[logged] = value;
    }
    return all;
  }

  #wrong(problem: string): EvaluationError {
    return new EvaluationError(this.#stage, problem);
  }
}
