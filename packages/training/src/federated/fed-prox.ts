import { scalar, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { type Given, number, options } from '@posttrain/interfaces';
import type { Penalty } from '../trainer/penalty.js';

const fedProxOptions = options('fedProx', {
  /** μ; 0 is federated averaging. */
  mu: number({ min: 0 }),
});

const distance = (parameters: Named, { mu, ...start }: Named): Tensor =>
  Object.entries(parameters)
    .map(([name, p]) => p.sub(start[`start.${name}`]!).square().sum())
    .reduce((a, b) => a.add(b))
    .mul(mu!)
    .mul(0.5);

/**
 * FedProx (arXiv 1812.06127), on a client: μ/2 · ‖θ − θᵗ‖² is added to its loss, with θᵗ the parameters that the round began with. So
 * clients that make many steps, or on other rows than the rest, do not go too far from each other: a penalty of `sft`.
 *
 * @param global θᵗ, by name: `ClientRound.parameters`
 */
export function fedProx(global: Named, given: Given<typeof fedProxOptions>): Penalty {
  const { mu } = fedProxOptions.read(given);
  const start = Object.entries(global).map(([name, value]) => [`start.${name}`, value] as const);
  return { name: 'fed-prox', tensors: { ...Object.fromEntries(start), mu: scalar(mu) }, compute: distance };
}
