import {
  compile,
  currentEngine,
  referenceEngine,
  scalar,
  setEngine,
  type Tensor,
  tensor,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { adamW } from '@posttrain/core-tensor/optim';

/** What the page of browser.test.ts runs: a line fitted with AdamW on the reference engine. */
export async function train(): Promise<{ refusal: string; losses: number[]; weights: number[] }> {
  let refusal = '';
  try {
    currentEngine();
  } catch (error) {
    refusal = (error as Error).message;
  }
  setEngine(referenceEngine());
  const optimizer = adamW({ weightDecay: 0 });
  const x = tensor([
    [1, 2],
    [3, 4],
    [-1, 1],
  ]);
  const y = tensor([[5], [11], [1]]);
  const loss = (w: Tensor) => x.matmul(w).sub(y).square().mean();
  const step = compile(
    (state: { w: Tensor; inner: ReturnType<typeof optimizer.init> }, rate: Tensor) => {
      const { value, gradient } = valueAndGrad(loss)(state.w);
      const gradients = { w: gradient as Tensor };
      const { parameters, state: inner } = optimizer.update({ w: state.w }, gradients, state.inner, rate);
      return { state: { w: parameters.w!, inner }, loss: value };
    },
    { donate: { 0: 'state' } },
  );
  const w = tensor([[0], [0]]);
  let state = { w, inner: optimizer.init({ w }) };
  const losses: number[] = [];
  for (let i = 0; i < 300; i++) {
    const result = await step(state, scalar(0.1));
    state = result.state;
    losses.push(await result.loss.item());
  }
  return { refusal, losses, weights: await state.w.toArray() };
}
