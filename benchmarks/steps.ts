import { compile, iota, scalar, type Tensor, tensor, valueAndGrad, zeros } from '@posttrain/core-tensor';
import { adamW, type Named } from '@posttrain/core-tensor/optim';
import { type CausalLM, predictionLogProbs } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter } from '@posttrain/peft';
import { negativeLogLikelihood, Trainer } from '@posttrain/training';
import type { StepCase } from './cases.js';

/** One training step; gives its loss. */
export type Step = () => Promise<number>;

/** LoRA on every linear layer but the head. */
export async function loraTrainer(model: CausalLM, rank: number): Promise<{ trainer: Trainer; adapter: PeftAdapter }> {
  const config = { r: rank, loraAlpha: 2 * rank, targetModules: 'all-linear' };
  const adapter = await createAdapter(model, lora, config, { seed: 0 });
  return { trainer: await Trainer.create(model, { optimizer: adamW(), adapter }), adapter };
}

/** All weights. */
export function fullTrainer(model: CausalLM): Promise<Trainer> {
  return Trainer.create(model, { optimizer: adamW() });
}

/** Gradients, clipping and update, as every recipe does them. */
export function trainerStep(trainer: Trainer, { learningRate, rows }: Pick<StepCase, 'learningRate' | 'rows'>): Step {
  const predictions = rows.reduce((sum, tokens) => sum + tokens.length - 1, 0);
  const trained = rows.map((tokens) => ({
    tokens,
    weights: new Float32Array(tokens.length - 1).fill(1 / predictions),
  }));
  return async () => {
    const { loss } = await trainer.forwardBackward(trained, negativeLogLikelihood);
    await trainer.optimStep({ learningRate });
    return loss;
  };
}

/** Forward, loss, gradients of all weights and AdamW as one compiled function; without clipping. */
export function wholeStep(model: CausalLM, { learningRate, rows }: Pick<StepCase, 'learningRate' | 'rows'>): Step {
  const optimizer = adamW();
  const shape = [rows.length, rows[0]!.length];
  const objective = (weights: Named, tokens: Tensor): Tensor => {
    const input = { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') };
    return predictionLogProbs({ network: model.network, weights }, input).logProbs.mean().neg();
  };
  const step = compile(
    (state: { weights: Named; inner: ReturnType<typeof optimizer.init> }, tokens: Tensor, rate: Tensor) => {
      const { value, gradient } = valueAndGrad(objective)(state.weights, tokens);
      const { parameters, state: inner } = optimizer.update(state.weights, gradient as Named, state.inner, rate);
      return { state: { weights: parameters, inner }, loss: value };
    },
    { name: 'step', donate: { 0: 'state' } },
  );
  let state = { weights: model.weights as Named, inner: optimizer.init(model.weights) };
  const tokens = tensor(Int32Array.from(rows.flat()), shape);
  return async () => {
    const result = await step(state, tokens, scalar(learningRate));
    state = result.state;
    return result.loss.item();
  };
}
